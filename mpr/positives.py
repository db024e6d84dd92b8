"""PositiveIndex: every passage that is known to be relevant to each question, whoever says so.

It is consulted by everything that must not mistake a positive for a negative: the draw, the relation block, mining and
the audit. Rows are numbers of questions in their split and of passages in their store.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpr.ragged import Ragged
from mpr.records import TIERS

COLUMNS = {"passage": "<i8", "tier": "u1", "grade": "<f4"}


class PositiveIndex:
    """Positives of each question, in the order in which the data lists them (best first)."""

    def __init__(self, rows: Ragged) -> None:
        self.rows = rows

    @classmethod
    def open(cls, folder: Path) -> PositiveIndex:
        return cls(Ragged.open(folder, "positives", COLUMNS))

    @classmethod
    def of(cls, questions: Iterable[Iterable[tuple[int, str]]]) -> PositiveIndex:
        """From (passage row, tier) pairs of each question, held in memory."""
        listed = [list(question) for question in questions]
        flat = [pair for question in listed for pair in question]
        lengths = [len(question) for question in listed]
        columns: dict[str, NDArray[Any]] = {
            "passage": np.array([passage for passage, _ in flat], dtype=np.int64),
            "tier": np.array([TIERS.index(tier) for _, tier in flat], dtype=np.uint8),
            "grade": np.ones(len(flat), dtype=np.float32),
        }
        return cls(Ragged(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), columns))

    def __len__(self) -> int:
        return len(self.rows)

    def known(self, questions: Any) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
        """(number within `questions`, passage, tier) of every known positive of these questions, any tier."""
        owner, places = self.rows.places(questions)
        return owner, self.rows.columns["passage"][places], self.rows.columns["tier"][places]

    def counting(self, tiers: Iterable[str], cap: int | None = None) -> Ragged:
        """Only the positives of these tiers, at most the first `cap` of each question: what may be drawn."""
        wanted = np.isin(self.rows.columns["tier"], tier_codes(tiers))
        owner = np.repeat(np.arange(len(self)), self.rows.lengths())
        if cap is not None:
            before: NDArray[np.int64] = np.cumsum(wanted) - wanted  # counting positives ahead of each place
            first = np.concatenate([before, [wanted.sum()]])[self.rows.offsets[:-1]]
            wanted &= (before - first[owner]) < cap
        lengths = np.bincount(owner[wanted], minlength=len(self))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return Ragged(offsets, {name: values[wanted] for name, values in self.rows.columns.items()})


def tier_codes(tiers: Iterable[str]) -> NDArray[np.uint8]:
    """Numbers under which tiers are stored."""
    return np.array([TIERS.index(tier) for tier in tiers], dtype=np.uint8)
