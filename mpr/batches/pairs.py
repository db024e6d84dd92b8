"""Rows of a step and (row, passage) pairs: what drawing works on, as arrays.

Shapes: R rows of a step, N pairs (row, passage).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpr.runtime import randomness
from mpr.storage.ragged import Integers, Ragged


@dataclass(frozen=True)
class Rows:
    """Who the rows of a step are. `turn` is the place of the positive under one_row_per_positive, otherwise 0."""

    question_R: Integers
    epoch_R: Integers
    turn_R: Integers

    def __len__(self) -> int:
        return len(self.question_R)

    def bits(self, seed: int, purpose: str) -> Integers:
        """64 random bits of each row of each epoch."""
        return randomness.bits(seed, purpose, self.epoch_R, self.question_R, self.turn_R).view(np.int64)


@dataclass(frozen=True)
class Pairs:
    """(row, passage) pairs."""

    row_N: Integers
    passage_N: Integers

    @classmethod
    def of(cls, table: Ragged, question_R: Integers) -> Pairs:
        """Every passage that a table lists for these questions, in its order."""
        row_N, place_N = table.places(question_R)
        return cls(row_N, np.asarray(table.columns["passage"][place_N], dtype=np.int64))

    @classmethod
    def none(cls) -> Pairs:
        return cls(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))

    def __add__(self, other: Pairs) -> Pairs:
        return Pairs(np.concatenate([self.row_N, other.row_N]), np.concatenate([self.passage_N, other.passage_N]))

    def at(self, chosen: NDArray[np.bool_] | Integers) -> Pairs:
        return Pairs(self.row_N[chosen], self.passage_N[chosen])

    def keys(self) -> Integers:
        """One number for each pair."""
        return np.asarray(self.row_N << 40 | self.passage_N)

    def among(self, others: Pairs) -> NDArray[np.bool_]:
        """Which of these pairs are among the others."""
        return np.isin(self.keys(), others.keys())

    def count(self, rows: int) -> Integers:
        """Number of pairs of each row."""
        return np.bincount(self.row_N, minlength=rows).astype(np.int64)

    def first(self, wanted_R: Integers, barred: Pairs) -> Pairs:
        """The first `wanted` pairs of each row that are not barred and have not come before; rows must ascend."""
        key_N = self.keys()
        fresh_N = np.zeros(len(key_N), dtype=bool)
        fresh_N[np.unique(key_N, return_index=True)[1]] = True
        fresh = self.at(fresh_N & ~self.among(barred))
        ends_R = np.cumsum(fresh.count(len(wanted_R)))
        within_N = np.arange(len(fresh.row_N)) - np.concatenate([[0], ends_R])[fresh.row_N]
        return fresh.at(within_N < wanted_R[fresh.row_N])
