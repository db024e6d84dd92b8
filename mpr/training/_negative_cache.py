"""Negatives remembered from earlier steps, of which one a question is encoded anew (Lindgren et al. 2021).

Of every passage that was a positive lately the vector is kept. A question's C remembered negatives enter its loss as
one score, which is known without encoding any of them:

    A = T ln sum_c e^(s_c / T),        s_c = inner product with the remembered vector, T the temperature of the loss

A loss in which negatives stand only inside such a sum (nll, joint_lh, sum_marg_lh, lse_pair) has with the one score A
the value that it has with the C scores. The gradient of A is the mean of the gradients of s_c under the softmax of
s_c / T. One passage drawn from that softmax and encoded with a graph gives an estimate of it, without bias but for the
age of the vectors: A + s' - stopgrad(s'), with s' the score of the fresh vector. What the loss makes of a change of A
is left to autograd, so that one line serves the four losses. In `bce` every negative has a factor of its own: refused.

Places that are empty are never scored or drawn, and neither is a passage that is a known positive of the question, of
whatever tier, or a negative of the question in the step anyhow. Which passage is drawn is a function of seed, draw and
place in the step. The cache is part of every checkpoint.

Which passage is where, the host knows: only vectors lie on the device. So a step waits for the device once, to learn
which passages were drawn.

Shapes: O questions of the step, P passages of the step, C places, S passages encoded anew, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mpr.batches.collate import Collator
from mpr.data.tokens import PADDING
from mpr.models import lengths
from mpr.models.towers import inner_products
from mpr.models.transfer import sent
from mpr.recipe import keys
from mpr.runtime import randomness
from mpr.runtime.processes import ALONE
from mpr.storage.ragged import Integers
from mpr.training import _block
from mpr.training._loss import Terms

EMPTY = -1
Known = Callable[[Integers, Integers], tuple[Integers, Integers]]
"""(questions, passages), rows of the split and the store -> the pairs that are no negatives, as places in both."""
Texts = Callable[[Tensor], Mapping[str, Any]]
"""Rows of passages -> their tokens, where the model is."""


class NegativeCache:
    """The remembered passages: their rows in the store, their vectors, and how many steps ago these were made. Vectors
    lie on the device, the rest on the host."""

    def __init__(self, settings: keys.NegativeCache, width: int, device: torch.device) -> None:
        self.policy = settings.policy
        self.row_C = torch.full((settings.size,), EMPTY, dtype=torch.int64)
        self.age_C = torch.zeros(settings.size, dtype=torch.int64)
        self.vector_CD = torch.zeros(settings.size, width, device=device)

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {"row_C": self.row_C, "age_C": self.age_C, "vector_CD": self.vector_CD}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        for name, kept in self.state().items():
            kept.copy_(state[name])

    def places(self, row_N: Tensor) -> Tensor:
        """Where each of these passages is; EMPTY for one that is not remembered."""
        order_C = self.row_C.argsort()
        sorted_C = self.row_C[order_C]
        place_N = torch.searchsorted(sorted_C, row_N).clamp_max(len(sorted_C) - 1)
        return torch.where((sorted_C[place_N] == row_N) & (row_N != EMPTY), order_C[place_N], EMPTY)

    def refresh(self, place_S: Tensor, vector_SD: Tensor) -> None:
        """The vectors of some places, made anew. Under `lru` these are now the last to go."""
        self.vector_CD[sent(place_S, self.vector_CD.device)] = vector_SD.to(self.vector_CD.dtype)
        if self.policy == "lru":
            self.age_C[place_S] = 0

    def add(self, row_N: Tensor, vector_ND: Tensor) -> None:
        """Remembers passages, no one twice, in the places of the oldest; a step has passed for all the others."""
        self.age_C += 1
        place_N = self.places(row_N)
        is_new_N = place_N == EMPTY
        old_M, new_M = ((~is_new_N).nonzero()[:, 0], is_new_N.nonzero()[:, 0])
        self.refresh(place_N[old_M], vector_ND[sent(old_M, vector_ND.device)])
        row_N, vector_ND = row_N[new_M], vector_ND[sent(new_M, vector_ND.device)]
        order_C = torch.where(self.row_C == EMPTY, torch.iinfo(torch.int64).max, self.age_C)
        place_N = order_C.argsort(descending=True, stable=True)[: len(row_N)]
        row_N, vector_ND = row_N[: len(place_N)], vector_ND[: len(place_N)]
        self.row_C[place_N], self.age_C[place_N] = row_N, 0
        self.vector_CD[sent(place_N, self.vector_CD.device)] = vector_ND.to(self.vector_CD.dtype)


@dataclass
class Stream:
    """The cache at work in a training run."""

    cache: NegativeCache
    known: Known
    texts: Texts
    temperature: float
    seed: int

    @classmethod
    def of(cls, cache: NegativeCache, collator: Collator, temperature: float, seed: int) -> Stream:
        """With the knowledge and the texts of a collator."""
        passages, device = collator.passages, cache.vector_CD.device
        assert passages is not None, "the rules of a recipe see to it that passages are encoded"
        return cls(
            cache,
            collator.known_among,
            lambda row_N: lengths.moved(passages.tokens(row_N.numpy()), device),
            temperature,
            seed,
        )

    def loss(self, model: _block.Model, batch: _block.Batch, terms: Terms) -> _block.Found:
        """The loss of a step; afterwards the cache knows this step."""
        own_OD, own_PD = model(question=batch["question"], passage=batch["passage"])
        remembered_O, watched = self._remembered(model, own_OD, batch)
        found = _block.vector_loss(own_OD, own_PD, batch, terms, ALONE, gather=True, remembered_O=remembered_O)
        column_N = torch.from_numpy(batch["positive_columns"])
        row_N = torch.from_numpy(batch["passage_rows"])[column_N]
        self.cache.add(row_N, own_PD.detach()[sent(column_N, own_PD.device)])
        return replace(found, more=watched)

    def _remembered(
        self, model: _block.Model, own_OD: Tensor, batch: _block.Batch
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """The score A of every question, NaN where nothing may be its negative."""
        device = own_OD.device
        place_F = (self.cache.row_C != EMPTY).nonzero()[:, 0]
        watched = {"cache_filled": torch.tensor(float(len(place_F)))}
        allowed_OC, surely = self._allowed(batch)
        there_F = sent(place_F, device)
        allowed_OF = allowed_OC[:, there_F]
        rows_R = surely if surely is not None else allowed_OF.any(dim=1).nonzero()[:, 0].cpu()
        if not len(rows_R):
            return None, watched
        at_R = sent(rows_R, device)
        score_RF = inner_products(own_OD.detach()[at_R], self.cache.vector_CD[there_F])
        score_RF = (score_RF / self.temperature).masked_fill(~allowed_OF[at_R], float("-inf"))
        chosen_R = drawn(score_RF, sent(self._uniform(int(batch["draw"]), rows_R), device))
        place_S, which_R = torch.unique(place_F[chosen_R.cpu()], return_inverse=True)
        _, fresh_SD = model(passage=self.texts(self.cache.row_C[place_S]))
        fresh_R = (own_OD[at_R] * fresh_SD[sent(which_R, device)].to(own_OD.dtype)).sum(dim=1)
        value_R = self.temperature * score_RF.logsumexp(dim=1)
        column_O = own_OD.new_full((len(own_OD),), float("nan"))
        column_O = column_O.index_put((at_R,), fresh_R + (value_R - fresh_R).detach())
        watched["cache_staleness"] = _error(self.cache.vector_CD[sent(place_S, device)], fresh_SD.detach())
        self.cache.refresh(place_S, fresh_SD.detach())
        return column_O, watched

    def _allowed(self, batch: _block.Batch) -> tuple[Tensor, Tensor | None]:
        """Which places hold a negative of each question that the step does not have already; and the rows that have
        one, where the host can tell: if the cache holds more than may be excluded, each question has."""
        device, row_C = batch["negatives_QP"].device, self.cache.row_C
        is_there_C = row_C != EMPTY
        real_O = torch.from_numpy(batch["question_rows"] != PADDING)
        row_N, column_N = self.known(batch["question_rows"], row_C.numpy())
        allowed_OC = sent(real_O, device)[:, None] & sent(is_there_C, device)
        allowed_OC[sent(torch.from_numpy(row_N), device), sent(torch.from_numpy(column_N), device)] = False
        place_P = self.cache.places(torch.from_numpy(batch["passage_rows"]))
        column_K = (place_P != EMPTY).nonzero()[:, 0]
        at_K = sent(place_P[column_K], device)
        allowed_OC[:, at_K] &= ~batch["negatives_QP"][:, sent(column_K, device)]
        excluded = int(np.bincount(row_N, minlength=1).max()) + len(column_K)
        surely = real_O.nonzero()[:, 0] if int(is_there_C.sum()) > excluded else None
        return allowed_OC, surely

    def _uniform(self, draw: int, rows_R: Tensor) -> Tensor:
        return torch.from_numpy(randomness.uniform(self.seed, "remembered negative", draw, rows_R.numpy()))


def drawn(score_RF: Tensor, uniform_R: Tensor) -> Tensor:
    """One column of each row, drawn from the softmax of its scores by where the row's number in (0, 1) falls."""
    edge_RF = score_RF.double().softmax(dim=1).cumsum(dim=1)
    column_R = torch.searchsorted(edge_RF, (uniform_R * edge_RF[:, -1])[:, None], right=True)[:, 0]
    last_R = score_RF.shape[1] - 1 - (score_RF > float("-inf")).flip(1).int().argmax(dim=1)
    return column_R.minimum(last_R)


def _error(old_SD: Tensor, new_SD: Tensor) -> Tensor:
    """How far remembered vectors were from what they should be: squared distance over squared length, mean."""
    new_SD = new_SD.to(old_SD.dtype)
    return ((old_SD - new_SD).square().sum(dim=1) / new_SD.square().sum(dim=1).clamp_min(1e-12)).mean()
