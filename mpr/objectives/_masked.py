"""The masks of a relation block, applied once: what every objective of this folder shares.

Shapes: Q questions, P passages of the block.

A cell is positive, negative or ignored (in neither mask); `mpr/batches/relations.py` builds the masks disjoint.
Ignored cells and rows without a positive are overwritten with constants on entry, so no objective can let a gradient,
or a NaN, into or out of them. Empty sets are represented by a large finite number instead of -inf, whose gradient
would be NaN. Nothing here imports torch when it is imported: recipes are checked without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mpr.errors import MprError, RecipeError

if TYPE_CHECKING:
    from torch import Tensor

EMPTY = -1e30  # the logarithm of nothing: its exponential is exactly 0, and sums of a few of them stay finite

Temperature = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class MaskedRows:
    """Scores in float32 (float64 stays), divided by the temperature, and the masks of the rows that count.

    `members_QP` are the cells that take part, positive or negative; `counted_Q` the rows that have a positive.
    """

    objective: str
    scores_QP: Tensor
    positives_QP: Tensor
    negatives_QP: Tensor
    members_QP: Tensor
    counted_Q: Tensor

    def target(self, name: str, values_QP: Tensor | None) -> Tensor:
        """An optional input that this objective needs after all: same type as the scores, constant, 0 where ignored."""
        if values_QP is None:
            fix = "choose a label or a source that provides it, or an option that does without"
            raise RecipeError(f"objective '{self.objective}' needs {name}, which was not given", key=name, fix=fix)
        _require_shape(name, values_QP, self.scores_QP)
        return values_QP.detach().to(self.scores_QP.dtype).masked_fill(~self.members_QP, 0.0)

    def per_question(self, loss_Q: Tensor) -> tuple[Tensor, Tensor]:
        """Numerator and denominator of a mean over the questions that have a positive."""
        return loss_Q.masked_fill(~self.counted_Q, 0.0), self.counted_Q.to(loss_Q.dtype)


def block(
    objective: str, scores_QP: Tensor, positives_QP: Tensor, negatives_QP: Tensor, temperature: float = 1.0
) -> MaskedRows:
    """Checks shapes and types, which costs no synchronisation with the device, and applies the masks."""
    for name, mask_QP in (("positives_QP", positives_QP), ("negatives_QP", negatives_QP)):
        _require_shape(name, mask_QP, scores_QP)
        if str(mask_QP.dtype) != "torch.bool":
            raise MprError(f"{name} is {mask_QP.dtype}, not torch.bool", fix="pass masks of truth values")
    if not scores_QP.is_floating_point():
        raise MprError(f"scores_QP is {scores_QP.dtype}, not a floating point type", fix="pass scores as floats")
    scores_QP = scores_QP.float() if scores_QP.element_size() < 4 else scores_QP
    counted_Q = positives_QP.any(dim=1)
    negatives_QP = negatives_QP & counted_Q[:, None]
    members_QP = positives_QP | negatives_QP
    scores_QP = scores_QP.masked_fill(~members_QP, 0.0) / temperature
    return MaskedRows(objective, scores_QP, positives_QP, negatives_QP, members_QP, counted_Q)


def _require_shape(name: str, values_QP: Tensor, scores_QP: Tensor) -> None:
    if values_QP.shape != scores_QP.shape or scores_QP.dim() != 2:
        what = f"{name} has shape {tuple(values_QP.shape)}, scores_QP has {tuple(scores_QP.shape)}"
        raise MprError(what, fix="both must be questions by passages")


def log_sum_exp(values_QP: Tensor, mask_QP: Tensor) -> Tensor:
    """Per row, the logarithm of the summed exponentials of the chosen cells; about EMPTY where there are none."""
    return values_QP.masked_fill(~mask_QP, EMPTY).logsumexp(dim=1)


def log_softmax(values_QP: Tensor, mask_QP: Tensor) -> Tensor:
    """Log-probabilities of a softmax over the chosen cells of a row; EMPTY elsewhere."""
    return values_QP.masked_fill(~mask_QP, EMPTY).log_softmax(dim=1).masked_fill(~mask_QP, EMPTY)


def total(values_QP: Tensor, mask_QP: Tensor) -> Tensor:
    """Per row, the sum of the chosen cells."""
    return values_QP.masked_fill(~mask_QP, 0.0).sum(dim=1)


def mean(values_QP: Tensor, mask_QP: Tensor) -> Tensor:
    """Per row, the mean of the chosen cells; 0 where there are none."""
    return total(values_QP, mask_QP) / mask_QP.sum(dim=1).clamp(min=1)


def softplus(values: Tensor) -> Tensor:
    """ln(1 + e^x), exact to the last digits at every size (torch's own is linear from 20 on)."""
    return values.logaddexp(values.new_zeros(()))
