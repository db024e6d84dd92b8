"""Distant positives: candidates of a mined source that contain an answer become positives of tier `answer_match`.

This is how DPR labels TriviaQA, WebQuestions and CuratedTREC: among the first `depth` passages of BM25, those that
contain an answer string, in rank order. Containing an answer is not supporting it, hence the tier: they are drawn only
where `known_positives.tiers` counts it, and are never negatives either way. They are listed behind the positives that
the data has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mpr.catalogue import Parameters

if TYPE_CHECKING:
    from mpr.positives import PositiveIndex
    from mpr.ragged import Ragged

TIER = "answer_match"


class Params(Parameters):
    """Which candidates, and how many."""

    source: Annotated[str, Field(min_length=1)]
    """The `as` of a source that is mined."""
    depth: Annotated[int, Field(ge=1)]
    """Only candidates up to this rank."""
    at_most: Annotated[int, Field(ge=1)] | None = None
    """Only the first so many of each question; null: all."""


def extended(params: Params, known: PositiveIndex, removed: Ragged) -> PositiveIndex:
    """The positives that the data has, then these. `removed` is what mining took out of the source."""
    import numpy as np

    from mpr.candidate_table import ANSWER_MATCH
    from mpr.positives import PositiveIndex, tier_codes
    from mpr.ragged import Ragged

    owner_N, place_N = removed.places(np.arange(len(known)))
    wanted_N = (removed.columns["label"][place_N] == ANSWER_MATCH) & (removed.columns["rank"][place_N] <= params.depth)
    owner_N, place_N = owner_N[wanted_N], place_N[wanted_N]
    owner_K = np.repeat(np.arange(len(known)), known.rows.lengths())
    there_K = owner_K << 40 | known.rows.columns["passage"]  # another labeller may have added it from another source
    fresh_N = ~np.isin(owner_N << 40 | removed.columns["passage"][place_N], there_K)
    owner_N, place_N = owner_N[fresh_N], place_N[fresh_N]
    if params.at_most is not None:
        before_N = np.arange(len(owner_N)) - np.searchsorted(owner_N, owner_N)
        owner_N, place_N = owner_N[before_N < params.at_most], place_N[before_N < params.at_most]
    order = np.argsort(np.concatenate([owner_K, owner_N]), kind="stable")
    added = {
        "passage": removed.columns["passage"][place_N],
        "tier": np.full(len(place_N), tier_codes([TIER])[0]),
        "grade": np.ones(len(place_N), dtype=np.float32),
    }
    columns = {name: np.concatenate([values, added[name]])[order] for name, values in known.rows.columns.items()}
    lengths = known.rows.lengths() + np.bincount(owner_N, minlength=len(known))
    return PositiveIndex(Ragged(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), columns))
