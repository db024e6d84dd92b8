"""SupCon: the mean over positives of the log-softmax, positives included in the denominator ("out" form).

    loss = (1/m) sum_p -ln( e^s_p / sum_all e^s ),      s = score / temperature,   m = number of positives of the row

The question is the anchor. It is `joint_lh` with `copositives: keep, reduce: mean`, and is the same function; it has
its own name because the literature does. The original works on unit vectors with a temperature of about 0.1: write
`towers.normalize: true` and the temperature into the recipe, neither is implied.

Source: Khosla et al. 2020, "Supervised Contrastive Learning", arXiv 2004.11362, equation 2.

>>> import torch
>>> from mpr import objectives
>>> scores_QP = torch.tensor([[0.9, 0.7, 0.1, -0.2]])
>>> positives_QP = torch.tensor([[True, True, False, False]])
>>> sum_Q, weight_Q = objectives.load("sup_con", temperature=0.1)(scores_QP, positives_QP, ~positives_QP)
>>> round((sum_Q.sum() / weight_Q.sum()).item(), 4)
1.1272
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpr.objectives import Objective, joint_lh
from mpr.objectives._masked import Temperature

if TYPE_CHECKING:
    from torch import Tensor


class Params(Objective):
    """Keys of the objective `sup_con`."""

    temperature: Temperature = 1.0
    """Scores are divided by it; 1 is the raw inner product, the original uses about 0.1 on unit vectors."""

    def divisor(self, width: int) -> float:
        return self.temperature


def objective(
    params: Params, scores_QP: Tensor, positives_QP: Tensor, negatives_QP: Tensor, **_others: object
) -> tuple[Tensor, Tensor]:
    """Per question: the mean negative log-likelihood of its positives."""
    same = joint_lh.Params(copositives="keep", reduce="mean", temperature=params.temperature)
    return joint_lh.objective(same, scores_QP, positives_QP, negatives_QP)
