"""The stages of a row, each as what it reads, what it does and what it leaves.

```
trained     data, mine, (label,) train, encode, search, evaluate     <runs>/<recipe>-seed<n>
published   data, encode, search, evaluate                           <runs>/<recipe>-published
untrained   data, encode, search, evaluate                           <runs>/<recipe>-seed<n>-untrained
bm25        data, search, evaluate                                   <runs>/<recipe>-bm25
```

A recipe without training (`training: none`) has `published` instead of `trained`, and no `untrained` beside it.

`label` is a stage of those recipes whose labels run a model; a cross-encoder ends with `train`, for it cannot search.
The last two are the baselines of every row: the encoders before training, and BM25. What a stage reads is named by
digests, so equal inputs give equal outputs, and `mpr/rows/pipeline.py` knows what has to be done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpr import storage
from mpr.data.dataset import Dataset
from mpr.evaluation.scores import Scores
from mpr.models import local_inputs
from mpr.recipe.keys import Recipe
from mpr.rows._stages_training import BY_STAGE, Training, part_of
from mpr.rows.receipts import Made, Receipt, RowStage, digests_of
from mpr.rows.retrieval import Retrieval
from mpr.runtime.processes import ONE_PROCESS, Group
from mpr.training import run_folder

if TYPE_CHECKING:
    from mpr.search.inference import Model

_OF_DATA = ("data", "towers", "validation", "labels")


@dataclass
class Row:
    """One system of a recipe with one seed."""

    recipe: Recipe
    file: Path
    """The recipe's file; its `--set` arguments are in the recipe."""
    system: str
    home: Path
    folder: Path
    quiet: bool = False
    budget: int = 2 << 30
    group: Group = ONE_PROCESS
    """Those who mine, label, encode and search together."""

    @cached_property
    def dataset(self) -> Dataset:
        return Dataset(self.recipe, self.home, self.quiet)

    @cached_property
    def trainings(self) -> tuple[Training, ...]:
        """One, or one for each stage of a plan; none where nothing is trained."""
        if self.system != "trained":
            return ()
        place = self.file, self.home, self.folder, self.quiet, self.group
        return tuple(Training(self.recipe, stage, *place) for stage in self.recipe.stages)

    @cached_property
    def retrieval(self) -> Retrieval:
        return Retrieval(self.dataset, self.folder, self.budget)

    def stages(self) -> Iterator[RowStage]:
        """In the order in which they are done."""
        yield RowStage("data", self._data_reads, self._data)
        for training in self.trainings:
            yield from training.stages()
        if self.system != "bm25":
            yield RowStage("encode", self._encode_reads, self._encode)
        yield RowStage("search", self._search_reads, self._search)
        yield RowStage("evaluate", self._evaluate_reads, self._evaluate)

    # Data

    def _data_reads(self, done: Mapping[str, Receipt]) -> dict[str, str]:
        parts = {one.stage: part_of(one, *_OF_DATA) for one in self.recipe.stages}
        digest = storage.json_digest(parts) if self.recipe.plan else parts[""]
        more = {
            f"{one.stage} {name}".strip(): found
            for one in self.recipe.stages
            for name, found in local_inputs.files(one, "data").items()
        }
        return {"recipe": digest, "files": self.dataset.corpus.folder.name, **more}

    def _data(self) -> Made:
        if self.system != "trained":
            return _folders(self.dataset.prepare_corpus()), {}
        built = {training.recipe.stage: training.dataset.prepare() for training in self.trainings}
        if not self.recipe.plan:
            return _folders(built[""]), {}
        stores = {f"{stage} {name}": store for stage, found in built.items() for name, store in found.items()}
        return _folders(stores), {BY_STAGE: {stage: Training.trains_on(found) for stage, found in built.items()}}

    # Vectors, ranking, scores

    @cached_property
    def model(self) -> Model:
        from mpr.search.inference import Model
        from mpr.training import learner

        if self.system in ("untrained", "published"):
            return learner.untrained(self.dataset)
        return Model.trained(self.folder / "model", self.recipe.towers)

    def _encode_reads(self, done: Mapping[str, Receipt]) -> dict[str, str]:
        if self.system in ("untrained", "published"):
            start = {"model": self.model.digest}
        else:
            trained = digests_of(done, self.trainings[-1].name("train"))
            start = {"model": storage.read_manifest(self.folder / "model").digest, **trained}
        return {**digests_of(done, "data"), **start, "recipe": part_of(self.recipe, "encoding", "towers")}

    def _encode(self) -> Made:
        from mpr.runtime.processes import Place
        from mpr.search import encode

        wanted = self.recipe.encoding
        device = encode.device(Place.here())
        options = encode.Options(wanted.dtype, wanted.compute, device, quiet=self.quiet, width=wanted.width)
        stores = self.retrieval.vectors(self.model, options, self.group)
        facts = {
            "width": wanted.width or self.model.towers.width,
            "parameters": sum(each.numel() for each in self.model.towers.parameters()),
            "fallback_blocks": sum(
                int(store.manifest.receipt["fallback"]["split_blocks"]) for store in stores.values()
            ),
        }
        return {name: store.folder for name, store in stores.items()}, facts

    def _search_reads(self, done: Mapping[str, Receipt]) -> dict[str, str]:
        before = digests_of(done, "data") if self.system == "bm25" else digests_of(done, "encode")
        return {**before, "recipe": part_of(self.recipe, "search")}

    def _search(self) -> Made:
        made, facts = {}, dict[str, Any]()
        for role in self.recipe.data.evaluate:
            self.retrieval.ranked(role, self.group, words=self.system == "bm25")
            made[role] = self.retrieval.ranking_file(role).parent
            if (recall := self.retrieval.recall(role)) is not None:
                facts[f"recall {role}"] = asdict(recall)
        if self.system != "bm25" and self.recipe.search.index != "exact":
            made["faiss index"] = self.retrieval.index_place()  # taken away with the rankings when vectors change
        return made, facts

    def _evaluate_reads(self, done: Mapping[str, Receipt]) -> dict[str, str]:
        return {**digests_of(done, "data", "search"), "recipe": part_of(self.recipe, "evaluation", "labels", "data")}

    def _evaluate(self) -> Made:
        made = {}
        for role in self.recipe.data.evaluate:
            target = self.folder / "scores" / role
            self.scored(role, run_folder.name(self.recipe, self.system)).keep(target)
            made[role] = target
        return made, {}

    def scored(self, role: str, name: str) -> Scores:
        """The scores of the ranking as it lies there."""
        ranking = self.retrieval.ranking(role)
        return self.retrieval.evaluate(role, ranking, name, self.retrieval.receipt(role), own=True)


def _folders(built: Mapping[str, Any]) -> dict[str, Path]:
    return {name: store.folder for name, store in built.items()}
