"""Kullback-Leibler divergence of the row's softmax from a target distribution: distillation and ListNet.

    loss = sum_j y_j (ln y_j - ln z_j),     z = softmax(score / temperature) over positives and negatives
    teacher:  y = softmax(teacher_QP / target_temperature) over positives and negatives; live: the same of live_QP
    grades:   y = softmax(grades_QP / target_temperature) over the positives, 0 on the negatives
    labels:   y = 1/m on each of the m positives, 0 on the negatives

d loss / d score = (z - y) / temperature. With `labels` this is `joint_lh` (`keep`, `mean`) minus ln m: the same
gradient, and a minimum of 0. Grades change the target, not its support: grades 2 and 1 share it as .73 and .27.
A teacher score must be known for every cell that is not ignored: one that is NaN makes the loss NaN.

Sources: `labels` and `grades`: ListNet in CODER (Zerveas et al., EMNLP 2022, arXiv 2112.08766); `teacher`: RocketQAv2
(Ren et al. 2021, arXiv 2110.07367) and AR2 as host of SimANS (Zhou et al. 2022, arXiv 2210.11773).

>>> import torch
>>> from mpr import objectives
>>> scores_QP = torch.tensor([[2.0, 1.0, 0.5, 1.5, -1.0]])
>>> teacher_QP = torch.tensor([[9.0, 7.0, 4.0, 6.0, 1.0]])
>>> positives_QP = torch.tensor([[True, True, False, False, False]])
>>> distil = objectives.load("kl", target="teacher")
>>> sum_Q, weight_Q = distil(scores_QP, positives_QP, ~positives_QP, teacher_QP=teacher_QP)
>>> round((sum_Q.sum() / weight_Q.sum()).item(), 4)
0.3948
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import model_validator

from mpr.objectives import Objective
from mpr.objectives._masked import MaskedRows, Temperature, block, log_softmax

if TYPE_CHECKING:
    from torch import Tensor


class Params(Objective):
    """Keys of the objective `kl`."""

    when_named: ClassVar[dict[str, Any]] = {"target": "labels"}

    target: Literal["teacher", "live", "labels", "grades"]
    """Where the target distribution comes from: stored scores of a teacher, those of one that is asked in the step,
    equal shares of the positives, or their grades."""
    temperature: Temperature = 1.0
    """Scores are divided by it; 1 is the raw inner product."""
    target_temperature: Temperature = 1.0
    """Teacher scores or grades are divided by it."""

    @model_validator(mode="after")
    def _no_idle_key(self) -> Params:
        if self.target == "labels" and self.target_temperature != 1.0:
            raise ValueError("target_temperature does nothing with `target: labels`; remove it")
        return self

    @property
    def needs(self) -> tuple[str, ...]:
        """Optional targets without which the objective refuses to run."""
        return () if self.target == "labels" else (f"{self.target}_QP",)

    def divisor(self, width: int) -> float:
        return self.temperature


def objective(
    params: Params,
    scores_QP: Tensor,
    positives_QP: Tensor,
    negatives_QP: Tensor,
    **targets: Any,
) -> tuple[Tensor, Tensor]:
    """Per question: the divergence of the scores' softmax from the target."""
    rows = block("kl", scores_QP, positives_QP, negatives_QP, params.temperature)
    log_target_QP = _log_target(params, rows, {name: rows.target(name, targets.get(name)) for name in params.needs})
    gap_QP = log_target_QP - log_softmax(rows.scores_QP, rows.members_QP)
    return rows.per_question((log_target_QP.exp() * gap_QP).sum(dim=1))


def _log_target(params: Params, rows: MaskedRows, needed: dict[str, Tensor]) -> Tensor:
    if params.target == "labels":
        return log_softmax(rows.scores_QP.new_zeros(rows.scores_QP.shape), rows.positives_QP)
    target_QP = needed[f"{params.target}_QP"] / params.target_temperature
    return log_softmax(target_QP, rows.positives_QP if params.target == "grades" else rows.members_QP)
