"""SumMargLH: the marginal likelihood of the set of positives, the sum of their softmax probabilities.

    loss = -ln( S+ / (S+ + S-) ),      S+ = sum_p e^s_p,   S- = sum_n e^s_n,   s = score / temperature

One good positive satisfies it: d loss / d s_p = -(1 - S+/(S+ + S-)) e^s_p / S+, a pull in proportion to e^s_p, so what
is already strong is pulled hardest and weak (or wrong) positives are left alone.

Source: "Training Dense Retrievers with Multiple Positive Passages", arXiv 2602.12727; the same form is known as
MIL-NCE (Miech et al. 2020, arXiv 1912.06430).

>>> import torch
>>> from mpr import objectives
>>> scores_QP = torch.tensor([[2.0, 1.0, 0.5, 1.5, -1.0]])
>>> positives_QP = torch.tensor([[True, True, False, False, False]])
>>> sum_Q, weight_Q = objectives.load("sum_marg_lh")(scores_QP, positives_QP, ~positives_QP)
>>> round((sum_Q.sum() / weight_Q.sum()).item(), 4)
0.4965
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpr.objectives import Objective
from mpr.objectives._masked import Temperature, block, log_sum_exp, softplus

if TYPE_CHECKING:
    from torch import Tensor


class Params(Objective):
    """Keys of the objective `sum_marg_lh`."""

    temperature: Temperature = 1.0
    """Scores are divided by it; 1 is the raw inner product."""

    def divisor(self, width: int) -> float:
        return self.temperature


def objective(
    params: Params, scores_QP: Tensor, positives_QP: Tensor, negatives_QP: Tensor, **_others: object
) -> tuple[Tensor, Tensor]:
    """Per question: the log-odds of the negatives' mass against the positives' mass."""
    rows = block("sum_marg_lh", scores_QP, positives_QP, negatives_QP, params.temperature)
    positive_Q = log_sum_exp(rows.scores_QP, rows.positives_QP)
    negative_Q = log_sum_exp(rows.scores_QP, rows.negatives_QP)
    return rows.per_question(softplus(negative_Q - positive_Q))
