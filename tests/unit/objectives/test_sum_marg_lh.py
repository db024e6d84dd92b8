"""sum_marg_lh: minus the logarithm of the share of all positives together."""

from math import exp, log

import torch

from mpr import objectives


def reference(row, options):
    mass = [(cell.kind, exp(cell.score / options.get("temperature", 1.0))) for cell in row]
    positive = sum(value for kind, value in mass if kind == "+")
    return -log(positive / sum(value for _, value in mass)), 1.0


def test_equals_the_written_out_formula(agree):
    agree("sum_marg_lh", [{}, {"temperature": 0.5}], reference)


def test_one_good_positive_satisfies_it_and_the_small_rest_keeps_its_digits():
    scores_QP = torch.tensor([[40.0, -5.0, 0.0]])
    positives_QP = torch.tensor([[True, True, False]])
    sum_Q, _ = objectives.load("sum_marg_lh")(scores_QP, positives_QP, ~positives_QP)
    assert abs(sum_Q.item() / exp(-40.0) - 1) < 1e-5
