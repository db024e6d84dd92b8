"""Binary cross-entropy: every passage of a row is a yes-or-no question of its own.

    loss = -w sum_p ln(yes_p) - sum_n ln(no_n),       s = score / temperature (/ sqrt(d) with `sqrt_width`)
    probability:  yes = z,         no = 1 - z,        z = softmax of s over the row's positives and negatives
    softmax:      yes = sigma(z),  no = 1 - sigma(z)
    none:         yes = sigma(s + bias),  no = 1 - yes

Three readings of one sentence: the paper replaces DPR's likelihood by a binary loss on a "softmax-scaled inner product"
and publishes neither code nor the order of operations, so a recipe has to say which it means. `probability` is the one
that trains; its first sum is `joint_lh`. `softmax`, the literal one, squeezes every probability into .5 to .731, so its
mean per pair stays near 0.7 whatever the model learns. `none` is plain logistic loss, dominated by the many negatives
unless a bias or a weight corrects that. All are computed in log space; ln(1 - z) never cancels.

Source: Chang 2025, "Improving Dense Passage Retrieval with Multiple Positive Passages", arXiv 2508.09534, section 2.2.
A scale and a bias on sigmoid losses: Zhai et al. 2023, arXiv 2303.15343.

>>> import torch
>>> from mpr import objectives
>>> scores_QP = torch.zeros(1, 32)
>>> positives_QP = torch.arange(32)[None] < 1
>>> for scaling, reduce in (("probability", "query_sum"), ("softmax", "pair_mean"), ("none", "pair_mean")):
...     loss = objectives.load("bce", scaling=scaling, reduce=reduce)
...     sum_Q, weight_Q = loss(scores_QP, positives_QP, ~positives_QP)
...     print(scaling, round((sum_Q.sum() / weight_Q.sum()).item(), 4))
probability 4.4499
softmax 0.7079
none 0.6931
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from mpr.errors import RecipeError
from mpr.objectives import Objective
from mpr.objectives._masked import EMPTY, MaskedRows, Temperature, block, log_softmax, log_sum_exp, softplus, total

if TYPE_CHECKING:
    from torch import Tensor


class Params(Objective):
    """Keys of the objective `bce`."""

    when_named: ClassVar[dict[str, Any]] = {"scaling": "softmax", "reduce": "pair_mean"}

    scaling: Literal["probability", "softmax", "none"]
    """What stands for the probability of a pair: its softmax share, the sigmoid of that share, or of the score."""
    reduce: Literal["query_sum", "pair_mean"] = "query_sum"
    """Sum over a row's pairs, mean over questions (weight 1 each); or mean over all pairs of the batch."""
    temperature: Temperature = 1.0
    """Scores are divided by it; 1 is the raw inner product."""
    sqrt_width: bool = False
    """Divide scores by the square root of the vectors' dimension as well."""
    bias: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    """Added to the scaled score; only with `scaling: none`."""
    positive_weight: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 1.0
    """Factor of the positive pairs' terms."""

    @model_validator(mode="after")
    def _no_idle_key(self) -> Params:
        if self.bias != 0.0 and self.scaling != "none":
            raise ValueError(f"bias does nothing with `scaling: {self.scaling}`; remove it or use `scaling: none`")
        return self

    @property
    def needs(self) -> tuple[str, ...]:
        """Optional targets without which the objective refuses to run."""
        return ("width",) if self.sqrt_width else ()

    @property
    def has_softmax(self) -> bool:
        return self.scaling != "none"

    def divisor(self, width: int) -> float:
        return self.temperature * (math.sqrt(width) if self.sqrt_width else 1.0)


def objective(
    params: Params,
    scores_QP: Tensor,
    positives_QP: Tensor,
    negatives_QP: Tensor,
    *,
    width: int | None = None,
    **_others: object,
) -> tuple[Tensor, Tensor]:
    """Per question: the summed binary cross-entropy of its pairs, and 1 or the number of pairs."""
    if params.sqrt_width and width is None:
        fix = "pass the dimension of the vectors, or set `sqrt_width: false`"
        raise RecipeError("objective 'bce' needs width, which was not given", key="width", fix=fix)
    rows = block("bce", scores_QP, positives_QP, negatives_QP, params.divisor(width or 1))
    if params.scaling == "probability":
        yes_QP, no_QP = log_softmax(rows.scores_QP, rows.members_QP), _log_rest(rows)
    else:
        logits_QP = rows.scores_QP + params.bias
        if params.scaling == "softmax":
            logits_QP = log_softmax(rows.scores_QP, rows.members_QP).exp()
        yes_QP, no_QP = -softplus(-logits_QP), -softplus(logits_QP)
    gain_Q = params.positive_weight * total(yes_QP, rows.positives_QP) + total(no_QP, rows.negatives_QP)
    if params.reduce == "pair_mean":
        return -gain_Q, rows.members_QP.sum(dim=1).to(gain_Q.dtype)
    return rows.per_question(-gain_Q)


def _log_rest(rows: MaskedRows) -> Tensor:
    """ln(1 - z) of every cell. Only the largest share can come near 1, where 1 - z would cancel: it alone is computed
    as the others' mass over the whole."""
    log_share_QP = log_softmax(rows.scores_QP, rows.members_QP)
    top_Q1 = log_share_QP.argmax(dim=1, keepdim=True)
    is_top_QP = rows.members_QP.new_zeros(rows.members_QP.shape).scatter(1, top_Q1, True)
    others_QP = (-log_share_QP.masked_fill(is_top_QP, EMPTY).exp()).log1p()
    rest_Q1 = log_sum_exp(rows.scores_QP, rows.members_QP & ~is_top_QP)[:, None]
    return others_QP.where(~is_top_QP, -softplus(rows.scores_QP - rest_Q1))
