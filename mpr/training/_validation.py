"""Retrieval during training: the ranks of development questions' positives in the pool of their own passages.

The pool holds every counting positive of the questions and the first candidates of each. Ranks do not depend on the
number of processes or on a batch size, unlike an in-batch loss: processes deal the work out and add up what they found.
`mpr/metrics/ranks.py` makes measures of the ranks.

Shapes: Q questions, P passages of the pool, N (question, positive) pairs, W size of the vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed

from mpr.data.token_batches import Side
from mpr.errors import DataError
from mpr.models import lengths
from mpr.models.towers import inner_products
from mpr.models.transfer import sent
from mpr.runtime.processes import ALONE, Place
from mpr.runtime.progress import bar
from mpr.storage.ragged import Integers, Ragged

CELLS = 1 << 25  # scores that are held at a time: 128 MB
Model = Callable[..., tuple[Any, Any]]
"""Called as model(question=tokens) or model(passage=tokens); gives the vectors of either side, or None."""


@dataclass(frozen=True)
class DevPool:
    """Which rows of the stores take part."""

    questions: Side
    passages: Side
    question_Q: Integers
    passage_P: Integers
    owner_N: Integers
    """Which of `question_Q` a pair belongs to; a question's pairs are in the order of its positives."""
    column_N: Integers
    """Which of `passage_P` is its positive."""
    batch: int
    place: Place = ALONE
    quiet: bool = True

    @classmethod
    def of(
        cls,
        questions: Side,
        passages: Side,
        positives: Ragged,
        candidates: Sequence[Ragged],
        *,
        at_most: int,
        each: int,
        batch: int,
        place: Place = ALONE,
        quiet: bool = True,
    ) -> DevPool:
        """The first `at_most` questions that have a positive, with the first `each` candidates of every source."""
        question_Q = np.flatnonzero(positives.lengths())[:at_most]
        if not len(question_Q):
            what = "no development question has a positive of a tier that counts"
            raise DataError(what, key="validation.split", fix="choose another split, or see labels.tiers")
        owner_N, places = positives.places(question_Q)
        positive_N = np.asarray(positives.columns["passage"][places], dtype=np.int64)
        extra = []
        for ragged in candidates:
            _, places = ragged.places(question_Q, np.minimum(ragged.lengths(question_Q), each))
            extra.append(ragged.columns["passage"][places])
        pool = np.unique(np.concatenate([positive_N, *extra]))
        column_N = np.searchsorted(pool, positive_N)
        return cls(questions, passages, question_Q, pool, owner_N, column_N, batch, place, quiet)

    def ranks(self, model: Model, device: torch.device) -> Integers:
        """0-based rank of every pair's positive, with the model as it is now, on every process.

        How many passages score higher, or equal and stand before in the store: a tie has one outcome. Every process
        calls the model equally often, as a model that is sharded over processes needs.
        """
        question_QW = self._vectors(model, self.questions, self.question_Q, "question", device)
        passage_PW = self._vectors(model, self.passages, self.passage_P, "passage", device)
        rank_N = torch.zeros(len(self.owner_N), dtype=torch.long, device=device)
        size = max(1, CELLS // len(self.passage_P))
        for number, start in enumerate(range(0, len(rank_N), size)):
            if number % self.place.world == self.place.rank:
                part = slice(start, start + size)
                rank_N[part] = self._ranks(part, question_QW, passage_PW)
        return np.asarray(self._added(rank_N).cpu().numpy())

    def _ranks(self, part: slice, question_QW: Tensor, passage_PW: Tensor) -> Tensor:
        owner_N, column_N = (
            torch.from_numpy(side[part]).to(passage_PW.device) for side in (self.owner_N, self.column_N)
        )
        score_NP = inner_products(question_QW[owner_N], passage_PW)
        own_N1 = score_NP.gather(1, column_N[:, None])
        before_NP = torch.arange(score_NP.shape[1], device=score_NP.device) < column_N[:, None]
        return ((score_NP > own_N1) | ((score_NP == own_N1) & before_NP)).sum(dim=1)

    def _vectors(self, model: Model, side: Side, rows: Integers, name: str, device: torch.device) -> Tensor:
        """Vectors of `rows`, encoded in order of length so that little is padding, batch by batch in turn."""
        rank, processes = self.place.rank, self.place.world
        order = np.argsort(side.store.title.lengths(rows) + side.store.text.lengths(rows), kind="stable")
        batches = [order[start : start + self.batch] for start in range(0, len(rows), self.batch)]
        found = None
        turns = range(rank, len(batches) + rank, processes)
        with bar(f"{name}s of the validation", len(turns), self.quiet) as progress:
            for turn in turns:
                places = batches[turn % len(batches)]  # past the end once more from the front, to keep up with others
                question, passage = model(**{name: lengths.moved(side.tokens(rows[places]), device)})
                vectors_NW = (question if name == "question" else passage).float()
                if found is None:
                    found = torch.zeros(len(rows), vectors_NW.shape[1], device=device)
                if turn < len(batches):
                    found[sent(torch.from_numpy(places), device)] = vectors_NW
                progress(1)
        assert found is not None
        return self._added(found)

    def _added(self, part: Tensor) -> Tensor:
        """Sums over processes of what each left zero where another worked."""
        if self.place.world > 1:
            distributed.all_reduce(part)
        return part
