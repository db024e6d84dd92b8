"""Retrieval measures during training: development questions against the pool of their own passages.

The pool holds every known positive of the questions and the first candidates of each. Measures do not depend on the
number of processes or on a batch size, unlike an in-batch loss. `average_rank` is DPR's way of choosing a checkpoint:
the mean 0-based rank of the first listed positive among the whole pool.

Shapes: Q questions, P passages of the pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mpr.collate import Side
from mpr.errors import DataError
from mpr.positives import PositiveIndex
from mpr.ragged import Ragged
from mpr.towers import Towers

CUTS = (1, 5, 20, 100)


@dataclass(frozen=True)
class DevPool:
    """Which rows of the stores take part."""

    questions: Side
    passages: Side
    question_Q: NDArray[np.int64]
    passage_P: NDArray[np.int64]
    positive_pairs: tuple[NDArray[np.int64], NDArray[np.int64]]
    batch: int

    @classmethod
    def of(
        cls,
        questions: Side,
        passages: Side,
        positives: PositiveIndex,
        candidates: Sequence[Ragged],
        *,
        at_most: int,
        each: int,
        batch: int,
    ) -> DevPool:
        """The first `at_most` questions that have a positive, with the first `each` candidates of every source."""
        question_Q = np.flatnonzero(positives.rows.lengths())[:at_most]
        if not len(question_Q):
            raise DataError(
                "no development question has a positive", key="validation.split", fix="choose another split"
            )
        owner, passage, _ = positives.known(question_Q)
        extra = []
        for ragged in candidates:
            _, places = ragged.places(question_Q, np.minimum(ragged.lengths(question_Q), each))
            extra.append(ragged.columns["passage"][places])
        pool = np.unique(np.concatenate([passage, *extra]))
        return cls(questions, passages, question_Q, pool, (owner, np.searchsorted(pool, passage)), batch)

    def __call__(self, towers: Towers) -> dict[str, float]:
        """Encodes with the model as it is now; exact search; ties are broken by the passage's row."""
        device = next(towers.parameters()).device
        passages_P = self._vectors(towers, self.passages, self.passage_P, "passage", device)
        questions_Q = self._vectors(towers, self.questions, self.question_Q, "question", device)
        rank_N = torch.cat([self._ranks(part, questions_Q, passages_P) for part in self._parts()])
        owner_N = torch.from_numpy(self.positive_pairs[0])
        best_Q = torch.full((len(self.question_Q),), len(self.passage_P), dtype=torch.long)
        best_Q = best_Q.scatter_reduce(0, owner_N, rank_N, "amin")
        first = np.flatnonzero(
            np.diff(self.positive_pairs[0], prepend=-1)
        )  # the first listed positive of each question
        found = {f"top{cut}": float((best_Q < cut).float().mean()) for cut in CUTS if cut <= len(self.passage_P)}
        found["mrr"] = float((1.0 / (best_Q.double() + 1.0)).mean())
        found["average_rank"] = float(rank_N[torch.from_numpy(first)].double().mean())
        return found

    def _parts(self) -> list[NDArray[np.int64]]:
        pairs = np.arange(len(self.positive_pairs[0]))
        return np.array_split(pairs, max(1, len(pairs) // 4_096 + 1))

    def _ranks(self, part: NDArray[np.int64], questions_Q: Tensor, passages_P: Tensor) -> Tensor:
        """0-based rank of each (question, positive) pair: how many passages score higher, or equal and stand before."""
        owner, column = (torch.from_numpy(side[part]) for side in self.positive_pairs)
        scores = questions_Q[owner.to(questions_Q.device)] @ passages_P.T
        own = scores.gather(1, column.to(scores.device)[:, None])
        before = torch.arange(len(passages_P), device=scores.device)[None, :] < column.to(scores.device)[:, None]
        return ((scores > own) | ((scores == own) & before)).sum(dim=1).cpu()

    def _vectors(self, towers: Towers, side: Side, rows: NDArray[np.int64], name: str, device: torch.device) -> Tensor:
        """Vectors in the order of `rows`, encoded in order of length so that little is padding."""
        order = np.argsort(side.store.text.lengths(rows), kind="stable")
        parts = []
        for start in range(0, len(rows), self.batch):
            tokens = side.tokens(rows[order[start : start + self.batch]])
            tokens = {key: value.to(device) for key, value in tokens.items()}
            question, passage = towers(**{name: tokens})
            parts.append(question if name == "question" else passage)
        vectors = torch.cat(parts).float()
        restored = torch.empty_like(vectors)
        restored[torch.from_numpy(order).to(device)] = vectors
        return restored
