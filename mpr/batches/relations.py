"""Who is positive, negative or ignored for whom: the one builder of the two matrices of a training step.

A step has Q rows (questions; the same question may fill several rows) and P passages. A cell that is neither positive
nor negative is ignored. Everything is decided by passage id over the whole step, all processes together:

1. a passage drawn as a positive of the row is positive;
2. a known positive of the question that was not drawn for the row is *shared* if another question of the step drew it
   as its positive, otherwise a *sibling*; if its tier does not count it is *doubtful*;
3. a passage with the text of a known positive under another id is a *duplicate* (if only of doubtful ones: doubtful);
4. what was drawn as a negative of the row is negative;
5. any other passage is negative if in-batch negatives are on.

Under `draw.block: distinct` a passage is one column, whoever drew it. Under `as_drawn` every row has columns of its
own, and what is drawn for a row (1 and 4) is its own column alone: the column in which another row drew the same
passage falls under the other rules, for a positive under 2.

For 2 and 3 a policy says `positive`, `ignore`, or `negative`: no exception, rules 4 and 5 decide. Of two rules that
speak of the same cell the first one holds.

Exceptions are few and matrices large, so each rule works on a sorted array of cell numbers (row * P + column); the two
matrices are written once, at the end.

Shapes: Q rows, P passages, K known positives of all rows, N drawn pairs, C cells.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mpr.data.positives import PositiveIndex, tier_codes
from mpr.data.tokens import PADDING
from mpr.storage.ragged import Integers

Mask = NDArray[np.bool_]


class Policy(Protocol):
    """One word for each way in which a known positive that was not drawn for its row can be in the block: `positive`,
    `ignore` or `negative`. The label `known_positives` of a recipe is one."""

    @property
    def siblings(self) -> str: ...
    @property
    def shared(self) -> str: ...
    @property
    def duplicates(self) -> str: ...
    @property
    def doubtful(self) -> str: ...


@dataclass(frozen=True)
class Block:
    """The ids of a step. Pairs are (row, passage); rows count from 0, PADDING marks places that hold nothing."""

    question_Q: Integers
    passage_P: Integers
    positive_row_N: Integers
    positive_N: Integers
    negative_row_N: Integers
    negative_N: Integers
    drawer_P: Integers | None = None
    """The row that each column was drawn for; None: a passage is one column, whoever drew it."""


@dataclass(frozen=True)
class Relations:
    """The two matrices, what was drawn for each row, and how many cells each rule decided."""

    positives_QP: Mask
    negatives_QP: Mask
    own_QP: Mask
    counts: dict[str, int] = field(default_factory=dict)


def build(
    block: Block,
    positives: PositiveIndex,
    text_hashes: NDArray[np.uint64],
    tiers: Iterable[str],
    policy: Policy,
    *,
    in_batch: bool,
) -> Relations:
    """The matrices of one step. `text_hashes` has the hash of every passage of the store, by row."""
    grid = _Grid(block)
    drawn_C = grid.drawn(block.positive_row_N, block.positive_N)
    exceptions = _exceptions(grid, drawn_C, positives, text_hashes, tiers)

    positive_C, ignored_C = [drawn_C], []
    for name, cells_C in exceptions.items():
        kind = getattr(policy, name)
        if kind == "positive":
            positive_C.append(cells_C)
        elif kind == "ignore":
            ignored_C.append(cells_C)
    real_Q, real_P = block.question_Q != PADDING, block.passage_P != PADDING
    positives_QP, negatives_QP, own_QP = np.zeros((3, len(real_Q), len(real_P)), dtype=bool)
    if in_batch:
        negatives_QP[real_Q] = real_P
    for mask_QP in (negatives_QP, own_QP):
        mask_QP.reshape(-1)[grid.drawn(block.negative_row_N, block.negative_N)] = True
    own_QP.reshape(-1)[drawn_C] = True
    for cells_C in positive_C:
        positives_QP.reshape(-1)[cells_C] = True
    for cells_C in (*positive_C, *ignored_C):
        negatives_QP.reshape(-1)[cells_C] = False

    counts = {name: len(cells_C) for name, cells_C in exceptions.items()}
    counts |= {"positive": int(np.count_nonzero(positives_QP)), "negative": int(np.count_nonzero(negatives_QP))}
    counts["ignored"] = int(real_Q.sum()) * int(real_P.sum()) - counts["positive"] - counts["negative"]
    return Relations(positives_QP, negatives_QP, own_QP, counts)


def _exceptions(
    grid: _Grid,
    drawn_C: Integers,
    positives: PositiveIndex,
    text_hashes: NDArray[np.uint64],
    tiers: Iterable[str],
) -> dict[str, Integers]:
    """Cells of rules 2 and 3 under the names that they have in a Policy; no cell has two names."""
    rows = np.flatnonzero(grid.block.question_Q != PADDING)
    owner_K, passage_K, tier_K = positives.known(grid.block.question_Q[rows])
    row_K, counts_K = rows[owner_K], np.isin(tier_K, tier_codes(tiers))
    known_C = grid.cells(row_K[counts_K], passage_K[counts_K])
    undrawn_C = _without(known_C, drawn_C)
    shared = grid.drawn_by_others(undrawn_C)
    doubtful_C = _without(grid.cells(row_K[~counts_K], passage_K[~counts_K]), drawn_C, known_C)
    copies_C = grid.copies(text_hashes, row_K[counts_K], passage_K[counts_K])
    copies_C = _without(copies_C, drawn_C, known_C, doubtful_C)
    doubtful_copies_C = grid.copies(text_hashes, row_K[~counts_K], passage_K[~counts_K])
    doubtful_copies_C = _without(doubtful_copies_C, drawn_C, known_C, doubtful_C, copies_C)
    return {
        "siblings": undrawn_C[~shared],
        "shared": undrawn_C[shared],
        "duplicates": copies_C,
        "doubtful": np.concatenate([doubtful_C, doubtful_copies_C]),
    }


class _Grid:
    """Numbers of cells. Padding may repeat, and no cell of it is ever named."""

    def __init__(self, block: Block) -> None:
        self.block, self.width = block, max(len(block.passage_P), 1)
        self.order = np.argsort(block.passage_P, kind="stable")
        self.sorted = block.passage_P[self.order]

    def cells(self, row_N: Integers, passage_N: Integers) -> Integers:
        """Cells of these pairs, each once, ascending; pairs whose passage is not in the block are left out."""
        real_N = (passage_N != PADDING) & (self.block.question_Q[row_N] != PADDING)
        row_M, place_M = _places(self.sorted, passage_N[real_N], row_N[real_N])
        return np.unique(row_M * self.width + self.order[place_M])

    def drawn(self, row_N: Integers, passage_N: Integers) -> Integers:
        """The cells in which rows have what was drawn for them."""
        cells_C = self.cells(row_N, passage_N)
        if self.block.drawer_P is None:
            return cells_C
        row_C, column_C = np.divmod(cells_C, self.width)
        return np.asarray(cells_C[self.block.drawer_P[column_C] == row_C])

    def drawn_by_others(self, cells_C: Integers) -> Mask:
        """Whether a row of a *different* question drew the passage of the cell as its positive."""
        question_Q, width = self.block.question_Q, self.width
        row_D, column_D = np.divmod(self.drawn(self.block.positive_row_N, self.block.positive_N), width)
        pairs = np.unique(question_Q[row_D] * width + column_D)  # (question, column), each once
        questions_P = np.bincount(pairs % width, minlength=width)
        row_C, column_C = np.divmod(cells_C, width)
        own_C = np.isin(question_Q[row_C] * width + column_C, pairs)
        return np.asarray(questions_P[column_C] > own_C, dtype=bool)

    def copies(self, text_hashes: NDArray[np.uint64], row_K: Integers, passage_K: Integers) -> Integers:
        """Cells whose passage has the text of one of these known positives of the row (itself included)."""
        column_R = np.flatnonzero(self.block.passage_P != PADDING)
        hash_R = text_hashes[self.block.passage_P[column_R]]
        order = np.argsort(hash_R, kind="stable")
        row_M, place_M = _places(hash_R[order], text_hashes[passage_K], row_K)
        return np.unique(row_M * self.width + column_R[order[place_M]])


def _places(sorted_N: NDArray[Any], wanted_K: NDArray[Any], row_K: Integers) -> tuple[Integers, Integers]:
    """Every place that holds a wanted value, with the row that wants it."""
    first_K = np.searchsorted(sorted_N, wanted_K, side="left")
    count_K = np.searchsorted(sorted_N, wanted_K, side="right") - first_K
    before_K = np.cumsum(count_K) - count_K
    return np.repeat(row_K, count_K), np.arange(int(count_K.sum())) + np.repeat(first_K - before_K, count_K)


def _without(cells_C: Integers, *others: Integers) -> Integers:
    """The cells that none of the others has."""
    return cells_C[~np.isin(cells_C, np.concatenate(others))]
