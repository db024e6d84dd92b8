"""Pairs of a better and a worse passage: RankNet, hinge and margin losses, weighted by rank or not.

    loss of a pair = weight * phi(gap),       gap = s_p - s_n - f (t_p - t_n) + f (l_p - l_n),   s = score / temperature
    phi     logistic ln(1 + e^-gap);  hinge max(0, margin - gap);  square gap^2
    target  t: teacher_QP (`teacher`) or live_QP (`live`), a margin to match; l: lexical_QP (`lexical`), a margin
            already given; f: factor
    weight  one;  drr |1/r_p - 1/r_n|, what swapping the two would change in the reciprocal rank; 1/r = 0 beyond `cut`
    pairs   labels: every positive with every negative;  grades: every two passages whose grades differ
    reduce  pair_mean: mean over all pairs of the batch;  query_mean: over a row's pairs, then over questions;
            sum_over_columns: sum over a row's pairs divided by the number of its positives and negatives together;
            lse: ln(1 + sum e^-gap) per question (`logistic` only)

Pairs never put two positives against each other (with `grades`, only if one is graded higher). Ranks are constants:
`sorted` by current score within the row, equal scores with the worse passage first; `given` in ranks_QP, from 1, where
0 means not ranked and counts as beyond the cut.

Sources, with the options that give them: ANCE (logistic; arXiv 2007.00808), RepBERT (hinge, sum_over_columns; arXiv
2006.15498), STAR (logistic) and ADORE (logistic, drr, query_mean; arXiv 2104.08051), Margin-MSE (square, teacher; arXiv
2010.02666), TAS-B (the same; arXiv 2104.06967), CL-DRD (logistic, drr, grades; arXiv 2204.13679), RANCE (hinge,
lexical; Prakash, Killingback and Zamani, SIGIR 2021), `lse_pair` (logistic, lse; arXiv 2602.12727).

>>> import torch
>>> from mpr import objectives
>>> scores_QP = torch.tensor([[2.0, 1.0, 0.5, 1.5, -1.0]])
>>> positives_QP = torch.tensor([[True, True, False, False, False]])
>>> for options in ({"phi": "logistic"}, {"phi": "hinge", "reduce": "sum_over_columns"}):
...     sum_Q, weight_Q = objectives.load("pairwise", **options)(scores_QP, positives_QP, ~positives_QP)
...     print(options["phi"], round((sum_Q.sum() / weight_Q.sum()).item(), 4))
logistic 0.3832
hinge 0.5
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from mpr.objectives import Objective
from mpr.objectives._masked import EMPTY, MaskedRows, Temperature, block, softplus

if TYPE_CHECKING:
    from torch import Tensor


class Params(Objective):
    """Keys of the objective `pairwise`."""

    when_named: ClassVar[dict[str, Any]] = {"phi": "logistic"}

    phi: Literal["logistic", "hinge", "square"]
    """Penalty of a pair as a function of its gap."""
    margin: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    """The gap from which on `hinge` is zero; only with it."""
    weight: Literal["one", "drr"] = "one"
    """Weight of a pair: 1, or the difference of the reciprocal ranks."""
    ranks: Literal["given", "sorted"] = "sorted"
    """Ranks for `drr`: from the retrieval, or from the current scores; only with it."""
    cut: Annotated[int, Field(ge=1)] | None = None
    """Reciprocal ranks beyond it are 0; null: no cut. Only with `drr`."""
    target: Literal["zero", "teacher", "live", "lexical"] = "zero"
    """What the gap of scores is compared with: nothing, that of stored scores, that of a teacher asked in the step, or
    the lexical one."""
    target_factor: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    """Factor of the teacher's or lexical gap; only with one of them."""
    pairs: Literal["labels", "grades"] = "labels"
    """Which pairs exist: positive and negative, or any two of different grade."""
    reduce: Literal["pair_mean", "query_mean", "sum_over_columns", "lse"] = "pair_mean"
    """How pairs become a loss."""
    temperature: Temperature = 1.0
    """Scores are divided by it (targets are not); 1 is the raw inner product."""

    @model_validator(mode="after")
    def _no_idle_key(self) -> Params:
        idle = {
            "margin": self.margin != 1.0 and self.phi != "hinge",
            "cut": self.cut is not None and self.weight != "drr",
            "ranks": self.ranks != "sorted" and self.weight != "drr",
            "target_factor": self.target_factor != 1.0 and self.target == "zero",
        }
        if any(idle.values()):
            names = ", ".join(name for name, is_idle in idle.items() if is_idle)
            raise ValueError(f"{names}: would do nothing here; remove it or set what it belongs to")
        if self.reduce == "lse" and (self.phi != "logistic" or self.weight != "one"):
            raise ValueError("`reduce: lse` is defined for `phi: logistic` and `weight: one`")
        return self

    @property
    def needs(self) -> tuple[str, ...]:
        """Optional targets without which the objective refuses to run."""
        wanted = {
            "teacher_QP": self.target == "teacher",
            "live_QP": self.target == "live",
            "lexical_QP": self.target == "lexical",
            "ranks_QP": self.weight == "drr" and self.ranks == "given",
            "grades_QP": self.pairs == "grades",
        }
        return tuple(name for name, is_wanted in wanted.items() if is_wanted)

    def divisor(self, width: int) -> float:
        return self.temperature


def objective(
    params: Params, scores_QP: Tensor, positives_QP: Tensor, negatives_QP: Tensor, **targets: Any
) -> tuple[Tensor, Tensor]:
    """Per question: its pairs' losses, summed or averaged, and the number of pairs or 1."""
    rows = block("pairwise", scores_QP, positives_QP, negatives_QP, params.temperature)
    needed = {name: rows.target(name, targets.get(name)) for name in params.needs}
    grades_QP = needed.get("grades_QP", rows.positives_QP.to(rows.scores_QP.dtype))
    columns_QM, held_QM = _packed(rows.members_QP if params.pairs == "grades" else rows.positives_QP)
    better_QM1, worse_Q1P = held_QM[:, :, None], rows.members_QP[:, None, :]
    exists_QMP = better_QM1 & worse_Q1P & (_gaps(grades_QP, columns_QM) > 0)
    gap_QMP = _gaps(rows.scores_QP, columns_QM)
    if params.target in ("teacher", "live"):
        gap_QMP = gap_QMP - params.target_factor * _gaps(needed[f"{params.target}_QP"], columns_QM)
    elif params.target == "lexical":
        gap_QMP = gap_QMP + params.target_factor * _gaps(needed["lexical_QP"], columns_QM)
    if params.reduce == "lse":
        return rows.per_question(softplus((-gap_QMP).masked_fill(~exists_QMP, EMPTY).logsumexp(dim=(1, 2))))
    loss_QMP = _phi(params, gap_QMP)
    if params.weight == "drr":
        ranks_QP = needed["ranks_QP"] if params.ranks == "given" else _ranks_by_score(rows, grades_QP)
        loss_QMP = loss_QMP * _gaps(_reciprocal(ranks_QP, params.cut), columns_QM).abs()
    return _reduced(params, rows, loss_QMP.masked_fill(~exists_QMP, 0.0).sum(dim=(1, 2)), exists_QMP.sum(dim=(1, 2)))


def _packed(mask_QP: Tensor) -> tuple[Tensor, Tensor]:
    """The chosen columns of each row moved to the front and cut to the longest row, and which of these are real.

    Positives are few among many columns: pairs are then Q x M x P instead of Q x P x P (with `grades`, M is the number
    of cells that are not ignored). Reading the length is the one place where an objective waits for the device.
    """
    width = max(1, int(mask_QP.sum(dim=1).amax())) if mask_QP.shape[0] else 1
    columns_QM = mask_QP.byte().argsort(dim=1, descending=True, stable=True)[:, :width]
    return columns_QM, mask_QP.gather(1, columns_QM)


def _gaps(values_QP: Tensor, columns_QM: Tensor) -> Tensor:
    """Chosen minus every column, per row."""
    return values_QP.gather(1, columns_QM)[:, :, None] - values_QP[:, None, :]


def _phi(params: Params, gap: Tensor) -> Tensor:
    if params.phi == "logistic":
        return softplus(-gap)
    if params.phi == "hinge":
        return (params.margin - gap).relu()
    return gap.square()


def _ranks_by_score(rows: MaskedRows, grades_QP: Tensor) -> Tensor:
    """Rank from 1 among the row's positives and negatives, by falling score.

    Of equal scores the worse passage comes first, so that a model which cannot tell passages apart still gets a
    gradient; those of equal grade as well share their mean rank, so that the order of columns does not matter.
    """
    scores_QP = rows.scores_QP.detach().masked_fill(~rows.members_QP, EMPTY)
    order_QP = grades_QP.argsort(dim=1, stable=True)
    order_QP = order_QP.gather(1, scores_QP.gather(1, order_QP).argsort(dim=1, descending=True, stable=True))
    scores_QP, grades_QP = scores_QP.gather(1, order_QP), grades_QP.gather(1, order_QP)
    starts_QP = (scores_QP != scores_QP.roll(1, dims=1)) | (grades_QP != grades_QP.roll(1, dims=1))
    starts_QP[:, 0] = True
    place_QP = scores_QP.new_ones(scores_QP.shape).cumsum(dim=1)
    first_QP = place_QP.masked_fill(~starts_QP, 0.0).cummax(dim=1).values
    last_QP = place_QP.masked_fill(~starts_QP.roll(-1, dims=1), scores_QP.shape[1]).flip(1).cummin(dim=1).values.flip(1)
    return ((first_QP + last_QP) / 2).gather(1, order_QP.argsort(dim=1))


def _reciprocal(ranks_QP: Tensor, cut: int | None) -> Tensor:
    listed_QP = ranks_QP >= 1 if cut is None else (ranks_QP >= 1) & (ranks_QP <= cut)
    return (1.0 / ranks_QP.clamp(min=1)).masked_fill(~listed_QP, 0.0)


def _reduced(params: Params, rows: MaskedRows, sum_Q: Tensor, pairs_Q: Tensor) -> tuple[Tensor, Tensor]:
    if params.reduce == "pair_mean":
        return sum_Q, pairs_Q.to(sum_Q.dtype)
    divisor_Q = pairs_Q if params.reduce == "query_mean" else rows.members_QP.sum(dim=1)
    return rows.per_question(sum_Q / divisor_Q.clamp(min=1))
