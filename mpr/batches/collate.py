"""A draw becomes a batch: token ids, the ids of the step's questions and passages, and the two relation matrices. Where
the objective wants them: what a teacher says of each cell, and which cells were drawn for the row itself.

`Collator` reads questions and passages each for itself, `PairCollator` every question together with a passage. Both
read pre-tokenised text, so a worker process does nothing but slice and pad. A draw is a pure function, so every process
knows all ids of a step without asking the others.

Shapes: Q rows of the step, P passages of the step, N pairs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mpr.batches import relations
from mpr.batches.draw import Drawer, Step
from mpr.batches.relations import Block, Policy, Relations
from mpr.batches.targets import NOTHING, Targets
from mpr.data.token_batches import PairTexts, Side
from mpr.data.tokens import PADDING
from mpr.errors import RecipeError
from mpr.models import lengths
from mpr.runtime.processes import ALONE, Place
from mpr.storage.ragged import Integers


class _Strict:
    """The policy under which nothing that is known of a question is a negative of it."""

    siblings = shared = duplicates = doubtful = "ignore"


@dataclass(frozen=True, kw_only=True)
class StepCollator(ABC):
    """Called by a DataLoader with draw numbers, one at a time; returns the batch of that draw.

    `place` is this process among those of the step. With `gather` the matrices cover the whole step. Without it the
    step falls apart into one block for each process: its own rows with their own passages, and no others.
    """

    drawer: Drawer
    text_hashes: NDArray[np.uint64]
    tiers: tuple[str, ...]
    policy: Policy
    place: Place = ALONE
    gather: bool = True
    targets: Targets = NOTHING

    def __call__(self, numbers: Sequence[int]) -> dict[str, Any]:
        if len(numbers) != 1:
            fix = "the loader must pass one draw number at a time"
            raise RecipeError(f"a batch is one draw, not {len(numbers)}", key="training", fix=fix)
        return self.batch(*self.step(int(numbers[0])))

    @abstractmethod
    def batch(self, step: Step, place: Place) -> dict[str, Any]:
        """The batch of a step as `step` gives it."""

    @property
    def in_batch(self) -> bool:
        """Whether passages of other rows are negatives."""
        return self.drawer.config.in_batch

    def step(self, number: int) -> tuple[Step, Place]:
        """A draw as this process sees it, and which part of it this process encodes. Rows and passages are filled up
        to equal shares with padding, which is neither positive nor negative for anyone."""
        step = self.drawer(number)
        found, world = step.block, self.place.world
        drawer_P = None if found.drawer_P is None else padded(found.drawer_P, world)
        rows = padded(found.question_Q, world), padded(found.passage_P, world)
        block = replace(found, question_Q=rows[0], passage_P=rows[1], drawer_P=drawer_P)
        if self.gather:
            return replace(step, block=block), self.place
        return replace(step, block=own_block(block, self.place)), ALONE

    def relations(self, step: Step) -> Relations:
        """The matrices of a step over all processes, or of this process's own block."""
        known = self.drawer.positives, self.text_hashes, self.tiers
        return relations.build(step.block, *known, self.policy, in_batch=self.in_batch)

    def as_batch(self, step: Step, related: Relations | None = None) -> dict[str, Any]:
        """What a batch holds besides texts: the passages of the step, its relations, targets and counts."""
        related = related or self.relations(step)
        return {
            "passage_ids": torch.from_numpy(step.block.passage_P),
            "passage_rows": step.block.passage_P,  # for the host, which would have to wait for those of a device
            "positives_QP": torch.from_numpy(related.positives_QP),
            "negatives_QP": torch.from_numpy(related.negatives_QP),
            **{name: torch.from_numpy(values_QP) for name, values_QP in self.targets(step.block, related).items()},
            "positive_columns": np.flatnonzero(related.positives_QP.any(axis=0)),
            "counts": {**related.counts, **{f"short of {name}": n for name, n in step.shortages.items()}},
        }


@dataclass(frozen=True, kw_only=True)
class Collator(StepCollator):
    """Batches of questions and passages. With `gather` each process encodes an equal share of them.

    `passages` is None where their vectors are there already (`mpr/training/_fixed_passages.py`): the batch has their
    ids alone. With `questions_only` it has no passages and no relations either: the step searches for its passages
    (`mpr/training/_step_search.py`), which then completes the batch.
    """

    questions: Side
    passages: Side | None
    questions_only: bool = False

    def batch(self, step: Step, place: Place) -> dict[str, Any]:
        block = step.block
        found: dict[str, Any] = {
            "draw": step.number,
            "question": lengths.measured(self.questions.tokens(share_of(block.question_Q, place))),
            "question_ids": torch.from_numpy(block.question_Q),
            "question_rows": block.question_Q,
        }
        if self.passages is not None:
            found["passage"] = lengths.measured(self.passages.tokens(share_of(block.passage_P, place)))
        return found if self.questions_only else {**found, **self.as_batch(step)}

    def known_among(self, question_Q: Integers, passage_P: Integers) -> tuple[Integers, Integers]:
        """The (row, column) of all others, of distinct passages of which there may be a hundred thousand."""
        _, passage_K, _ = self.drawer.positives.known(question_Q[question_Q != PADDING])
        known_U = np.unique(self.text_hashes[passage_K])
        hash_P = self.text_hashes[np.where(passage_P == PADDING, 0, passage_P)]
        place_P = np.minimum(np.searchsorted(known_U, hash_P), max(len(known_U) - 1, 0))
        is_known_P = known_U[place_P] == hash_P if len(known_U) else np.zeros(len(hash_P), dtype=bool)
        column_M = np.flatnonzero(is_known_P & (passage_P != PADDING))
        row_N, place_N = np.nonzero(~self.negatives_among(question_Q, passage_P[column_M]))
        return row_N, column_M[place_N]

    def negatives_among(self, question_Q: Integers, passage_P: Integers) -> NDArray[np.bool_]:
        """Which of any distinct passages may be negatives of these questions: all but what is known of them."""
        nothing = np.zeros(0, dtype=np.int64)
        block = Block(question_Q, passage_P, nothing, nothing, nothing, nothing)
        index, tiers = self.drawer.positives, self.tiers
        return relations.build(block, index, self.text_hashes, tiers, _Strict(), in_batch=True).negatives_QP


@dataclass(frozen=True, kw_only=True)
class PairCollator(StepCollator):
    """Batches of pairs: every row's question with each of the passages drawn for it, read as one text.

    Of the block of scores only those cells exist that are positive or negative for their row. A cross-encoder scores
    them one by one, so passages of other rows cost as much as a row's own ones, and none are taken: there is nothing
    in-batch, and every process has a block of its own.
    """

    texts: PairTexts
    gather: bool = False

    @property
    def in_batch(self) -> bool:
        return False

    def batch(self, step: Step, place: Place) -> dict[str, Any]:
        block, related = step.block, self.relations(step)
        row_N, column_N = np.nonzero(related.positives_QP | related.negatives_QP)
        return {
            "draw": step.number,
            "question_ids": torch.from_numpy(block.question_Q),
            "question_rows": block.question_Q,
            "pair": lengths.measured(self.texts.tokens(block.question_Q[row_N], block.passage_P[column_N])),
            "cell_N": torch.from_numpy(row_N * len(block.passage_P) + column_N),
            **self.as_batch(step, related),
        }


def padded(rows: Integers, multiple: int) -> Integers:
    """The rows, and behind them padding up to a multiple."""
    return _filled(rows, len(rows) + -len(rows) % multiple)


def _filled(rows: Integers, size: int) -> Integers:
    """The rows, and behind them padding up to a size."""
    return np.concatenate([rows, np.full(size - len(rows), PADDING, dtype=np.int64)])


def share_of(rows: Integers, place: Place) -> Integers:
    """One of equal consecutive parts."""
    each = len(rows) // place.world
    return rows[place.rank * each : (place.rank + 1) * each]


def own_block(block: Block, place: Place) -> Block:
    """This process's rows with the passages drawn for them, padded to the width of the widest block: all processes
    must have the same number of texts to encode."""
    rank, processes = place.rank, place.world
    each = len(block.question_Q) // processes
    owner_N, negative_owner_N = block.positive_row_N // each, block.negative_row_N // each
    own_N, negative_own_N = owner_N == rank, negative_owner_N == rank
    drawer_P = None
    if block.drawer_P is None:
        passages = [
            np.union1d(block.positive_N[owner_N == process], block.negative_N[negative_owner_N == process])
            for process in range(processes)
        ]
        width = max(map(len, passages))
        passage_P = passages[rank]
    else:
        owner_P = block.drawer_P // each  # below 0 for padding
        width = int(np.bincount(owner_P[owner_P >= 0], minlength=processes).max())
        passage_P, drawer_P = block.passage_P[owner_P == rank], block.drawer_P[owner_P == rank] - rank * each
        drawer_P = _filled(drawer_P, width)
    return Block(
        share_of(block.question_Q, place),
        _filled(passage_P, width),
        block.positive_row_N[own_N] - rank * each,
        block.positive_N[own_N],
        block.negative_row_N[negative_own_N] - rank * each,
        block.negative_N[negative_own_N],
        drawer_P,
    )
