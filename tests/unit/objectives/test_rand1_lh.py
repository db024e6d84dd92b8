"""rand1_lh: the same function as nll under its own name, and right in expectation over the draw."""

import pytest
import torch

from mpr import objectives
from mpr.objectives import nll, rand1_lh


def test_is_the_function_of_nll():
    assert rand1_lh.objective is nll.objective
    assert rand1_lh.Params is not nll.Params
    assert set(rand1_lh.Params.model_fields) == set(nll.Params.model_fields)


def test_expected_gradient_over_the_draw():
    """arXiv 2602.12727's setting: exp-scores of positives 2 and 1, one negative 1; one positive drawn, one absent."""
    scores_QP = torch.tensor([[2.0, 1.0, 1.0]], dtype=torch.float64).log().requires_grad_()
    negatives_QP = torch.tensor([[False, False, True]])
    for drawn in ([True, False, False], [False, True, False]):
        sum_Q, _ = objectives.load("rand1_lh")(scores_QP, torch.tensor([drawn]), negatives_QP)
        (0.5 * sum_Q.sum()).backward()
    assert scores_QP.grad[0, :2].tolist() == pytest.approx([-1 / 6, -1 / 4], abs=1e-12)
