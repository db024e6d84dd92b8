"""pairwise: penalties, rank weights, targets, graded labels and reductions, all against one loop over pairs."""

from itertools import product
from math import exp, log

import pytest
import torch

from mpr import objectives
from mpr.errors import RecipeError

TARGETS = ({}, {"target": "teacher"}, {"target": "lexical", "target_factor": 0.1, "temperature": 0.5})
WEIGHTS = ({}, {"weight": "drr"}, {"weight": "drr", "ranks": "given", "cut": 4}, {"weight": "drr", "cut": 2})
PHIS = ({"phi": "logistic"}, {"phi": "hinge", "margin": 0.5}, {"phi": "square"})
REDUCTIONS = ({"reduce": "pair_mean"}, {"reduce": "query_mean"}, {"reduce": "sum_over_columns"})
PAIRS = ({}, {"pairs": "grades"})
VARIANTS = [
    phi | weight | target | pairs | reduction
    for phi, weight, target, pairs, reduction in product(PHIS, WEIGHTS, TARGETS, PAIRS, REDUCTIONS)
] + [{"phi": "logistic", "reduce": "lse"} | target | pairs for target, pairs in product(TARGETS, PAIRS)]


def reciprocal_ranks(row, options):
    """1/rank of each member, 0 beyond the cut or unranked; of equal scores the worse first, of equal both the mean."""
    if options.get("ranks") == "given":
        ranks = [cell.rank for cell in row]
    else:
        worth = [cell.grade if options.get("pairs") == "grades" else float(cell.kind == "+") for cell in row]
        keys = [(-cell.score, value) for cell, value in zip(row, worth, strict=True)]
        ranks = [1 + sum(other < key for other in keys) + (keys.count(key) - 1) / 2 for key in keys]
    cut = options.get("cut", 10**9)
    return [1 / rank if 1 <= rank <= cut else 0.0 for rank in ranks]


def gap_of(better, worse, options):
    gap = (better.score - worse.score) / options.get("temperature", 1.0)
    if options.get("target") == "teacher":
        gap -= better.teacher - worse.teacher
    elif options.get("target") == "lexical":
        gap += options["target_factor"] * (better.lexical - worse.lexical)
    return gap


def penalty(gap, options):
    if options["phi"] == "logistic":
        return log(1 + exp(-gap))
    return max(0.0, options["margin"] - gap) if options["phi"] == "hinge" else gap * gap


def reference(row, options):
    weights = reciprocal_ranks(row, options)
    gaps, losses = [], []
    for (better, above), (worse, below) in product(zip(row, weights, strict=True), repeat=2):
        graded = better.grade > worse.grade
        if not (graded if options.get("pairs") == "grades" else (better.kind, worse.kind) == ("+", "-")):
            continue
        gaps.append(gap_of(better, worse, options))
        losses.append(penalty(gaps[-1], options) * (abs(above - below) if options.get("weight") == "drr" else 1.0))
    if options["reduce"] == "lse":
        return log(1 + sum(exp(-gap) for gap in gaps)), 1.0
    if options["reduce"] == "pair_mean":
        return sum(losses), float(len(losses))
    return sum(losses) / max(1, len(losses) if options["reduce"] == "query_mean" else len(row)), 1.0


@pytest.mark.long
def test_equals_the_written_out_formula(agree):
    assert len(VARIANTS) == 3 * 4 * 3 * 2 * 3 + 3 * 2
    agree("pairwise", VARIANTS, reference, examples=900, shares=37)


def _loss(scores, positives, **options):
    scores_QP, positives_QP = torch.tensor([scores], requires_grad=True), torch.tensor([positives])
    sum_Q, weight_Q = objectives.load("pairwise", phi="logistic", **options)(scores_QP, positives_QP, ~positives_QP)
    sum_Q.sum().backward()
    return sum_Q.item(), weight_Q.item(), scores_QP.grad[0]


def test_a_collapsed_model_still_gets_a_gradient_from_sorted_ranks():
    """Equal scores: the negatives share rank 1.5, the positive takes 3, so each pair weighs 1/1.5 - 1/3."""
    loss, pairs, gradient = _loss([1.0, 1.0, 1.0], [True, False, False], weight="drr")
    assert pairs == 2.0
    assert loss == pytest.approx(2 * (2 / 3 - 1 / 3) * log(2), rel=1e-6)
    assert gradient[0] < 0


def test_a_swap_beyond_the_cut_has_no_gradient():
    """ADORE: a negative beyond the cut against a positive beyond the cut."""
    _, _, gradient = _loss([0.0, 3.0, 2.0, -1.0], [True, False, False, False], weight="drr", cut=2)
    assert gradient[3].item() == 0.0
    assert (gradient[1:3] > 0).all()


def test_a_positive_that_was_not_retrieved_weighs_the_rank_of_the_negative():
    scores_QP = torch.tensor([[0.0, 1.0]])
    positives_QP = torch.tensor([[True, False]])
    ranks_QP = torch.tensor([[0, 4]])
    loss = objectives.load("pairwise", phi="logistic", weight="drr", ranks="given")
    sum_Q, _ = loss(scores_QP, positives_QP, ~positives_QP, ranks_QP=ranks_QP)
    assert sum_Q.item() == pytest.approx(log(1 + exp(1)) / 4, rel=1e-6)


def test_ranks_are_constants_and_equal_grades_make_no_pair():
    grades_QP = torch.tensor([[1.0, 1.0, 0.5]])
    positives_QP = torch.tensor([[True, True, True]])
    loss = objectives.load("pairwise", phi="logistic", pairs="grades")
    _, weight_Q = loss(torch.zeros(1, 3), positives_QP, ~positives_QP, grades_QP=grades_QP)
    assert weight_Q.tolist() == [2.0]


@pytest.mark.parametrize(
    "options, named",
    [
        ({"phi": "logistic", "margin": 2.0}, "margin"),
        ({"phi": "logistic", "cut": 3}, "cut"),
        ({"phi": "logistic", "ranks": "given"}, "ranks"),
        ({"phi": "square", "target_factor": 2.0}, "target_factor"),
        ({"phi": "hinge", "reduce": "lse"}, "lse"),
        ({"phi": "logistic", "weight": "drr", "reduce": "lse"}, "lse"),
        ({"phi": "logistic", "weight": "drr", "cut": 0}, "cut"),
        ({}, "phi"),
    ],
)
def test_options_that_would_do_nothing_are_refused(options, named):
    with pytest.raises(RecipeError, match=named):
        objectives.load("pairwise", **options)
