"""Binary cross-entropy: every passage of a row is a yes-or-no question of its own.

    loss = -w sum_p ln(yes_p) - sum_n ln(no_n),       s = score / temperature (/ sqrt(d) with `sqrt_width`)
    probability:  yes = z,         no = 1 - z,        z = softmax of s over the row's positives and negatives
    softmax:      yes = sigma(z),  no = 1 - sigma(z)
    none:         yes = sigma(s + bias),  no = 1 - yes
    grades:       loss = -sum_j (y_j ln(yes_j) + (1 - y_j) ln(no_j)),   y = grade / highest, 0 on an ungraded negative

Three readings of one sentence: the paper replaces DPR's likelihood by a binary loss on a "softmax-scaled inner product"
and publishes neither code nor the order of operations, so a recipe has to say which it means. `probability` is the one
that trains; its first sum is `joint_lh`. `softmax`, the literal one, squeezes every probability into .5 to .731, so its
mean per pair stays near 0.7 whatever the model learns. `none` is plain logistic loss, dominated by the many negatives
unless a bias or a weight corrects that. All are computed in log space; ln(1 - z) never cancels.

With `scaling: none` a target may lie between no and yes (`target: grades`), and temperature and bias may be learned
with the model (`learn`): the scale as the logarithm of 1/temperature, so that it stays above 0, both without weight
decay. `temperature` and `bias` are then where they start. With 31 negatives for each positive, `bias: -3.43` (-ln 31)
starts at the right share of yes. A caller of his own gives the numbers as `learned` (`log_scale`, `bias`).

Source: Chang 2025, "Improving Dense Passage Retrieval with Multiple Positive Passages", arXiv 2508.09534, section 2.2.
A scale and a bias on sigmoid losses: Zhai et al. 2023, arXiv 2303.15343. Graded targets, with learned scale and bias
and in-batch negatives: BiXSE (Tsirigotis et al. 2025, arXiv 2508.06781).

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

>>> graded = objectives.load("bce", scaling="none", target="grades", highest=3.0, learn="both")
>>> learned = {"log_scale": torch.zeros(1, requires_grad=True), "bias": torch.full((1,), -3.43, requires_grad=True)}
>>> grades_QP = 2.0 * positives_QP
>>> sum_Q, weight_Q = graded(scores_QP, positives_QP, ~positives_QP, grades_QP=grades_QP, learned=learned)
>>> sum_Q.sum().backward()
>>> round(sum_Q.item(), 4), round(learned["bias"].grad.item(), 4)
(3.3066, 0.3372)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
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
    target: Literal["labels", "grades"] = "labels"
    """What the probability should be: 1 for positives and 0 for negatives, or the pair's grade."""
    highest: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 1.0
    """The grade that means yes; targets are grades divided by it, and none may be outside of 0 to 1."""
    learn: Literal["nothing", "temperature", "bias", "both"] = "nothing"
    """Which of the two are learned with the model, from the values given here on; only with `scaling: none`."""
    learning_rate: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None = None
    """Of what is learned; null: that of the model, which moves a single number slowly. It follows the same schedule."""

    @model_validator(mode="after")
    def _no_idle_key(self) -> Params:
        if self.bias != 0.0 and self.scaling != "none":
            raise ValueError(f"bias does nothing with `scaling: {self.scaling}`; remove it or use `scaling: none`")
        if self.scaling != "none" and (self.target != "labels" or self.learn != "nothing"):
            raise ValueError("`target: grades` and `learn` go with `scaling: none`")
        if self.highest != 1.0 and self.target != "grades":
            raise ValueError("highest does nothing without `target: grades`; remove it")
        if self.learning_rate is not None and self.learn == "nothing":
            raise ValueError("learning_rate does nothing with `learn: nothing`; remove it")
        return self

    @property
    def needs(self) -> tuple[str, ...]:
        """Optional targets without which the objective refuses to run."""
        wanted = {
            "width": self.sqrt_width,
            "grades_QP": self.target == "grades",
            "learned": self.learn != "nothing",
        }
        return tuple(name for name, is_wanted in wanted.items() if is_wanted)

    @property
    def learns(self) -> dict[str, float]:
        starts = {"temperature": ("log_scale", -math.log(self.temperature)), "bias": ("bias", self.bias)}
        return dict(start for name, start in starts.items() if self.learn in (name, "both"))

    @property
    def highest_grade(self) -> float | None:
        """Grades outside of 0 to this one are refused before a step is computed."""
        return self.highest if self.target == "grades" else None

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
    grades_QP: Tensor | None = None,
    learned: Mapping[str, Tensor] | None = None,
    **_others: object,
) -> tuple[Tensor, Tensor]:
    """Per question: the summed binary cross-entropy of its pairs, and 1 or the number of pairs."""
    if params.sqrt_width and width is None:
        fix = "pass the dimension of the vectors, or set `sqrt_width: false`"
        raise RecipeError("objective 'bce' needs width, which was not given", key="width", fix=fix)
    if params.learns.keys() - (learned or {}).keys():
        fix = f"pass a mapping with tensors of one number: {', '.join(params.learns)}"
        raise RecipeError("objective 'bce' needs learned, which was not given", key="learned", fix=fix)
    rows = block("bce", scores_QP, positives_QP, negatives_QP, params.divisor(width or 1))
    if params.scaling == "probability":
        yes_QP, no_QP = log_softmax(rows.scores_QP, rows.members_QP), _log_rest(rows)
    else:
        logits_QP = _logits(params, rows, learned or {})
        if params.scaling == "softmax":
            logits_QP = log_softmax(rows.scores_QP, rows.members_QP).exp()
        yes_QP, no_QP = -softplus(-logits_QP), -softplus(logits_QP)
    if params.target == "grades":
        target_QP = rows.target("grades_QP", grades_QP) / params.highest
        yes_QP = no_QP = target_QP * yes_QP + (1.0 - target_QP) * no_QP
    gain_Q = params.positive_weight * total(yes_QP, rows.positives_QP) + total(no_QP, rows.negatives_QP)
    if params.reduce == "pair_mean":
        return -gain_Q, rows.members_QP.sum(dim=1).to(gain_Q.dtype)
    return rows.per_question(-gain_Q)


def _logits(params: Params, rows: MaskedRows, learned: Mapping[str, Tensor]) -> Tensor:
    """Scores by the scale, which `rows` has as it starts, plus the bias."""
    scores_QP, kind = rows.scores_QP, rows.scores_QP.dtype
    if "log_scale" in params.learns:
        scores_QP = scores_QP * (params.temperature * learned["log_scale"].to(kind).exp())
    return scores_QP + (learned["bias"].to(kind) if "bias" in params.learns else params.bias)


def _log_rest(rows: MaskedRows) -> Tensor:
    """ln(1 - z) of every cell. Only the largest share can come near 1, where 1 - z would cancel: it alone is computed
    as the others' mass over the whole."""
    log_share_QP = log_softmax(rows.scores_QP, rows.members_QP)
    top_Q1 = log_share_QP.argmax(dim=1, keepdim=True)
    is_top_QP = rows.members_QP.new_zeros(rows.members_QP.shape).scatter(1, top_Q1, True)
    others_QP = (-log_share_QP.masked_fill(is_top_QP, EMPTY).exp()).log1p()
    rest_Q1 = log_sum_exp(rows.scores_QP, rows.members_QP & ~is_top_QP)[:, None]
    return others_QP.where(~is_top_QP, -softplus(rows.scores_QP - rest_Q1))
