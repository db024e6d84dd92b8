"""Search for the k best passages: one call for one batch, and a search that several processes share.

Each process of a `Shared` search searches its share of the shards for its own best; the first one gets all of these
through torch's process group and merges them, batch after batch, to the bits of one search by one process. Nothing of
it is on disk before the ranking is: a search that is killed is begun anew.

A search may be done twice: pseudo-relevance feedback moves the questions towards what the first search found for them.

    q' = q + weight * mean of the vectors of the first n passages

The second search ranks the whole collection by q'. No passage is judged: a question whose first passages are wrong is
moved the wrong way, so n and weight are to be chosen on questions that are not evaluated. Source: the search of RANCE
(Prakash, Killingback and Zamani, SIGIR 2021).

Shapes: Q questions, K passages found for each, D the width of a vector, N passages that some question found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed

from mpr.recipe.keys import Feedback
from mpr.runtime import randomness
from mpr.runtime.processes import Group, Place
from mpr.runtime.progress import Progress, silent
from mpr.search.exact import Exact
from mpr.search.shards import Share, Store
from mpr.search.top_k import TopK, merge, recall, refuse_depth
from mpr.search.vectors import VectorStore
from mpr.storage.ragged import Floats, Integers

BATCH = 1_000  # questions searched at a time
SAMPLE = 1_000  # questions that an approximate search is compared with exact search on, at most
SEED = 0  # of that sample
TURNS = 4  # parts for each worker of a cluster, so that a slow one holds the others up less


def exact(
    queries_QD: Floats,
    store: Store,
    k: int,
    *,
    budget_bytes: int,
    device: str = "cpu",
    first_pass: str | None = None,
) -> TopK:
    """Exact search of one batch. To search one store many times, open it once: `Exact.open(store, ...).search(...)`."""
    return Exact.open(store, budget_bytes=budget_bytes, device=device, first_pass=first_pass).search(queries_QD, k)


def in_batches(
    search: Callable[[Floats, int], TopK],
    queries_QD: Floats,
    k: int,
    progress: Progress = silent,
) -> TopK:
    """The k best of each question, `BATCH` questions at a time."""
    found = [TopK.none(0).padded(k)]
    for start in range(0, len(queries_QD), BATCH):
        found.append(search(queries_QD[start : start + BATCH], k))
        progress(len(found[-1].rows_QK))
    return TopK.joined(found)


def moved_by_feedback(questions_QD: Floats, found: TopK, corpus: VectorStore, settings: Feedback) -> Floats:
    """The questions of the second search. Of a question that found fewer passages, the mean of those."""
    rows_QK = found.first(settings.documents).rows_QK
    rows_N, place = np.unique(rows_QK, return_inverse=True)
    vectors_ND = np.zeros((len(rows_N), corpus.width), dtype=np.float32)
    for shard in corpus.shards:
        place_M = np.flatnonzero(np.isin(shard.rows, rows_N))
        for at, target in zip(place_M, np.searchsorted(rows_N, shard.rows[place_M]), strict=True):
            vectors_ND[target] = shard.block(int(at), int(at) + 1)[0]
    found_ND = vectors_ND.astype(np.float64)
    found_ND[rows_N < 0] = 0.0  # places that hold nothing
    count_Q = np.maximum((rows_QK >= 0).sum(axis=1), 1)
    mean_QD = found_ND[place.reshape(rows_QK.shape)].sum(axis=1) / count_Q[:, None]
    moved_QD: Floats = (questions_QD + settings.weight * mean_QD).astype(np.float32)
    return moved_QD


def of_first(values: Floats, place: Place) -> Floats:
    """An array of the first process, on all of them: the others bring one of the same shape."""
    if place.world == 1:
        return values
    tensor = torch.from_numpy(values)
    distributed.broadcast(tensor, src=0)
    return tensor.numpy()


@dataclass
class Shared:
    """Exact search by all processes of a launch: every one opens it, and searches the same batches in the same order.

    The first process gets the hits; the others get as many empty places.
    """

    place: Place
    sizes: tuple[int, ...]
    """Passages of each process's share."""
    own: Exact | None
    """None: there are fewer shards than processes, and this one has none."""

    @classmethod
    def open(cls, store: Store, place: Place, *, budget_bytes: int, device: str = "cpu") -> Shared:
        """`budget_bytes` and `device` are those of this process."""
        shares = [Share.of(store, number, place.world) for number in range(place.world)]
        mine = shares[place.rank]
        about: dict[str, Any] = {"budget_bytes": budget_bytes, "device": device, "remembers": True}
        own = Exact.open(mine, **about) if len(mine) else None
        return cls(place, tuple(len(share) for share in shares), own)

    def search(self, queries_QD: Floats, k: int) -> TopK:
        refuse_depth(k, sum(self.sizes))
        depth = min(k, self.sizes[self.place.rank])
        found = TopK.none(len(queries_QD)) if self.own is None else self.own.search(queries_QD, depth)
        if self.place.world == 1:
            return found
        padded = found.padded(k)  # lists are of different lengths where a share is smaller than k
        rows, scores = _gathered(padded.rows_QK, self.place), _gathered(padded.scores_QK, self.place)
        if self.place.rank:
            return padded
        parts = zip(rows, scores, self.sizes, strict=True)
        return merge([TopK(rows_QK, scores_QK).first(size) for rows_QK, scores_QK, size in parts], k)


@dataclass(frozen=True)
class Parts:
    """Exact search of a store in parts, each by whoever takes it. What is found in a part is answered, not kept."""

    store: Store
    parts: int
    queries_QD: Floats
    k: int
    budget_bytes: int
    device: str

    @classmethod
    def search(
        cls,
        store: Store,
        queries_QD: Floats,
        k: int,
        group: Group,
        *,
        budget_bytes: int,
        device: str = "cpu",
        progress: Progress = silent,
    ) -> TopK:
        """The k best of each question. `budget_bytes` and `device` are those of each process that takes a part."""
        refuse_depth(k, len(store))
        parts = min(len(store.shards), TURNS * group.workers)
        best, told = TopK.none(len(queries_QD)), 0
        work = cls(store, parts, queries_QD, k, budget_bytes, device)
        for done, found in enumerate(group.map(work, range(parts)), start=1):
            best = merge([best, found], min(k, best.depth + found.depth))
            progress(len(queries_QD) * done // parts - told)
            told = len(queries_QD) * done // parts
        return best

    def result(self, part: int) -> None:
        return None

    def __call__(self, part: int, progress: Progress) -> TopK:
        share = Share.of(self.store, part, self.parts)
        opened = Exact.open(share, budget_bytes=self.budget_bytes, device=self.device)
        return in_batches(opened.search, self.queries_QD, min(self.k, len(share)))


def _gathered(array: NDArray[Any], place: Place) -> list[NDArray[Any]]:
    """This array of every process, on the first one."""
    own = torch.from_numpy(np.ascontiguousarray(array))
    found = [torch.empty_like(own) for _ in range(place.world)] if place.rank == 0 else None
    distributed.gather(own, found, dst=0)
    return [each.numpy() for each in found or ()]


@dataclass(frozen=True)
class Recall:
    """How much of what exact search finds an approximate search found."""

    questions: int
    """Compared, drawn with `SEED` if they are fewer than those of the split."""
    of: int
    seed: int
    at: dict[str, float]
    """Depth -> share of the first so many exact hits that are among the first so many found."""

    @classmethod
    def measured(cls, found: TopK, exact: TopK, of: int, cuts: Sequence[int]) -> Recall:
        """Of the same questions, at these cuts and at the depth of both."""
        depths = sorted({*(cut for cut in cuts if cut < exact.depth), exact.depth})
        at = {str(depth): recall(found.first(depth), exact.first(depth)) for depth in depths}
        return cls(len(exact.rows_QK), of, SEED, at)

    def __str__(self) -> str:
        values = ", ".join(f"{value:.4f} at {depth}" for depth, value in self.at.items())
        drawn = f"{self.questions:,} of {self.of:,}, drawn with seed {self.seed}"
        return f"recall of exact search: {values} (questions: {'all' if self.questions == self.of else drawn})"


def sample(questions: int) -> Integers:
    """Which of so many questions are compared with exact search: all of a small split, otherwise drawn by a seed."""
    return np.sort(randomness.permutation(SEED, "recall of exact search", questions)[:SAMPLE])
