"""Candidates from triples: each negative once, in the order of the file, of questions and positives that are known."""

from __future__ import annotations

import gzip
import hashlib
import logging
import random
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from mpr import sources
from mpr.errors import DataError
from mpr.labels import _score_files
from mpr.records import Passage
from mpr.sources import triples
from mpr.sources.triples import Params
from tests.lying_server import LyingServer
from tests.unit.grounds import asked, ground, lists, proposed, source

TEXTS = [Passage(f"p{row}", f"text {row}") for row in range(9)]
TRIPLES = "q1 p1 p7\nq0 p0 p5\nq1 p2 p3\nelse p9 p9\nq1 p1 p3\nq0 p0 p4\nq1 p2 p7\nq0 p0 p8\n".replace(" ", "\t")
IDS = {"file": "ids.tsv.gz", "format": "ids", "unknown": "refuse"}


@pytest.fixture
def stood(tmp_path: Path) -> sources.Ground:
    made = ground(tmp_path, TEXTS, [asked("q0", "p0"), asked("q1", "p1 p2"), asked("q2", "p3")])
    (tmp_path / "ids.tsv.gz").write_bytes(gzip.compress(TRIPLES.encode()))
    scores = [f"{row}.5\t-{row}\t{line}\n" for row, line in enumerate(TRIPLES.splitlines())]
    (tmp_path / "scored.tsv").write_text("".join(scores))
    return made


def test_negatives_in_the_order_of_the_file(stood: sources.Ground, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        made = source(stood, "triples", **IDS)
        found = made(np.arange(3))
    assert lists(found) == [[5, 4, 8], [7, 3], []]
    assert lists(found, "rank") == [[1, 2, 3], [1, 2], []]
    assert np.isnan(found.columns["score"]).all()
    assert "ids.tsv.gz: 1 questions are not in the split and were left out" in caplog.text
    assert proposed(stood, "triples", **IDS | {"file": "scored.tsv", "format": "scored"}) == lists(found)
    assert proposed(stood, "triples", **IDS, depth=1) == [[5], [7], []]
    packed = (stood.folder or Path()) / "ids.tsv.gz"
    assert made.origin == {"file": "ids.tsv.gz", "sha256": sha256(packed.read_bytes()).hexdigest()}


def test_many_triples_by_another_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than are read at once, in any order; 200 questions with two positives each."""
    monkeypatch.setattr(triples, "_CHUNK", 700)
    dice, count = random.Random(3), 20_000
    made = ground(
        tmp_path,
        [Passage(f"p{row}", "x") for row in range(600)],
        [asked(f"q{row}", f"p{row} p{row + 200}") for row in range(200)],
    )
    expected: list[dict[int, None]] = [{} for _ in range(200)]
    lines = []
    for _ in range(count):
        question, negative = dice.randrange(200), dice.randrange(400, 600)
        expected[question][negative] = None
        lines.append(f"q{question}\tp{question + dice.choice((0, 200))}\tp{negative}\n")
    (tmp_path / "many").write_text("".join(lines))
    assert proposed(made, "triples", file="many", format="ids", unknown="refuse") == [list(one) for one in expected]


def test_a_positive_that_the_split_does_not_know(stood: sources.Ground, caplog: pytest.LogCaptureFixture) -> None:
    assert stood.folder is not None
    (stood.folder / "odd").write_text("q0\tp0\tp5\nq0\tp1\tp6\nq2\tp3\tp6\nq1\tp0\tp8\n")
    with pytest.raises(
        DataError, match=r"odd:2.*passage p1 is not known to be a positive of question q0.*unknown: drop"
    ):
        proposed(stood, "triples", file="odd", format="ids", unknown="refuse")
    with caplog.at_level(logging.WARNING):
        assert proposed(stood, "triples", file="odd", format="ids", unknown="drop") == [[5], [], [6]]
    assert "odd: 2 triples have a positive that the split does not know" in caplog.text


@pytest.mark.parametrize(
    "text, message",
    [
        ("q0\tp0\tp5\nq0\tp0\tp77\n", r"file:2.*passage p77 is not in the collection"),
        ("q0\tp77\tp5\n", r"file:1.*passage p77 is not in the collection"),
        ("x\tp0\tp5\n", r"has no triple of a question of the split"),
        ("q0\tp0\n", r"file:1.*2 tab-separated columns instead of 3"),
    ],
)
def test_refused(stood: sources.Ground, text: str, message: str) -> None:
    assert stood.folder is not None
    (stood.folder / "file").write_text(text)
    with pytest.raises(DataError, match=message):
        proposed(stood, "triples", file="file", format="ids", unknown="refuse")


def test_the_file_is_the_pinned_one(stood: sources.Ground) -> None:
    made = source(stood, "triples", **IDS)
    assert proposed(stood, "triples", **IDS, sha256=made.origin["sha256"])
    with pytest.raises(DataError, match="is not the pinned file: expected sha256 0000000000000000"):
        proposed(stood, "triples", **IDS, sha256="0" * 64)
    with pytest.raises(DataError, match=r"file of candidates is not there.*check sources.file"):
        proposed(stood, "triples", **IDS | {"file": "gone"})
    with pytest.raises(ValidationError):
        Params(**{"as": "t", **IDS, "format": "scores"})
    assert Params(**{"as": "t", **IDS}).pins == {"ids.tsv.gz": "not pinned"}


def test_a_file_with_an_address_is_downloaded_and_checked(stood: sources.Ground, tmp_path: Path) -> None:
    """By the source and by the label, which share what came; a folder of the user's goes first."""
    content = b"9\t1\tq0\tp0\tp5\n9\t2.5\tq0\tp0\tp4\n"
    sum_, away = hashlib.md5(content, usedforsecurity=False).hexdigest(), replace(stood, folder=None, home=tmp_path)
    with LyingServer(content, b"other") as server:
        keys = {"file": "far.tsv", "url": f"{server.endpoint}/far.tsv", "md5": sum_}
        made = source(away, "triples", **keys, format="scored", unknown="refuse")(np.arange(3))
        scores = _score_files.of_file(_score_files.Scores(**keys, format="triples"), away)
        assert scores.lookup(made.owners(), made.columns["passage"]).tolist() == [1.0, 2.5]
        assert server.ranges == [None]
        with pytest.raises(DataError, match=f"expected md5 {'0' * 16}"):
            proposed(away, "triples", **keys | {"md5": "0" * 32}, format="scored", unknown="refuse")
        assert stood.folder is not None
        (stood.folder / "far.tsv").write_bytes(b"x" + content)
        with pytest.raises(DataError, match=f"expected md5 {sum_[:16]}"):
            proposed(stood, "triples", **keys, format="scored", unknown="refuse")
    assert Params(**{"as": "t", **keys}, format="scored", unknown="drop").pins == {"far.tsv": f"md5 {sum_}"}
    with pytest.raises(ValidationError):
        Params(**{"as": "t", **keys, "url": "https://name:secret@example.org/f"}, format="scored", unknown="drop")


def test_the_label_teacher_reads_the_scores_of_the_same_file(stood: sources.Ground) -> None:
    """What the source leaves aside: each pair with its score, positives and candidates alike."""
    assert stood.folder is not None
    (stood.folder / "same.tsv").write_text("9\t1\tq0\tp0\tp5\n9\t2.5\tq0\tp0\tp4\n-1\t3\tq1\tp2\tp7\n")
    wanted = _score_files.Scores(file="same.tsv", format="triples")
    scores = _score_files.of_file(wanted, stood)
    candidates = source(stood, "triples", file="same.tsv", format="scored", unknown="refuse")(np.arange(3))
    assert scores.lookup(candidates.owners(), candidates.columns["passage"]).tolist() == [1.0, 2.5, 3.0]
    assert scores.lookup([0, 1], [0, 2]).tolist() == [9.0, -1.0]
