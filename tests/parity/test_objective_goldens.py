"""Objectives against published or hand-derived numbers, torch's own losses, and one another.

Numbers with six decimals belong to one fixture: five passages of scores 2, 1, .5, 1.5, -1, of which the first two are
positive, teacher scores 9, 7, 4, 6, 1 and BM25 scores 12, 10, 9, 14, 2. They were computed from the papers' formulas,
and where a reference program exists (RepBERT, STAR, ADORE, CL-DRD) agree with it.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)

from mpr import objectives

SCORES = (2.0, 1.0, 0.5, 1.5, -1.0)
TARGETS = {
    "teacher_QP": torch.tensor([[9.0, 7.0, 4.0, 6.0, 1.0]], dtype=torch.float64),
    "live_QP": torch.tensor([[9.0, 7.0, 4.0, 6.0, 1.0]], dtype=torch.float64),
    "lexical_QP": torch.tensor([[12.0, 10.0, 9.0, 14.0, 2.0]], dtype=torch.float64),
    "ranks_QP": torch.tensor([[1, 3, 4, 2, 5]]),
}
RANKED = {"phi": "logistic", "weight": "drr"}

# kinds of the five cells, objective, options, value
GOLDENS = [
    ("+----", "nll", {}, 0.809742),
    ("+.---", "nll", {}, 0.630978),
    ("+.---", "rand1_lh", {}, 0.630978),
    ("++---", "joint_lh", {"reduce": "mean"}, 1.309742),
    ("++---", "joint_lh", {"reduce": "mean", "copositives": "mask"}, 0.925991),
    ("++---", "nll", {}, 0.925991),
    ("++---", "sup_con", {}, 1.309742),
    ("++---", "sum_marg_lh", {}, 0.496480),
    ("++---", "lse_pair", {}, 1.451622),
    ("++---", "bce", {"scaling": "none", "reduce": "pair_mean"}, 0.685788),
    ("++---", "pairwise", {"phi": "logistic"}, 0.383193),
    ("+..-.", "pairwise", {"phi": "logistic"}, 0.474077),
    ("++---", "pairwise", {"phi": "hinge", "reduce": "sum_over_columns"}, 0.500000),
    ("++---", "pairwise", RANKED, 0.107624),
    ("++---", "pairwise", RANKED | {"ranks": "given"}, 0.107624),
    ("++---", "pairwise", RANKED | {"cut": 3}, 0.141620),
    ("++---", "pairwise", RANKED | {"ranks": "given", "cut": 3}, 0.141620),
    ("++---", "pairwise", {"phi": "square", "target": "teacher"}, 11.333333),
    ("++---", "kl", {"target": "teacher"}, 0.394837),
    ("++---", "pairwise", {"phi": "square", "target": "live"}, 11.333333),
    ("++---", "kl", {"target": "live"}, 0.394837),
    ("++---", "kl", {"target": "labels"}, 0.616594),
    ("+..-.", "pairwise", {"phi": "hinge", "target": "lexical", "target_factor": 0.1}, 0.700000),
]


def _masks(*rows: str) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.tensor([[kind == wanted for kind in row] for row in rows]) for wanted in "+-")  # type: ignore[return-value]


def _loss(name: str, options: dict[str, Any], scores_QP: torch.Tensor, *rows: str, **targets: Any) -> torch.Tensor:
    sum_Q, weight_Q = objectives.load(name, **options)(scores_QP, *_masks(*rows), **targets)
    return sum_Q.sum() / weight_Q.sum()


def _fixture() -> torch.Tensor:
    return torch.tensor([SCORES], dtype=torch.float64, requires_grad=True)


def _random(rows: int, columns: int, seed: int = 3) -> torch.Tensor:
    drawn = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (2 * drawn).requires_grad_()


def _gradient(loss: torch.Tensor, scores_QP: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(loss, scores_QP, retain_graph=True)[0]


def _same(scores_QP: torch.Tensor, ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """Equal values and equal gradients."""
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(_gradient(ours, scores_QP), _gradient(theirs, scores_QP), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("kinds, name, options, value", GOLDENS)
def test_golden(kinds: str, name: str, options: dict[str, Any], value: float) -> None:
    loss = _loss(name, options, _fixture(), kinds, **TARGETS).item()
    assert round(loss, 6) == pytest.approx(value, abs=1.01e-6 if value == 0.616594 else 1e-9)


def test_rank_weighted_sum() -> None:
    """The sum over pairs behind the mean above: 0.645745 over six pairs."""
    sum_Q, weight_Q = objectives.load("pairwise", **RANKED)(_fixture(), *_masks("++---"))
    assert (round(sum_Q.item(), 6), weight_Q.item()) == (0.645745, 6.0)


# arXiv 2508.09534 at batch 16 with one hard negative each: (m + 1) * 16 passages, softmax over the row
READINGS = [
    ("softmax", "pair_mean", 1, 0.7079, 0.6813),
    ("softmax", "pair_mean", 2, 0.7028, 0.6840),
    ("softmax", "pair_mean", 3, 0.7003, 0.6860),
    ("probability", "query_sum", 1, 4.45, 0.0),
    ("probability", "query_sum", 2, 8.71, 2 * math.log(2)),
    ("probability", "query_sum", 3, 13.44, 3 * math.log(3)),
]


@pytest.mark.parametrize("scaling, reduce, m, uniform, best", READINGS)
def test_readings_of_the_binary_loss(scaling: str, reduce: str, m: int, uniform: float, best: float) -> None:
    kinds = "+" * m + "-" * (16 * (m + 1) - m)
    rows = (kinds,) * 16
    options = {"scaling": scaling, "reduce": reduce}
    level_QP = torch.zeros(16, len(kinds), dtype=torch.float64)
    sure_QP = torch.where(_masks(*rows)[0], 100.0, -100.0).double()
    digits = 4 if scaling == "softmax" else 2
    assert round(_loss("bce", options, level_QP, *rows).item(), digits) == uniform
    assert round(_loss("bce", options, sure_QP, *rows).item(), 4) == pytest.approx(best, abs=5e-5)


# arXiv 2602.12727's setting: exp-scores of the positives 2 and 1, one negative of exp-score 1
GRADIENTS = [
    ("lse_pair", {}, (-1 / 5, -2 / 5)),
    ("joint_lh", {}, (0.0, -1 / 2)),
    ("joint_lh", {"reduce": "mean"}, (0.0, -1 / 4)),
    ("sup_con", {}, (0.0, -1 / 4)),
    ("sum_marg_lh", {}, (-1 / 6, -1 / 12)),
    ("nll", {}, (-1 / 6, -1 / 4)),  # the mean over its positives is Rand1LH in expectation over the draw
]


@pytest.mark.parametrize("name, options, expected", GRADIENTS)
def test_gradient_on_two_positives(name: str, options: dict[str, Any], expected: tuple[float, float]) -> None:
    scores_QP = torch.tensor([[2.0, 1.0, 1.0]], dtype=torch.float64).log().requires_grad_()
    gradient_QP = _gradient(_loss(name, options, scores_QP, "++-"), scores_QP)
    assert gradient_QP[0, :2].tolist() == pytest.approx(expected, abs=1e-12)


# one question, positives scored 8, 5, 1 and six negatives: what each loss does to each positive, to the digits given
PULLS = [
    ("joint_lh", {}, (1.77, -0.86, -1.00), 0.09, 0.005),
    ("joint_lh", {"reduce": "mean"}, (0.59, -0.29, -0.33), 0.03, 0.005),
    ("joint_lh", {"reduce": "mean", "copositives": "mask"}, (-0.01, -0.13, -0.32), 0.46, 0.005),
    ("sum_marg_lh", {}, (-0.027, -0.001, 0.0), 0.03, 0.0005),
    ("lse_pair", {}, (-0.001, -0.017, -0.954), 0.97, 0.0005),
    ("bce", {"scaling": "none", "reduce": "pair_mean"}, (0.0, -0.001, -0.03), 0.55, 0.0005),
]


@pytest.mark.parametrize("name, options, positives, negatives, digit", PULLS)
def test_pull_on_uneven_positives(
    name: str, options: dict[str, Any], positives: tuple[float, ...], negatives: float, digit: float
) -> None:
    scores_QP = torch.tensor([[8.0, 5.0, 1.0, 4.0, 3.0, 2.0, 2.0, 1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    gradient = _gradient(_loss(name, options, scores_QP, "+++------"), scores_QP)[0]
    assert gradient[:2].tolist() == pytest.approx(positives[:2], abs=digit)
    assert gradient[2].item() == pytest.approx(positives[2], abs=max(digit, 0.001))
    assert gradient[3:].sum().item() == pytest.approx(negatives, abs=0.005)


# -------------------------------------------------------------------- torch's own losses

ROWS = ("+---+-", "-+-++-", "--+---", "+++++-")


@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_soft_cross_entropy(temperature: float) -> None:
    scores_QP, positives_QP = _random(4, 6), _masks(*ROWS)[0]
    shares_QP = positives_QP.double() / positives_QP.sum(dim=1, keepdim=True)
    theirs = F.cross_entropy(scores_QP / temperature, shares_QP)
    options = {"temperature": temperature}
    _same(scores_QP, _loss("sup_con", options, scores_QP, *ROWS), theirs)
    _same(scores_QP, _loss("joint_lh", options | {"reduce": "mean"}, scores_QP, *ROWS), theirs)


def test_binary_cross_entropy() -> None:
    scores_QP, positives_QP = _random(4, 6), _masks(*ROWS)[0].double()
    mean = {"reduce": "pair_mean"}
    for bias, weight, temperature in product((0.0, -2.0), (1.0, 5.0), (1.0, 0.5)):
        more = {"bias": bias, "positive_weight": weight, "temperature": temperature}
        ours = _loss("bce", {"scaling": "none"} | mean | more, scores_QP, *ROWS)
        theirs = F.binary_cross_entropy_with_logits(
            scores_QP / temperature + bias, positives_QP, pos_weight=torch.tensor(weight)
        )
        _same(scores_QP, ours, theirs)
    shares_QP = scores_QP.softmax(dim=1)
    theirs = F.binary_cross_entropy_with_logits(shares_QP, positives_QP)
    _same(scores_QP, _loss("bce", {"scaling": "softmax"} | mean, scores_QP, *ROWS), theirs)
    theirs = F.binary_cross_entropy(scores_QP.softmax(dim=1), positives_QP)
    _same(scores_QP, _loss("bce", {"scaling": "probability"} | mean, scores_QP, *ROWS), theirs)


def test_sum_per_question_and_mean_per_pair_differ_by_the_number_of_pairs() -> None:
    scores_QP = _random(4, 6)
    for scaling in ("probability", "softmax", "none"):
        per_pair = _loss("bce", {"scaling": scaling, "reduce": "pair_mean"}, scores_QP, *ROWS)
        _same(scores_QP, _loss("bce", {"scaling": scaling}, scores_QP, *ROWS), 6 * per_pair)


def test_scores_over_the_root_of_the_width() -> None:
    scores_QP = _random(4, 6)
    scaled = _loss("bce", {"scaling": "none", "sqrt_width": True}, scores_QP, *ROWS, width=768)
    _same(scores_QP, scaled, _loss("bce", {"scaling": "none", "temperature": math.sqrt(768)}, scores_QP, *ROWS))


def test_divergence_from_a_teacher() -> None:
    scores_QP, teacher_QP = _random(4, 6), _random(4, 6, seed=4).detach()
    for heat, target_heat in product((1.0, 0.3), (1.0, 2.0)):
        options = {"target": "teacher", "temperature": heat, "target_temperature": target_heat}
        theirs = F.kl_div(
            (scores_QP / heat).log_softmax(dim=1),
            (teacher_QP / target_heat).log_softmax(dim=1),
            log_target=True,
            reduction="batchmean",
        )
        _same(scores_QP, _loss("kl", options, scores_QP, *ROWS, teacher_QP=teacher_QP), theirs)


def test_multi_label_margin() -> None:
    """RepBERT's loss: torch wants the positives' column numbers first and -1 behind them, and divides by columns."""
    scores_QP = _random(4, 6)
    columns_QP = torch.tensor([[0, 4, -1, -1, -1, -1], [1, 3, 4, -1, -1, -1], [2, *[-1] * 5], [0, 1, 2, 3, 4, -1]])
    theirs = torch.nn.MultiLabelMarginLoss()(scores_QP, columns_QP)
    _same(scores_QP, _loss("pairwise", {"phi": "hinge", "reduce": "sum_over_columns"}, scores_QP, *ROWS), theirs)


def _pairs(values_QP: torch.Tensor, *rows: str) -> torch.Tensor:
    """Positives' and negatives' values of all pairs, two rows."""
    found = [
        torch.stack([values[better], values[worse]])
        for values, row in zip(values_QP, rows, strict=True)
        for better, worse in product(range(len(row)), repeat=2)
        if row[better] + row[worse] == "+-"
    ]
    return torch.stack(found, dim=1)


def test_losses_of_single_pairs() -> None:
    scores_QP, teacher_QP = _random(4, 6), _random(4, 6, seed=4).detach()
    better, worse = _pairs(scores_QP, *ROWS)
    sign = torch.ones_like(better)
    theirs = F.margin_ranking_loss(better, worse, sign, margin=0.7)
    _same(scores_QP, _loss("pairwise", {"phi": "hinge", "margin": 0.7}, scores_QP, *ROWS), theirs)
    theirs = F.soft_margin_loss(better - worse, sign)
    _same(scores_QP, _loss("pairwise", {"phi": "logistic"}, scores_QP, *ROWS), theirs)
    taught_better, taught_worse = _pairs(teacher_QP, *ROWS)
    theirs = F.mse_loss(better - worse, taught_better - taught_worse)
    options = {"phi": "square", "target": "teacher"}
    _same(scores_QP, _loss("pairwise", options, scores_QP, *ROWS, teacher_QP=teacher_QP), theirs)


# -------------------------------------------------------------------- objectives against one another


def test_labels_as_target_are_joint_lh_less_a_constant() -> None:
    """CODER's ListNet."""
    scores_QP = _random(4, 6)
    entropy = sum(math.log(row.count("+")) for row in ROWS) / 4
    joint = _loss("joint_lh", {"reduce": "mean"}, scores_QP, *ROWS)
    _same(scores_QP, _loss("kl", {"target": "labels"}, scores_QP, *ROWS), joint - entropy)


def test_equal_grades_are_labels() -> None:
    scores_QP, grades_QP = _random(4, 6), torch.full((4, 6), 2.0)
    graded = _loss("kl", {"target": "grades"}, scores_QP, *ROWS, grades_QP=grades_QP)
    _same(scores_QP, graded, _loss("kl", {"target": "labels"}, scores_QP, *ROWS))


def test_lse_pair_is_a_reduction_of_pairs() -> None:
    scores_QP = _random(4, 6)
    options = {"phi": "logistic", "reduce": "lse"}
    _same(scores_QP, _loss("pairwise", options, scores_QP, *ROWS), _loss("lse_pair", {}, scores_QP, *ROWS))


def test_hardest_pair_of_lse_pair() -> None:
    """The lowest positive against the highest negative is RankNet on that pair."""
    scores_QP = _fixture()
    options = {"positives": "min", "negatives": "max"}
    _same(scores_QP, _loss("lse_pair", options, scores_QP, "++---"), _loss("nll", {}, scores_QP, ".+.-."))


def test_masked_mean_of_joint_lh_is_nll() -> None:
    scores_QP = _random(4, 6)
    options = {"copositives": "mask", "reduce": "mean"}
    _same(scores_QP, _loss("joint_lh", options, scores_QP, *ROWS), _loss("nll", {}, scores_QP, *ROWS))


def test_one_positive_and_one_negative_are_ranknet() -> None:
    """ANCE's loss: each of a question's negatives is a row of its own."""
    scores_QP, rows = _random(3, 6), ("+-....", "..-.+.", "....-+")
    for name in ("nll", "rand1_lh", "joint_lh", "sum_marg_lh", "lse_pair", "sup_con"):
        pair = _loss("pairwise", {"phi": "logistic"}, scores_QP, *rows)
        _same(scores_QP, _loss(name, {}, scores_QP, *rows), pair)


def test_first_sum_of_the_probability_reading_is_joint_lh() -> None:
    scores_QP = _random(4, 6)
    doubled = _loss("bce", {"scaling": "probability", "positive_weight": 2.0}, scores_QP, *ROWS)
    once = _loss("bce", {"scaling": "probability"}, scores_QP, *ROWS)
    _same(scores_QP, doubled - once, _loss("joint_lh", {}, scores_QP, *ROWS))


def test_sorted_ranks_are_given_ranks_that_follow_the_score() -> None:
    """CL-DRD with 0/1 labels is ADORE with the position in the list as rank."""
    scores_QP, rows = _random(4, 6), ROWS
    ranks_QP = scores_QP.detach().argsort(dim=1, descending=True).argsort(dim=1) + 1
    grades_QP = _masks(*rows)[0].double()
    adore = RANKED | {"ranks": "given", "cut": 6, "reduce": "query_mean"}
    cldrd = RANKED | {"pairs": "grades", "reduce": "query_mean"}
    theirs = _loss("pairwise", cldrd, scores_QP, *rows, grades_QP=grades_QP)
    _same(scores_QP, _loss("pairwise", adore, scores_QP, *rows, ranks_QP=ranks_QP), theirs)


def test_what_a_teacher_says_to_pairs_is_relative() -> None:
    """TAS-B: a constant added to a question's teacher scores changes nothing; a student like its teacher is done."""
    scores_QP, teacher_QP = _random(4, 6), _random(4, 6, seed=4).detach()
    options = {"phi": "square", "target": "teacher"}
    moved_QP = teacher_QP + torch.tensor([[5.0], [-3.0], [0.0], [100.0]])
    ours = _loss("pairwise", options, scores_QP, *ROWS, teacher_QP=moved_QP)
    _same(scores_QP, ours, _loss("pairwise", options, scores_QP, *ROWS, teacher_QP=teacher_QP))
    assert _loss("pairwise", options, scores_QP, *ROWS, teacher_QP=scores_QP + 7).item() < 1e-20


# 30 passages a question: K graded 1/rank, the rest -0.25 (hard) and -0.5 (semi-hard)
CURRICULUM = [(5, 12, 13, 291), (10, 10, 10, 345), (30, 0, 0, 435)]


@pytest.mark.parametrize("relevant, hard, semi_hard, pairs", CURRICULUM)
def test_ordered_pairs_of_the_curriculum(relevant: int, hard: int, semi_hard: int, pairs: int) -> None:
    """CL-DRD, arXiv 2204.13679: the constraints become finer from stage to stage."""
    grades = [1 / rank for rank in range(1, relevant + 1)] + [-0.25] * hard + [-0.5] * semi_hard
    masks = _masks("+" * relevant + "-" * (hard + semi_hard))
    loss = objectives.load("pairwise", **RANKED, pairs="grades")
    _, weight_Q = loss(_random(1, 30), *masks, grades_QP=torch.tensor([grades], dtype=torch.float64))
    assert weight_Q.tolist() == [pairs]


def test_how_much_is_checked() -> None:
    print(f"{len(GOLDENS)} golden values, {len(READINGS)} readings, {len(GRADIENTS) + len(PULLS)} gradients")
    assert (len(GOLDENS), len(READINGS), len(GRADIENTS), len(PULLS)) == (23, 6, 6, 6)
    assert {name for _, name, *_ in GOLDENS} >= {
        "bce", "joint_lh", "kl", "lse_pair", "nll", "pairwise", "rand1_lh", "sum_marg_lh", "sup_con",
    }  # fmt: skip
