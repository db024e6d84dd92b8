"""The lexical ranking is BM25, in whole numbers: compared with the formula in floating point."""

from __future__ import annotations

import math
from collections import Counter
from statistics import fmean

import pytest

from mpr.corpora._world.dice import Dice
from mpr.corpora._world.lexical import _STOP_WORDS, Lexical, log2_steps
from mpr.metrics.answers import AnswerMatcher, tokens
from mpr.records import Passage
from tests.conftest import Examined
from tests.unit.invented import small


def test_logarithm(examined: Examined) -> None:
    """floor(256 log2 x), except where x is so close to a step that floating point cannot tell."""
    dice = Dice(1, "test")
    pairs = [(n, 1) for n in range(1, 2_000)] + [(2**k, 1) for k in range(60)]
    pairs += [(b + dice.below(10**9), b) for b in (dice.between(1, 10**9) for _ in range(2_000))]
    for numerator, denominator in pairs:
        steps = log2_steps(numerator, denominator)
        exact = 256 * math.log2(numerator / denominator)
        assert steps - 1e-6 <= exact < steps + 1 + 1e-6
    assert [log2_steps(2**k, 1) for k in range(5)] == [0, 256, 512, 768, 1024]
    examined(len(pairs), "quotients", at_least=4_000)


def _scores(passages: list[Passage], question: str) -> list[float]:
    """Robertson's BM25 with k1 = 0.9, b = 0.4, and log2 (N + 1) / (df + 0.5) for the weight of a term."""
    bags = [Counter(tokens(passage.title) + tokens(passage.text)) for passage in passages]
    average = sum(sum(bag.values()) for bag in bags) // len(bags)
    found = [0.0] * len(bags)
    for term in tokens(question):
        containing = sum(term in bag for bag in bags)
        if term in _STOP_WORDS or not containing:
            continue
        weight = math.log2((len(bags) + 1) / (containing + 0.5))
        for row, bag in enumerate(bags):
            length = 0.6 + 0.4 * sum(bag.values()) / average
            found[row] += weight * bag[term] * 1.9 / (bag[term] + 0.9 * length)
    return found


def test_scores_are_bm25(examined: Examined) -> None:
    world = small().world
    scale = 16 * 256  # a weight is in steps of 1/256, a score in sixteenths of them
    compared = 0
    for question in world.questions("test")[:15]:
        expected = _scores(world.passages, question.text)
        ranked = world.lexical.best(question.text, 50)
        assert len(ranked) == min(50, sum(score > 0 for score in expected))
        for row, score in ranked:
            assert score / scale == pytest.approx(expected[row], rel=0.01)
            compared += 1
        left_out = set(range(len(expected))) - {row for row, _ in ranked}
        assert max(expected[row] for row in left_out) <= 1.01 * ranked[-1][1] / scale
        order = [(-score, row) for row, score in ranked]
        assert order == sorted(order), "best first, ties to the earlier passage"
    examined(compared, "scores", at_least=300)


def test_ranking_corner_cases() -> None:
    passages = [
        Passage("a", "The owl met an owl."),
        Passage("b", "No bird here.", "Owl"),
        Passage("c", "No bird here.", "Owl"),
        Passage("d", "Nothing at all."),
    ]
    lexical = Lexical(passages)
    assert [row for row, _ in lexical.best("Where is the owl?", 10)] == [0, 1, 2]
    assert [row for row, _ in lexical.best("Where is the owl?", 2)] == [0, 1]
    assert lexical.best("the of and", 10) == []
    assert lexical.best("zebra", 10) == []
    assert lexical.containing(["owl"]) == [0], "titles do not count for answers"
    assert lexical.containing(["bird here", "nothing at"]) == [1, 2, 3]
    assert lexical.containing(["here bird", "", "zebra"]) == []


def test_answers_are_found_as_the_matcher_finds_them(examined: Examined) -> None:
    world = small().world
    questions = [question for split in ("train", "test") for question in world.questions(split)]
    for question in questions:
        matcher = AnswerMatcher(question.answers, regex=False)
        slow = [row for row, passage in enumerate(world.passages) if matcher.found_in(passage.text)]
        assert world.lexical.containing(question.answers) == slow
    examined(len(questions), "questions", at_least=150)


def test_dice_are_fair(examined: Examined) -> None:
    dice = Dice(5, "test")
    throws = [dice.below(6) for _ in range(12_000)]
    counts = Counter(throws)
    assert set(counts) == set(range(6))
    # Chi-square with 5 degrees of freedom exceeds 20.5 once in a thousand times.
    assert sum((count - 2_000) ** 2 / 2_000 for count in counts.values()) < 20.5
    assert {dice.between(3, 5) for _ in range(100)} == {3, 4, 5}
    assert abs(fmean(dice.chance(0.3) for _ in range(10_000)) - 0.3) < 0.02
    assert not any(dice.chance(0.0) for _ in range(100))
    assert all(dice.chance(1.0) for _ in range(100))
    orders = {tuple(dice.shuffled("abc")) for _ in range(200)}
    assert len(orders) == 6
    assert len(dice.sample("abcdef", 3)) == 3
    assert sorted(dice.sample("abc", 9)) == ["a", "b", "c"]
    examined(len(throws), "throws", at_least=12_000)


def test_dice_depend_on_nothing_but_their_coordinates() -> None:
    first, second = Dice(5, "x", 1), Dice(5, "x", 1)
    alone = [first.below(1_000) for _ in range(200)]
    Dice(5, "x", 2).below(1_000)
    assert [second.below(1_000) for _ in range(200)] == alone
    for other in (Dice(6, "x", 1), Dice(5, "y", 1), Dice(5, "x", 2), Dice(5, "x")):
        assert [other.below(1_000) for _ in range(200)] != alone
