"""Passages drawn from the whole collection, all with the same probability and none twice.

The draw is a function of the seed and of the question's id, so it does not change with the split that the question is
in. A smaller `depth` with the same seed is the beginning of the same list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from mpr import sources
from mpr.catalogue import Parameters
from mpr.errors import DataError

if TYPE_CHECKING:
    from mpr.storage.ragged import Ragged


class Params(Parameters):
    """Which draw, and how many passages."""

    as_: Annotated[str, Field(alias="as", min_length=1)]
    """Name of this source in `draw`."""
    depth: Annotated[int, Field(ge=1, le=10_000)]
    """Passages drawn per question; known positives among them are then taken out."""
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    """Another seed draws other passages. It is not the seed of training, so that runs can share one draw."""


class Source(sources.Source):
    @property
    def origin(self) -> dict[str, Any]:
        return {"random": self.params.seed}

    def __call__(self, rows: Any) -> Ragged:
        """Each question reads its own endless random sequence until enough different passages have come."""
        import numpy as np

        from mpr.data.candidates import proposals
        from mpr.records import stable_hash
        from mpr.runtime import randomness

        size, depth = len(self.ground.passages), self.params.depth
        if depth > size:
            raise DataError(f"{depth:,} random passages of {size:,} are asked for", key="sources", fix="lower depth")
        names = [stable_hash(self.ground.questions[int(row)].id) for row in rows]
        question_R = np.array(names, dtype=np.uint64)
        listed: dict[int, Any] = {}
        width = depth + 4
        while open_R := [number for number in range(len(names)) if number not in listed]:
            bits_RW = randomness.bits(self.params.seed, "random source", question_R[open_R, None], np.arange(width))
            for number, draws_W in zip(open_R, (bits_RW % np.uint64(size)).astype(np.int64), strict=True):
                different = draws_W[np.sort(np.unique(draws_W, return_index=True)[1])]
                if len(different) >= depth:
                    listed[number] = different[:depth]
            width *= 2
        return proposals([(listed[number], None) for number in range(len(names))])
