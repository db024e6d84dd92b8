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
    from mpr.data.pair_labels import Knowledge
    from mpr.sources import Ground

TIER = "answer_match"
FINDS_POSITIVES = True


class Params(Parameters):
    """Which candidates, and how many."""

    source: Annotated[str, Field(min_length=1)]
    """The `as` of a source that is mined."""
    depth: Annotated[int, Field(ge=1)]
    """Only candidates up to this rank."""
    at_most: Annotated[int, Field(ge=1)] | None = None
    """Only the first so many of each question; null: all."""


def applied(params: Params, known: Knowledge, ground: Ground) -> Knowledge:
    """The positives that were known, then these."""
    from dataclasses import replace

    import numpy as np

    from mpr.data.candidates import ANSWER_MATCH
    from mpr.data.pair_scores import keys_of
    from mpr.data.positives import tier_codes

    removed, index = known.taken_out(params.source), known.positives
    owner_N, place_N = removed.places(np.arange(len(index)))
    wanted_N = (removed.columns["label"][place_N] == ANSWER_MATCH) & (removed.columns["rank"][place_N] <= params.depth)
    key_N = keys_of(owner_N, removed.columns["passage"][place_N])
    wanted_N &= ~np.isin(key_N, index.keys())  # another label may have added it from another source
    owner_N, place_N = owner_N[wanted_N], place_N[wanted_N]
    if params.at_most is not None:
        before_N = np.arange(len(owner_N)) - np.searchsorted(owner_N, owner_N)
        owner_N, place_N = owner_N[before_N < params.at_most], place_N[before_N < params.at_most]
    more = index.extended(owner_N, removed.columns["passage"][place_N], int(tier_codes([TIER])[0]))
    return replace(known, positives=more).noted("answer_match", {"positives": len(owner_N)})
