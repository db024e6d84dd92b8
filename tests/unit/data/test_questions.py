"""The split store: questions come out as they went in, and tell what is known about them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpr.batches.draw import Drawer
from mpr.corpora import Split
from mpr.data import _split_builder
from mpr.data.questions import SplitStore
from mpr.errors import DataError, StorageError
from mpr.recipe.keys_draw import Draw
from mpr.records import Group, Positive, Question
from tests.unit.labelled import build, group, store

QUESTIONS = [
    Question("a", "What?", ("one", "two")),
    Question("b", "Who?\nNul \0, \u202eleft", (), False),
    Question("c", "When?", (r"19\d\d", "", "\U0001f600"), True),
    Question("é", "x" * 100_000, ("y",) * 50),
    Question("e", "e"),
]


@pytest.mark.parametrize("batch", [1, 2, 5, 2048])
def test_questions_come_out_as_they_went_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(_split_builder, "_BATCH", batch)
    seen: list[int] = []
    groups = [Group(question, (Positive("p1"),)) for question in QUESTIONS]
    build(tmp_path, groups, store=store(tmp_path), progress=seen.append, split=Split(5, regex=True))
    split = SplitStore(tmp_path / "split")
    assert list(split) == [split[row] for row in range(5)] == QUESTIONS
    assert split.ids == [question.id for question in QUESTIONS]
    assert split.texts == [question.text for question in QUESTIONS]
    assert len(split) == sum(seen) == split.manifest.receipt["read"] == 5
    assert split.manifest.receipt["regex"] is True


def test_candidates_by_source(tmp_path: Path) -> None:
    split = build(tmp_path, [group("a", "p1", dense="p2")], store=store(tmp_path), sources=("bm25", "dense"))
    assert split.sources == ("bm25", "dense")
    assert [len(split.candidates(name).row(0, "passage")) for name in split.sources] == [0, 1]
    with pytest.raises(DataError, match=r"no candidates called 'bm52' .the records have: bm25, dense"):
        split.candidates("bm52")
    bare = tmp_path / "bare"
    bare.mkdir()
    with pytest.raises(DataError, match="the records have: none"):
        build(bare, [group("a", "p1")], store=store(bare), sources=()).candidates("bm25")


def test_a_split_can_be_drawn_from(tmp_path: Path) -> None:
    """Rows of the stores are the ids of a step: no other table stands between them."""
    passages = store(tmp_path)
    groups = [group("a", "p1 p2:llm", bm25="p9 p8"), group("b", "p3", bm25="p7")]
    split = build(tmp_path, groups, store=passages)
    draw = {"from": "bm25", "k": 2, "weight": "top", "short": "fewer"}
    config = {"questions": "sequential", "positives": {"policy": "all"}, "negatives": (draw,), "in_batch": True}
    tables = {"bm25": split.candidates("bm25")}
    step = Drawer(Draw.model_validate(config), split.positives, ("gold",), tables, len(passages), 2, seed=0)(0)
    named = [passages.ids(rows) for rows in (step.block.positive_N, step.block.negative_N)]
    assert named == [["p1", "p3"], ["p9", "p8", "p7"]]
    assert step.shortages == {"bm25": 1}


def test_a_store_of_another_kind_is_refused(tmp_path: Path) -> None:
    store(tmp_path)
    with pytest.raises(StorageError, match="is of kind 'passages', not 'split'"):
        SplitStore(tmp_path / "passages")
