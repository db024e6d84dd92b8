"""Context candidates: the other passages of a positive's article, the nearest first."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpr.errors import DataError
from mpr.records import Passage
from tests.unit.grounds import asked, ground, proposed

TEXTS = [
    Passage("a-0", "one", "A"),
    Passage("a-1", "two", "A"),
    Passage("b-0", "three", "B"),
    Passage("a-2", "four", "A"),
    Passage("x", "five"),
    Passage("b-1", "six", "B"),
    Passage("y", "seven"),
    Passage("a-3", "eight", "A"),
    Passage("b-9-0", "nine", "B"),
]
QUESTIONS = [asked("q0", "a-1"), asked("q1", "b-1 a-3"), asked("q2", "x"), asked("q3"), asked("q4", "a-2 a-1")]


def test_articles_by_title(tmp_path: Path) -> None:
    stood = ground(tmp_path, TEXTS, QUESTIONS)
    assert proposed(stood, "context", depth=9, by="title") == [
        [0, 3, 7],  # at distances 1, 2 and 6
        [2, 8, 3, 1, 0],  # of two at the same distance the earlier; then the neighbours of the second positive
        [],  # a passage without a title is of no article
        [],
        [0, 7],  # seen from a-2 at 3 and 4; no positive is proposed, nothing twice
    ]
    assert proposed(stood, "context", depth=2, by="title") == [[0, 3], [2, 8], [], [], [0, 7]]


def test_articles_by_id(tmp_path: Path) -> None:
    """The last hyphen divides: b-9-0 is of the article b-9."""
    stood = ground(tmp_path, TEXTS, QUESTIONS)
    assert proposed(stood, "context", depth=9, by="id") == [[0, 3, 7], [2, 3, 1, 0], [], [], [0, 7]]


def test_a_collection_without_articles_is_refused(tmp_path: Path) -> None:
    stood = ground(tmp_path, [Passage("x", "one"), Passage("y", "two")], [asked("q", "x")])
    with pytest.raises(DataError, match="no passage has a title"):
        proposed(stood, "context", depth=1, by="title")
    with pytest.raises(DataError, match="no passage id has a hyphen"):
        proposed(stood, "context", depth=1, by="id")
