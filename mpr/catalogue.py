"""A name becomes the file of that name in a catalogue folder; the folder is the registry.

A catalogue file has a docstring whose first line says what it is, a frozen pydantic `Params` (its keys in a recipe),
and one function or class. Adding something to mpr is adding such a file; nothing else lists it.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType

from pydantic import BaseModel, ConfigDict

from mpr.errors import RecipeError, nearest

FOLDERS = ("corpora", "labels", "objectives", "sources")


class Parameters(BaseModel):
    """Base of every `Params`: frozen, no unknown keys, no silent conversion."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


@cache
def names(folder: str) -> tuple[str, ...]:
    """Everything that a catalogue offers, in alphabetical order."""
    package = importlib.import_module(f"mpr.{folder}")
    return tuple(sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.name[0] != "_"))


def find(folder: str, name: str) -> ModuleType:
    """The module of that name, or a refusal that lists what there is."""
    if name not in names(folder):
        hint = nearest(name, names(folder))
        fix = f"{hint} known: {', '.join(names(folder))}".strip()
        raise RecipeError(f"unknown name '{name}' in {folder}", key=folder, fix=fix)
    return importlib.import_module(f"mpr.{folder}.{name}")


def summary(folder: str, name: str) -> str:
    """First line of the file's docstring."""
    return (find(folder, name).__doc__ or "").strip().splitlines()[0]


def params(folder: str, name: str) -> type[Parameters]:
    """The class of a catalogue file's recipe keys."""
    found: type[Parameters] = find(folder, name).Params
    assert issubclass(found, Parameters), f"mpr/{folder}/{name}.py: Params must derive from catalogue.Parameters"
    return found
