"""Positive-aware negatives: a candidate is a negative only if it scores below the question's positives by a margin.

    level = the least, mean or greatest score of the question's positives that count (`than`)
    limit = level - absolute,     or level - (1 - share) |level|, which is share x level where that is above 0

Candidates up to rank `window` with a score of at most `limit` stay, in rank order. Those above it may well answer the
question: they become grey (`then: ignore`) or positives of a tier, the best first, behind those that were known
(`then: positive`). Candidates behind the window are dropped, because nobody looked at their scores. A question without
a positive that has a score has no limit: what then, says `unanchored`.

Scores are those that the source itself gave (`scores: null`), to positives too, whether it proposed them or not; or of
a file; or of a cross-encoder. With one positive a question this is what others have: NV-Retriever's TopK-PercPos is
`share: 0.95` (de Souza P. Moreira et al. 2024, arXiv 2407.15831), and `mine_hard_negatives` of sentence-transformers
has `absolute_margin: a` (`absolute: a`) and `relative_margin: r` (`share: 1 - r`), the latter for several positives
with `than: min`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from mpr.catalogue import Parameters
from mpr.labels._score_files import Scores
from mpr.labels.known_positives import Tier

if TYPE_CHECKING:
    from mpr.data.pair_labels import Knowledge
    from mpr.data.pair_scores import PairScores
    from mpr.sources import Ground

MAKES_GREY = True
LOOKS_AT_POSITIVES = True
"""By the scores of its source, if it has no others: the source must be able to score any pair."""


class Params(Parameters):
    """Which candidates are looked at, how far below the positives they must be, and what the others become."""

    source: Annotated[str, Field(min_length=1)]
    """The `as` of a source."""
    scores: Scores | None = None
    """Where the scores come from; null: from the source itself, which must be `bm25` or `dense`."""
    window: Annotated[int, Field(ge=1)]
    """Candidates up to this rank are looked at; each needs a score. Those behind it are dropped."""
    than: Literal["min", "mean", "max"]
    """With which score of the question's positives a candidate is compared."""
    absolute: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] | None = None
    """How far below it a negative must be, at least. Give this or `share`."""
    share: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Which share of it a negative may have, at most: 0.95 is five per cent below."""
    then: Literal["ignore", "positive"] = "ignore"
    """What a candidate above the limit is: grey, or a positive of the tier `tier`."""
    tier: Tier | None = None
    """With `then: positive`, their tier; `known_positives` must count it."""
    up_to: Annotated[int, Field(ge=1)] | None = None
    """With `then: positive`, at most so many of a question, the best first; the rest is grey. null: all."""
    unanchored: Literal["refuse", "keep", "ignore"] = "refuse"
    """Questions without a positive that has a score: stop; keep their candidates as negatives; or make them grey."""

    @model_validator(mode="after")
    def _fits(self) -> Params:
        if (self.absolute is None) == (self.share is None):
            raise ValueError("give exactly one of `absolute` and `share`")
        if (self.then == "positive") != (self.tier is not None):
            raise ValueError("`then: positive` and `tier` go together")
        if self.up_to is not None and self.then != "positive":
            raise ValueError("`up_to` belongs to `then: positive`")
        return self


def limits(level: Any, absolute: float | None, share: float | None) -> Any:
    """The highest score that a negative may have, from the level of its question's positives."""
    if absolute is not None:
        return level - absolute
    assert share is not None
    return level - (1.0 - share) * abs(level)


def applied(params: Params, known: Knowledge, ground: Ground) -> Knowledge:
    """The source with its negatives alone; the others as grey, or as positives."""
    from dataclasses import replace

    import numpy as np

    from mpr.data.pair_labels import Asked
    from mpr.data.positives import GREY, tier_codes
    from mpr.errors import DataError
    from mpr.labels import _score_files

    table = known.of(params.source)
    owner_N, passage_N = table.owners(), table.columns["passage"]
    looked_N = known.open(params.source) & (table.columns["rank"] <= params.window)
    if params.scores is None:
        scores = _of_source(params.source, known)
    else:
        scores = _score_files.of(params.scores, Asked({params.source: params.window}, positives=True), known, ground)
    what = f"candidates of '{params.source}' up to the window"
    value_N = _score_files.required(scores, table, looked_N, ground, what).astype(np.float64)
    limit_Q = limits(levels(params.than, known, scores), params.absolute, params.share)
    lost_N = looked_N & np.isnan(limit_Q[owner_N])
    if params.unanchored == "refuse" and lost_N.any():
        names = [ground.questions[int(row)].id for row in np.unique(owner_N[lost_N])]
        what = f"{len(names):,} questions have no positive with a score, the first is {names[0]}"
        fix = "score them, or say what their candidates are: unanchored: keep or ignore"
        raise DataError(what, key="labels.unanchored", fix=fix)
    stays_N = looked_N & ((value_N <= limit_Q[owner_N]) | (lost_N & (params.unanchored == "keep")))
    above = np.flatnonzero(looked_N & ~stays_N & ~lost_N)
    above = above[np.lexsort((above, -value_N[above], owner_N[above]))]
    place = np.arange(len(above)) - np.searchsorted(owner_N[above], owner_N[above])
    taken = place < (0 if params.tier is None else len(above) if params.up_to is None else params.up_to)
    first, grey = above[taken], np.concatenate([above[~taken], np.flatnonzero(lost_N & ~stays_N)])
    index = known.positives
    if params.tier is not None:
        index = index.extended(owner_N[first], passage_N[first], int(tier_codes([params.tier])[0]))
    index = index.extended(owner_N[grey], passage_N[grey], GREY, 0.0)
    counts = {"stay": int(stays_N.sum()), "positive": len(first), "grey": len(grey)}
    counts["without a limit"] = len(np.unique(owner_N[lost_N]))
    left = replace(known.with_candidates(params.source, table.kept(stays_N)), positives=index)
    return left.noted("margin", counts, None if params.scores is None else scores)


def _of_source(source: str, known: Knowledge) -> PairScores:
    """The scores that the source gave to what it proposed, and to positives."""
    import numpy as np

    from mpr.data import candidates
    from mpr.data.pair_scores import PairScores

    proposed = candidates.scored([(known.before or known).of(source)])
    given = known.anchors.get(source)
    if given is None:
        return proposed
    more_N = ~np.isin(given.keys, proposed.keys)
    key_N = np.concatenate([proposed.keys, given.keys[more_N]])
    order = np.argsort(key_N)
    return PairScores(key_N[order], np.concatenate([proposed.values, given.values[more_N]])[order])


def levels(than: str, known: Knowledge, scores: PairScores, unknown: float = float("nan")) -> Any:
    """One number of the scores of each question's positives; NaN where none is known. `unknown`: the
    score of those that have none."""
    import numpy as np

    rows, counting = known.positives.rows, known.counting
    owner_K, value_K = rows.owners()[counting], scores.lookup(rows.owners(), rows.columns["passage"])[counting]
    known_K = ~np.isnan(value_K) & (value_K != unknown)
    owner_K, value_K = owner_K[known_K], value_K[known_K].astype(np.float64)
    count_Q = np.bincount(owner_K, minlength=len(rows))
    if than == "mean":
        level_Q = np.bincount(owner_K, weights=value_K, minlength=len(rows)) / np.maximum(count_Q, 1)
    else:
        best = np.minimum if than == "min" else np.maximum
        level_Q = np.full(len(rows), np.inf if than == "min" else -np.inf)
        best.at(level_Q, owner_K, value_K)
    return np.where(count_Q > 0, level_Q, np.nan)
