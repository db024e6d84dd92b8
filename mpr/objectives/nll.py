"""Negative log-likelihood of the positive among itself and the negatives: the loss of DPR.

    loss = -ln( e^s_p / (e^s_p + sum_n e^s_n) ),        s = score / temperature,   n over the row's negatives

Defined for one positive per row: use it with a draw that takes one (`first`, `random1`, `one_row_per_positive`). A row
that has several all the same (another question of the step brought a second one) is well defined: each positive stands
alone against the negatives, siblings are left out of its denominator, and the mean over the positives counts once.
That is `joint_lh` with `copositives: mask, reduce: mean`; with one positive all softmax objectives are this one.

Source: Karpukhin et al. 2020, "Dense Passage Retrieval for Open-Domain Question Answering", arXiv 2004.04906,
equation 2 (raw inner product, no temperature).

>>> import torch
>>> from mpr import objectives
>>> scores_QP = torch.tensor([[2.0, 0.5, 1.5, -1.0]])
>>> positives_QP = torch.tensor([[True, False, False, False]])
>>> sum_Q, weight_Q = objectives.load("nll")(scores_QP, positives_QP, ~positives_QP)
>>> round((sum_Q.sum() / weight_Q.sum()).item(), 4)
0.631
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpr.objectives import Objective
from mpr.objectives._masked import Temperature, block, log_sum_exp, mean, softplus

if TYPE_CHECKING:
    from torch import Tensor


class Params(Objective):
    """Keys of the objective `nll`."""

    temperature: Temperature = 1.0
    """Scores are divided by it; 1 is the raw inner product."""

    def divisor(self, width: int) -> float:
        return self.temperature


def objective(
    params: Params, scores_QP: Tensor, positives_QP: Tensor, negatives_QP: Tensor, **_others: object
) -> tuple[Tensor, Tensor]:
    """Per question: the mean over its positives of the log-odds against the negatives."""
    rows = block("nll", scores_QP, positives_QP, negatives_QP, params.temperature)
    rivals_Q1 = log_sum_exp(rows.scores_QP, rows.negatives_QP)[:, None]
    return rows.per_question(mean(softplus(rivals_Q1 - rows.scores_QP), rows.positives_QP))
