"""lse_pair: log-sum-exp over pairs, with the selectors of the released code."""

from itertools import product
from math import exp, log

import pytest
import torch

from mpr import objectives

VARIANTS = [
    {"positives": positives, "negatives": negatives, "divide_by_positives": divide, "temperature": temperature}
    for positives, negatives, divide, temperature in product(
        ("all", "min", "max"), ("all", "max"), (False, True), (1.0, 2.0)
    )
]


def reference(row, options):
    positives = [cell.score / options["temperature"] for cell in row if cell.kind == "+"]
    negatives = [cell.score / options["temperature"] for cell in row if cell.kind == "-"]
    chosen = {"all": positives, "min": [min(positives)], "max": [max(positives)]}[options["positives"]]
    rivals = negatives if options["negatives"] == "all" or not negatives else [max(negatives)]
    loss = log(1 + sum(exp(rival - own) for own in chosen for rival in rivals))
    return loss / (len(positives) if options["divide_by_positives"] else 1), 1.0


def test_equals_the_written_out_formula(agree):
    agree("lse_pair", VARIANTS, reference, shares=4)


def test_division_is_off_unless_asked_for():
    assert objectives.load("lse_pair").args[0].divide_by_positives is False


@pytest.mark.parametrize("selector, expected", [("min", [0.0, -0.5, -0.5]), ("max", [-1.0, 0.0, 0.0])])
def test_equally_scored_choices_share_the_gradient(selector, expected):
    scores_QP = torch.tensor([[1.0, 0.0, 0.0, 60.0]], dtype=torch.float64, requires_grad=True)
    positives_QP = torch.tensor([[True, True, True, False]])
    sum_Q, _ = objectives.load("lse_pair", positives=selector)(scores_QP, positives_QP, ~positives_QP)
    sum_Q.sum().backward()
    assert scores_QP.grad[0, :3].tolist() == pytest.approx(expected, abs=1e-12)
