"""Comparisons of systems whose wins, ties, losses and seeds are chosen by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mpr.errors import DataError
from mpr.evaluation import significance
from mpr.evaluation.comparison import compare
from mpr.evaluation.scores import Scores

QUESTIONS = tuple(f"q{number}" for number in range(10))


def scores(values: list[float], questions: tuple[str, ...] = QUESTIONS, **about: Any) -> Scores:
    count = len(values)
    facts = {
        "run": "r",
        "split": "test",
        "right": "answer",
        "ties": "row",
        "self_hits": "kept",
        "counts": {},
        "first": {},
    }
    flags = np.zeros(count, dtype=np.bool_)
    return Scores(
        {**facts, "judged_by": "digest", **about},
        questions,
        flags,
        flags,
        np.full(count, -1),
        np.zeros(count, dtype=np.int32),
        ((),) * count,
        {"top20": np.array(values)},
    )


GOOD = [1, 1, 1, 1, 1, 1, 1, 0, 0, 1]
FAIR = [1, 0, 0, 0, 0, 0, 1, 0, 0, 1]
POOR = [0, 0, 0, 0, 0, 0, 0, 0, 1, 0]


def test_two_systems() -> None:
    found = compare({"good": [scores(GOOD)], "fair": [scores(FAIR)]}, "top20")
    (pair,) = found.pairs
    assert (pair.win, pair.tie, pair.loss) == (5, 5, 0)
    assert pair.difference == 0.5
    assert pair.p == 2 / 32
    assert pair.p_holm is None
    assert pair.over_seeds is None
    assert pair.over_questions == significance.bootstrap(np.array(GOOD, float) - FAIR)
    assert [question for question, _, _ in pair.moved] == ["q1", "q2", "q3", "q4", "q5"]
    assert [system.mean for system in found.systems] == [0.8, 0.3]
    told = str(found)
    assert "good - fair: +50.00" in told
    assert "win / tie / loss  5 / 5 / 0" in told
    assert json.loads(found.json())["pairs"][0]["p"] == 2 / 32


def test_no_difference_has_no_minus() -> None:
    """Two means that are equal but for rounding."""
    less = [value - 1e-9 for value in GOOD]
    assert "less - good: +0.00" in str(compare({"less": [scores(less)], "good": [scores(GOOD)]}, "top20"))


def test_an_interval_of_few_questions_comes_with_a_caution() -> None:
    """Also where there are many questions and few of them differ; not where enough differ."""
    cases = {10: (10, True), 100: (9, True), 101: (10, False), 19: (19, True), 20: (20, False)}
    for questions, (differing, is_too_few) in cases.items():
        names = tuple(f"q{number}" for number in range(questions))
        won = [1.0] * differing + [0.0] * (questions - differing)
        found = compare({"a": [scores(won, names)], "b": [scores([0.0] * questions, names)]}, "top20")
        assert found.pairs[0].too_few is is_too_few, questions
        assert (f"not to be trusted: only {differing} questions differ" in str(found)) is is_too_few


def test_several_systems_are_corrected() -> None:
    systems = {"good": [scores(GOOD)], "fair": [scores(FAIR)], "poor": [scores(POOR)]}
    found = compare(systems, "top20")
    assert [(pair.first, pair.second) for pair in found.pairs] == [("good", "fair"), ("good", "poor"), ("fair", "poor")]
    assert [pair.p_holm for pair in found.pairs] == significance.holm([pair.p for pair in found.pairs])
    assert "corrected for 3 pairs (Holm)" in str(found)
    against = compare(systems, "top20", against="fair")
    assert [(pair.first, pair.second) for pair in against.pairs] == [("good", "fair"), ("poor", "fair")]
    assert against.pairs[0].p_holm == pytest.approx(2 * against.pairs[0].p)


def test_seeds_are_averaged_question_by_question() -> None:
    first, second = [scores(GOOD), scores(FAIR), scores(GOOD)], [scores(POOR), scores(FAIR)]
    found = compare({"first": first, "second": second}, "top20")
    (pair,) = found.pairs
    expected = np.mean([GOOD, FAIR, GOOD], axis=0) - np.mean([POOR, FAIR], axis=0)
    assert pair.difference == pytest.approx(expected.mean())
    assert pair.p == significance.randomisation(expected).p
    assert pair.method == "exact"
    assert pair.over_seeds == significance.seed_difference([0.8, 0.3, 0.8], [0.1, 0.3])
    assert found.systems[0].over_seeds == significance.seeds([0.8, 0.3, 0.8])
    assert (pair.win, pair.tie, pair.loss) == (8, 1, 1)
    assert pair.moved[0][0] == "q1"  # of equal differences the first id
    assert "seeds 3" in str(found)


def test_equal_means_are_ties_whatever_their_rounding() -> None:
    first, second = (0.1, 0.2, 0.3), (0.3, 0.2, 0.1)
    assert np.mean(first) != np.mean(second)
    runs = ([scores([value] * 10) for value in values] for values in (first, second))
    (pair,) = compare(dict(zip(("a", "b"), runs, strict=True)), "top20").pairs
    assert (pair.win, pair.tie, pair.loss, pair.p, pair.moved) == (0, 10, 0, 1.0, ())


def test_the_order_of_questions_does_not_matter() -> None:
    turned = scores(FAIR[::-1], QUESTIONS[::-1])
    assert compare({"a": [scores(GOOD)], "b": [turned]}, "top20") == compare(
        {"a": [scores(GOOD)], "b": [scores(FAIR)]}, "top20"
    )


def test_questions_without_a_value_are_left_out_and_said() -> None:
    nan = float("nan")
    found = compare({"a": [scores([nan, *GOOD[1:]])], "b": [scores([nan, *FAIR[1:]])]}, "top20")
    assert (found.questions, found.undefined) == (9, 1)
    assert "1 left out" in str(found)
    with pytest.raises(DataError, match="questions without a value: 0, elsewhere 1"):
        compare({"a": [scores([nan, *GOOD[1:]])], "b": [scores(FAIR)]}, "top20")
    with pytest.raises(DataError, match="value on one side only: 2, elsewhere 0"):
        compare({"a": [scores([nan, *GOOD[1:]])], "b": [scores([*FAIR[1:], nan])]}, "top20")
    with pytest.raises(DataError, match="defined for no question"):
        compare({"a": [scores([nan] * 10)], "b": [scores([nan] * 10)]}, "top20")


REFUSED = [
    ({"ties": "id"}, "ties: id, elsewhere row"),
    ({"right": "judged"}, "right: judged, elsewhere answer"),
    ({"judged_by": "other"}, "judged_by: other, elsewhere digest"),
    ({"self_hits": "dropped: 3"}, "self_hits: dropped, elsewhere kept"),
]


@pytest.mark.parametrize("about, message", REFUSED, ids=[message for _, message in REFUSED])
def test_what_is_measured_differently_is_not_compared(about: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        compare({"a": [scores(GOOD)], "b": [scores(FAIR), scores(FAIR, **about)]}, "top20")
    dropped = [scores(GOOD, self_hits="dropped: 3")], [scores(FAIR, self_hits="dropped: 2")]
    assert compare({"a": dropped[0], "b": dropped[1]}, "top20").questions == 10


def test_other_questions_and_lonely_systems_are_refused() -> None:
    other = replace(scores(FAIR), questions=(*QUESTIONS[1:], "q99"))
    with pytest.raises(DataError, match=r"only one side has: 2 \(q0\.\.\.\), elsewhere 0"):
        compare({"a": [scores(GOOD)], "b": [other]}, "top20")
    with pytest.raises(DataError, match="two systems"):
        compare({"a": [scores(GOOD)]}, "top20")
    with pytest.raises(DataError, match="two systems"):
        compare({"a": [scores(GOOD)], "b": []}, "top20")
    with pytest.raises(DataError, match="'c' is not among the systems"):
        compare({"a": [scores(GOOD)], "b": [scores(FAIR)]}, "top20", against="c")
    with pytest.raises(DataError, match="did you mean 'top20'"):
        compare({"a": [scores(GOOD)], "b": [scores(FAIR)]}, "top2")
