"""A catalogue folder is its own registry: what is a file is a name, and nothing else is."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

import mpr
from mpr import catalogue
from mpr.errors import RecipeError
from tests.conftest import Examined

PLUGIN = '''"""Answers to everything with a constant.

More words.
"""
from mpr.catalogue import Parameters

class Params(Parameters):
    value: int = 42
'''


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A catalogue `mpr.shop` with two names, a private file and a file that is no module."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "constant.py").write_text(PLUGIN)
    (folder / "another.py").write_text('"""Another."""\nclass Params: ...\n')
    (folder / "_shared.py").write_text("")
    (folder / "notes.txt").write_text("")
    monkeypatch.setattr(mpr, "__path__", [*mpr.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    yield "shop"
    catalogue.names.cache_clear()
    for name in [name for name in sys.modules if name.startswith("mpr.shop")]:
        del sys.modules[name]


def test_folder_is_the_registry(shop: str) -> None:
    assert catalogue.names(shop) == ("another", "constant")
    assert catalogue.summary(shop, "constant") == "Answers to everything with a constant."
    assert catalogue.params(shop, "constant")().value == 42


def test_unknown_name_lists_what_there_is(shop: str) -> None:
    with pytest.raises(RecipeError) as caught:
        catalogue.find(shop, "constnat")
    fix = "did you mean 'constant'? known: another, constant"
    assert str(caught.value) == f"shop: unknown name 'constnat' in shop ({fix})"


@pytest.mark.parametrize("name", ["_shared", "__init__", "", ".", "..", "constant.Params", "../errors", "notes", "os"])
def test_only_listed_names_are_imported(shop: str, name: str) -> None:
    before = set(sys.modules)
    with pytest.raises(RecipeError, match="unknown name"):
        catalogue.find(shop, name)
    assert set(sys.modules) <= before | {"mpr.shop"}


def test_params_must_be_strict(shop: str) -> None:
    with pytest.raises(AssertionError, match=r"mpr/shop/another.py: Params must derive from catalogue.Parameters"):
        catalogue.params(shop, "another")
    params = catalogue.params(shop, "constant")
    for bad in ({"value": "42"}, {"value": 4.2}, {"value": True}, {"valeu": 1}):
        with pytest.raises(ValidationError):
            params(**bad)
    with pytest.raises(ValidationError):
        params().value = 1


def test_every_catalogue_of_mpr(examined: Examined) -> None:
    """Each name imports, has a one-line summary and, if it takes parameters, strict ones."""
    count = 0
    for folder in catalogue.FOLDERS:
        for name in catalogue.names(folder):
            summary = catalogue.summary(folder, name)
            assert summary, f"mpr/{folder}/{name}.py"
            assert summary[-1] in ".:)", f"mpr/{folder}/{name}.py: the first line is not a sentence"
            catalogue.params(folder, name)
            count += 1
    examined(count, "catalogue files", at_least=2)
