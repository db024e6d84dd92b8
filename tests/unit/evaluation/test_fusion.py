"""Fusion against values computed by hand and against a plain dictionary reading of the two formulas."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest

from mpr.errors import DataError, MprError, NumbersError, RecipeError
from mpr.evaluation.fusion import DPR_WEIGHTS, Ranked, fuse, reciprocal_rank, weighted_sum
from mpr.evaluation.ranking import Names, Ranking
from mpr.records import Hit
from tests.conftest import Examined


def _ranked(**scores: float) -> Ranked:
    """p3=2.5 is passage row 3 with score 2.5."""
    return _of({int(name[1:]): score for name, score in scores.items()})


def _of(scores: dict[int, float]) -> Ranked:
    order = sorted(scores, key=lambda row: (-np.float32(scores[row]), row))
    return Ranked(np.array(order, dtype=np.int64), np.array([scores[row] for row in order], dtype=np.float32))


BM25, DENSE = _ranked(p1=10.0, p2=8.0, p3=6.0), _ranked(p3=70.0, p4=69.0, p1=60.0)


def test_weighted_sum_by_hand() -> None:
    """p1 10+66; p2 8 + 1.1 * 60 (the dense list's lowest); p3 6+77; p4 6 (BM25's lowest) + 75.9."""
    fused = weighted_sum([BM25, DENSE], DPR_WEIGHTS, 10, missing="minimum")
    assert fused.rows_K.tolist() == [3, 4, 1, 2]
    assert np.allclose(fused.scores_K, [83.0, 81.9, 76.0, 74.0], rtol=1e-7)
    fused = weighted_sum([BM25, DENSE], DPR_WEIGHTS, 3, missing="zero")
    assert fused.rows_K.tolist() == [3, 1, 4]
    assert np.allclose(fused.scores_K, [83.0, 76.0, 75.9], rtol=1e-7)


def test_reciprocal_rank_by_hand() -> None:
    fused = reciprocal_rank([BM25, DENSE], 10)
    expected = {1: 1 / 61 + 1 / 63, 2: 1 / 62, 3: 1 / 63 + 1 / 61, 4: 1 / 62}
    assert fused.rows_K.tolist() == [1, 3, 2, 4], "equal sums are ordered by row"
    assert fused.scores_K.tolist() == [np.float32(expected[row]) for row in (1, 3, 2, 4)]


def _reference(lists: list[dict[int, float]], weights: list[float], rule: str) -> dict[int, float]:
    """The formulas over dictionaries and exact fractions."""
    total: dict[int, float] = {}
    for row in set().union(*lists):
        value = Fraction(0)
        for scores, weight in zip(lists, weights, strict=True):
            order = sorted(scores, key=lambda other, scores=scores: (-scores[other], other))
            if rule == "rank":
                value += Fraction(weight) / (61 + order.index(row)) if row in scores else 0
            elif row in scores:
                value += Fraction(weight) * Fraction(scores[row])
            elif rule == "minimum" and scores:
                value += Fraction(weight) * Fraction(min(scores.values()))
        total[row] = float(value)
    return total


@pytest.mark.parametrize("rule", ["minimum", "zero", "rank"])
def test_equals_the_formulas(rule: str, examined: Examined) -> None:
    rng = np.random.default_rng(7)
    for _ in range(200):
        count = int(rng.integers(1, 5))
        lists = []
        for _ in range(count):
            rows = rng.choice(40, int(rng.integers(0, 20)), replace=False)
            lists.append({int(row): float(np.float32(rng.integers(-8, 8) / 4)) for row in rows})
        weights = [float(weight) for weight in rng.choice([0.5, 1.0, 1.1, 2.0], count)]
        ranked = [_of(scores) for scores in lists]
        if rule == "rank":
            fused = reciprocal_rank(ranked, 15, weights=weights)
        else:
            fused = weighted_sum(ranked, weights, 15, missing=rule)
        expected = _reference(lists, weights, rule)
        assert len(fused.rows_K) == min(15, len(expected))
        for row, score in zip(fused.rows_K.tolist(), fused.scores_K.tolist(), strict=True):
            assert score == pytest.approx(expected[row], rel=1e-6, abs=1e-12)
        left = [value for row, value in expected.items() if row not in set(fused.rows_K.tolist())]
        assert not left or max(left) <= float(fused.scores_K[-1]) + 1e-6
    examined(200, "sets of lists")


def _run(rng: np.random.Generator, passages: Names) -> tuple[dict[str, dict[int, float]], Ranking]:
    """Lists of some of twelve questions as dictionaries and as a ranking; scores are tied, or nearly so."""
    lists: dict[str, dict[int, float]] = {}
    for question in rng.permutation(12)[: int(rng.integers(1, 13))].tolist():
        rows = rng.choice(len(passages), int(rng.integers(1, 15)), replace=False).tolist()
        near = rng.integers(-8, 8, len(rows)) / 4 + rng.integers(0, 3, len(rows)) * 1e-12
        lists[f"q{question}"] = dict(zip(rows, near.tolist(), strict=True))
    hits = [
        Hit(question, passages.ids([row])[0], 1, score, "x")
        for question, scores in lists.items()
        for row, score in rng.permutation(list(scores.items())).tolist()
        for row in [int(row)]
    ]
    return lists, Ranking.of_hits(hits, passages)


@pytest.mark.parametrize("rule", ["minimum", "zero", "rank"])
def test_runs_are_fused_question_by_question(rule: str, examined: Examined) -> None:
    """Whole runs with 64-bit scores that 32 bits cannot tell apart, and questions that some runs lack."""
    rng, passages = np.random.default_rng(11), Names(f"p{number:02}" for number in range(30))
    questions, compared = [f"q{number}" for number in range(12)], 0
    for _ in range(40):
        made = [_run(rng, passages) for _ in range(int(rng.integers(2, 4)))]
        weights = [float(weight) for weight in rng.choice([0.5, 1.0, 1.1], len(made))]

        def combine(lists: Sequence[Ranked], weights: list[float] = weights) -> Ranked:
            if rule == "rank":
                return reciprocal_rank(lists, 10, weights=weights)
            return weighted_sum(lists, weights, 10, missing=rule)  # type: ignore[arg-type]

        fused = fuse([ranking.aligned(questions) for _, ranking in made], combine)
        assert fused.questions == tuple(questions)
        for number, question in enumerate(questions):
            lists = [by_question.get(question, {}) for by_question, _ in made]
            total = {row: float(np.float32(value)) for row, value in _reference(lists, weights, rule).items()}
            rows, own = fused.row(number).tolist(), slice(*fused.offsets[number : number + 2])
            assert len(rows) == min(10, len(total))
            assert np.allclose(fused.score_N[own], [total[row] for row in rows], rtol=1e-6, atol=1e-12)
            assert sorted(total.values(), reverse=True)[: len(rows)] == pytest.approx(fused.score_N[own], rel=1e-6)
            keys = list(zip((-fused.score_N[own]).tolist(), rows, strict=True))
            assert keys == sorted(keys), "the canonical order"
            compared += len(rows)
    examined(compared, "fused passages", at_least=2_000)


def test_runs_of_other_questions_are_not_fused() -> None:
    _, one = _run(np.random.default_rng(1), Names(f"p{number:02}" for number in range(30)))
    with pytest.raises(DataError, match="other questions"):
        fuse([one.aligned(["q1", "q2"]), one.aligned(["q2", "q1"])], lambda lists: lists[0])


def test_refusals(examined: Examined) -> None:
    def ranked(rows: list[int], scores: list[float]) -> Ranked:
        return Ranked(np.array(rows, dtype=np.int64), np.array(scores, dtype=np.float32))

    cases: list[tuple[object, type[MprError], str]] = [
        (lambda: ranked([1, 2], [1.0]), DataError, "differ in number"),
        (lambda: ranked([1, 2], [1.0, np.nan]), DataError, "not finite"),
        (lambda: ranked([1, 1], [2.0, 1.0]), DataError, "ranked twice"),
        (lambda: ranked([1, 2], [1.0, 2.0]), DataError, "canonical order"),
        (lambda: ranked([2, 1], [1.0, 1.0]), DataError, "canonical order"),
        (lambda: weighted_sum([BM25], [1.0, 1.0], 3, missing="zero"), RecipeError, "one finite weight"),
        (lambda: weighted_sum([BM25], [np.inf], 3, missing="zero"), RecipeError, "one finite weight"),
        (lambda: weighted_sum([], [], 3, missing="zero"), RecipeError, "one finite weight"),
        (lambda: weighted_sum([BM25], [1.0], 0, missing="zero"), RecipeError, "at least 1"),
        (lambda: weighted_sum([BM25], [1e39], 3, missing="zero"), NumbersError, "does not fit 32 bits"),
        (lambda: weighted_sum([BM25], [1.0], 3, missing="mean"), RecipeError, "minimum or zero"),
        (lambda: reciprocal_rank([BM25], 3, constant=-1.0), RecipeError, "usually 60"),
    ]
    for action, kind, says in cases:
        with pytest.raises(kind, match=says):
            action()
    examined(len(cases), "refusals", at_least=12)
