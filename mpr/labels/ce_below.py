"""Denoising: a candidate is a negative only if a cross-encoder scores it below a threshold (RocketQA).

Of the candidates up to rank `window`, those with a score below `keep` stay, in rank order. The others may well answer
the question: they become grey, neither positive nor negative, and no source can bring them back as negatives. Behind
what stays come the candidates of `fill`, which nobody scored, for questions that have too few; draw with `weight: top`
to take them only then. All other candidates of the source are dropped.

Source: Qu et al. 2021 (arXiv 2010.08191), which keeps scores below 0.1 among the first 50, in rank order, and fills up
with passages drawn from those behind them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from mpr.catalogue import Parameters
from mpr.labels._score_files import Scores

if TYPE_CHECKING:
    from mpr.data.pair_labels import Knowledge
    from mpr.sources import Ground

MAKES_GREY = True


class Fill(Parameters):
    """Candidates without a score, for questions that have too few with one."""

    first: Annotated[int, Field(ge=1)]
    """First rank; beyond `window`."""
    last: Annotated[int, Field(ge=1)]
    """Last rank."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    """In an order drawn with this seed, another for each question; null: in rank order."""


class Params(Parameters):
    """Which candidates are looked at, and which of them stay."""

    source: Annotated[str, Field(min_length=1)]
    """The `as` of a source."""
    scores: Scores
    """Where the scores come from."""
    window: Annotated[int, Field(ge=1)]
    """Candidates up to this rank are looked at; each needs a score."""
    keep: Annotated[float, Field(allow_inf_nan=False)]
    """Scores below it stay negatives; the others become grey."""
    fill: Fill | None = None
    """Candidates behind those; null: none."""

    @model_validator(mode="after")
    def _fill_follows(self) -> Params:
        if self.fill is not None and not self.window < self.fill.first <= self.fill.last:
            raise ValueError("`fill` must begin beyond `window`, and end where it begins or later")
        return self


def applied(params: Params, known: Knowledge, ground: Ground) -> Knowledge:
    """The source's candidates with the doubtful ones taken out, and these as grey."""
    from dataclasses import replace

    import numpy as np

    from mpr.data.pair_labels import Asked
    from mpr.data.positives import GREY
    from mpr.labels import _score_files

    table, open_N = known.of(params.source), known.open(params.source)
    owner_N, rank_N = table.owners(), table.columns["rank"]
    looked_N = open_N & (rank_N <= params.window)
    scores = _score_files.of(params.scores, Asked({params.source: params.window}), known, ground)
    value_N = _score_files.required(
        scores, table, looked_N, ground, f"candidates of '{params.source}' up to the window"
    )
    kept_N = value_N < params.keep  # False where there is no score
    grey_N = looked_N & ~kept_N
    fill_N, order_N = _fill(params, open_N, table.owners(), table.columns["passage"], rank_N)
    chosen = np.flatnonzero(kept_N | fill_N)
    chosen = chosen[np.lexsort((order_N[chosen], fill_N[chosen], owner_N[chosen]))]
    index = known.positives.extended(owner_N[grey_N], table.columns["passage"][grey_N], GREY, 0.0)
    counts = {"stay": int(kept_N.sum()), "grey": int(grey_N.sum()), "to fill up": int(fill_N.sum())}
    left = known.with_candidates(params.source, table.taken(owner_N[chosen], chosen))
    return replace(left, positives=index).noted("ce_below", counts, scores)


def _fill(params: Params, open_N: Any, owner_N: Any, passage_N: Any, rank_N: Any) -> tuple[Any, Any]:
    """Which candidates fill up, and the order of all: that of their places, or of a draw for those that fill up."""
    import numpy as np

    from mpr.runtime import randomness

    place_N = np.arange(len(rank_N), dtype=np.uint64)
    fill = params.fill
    if fill is None:
        return np.zeros(len(rank_N), dtype=bool), place_N
    fill_N = open_N & (rank_N >= fill.first) & (rank_N <= fill.last)
    if fill.seed is None:
        return fill_N, place_N
    return fill_N, np.where(fill_N, randomness.bits(fill.seed, "fill up", owner_N, passage_N), place_N)
