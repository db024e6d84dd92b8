"""What enters a training step: a pure function of (seed, draw number).

Draw t takes the rows tR .. tR + R - 1 of one long stream, R rows a step. The stream is epoch after epoch, each a
seeded order of all rows (`RowOrder`), so every row comes exactly once an epoch and epochs need not
end with a step. A row is a question, or under `one_row_per_positive` a (question, positive) pair. Choices within a row
depend on (seed, epoch, row) alone: not on the batch size, the number of workers or processes, nor on what was drawn
before.

Negatives are the first k candidates of a question in the order that `mpr/batches/choice.py` gives them: a draw without
replacement with probability proportional to a weight, or the best ranked. A known positive of the question, of
whatever tier, is never drawn, and no passage twice for a row. What a source cannot supply is counted. Candidates of the
`fallback` take its place, all with the same probability, and what is still open then, under `short: random`, passages
of the whole store.

Where pairs are drawn (`margin_bins`), a question needs two of them at least. Those with fewer are not trained on.

Shapes: R rows of a step, N pairs (row, passage).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpr.batches.choice import Choice, Evidence
from mpr.batches.pairs import Pairs, Rows
from mpr.batches.relations import Block
from mpr.data.positives import PositiveIndex
from mpr.errors import DataError, RecipeError
from mpr.recipe.keys_draw import PAIRED, Draw
from mpr.runtime import randomness
from mpr.storage.ragged import Integers, Ragged

_AT_ONCE = 4_096  # questions whose pairs are counted together


@dataclass(frozen=True)
class Step:
    """The ids of one step, and what was not to be had."""

    number: int
    epoch_R: Integers
    block: Block
    shortages: dict[str, int] = field(default_factory=dict)


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
        evidence: Evidence | None = None,
        clusters: NDArray[Any] | None = None,
        awaited: str = "",
    ) -> None:
        """`awaited`: a source whose candidates `turn_to` brings before the first draw."""
        self.config, self.positives = config, positives
        self.passages, self.rows_per_step, self.seed = passages, rows_per_step, seed
        self.drawable = positives.counting(tiers, config.positives.cap)
        given = evidence or Evidence()
        self.choices = [
            Choice(number, entry, candidates, self.drawable, given)
            for number, entry in enumerate(config.negatives)
            if entry.from_ != awaited
        ]
        self.fallbacks = {
            number: Choice(len(config.negatives) + number, entry.of_fallback, candidates, self.drawable, given)
            for number, entry in enumerate(config.negatives)
            if entry.fallback is not None
        }
        self.questions = np.flatnonzero(self.drawable.lengths())
        if not len(self.questions):
            raise DataError("no question has a positive of a tier that counts", key="labels", fix="see `mpr audit`")
        self.dropped = self._drop_without_pairs()
        available = self.drawable.lengths(self.questions)
        per_question = available if config.positives.policy == "one_row_per_positive" else 1
        self._row_ends = np.cumsum(np.broadcast_to(per_question, self.questions.shape))
        wanted, size = config.clusters, (self.rows_per_epoch, rows_per_step)
        if wanted is None:
            self._order = RowOrder(config.questions, seed, *size)
            return
        if clusters is None or len(clusters) != len(positives):
            found = "there are none" if clusters is None else f"they are of {len(clusters):,} questions"
            what = f"questions: cluster needs the clusters of {len(positives):,} questions, {found}"
            raise RecipeError(what, key="draw.clusters", fix="use shuffle, or cluster the questions of this split")
        cluster_U = np.repeat(clusters[self.questions], np.diff(self._row_ends, prepend=0))
        self._order = RowOrder(config.questions, seed, *size, cluster_U, wanted.per_batch)

    def _drop_without_pairs(self) -> int:
        """Leaves out questions that have fewer than two pairs to draw from; returns how many."""
        before = len(self.questions)
        for choice in self.choices:
            if choice.entry.weight != PAIRED:
                continue
            parts = [self.questions[start : start + _AT_ONCE] for start in range(0, len(self.questions), _AT_ONCE)]
            counts = [choice.pairs_of(part, Pairs.of(self.positives.rows, part)) for part in parts]
            self.questions = self.questions[np.concatenate(counts) >= 2]
            if not len(self.questions):
                what = f"no question has two pairs of source '{choice.entry.from_}' that the teacher scored"
                raise DataError(what, key="draw.negatives", fix="score its candidates and the positives")
        return before - len(self.questions)

    @property
    def rows_per_epoch(self) -> int:
        return int(self._row_ends[-1])

    def steps(self, epochs: float) -> int:
        """Steps after which every row has been drawn `epochs` times; the last may reach into the next epoch."""
        # 1.1 means eleven tenths: as a binary number it is a little more, which would round up to a step too many.
        return math.ceil(self.rows_per_epoch * Fraction(repr(epochs)) / self.rows_per_step)

    def turn_to(self, name: str, candidates: Ragged, evidence: Evidence) -> None:
        """From the next draw on, the candidates of this source are these."""
        made = {choice.number: choice for choice in self.choices}
        for number, entry in enumerate(self.config.negatives):
            if entry.from_ == name:
                made[number] = Choice(number, entry, {name: candidates}, self.drawable, evidence)
        self.choices = [made[number] for number in sorted(made)]

    def __call__(self, number: int) -> Step:
        """The rows of the stream that this step takes, with the passages that are drawn for them."""
        rows = self._rows(number)
        positive = self._positives(rows)
        negative, shortages = self._negatives(rows, positive)
        drawn = positive + negative
        passage_P, drawer_P = np.unique(drawn.passage_N), None
        if self.config.block == "as_drawn":  # row after row, so that a process encodes what its own rows drew
            drawn = drawn.at(np.argsort(drawn.row_N, kind="stable"))
            passage_P, drawer_P = drawn.passage_N, drawn.row_N
        pairs = positive.row_N, positive.passage_N, negative.row_N, negative.passage_N
        return Step(number, rows.epoch_R, Block(rows.question_R, passage_P, *pairs, drawer_P), shortages)

    def _rows(self, number: int) -> Rows:
        stream_R = number * self.rows_per_step + np.arange(self.rows_per_step, dtype=np.int64)
        epoch_R, place_R = np.divmod(stream_R, self.rows_per_epoch)
        unit_R = np.empty_like(stream_R)
        for epoch in np.unique(epoch_R):
            here = epoch_R == epoch
            unit_R[here] = self._order(int(epoch))[place_R[here]]
        entry_R = np.searchsorted(self._row_ends, unit_R, side="right")
        return Rows(self.questions[entry_R], epoch_R, unit_R - np.concatenate([[0], self._row_ends])[entry_R])

    def _positives(self, rows: Rows) -> Pairs:
        """Every positive drawn: those of the policy, or of the pair that is drawn under random1."""
        pairing = [choice for choice in self.choices if choice.entry.weight == PAIRED]
        if self.config.positives.policy != "random1" or not pairing:
            return self._of_policy(rows)
        drawable = Pairs.of(self.drawable, rows.question_R)
        pairs, positive_N = pairing[0].ranked_pairs(
            rows, self.seed, drawable, Pairs.of(self.positives.rows, rows.question_R)
        )
        best_R = np.searchsorted(pairs.row_N, np.arange(len(rows)))  # every row has pairs, the first is the best
        return Pairs(np.arange(len(rows)), positive_N[best_R])

    def _of_policy(self, rows: Rows) -> Pairs:
        """Rotation starts at a seeded place, so that not all questions turn together."""
        config = self.config.positives
        available_R = self.drawable.lengths(rows.question_R)
        taken_R = np.ones_like(available_R)
        first_R = np.zeros_like(available_R)
        bits_R = randomness.bits(self.seed, "first positive", rows.question_R)
        start_R = np.asarray(bits_R % available_R.astype(np.uint64), dtype=np.int64)
        if config.policy == "random1":
            first_R = start_R + rows.epoch_R
        elif config.policy == "up_to":
            taken_R = np.minimum(available_R, config.m or 1)
            if config.beyond == "rotate":
                turning_R = available_R > taken_R  # with m or fewer, all are taken in their listed order
                first_R = np.where(turning_R, start_R + rows.epoch_R * taken_R, first_R)
        elif config.policy == "all":
            taken_R = available_R
        elif config.policy == "one_row_per_positive":
            first_R = rows.turn_R
        row_N = np.repeat(np.arange(len(taken_R)), taken_R)
        within_N = np.arange(len(row_N)) - np.repeat(np.cumsum(taken_R) - taken_R, taken_R)
        offset_R = self.drawable.offsets[rows.question_R]
        place_N = offset_R[row_N] + (first_R[row_N] + within_N) % available_R[row_N]
        return Pairs(row_N, np.asarray(self.drawable.columns["passage"][place_N], dtype=np.int64))

    def _negatives(self, rows: Rows, positive: Pairs) -> tuple[Pairs, dict[str, int]]:
        """Every negative drawn, source after source within a row, and how many places each source left open."""
        count, policy = len(rows), self.config.positives.policy
        known, drawn = Pairs.of(self.positives.rows, rows.question_R), Pairs.none()
        shortages: dict[str, int] = {}
        for choice in self.choices:
            entry = choice.entry
            if entry.weight != PAIRED:
                ranked = choice.ranked(rows, self.seed)
            else:  # under random1 the pair decides which positive the row has, so all of them take part
                pool = Pairs.of(self.drawable, rows.question_R) if policy == "random1" else positive
                pairs, positive_N = choice.ranked_pairs(rows, self.seed, pool, known)
                ranked = pairs.at(Pairs(pairs.row_N, positive_N).among(positive))
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
                if choice.number in self.fallbacks:
                    found = self.fallbacks[choice.number].ranked(rows, self.seed).first(open_R, known + drawn)
                    drawn, open_R = drawn + found, open_R - found.count(count)
                if entry.short == "random":
                    drawn += self._random(rows, open_R, known + drawn)
        return drawn.at(np.argsort(drawn.row_N, kind="stable")), shortages

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
        found = Pairs.none()
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


_KEPT = 4  # epochs whose order is remembered


@dataclass
class RowOrder:
    """The order of the rows of an epoch: a pure function of the seed and the number of the epoch.

    `shuffle` is a seeded permutation, `sequential` the order of the data. `cluster` puts similar questions into a step:
    the rows of each cluster, in a seeded order, are cut into steps; what is left of the clusters is put together,
    cluster after cluster, and cut into steps too; and the steps come in a seeded order. Every row comes once an epoch.

    Rows run on from epoch to epoch without a gap, so a step may begin in one epoch and end in the next. These rows at
    either end of an epoch are taken from what is left of the clusters, so that all other steps are whole.

    For `cluster` it is told the cluster of each of the `size` rows, and from how many of them a step takes its rows.
    Shapes: U rows of an epoch, L of them that are left over, S portions of a cluster.
    """

    questions: str
    seed: int
    size: int
    rows_per_step: int
    cluster_U: NDArray[np.int32] | None = None
    per_step: int = 1
    _made: dict[int, Integers] = field(default_factory=dict, repr=False)

    def __call__(self, epoch: int) -> Integers:
        """The rows of an epoch in their order."""
        if epoch not in self._made:
            if len(self._made) == _KEPT:
                self._made.clear()
            self._made[epoch] = self._order(epoch)
        return self._made[epoch]

    def _order(self, epoch: int) -> Integers:
        if self.questions == "sequential":
            return np.arange(self.size)
        shuffled_U = randomness.permutation(self.seed, "order of rows", self.size, epoch)
        return shuffled_U if self.cluster_U is None else self._clustered(shuffled_U, self.cluster_U, epoch)

    def _clustered(self, shuffled_U: Integers, cluster_U: NDArray[np.int32], epoch: int) -> Integers:
        step = self.rows_per_step
        whole, left_L = self._portions(shuffled_U, cluster_U[shuffled_U], epoch)
        head = min(-epoch * self.size % step, self.size)  # rows of the step that the epoch before began
        tail = (self.size - head) % step
        if len(left_L) < head + tail and len(whole):
            whole, left_L = whole[:-1], np.concatenate([left_L, whole[-1]])
        middle_L = left_L[head : len(left_L) - tail]
        steps = np.concatenate([whole, middle_L.reshape(-1, step)])
        order = randomness.permutation(self.seed, "order of steps", len(steps), epoch)
        return np.concatenate([left_L[:head], steps[order].reshape(-1), left_L[len(left_L) - tail :]])

    def _portions(self, shuffled_U: Integers, cluster_U: NDArray[np.int32], epoch: int) -> tuple[Integers, Integers]:
        """Whole steps, one a line, and the rows that are left, those of a cluster together."""
        portion, count = self.rows_per_step // self.per_step, int(cluster_U.max()) + 1
        turn_K = randomness.permutation(self.seed, "order of clusters", count, epoch)  # of each cluster
        order = np.argsort(turn_K[cluster_U], kind="stable")
        size_K = np.bincount(turn_K[cluster_U], minlength=count)
        within_U = np.arange(len(order)) - np.repeat(np.cumsum(size_K) - size_K, size_K)
        full_U = within_U < np.repeat(size_K - size_K % portion, size_K)
        rows_U = shuffled_U[order]
        portions_S = rows_U[full_U].reshape(-1, portion)
        portions_S = portions_S[randomness.permutation(self.seed, "order of portions", len(portions_S), epoch)]
        steps = len(portions_S) // self.per_step
        whole = portions_S[: steps * self.per_step].reshape(steps, self.per_step * portion)
        return whole, np.concatenate([portions_S[steps * self.per_step :].reshape(-1), rows_U[~full_U]])
