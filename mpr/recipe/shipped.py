"""The recipes that come with mpr, found by name from any folder: those of the checkout, or those in the wheel."""

from __future__ import annotations

import os
from pathlib import Path

from mpr.errors import RecipeError, StorageError, nearest

NOT_RECIPES = ("accelerate",)  # launch files
_PACKAGE = Path(__file__).parents[1]


def folder() -> Path:
    """Where they lie: `recipes/` of the checkout when mpr runs from one, else the copy in the installed package."""
    for place in (_PACKAGE / "shipped" / "recipes", _PACKAGE.parent / "recipes"):
        if (place / "schema.json").is_file():
            return place
    what = "the recipes that come with mpr are missing"
    raise StorageError(what, where=str(_PACKAGE / "shipped"), fix="install mpr-retrieval again")


def names() -> dict[str, Path]:
    """Bare name (`quickstart`, `trec_bce_m3`, `lora`) -> file, in alphabetical order of the files."""
    place = folder()
    paths = (path for path in sorted(place.rglob("*.yaml")) if path.relative_to(place).parts[0] not in NOT_RECIPES)
    return {path.stem: path for path in paths}


def find(name: str | Path) -> Path:
    """The file that a user means: a file that exists, or else the recipe of that name that comes with mpr.

    A shipped one is named bare (`quickstart`), with its folder (`mini/world_nll_m1`), or as in a checkout
    (`recipes/quickstart.yaml`).
    """
    path = Path(name)
    if os.path.exists(path):
        return path
    place, known = folder(), names()
    if len(path.parts) == 1 and path.name in known:
        return known[path.name]
    for below in {path, path.with_name(f"{path.name}.yaml")} if not path.is_absolute() else ():
        shipped = place / (below.relative_to("recipes") if below.parts[0] == "recipes" else below)
        if len(below.parts) > 1 and shipped in known.values():
            return shipped
    fix = f"{nearest(path.stem, known)} `mpr recipes` lists those that come with mpr".strip()
    raise RecipeError("no such file, and no recipe of this name comes with mpr", where=str(name), fix=fix)
