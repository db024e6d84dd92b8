"""PositiveIndex: every passage that is known to be relevant to each question, whoever says so.

It is consulted by everything that must not mistake a positive for a negative: the draw, the relation block, mining and
the audit. A label may add pairs that are GREY: no positives, of no tier, but not to be taught as negatives either, as
where a cross-encoder is undecided. Rows are numbers of questions in their split and of passages in their store.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpr.data.pair_scores import PairScores, Scored, keys_of
from mpr.records import TIERS
from mpr.storage.ragged import Ragged

GREY = 255  # in place of a tier: known to be no negative, and not known to be a positive
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
        if cap is not None:
            before: NDArray[np.int64] = np.cumsum(wanted) - wanted  # counting positives ahead of each place
            first = np.concatenate([before, [wanted.sum()]])[self.rows.offsets[:-1]]
            wanted &= (before - first[self.rows.owners()]) < cap
        return self.rows.kept(wanted)

    def keys(self) -> NDArray[np.int64]:
        """One number for each known pair, whatever its tier; see `mpr/data/pair_scores.py`."""
        return keys_of(self.rows.owners(), self.rows.columns["passage"])

    def grades(self, tiers: Iterable[str]) -> PairScores:
        """Of the positives of these tiers."""
        rows = self.counting(tiers)
        return PairScores.of(Scored(rows.owners(), rows.columns["passage"], rows.columns["grade"]))

    def extended(self, owner_N: NDArray[np.int64], passage_N: Any, tier: int, grade_N: Any = 1.0) -> PositiveIndex:
        """With these behind what is known of each question already, in the given order; none twice."""
        key_N = keys_of(owner_N, passage_N)
        first_N = np.zeros(len(key_N), dtype=bool)
        first_N[np.unique(key_N, return_index=True)[1]] = True
        fresh_N = first_N & ~np.isin(key_N, self.keys())
        added = {
            "passage": np.asarray(passage_N)[fresh_N],
            "tier": np.full(int(fresh_N.sum()), tier, dtype=np.uint8),
            "grade": np.broadcast_to(np.asarray(grade_N, dtype=np.float32), fresh_N.shape)[fresh_N],
        }
        owners = np.concatenate([self.rows.owners(), owner_N[fresh_N]])
        order = np.argsort(owners, kind="stable")
        columns = {name: np.concatenate([self.rows.columns[name], added[name]]) for name in COLUMNS}
        return PositiveIndex(Ragged(self.rows.offsets, columns).taken(owners[order], order))

    def changed(self, key_N: Any, tier: int, grade_N: Any) -> PositiveIndex:
        """These pairs, which are known, as positives of another tier and grade, in their places."""
        order = np.argsort(key_N)
        at_K = np.searchsorted(key_N[order], self.keys())
        at_K[at_K == len(key_N)] = 0
        changed_K = key_N[order][at_K] == self.keys() if len(key_N) else np.zeros(len(self.keys()), dtype=bool)
        columns = {name: values.copy() for name, values in self.rows.columns.items()}
        columns["tier"][changed_K] = tier
        columns["grade"][changed_K] = np.asarray(grade_N, dtype=np.float32)[order][at_K[changed_K]]
        return PositiveIndex(Ragged(self.rows.offsets, columns))

    def made_grey(self, grey: NDArray[np.bool_]) -> PositiveIndex:
        """Some of them grey, so that they are neither drawn nor negatives; one truth value for each place."""
        tiers = np.where(grey, GREY, self.rows.columns["tier"]).astype(np.uint8)
        return PositiveIndex(Ragged(self.rows.offsets, {**self.rows.columns, "tier": tiers}))


def tier_codes(tiers: Iterable[str]) -> NDArray[np.uint8]:
    """Numbers under which tiers are stored."""
    return np.array([TIERS.index(tier) for tier in tiers], dtype=np.uint8)
