"""A leaderboard of one's own, anywhere: rows with the recipes of their run folders, drafts marked, edits found."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from mpr.errors import DataError
from mpr.publishing import board_entries, board_lock
from tests import boards
from tests.published import said

DRAFT = {"old": "varies: []\n", "new": "varies: []\ndraft: true\n"}


def finished(folder: Path, name: str = "mine", seed: int = 42, environment: Any = None, **edits: str) -> Path:
    """A run as `mpr reproduce my.yaml` of an installed mpr leaves it: no commit is known, the recipe lies within."""
    path = boards.recipe(folder / "elsewhere", name, "quickstart", **edits)
    environment = environment or {**boards.ENVIRONMENT, "code": {}}
    run = boards.run(folder / f"{name}-seed{seed}", path, "trained", seed, 0.5, environment=environment)
    shutil.copytree(path.parent, run / "recipe")
    shutil.rmtree(folder / "elsewhere")
    return run


def test_a_draft_of_an_installed_mpr_becomes_a_row_that_is_called_a_draft(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, board = finished(tmp_path, **DRAFT), tmp_path / "board"
    said("leaderboard", "add", run, finished(tmp_path, "pinned"), "--board", board)
    assert f"now: mpr leaderboard build --board {board}" in capsys.readouterr().out
    assert (board / "recipes" / "mine.yaml").read_bytes() == (run / "recipe" / "mine.yaml").read_bytes()
    said("leaderboard", "build", "--board", board)
    page = (board / "leaderboard" / "README.md").read_text("utf-8")
    rows = {name: next(line for line in page.splitlines() if line.startswith(f"| [{name}]("))
            for name in ("mine", "pinned")}  # fmt: skip
    assert "no band yet (draft: inputs that nobody has pinned), measured" in rows["mine"]
    assert "| no band yet, measured |" in rows["pinned"]
    assert all("| `unknown` |" in row for row in rows.values()), "no commit is claimed"
    assert "by whoever keeps this board" in page
    assert "by the authors, from this repository" not in page
    said("leaderboard", "build", "--check", "--board", board)
    assert "2 rows and " in capsys.readouterr().out
    (board / "recipes" / "mine.yaml").write_text("edited", "utf-8")
    said("leaderboard", "build", "--check", "--board", board, code=2)
    assert "recipes/mine.yaml row mine: was edited" in capsys.readouterr().err


def test_the_repository_still_refuses_it_and_says_where_it_may_go(tmp_path: Path) -> None:
    run = finished(tmp_path, **DRAFT)
    boards.recipe(tmp_path / "tree", "mine", "quickstart", **DRAFT)
    with pytest.raises(DataError, match="is a draft") as caught:
        board_entries.add(tmp_path / "tree", run)
    assert "--board FOLDER" in str(caught.value)
    board_entries.add(tmp_path / "board", run, own=True)
    with pytest.raises(DataError, match="is the result of a draft"):
        board_lock.build(tmp_path / "board")


def test_uncommitted_code_is_marked(tmp_path: Path) -> None:
    dirty = {**boards.ENVIRONMENT, "code": {"commit": boards.COMMIT, "dirty": True}}
    board_entries.add(tmp_path / "board", finished(tmp_path, environment=dirty), own=True)
    board_lock.build(tmp_path / "board", own=True)
    assert "| `012345678` changed |" in (tmp_path / "board" / "leaderboard" / "README.md").read_text("utf-8")


def test_another_recipe_of_the_same_name_is_refused_or_replaces(tmp_path: Path) -> None:
    board = tmp_path / "board"
    board_entries.add(board, finished(tmp_path), own=True)
    assert board_entries.add(board, tmp_path / "mine-seed42", own=True) == [], "once more is nothing"
    changed = finished(tmp_path, seed=43, old="learning_rate: 1.0e-3", new="learning_rate: 2.0e-3")
    with pytest.raises(DataError, match="another recipe of this name"):
        board_entries.add(board, changed, own=True)
    board_entries.add(board, changed, own=True, replace=True)
    board_lock.build(board, own=True)
    assert "1 stale receipts not counted" in (board / "leaderboard" / "README.md").read_text("utf-8")


def test_overrides_are_refused(tmp_path: Path) -> None:
    path = boards.recipe(tmp_path, "mine", "quickstart")
    run = boards.run(tmp_path / "run", path, "trained", 42, 0.5, overrides=["draw.positives.m=2"])
    shutil.copytree(path.parent, run / "recipe")
    with pytest.raises(DataError, match=r"was run with --set draw\.positives\.m"):
        board_entries.add(tmp_path / "board", run, own=True)
