"""kl: divergence from a teacher, from equal shares of the positives, or from their grades."""

from math import exp, log

import pytest
import torch

from mpr import objectives
from mpr.errors import MprError, RecipeError

VARIANTS = [
    {"target": "teacher"},
    {"target": "teacher", "temperature": 0.5, "target_temperature": 2.0},
    {"target": "labels"},
    {"target": "labels", "temperature": 0.5},
    {"target": "grades"},
    {"target": "grades", "temperature": 0.5, "target_temperature": 0.25},
]


def reference(row, options):
    heat, target_heat = options.get("temperature", 1.0), options.get("target_temperature", 1.0)
    weigh = {
        "teacher": lambda cell: exp(cell.teacher / target_heat),
        "labels": lambda cell: float(cell.kind == "+"),
        "grades": lambda cell: exp(cell.grade / target_heat) if cell.kind == "+" else 0.0,
    }[options["target"]]
    wanted = [weigh(cell) for cell in row]
    shares = [exp(cell.score / heat) for cell in row]
    pairs = [(want / sum(wanted), share / sum(shares)) for want, share in zip(wanted, shares, strict=True)]
    return sum(want * log(want / share) for want, share in pairs if want > 0), 1.0


def test_equals_the_written_out_formula(agree):
    agree("kl", VARIANTS, reference, shares=2)


def test_grades_share_the_target_as_in_coder():
    """Grades 2 and 1 give .73 and .27; a model without an opinion gets target minus 1/3 as its pull."""
    scores_QP = torch.zeros(1, 3, requires_grad=True)
    positives_QP = torch.tensor([[True, True, False]])
    grades_QP = torch.tensor([[2.0, 1.0, 0.0]])
    sum_Q, _ = objectives.load("kl", target="grades")(scores_QP, positives_QP, ~positives_QP, grades_QP=grades_QP)
    sum_Q.sum().backward()
    assert (1 / 3 - scores_QP.grad[0]).tolist() == pytest.approx([0.731059, 0.268941, 0.0], abs=1e-6)


def test_no_gradient_reaches_the_teacher():
    teacher_QP = torch.tensor([[1.0, 0.0]], requires_grad=True)
    scores_QP = torch.tensor([[0.0, 0.0]], requires_grad=True)
    positives_QP = torch.tensor([[True, False]])
    sum_Q, _ = objectives.load("kl", target="teacher")(scores_QP, positives_QP, ~positives_QP, teacher_QP=teacher_QP)
    sum_Q.sum().backward()
    assert teacher_QP.grad is None
    assert scores_QP.grad.abs().sum() > 0


def test_an_unknown_teacher_score_of_a_used_cell_shows():
    teacher_QP = torch.tensor([[1.0, float("nan")]])
    positives_QP = torch.tensor([[True, False]])
    loss = objectives.load("kl", target="teacher")
    sum_Q, _ = loss(torch.zeros(1, 2), positives_QP, ~positives_QP, teacher_QP=teacher_QP)
    assert sum_Q.isnan().all()


def test_refusals():
    with pytest.raises(RecipeError, match="target_temperature does nothing"):
        objectives.load("kl", target="labels", target_temperature=0.5)
    with pytest.raises(RecipeError, match="target"):
        objectives.load("kl")
    mask_QP = torch.tensor([[True, False]])
    with pytest.raises(MprError, match="teacher_QP has shape"):
        objectives.load("kl", target="teacher")(torch.zeros(1, 2), mask_QP, ~mask_QP, teacher_QP=torch.zeros(2, 1))
