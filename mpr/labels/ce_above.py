"""Promotion: candidates that a cross-encoder scores above a threshold become positives of tier `cross_encoder`.

Of each question the best scored come first, at most `up_to` of them; they are listed behind the positives that were
known. What is above the threshold beyond that number is grey: not drawn, and no negative either. This is how RocketQA
(Qu et al. 2021, arXiv 2010.08191) labels questions that nobody judged: the best passage above 0.9. With `up_to` above 1
a question gets several positives. It comes before `ce_below`, which takes what is not clearly negative away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mpr.catalogue import Parameters
from mpr.labels._score_files import Scores

if TYPE_CHECKING:
    from mpr.data.pair_labels import Knowledge
    from mpr.sources import Ground

TIER = "cross_encoder"
FINDS_POSITIVES = True
MAKES_GREY = True


class Params(Parameters):
    """Which candidates are looked at, and which of them are promoted."""

    source: Annotated[str, Field(min_length=1)]
    """The `as` of a source."""
    scores: Scores
    """Where the scores come from."""
    window: Annotated[int, Field(ge=1)]
    """Candidates up to this rank are looked at; each needs a score."""
    promote: Annotated[float, Field(allow_inf_nan=False)]
    """Scores above it make a positive."""
    up_to: Annotated[int, Field(ge=1)] | None
    """At most so many of a question, the best first; null: all."""
    questions: Literal["all", "without_positives"]
    """Which questions: all, or only those without a positive of a tier that counts."""
    grade: Literal["one", "score"] = "one"
    """Grade of a promoted passage, for objectives with graded labels: 1, or its score."""


def applied(params: Params, known: Knowledge, ground: Ground) -> Knowledge:
    """The positives that were known, then the promoted ones; the source without what is above the threshold."""
    from dataclasses import replace

    import numpy as np

    from mpr.data.pair_labels import Asked
    from mpr.data.positives import GREY, tier_codes
    from mpr.labels import _score_files

    table = known.of(params.source)
    owner_N, passage_N = table.owners(), table.columns["passage"]
    looked_N = known.open(params.source) & (table.columns["rank"] <= params.window)
    if params.questions == "without_positives":
        looked_N &= ~np.isin(owner_N, known.positives.rows.owners()[known.counting])
    scores = _score_files.of(params.scores, Asked({params.source: params.window}), known, ground)
    value_N = _score_files.required(
        scores, table, looked_N, ground, f"candidates of '{params.source}' up to the window"
    )
    above_N = value_N > params.promote  # False where there is no score
    best = np.flatnonzero(above_N)
    best = best[np.lexsort((best, -value_N[best], owner_N[best]))]
    before = np.arange(len(best)) - np.searchsorted(owner_N[best], owner_N[best])
    taken = np.full(len(best), True) if params.up_to is None else before < params.up_to
    first, rest = best[taken], best[~taken]
    grade_N = value_N[first] if params.grade == "score" else np.ones(len(first), dtype=np.float32)
    index = known.positives.extended(owner_N[first], passage_N[first], int(tier_codes([TIER])[0]), grade_N)
    index = index.extended(owner_N[rest], passage_N[rest], GREY, 0.0)
    left = known.with_candidates(params.source, table.kept(~above_N))
    counts = {"promoted": len(first), "questions": len(np.unique(owner_N[first])), "grey": len(rest)}
    return replace(left, positives=index).noted("ce_above", counts, scores)
