"""The recipes that ship, for the tests that go through all of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from mpr.recipe import read
from mpr.recipe.keys import Recipe
from mpr.recipe.reference import recipe_paths

ROOT = Path(__file__).parents[1]
PATHS = recipe_paths(ROOT)
NAMES = [path.relative_to(ROOT / "recipes").with_suffix("").as_posix() for path in PATHS]


@cache
def recipes() -> dict[str, Recipe]:
    """Name with its folder -> recipe."""
    return {name: read.load(path) for name, path in zip(NAMES, PATHS, strict=True)}


def is_system(name: str) -> bool:
    """Whether it is one of the training systems, which have conventions of their own (tests/e2e/test_systems.py)."""
    return name.startswith("systems/")


def is_checkpoint(name: str) -> bool:
    """Whether it trains nothing, and so has no keys about training (tests/unit/recipe/test_without_training.py)."""
    return name.startswith("checkpoints/")


def text(name: str) -> str:
    return (ROOT / "recipes" / f"{name}.yaml").read_text("utf-8")
