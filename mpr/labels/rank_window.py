"""Only candidates of these ranks remain: ranks are those that the source gave, whatever was taken out before.

The first ranks of a search are where unlabelled positives are most likely, so that a window which begins later trades
hard negatives for safer ones. The draw's own `window` counts what is left instead, and always begins at the front.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from mpr.catalogue import Parameters

if TYPE_CHECKING:
    from mpr.data.pair_labels import Knowledge
    from mpr.sources import Ground


class Params(Parameters):
    """Which candidates remain."""

    source: Annotated[str, Field(min_length=1)]
    """The `as` of a source."""
    first: Annotated[int, Field(ge=1)]
    """First rank that remains."""
    last: Annotated[int, Field(ge=1)]
    """Last rank that remains."""

    @model_validator(mode="after")
    def _in_order(self) -> Params:
        if self.last < self.first:
            raise ValueError("`last` comes before `first`: no candidate would remain")
        return self


def applied(params: Params, known: Knowledge, ground: Ground) -> Knowledge:
    """Without the candidates outside the window; nothing is said about them."""
    table = known.of(params.source)
    rank_N = table.columns["rank"]
    wanted_N = (rank_N >= params.first) & (rank_N <= params.last)
    left = known.with_candidates(params.source, table.kept(wanted_N))
    return left.noted("rank_window", {"remain": int(wanted_N.sum()), "left out": int((~wanted_N).sum())})
