"""joint_lh: every positive counts; siblings kept in or masked from the denominator, summed or averaged."""

from itertools import product
from math import exp, log

import torch

from mpr import objectives

VARIANTS = [
    {"copositives": copositives, "reduce": reduce, "temperature": temperature}
    for copositives, reduce, temperature in product(("keep", "mask"), ("sum", "mean"), (1.0, 0.5))
]


def reference(row, options):
    mass = [(cell.kind, exp(cell.score / options["temperature"])) for cell in row]
    everything = sum(value for _, value in mass)
    negative = sum(value for kind, value in mass if kind == "-")
    losses = [
        -log(value / (everything if options["copositives"] == "keep" else value + negative))
        for kind, value in mass
        if kind == "+"
    ]
    return sum(losses) / (len(losses) if options["reduce"] == "mean" else 1), 1.0


def test_equals_the_written_out_formula(agree):
    agree("joint_lh", VARIANTS, reference, shares=2)


def test_defaults_are_those_of_the_released_code():
    loss = objectives.load("joint_lh").args[0]
    assert (loss.copositives, loss.reduce, loss.temperature) == ("keep", "sum", 1.0)


def test_a_strong_positive_is_pushed_down_only_when_siblings_are_kept():
    for copositives, sign in (("keep", 1), ("mask", -1)):
        scores_QP = torch.tensor([[3.0, 0.0, 0.0]], requires_grad=True)
        positives_QP = torch.tensor([[True, True, False]])
        sum_Q, _ = objectives.load("joint_lh", copositives=copositives)(scores_QP, positives_QP, ~positives_QP)
        sum_Q.sum().backward()
        assert scores_QP.grad[0, 0].sign() == sign
