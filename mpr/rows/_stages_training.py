"""The stages of a row in which something is trained: once, or once for each stage of the row's plan.

```
without a plan   mine, (label,) train                                <run>/model
with one         mine <stage>, (label <stage>,) train <stage>, ...   <run>/stages/<stage>/model, the last as <run>/model
```

What a stage of a plan reads is named by digests of its own recipe, its own data, and the models of the earlier stages
that it names. So a change of one stage makes that stage and those that build on it anew, and no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mpr import storage
from mpr.data.dataset import Dataset
from mpr.errors import RecipeError
from mpr.mining import clusters, mine
from mpr.mining.mine import Mined
from mpr.models import local_inputs
from mpr.recipe import model_names, plan
from mpr.recipe import stages as recipe_plan
from mpr.recipe.keys import Recipe
from mpr.rows.receipts import FILES, Made, Receipt, Receipts, RowStage, digests_of
from mpr.runtime.processes import ONE_PROCESS, Group
from mpr.training import run_folder

BY_STAGE = "data of"  # fact of the receipt of the data: the part of it that each stage of a plan trains on


@dataclass
class Training:
    """One training of a row."""

    row: Recipe
    recipe: Recipe
    """Of this training: the row's own, or that of a stage of its plan."""
    file: Path
    home: Path
    run: Path
    """The folder of the row."""
    quiet: bool = False
    group: Group = ONE_PROCESS

    @property
    def folder(self) -> Path:
        return run_folder.of_stage(self.run, self.recipe)

    @cached_property
    def dataset(self) -> Dataset:
        return Dataset(self.recipe, self.home, self.quiet, run_folder.models(self.run, self.recipe))

    @cached_property
    def mined(self) -> Mined:
        """What sources and labels make of its training split."""
        return Mined(self.dataset, group=self.group)

    def stages(self) -> Iterator[RowStage]:
        """In the order in which they are done. Another kind of stage is another line here."""
        yield RowStage(self.name("mine"), self._mine_reads, self._mine)
        if self.recipe.cross_encoders:
            yield RowStage(self.name("label"), self._label_reads, self._label)
        yield RowStage(self.name("train"), self._train_reads, self._train, self.folder)

    def name(self, kind: str) -> str:
        """Of the receipt of one of its stages."""
        return named(kind, self.recipe)

    @staticmethod
    def trains_on(built: Mapping[str, Any]) -> str:
        """Digest of what a training sees of prepared data."""
        seen = {name: store for name, store in built.items() if name.split()[0] in ("corpus", "train", "validation")}
        return storage.json_digest({name: store.manifest.digest for name, store in seen.items()})

    # What is read

    def _data(self, done: Mapping[str, Receipt]) -> dict[str, str]:
        if not self.recipe.stage:
            return digests_of(done, "data")
        return {"data": str(done["data"].facts[BY_STAGE][self.recipe.stage])}

    def _models(self, done: Mapping[str, Receipt], *keys: str) -> dict[str, str]:
        """Of the earlier stages that are named under these keys, and of what is started from elsewhere."""
        names = {f"train {name}" for _, name in recipe_plan.references(self.recipe, keys)}
        found = digests_of(done, *sorted(names))
        if "start" in keys and self.recipe.start is not None and model_names.is_elsewhere(self.recipe.start):
            assert self.dataset.models.start is not None
            found["start"] = storage.read_manifest(self.dataset.models.start).digest
        return found

    def _mine_reads(self, done: Mapping[str, Receipt]) -> dict[str, str]:
        from_start = any(getattr(source, "model", None) == model_names.START for source in self.recipe.sources)
        labelled = [] if self.recipe.cross_encoders else ["labels"]  # else they have a stage of their own
        keys = ["sources", *(labelled if self.recipe.stage else [])]  # of a plan they are no part of the data
        models = self._models(done, *keys, *(["start"] if from_start else []))
        anchored = sorted(mine.anchored(self.recipe))  # the draw asks a table for more
        more = {"anchors": storage.json_digest(anchored)} if anchored else {}
        more |= local_inputs.files(self.recipe, "sources", *labelled) | local_inputs.models(self.recipe)
        return {**self._data(done), **models, **more, "recipe": part_of(self.recipe, *keys)}

    def _label_reads(self, done: Mapping[str, Receipt]) -> dict[str, str]:
        folders = mine.scorers(self.dataset)
        models = {f"model {name}": storage.read_manifest(folder).digest for name, folder in folders.items()}
        before = {**self._data(done), **digests_of(done, self.name("mine"))}
        files = local_inputs.files(self.recipe, "labels")
        return {**before, **models, **files, "recipe": part_of(self.recipe, "labels")}

    def _train_reads(self, done: Mapping[str, Receipt]) -> dict[str, str]:
        made = (self.name(kind) for kind in ("mine", "label"))
        before = {**self._data(done), **digests_of(done, *(name for name in made if name in done))}
        models = {**self._models(done, *recipe_plan.NAMING), **self._digests(), **local_inputs.encoders(self.recipe)}
        return {**before, **models, "recipe": plan.digest(self.recipe)}

    def _digests(self) -> dict[str, str]:
        """Of models that the training asks for vectors or scores."""
        found = clusters.model_digest(self.dataset)
        if self.recipe.step_teacher is None:
            return found
        from mpr.training import step_teacher  # it loads torch, which other rows do not need for their status

        return {**found, **step_teacher.model_digest(self.dataset)}

    # What is done

    def _mine(self) -> Made:
        made = {name: table.folder for name, table in self.mined.make().tables.items()}
        return made | ({} if self.recipe.cross_encoders else self._kept_by_labels()), {}

    def _label(self) -> Made:
        return self._kept_by_labels(), {}

    def _kept_by_labels(self) -> dict[str, Path]:
        kept = {name: store.folder for name, store in self.mined.stores.items()}
        return {name: folder for name, folder in kept.items() if folder is not None}

    def _train(self) -> Made:
        from mpr.training.launch import Launch, run

        if self.recipe.scale.processes == 1:
            stage = self.recipe.stage or None
            run(self.row, Launch(self.home, self.run, quiet=self.quiet, stage=stage), self.mined)
        else:
            self._trained_elsewhere()
        made = {"model": self.folder / "model"}
        if recipe_plan.is_last(self.row, self.recipe):
            made["model of the row"] = run_folder.publish_last_stage(self.run, self.recipe)
        receipts, folder = Receipts(self.run, self.home), run_folder.RunFolder(self.folder)
        files = (folder.metrics, folder.identity)  # the curve of the result is read from the first
        return made, {FILES: {receipts.place(file): storage.sha256_file(file) for file in files}}

    def _trained_elsewhere(self) -> None:
        """What several processes train, a launcher starts; here it is only seen to be this very training."""
        from mpr.training.launch import prepared

        folder, processes = run_folder.RunFolder(self.folder), self.recipe.scale.processes
        with ExitStack() as held:
            if prepared(self.mined, folder, processes, held):
                sets = "".join(f" --set {override}" for override in self.row.overrides)
                sets += f" --stage {self.recipe.stage}" if self.recipe.stage else ""
                launch = f"accelerate launch --num_processes {processes} mpr/train.py {self.file}{sets}"
                what = f"the {'stage' if self.recipe.stage else 'row'} is trained by {processes} processes"
                fix = f"run `{launch} --folder {self.run} --home {self.home}`, then this command again"
                raise RecipeError(what, key="scale.processes", fix=fix)


def named(kind: str, recipe: Recipe) -> str:
    """`train`, or `train <stage>` in a plan."""
    return f"{kind} {recipe.stage}" if recipe.stage else kind


def part_of(recipe: Recipe, *keys: str) -> str:
    """Digest of some keys of a recipe; where a pinned file lies does not matter."""
    content = recipe.model_dump(mode="json", by_alias=True, include=set(keys), exclude_defaults=True)
    content.get("data", {}).get("corpus", {}).pop("folder", None)
    return storage.json_digest(content)
