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

Shapes: O questions of the step, P passages of the step, C places, S passages encoded anew, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mpr.batches.collate import Collator
from mpr.models import lengths
from mpr.models.towers import inner_products
from mpr.recipe import keys
from mpr.runtime import randomness
from mpr.runtime.processes import ALONE
from mpr.training import _block
from mpr.training._loss import Terms

EMPTY = -1
Allowed = Callable[[Tensor, Tensor], Tensor]
"""(questions, passages) -> which passage may be a negative of which question, by rows of the split and the store."""
Texts = Callable[[Tensor], Mapping[str, Tensor]]
"""Rows of passages -> their tokens, where the model is."""


class NegativeCache:
    """The remembered passages: their rows in the store, their vectors, and how many steps ago these were made."""

    def __init__(self, settings: keys.NegativeCache, width: int, device: torch.device) -> None:
        self.policy = settings.policy
        self.row_C = torch.full((settings.size,), EMPTY, dtype=torch.int64, device=device)
        self.age_C = torch.zeros(settings.size, dtype=torch.int64, device=device)
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
        self.vector_CD[place_S] = vector_SD.to(self.vector_CD.dtype)
        if self.policy == "lru":
            self.age_C[place_S] = 0

    def add(self, row_N: Tensor, vector_ND: Tensor) -> None:
        """Remembers passages, no one twice, in the places of the oldest; a step has passed for all the others."""
        self.age_C += 1
        place_N = self.places(row_N)
        new_N = place_N == EMPTY
        self.refresh(place_N[~new_N], vector_ND[~new_N])
        row_N, vector_ND = row_N[new_N], vector_ND[new_N]
        order_C = torch.where(self.row_C == EMPTY, torch.iinfo(torch.int64).max, self.age_C)
        place_N = order_C.argsort(descending=True, stable=True)[: len(row_N)]
        row_N, vector_ND = row_N[: len(place_N)], vector_ND[: len(place_N)]
        self.row_C[place_N], self.age_C[place_N] = row_N, 0
        self.vector_CD[place_N] = vector_ND.to(self.vector_CD.dtype)


@dataclass
class Stream:
    """The cache at work in a training run."""

    cache: NegativeCache
    allowed: Allowed
    texts: Texts
    temperature: float
    seed: int

    @classmethod
    def of(cls, cache: NegativeCache, collator: Collator, temperature: float, seed: int) -> Stream:
        """With the knowledge and the texts of a collator."""
        passages, device = collator.passages, cache.row_C.device
        assert passages is not None, "the rules of a recipe see to it that passages are encoded"
        return cls(
            cache,
            lambda question_Q, row_C: torch.from_numpy(
                collator.negatives_among(question_Q.cpu().numpy(), row_C.cpu().numpy())
            ).to(device),
            lambda row_N: lengths.moved(passages.tokens(row_N.cpu().numpy()), device),
            temperature,
            seed,
        )

    def loss(self, model: _block.Model, batch: _block.Batch, terms: Terms) -> _block.Found:
        """The loss of a step; afterwards the cache knows this step."""
        own_OD, own_PD = model(question=batch["question"], passage=batch["passage"])
        remembered_O, watched = self._remembered(model, own_OD, batch)
        found = _block.vector_loss(own_OD, own_PD, batch, terms, ALONE, gather=True, remembered_O=remembered_O)
        column_N = batch["positives_QP"].any(dim=0).nonzero()[:, 0]
        self.cache.add(batch["passage_ids"][column_N], own_PD.detach()[column_N])
        return replace(found, more=watched)

    def _remembered(
        self, model: _block.Model, own_OD: Tensor, batch: _block.Batch
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """The score A of every question, NaN where nothing may be its negative."""
        place_F = (self.cache.row_C != EMPTY).nonzero()[:, 0]
        watched = {"cache_filled": torch.tensor(float(len(place_F)))}
        allowed_OF = self._allowed(batch)[:, place_F]
        rows_R = allowed_OF.any(dim=1).nonzero()[:, 0]
        if not len(rows_R):
            return None, watched
        score_RF = inner_products(own_OD.detach()[rows_R], self.cache.vector_CD[place_F])
        score_RF = (score_RF / self.temperature).masked_fill(~allowed_OF[rows_R], float("-inf"))
        chosen_R = drawn(score_RF, self._uniform(int(batch["draw"]), rows_R))
        place_S, which_R = torch.unique(place_F[chosen_R], return_inverse=True)
        _, fresh_SD = model(passage=self.texts(self.cache.row_C[place_S]))
        fresh_R = (own_OD[rows_R] * fresh_SD[which_R].to(own_OD.dtype)).sum(dim=1)
        value_R = self.temperature * score_RF.logsumexp(dim=1)
        column_O = own_OD.new_full((len(own_OD),), float("nan"))
        column_O = column_O.index_put((rows_R,), fresh_R + (value_R - fresh_R).detach())
        watched["cache_staleness"] = _error(self.cache.vector_CD[place_S], fresh_SD.detach())
        self.cache.refresh(place_S, fresh_SD.detach())
        return column_O, watched

    def _allowed(self, batch: _block.Batch) -> Tensor:
        """Which places hold a negative of each question that the step does not have already."""
        allowed_OC = self.allowed(batch["question_ids"], self.cache.row_C) & (self.cache.row_C != EMPTY)
        place_P = self.cache.places(batch["passage_ids"])
        column_K = (place_P != EMPTY).nonzero()[:, 0]
        allowed_OC[:, place_P[column_K]] &= ~batch["negatives_QP"][:, column_K]
        return allowed_OC

    def _uniform(self, draw: int, rows_R: Tensor) -> Tensor:
        found = randomness.uniform(self.seed, "remembered negative", draw, rows_R.cpu().numpy())
        return torch.from_numpy(found).to(rows_R.device)


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
