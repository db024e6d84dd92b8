"""A name becomes the file of a recipe that comes with mpr, from any folder; a file that exists always wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpr.errors import RecipeError, StorageError
from mpr.recipe import read, shipped
from tests.conftest import Examined
from tests.house.source import ROOT
from tests.published import said


def test_every_shipped_recipe_has_a_name_of_its_own(examined: Examined) -> None:
    files = [path for path in (ROOT / "recipes").rglob("*.yaml") if path.parent.name != "accelerate"]
    assert sorted(shipped.names().values()) == sorted(files)
    for name in ("quickstart", "trec_bce_m3", "world_nll_m1", "lora"):
        read.load(shipped.names()[name])
    examined(len(files), "recipes by name", at_least=100)


@pytest.mark.parametrize("name", ["quickstart", "recipes/quickstart", "recipes/quickstart.yaml"])
def test_found_from_any_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shipped.find(name) == ROOT / "recipes" / "quickstart.yaml"
    assert shipped.find(name.replace("quickstart", "mini/world_nll_m1")).parent == ROOT / "recipes" / "mini"


def test_a_file_that_exists_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quickstart").write_text("mine", "utf-8")
    assert shipped.find("quickstart") == Path("quickstart")


@pytest.mark.parametrize(
    "name, fix", [("quickstar", "did you mean 'quickstart'? `mpr recipes`"), ("quickstart.yaml", "'quickstart'"),
                  ("runs/quickstart.yaml", "'quickstart'"), ("/quickstart", "'quickstart'"), ("zzz", "(`mpr recipes`")],
)  # fmt: skip
def test_another_name_is_refused(name: str, fix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError) as caught:
        shipped.find(name)
    assert str(caught.value).startswith(f"{name}: no such file, and no recipe of this name")
    assert fix in str(caught.value)


def test_an_installation_without_recipes_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path / "mpr")
    with pytest.raises(StorageError, match="install mpr-retrieval again"):
        shipped.find("quickstart")
    below = tmp_path / "mpr" / "shipped" / "recipes"
    below.mkdir(parents=True)
    (below / "schema.json").write_text("{}", "utf-8")
    (below / "mine.yaml").write_text("", "utf-8")
    assert shipped.find("mine") == below / "mine.yaml"


def test_commands_take_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    said("check", "quickstart", "trec_bce_m3")
    assert capsys.readouterr().out == "2 of 2 recipes are good\n"
    said("check", "quickstart", "nope", code=2)
    assert "1 of 2 recipes are good" in capsys.readouterr().err
    said("plan", "trec_bce_m3")
    assert capsys.readouterr().out.startswith("recipe      trec_bce_m3\n")
    said("data", "quickstar", code=2)
    assert "did you mean 'quickstart'" in capsys.readouterr().err
