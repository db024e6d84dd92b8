"""What enters a training step: a pure function of (seed, draw number).

Draw t takes the rows tR .. tR + R - 1 of one long stream, R rows a step. The stream is epoch after epoch, each a
seeded order of all rows, so every row comes exactly once an epoch and epochs need not end with a step. A row is a
question, or under `one_row_per_positive` a (question, positive) pair. Choices within a row depend on (seed, epoch,
row) alone: not on the batch size, the number of workers or processes, nor on what was drawn before.

Negatives are the k largest of log-weight plus Gumbel noise among a question's candidates: a draw without replacement
with probability proportional to the weight. `top` takes the best ranked instead. A known positive of the question, of
whatever tier, is never drawn, and no passage twice for a row. What a source cannot supply is counted; under
`short: random` passages of the whole store, all with the same probability, take its place.

Shapes: R rows of a step, N pairs (row, passage).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mpr import randomness
from mpr.errors import DataError, RecipeError
from mpr.positives import PositiveIndex
from mpr.ragged import Ragged
from mpr.recipe import Draw, Negatives
from mpr.relations import Block

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Step:
    """The ids of one step, and what was not to be had."""

    number: int
    epoch_R: Integers
    block: Block
    shortages: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Rows:
    """Who the rows of a step are. `turn` is the place of the positive under one_row_per_positive, otherwise 0."""

    question_R: Integers
    epoch_R: Integers
    turn_R: Integers

    def bits(self, seed: int, purpose: str) -> Integers:
        """64 random bits of each row of each epoch."""
        return randomness.bits(seed, purpose, self.epoch_R, self.question_R, self.turn_R).view(np.int64)


@dataclass(frozen=True)
class Pairs:
    """(row, passage) pairs."""

    row_N: Integers
    passage_N: Integers

    def __add__(self, other: Pairs) -> Pairs:
        return Pairs(np.concatenate([self.row_N, other.row_N]), np.concatenate([self.passage_N, other.passage_N]))

    def at(self, chosen: NDArray[np.bool_] | Integers) -> Pairs:
        return Pairs(self.row_N[chosen], self.passage_N[chosen])

    def keys(self) -> Integers:
        """One number for each pair."""
        return np.asarray(self.row_N << 40 | self.passage_N)

    def count(self, rows: int) -> Integers:
        """Number of pairs of each row."""
        return np.bincount(self.row_N, minlength=rows).astype(np.int64)

    def first(self, wanted_R: Integers, barred: Pairs) -> Pairs:
        """The first `wanted` pairs of each row that are not barred and have not come before; rows must ascend."""
        key_N = self.keys()
        fresh_N = np.zeros(len(key_N), dtype=bool)
        fresh_N[np.unique(key_N, return_index=True)[1]] = True
        fresh = self.at(fresh_N & ~np.isin(key_N, barred.keys()))
        ends_R = np.cumsum(fresh.count(len(wanted_R)))
        within_N = np.arange(len(fresh.row_N)) - np.concatenate([[0], ends_R])[fresh.row_N]
        return fresh.at(within_N < wanted_R[fresh.row_N])


class Drawer:
    """Draws steps. `candidates` maps the name of a source to the candidates of every question."""

    def __init__(
        self,
        config: Draw,
        positives: PositiveIndex,
        tiers: Sequence[str],
        candidates: Mapping[str, Ragged],
        passages: int,
        rows_per_step: int,
        seed: int,
    ) -> None:
        self.config, self.positives, self.candidates = config, positives, candidates
        self.passages, self.rows_per_step, self.seed = passages, rows_per_step, seed
        for entry in config.negatives:
            _check_candidates(entry, candidates, len(positives))
        self.drawable = positives.counting(tiers, config.positives.cap)
        available = self.drawable.lengths()
        self.questions = np.flatnonzero(available)
        if not len(self.questions):
            raise DataError("no question has a positive of a tier that counts", key="labels", fix="see `mpr audit`")
        per_question = available[self.questions] if config.positives.policy == "one_row_per_positive" else 1
        self._row_ends = np.cumsum(np.broadcast_to(per_question, self.questions.shape))

    @property
    def rows_per_epoch(self) -> int:
        return int(self._row_ends[-1])

    def steps(self, epochs: float) -> int:
        """Steps after which every row has been drawn `epochs` times; the last may reach into the next epoch."""
        # 1.1 means eleven tenths: as a binary number it is a little more, which would round up to a step too many.
        return math.ceil(self.rows_per_epoch * Fraction(repr(epochs)) / self.rows_per_step)

    def __call__(self, number: int) -> Step:
        rows = self._rows(number)
        positive = self._positives(rows)
        negative, shortages = self._negatives(rows, positive)
        passage_P = np.unique(np.concatenate([positive.passage_N, negative.passage_N]))
        block = Block(
            rows.question_R, passage_P, positive.row_N, positive.passage_N, negative.row_N, negative.passage_N
        )
        return Step(number, rows.epoch_R, block, shortages)

    def _rows(self, number: int) -> Rows:
        stream_R = number * self.rows_per_step + np.arange(self.rows_per_step, dtype=np.int64)
        epoch_R, place_R = np.divmod(stream_R, self.rows_per_epoch)
        unit_R = np.empty_like(stream_R)
        for epoch in np.unique(epoch_R):
            here = epoch_R == epoch
            unit_R[here] = _order(self.config.questions, self.seed, self.rows_per_epoch, int(epoch))[place_R[here]]
        entry_R = np.searchsorted(self._row_ends, unit_R, side="right")
        return Rows(self.questions[entry_R], epoch_R, unit_R - np.concatenate([[0], self._row_ends])[entry_R])

    def _positives(self, rows: Rows) -> Pairs:
        """Every positive drawn. Rotation starts at a seeded place, so that not all questions turn together."""
        config = self.config.positives
        available_R = self.drawable.lengths(rows.question_R)
        taken_R = np.ones_like(available_R)
        first_R = np.zeros_like(available_R)
        if config.policy == "random1":
            first_R = self._start(rows.question_R, available_R) + rows.epoch_R
        elif config.policy == "up_to":
            taken_R = np.minimum(available_R, config.m or 1)
            if config.beyond == "rotate":
                turning_R = available_R > taken_R  # with m or fewer, all are taken in their listed order
                first_R = np.where(
                    turning_R, self._start(rows.question_R, available_R) + rows.epoch_R * taken_R, first_R
                )
        elif config.policy == "all":
            taken_R = available_R
        elif config.policy == "one_row_per_positive":
            first_R = rows.turn_R
        row_N = np.repeat(np.arange(len(taken_R)), taken_R)
        within_N = np.arange(len(row_N)) - np.repeat(np.cumsum(taken_R) - taken_R, taken_R)
        offset_R = self.drawable.offsets[rows.question_R]
        place_N = offset_R[row_N] + (first_R[row_N] + within_N) % available_R[row_N]
        return Pairs(row_N, np.asarray(self.drawable.columns["passage"][place_N], dtype=np.int64))

    def _start(self, question_R: Integers, available_R: Integers) -> Integers:
        bits_R = randomness.bits(self.seed, "first positive", question_R)
        return np.asarray(bits_R % available_R.astype(np.uint64), dtype=np.int64)

    def _negatives(self, rows: Rows, positive: Pairs) -> tuple[Pairs, dict[str, int]]:
        """Every negative drawn, source after source within a row, and how many places each source left open."""
        count = len(rows.question_R)
        known = Pairs(*self.positives.known(rows.question_R)[:2])
        drawn = Pairs(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
        shortages: dict[str, int] = {}
        for number, entry in enumerate(self.config.negatives):
            ranked = self._ranked(number, entry, rows)
            wanted_R = np.full(count, entry.k or 0, dtype=np.int64)
            if entry.group is not None:
                wanted_R = np.maximum(entry.group - positive.count(count) - drawn.count(count), 0)
            elif entry.all:
                wanted_R = ranked.count(count)
            found = ranked.first(wanted_R, known + drawn)
            drawn += found
            if entry.all:
                continue  # whatever there is: it cannot be too little
            open_R = wanted_R - found.count(count)
            if open_R.any():
                shortages[entry.from_] = shortages.get(entry.from_, 0) + int(open_R.sum())
                if entry.short == "random":
                    drawn += self._random(rows, open_R, known + drawn)
        return drawn.at(np.argsort(drawn.row_N, kind="stable")), shortages

    def _ranked(self, number: int, entry: Negatives, rows: Rows) -> Pairs:
        """Candidates of each row in the order in which they are to be taken: largest log-weight plus noise first."""
        table = self.candidates[entry.from_]
        width_R = table.lengths(rows.question_R)
        if entry.window is not None:
            width_R = np.minimum(width_R, entry.window)
        row_N, place_N = table.places(rows.question_R, width_R)
        ranked = Pairs(row_N, np.asarray(table.columns["passage"][place_N], dtype=np.int64))
        if entry.weight == "top":
            return ranked
        # The number of the entry keeps two entries of one source independent of one another.
        seen_R = rows.bits(self.seed, f"negatives {number}")
        if entry.weight == "uniform":  # noise alone: its order is that of the bits it is made of
            key_N = ~randomness.bits(self.seed, "negative", seen_R[row_N], ranked.passage_N)
            return ranked.at(np.lexsort((key_N, row_N)))
        noise_N = randomness.gumbel(self.seed, "negative", seen_R[row_N], ranked.passage_N)
        weight_N = table.columns["score"][place_N].astype(np.float64) / (entry.temperature or 1.0)
        return ranked.at(np.lexsort((-(weight_N + noise_N), row_N)))

    def _random(self, rows: Rows, missing_R: Integers, barred: Pairs) -> Pairs:
        """Passages of the whole store for the places still open: each row reads its own endless random sequence."""
        barred_R = barred.count(len(missing_R))
        full_R = np.flatnonzero((missing_R > 0) & (barred_R + missing_R > self.passages))
        if len(full_R):
            row = full_R[0]
            what = f"question {rows.question_R[row]} needs {missing_R[row]} more negatives, but of the {self.passages}"
            what += f" passages {barred_R[row]} are its positives or already drawn"
            raise DataError(what, key="draw.negatives", fix="ask for fewer negatives")
        seen_R = rows.bits(self.seed, "random passages")
        found = Pairs(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
        position = 0
        while (open_R := missing_R - found.count(len(missing_R))).any():
            width = 2 * int(open_R.max()) + 4
            row_N = np.repeat(np.flatnonzero(open_R), width)
            place_N = np.tile(position + np.arange(width), np.count_nonzero(open_R))
            bits_N = randomness.bits(self.seed, "random passage", seen_R[row_N], place_N)
            passage_N = (bits_N % np.uint64(self.passages)).astype(np.int64)
            found += Pairs(row_N, passage_N).first(open_R, barred + found)
            position += width
        return found


@lru_cache(maxsize=4)
def _order(questions: str, seed: int, size: int, epoch: int) -> Integers:
    """The rows of an epoch in their order."""
    if questions == "sequential":
        return np.arange(size)
    return randomness.permutation(seed, "order of rows", size, epoch)


def _check_candidates(entry: Negatives, candidates: Mapping[str, Ragged], questions: int) -> None:
    """Refuses before the first step what would otherwise go wrong at some later one."""
    table = candidates.get(entry.from_)
    if table is None:
        raise RecipeError(f"no candidates of source '{entry.from_}'", key="draw.negatives", fix="mine them first")
    if len(table) != questions:
        what = f"candidates of source '{entry.from_}' are for {len(table):,} questions, the split has {questions:,}"
        raise DataError(what, key="sources", fix="mine them again for this split")
    if entry.weight == "softmax":
        missing = int(np.count_nonzero(~np.isfinite(table.columns["score"])))
        if missing:
            what = f"weight softmax needs scores, {missing:,} candidates of source '{entry.from_}' have none"
            raise DataError(what, key="draw.negatives", fix="use top or uniform, or candidates with scores")
