"""Draws by weights that need evidence: scores of positives, a validation run, a teacher. Frequencies and refusals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from mpr.batches import choice
from mpr.batches.choice import Evidence
from mpr.batches.draw import Drawer, Step
from mpr.errors import DataError, RecipeError
from tests.conftest import Examined
from tests.unit.batches.test_draw_negatives import MANY, TOLERANCE, close, orders, same
from tests.unit.draws import Row, config, drawer, entry, gold, looked_up, ragged, rows_of

SIMANS = {"a": 0.5, "b": 0.0, "anchor": "mean"}
ANCHORS = {0: 2.0, 1: 1.0}
CANDIDATES = {12: 0.5, 13: 1.5, 14: -1.0}


def constant(scores: dict[int, float]) -> Any:
    """The same scores of passages for every question."""
    table = np.full(101, math.nan)
    table[list(scores)] = list(scores.values())
    return lambda question_N, passage_N: table[passage_N]


def many(
    one: dict[str, Any], evidence: Evidence, candidates: dict[int, float], positives: Sequence[int] = (0,)
) -> list[Row]:
    """One step in which MANY questions draw from the same candidates."""
    lists = {"a": same([*candidates], [*candidates.values()])}
    policy = config({"policy": "all"}, one)
    step = drawer(policy, [gold(*positives)] * MANY, lists, rows=MANY, seed=3, evidence=evidence)(0)
    return [Row(0, row, tuple(positives), tuple(drawn)) for row, drawn in enumerate(negatives_of(step))]


def negatives_of(step: Step) -> list[list[int]]:
    """Of each row, in the order in which they were drawn."""
    by_row: list[list[int]] = [[] for _ in step.block.question_Q]
    for row, passage in zip(step.block.negative_row_N.tolist(), step.block.negative_N.tolist(), strict=True):
        by_row[row].append(passage)
    return by_row


def simans(**params: Any) -> dict[str, Any]:
    return entry(k=1, weight="simans", simans=SIMANS | params)


# ---- SimANS


@pytest.mark.parametrize("positives, expected", [((0,), (0.2665, 0.7244, 0.0091)), ((0, 1), (0.3675, 0.6059, 0.0266))])
def test_simans_of_the_fixture(positives: tuple[int, ...], expected: tuple[float, ...]) -> None:
    rows = many(simans(), Evidence({"a": constant(ANCHORS)}), CANDIDATES, positives)
    close(rows, dict(zip(CANDIDATES, expected, strict=True)), lambda row: row.negatives)


def test_simans_draws_several_without_replacement() -> None:
    powers = {one: math.exp(-0.5 * (score - 2.0) ** 2) for one, score in CANDIDATES.items()}
    rows = many(simans() | {"k": 2}, Evidence({"a": constant(ANCHORS)}), CANDIDATES)
    close(rows, orders(powers, 2), lambda row: [row.negatives])
    rows = many(simans() | {"k": 9}, Evidence({"a": constant(ANCHORS)}), CANDIDATES)
    assert {tuple(sorted(row.negatives)) for row in rows} == {tuple(CANDIDATES)}


def test_laplace() -> None:
    powers = {one: math.exp(-3.0 * abs(score - 2.0)) for one, score in CANDIDATES.items()}
    one = entry(k=1, weight="simans_laplace", laplace={"tau": 3.0, "anchor": "max"})
    rows = many(one, Evidence({"a": constant(ANCHORS)}), CANDIDATES, (0, 1))
    close(rows, {name: power / sum(powers.values()) for name, power in powers.items()}, lambda row: row.negatives)


@pytest.mark.parametrize(
    "anchor, expected", [("mean", {6: 1.0}), ("min", {5: 1.0}), ("max", {7: 1.0}), ("random", {5: 0.5, 7: 0.5})]
)
def test_anchors_of_several_positives(anchor: str, expected: dict[int, float]) -> None:
    """Positives at 0 and 100: the mean is in a gap between them, one at random is a mixture of both."""
    candidates = {5: 0.0, 6: 50.0, 7: 100.0}
    evidence = Evidence({"a": constant({0: 0.0, 1: 100.0, 2: math.nan})})
    rows = many(simans(anchor=anchor, a=2.0), evidence, candidates, (0, 2, 1))  # of the third no score is known
    close(rows, dict.fromkeys(candidates, 0.0) | expected, lambda row: row.negatives)


def test_simans_without_sharpness_is_uniform_bit_for_bit(examined: Examined) -> None:
    """Both orders are those of the same bits: Gumbel noise grows with them."""
    found = []
    for one in (entry(k=3, weight="uniform"), simans(a=0.0, b=7.0) | {"k": 3}):
        known, lists = [gold(0)] * 500, {"a": ragged([range(20, 60)] * 500, [[float(n) for n in range(40)]] * 500)}
        drawing = drawer(
            config({"policy": "first"}, one), known, lists, rows=50, evidence=Evidence({"a": constant({0: 9.0})})
        )
        found.append([rows_of(drawing(number)) for number in range(20)])
    assert found[0] == found[1]
    examined(20 * 50 * 3, "negatives of both", at_least=3_000)


def test_a_question_without_a_score_of_any_positive_is_refused_with_their_number() -> None:
    known, lists = [gold(0, 1), gold(2), gold(3), []], {"a": ragged([[9]] * 4, [[1.0]] * 4)}
    draw = config({"policy": "all"}, simans())
    with pytest.raises(DataError, match=r"source 'a' has no score of any positive of 2 questions.*dense or bm25"):
        drawer(draw, known, lists, evidence=Evidence({"a": looked_up({(0, 1): 1.0})}))
    with pytest.raises(DataError, match=r"of any positive of 3 questions"):
        drawer(draw, known, lists)
    with pytest.raises(DataError, match=r"weight simans needs scores, 4 candidates of source 'a' have none"):
        drawer(draw, known, {"a": ragged([[9]] * 4)}, evidence=Evidence({"a": constant(ANCHORS)}))


# ---- RANCE

RANCE = {"c": 2.0, "window": 3, "degree": 2}
SHARE = [0.6, 0.5, 0.2, 0.2, 0.1, 0.0, 0.0, 0.1, 0.0, 0.0]


def test_rance_draws_by_the_rank_of_the_source() -> None:
    """Ranks are those before positives were taken out; a rank that weighs nothing is never drawn."""
    log_weights = choice.rance(SHARE, **RANCE)
    ranks = [1, 3, 4, 5, 7, 8, 9]
    powers = {20 + rank: math.exp(log_weights[rank - 1]) for rank in ranks}
    assert 0 < list(powers.values()).count(0.0) < len(powers)
    table = same([*powers])
    table.columns["rank"][:] = np.tile(ranks, MANY)
    one = entry(k=1, weight="rance", rance=RANCE)
    draw, evidence = config({"policy": "first"}, one), Evidence(profiles={"a": np.array(SHARE)})
    step = drawer(draw, [gold(0)] * MANY, {"a": table}, rows=MANY, evidence=evidence)(0)
    counted = Counter(step.block.negative_N.tolist())
    for passage, power in powers.items():
        assert counted[passage] / MANY == pytest.approx(power / sum(powers.values()), abs=TOLERANCE)
    assert all(counted[passage] == 0 for passage, power in powers.items() if power == 0)
    all_of = config({"policy": "first"}, one | {"k": 7})
    short = drawer(all_of, [gold(0)] * MANY, {"a": table}, rows=MANY, evidence=evidence)(0).shortages
    assert short == {"a": list(powers.values()).count(0.0) * MANY}


@pytest.mark.parametrize(
    "share, more, message",
    [
        (None, {}, "none is there for 'a'"),
        (SHARE[:2], {}, "a window of 3 ranks is wider than the 2"),
        (SHARE[:4], {}, "go down to rank 5, the validation run to 4"),
        ([*SHARE[:9], 1.5], {}, "is not from 0 to 1"),
        ([*SHARE[:9], math.nan], {}, "is not from 0 to 1"),
    ],
)
def test_a_profile_that_does_not_fit_is_refused(share: list[float] | None, more: Any, message: str) -> None:
    draw = config({"policy": "first"}, entry(k=1, weight="rance", rance=RANCE))
    lists = {"a": ragged([range(10, 15)])}
    evidence = Evidence(profiles={} if share is None else {"a": np.array(share)})
    with pytest.raises((DataError, RecipeError), match=message):
        drawer(draw, [gold(0)], lists, evidence=evidence)


def test_ranks_beyond_the_window_need_no_profile() -> None:
    one = entry(k=1, weight="rance", rance=RANCE, window=4)
    evidence = Evidence(profiles={"a": np.array(SHARE[:4])})
    assert drawer(config({"policy": "first"}, one), [gold(0)], {"a": ragged([range(10, 15)])}, evidence=evidence)(0)


# ---- margins of a teacher


def paired(policy: str, known: Any, lists: Any, teacher: Any, **more: Any) -> Drawer:
    one = entry(weight="margin_bins", **{"bins": 10, "k": 1, **more})
    return drawer(
        config({"policy": policy}, one), known, {"a": lists}, rows=len(known), evidence=Evidence(teacher=teacher)
    )


def test_a_rare_margin_is_drawn_as_often_as_a_common_one() -> None:
    """2 of 100 pairs are hard: a share of .02, drawn in every sixth row where six bins are not empty."""
    margins = [0.0, 0.5] + [4.0] * 20 + [5.0] * 20 + [6.0] * 20 + [7.0] * 20 + [10.0] * 18
    scores = constant({0: 10.0} | {1 + place: 10.0 - margin for place, margin in enumerate(margins)})
    rows = 8_000  # four standard deviations of 1/6 are .0167
    step = paired("first", [gold(0)] * rows, ragged([range(1, 101)] * rows), scores)(0)
    counted = Counter(step.block.negative_N.tolist())
    assert sum(counted[one] for one in (1, 2)) / rows == pytest.approx(1 / 6, abs=0.017)
    assert counted[3] / rows == pytest.approx(1 / 6 / 20, abs=0.0042)
    assert step.shortages == {}


def test_one_bin_is_uniform() -> None:
    """In distribution: the noise belongs to pairs here, and to candidates there."""
    scores = {0: 3.0} | {one: float(one) for one in range(20, 25)}
    step = paired("first", [gold(0)] * MANY, same(range(20, 25)), constant(scores), bins=1)(0)
    counted = Counter(step.block.negative_N.tolist())
    assert [counted[one] / MANY for one in range(20, 25)] == pytest.approx([0.2] * 5, abs=TOLERANCE)


def test_under_random1_the_pair_decides_the_positive() -> None:
    """Positives 0 and 1, candidates 7 and 8, three margins: one of them belongs to two pairs."""
    scores = constant({0: 3.0, 1: 5.0, 7: 0.0, 8: 2.0, 9: 1.0})
    known = [[(0, "gold"), (1, "gold"), (9, "llm")]] * MANY
    drawing = paired("random1", known, same([7, 9, 8]), scores)
    step = drawing(0)
    pairs = Counter(zip(step.block.positive_N.tolist(), step.block.negative_N.tolist(), strict=True))
    expected = {(0, 8): 1 / 3, (1, 7): 1 / 3, (0, 7): 1 / 6, (1, 8): 1 / 6}  # margins 1, 5, 3 and 3; 9 is a positive
    assert set(pairs) == set(expected)
    for pair, share in expected.items():
        assert pairs[pair] / MANY == pytest.approx(share, abs=TOLERANCE), pair
    later = drawing(1)
    assert later.block.positive_N.tolist() != step.block.positive_N.tolist()


def test_further_negatives_belong_to_the_positive_of_the_first_pair() -> None:
    """Six pairs in two bins: 0 with 9, and the five others. A known passage makes no pair, whatever its score."""
    scores = constant({0: 0.0, 1: 100.0, 7: 0.0, 8: 0.0, 9: 100.0, 6: 3000.0})
    known = [[(0, "gold"), (1, "gold"), (6, "llm")]] * MANY
    step = paired("random1", known, same([7, 6, 9, 8]), scores, bins=2, k=2)(0)
    rows = list(zip(step.block.positive_N.tolist(), negatives_of(step), strict=True))
    first = Counter((positive, drawn[0]) for positive, drawn in rows)
    expected = {(0, 9): 0.5, (0, 7): 0.1, (0, 8): 0.1, (1, 7): 0.1, (1, 8): 0.1, (1, 9): 0.1}
    assert {pair: count / MANY for pair, count in first.items()} == pytest.approx(expected, abs=TOLERANCE)
    second = [drawn[1] for positive, drawn in rows if (positive, drawn[0]) == (0, 7)]
    assert second.count(9) / len(second) == pytest.approx(1 / 1.2, abs=0.03)  # 3 in 4 if the pairs of 1 counted too


def test_pairs_are_of_the_drawn_positives_under_other_policies() -> None:
    """Positive 1 is never drawn, so its margins make no bins."""
    scores = constant({0: 3.0, 1: 90.0, 7: 0.0, 8: 0.1, 6: 2.0})
    step = paired("first", [gold(0, 1)] * MANY, same([7, 8, 6]), scores, bins=2)(0)
    counted = Counter(step.block.negative_N.tolist())
    assert set(step.block.positive_N.tolist()) == {0}
    assert [counted[one] / MANY for one in (6, 7, 8)] == pytest.approx([1 / 2, 1 / 4, 1 / 4], abs=TOLERANCE)


def test_questions_with_fewer_than_two_pairs_are_left_out_and_counted() -> None:
    known = [gold(0), gold(0), gold(0, 1), gold(0), gold(5), gold(0)]
    lists = ragged([[7, 8], [7], [7], [7, 9], [7, 8], []])  # of 9 and of positive 5 no score is known
    scores = looked_up({(q, p): float(p) for q in range(6) for p in (0, 1, 7, 8)})
    drawing = paired("random1", known, lists, scores)
    assert drawing.questions.tolist() == [0, 2]
    assert drawing.dropped == 4
    assert drawing.rows_per_epoch == 2
    with pytest.raises(DataError, match="no question has two pairs of source 'a'"):
        paired("random1", known[1:2], ragged([[7]]), scores)
    with pytest.raises(DataError, match="no question has two pairs of source 'a'"):
        paired("random1", known[:1], ragged([[7, 8]]), scores, window=1)
    with pytest.raises(RecipeError, match="nothing gives its scores"):
        paired("random1", known[:1], ragged([[7, 8]]), None)


def test_a_positive_without_a_score_leaves_its_row_short() -> None:
    """The question has pairs, this row of it has none."""
    scores = constant({0: 1.0, 7: 0.0, 8: 0.5})
    one = entry(k=1, weight="margin_bins", bins=2, short="random")
    draw = config({"policy": "one_row_per_positive"}, one, questions="sequential")
    step = drawer(draw, [gold(0, 1)], {"a": ragged([[7, 8]])}, rows=2, evidence=Evidence(teacher=scores))(0)
    first, second = rows_of(step)
    assert first.negatives[0] in (7, 8)
    assert len(second.negatives) == 1
    assert step.shortages == {"a": 1}


# ---- several sources


def test_removing_an_entry_changes_only_its_share(examined: Examined) -> None:
    """A quota from each of several sources: what the others give stays what it is."""
    known = [gold(0)] * 200
    lists = {name: ragged([range(start, start + 30)] * 200) for name, start in (("a", 10), ("b", 40), ("c", 70))}
    entries = [entry("a", k=2, weight="uniform"), entry("b", "uniform", k=3), entry("c", "uniform", k=1)]
    whole, part = (
        drawer(config({"policy": "first"}, *some), known, lists, rows=50, seed=2) for some in (entries, entries[:2])
    )
    count = 0
    for number in range(8):
        for all_of, rest in zip(rows_of(whole(number)), rows_of(part(number)), strict=True):
            assert (all_of.question, all_of.positives, all_of.negatives[:5]) == (
                rest.question,
                rest.positives,
                rest.negatives,
            )
            assert [passage // 30 for passage in np.array(all_of.negatives) - 10] == [0, 0, 1, 1, 1, 2]
            count += 1
    examined(count, "rows with and without a source", at_least=400)
