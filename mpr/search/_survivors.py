"""The passages that may still be among the k best of a question, each with the interval its written score lies in.

A line of a table for each question, filled from the left. A line that runs full is cut: passages whose interval ends
below the k-th best lower end cannot be among the k best. If that does not make room (more equal or nearly equal
passages than the line is long), the line is settled: its passages get their written scores, and the k best stay.
Either way what is lost is beaten by k others, so the memory is bounded and the result does not depend on it.

Shapes: Q questions, C places of a line, N pairs of a question and a passage, sorted by question.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpr.errors import NumbersError
from mpr.search.top_k import TopK
from mpr.storage.ragged import Floats, Integers

BYTES = 16  # of a place in a line: two ends and where the vector lies
SPARE = 256  # places beyond those that one cut needs

Settle = Callable[[Integers, Integers], tuple[Integers, Floats]]
"""(question, place) of N pairs -> (passage row, written score)."""


@dataclass
class Work:
    """What a search had to do beyond its first pass. Results never depend on it."""

    questions: int = 0
    rescored: int = 0  # pairs whose written score was computed
    settled: int = 0  # times a line was settled before the end, because ties filled it


class Survivors:
    """`floor_Q` is a written score that k passages of the question are known to reach; it only rises."""

    def __init__(self, questions: int, k: int, settle: Settle, work: Work) -> None:
        self.k, self._settle, self._work = k, settle, work
        self.floor_Q = np.full(questions, -np.inf, dtype=np.float32)
        self._count_Q = np.zeros(questions, dtype=np.int64)
        self._uncut = 0  # pairs taken in since the last cut
        shape = (questions, line_length(k))
        self._lower_QC = np.full(shape, -np.inf, dtype=np.float32)
        self._upper_QC = np.full(shape, -np.inf, dtype=np.float32)
        self._place_QC = np.zeros(shape, dtype=np.int64)

    def raise_floor(self, floor_Q: Floats) -> None:
        """`floor_Q`: k passages are known to have at least this score."""
        np.maximum(self.floor_Q, floor_Q, out=self.floor_Q)

    def add(self, question_N: Integers, place_N: Integers, lower_N: Floats, upper_N: Floats) -> None:
        near = upper_N >= self.floor_Q[question_N]
        question_N, place_N, lower_N, upper_N = question_N[near], place_N[near], lower_N[near], upper_N[near]
        if not len(question_N):
            return
        number_N = _numbered(question_N)
        room = self._lower_QC.shape[1] - self.k  # of a settled line
        for piece in range(0, int(number_N.max()) + 1, room):
            chosen = (number_N >= piece) & (number_N < piece + room)
            self._take(question_N[chosen], place_N[chosen], lower_N[chosen], upper_N[chosen], number_N[chosen] - piece)
        if self._uncut > len(self.floor_Q) * max(self.k // 2, 16):
            self._cut()

    def best(self) -> TopK:
        """The k best of each question; every question has at least k survivors by now."""
        self._cut()
        question_N, column_N = self._held(np.ones(len(self.floor_Q), dtype=bool))
        row_N, score_N = self._scored(question_N, self._place_QC[question_N, column_N])
        shape = (len(self.floor_Q), int(self._count_Q.max(initial=0)))
        rows_QN, scores_QN = np.full(shape, np.iinfo(np.int64).max), np.full(shape, -np.inf, dtype=np.float32)
        rows_QN[question_N, column_N], scores_QN[question_N, column_N] = row_N, score_N
        self._check(score_N, self._lower_QC[question_N, column_N], self._upper_QC[question_N, column_N])
        return TopK.best(rows_QN, scores_QN, self.k)

    def _take(
        self, question_N: Integers, place_N: Integers, lower_N: Floats, upper_N: Floats, number_N: Integers
    ) -> None:
        added_Q = np.bincount(question_N, minlength=len(self.floor_Q))
        if self._full(added_Q).any():
            self._cut()
            if (full_Q := self._full(added_Q)).any():
                self._settle_lines(full_Q)
        column_N = self._count_Q[question_N] + number_N
        self._lower_QC[question_N, column_N] = lower_N
        self._upper_QC[question_N, column_N] = upper_N
        self._place_QC[question_N, column_N] = place_N
        self._count_Q += added_Q
        self._uncut += len(question_N)

    def _full(self, added_Q: Integers) -> NDArray[np.bool_]:
        return self._count_Q + added_Q > self._lower_QC.shape[1]

    def _cut(self) -> None:
        """Raises every floor to the k-th best lower end, and drops what cannot reach it."""
        self._uncut = 0
        filled = int(self._count_Q.max(initial=0))
        if filled >= self.k:
            lower_QC = self._lower_QC[:, :filled]
            self.raise_floor(np.partition(lower_QC, filled - self.k, axis=1)[:, filled - self.k])
        keep_QC = self._upper_QC[:, :filled] >= self.floor_Q[:, None]
        keep_QC &= np.arange(filled) < self._count_Q[:, None]
        question_N, column_N = np.nonzero(keep_QC)
        self._refill(
            np.ones(len(self.floor_Q), dtype=bool),
            question_N,
            self._place_QC[question_N, column_N],
            self._lower_QC[question_N, column_N],
            self._upper_QC[question_N, column_N],
        )

    def _settle_lines(self, full_Q: NDArray[np.bool_]) -> None:
        question_N, column_N = self._held(full_Q)
        place_N = self._place_QC[question_N, column_N]
        row_N, score_N = self._scored(question_N, place_N)
        self._check(score_N, self._lower_QC[question_N, column_N], self._upper_QC[question_N, column_N])
        self._work.settled += int(full_Q.sum())
        order_N = np.lexsort((row_N, -score_N, question_N))
        best_N = order_N[_numbered(question_N) < self.k]
        question_N, place_N, score_N = question_N[best_N], place_N[best_N], score_N[best_N]
        self._refill(full_Q, question_N, place_N, score_N, score_N)
        floor_Q = np.full(len(self.floor_Q), -np.inf, dtype=np.float32)
        floor_Q[full_Q] = self._lower_QC[full_Q, self.k - 1]
        self.raise_floor(floor_Q)

    def _refill(
        self, lines_Q: NDArray[np.bool_], question_N: Integers, place_N: Integers, lower_N: Floats, upper_N: Floats
    ) -> None:
        """These lines hold the given pairs and nothing else."""
        filled = int(self._count_Q.max(initial=0))
        self._lower_QC[lines_Q, :filled] = -np.inf
        column_N = _numbered(question_N)
        self._lower_QC[question_N, column_N] = lower_N
        self._upper_QC[question_N, column_N] = upper_N
        self._place_QC[question_N, column_N] = place_N
        self._count_Q[lines_Q] = np.bincount(question_N, minlength=len(self.floor_Q))[lines_Q]

    def _held(self, lines_Q: NDArray[np.bool_]) -> tuple[Integers, Integers]:
        """Question and column of every pair that these lines hold."""
        held_QC = np.arange(self._lower_QC.shape[1]) < np.where(lines_Q, self._count_Q, 0)[:, None]
        question_N, column_N = np.nonzero(held_QC)
        return question_N, column_N

    def _scored(self, question_N: Integers, place_N: Integers) -> tuple[Integers, Floats]:
        self._work.rescored += len(place_N)
        return self._settle(question_N, place_N)

    def _check(self, score_N: Floats, lower_N: Floats, upper_N: Floats) -> None:
        """The one thing that the proof takes on trust is how the device adds up; here it is looked at every time."""
        outside = int(((score_N < lower_N) | (score_N > upper_N)).sum())
        if outside:
            what = f"{outside:,} of {len(score_N):,} scores lie outside the error bound of the first pass"
            raise NumbersError(what, key="search.first_pass", fix="use first_pass float32, and please report this")


def line_length(k: int) -> int:
    """Room for the k best, for those that rounding may confuse with them, and for new ones before a cut."""
    return 2 * k + max(k, SPARE)


def _numbered(question_N: Integers) -> Integers:
    """Each pair's number among those of its question; questions are sorted."""
    starts = np.flatnonzero(np.diff(question_N, prepend=-1))
    return np.arange(len(question_N)) - np.repeat(starts, np.diff(starts, append=len(question_N)))
