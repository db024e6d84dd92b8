"""How often each negative is drawn, what happens when there are too few, and what is refused."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from mpr.errors import DataError, RecipeError
from mpr.recipe.keys_draw import Draw
from mpr.storage.ragged import Ragged
from tests.unit.draws import Row, config, drawer, entry, gold, ragged, rows_of

MANY = 20_000
TOLERANCE = 0.015  # four standard deviations of a frequency over MANY rows are at most 0.0142


def negatives(*entries: dict[str, Any], lists: dict[str, Ragged], passages: int = 1000, seed: int = 3) -> list[Row]:
    """One step in which MANY questions draw from the same candidates."""
    known = [gold(0)] * MANY
    drawing = drawer(config({"policy": "first"}, *entries), known, lists, passages=passages, rows=MANY, seed=seed)
    step = drawing(0)
    by_row: list[list[int]] = [[] for _ in range(MANY)]
    for row, passage in zip(step.block.negative_row_N.tolist(), step.block.negative_N.tolist(), strict=True):
        by_row[row].append(passage)
    return [Row(0, row, (0,), tuple(drawn)) for row, drawn in enumerate(by_row)]


def same(passages: Sequence[int], scores: Sequence[float] | None = None) -> Ragged:
    return ragged([passages] * MANY, None if scores is None else [scores] * MANY)


def close(rows: Sequence[Row], expected: dict[Any, float], of: Any) -> None:
    """The frequency of every outcome."""
    counted = Counter(outcome for row in rows for outcome in of(row))
    assert set(counted) <= set(expected)
    for outcome, probability in expected.items():
        assert counted[outcome] / len(rows) == pytest.approx(probability, abs=TOLERANCE), outcome


def orders(weights: dict[int, float], k: int) -> dict[tuple[int, ...], float]:
    """Probability of every ordered draw of k without replacement, by going through all of them."""
    found = {}
    for order in itertools.permutations(weights, k):
        probability, rest = 1.0, sum(weights.values())
        for passage in order:
            probability *= weights[passage] / rest
            rest -= weights[passage]
        found[order] = probability
    return found


WEIGHTS = {11: 0.5, 12: 0.3, 13: 0.15, 14: 0.05}


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_softmax_is_sequential_sampling_without_replacement(temperature: float) -> None:
    scores = [temperature * math.log(weight) for weight in WEIGHTS.values()]
    rows = negatives(entry(k=2, weight="softmax", temperature=temperature), lists={"a": same([*WEIGHTS], scores)})
    exact = orders(WEIGHTS, 2)
    close(rows, exact, lambda row: [row.negatives])
    included = {one: sum(share for order, share in exact.items() if one in order) for one in WEIGHTS}
    assert [round(share, 3) for share in included.values()] == [0.829, 0.669, 0.372, 0.13]
    close(rows, included, lambda row: row.negatives)


def test_softmax_survives_scores_whose_exponential_is_zero_or_infinite() -> None:
    """Inner products of 20 to 800 are ordinary; what counts is their difference."""
    scores = [-5000 + math.log(weight) for weight in WEIGHTS.values()]
    rows = negatives(entry(k=1, weight="softmax", temperature=1.0), lists={"a": same([*WEIGHTS], scores)})
    close(rows, {(one,): weight for one, weight in WEIGHTS.items()}, lambda row: [row.negatives])


def test_uniform_within_a_window() -> None:
    rows = negatives(entry(k=2, weight="uniform", window=5), lists={"a": same(range(20, 30))})
    close(rows, orders(dict.fromkeys(range(20, 25), 1.0), 2), lambda row: [row.negatives])


def test_uniform_is_independent_from_epoch_to_epoch() -> None:
    """Pairs of draws of one question in two epochs: all 25 equally often."""
    drawing = drawer(
        config({"policy": "first"}, entry(k=1, weight="uniform")),
        [gold(0)] * 400,
        {"a": ragged([range(20, 25)] * 400)},
        rows=400,
    )
    drawn = [
        [row.negatives[0] for row in sorted(rows_of(drawing(epoch)), key=lambda row: row.question)]
        for epoch in range(51)
    ]
    pairs = Counter(pair for first, second in itertools.pairwise(drawn) for pair in zip(first, second, strict=True))
    assert len(pairs) == 25
    assert all(count / MANY == pytest.approx(1 / 25, abs=TOLERANCE / 2) for count in pairs.values())


def test_two_entries_of_one_source_are_independent() -> None:
    """Having lost the first draw must not be held against a candidate in the second."""
    entries = entry(k=1, weight="uniform", window=2), entry(k=1, weight="uniform")
    rows = negatives(*entries, lists={"a": same(range(20, 24))})
    expected = {(20, last): 1 / 6 for last in (21, 22, 23)} | {(21, last): 1 / 6 for last in (20, 22, 23)}
    close(rows, expected, lambda row: [row.negatives])


def test_random_passages_are_uniform_over_what_is_left() -> None:
    lists = {"a": same([1])}
    rows = negatives(entry(k=3, short="random"), lists=lists, passages=8)
    assert {row.negatives[0] for row in rows} == {1}
    close(rows, orders(dict.fromkeys(range(2, 8), 1.0), 2), lambda row: [row.negatives[1:]])


# ---- shortage and refusals


def test_shortage_is_counted_by_source_and_filled_only_if_asked() -> None:
    known = [gold(0), gold(1), gold(2, 3)]
    lists = {"a": ragged([[10, 0], [11, 12, 13], []]), "b": ragged([[10], [20], [21]])}
    entries = entry("a", k=2), entry("b", k=1, short="random"), entry("a", k=1)
    drawing = drawer(config({"policy": "first"}, *entries, questions="sequential"), known, lists, passages=50, rows=3)
    step = drawing(0)
    first, second, third = rows_of(step)
    assert first.negatives[0] == 10  # 0 is its positive; source b only has 10 again, so something random follows
    assert len(first.negatives) == 2
    assert second.negatives == (11, 12, 20, 13)
    assert third.negatives == (21,)
    assert step.shortages == {"a": 1 + 2 + 1 + 1, "b": 1}


def test_open_places_are_filled_by_the_fallback_first() -> None:
    """Uniformly, without what the row has already; what is open then is random, and the shortage is the source's."""
    lists = {"a": same([11]), "b": same([11, 12, 13, 0])}
    rows = negatives(entry(k=2, fallback="b"), lists=lists)
    close(rows, {(11, 12): 1 / 2, (11, 13): 1 / 2}, lambda row: [row.negatives])
    rows = negatives(entry(k=1, weight="uniform", fallback="b"), lists={"a": same([]), "b": same([12, 13, 14, 15])})
    close(rows, dict.fromkeys(((12,), (13,), (14,), (15,)), 1 / 4), lambda row: [row.negatives])
    known = [gold(0), gold(0)]
    draws = config({"policy": "first"}, entry(k=3, short="random", fallback="b"), questions="sequential")
    step = drawer(draws, known, {"a": ragged([[1], []]), "b": ragged([[2, 3], [4]])}, passages=50, rows=2)(0)
    first, second = rows_of(step)
    assert (set(first.negatives), second.negatives[0], len(second.negatives)) == ({1, 2, 3}, 4, 3)
    assert step.shortages == {"a": 5}


def test_a_fallback_that_is_not_needed_changes_nothing() -> None:
    lists = {"a": ragged([[1, 2], [3, 4]]), "b": ragged([[5], [6]])}
    known = [gold(0), gold(0)]
    draws = [config({"policy": "first"}, entry(weight="uniform", k=1, **more)) for more in ({}, {"fallback": "b"})]
    steps = [drawer(draw, known, lists, rows=2) for draw in draws]
    assert [rows_of(steps[0](number)) for number in range(9)] == [rows_of(steps[1](number)) for number in range(9)]


def test_all_takes_every_candidate_that_is_no_positive_and_is_never_short() -> None:
    known = [[(1, "gold"), (5, "llm")], gold(9), gold(8)]
    lists = {"a": ragged([[4, 1, 3, 5, 2], [7, 6], []])}
    for window, expected in ((None, [(4, 3, 2), (7, 6), ()]), (3, [(4, 3), (7, 6), ()])):
        draw = config({"policy": "first"}, entry(all=True, window=window), questions="sequential")
        step = drawer(draw, known, lists, rows=3)(0)
        assert [row.negatives for row in rows_of(step)] == expected
        assert step.shortages == {}


def test_group_counts_positives_and_what_other_sources_gave() -> None:
    known = [gold(0), gold(1, 2, 3), gold(*range(4, 11))]
    lists = {"a": ragged([range(20, 40)] * 3), "b": ragged([range(30, 50)] * 3)}
    entries = entry("a", k=2), entry("b", group=6)
    draw = config({"policy": "up_to", "m": 5, "beyond": "first"}, *entries, questions="sequential")
    found = rows_of(drawer(draw, known, lists, rows=3)(0))
    assert [row.negatives for row in found] == [(20, 21, 30, 31, 32), (20, 21, 30), (20, 21)]


def test_a_store_that_is_too_small_is_refused_with_the_numbers() -> None:
    draw = config({"policy": "first"}, entry(k=3, short="random"))
    known = [[(0, "gold"), (1, "llm")]]
    assert sorted(rows_of(drawer(draw, known, {"a": ragged([[2]])}, passages=5)(0))[0].negatives) == [2, 3, 4]
    with pytest.raises(DataError, match=r"question 0 needs 2 more negatives, but of the 4 passages 3 are"):
        drawer(draw, known, {"a": ragged([[2]])}, passages=4)(0)


@pytest.mark.parametrize(
    "known, draw, lists, message",
    [
        ([[(0, "llm")], []], config({"policy": "all"}), {}, "no question has a positive"),
        (
            [gold(0)],
            config({"policy": "all"}, entry("bm25", k=1)),
            {"a": ragged([[1]])},
            "no candidates of source 'bm25'",
        ),
        (
            [gold(0)],
            config({"policy": "all"}, entry(k=1)),
            {"a": ragged([[1], [2]])},
            "are for 2 questions, the split has 1",
        ),
        (
            [gold(0), gold(0)],
            config({"policy": "all"}, entry(k=1, weight="softmax", temperature=1.0)),
            {"a": ragged([[1, 2], [2]], [[0.5, math.nan], [math.inf]])},
            "2 candidates of source 'a' have none",
        ),
    ],
)
def test_refused_before_the_first_step(known: Any, draw: Draw, lists: dict[str, Ragged], message: str) -> None:
    with pytest.raises((DataError, RecipeError), match=message):
        drawer(draw, known, lists)
