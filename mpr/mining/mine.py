"""Mining: the sources of a recipe propose candidates for every question, and known positives are taken out of them.
Then the labels of the recipe say what the rest is.

The work is done in chunks of questions. Each chunk is a small committed table of its own until all of them become one,
so a run that was stopped goes on where it was, and several processes can share the chunks. What is proposed for a
question depends on nothing but that question, so any chunk size and any number of processes give the same bytes.

Candidates that came with the records (`{name: file}` without a file) need no mining: the split has them already.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpr import __version__, catalogue, sources, storage
from mpr.batches.choice import Evidence
from mpr.data import candidates
from mpr.data.candidates import ANSWER_MATCH, KNOWN, NEGATIVE, SAME_TEXT, CandidateTable, Labelled
from mpr.data.dataset import Dataset
from mpr.data.pair_labels import Knowledge
from mpr.data.pair_scores import PairScores, Scored
from mpr.data.passages import PassageStore
from mpr.data.positives import PositiveIndex
from mpr.data.questions import SplitStore
from mpr.errors import DataError
from mpr.metrics.answers import AnswerMatcher
from mpr.recipe.keys import Recipe, declared
from mpr.recipe.keys_draw import ANCHORED
from mpr.runtime import processes
from mpr.runtime.processes import ONE_PROCESS, Group
from mpr.runtime.progress import Progress, bar
from mpr.storage.ragged import Ragged

CHUNK = 2_000  # questions
TURNS = 4  # chunks at least that a process of several works on, so that a slow one holds the others up less


def mined_sources(recipe: Recipe) -> list[Any]:
    """The sources that propose before training: not those that came with the records or that the model under training
    looks for (`mpr/mining/refresh.py`, `mpr/training/_step_search.py`)."""
    listed: list[Any] = [source for source in recipe.sources if source is not recipe.own]
    return [source for source in listed if source.name != "file" or source.file is not None]


@dataclass
class Mined:
    """What the sources and labels of a recipe make of a split: each part is computed once, and handed on."""

    dataset: Dataset
    role: str = "train"
    until: str | None = None
    """The label from which on none is applied, because it need not be ready yet; None: all are."""
    group: Group = ONE_PROCESS
    """Those who work together."""

    def make(self, chunk: int | None = None) -> Mined:
        """Makes what is not there yet.

        Every process of the group calls it. The first one prepares the stores and what a source needs (an index),
        chunks of questions are proposed for by all, and the first puts them together when all are done.
        """
        dataset, role, group = self.dataset, self.role, self.group
        group.first(lambda: [dataset.passages_of(role).manifest.digest, dataset.split(role).manifest.digest])
        processes.refuse_other_disk(group.place, dataset.corpus.folder, dataset.corpus.folder.exists())
        self.tables = {name: self.work(name).done(chunk) for name in self._sources}
        if role == "train" and not dataset.recipe.cross_encoders:
            group.first(lambda: sorted(self.knowledge.counts))  # what labels keep beside the split is written now
        return self

    @cached_property
    def _sources(self) -> dict[str, Any]:
        return {source.as_: source for source in mined_sources(self.dataset.recipe)}

    def work(self, name: str) -> Mining:
        """The mining of a source."""
        return Mining.of(self.dataset, self.role, self._sources[name], self.group)

    @cached_property
    def tables(self) -> dict[str, CandidateTable]:
        """The tables of sources, by their `as`; one that was not made is refused."""
        found = {}
        for name in self._sources:
            target = self.work(name).target
            if not target.exists():
                what = f"candidates of source '{name}' were not mined"
                raise DataError(what, where=str(target), key="sources", fix="run `mpr mine RECIPE` first")
            found[name] = CandidateTable(target)
        return found

    @cached_property
    def knowledge(self) -> Knowledge:
        """What the sources propose and what is known of it, after the labels. A source's candidates were mined, or came
        with the records; of the latter nothing was taken out."""
        recipe, mined, split = self.dataset.recipe, self.tables, self.dataset.split(self.role)
        proposed = [source.as_ for source in recipe.sources if source is not recipe.own]  # type: ignore[attr-defined]
        found = Knowledge(
            split.positives,
            {name: mined[name].negatives if name in mined else split.candidates(name) for name in proposed},
            recipe.tiers,
            {name: table.removed for name, table in mined.items()},
            {name: table.anchors(split.positives) for name, table in mined.items() if table.has_anchors},
        )
        found, ground = replace(found, before=found), replace(ground_of(self.dataset, self.role), group=self.group)
        names = [label.name for label in recipe.labels]
        for label in recipe.labels[: names.index(self.until) if self.until in names else None]:
            applied = getattr(catalogue.find("labels", label.name), "applied", None)
            if applied is not None:
                found = applied(label, found, ground)
        if recipe.data.unlabelled is None:
            return found
        drawn = len(np.unique(found.positives.rows.owners()[found.counting]))  # labels may have found positives
        return found.noted("questions", {"drawn": drawn, "without a positive": len(found.positives) - drawn})

    @property
    def stores(self) -> dict[str, PairScores]:
        """What labels go by besides the tables, by names for people; made where it is not there yet."""
        return {f"label {name}": store for name, store in self.knowledge.stores.items()}

    @cached_property
    def evidence(self) -> Evidence:
        """What weights of candidates go by besides the candidates. Tables were mined before labels found more
        positives: their sources give scores to those too."""
        known, anchors = self.knowledge, {}
        teacher, rows = known.scores.get("teacher_QP"), known.positives.rows
        for name in (name for name in self._sources if name in anchored(self.dataset.recipe)):
            owner_N, passage_N = (column[known.counting] for column in (rows.owners(), rows.columns["passage"]))
            score_N = self.tables[name].anchors(known.positives).lookup(owner_N, passage_N)
            score_N = _filled(score_N, self.work(name).source, owner_N, passage_N)
            given_N = np.isfinite(score_N)
            scored = Scored(owner_N[given_N], passage_N[given_N], score_N[given_N])
            anchors[name] = PairScores.of(scored, "same").lookup
        return Evidence(anchors, teacher=None if teacher is None else teacher.lookup)


def anchored(recipe: Recipe) -> set[str]:
    """Sources whose candidates a weight or a label compares with positives, by their `as`."""
    looked = [label for label in recipe.labels if declared(label, "LOOKS_AT_POSITIVES")]
    labelled = {label.source for label in looked if getattr(label, "scores", None) is None}  # type: ignore[attr-defined]
    return labelled | {entry.from_ for entry in recipe.draw.negatives if entry.weight in ANCHORED}


def _filled(score_N: Any, source: sources.Source, question_N: Any, passage_N: Any) -> Any:
    """The scores, and where there is none that of the source, but for passages that it does not propose from."""
    missed_N = np.isnan(score_N) & (passage_N < len(source.ground.passages))
    if missed_N.any():
        score_N[missed_N] = source.scored(question_N[missed_N], passage_N[missed_N])
    return score_N


def scorers(dataset: Dataset) -> dict[str, Path]:
    """The cross-encoders that labels run, by the names that the recipe has for them -> their folders."""
    names = dataset.recipe.cross_encoders
    if not names:
        return {}
    from mpr.models import locate

    ground = ground_of(dataset, "train")
    key = "labels.scores.cross_encoder"
    return {name: locate.model_folder(name, ground.home, ground.models, key=key, quiet=ground.quiet) for name in names}


def ground_of(dataset: Dataset, role: str, source: Any = None) -> sources.Ground:
    """What sources and labels stand on; `source`: the one that is meant."""
    folder = getattr(dataset.recipe.data.corpus, "folder", None)
    place, bars = None if folder is None else Path(folder), partial(bar, quiet=dataset.quiet)
    split, passages, models = dataset.split(role), dataset.passages_of(role), dataset.models.of(source)
    return sources.Ground(split, passages, place, bars, dataset.home, dataset.quiet, models)


@dataclass(frozen=True)
class Kept:
    """Which questions of the split keep what a table has for them."""

    table: CandidateTable
    is_kept_Q: NDArray[np.bool_]


@dataclass(frozen=True)
class Mining:
    """One source, one split, and the table that comes of them."""

    source: sources.Source
    ground: sources.Ground
    target: Path
    receipt: dict[str, Any]
    kept: Kept | None = None
    """Some questions keep what another table has; None: all are searched for."""
    positives: PositiveIndex | None = None
    """Those that have anchors where these are asked for; None: all of the records."""

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        role: str,
        part: Any,
        group: Group = ONE_PROCESS,
        learner: sources.Learner | None = None,
    ) -> Mining:
        ground = replace(ground_of(dataset, role, part), group=group, learner=learner)
        questions, passages = ground.questions, dataset.splits.proposable(role)
        source = sources.of(part, replace(ground, passages=passages))
        receipt = {
            "source": part.model_dump(mode="json", by_alias=True, exclude={"as_", "index"}),
            "origin": source.origin,
            "questions": questions.manifest.digest,
            "passages": passages.manifest.digest,
            "mpr": __version__,
        }
        if role == "train" and part.as_ in anchored(dataset.recipe):
            receipt["anchors"] = True
        name = f"{questions.folder.name}-{part.name}-{storage.json_digest(receipt)[:8]}"
        return cls(source, ground, questions.folder.with_name(name), receipt)

    def done(self, chunk: int | None = None) -> CandidateTable:
        """The table, made where it is not there yet. Every process of the group calls it."""
        group = self.ground.group
        with storage.missing(self.target) if group.place.rank == 0 else nullcontext():
            if not group.first(self._is_there):
                self.source.prepare()
                size = group.first(lambda: chunk or self._chunk())
                self.propose(size)
                group.first(partial(self.finish, size))
        return CandidateTable(self.target)

    def _is_there(self) -> bool:
        if self.target.exists():
            self.tidy()
        return self.target.exists()

    def _chunk(self) -> int:
        """Questions of a chunk: as in a run that was stopped, otherwise so few that each worker has its turns."""
        begun = [int(folder.name.rpartition("-")[2]) for folder in self._begun()]
        workers = self.ground.group.workers
        turns = 1 if workers == 1 else TURNS * workers
        return max(begun, default=max(1, min(CHUNK, math.ceil(len(self.ground.questions) / turns))))

    @cached_property
    def _known(self) -> KnownPositives:
        return KnownPositives(self.ground.questions, self.ground.passages)

    def _parts(self, chunk: int) -> list[Path]:
        """The chunks of this size, in order, whether or not they are there."""
        folder, count = self.target.with_name(f"{self.target.name}-parts-{chunk}"), len(self.ground.questions)
        return [folder / f"{start}-{min(start + chunk, count)}" for start in range(0, count, chunk)]

    def propose(self, chunk: int) -> None:
        """Has the chunks written that are not there yet."""
        parts, group = self._parts(chunk), self.ground.group
        total = sum(last - first for first, last in map(_range, group.share(parts)))
        with self.ground.bar(f"mining {self.receipt['source']['name']}", total) as progress:
            for _ in group.map(self, parts, progress):
                pass  # a chunk is committed, and answers nothing

    def result(self, part: Path) -> Path:
        return part

    def __call__(self, part: Path, progress: Progress) -> None:
        """Writes a chunk: its name says of which questions."""
        first, last = _range(part)
        if not part.exists():
            candidates.write(part, [self._labelled(np.arange(first, last))], self.receipt)
        progress(last - first)

    def _labelled(self, rows: NDArray[np.int64]) -> Labelled:
        """What these questions get: new proposals, or what they have already."""
        if self.kept is None:
            return self._found(rows)
        fresh_N = ~self.kept.is_kept_Q[rows]
        return Labelled.merged(self._found(rows[fresh_N]), self.kept.table.labelled, rows, fresh_N)

    def _found(self, rows: NDArray[np.int64]) -> Labelled:
        """Proposals for these questions told apart, with anchors where they are asked for."""
        found = self.source(rows)
        labelled = self._known(rows, found)
        return replace(labelled, anchors=self._anchors(rows, found)) if self.receipt.get("anchors") else labelled

    def _anchors(self, rows: Any, found: Ragged) -> Ragged:
        """Known positives of these questions with their scores; of one that was proposed, that of the proposal."""
        positives = self.ground.questions.positives if self.positives is None else self.positives
        owner_N, passage_N, _ = positives.known(rows)
        score_N = candidates.scored([found]).lookup(owner_N, passage_N)
        score_N = _filled(score_N, self.source, rows[owner_N], passage_N)
        offsets = np.concatenate([[0], np.cumsum(np.bincount(owner_N, minlength=len(rows)))]).astype(np.int64)
        return Ragged(offsets, {"passage": passage_N, "score": score_N})

    def commit(self, chunk: int) -> None:
        """Puts the chunks together if they are all there."""
        parts = self._parts(chunk)
        if all(part.exists() for part in parts):
            candidates.write(self.target, (CandidateTable(part).labelled for part in parts), self.receipt)

    def finish(self, chunk: int) -> None:
        """Puts the chunks together, all of which are there, and removes them."""
        self.commit(chunk)
        self.tidy()

    def tidy(self) -> None:
        """Removes the chunks of a finished table, also those of runs that were stopped."""
        for folder in self._begun():
            storage.remove(folder)

    def _begun(self) -> list[Path]:
        return sorted(self.target.parent.glob(f"{self.target.name}-parts-*"))


def _range(part: Path) -> tuple[int, int]:
    """The first question of a chunk, and the first behind it."""
    first, last = map(int, part.name.split("-"))
    return first, last


_KEPT = 32_768  # texts kept ready for matching, about 1 kB each


class KnownPositives:
    """Tells the known positives of a question from its candidates, so that none is ever taught as a negative.

    By id: the passage is among the question's positives, of whatever tier. By text: it has the text of one of them,
    white space aside, under another id. By answer, where the question has answers: it contains one
    (`mpr/metrics/answers.py`); this is also how DPR finds distant positives. A candidate gets the first label that
    fits, so the counts add up. Shapes: N pairs (question, candidate), K pairs (question, known positive).
    """

    def __init__(self, questions: SplitStore, passages: PassageStore) -> None:
        self.questions, self.passages = questions, passages
        self._prepared = lru_cache(maxsize=_KEPT)(self._prepare)

    def __call__(self, rows: NDArray[np.int64], found: Ragged) -> Labelled:
        """`found` has the proposals for the questions `rows`."""
        owner_N, place_N = found.places(np.arange(len(rows)))
        passage_N = np.asarray(found.columns["passage"][place_N], dtype=np.int64)
        owner_K, passage_K, _ = self.questions.positives.known(rows)
        hashes = self.passages.text_hashes
        hash_N, hash_K = hashes[passage_N], hashes[passage_K]
        label_N = np.full(len(owner_N), NEGATIVE, dtype=np.uint8)
        label_N[_shared(owner_N, hash_N, owner_K, hash_K)] = SAME_TEXT
        label_N[_shared(owner_N, passage_N, owner_K, passage_K)] = KNOWN
        self._match(rows, owner_N, passage_N, label_N)
        return Labelled.of(found, label_N, hash_N)

    def _match(
        self, rows: NDArray[np.int64], owner_N: NDArray[Any], passage_N: NDArray[Any], label_N: NDArray[np.uint8]
    ) -> None:
        """Labels what contains an answer."""
        ends = np.searchsorted(owner_N, np.arange(len(rows) + 1))
        for number, row in enumerate(rows):
            question = self.questions[int(row)]
            matcher = AnswerMatcher(question.answers, question.regex, question.id)
            for place in range(ends[number], ends[number + 1]) if question.answers else ():
                if label_N[place] == NEGATIVE:
                    prepared = self._prepared(question.regex, int(passage_N[place]))
                    if matcher.found_in_prepared(prepared):
                        label_N[place] = ANSWER_MATCH

    def _prepare(self, regex: bool, passage: int) -> str:
        return AnswerMatcher((), regex).prepare(self.passages[passage].text)


def _shared(
    owner_N: NDArray[Any], value_N: NDArray[Any], owner_K: NDArray[Any], value_K: NDArray[Any]
) -> NDArray[np.bool_]:
    """Which pairs of the first list are in the second. Values are numbered first, so that a pair fits one integer."""
    code = np.unique(np.concatenate([value_N, value_K]), return_inverse=True)[1].reshape(-1)
    code_N, code_K = code[: len(value_N)], code[len(value_N) :]
    return np.isin(owner_N << 32 | code_N, owner_K << 32 | code_K)
