"""Candidates from a file: three formats, the canonical order, and everything that does not fit refused or said."""

from __future__ import annotations

import json
import logging
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from mpr import sources
from mpr.errors import DataError
from mpr.records import Candidate, Group, Passage, Question
from mpr.sources.file import Params
from tests.unit.grounds import asked, ground, lists, proposed, source

TEXTS = [Passage(f"p{row}", f"text {row}") for row in range(6)]
RUN = "q1 Q0 p3 1 2.5 x\nq0 Q0 p5 1 1.0 x\nq1 Q0 p4 2 7.5 x\nq0 Q0 p2 2 1.0 x\nelse Q0 p9 1 1 x\nq1 Q0 p0 3 2.5 x\n"
RESULTS = [
    {"question": "question q1", "answers": ["a"], "ctxs": [{"id": "p4", "score": "7.5"}, {"id": "p3", "score": 2.5}]},
    {"question": "of another split", "answers": [], "ctxs": [{"id": "p9", "score": 1}]},
    {
        "question": "anything",
        "id": "q2",
        "ctxs": [{"id": "p0", "score": -1, "title": "t", "text": "x", "has_answer": True}],
    },
]
ROWS = [
    {"query_id": "q2", "query_text": "x", "positive_document_ids": ["p0"], "negative_document_ids": ["p5", "p1", "p3"]},
    {"query_id": "q0", "query_text": "x", "positive_document_ids": [], "negative_document_ids": ["p4"]},
]


@pytest.fixture
def stood(tmp_path: Path) -> sources.Ground:
    listed = tuple(Candidate(f"p{row}", "bm25", rank) for rank, row in enumerate((4, 1), 1))
    groups = [asked("q0", "p0"), asked("q1"), asked("q2"), Group(Question("q3", "question q1"), (), listed)]
    made = ground(tmp_path, TEXTS, groups, sources=("bm25",))
    (tmp_path / "run").write_text(RUN)
    (tmp_path / "results").write_text(json.dumps(RESULTS))
    (tmp_path / "rows").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return made


def test_a_run_is_ordered_by_score_then_by_the_collection(
    stood: sources.Ground, caplog: pytest.LogCaptureFixture
) -> None:
    made = source(stood, "file", file="run", format="trec")
    found = made(np.arange(4))
    assert lists(found) == [[2, 5], [4, 0, 3], [], []]
    assert lists(found, "score") == [[1.0, 1.0], [7.5, 2.5, 2.5], [], []]
    assert lists(found, "rank") == [[1, 2], [1, 2, 3], [], []]
    assert "run: 1 questions are not in the split and were left out" in caplog.text
    assert proposed(stood, "file", file="run", format="trec", depth=1) == [[2], [4], [], []]
    assert made.origin == {"file": "run", "sha256": sha256(RUN.encode()).hexdigest()}


def test_results_of_dpr_are_known_by_id_or_by_text(stood: sources.Ground, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = proposed(stood, "file", file="results", format="dpr_results")
    assert found == [[], [4, 3], [0], [4, 3]]  # two questions with one text have one result
    assert "results: 1 questions" in caplog.text


def test_negatives_of_tevatron_keep_their_order(stood: sources.Ground) -> None:
    assert proposed(stood, "file", file="rows", format="tevatron") == [[4], [], [5, 1, 3], []]
    assert proposed(stood, "file", file="rows", format="tevatron", depth=2) == [[4], [], [5, 1], []]
    scores = source(stood, "file", file="rows", format="tevatron")(np.arange(4)).columns["score"]
    assert np.isnan(scores).all()


def test_lists_of_the_records(stood: sources.Ground) -> None:
    made = source(stood, "file", **{"as": "bm25"})
    assert lists(made(np.array([3, 0]))) == [[4, 1], []]
    with pytest.raises(DataError, match="no candidates called 'other'"):
        source(stood, "file", **{"as": "other"})(np.arange(2))


def test_what_does_not_fit_is_refused(stood: sources.Ground) -> None:
    assert stood.folder is not None
    (stood.folder / "strange").write_text("q0 Q0 p77 1 1.0 x\n")
    (stood.folder / "foreign").write_text("z Q0 p1 1 1.0 x\n")
    for message, params in (
        ("passage p77 is not in the collection", {"file": "strange"}),
        ("no candidates for any question of the split", {"file": "foreign"}),
        ("file of candidates is not there", {"file": "gone"}),
        ("is not the pinned file", {"file": "run", "sha256": "0" * 64}),
    ):
        with pytest.raises(DataError, match=message):
            proposed(stood, "file", format="trec", **params)
    right = sha256(RUN.encode()).hexdigest()
    assert proposed(stood, "file", file="run", format="trec", sha256=right)[0] == [2, 5]


@pytest.mark.parametrize(
    "params", [{"file": "x"}, {"format": "trec"}, {"depth": 3}, {"sha256": "0" * 64}, {"file": "x", "format": "csv"}]
)
def test_parameters_belong_together(params: dict[str, Any]) -> None:
    assert Params(**{"as": "a", "file": "x", "format": "trec", "depth": 3}).file == "x"
    with pytest.raises(ValidationError):
        Params(**{"as": "a", **params})
