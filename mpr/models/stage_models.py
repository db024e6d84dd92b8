"""The folder of a model that is named: a path, a commit on the Hub, or a stage of the plan that is being trained.

This is the one place where a reference becomes a folder; whoever lets a recipe name a model calls it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mpr.errors import DataError
from mpr.models import locate
from mpr.recipe import model_names
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
