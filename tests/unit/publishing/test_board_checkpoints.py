"""Published encoders on the leaderboard: a table of their own, verdicts, and what keeps a row out."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mpr.errors import DataError
from mpr.evaluation.scores import Scores
from mpr.publishing import _board_checkpoints, board_entries, board_lock
from tests import boards, shipped

LIKE = "checkpoints/minilm_scifact_files"
UNKNOWN = next(line for line in shipped.text(LIKE).splitlines(keepends=True) if line.startswith("published: {"))
KNOWN = "published: {{source: somewhere, values: {{ndcg10: {value}, recall100: null}}, tolerance: 0.5}}\n"


def scores(ndcg: float, recall: float) -> Scores:
    found = boards.scores(0.5, 1)
    return replace(found, values={"ndcg10": np.full(len(found), ndcg), "recall100": np.full(len(found), recall)})


def row(root: Path, name: str, value: float | None = None) -> Path:
    new = UNKNOWN if value is None else KNOWN.format(value=value)
    return boards.recipe(root, name, LIKE, old=UNKNOWN, new=new)


def add(root: Path, path: Path, run: Path, ndcg: float, system: str = "published") -> None:
    board_entries.add(root, boards.run(run, path, system, 42, 0.5, scores=scores(ndcg, 0.9)))


def cells(root: Path) -> dict[str, dict[str, str]]:
    text = (root / "leaderboard" / "README.md").read_text("utf-8")
    section = text.partition(f"## {_board_checkpoints.TITLE}\n")[2].partition("\n## ")[0]
    table = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    found = {}
    for line in table[1:]:
        found[re.sub(r"^\[(\w+)\].*", r"\1", line[0])] = dict(zip(table[0], line, strict=True))
    return found


def test_a_table_of_their_own(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    wanted = {"exact_row": 64.5, "within_row": 64.1, "off_row": 65.5, "unknown_row": None, "nobody_row": 64.5}
    for name, value in wanted.items():
        path = row(root, f"checkpoints/{name}", value)
        if name != "nobody_row":
            add(root, path, tmp_path / name, 0.645)
    add(root, root / "recipes" / "checkpoints" / "exact_row.yaml", tmp_path / "bm25", 0.6, "bm25")
    boards.recipe(root, "quick", "quickstart")
    board_lock.build(root)
    board_lock.check(root)
    found = cells(root)
    verdicts = {name: cell["verdict"] for name, cell in found.items()}
    assert verdicts == {
        "exact_row": "ndcg10 exact, recall100 unknown; measured",
        "within_row": "ndcg10 within, recall100 unknown; measured",
        "off_row": "ndcg10 off, recall100 unknown; measured",
        "unknown_row": "unknown; measured",
        "nobody_row": "unmeasured",
    }
    assert found["exact_row"]["ours"] == "64.50 / 90.00"
    assert found["exact_row"]["BM25"] == "60.00 / 90.00"
    assert found["exact_row"]["published"] == "64.50 / unknown [1]"
    assert (found["nobody_row"]["ours"], found["nobody_row"]["BM25"]) == ("-", "-")
    assert found["unknown_row"]["published"] == "unknown"
    text = (root / "leaderboard" / "README.md").read_text("utf-8")
    assert "6 rows, 4 of them measured" in text
    assert len(re.findall(r"\| \[exact_row\]", text)) == 1, "in no other table"


def test_a_repeat_is_said(tmp_path: Path) -> None:
    root, path = tmp_path / "tree", row(tmp_path / "tree", "checkpoints/one", 64.5)
    add(root, path, tmp_path / "first", 0.645)
    board_entries.add(root, tmp_path / "first", again="authors")
    board_lock.build(root)
    assert cells(root)["one"]["verdict"] == "ndcg10 exact, recall100 unknown; repeated"


@pytest.mark.parametrize("change", ["tolerance", "length"])
def test_a_changed_recipe_makes_a_row_stale(tmp_path: Path, change: str) -> None:
    """What describes the row changes nothing, what decides the number does."""
    root, path = tmp_path / "tree", row(tmp_path / "tree", "checkpoints/one", 64.5)
    add(root, path, tmp_path / "first", 0.645)
    old, new = {"tolerance": ("0.5}", "0.6}"), "length": ("passage_length: 256", "passage_length: 128")}[change]
    path.write_text(path.read_text().replace(old, new))
    board_lock.build(root)
    assert cells(root)["one"]["verdict"].startswith("stale") == (change == "length")


def test_a_draft_stays_out(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    path = boards.recipe(root, "checkpoints/draft", LIKE, old="varies: []\n", new="varies: []\ndraft: true\n")
    with pytest.raises(DataError, match="is a draft"):
        add(root, path, tmp_path / "run", 0.645)
    board_lock.build(root)
    assert cells(root)["draft"]["verdict"] == "unmeasured (draft: inputs that nobody has pinned)"
