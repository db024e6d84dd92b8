"""A draw becomes a batch: token ids of the step's questions and distinct passages, and the two relation matrices. Where
the objective wants them: what a teacher says of each cell, and which cells were drawn for the row itself.

The one collator. It reads pre-tokenised text, so a worker process does nothing but slice and pad. With several
processes each gets its share of the questions and passages to encode, while the matrices cover the whole step: a draw
is a pure function, so every process knows all ids without asking the others.

Shapes: Q rows of the step, P passages of the step, L tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mpr.batches import relations
from mpr.batches.draw import Drawer, Step
from mpr.batches.policy import Policy
from mpr.batches.relations import Block, Relations
from mpr.batches.targets import NOTHING, Targets
from mpr.data.token_batches import Side
from mpr.data.tokens import PADDING
from mpr.errors import RecipeError
from mpr.runtime.processes import ALONE, Place

Integers = NDArray[np.int64]
_STRICT = Policy("ignore", "ignore", "ignore", "ignore")


@dataclass(frozen=True)
class Collator:
    """Called by a DataLoader with draw numbers; returns the batch of that one draw.

    `passages` is None where their vectors are there already (`mpr/training/_fixed_passages.py`): the batch has their
    ids alone. Where a step searches for its passages (`searches`, `mpr/training/_step_search.py`) these are unknown
    yet, and the batch has questions only.

    Every process gets an equal number of questions and of passages to encode; what does not divide is filled with
    padding, which is neither positive nor negative for anyone. Without `gather` the step falls apart into one block for
    each process: its own rows with their own passages, and no others.
    """

    drawer: Drawer
    questions: Side
    passages: Side | None
    text_hashes: NDArray[np.uint64]
    tiers: tuple[str, ...]
    policy: Policy
    place: Place = ALONE
    gather: bool = True
    targets: Targets = NOTHING
    searches: bool = False

    def __call__(self, numbers: Sequence[int]) -> dict[str, Any]:
        step, place = self.step(only(numbers))
        batch: dict[str, Any] = {
            "draw": step.number,
            "question": self.questions.tokens(_dealt(step.block.question_Q, place)),
            "question_ids": torch.from_numpy(step.block.question_Q),
        }
        if self.passages is not None:
            batch["passage"] = self.passages.tokens(_dealt(step.block.passage_P, place))
        return batch if self.searches else {**batch, **self.related(step)}

    def step(self, number: int) -> tuple[Step, Place]:
        """A draw as this process sees it, and which part of what is in it this process encodes."""
        step = self.drawer(number)
        block = self._padded(step.block)
        if self.gather:
            return replace(step, block=block), self.place
        return replace(step, block=apart(block, self.place)), ALONE

    def related(self, step: Step) -> dict[str, Any]:
        """What a batch holds besides texts: the passages of the step, and who is what for whom."""
        return told(step, self.relations(step), self.targets)

    def relations(self, step: Step) -> Relations:
        """The matrices of a step over all processes, or of this process's own block."""
        in_batch = self.drawer.config.in_batch
        index = self.drawer.positives
        return relations.build(step.block, index, self.text_hashes, self.tiers, self.policy, in_batch=in_batch)

    def negatives_among(self, question_Q: Integers, passage_P: Integers) -> NDArray[np.bool_]:
        """Which of any distinct passages may be negatives of these questions: all but what is known of them."""
        nothing = np.zeros(0, dtype=np.int64)
        block = Block(question_Q, passage_P, nothing, nothing, nothing, nothing)
        index, tiers = self.drawer.positives, self.tiers
        return relations.build(block, index, self.text_hashes, tiers, _STRICT, in_batch=True).negatives_QP

    def _padded(self, block: Block) -> Block:
        processes = self.place.world
        return replace(
            block, question_Q=_filled(block.question_Q, processes), passage_P=_filled(block.passage_P, processes)
        )


def only(numbers: Sequence[int]) -> int:
    """The one draw number that a loader passes at a time."""
    if len(numbers) != 1:
        fix = "the loader must pass one draw number at a time"
        raise RecipeError(f"a batch is one draw, not {len(numbers)}", key="training", fix=fix)
    return int(numbers[0])


def told(step: Step, related: Relations, targets: Targets) -> dict[str, Any]:
    """Relations, targets and counts of a step as a batch has them."""
    return {
        "passage_ids": torch.from_numpy(step.block.passage_P),
        "positives_QP": torch.from_numpy(related.positives_QP),
        "negatives_QP": torch.from_numpy(related.negatives_QP),
        **{name: torch.from_numpy(values_QP) for name, values_QP in targets(step.block, related).items()},
        "counts": {**related.counts, **{f"short of {name}": n for name, n in step.shortages.items()}},
    }


def _filled(rows: Integers, multiple: int) -> Integers:
    missing = -len(rows) % multiple
    return np.concatenate([rows, np.full(missing, PADDING, dtype=np.int64)])


def _dealt(rows: Integers, place: Place) -> Integers:
    each = len(rows) // place.world
    return rows[place.rank * each : (place.rank + 1) * each]


def apart(block: Block, place: Place) -> Block:
    """This process's rows with the passages drawn for them, filled up to the width of the widest block: all processes
    must have the same number of texts to encode."""
    rank, processes = place.rank, place.world
    each = len(block.question_Q) // processes
    owner_N, negative_owner_N = block.positive_row_N // each, block.negative_row_N // each
    passages = [
        np.union1d(block.positive_N[owner_N == process], block.negative_N[negative_owner_N == process])
        for process in range(processes)
    ]
    missing = max(map(len, passages)) - len(passages[rank])
    own_N, negative_own_N = owner_N == rank, negative_owner_N == rank
    return Block(
        _dealt(block.question_Q, place),
        np.concatenate([passages[rank], np.full(missing, PADDING, dtype=np.int64)]),
        block.positive_row_N[own_N] - rank * each,
        block.positive_N[own_N],
        block.negative_row_N[negative_own_N] - rank * each,
        block.negative_N[negative_own_N],
    )
