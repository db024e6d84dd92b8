"""The stages of a row, each as what it reads, what it does and what it leaves.

```
trained     data, mine, (label,) train, encode, search, evaluate     <runs>/<recipe>-seed<n>
untrained   data, encode, search, evaluate                           <runs>/<recipe>-seed<n>-untrained
bm25        data, search, evaluate                                   <runs>/<recipe>-bm25
```

`label` is a stage of those recipes whose labels run a model; a cross-encoder ends with `train`, for it cannot search.
The last two are the systems that stand beside every row: the encoders as training found them, and words alone. What a
stage reads is named by digests, so equal inputs give equal outputs, and `mpr/pipeline.py` can tell what has to be done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpr import clusters, label_rules, mine, plan, run_folder, storage, task_rules
from mpr.dataset import Dataset
from mpr.errors import RecipeError
from mpr.receipts import Receipt
from mpr.recipe import Recipe
from mpr.retrieval import Retrieval
from mpr.scores import Scores

if TYPE_CHECKING:
    from mpr.inference import Model

Made = tuple[dict[str, Path], dict[str, Any]]
"""(name -> artefact that was left, facts for the receipt)."""


@dataclass(frozen=True)
class Stage:
    """One step from a recipe to its scores."""

    name: str
    reads: Callable[[Mapping[str, Receipt]], dict[str, str]]
    """Digests of its inputs, given the receipts of the stages before it."""
    work: Callable[[], Made]
    """Does what is missing; goes on where a stopped attempt was."""
    precious: bool = False
    """Never thrown away because its inputs or the code changed: that is refused."""


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

    @property
    def seed(self) -> int:
        return int(self.recipe.training["seed"])

    @cached_property
    def dataset(self) -> Dataset:
        return Dataset(self.recipe, self.home, self.quiet)

    @cached_property
    def retrieval(self) -> Retrieval:
        return Retrieval(self.dataset, self.folder, self.budget)

    def stages(self) -> Iterator[Stage]:
        """In the order in which they are done."""
        yield Stage("data", self._data_reads, self._data)
        if self.system == "trained":
            yield Stage("mine", lambda done: {**_after(done, "data"), "recipe": self._part("sources")}, self._mine)
            if label_rules.scorers(self.recipe):
                yield Stage("label", self._label_reads, self._label)
            yield Stage("train", self._train_reads, self._train, precious=True)
        if task_rules.is_cross_encoder(self.recipe):
            return
        if self.system != "bm25":
            yield Stage("encode", self._encode_reads, self._encode)
        yield Stage("search", self._search_reads, self._search)
        yield Stage("evaluate", self._evaluate_reads, self._evaluate)

    def _part(self, *keys: str) -> str:
        """Digest of some keys of the recipe; where a pinned file lies does not matter."""
        content = self.recipe.model_dump(mode="json", by_alias=True, include=set(keys), exclude_defaults=True)
        content.get("data", {}).get("corpus", {}).pop("folder", None)
        return storage.json_digest(content)

    # Data and candidates

    def _data_reads(self, done: Mapping[str, Receipt]) -> dict[str, str]:
        return {"recipe": self._part("data", "towers", "validation", "labels"), "files": self.dataset.folder.name}

    def _data(self) -> Made:
        built = self.dataset.prepare() if self.system == "trained" else self.dataset.prepare_corpus()
        return {name: store.folder for name, store in built.items()}, {}

    def _mine(self) -> Made:
        made = {name: table.folder for name, table in mine.mine(self.dataset).items()}
        return made | ({} if label_rules.scorers(self.recipe) else self._kept_by_labels()), {}

    def _kept_by_labels(self) -> dict[str, Path]:
        kept = {name: store.folder for name, store in mine.label_stores(self.dataset).items()}
        return {name: folder for name, folder in kept.items() if folder is not None}

    def _label_reads(self, done: Mapping[str, Receipt]) -> dict[str, str]:
        folders = mine.scorers(self.dataset)
        models = {f"model {name}": storage.read_manifest(folder).digest for name, folder in folders.items()}
        return {**_after(done, "data", "mine"), **models, "recipe": self._part("labels")}

    def _label(self) -> Made:
        return self._kept_by_labels(), {}

    # Training

    def _train_reads(self, done: Mapping[str, Receipt]) -> dict[str, str]:
        model = clusters.model_digest(self.recipe, self.home)
        before = ("data", "mine", *(name for name in ("label",) if name in done))
        return {**_after(done, *before), **model, "recipe": plan.digest(self.recipe)}

    def _train(self) -> Made:
        from mpr.train import Launch, run

        if self.recipe.scale.processes == 1:
            run(Launch(self.file, self.recipe.overrides, self.home, self.folder, None, self.quiet))
        else:
            self._trained_elsewhere()
        return {"model": self.folder / "model"}, {}

    def _trained_elsewhere(self) -> None:
        """A row of several processes is trained by a launcher; here it is only seen to be this very row."""
        from mpr.train import prepared

        folder = run_folder.RunFolder(self.folder)
        with ExitStack() as held:
            if prepared(self.recipe, folder, self.dataset, self.recipe.scale.processes, held):
                sets = "".join(f" --set {override}" for override in self.recipe.overrides)
                launch = (
                    f"accelerate launch --num_processes {self.recipe.scale.processes} mpr/train.py {self.file}{sets}"
                )
                what = f"the row is trained by {self.recipe.scale.processes} processes"
                fix = f"run `{launch} --folder {self.folder} --home {self.home}`, then this command again"
                raise RecipeError(what, key="scale.processes", fix=fix)

    # Vectors, ranking, scores

    @cached_property
    def model(self) -> Model:
        from mpr.inference import Model

        if self.system == "untrained":
            return Model.untrained(self.recipe.towers, self.dataset.tokenizer(), self.seed)
        return Model.trained(self.folder / "model", self.recipe.towers)

    def _encode_reads(self, done: Mapping[str, Receipt]) -> dict[str, str]:
        if self.system == "untrained":
            start = {"model": self.model.digest}
        else:
            start = {"model": storage.read_manifest(self.folder / "model").digest, **_after(done, "train")}
        return {**_after(done, "data"), **start, "recipe": self._part("encoding", "towers")}

    def _encode(self) -> Made:
        from mpr import encode

        wanted = self.recipe.encoding
        options = encode.Options(wanted.dtype, wanted.compute, self._device(), quiet=self.quiet)
        stores = self.retrieval.vectors(self.model, options)
        facts = {
            "width": self.model.towers.width,
            "parameters": sum(each.numel() for each in self.model.towers.parameters()),
            "fallback_blocks": sum(
                int(store.manifest.receipt["fallback"]["split_blocks"]) for store in stores.values()
            ),
        }
        return {name: store.folder for name, store in stores.items()}, facts

    def _search_reads(self, done: Mapping[str, Receipt]) -> dict[str, str]:
        before = _after(done, "data") if self.system == "bm25" else _after(done, "encode")
        return {**before, "recipe": self._part("search")}

    def _search(self) -> Made:
        made, facts = {}, dict[str, Any]()
        for role in self.recipe.data.evaluate:
            with self.dataset.bar(f"search {role}", len(self.dataset.split(role))) as progress:
                if self.system == "bm25":
                    self.retrieval.search_words(role, progress)
                else:
                    self.retrieval.search(role, self._device(), progress)
            made[role] = self.retrieval.ranking_file(role).parent
            if (recall := self.retrieval.recall(role)) is not None:
                facts[f"recall {role}"] = asdict(recall)
        if self.system != "bm25" and self.recipe.search.index != "exact":
            made["faiss index"] = self.retrieval.index_place()  # taken away with the rankings when vectors change
        return made, facts

    @staticmethod
    def _device() -> str:
        from mpr import encode
        from mpr.processes import Place

        return encode.device(Place.here())

    def _evaluate_reads(self, done: Mapping[str, Receipt]) -> dict[str, str]:
        return {**_after(done, "data", "search"), "recipe": self._part("evaluation", "labels", "data")}

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


def _after(done: Mapping[str, Receipt], *names: str) -> dict[str, str]:
    return {name: done[name].digest for name in names}
