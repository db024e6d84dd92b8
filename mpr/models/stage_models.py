"""The folder of a model that is named: a path, a commit on the Hub, or a stage of the plan that is being trained.

This is the one place where a reference becomes a folder; whoever lets a recipe name a model calls it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mpr.errors import DataError
from mpr.models import locate
from mpr.recipe import model_names
from mpr.recipe.keys import Recipe
from mpr.recipe.model_names import START

Models = Mapping[str, Path]
"""Name of a stage -> its model folder, which may not be there yet; `start`: what this training starts from."""


def located(
    reference: str,
    models: Models,
    home: Path,
    revision: str | None = None,
    *,
    key: str = "model",
    quiet: bool = False,
    unpinned: bool = False,
) -> Path:
    """The model folder of that path, of `org/name@<commit>` on the Hub, of `stage:<name>`, or of `start`."""
    name = START if reference == START else model_names.stage(reference)
    if name is None:
        return locate.located(reference, home, revision, key=key, quiet=quiet, unpinned=unpinned)
    if name not in models:
        what = "this training starts from no model" if name == START else f"no earlier stage is called '{name}'"
        raise DataError(what, key=key, fix=f"known: {', '.join(models) or 'none'}")
    if not models[name].is_dir():
        fix = "`mpr train RECIPE` trains all stages in order; with --stage this one comes after that one"
        raise DataError(f"the model of '{reference}' is not there yet", where=str(models[name]), key=key, fix=fix)
    return models[name]


@dataclass(frozen=True)
class ModelFolders:
    """The models that a recipe, or one of its parts, may name."""

    recipe: Recipe
    home: Path
    stages: Models
    """Models of earlier stages, where the recipe is a stage of a plan."""
    quiet: bool = False

    @cached_property
    def start(self) -> Path | None:
        """The folder of the model that training starts from; None: it starts from `towers.base` or `towers.new`."""
        if self.recipe.start is None:
            return None
        how: Any = {"key": "start", "quiet": self.quiet, "unpinned": self.recipe.draft}
        return located(self.recipe.start, self.stages, self.home, **how)

    def of(self, part: Any) -> Models:
        """Where the models are that a source or a label may name; `start` is looked for only if it names it."""
        if getattr(part, "model", None) != START or self.start is None:
            return self.stages
        return {**self.stages, START: self.start}
