"""sup_con: the out-form mean, the same function as joint_lh's kept mean."""

from math import exp, log

import pytest
import torch

from mpr import objectives


def reference(row, options):
    shares = [exp(cell.score / options.get("temperature", 1.0)) for cell in row]
    own = [share / sum(shares) for share, cell in zip(shares, row, strict=True) if cell.kind == "+"]
    return sum(-log(share) for share in own) / len(own), 1.0


def test_equals_the_written_out_formula(agree):
    agree("sup_con", [{}, {"temperature": 0.5}], reference)


def test_minimum_is_the_logarithm_of_the_number_of_positives():
    scores_QP = torch.tensor([[1.0, 1.0, 1.0, -1.0]])
    positives_QP = torch.tensor([[True, True, True, False]])
    sum_Q, _ = objectives.load("sup_con", temperature=0.01)(scores_QP, positives_QP, ~positives_QP)
    assert sum_Q.item() == pytest.approx(log(3), abs=1e-6)
