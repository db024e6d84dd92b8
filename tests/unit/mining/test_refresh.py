"""The rank profile: known values, and a slow count of the same thing."""

from __future__ import annotations

import numpy as np
import pytest

from mpr.data.candidates import proposals
from mpr.data.positives import PositiveIndex
from mpr.mining import refresh
from tests.conftest import Examined


@pytest.mark.parametrize(
    "ranks, expected",
    [
        ([], [0, 0, 0]),
        ([1, 1, 1, 1], [1, 0, 0]),  # a search without fault
        ([1, 2, 2, 3], [0.25, 0.5, 0.25]),
        ([3, 4, 900], [0, 0, 0.25]),  # what lies deeper than asked is left out
    ],
)
def test_known_values(ranks: list[int], expected: list[float]) -> None:
    found_R = refresh.profile_of_ranks(np.array(ranks, dtype=np.int64), 4, 3)
    assert found_R.tolist() == expected


def test_every_positive_of_a_question_counts_and_questions_without_one_do_not(examined: Examined) -> None:
    dice, depth = np.random.default_rng(4), 12
    lists = [dice.permutation(40)[:depth] for _ in range(30)]
    known = [sorted(dice.choice(40, int(dice.integers(0, 5)), replace=False).tolist()) for _ in range(30)]
    positives = PositiveIndex.of([[(passage, "gold") for passage in row] for row in known])
    found_R = refresh.profile_of_lists(proposals([(row, None) for row in lists]), positives.counting(["gold"]), depth)
    asked = [number for number in range(30) if known[number]]
    slow = [sum(lists[number][rank] in known[number] for number in asked) / len(asked) for rank in range(depth)]
    assert found_R == pytest.approx(slow, abs=0)
    assert 0 < found_R.sum() < 5
    assert len(asked) < 30
    examined(depth * len(asked), "places looked at", at_least=200)
