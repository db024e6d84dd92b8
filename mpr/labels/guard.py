"""A guard in the step: passages that score as high as the row's own positives are no negatives of it.

    level = the least, mean or greatest score of the row's positives in the step (`than`)
    limit = level + absolute,     or level - (1 - share) |level|, which is share x level where that is above 0

Before the loss is computed, every negative of the row whose score is above `limit` is ignored: it takes no part, and it
never becomes a positive. Scores are those of the model that learns, at this very step and without a gradient
(`by: self`), or of the frozen model of the label `teacher_live`. They are inner products (cosines with
`towers.normalize: true`), before any temperature. All negatives are looked at, drawn for the row or for others, over
the whole step of all processes. Labels decide which pairs are known before training; this decides about those that
nobody has seen before, and it decides anew in every step. The log counts them as `cells_guarded`.

With one positive a row this is what others have: GISTEmbed (Solatorio 2024, arXiv 2402.16829) is `by: teacher_live`
with `absolute: 0`, and with the margins of sentence-transformers `absolute: -margin` or `share: 1 - margin`;
Qwen3-Embedding (Zhang et al. 2025, arXiv 2506.05176) is `by: self` with `absolute: 0.1`. Both also compare questions
with questions and passages with passages; this does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from mpr.catalogue import Parameters
from mpr.labels.margin import limits

if TYPE_CHECKING:
    from torch import Tensor


class Params(Parameters):
    """Whose scores, and from which score on a negative is ignored."""

    by: Literal["self", "teacher_live"]
    """Whose scores: of the model that learns, or of the label `teacher_live`, which must be there."""
    than: Literal["min", "mean", "max"]
    """With which score of the row's positives a negative is compared: its weakest, their mean, its strongest."""
    absolute: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """A negative is ignored from so far above it on; below 0: from below it on. Give this or `share`."""
    share: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] | None = None
    """A negative is ignored above this share of it: 0.95 is five per cent below."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Params:
        if (self.absolute is None) == (self.share is None):
            raise ValueError("give exactly one of `absolute` and `share`")
        return self

    @property
    def needs(self) -> tuple[str, ...]:
        """Targets that it looks at."""
        return ("live_QP",) if self.by == "teacher_live" else ()


def in_step(
    params: Params, scores_OP: Tensor, positives_OP: Tensor, negatives_OP: Tensor, live_OP: Tensor | None = None
) -> Tensor:
    """The negatives that remain. Rows are those of this process, columns all passages of the step."""
    if params.by == "teacher_live":
        assert live_OP is not None, "the rules of a recipe see to it"
        scores_OP = live_OP
    scores_OP = scores_OP.detach()
    scores_OP = scores_OP.float() if scores_OP.element_size() < 4 else scores_OP
    if params.than == "mean":
        level_O1 = scores_OP.masked_fill(~positives_OP, 0.0).sum(dim=1, keepdim=True)
        level_O1 = level_O1 / positives_OP.sum(dim=1, keepdim=True).clamp(min=1)
    elif params.than == "min":
        level_O1 = scores_OP.masked_fill(~positives_OP, float("inf")).amin(dim=1, keepdim=True)
    else:
        level_O1 = scores_OP.masked_fill(~positives_OP, float("-inf")).amax(dim=1, keepdim=True)
    there_O1 = positives_OP.any(dim=1, keepdim=True)
    above = params.absolute
    limit_O1 = limits(level_O1, None if above is None else -above, params.share)
    kept_OP: Tensor = negatives_OP & ~((scores_OP > limit_O1) & there_O1)
    return kept_OP
