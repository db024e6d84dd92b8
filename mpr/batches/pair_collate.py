"""A draw becomes a batch of pairs: every row's question with the passages drawn for it, each pair read as one text.

Of the block of scores only those cells exist that are positive or negative for their row. A cross-encoder scores them
one by one, so passages of other rows cost as much as a row's own ones, and none are taken: there is nothing in-batch.
Every process has a block of its own, its rows with their passages.

Shapes: Q rows of this process, P passages of its block, N pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mpr.batches import collate, relations
from mpr.batches.draw import Drawer
from mpr.batches.policy import Policy
from mpr.batches.targets import NOTHING, Targets
from mpr.data.token_batches import PairTexts
from mpr.runtime.processes import ALONE, Place


@dataclass(frozen=True)
class PairCollator:
    """Called by a DataLoader with draw numbers; returns the batch of that one draw."""

    drawer: Drawer
    texts: PairTexts
    text_hashes: NDArray[np.uint64]
    tiers: tuple[str, ...]
    policy: Policy
    place: Place = ALONE
    targets: Targets = NOTHING

    def __call__(self, numbers: Sequence[int]) -> dict[str, Any]:
        step = self.drawer(collate.only(numbers))
        block = collate.apart(step.block, self.place)
        related = relations.build(
            block, self.drawer.positives, self.text_hashes, self.tiers, self.policy, in_batch=False
        )
        row_N, column_N = np.nonzero(related.positives_QP | related.negatives_QP)
        return {
            "draw": step.number,
            "question_ids": torch.from_numpy(block.question_Q),
            "pair": self.texts.tokens(block.question_Q[row_N], block.passage_P[column_N]),
            "cell_N": torch.from_numpy(row_N * len(block.passage_P) + column_N),
            **collate.told(replace(step, block=block), related, self.targets),
        }
