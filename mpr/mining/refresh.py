"""The model under training mines for itself: candidate tables of one run, a new version every so many updates.

```
before update 0, N, 2N, ...    weights as they are -> vectors of passages and questions -> search -> known positives out
<run>/refresh/<source>-<update>-<digest>/    the table, a committed artefact; its receipt names the weights' digest
```

Which version a draw reads is a function of its number (`mpr/recipe/schedule.py`), so the draws stay a pure function of
seed, number and table. Vectors are thrown away when their table is there. A table is thrown away when neither the
draws to come nor a checkpoint needs it: a checkpoint names the tables that a run which continues from it cannot make
again, because the weights that made them are gone.

A version may measure a rank profile as well: how often each rank of its search holds a passage that is relevant.

    P(r) = share of the questions with a positive at rank r,    r = 1 ... depth

Of held-out questions it says where the list of a model holds what is relevant, labelled or not: RANCE (Prakash et al.)
draws negatives by rank with weights made of it. Its sum is the mean number of positives that are found of a question.

Shapes: Q questions of the split, N candidates, R ranks.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mpr import storage
from mpr.batches.choice import Evidence
from mpr.batches.draw import Drawer
from mpr.data import candidates
from mpr.data.candidates import CandidateTable
from mpr.data.dataset import Dataset
from mpr.errors import Problem, Problems, RecipeError, StorageError
from mpr.mining.mine import Kept, Mining
from mpr.models.towers import DualEncoder
from mpr.recipe.schedule import RefreshSchedule
from mpr.runtime import randomness
from mpr.runtime.processes import ONE_PROCESS, Group
from mpr.search.inference import Model
from mpr.search.vectors import VectorStore
from mpr.sources import Learner
from mpr.storage.ragged import Ragged

log = logging.getLogger("mpr.train")
FOLDER = "refresh"
_BLOCK = 2_000  # questions whose candidates are compared at a time


@dataclass
class Refresh:
    """Makes, finds, points to and removes the versions of a run. Every process calls it for the same updates."""

    dataset: Dataset
    folder: Path
    drawer: Drawer
    schedule: RefreshSchedule
    device: str = "cpu"
    group: Group = field(default_factory=lambda: ONE_PROCESS)
    passages: VectorStore | None = None
    """The vectors of passages that do not learn."""
    held: dict[int, CandidateTable] = field(default_factory=dict)

    @property
    def part(self) -> Any:
        """The source in the recipe."""
        return self.dataset.recipe.own

    @property
    def is_profiled(self) -> bool:
        """Whether each version measures where its search finds the positives of the validation questions."""
        return any(entry.rance is not None and entry.from_ == self.part.as_ for entry in self.drawer.config.negatives)

    # The times

    def turn(self, update: int, towers: DualEncoder) -> dict[str, float]:
        """Called right before an update that may read another version than the one before: mines if that is due, and
        points the drawer to what is in force. What is to be logged."""
        noted: dict[str, float] = {}
        if self.schedule.is_due(update):
            noted = self._refreshed(update, towers)
        version = self.schedule.in_force(update)
        self.drawer.turn_to(self.part.as_, self.held[version].negatives, self._evidence(self.held[version]))
        self.held = {number: table for number, table in self.held.items() if number >= version}
        self.group.first(self._tidy)
        return noted

    def needed(self, update: int) -> dict[str, dict[str, str]]:
        """For the receipt of a checkpoint that a run may continue from before this update."""
        wanted = [self.held[version] for version in sorted(self.schedule.needed(update)) if version in self.held]
        return {table.folder.name: {"digest": table.manifest.digest} for table in wanted}

    def resume(self, named: Mapping[str, Mapping[str, str]], checkpoint: Path) -> None:
        """Opens the versions that a checkpoint names, every byte verified by the first process."""
        self.group.first(lambda: self._verified(named, checkpoint))
        for name in named:
            self.held[_version(name)] = CandidateTable(self.folder / name)

    # One version

    def _refreshed(self, update: int, towers: DualEncoder) -> dict[str, float]:
        began, was_training = time.monotonic(), towers.training
        tokenizer = self.dataset.tokenizer()
        try:
            model = replace(Model.of(towers, tokenizer, "the model under training"), backend=tokenizer)
            table = self._made(update, Learner(model, self.folder, self.device, self.passages))
        finally:
            towers.train(was_training)
            if self.device.startswith("cuda"):
                torch.cuda.empty_cache()  # what the search took, for the step that comes
        before = self.held.get(self.schedule.before(update)) if update else None
        self.held[update] = table
        noted = {"refresh_update": float(update), "refresh_seconds": time.monotonic() - began}
        if before is not None:
            noted["refresh_churn"] = churn(before.negatives, table.negatives)
        if self.group.place.rank == 0:
            shown = f"{noted['refresh_seconds']:.1f} s"
            shown += f", {noted['refresh_churn']:.1%} new" if "refresh_churn" in noted else ""
            log.info("candidates of '%s' by the weights before update %d: %s", self.part.as_, update, shown)
        return noted

    def _made(self, update: int, learner: Learner) -> CandidateTable:
        work = self._work(update, learner)
        if not self.group.first(lambda: _is_sound(work.target)):
            work.source.prepare()
            if self.is_profiled:
                work = replace(work, receipt=work.receipt | {"profile": self._profile(learner)})
        return work.done()

    def _profile(self, learner: Learner) -> list[float]:
        """P(r) of the weights as they are, of all questions of the validation split that have a positive."""
        asked = Mining.of(self.dataset, "validation", self.part, self.group, learner)
        if self.dataset.splits.proposable("validation").folder != self.dataset.splits.proposable("train").folder:
            what, fix = "its texts are not those that training searches", "choose a split over the same passages"
            raise RecipeError(what, key="validation.split", fix=fix)
        positives, source = asked.ground.questions.positives.counting(self.dataset.recipe.tiers), asked.source
        source.prepare()
        found: list[float] = self.group.first(
            lambda: profile_of_lists(source(np.arange(len(positives))), positives, self.part.depth).tolist()
        )
        return found

    def _work(self, update: int, learner: Learner) -> Mining:
        """The mining of a version. Its name has the digest of its receipt: equal names are equal tables."""
        work, kept = Mining.of(self.dataset, "train", self.part, self.group, learner), None
        receipt = work.receipt | {"update": update}
        if self.schedule.is_partial(update):
            before = self.held[self.schedule.before(update)]
            kept = Kept(before, ~self._searched(update, len(before)))
            receipt |= {"before": before.manifest.digest, "questions_searched": int((~kept.is_kept_Q).sum())}
        name = f"{self.part.as_}-{update}-{storage.json_digest(receipt)[:8]}"
        changes: dict[str, Any] = {"receipt": receipt, "kept": kept, "positives": self.drawer.positives}
        return replace(work, target=self.folder / name, **changes)

    def _searched(self, update: int, count: int) -> NDArray[np.bool_]:
        """The questions of a version's share: the next ones of a seeded order, from its end on from its front."""
        seed, each = int(self.dataset.recipe.training["seed"]), math.ceil(self.schedule.questions * count)
        first = (update // (self.schedule.every or 1) - 1) * each
        order_Q = randomness.permutation(seed, "questions of a refresh", count)
        searched_Q = np.zeros(count, dtype=np.bool_)
        searched_Q[order_Q[(first + np.arange(each)) % count]] = True
        return searched_Q

    def _evidence(self, table: CandidateTable) -> Evidence:
        """What weights go by besides the candidates, by the weights that found them."""
        name, receipt = self.part.as_, table.manifest.receipt
        anchors = {name: table.anchors(self.drawer.positives).lookup} if receipt.get("anchors") else {}
        profiles = {name: np.array(receipt["profile"])} if self.is_profiled else {}
        return Evidence(anchors, profiles)

    # What is on disk

    def _verified(self, named: Mapping[str, Mapping[str, str]], checkpoint: Path) -> None:
        problems = Problems(StorageError)
        fix = f"restore it, delete {checkpoint} to continue from an earlier one, or start another run with --fork NAME"
        for name, about in named.items():
            path = self.folder / name
            try:
                is_other = storage.verify(path, candidates.KIND).digest != about["digest"]
                reasons = ["is another table than the checkpoint names"] if is_other else []
            except StorageError as error:
                reasons = [problem.what for problem in error.problems]
            for why in reasons:
                what = f"{why}; only the weights before update {_version(name)} can make these candidates, and they are"
                problems.found.append(Problem(f"{what} gone", str(path), "refresh", fix))
        problems.stop_if_any()

    def _tidy(self) -> None:
        """Removes what no draw to come and no checkpoint needs: older versions, vectors, what killed runs left."""
        keep = {table.folder.name for table in self.held.values()}
        for receipt in (self.folder.parent / "checkpoints").glob(f"*/{storage.MANIFEST}"):
            keep |= storage.read_manifest(receipt.parent).receipt.get("candidates", {}).keys()
        for child in sorted(self.folder.iterdir()):
            if child.name not in keep:
                storage.remove(child)


def churn(before: Ragged, now: Ragged) -> float:
    """Share of the candidates of a version that the version before it did not have for the same question."""
    fresh = 0
    for start in range(0, len(now), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(now)))
        fresh += int(np.count_nonzero(~np.isin(_pairs(now, rows), _pairs(before, rows))))
    return fresh / max(len(now.columns["passage"]), 1)


def _pairs(table: Ragged, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    owner_N, place_N = table.places(rows)
    return np.asarray(owner_N << 40 | np.asarray(table.columns["passage"][place_N], dtype=np.int64))


def _is_sound(target: Path) -> bool:
    """Whether a table is there already, from an attempt that was stopped later; a damaged one is made anew."""
    if not target.exists():
        return False
    try:
        storage.verify(target, candidates.KIND)
    except StorageError as error:
        log.warning("%s; it is made anew", error)
        storage.remove(target)
        return False
    return True


def _version(name: str) -> int:
    return int(name.rsplit("-", 2)[1])


# The rank profile of a search


def profile_of_ranks(rank_N: NDArray[np.int64], questions: int, depth: int) -> NDArray[np.float64]:
    """P(1) ... P(depth) from the ranks, counted from 1, of all positives that were found for so many questions. What
    lies deeper is left out."""
    counts_R = np.bincount(rank_N[rank_N <= depth], minlength=depth + 1)[1:]
    return counts_R / max(questions, 1)


def profile_of_lists(found: Ragged, positives: Ragged, depth: int) -> NDArray[np.float64]:
    """The same from the list of every question, and its positives. Questions without a positive do not count."""
    rows_Q = np.flatnonzero(positives.lengths())
    owner_N, place_N = found.places(rows_Q)
    owner_K, place_K = positives.places(rows_Q)
    keys_N, keys_K = (
        owner << 40 | np.asarray(table.columns["passage"][place], dtype=np.int64)
        for owner, place, table in ((owner_N, place_N, found), (owner_K, place_K, positives))
    )
    rank_N = np.asarray(found.columns["rank"][place_N], dtype=np.int64)
    return profile_of_ranks(rank_N[np.isin(keys_N, keys_K)], len(rows_Q), depth)
