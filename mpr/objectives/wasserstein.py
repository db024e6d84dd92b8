"""2-Wasserstein distance between the rows of a step and their grades, both taken as normal distributions (SyCL).

    p = softmax(score / temperature),   y = softmax(grade / target_temperature)    over positives and negatives of a row
    loss = |mean(p) - mean(y)|^2 + tr(C_p) + tr(C_y) - 2 tr((C_p C_y)^(1/2))

Every row that has a positive is a sample, every passage of the step a dimension; an ignored cell is 0 in both. Mean and
covariance C (divided by the number of rows less one) are over the rows, so this loss looks at all rows of a step
together: it is not a sum over rows, and several processes compute it from the rows of all of them (`scale.gather`).
With one row it is the squared distance |p - y|^2. The last trace is the sum of the singular values of E_p E_y', where E
are the rows less their mean; it is computed in 64 bits, and smoothed by 1e-8 where its gradient would not exist.

It compares distributions: scores that are those of another row, for every row, have no distance either. In a step where
every row has passages of its own this is no way to a low loss, but it is why the loss says less about single rows.

A negative without a grade has the grade 0, whose share of the target is not 0: exp(0). Grades 0 to 3 with
`target_temperature: 1` give a passage of grade 3 twenty times the share of an unjudged one.

Source: Esfandiarpoor et al. 2025, "Beyond Contrastive Learning: Synthetic Data Enables List-wise Training with Multiple
Levels of Relevance", arXiv 2503.23239, and the closed form for normal distributions (Dowson and Landau 1982).

>>> import torch
>>> from mpr import objectives
>>> scores_QP = torch.tensor([[2.0, 1.0, 0.0, -1.0], [0.0, 0.5, 1.0, 3.0]])
>>> grades_QP = torch.tensor([[3.0, 2.0, 0.0, 0.0], [0.0, 0.0, 1.0, 3.0]])
>>> positives_QP = grades_QP > 0
>>> loss = objectives.load("wasserstein")
>>> sum_Q, weight_Q = loss(scores_QP, positives_QP, ~positives_QP, grades_QP=grades_QP)
>>> round((sum_Q.sum() / weight_Q.sum()).item(), 4)
0.0043
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpr.objectives import Objective
from mpr.objectives._masked import Temperature, block, log_softmax

if TYPE_CHECKING:
    from torch import Tensor

SMOOTHED = 1e-8


class Params(Objective):
    """Keys of the objective `wasserstein`."""

    temperature: Temperature = 1.0
    """Scores are divided by it; 1 is the raw inner product."""
    target_temperature: Temperature = 1.0
    """Grades are divided by it."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Optional targets without which the objective refuses to run."""
        return ("grades_QP",)

    @property
    def rows_apart(self) -> bool:
        return False

    def divisor(self, width: int) -> float:
        return self.temperature


def objective(
    params: Params,
    scores_QP: Tensor,
    positives_QP: Tensor,
    negatives_QP: Tensor,
    *,
    grades_QP: Tensor | None = None,
    **_others: object,
) -> tuple[Tensor, Tensor]:
    """The distance of all rows, and 1; both in equal parts for each row that has a positive."""
    rows = block("wasserstein", scores_QP, positives_QP, negatives_QP, params.temperature)
    wanted_QP = rows.target("grades_QP", grades_QP) / params.target_temperature
    counted_Q1 = rows.counted_Q[:, None]
    count = rows.counted_Q.sum()
    means, around = [], []
    for values_QP in (rows.scores_QP, wanted_QP):
        share_QP = log_softmax(values_QP, rows.members_QP).exp().double()
        share_QP = share_QP.masked_fill(~counted_Q1, 0.0)
        mean_P = share_QP.sum(dim=0) / count.clamp(min=1)
        means.append(mean_P)
        around.append((share_QP - mean_P).masked_fill(~counted_Q1, 0.0) / (count - 1).clamp(min=1).double().sqrt())
    between = (means[0] - means[1]).square().sum()
    value = between + sum(part_QP.square().sum() for part_QP in around) - 2.0 * _nuclear(around[0] @ around[1].T)
    share_Q = rows.counted_Q.to(rows.scores_QP.dtype) / count.clamp(min=1)
    return value.to(rows.scores_QP.dtype) * share_Q, share_Q


def _nuclear(matrix_QQ: Tensor) -> Tensor:
    """The sum of the singular values; one that is 0 has no gradient."""
    from torch.linalg import svdvals

    square_Q: Tensor = svdvals(matrix_QQ).square()
    return (square_Q / ((square_Q + SMOOTHED**2).sqrt() + SMOOTHED)).sum()
