"""Agreement by hand, against a published example, and against a reading of the definition in fractions."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from mpr.writing.judge import Agreement
from tests.conftest import Examined


def test_by_hand() -> None:
    found = Agreement.of([(True, True)] * 3 + [(True, False)] + [(False, True)] * 2 + [(False, False)] * 4)
    assert found == Agreement(both=3, missed=1, added=2, neither=4)
    assert (found.precision, found.recall) == (0.6, 0.75)
    assert found.kappa == pytest.approx((0.7 - 0.5) / (1 - 0.5))  # 0.4 * 0.5 + 0.6 * 0.5 by chance


def test_textbook_example() -> None:
    """20 and 15 agreed, 5 and 10 not, of 50: kappa 0.4 (Wikipedia, Cohen's kappa, simple example)."""
    assert Agreement(both=20, missed=5, added=10, neither=15).kappa == pytest.approx(0.4)


def test_what_cannot_be_computed_is_unknown() -> None:
    assert Agreement.of([]).facts == {
        "both": 0, "missed": 0, "added": 0, "neither": 0, "precision": None, "recall": None, "kappa": None
    }  # fmt: skip
    assert Agreement(0, 0, 0, 5).kappa is None
    assert Agreement(5, 0, 0, 0).kappa is None
    assert Agreement(0, 3, 0, 1).precision is None
    assert "precision unknown, recall 0.000, kappa 0.000 (0 both, 3 missed" in str(Agreement(0, 3, 0, 1))


def test_against_the_definition(examined: Examined) -> None:
    dice, tried = random.Random(4), 0
    for _ in range(200):
        counts = [dice.randrange(6) for _ in range(4)]
        found, total = Agreement(*counts), sum(counts)
        if not total:
            continue
        both, missed, added, neither = (Fraction(count, total) for count in counts)
        chance = (both + missed) * (both + added) + (added + neither) * (missed + neither)
        expected = None if chance == 1 else float((both + neither - chance) / (1 - chance))
        assert found.kappa == (None if expected is None else pytest.approx(expected))
        tried += 1
    examined(tried, "tables of agreement", at_least=190)
