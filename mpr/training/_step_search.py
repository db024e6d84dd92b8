"""A search in every step: the questions' vectors of the very step find its passages (LTRe, ADORE).

```
vectors of the step's questions -> the `depth` best of all frozen passages -> known positives among them are positives,
the others negatives, best first -> positives that were missed are appended, or not -> the two matrices, and the ranks
```

The search is exact (`mpr/search/exact.py`), or a faiss index proposes and full vectors decide; in the loss the scores
are always those of full vectors. So training sees what a search would show, and what a step holds is a function of the
weights and the questions alone, which makes a resumed run the unbroken one. Positives are told by id. A passage that
is known to be a positive of a tier that does not count, or beyond the cap, is no negative: what it is, the policy of
`known_positives` says. Ranks count from 1 in the list that was found; 0 stands for what is not in it, as are positives
that were appended.

Sources: LTRe ("Learning To Retrieve", Zhan et al. 2020) and ADORE (Zhan et al. 2021, arXiv 2104.08051).

Shapes: O own questions of this process, Q questions and P passages of the block, K hits of a question, N pairs of
(row, passage), D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

from mpr import storage
from mpr.batches.collate import Collator
from mpr.batches.draw import Step
from mpr.batches.pairs import Pairs
from mpr.batches.relations import Block
from mpr.data.tokens import PADDING
from mpr.errors import RecipeError
from mpr.models.transfer import all_sent, sent
from mpr.recipe.keys import Recipe
from mpr.recipe.keys_draw import Draw
from mpr.runtime.processes import Place
from mpr.search import faiss_index
from mpr.search.exact import DeviceShare, Exact
from mpr.search.top_k import TopK
from mpr.search.vectors import VectorStore
from mpr.storage.ragged import Integers
from mpr.training._fixed_passages import FixedPassages

Search = Callable[[NDArray[np.float32], int], TopK]
BUDGET = 2 << 30  # bytes that the search of a step may add to the process; it changes no result


def prepare(source: Any, store: VectorStore) -> None:
    """Builds and keeps the faiss index that the source asks for, if it asks for one."""
    if source.index != "exact" and not _index(source, store).exists():
        faiss_index.build(_index(source, store), store, source.index, store_digest=store.manifest.digest)


def opened(source: Any, store: VectorStore, device: torch.device, share: float) -> Search:
    """The search of a step, made ready for all of them. It comes before the model, which needs the rest of a GPU."""
    if source.index == "exact":
        fix = f"raise it ({share:g} now), or use a GPU with more memory"
        limit = DeviceShare(share, "refresh.device_share", fix)
        return Exact.open(store, budget_bytes=BUDGET, device=str(device), share=limit, remembers=True).search
    digest = store.manifest.digest
    return faiss_index.FaissIndex.open(_index(source, store), store, store_digest=digest).search


def _index(source: Any, store: VectorStore) -> Path:
    digest = storage.json_digest({"factory": source.index})
    return store.folder.with_name(f"{store.folder.name}-index-{digest[:8]}")


@dataclass(frozen=True)
class Searched:
    """The block of a step, the rank of every hit, and how many positives were hits."""

    block: Block
    hits: Pairs
    rank_N: Integers
    retrieved: int
    short: int


@dataclass(frozen=True)
class StepSearch:
    """Makes a whole batch of one that has questions only."""

    passages: FixedPassages
    search: Search
    collator: Collator
    config: Draw
    name: str
    depth: int

    @classmethod
    def of(cls, recipe: Recipe, store: VectorStore, collator: Collator, device: torch.device) -> StepSearch:
        source, passages = recipe.step_search, FixedPassages(store, device)
        if source.depth > len(store):
            what = f"source '{source.as_}' looks for the {source.depth:,} best of {len(store):,} passages"
            raise RecipeError(what, key="sources.depth", fix=f"choose a depth from 1 to {len(store):,}")
        assert recipe.refresh is not None
        search = opened(source, store, device, recipe.refresh.device_share)
        return cls(passages, search, collator, recipe.draw, source.as_, source.depth)

    def __call__(self, own_OD: Tensor, batch: Mapping[str, Any]) -> dict[str, Any]:
        step, place = self.collator.step(int(batch["draw"]))
        found = self.found(step, self._hits(own_OD, place))
        shortages = {self.name: found.short} if found.short else {}
        related = self.collator.as_batch(replace(step, block=found.block, shortages=shortages))
        related["ranks_QP"] = torch.from_numpy(_ranks(found))
        related["counts"]["retrieved"] = found.retrieved
        ready = all_sent(related, own_OD.device)
        return {**batch, **ready, "passage_PD": self.passages.vectors(found.block.passage_P)}

    def _hits(self, own_OD: Tensor, place: Place) -> Integers:
        """Rows of passages for every question of the block, those of other processes included."""
        hits = self.search(own_OD.detach().float().cpu().numpy(), self.depth)
        if place.world == 1:
            return hits.rows_QK
        own_OK = sent(torch.from_numpy(hits.rows_QK), own_OD.device)
        parts = [torch.empty_like(own_OK) for _ in range(place.world)]
        distributed.all_gather(parts, own_OK)
        return np.asarray(torch.cat(parts).cpu().numpy())

    def found(self, step: Step, rows_QK: Integers) -> Searched:
        """Who is who among the hits. `step` has every positive that may be drawn, and no negative."""
        block, questions = step.block, step.block.question_Q
        real_Q = np.flatnonzero(questions != PADDING)
        hits = Pairs(np.repeat(real_Q, rows_QK.shape[1]), rows_QK[real_Q].reshape(-1))
        owner_N, passage_N, _ = self.collator.drawer.positives.known(questions[real_Q])
        known = Pairs(real_Q[owner_N], passage_N)
        drawn = Pairs(block.positive_row_N, block.positive_N)
        is_hit_N = np.isin(drawn.keys(), hits.keys())
        if self.config.positives.append == "always":
            is_appended_N = ~is_hit_N
        else:
            has_hit_Q = np.bincount(drawn.row_N[is_hit_N], minlength=len(questions)) > 0
            is_appended_N = ~has_hit_Q[drawn.row_N]
        positive = drawn.at(is_hit_N | is_appended_N)
        wanted_Q = np.full(len(questions), self._most, dtype=np.int64)
        negative = hits.first(wanted_Q, known)
        seen = hits.at(np.isin(hits.keys(), known.keys()))
        passage_P = np.unique(np.concatenate([positive.passage_N, negative.passage_N, seen.passage_N]))
        pairs = positive.row_N, positive.passage_N, negative.row_N, negative.passage_N
        rank_N = np.tile(np.arange(1, rows_QK.shape[1] + 1, dtype=np.int64), len(real_Q))
        short = 0 if self.config.negatives[0].all else int(self._most * len(real_Q) - len(negative.row_N))
        return Searched(Block(questions, passage_P, *pairs), hits, rank_N, int(is_hit_N.sum()), short)

    @property
    def _most(self) -> int:
        """Negatives of a question, at most."""
        entry = self.config.negatives[0]
        return self.depth if entry.all else entry.k or 0


def _ranks(found: Searched) -> Integers:
    """Of every cell; 0 where the passage is none of the question's hits."""
    passage_P = found.block.passage_P
    ranks_QP = np.zeros((len(found.block.question_Q), len(passage_P)), dtype=np.int64)
    place_N = np.minimum(np.searchsorted(passage_P, found.hits.passage_N), len(passage_P) - 1)
    there_N = passage_P[place_N] == found.hits.passage_N
    ranks_QP[found.hits.row_N[there_N], place_N[there_N]] = found.rank_N[there_N]
    return ranks_QP
