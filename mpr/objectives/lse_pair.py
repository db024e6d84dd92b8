"""LSEPair: log-sum-exp over all pairs of a positive and a negative; it works on the weakest positive.

    loss = ln( 1 + sum_p sum_n e^(s_n - s_p) ) = ln( 1 + S- sum_p e^(-s_p) )
    s = score / temperature,    S- = sum_n e^s_n

Other positives are never on the negative side. d loss / d s_p is in proportion to e^(-s_p): the lowest positive gets
nearly all of the pull, which is what one wants of clean labels and a risk with noisy ones. The selectors replace the
sum over positives by the lowest- (`min`) or highest-scored (`max`) one, and the sum over negatives by the hardest.

Source: "Training Dense Retrievers with Multiple Positive Passages", arXiv 2602.12727; the selectors and the division
(off by default) are options of its released code. The family goes back to LSEP (Li, Song and Luo, CVPR 2017).

>>> import torch
>>> from mpr import objectives
>>> scores_QP = torch.tensor([[2.0, 1.0, 0.5, 1.5, -1.0]])
>>> positives_QP = torch.tensor([[True, True, False, False, False]])
>>> sum_Q, weight_Q = objectives.load("lse_pair")(scores_QP, positives_QP, ~positives_QP)
>>> round((sum_Q.sum() / weight_Q.sum()).item(), 4)
1.4516
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from mpr.objectives import Objective
from mpr.objectives._masked import EMPTY, Temperature, block, log_sum_exp, softplus

if TYPE_CHECKING:
    from torch import Tensor


class Params(Objective):
    """Keys of the objective `lse_pair`."""

    when_named: ClassVar[dict[str, Any]] = {"positives": "all", "negatives": "all", "divide_by_positives": True}

    positives: Literal["all", "min", "max"] = "all"
    """Which positives of a row take part: all, the lowest-scored, or the highest-scored."""
    negatives: Literal["all", "max"] = "all"
    """Which negatives of a row take part: all, or the highest-scored."""
    divide_by_positives: bool = False
    """Divide the loss of a row by its number of positives."""
    temperature: Temperature = 1.0
    """Scores are divided by it; 1 is the raw inner product."""

    def divisor(self, width: int) -> float:
        return self.temperature


def objective(
    params: Params, scores_QP: Tensor, positives_QP: Tensor, negatives_QP: Tensor, **_others: object
) -> tuple[Tensor, Tensor]:
    """Per question: softplus of the log-mass of the negatives plus the log of the positives' inverse mass."""
    rows = block("lse_pair", scores_QP, positives_QP, negatives_QP, params.temperature)
    if params.positives == "all":
        inverse_Q = log_sum_exp(-rows.scores_QP, rows.positives_QP)
    elif params.positives == "min":
        inverse_Q = _highest(-rows.scores_QP, rows.positives_QP)
    else:
        inverse_Q = -_highest(rows.scores_QP, rows.positives_QP)
    rivals = log_sum_exp if params.negatives == "all" else _highest
    loss_Q = softplus(rivals(rows.scores_QP, rows.negatives_QP) + inverse_Q)
    if params.divide_by_positives:
        loss_Q = loss_Q / rows.positives_QP.sum(dim=1).clamp(min=1)
    return rows.per_question(loss_Q)


def _highest(values_QP: Tensor, mask_QP: Tensor) -> Tensor:
    """Per row, the largest of the chosen cells; equal ones share the gradient, so column order does not matter."""
    return values_QP.masked_fill(~mask_QP, EMPTY).amax(dim=1)
