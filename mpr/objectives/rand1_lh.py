"""Rand1LH: the likelihood of one of the positives, a different one each time; `nll` on a draw that takes one.

    loss = -ln( e^s_p / (e^s_p + sum_n e^s_n) ),        p drawn from the question's positives, s = score / temperature

What is random is the draw (`draw.positives.policy: random1`, which takes the positives in turn from epoch to epoch),
not the loss: for a given step this is `nll`, and it is the very same function. The name exists so that a recipe can
name the row of the table it reproduces. The positives that were not drawn are not in the block, or are ignored cells
of it, and so take no part.

Source: "Training Dense Retrievers with Multiple Positive Passages", arXiv 2602.12727, and its code; the name comes
from its predecessor on utility-focused annotation by language models, EMNLP 2025, arXiv 2504.05220.

>>> import torch
>>> from mpr import objectives
>>> scores_QP = torch.tensor([[2.0, 1.0, 0.5, 1.5, -1.0]])
>>> drawn_QP = torch.tensor([[True, False, False, False, False]])
>>> negatives_QP = torch.tensor([[False, False, True, True, True]])
>>> sum_Q, weight_Q = objectives.load("rand1_lh")(scores_QP, drawn_QP, negatives_QP)
>>> round((sum_Q.sum() / weight_Q.sum()).item(), 4)
0.631
"""

from __future__ import annotations

from mpr.objectives import nll
from mpr.objectives.nll import objective

__all__ = ["Params", "objective"]


class Params(nll.Params):
    """Keys of the objective `rand1_lh`."""
