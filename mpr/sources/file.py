"""Candidates that ship with the training records: DPR's hard negatives, Tevatron's negative passages, mined lists.

The readers in `mpr/formats/` say of each candidate which list of the record it came from; `as` picks one of them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mpr.catalogue import Parameters


class Params(Parameters):
    """Which list of the record."""

    as_: Annotated[str, Field(alias="as", min_length=1)]
    """Name of the list in the records (`bm25` for DPR's hard_negative_ctxs) and of this source in `draw`."""
