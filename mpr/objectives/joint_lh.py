"""JointLH: the likelihood of all positives at once, the product of their softmax probabilities.

    keep:   loss = sum_p -ln( e^s_p / sum_all e^s )                s = score / temperature
    mask:   loss = sum_p -ln( e^s_p / (e^s_p + sum_n e^s_n) )      p over positives, n over negatives

With `keep` (the paper and its code) a row's positives share one softmax: d loss / d s_p = m prob_p - 1, so a positive
that has more than its share 1/m is pushed down, and the loss cannot fall below m ln m. With `mask` each positive meets
only the negatives: every positive is pulled up. `reduce: mean` divides by the number m of positives of the row.

Source: "Training Dense Retrievers with Multiple Positive Passages", arXiv 2602.12727. Its released code keeps the
other positives and sums, which are the defaults; its gradient analysis is that of the mean.

>>> import torch
>>> from mpr import objectives
>>> scores_QP = torch.tensor([[2.0, 1.0, 0.5, 1.5, -1.0]])
>>> positives_QP = torch.tensor([[True, True, False, False, False]])
>>> sum_Q, weight_Q = objectives.load("joint_lh", reduce="mean")(scores_QP, positives_QP, ~positives_QP)
>>> round((sum_Q.sum() / weight_Q.sum()).item(), 4)
1.3097
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from mpr.objectives import Objective
from mpr.objectives._masked import Temperature, block, log_softmax, log_sum_exp, mean, softplus, total

if TYPE_CHECKING:
    from torch import Tensor


class Params(Objective):
    """Keys of the objective `joint_lh`."""

    when_named: ClassVar[dict[str, Any]] = {"copositives": "mask", "reduce": "mean"}

    copositives: Literal["keep", "mask"] = "keep"
    """Whether a row's other positives stay in each positive's denominator or are left out of it."""
    reduce: Literal["sum", "mean"] = "sum"
    """Over the positives of a row."""
    temperature: Temperature = 1.0
    """Scores are divided by it; 1 is the raw inner product."""

    def divisor(self, width: int) -> float:
        return self.temperature


def objective(
    params: Params, scores_QP: Tensor, positives_QP: Tensor, negatives_QP: Tensor, **_others: object
) -> tuple[Tensor, Tensor]:
    """Per question: the sum or mean of the negative log-likelihoods of its positives."""
    rows = block("joint_lh", scores_QP, positives_QP, negatives_QP, params.temperature)
    if params.copositives == "keep":
        loss_QP = -log_softmax(rows.scores_QP, rows.members_QP)
    else:
        loss_QP = softplus(log_sum_exp(rows.scores_QP, rows.negatives_QP)[:, None] - rows.scores_QP)
    reduce = total if params.reduce == "sum" else mean
    return rows.per_question(reduce(loss_QP, rows.positives_QP))
