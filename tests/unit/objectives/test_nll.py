"""nll: one positive against the negatives; siblings never in the denominator."""

from math import exp, log

import pytest
import torch

from mpr import objectives


def reference(row, options):
    temperature = options.get("temperature", 1.0)
    negative = sum(exp(cell.score / temperature) for cell in row if cell.kind == "-")
    own = [exp(cell.score / temperature) for cell in row if cell.kind == "+"]
    return sum(-log(mass / (mass + negative)) for mass in own) / len(own), 1.0


def test_equals_the_written_out_formula(agree):
    agree("nll", [{}, {"temperature": 0.5}, {"temperature": 3}], reference)


def test_a_row_of_several_positives_is_the_mean_of_rows_of_one_each():
    scores_QP = torch.tensor([[2.0, 1.0, 0.5, 1.5, -1.0]], dtype=torch.float64)
    negatives_QP = torch.tensor([[False, False, True, True, True]])
    together, weight_Q = objectives.load("nll")(scores_QP, ~negatives_QP, negatives_QP)
    alone = torch.tensor([[True, False, False, False, False], [False, True, False, False, False]])
    separate, _ = objectives.load("nll")(scores_QP.expand(2, 5), alone, negatives_QP.expand(2, 5))
    assert weight_Q.tolist() == [1.0]
    assert together.item() == pytest.approx(separate.mean().item(), abs=1e-12)


def test_keeps_its_digits_where_softplus_of_torch_is_linear():
    scores_QP = torch.tensor([[0.0, 25.0]], dtype=torch.float64, requires_grad=True)
    sum_Q, _ = objectives.load("nll")(scores_QP, torch.tensor([[True, False]]), torch.tensor([[False, True]]))
    assert sum_Q.item() == 25.0 + 1.388794386496402e-11  # ln(1 + e^25) = 25 + ln(1 + e^-25)
    sum_Q.sum().backward()
    assert scores_QP.grad[0, 1].item() < 1.0
