"""Random candidates: a function of seed and question id, all passages alike, the shorter list first."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from scipy.stats import chisquare

from mpr.errors import DataError
from mpr.records import Passage
from tests.conftest import Examined
from tests.unit.grounds import asked, ground, proposed

TEXTS = [Passage(f"p{row}", f"text {row}") for row in range(20)]


def test_the_draw_follows_the_id_of_the_question_not_its_place(tmp_path: Path) -> None:
    names = [f"q{number}" for number in range(30)]
    here = ground(tmp_path / "here", TEXTS, [asked(name) for name in names])
    there = ground(tmp_path / "there", TEXTS, [asked(name) for name in reversed(names[5:])])
    assert proposed(here, "random", depth=6, seed=1)[5:] == proposed(there, "random", depth=6, seed=1)[::-1]
    other = proposed(here, "random", depth=6, seed=2)
    assert sum(one == two for one, two in zip(proposed(here, "random", depth=6, seed=1), other, strict=True)) == 0


def test_a_smaller_depth_is_the_beginning_of_the_same_list(tmp_path: Path) -> None:
    stood = ground(tmp_path, TEXTS, [asked(f"q{number}") for number in range(40)])
    whole = proposed(stood, "random", depth=20, seed=1)
    assert all(sorted(passages) == list(range(20)) for passages in whole)
    for depth in (1, 2, 7, 19):
        assert proposed(stood, "random", depth=depth, seed=1) == [passages[:depth] for passages in whole]
    with pytest.raises(DataError, match="21 random passages of 20"):
        proposed(stood, "random", depth=21, seed=1)


def test_every_passage_has_the_same_chance_at_every_place(tmp_path: Path, examined: Examined) -> None:
    stood = ground(tmp_path, TEXTS, [asked(f"q{number}") for number in range(4_000)])
    drawn = proposed(stood, "random", depth=3, seed=5)
    for place in range(3):
        counts = Counter(passages[place] for passages in drawn)
        assert chisquare([counts[passage] for passage in range(20)]).pvalue > 1e-4
    examined(12_000, "draws", at_least=12_000)
