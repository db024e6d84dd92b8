"""Exact search: the k best passages of each question, streamed from memory-mapped shards within a budget of memory.

Three steps. A first pass in low precision gives every pair of question and passage an approximate score
(`mpr/search/_first_pass.py`), hence an interval that contains its written score (`mpr/search/_error_bounds.py`).
Passages whose interval ends below k others are dropped as the store streams by (`mpr/search/_survivors.py`). What is
left gets its written score and is put in the canonical order (`mpr/search/top_k.py`). Nothing has to be fetched again:
what was dropped was proved beaten.

The result is a function of the question's vector and the set of (row, vector) alone: not of the batch of questions, the
shards or their order, the threads, the budget, the device or the type of the first pass; and the k best are the first
of the k + 1 best.

Shapes: Q questions of a tile, B passages of a block, N pairs, K hits, D the width of a vector.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from mpr.errors import RecipeError
from mpr.search._error_bounds import Bound
from mpr.search._first_pass import PANEL, FirstPass
from mpr.search._survivors import BYTES, Survivors, Work, line_length
from mpr.search.shards import Places, Store
from mpr.search.top_k import TopK, exact_scores, refuse_depth, refuse_questions
from mpr.storage.ragged import Floats, Integers

TILE = 1024  # questions that meet a block at once
CELLS = {"cpu": 1 << 22, "cuda": 1 << 27}  # numbers in a block of vectors or of scores: what a cache or a GPU likes
TYPICAL = 100  # a depth; a deeper search makes its tiles smaller if it must
AT_ONCE = 256  # pairs that one thread scores at a time: their terms stay in its cache
WINDOW = 1 << 22  # bytes of the store within which vectors are read before its pages are released
AROUND = 1 << 21  # bytes that reading one vector may make resident: systems map large pages, and those around it
SLACK = 8 << 20  # interpreter, allocator and thread stacks
DEVICE_SHARE = 75  # percent of the free memory of a GPU that a search may take
DEVICE_SLACK = 64 << 20  # what libraries set up there for products, and what the allocator rounds up


@dataclass(frozen=True)
class DeviceShare:
    """How much of what is free on a GPU a search may take, and which key says so."""

    of_free: float = DEVICE_SHARE / 100
    key: str = "search.device"
    fix: str = "end what else uses the device, or search on the processor (CUDA_VISIBLE_DEVICES=)"


@dataclass(frozen=True)
class Room:
    """Bytes for a search: of the process, and of a device with memory of its own (None: the processor's is one)."""

    process: int
    device: int | None = None
    share: DeviceShare = field(default_factory=lambda: DeviceShare())


@dataclass(frozen=True)
class MemoryPlan:
    """How a search uses its memory."""

    questions: int
    passages: int
    working: Room

    @classmethod
    def of(cls, questions: int, k: int, width: int, room: Room, cuda: bool) -> MemoryPlan:
        """The largest tile and block that fit; a block's scores should stay in the processor's cache."""
        tile, cells = min(questions, TILE), CELLS["cuda" if cuda else "cpu"]
        panels = max(min(cells // tile, cells // width) // PANEL, 1)
        while True:
            working = _working(tile, panels * PANEL, k, width, room.device is not None)
            if working.process <= room.process and (room.device is None or (working.device or 0) <= room.device):
                return cls(tile, panels * PANEL, working)
            if tile == panels == 1:
                raise _too_small(working, room)
            panels, tile = (panels // 2, tile) if panels > 1 else (1, (tile + 1) // 2)


def _too_small(working: Room, room: Room) -> RecipeError:
    if working.process > room.process:
        needed = working.process
        what = f"a budget of {room.process:,} bytes is too small: one question and one block need {needed:,}"
        return RecipeError(what, key="search.budget_bytes", fix=f"allow at least {needed:,} bytes")
    what = f"the device has {room.device:,} bytes for a search: one question and one block need {working.device:,}"
    return RecipeError(what, key=room.share.key, fix=room.share.fix)


def _working(tile: int, block: int, k: int, width: int, apart: bool) -> Room:
    """Bytes at the peak: a block in two types and packed, its scores, survivors with what a cut copies, terms.

    `apart`: a device has copies of the block and of the questions, and the scores, of which few come back.
    """
    vectors = block * width * (4 + 2 + 2 + 8)
    scores = tile * block * (4 if apart else 2 + 4 + 1 + 4)
    survivors = tile * line_length(k) * (BYTES + 40)
    questions = tile * width * (4 + 4 + 8)
    terms = torch.get_num_threads() * (AT_ONCE * width * 20 + WINDOW + 2 * AROUND)
    process = vectors + scores + survivors + questions + terms + SLACK
    if not apart:
        return Room(process)
    return Room(process, (block + tile) * width * (4 + 2) + tile * block * (4 + 1 + 8) + DEVICE_SLACK)


def free_on(device: torch.device) -> int | None:
    """Free bytes of a device with memory of its own. What torch only holds for later use is given back first: the
    device would count it as used."""
    if device.type != "cuda":
        return None
    gc.collect()
    torch.cuda.empty_cache()
    return int(torch.cuda.mem_get_info(device)[0])


@dataclass
class Exact:
    """A store made ready for exact search. `work` counts what the searches had to do."""

    first: FirstPass
    room: Room
    work: Work = field(default_factory=Work)

    @classmethod
    def open(
        cls,
        store: Store,
        *,
        budget_bytes: int,
        device: str = "cpu",
        first_pass: str | None = None,
        free_on: Callable[[torch.device], int | None] = free_on,
        share: DeviceShare | None = None,
        remembers: bool = False,
    ) -> Exact:
        """Refuses numbers that are not finite, and keeps what fits beside working memory. It reads the store once, or,
        with `remembers`, only the first time: what was measured stays beside it.

        `budget_bytes` is what this and the searches may add to the memory of the process, pages of the store included.
        What lies on a GPU does not count: there, a share of what `free_on` reports now is the limit.
        """
        place, share = torch.device(device), share or DeviceShare()
        free = free_on(place)
        room = Room(budget_bytes, None if free is None else int(free * share.of_free), share)
        plan = MemoryPlan.of(TILE, TYPICAL, store.width, room, place.type == "cuda")
        working = plan.working
        size = sum(shard.vectors.nbytes for shard in store.shards)
        keeps = size + working.process <= budget_bytes
        spare = budget_bytes - working.process - (size if keeps else 0)
        if room.device is not None:
            spare = room.device - (working.device or 0)
        at_once = PANEL if place.type == "cpu" else max(min(plan.passages // (4 * PANEL), 8), 1) * PANEL
        spare = max(spare, 0) * 3 // 4
        apart = room.device is not None
        return cls(FirstPass.of(store, device, first_pass, spare, keeps, at_once, apart, remembers), room)

    def search(self, queries_QD: Floats, k: int) -> TopK:
        """The k best passages of each question."""
        store = self.first.store
        refuse_questions(queries_QD, store.width)
        refuse_depth(k, len(store))
        if not len(queries_QD):
            return TopK.none(0).padded(k)
        plan = MemoryPlan.of(len(queries_QD), k, store.width, self._left(), self.first.device.type == "cuda")
        starts = range(0, len(queries_QD), plan.questions)
        found = [self._tile(queries_QD[start : start + plan.questions], k, plan.passages) for start in starts]
        return TopK.joined(found)

    def _left(self) -> Room:
        """What is left for working memory beside the store's pages and what is kept of it, on a GPU if there is one."""
        kept = sum(kept_ND.nbytes for kept_ND in self.first.kept)
        pages = sum(shard.vectors.nbytes for shard in self.first.store.shards) if self.first.keeps else 0
        if self.room.device is None:
            return Room(self.room.process - kept - pages, None, self.room.share)
        return Room(self.room.process - pages, self.room.device - kept, self.room.share)

    def _tile(self, queries_QD: Floats, k: int, passages: int) -> TopK:
        store = self.first.store
        rescore = _Rescore(queries_QD, Places(tuple(store.shards)), self.first.keeps)
        survivors = Survivors(len(queries_QD), k, rescore, self.work)
        tensor_QD, norms = self.first.questions(queries_QD)
        for block in self.first.blocks(passages):
            scores_QB = self.first.scores(tensor_QD, self.first.vectors(block))
            bound = Bound.of(norms, block.norms, store.width, self.first.rounded_result)
            offset = int(rescore.places.offsets[block.shard]) + block.start
            _offer(survivors, scores_QB, bound, offset)
        self.work.questions += len(queries_QD)
        return survivors.best()


def _offer(survivors: Survivors, scores_QB: Tensor, bound: Bound, offset: int) -> None:
    """Hands on the pairs of a block whose interval reaches the floor of their question."""
    count = scores_QB.shape[1]
    if np.isneginf(survivors.floor_Q).any() and count >= survivors.k:
        kth_Q = _kth_best(scores_QB, survivors.k)
        lower_Q, _ = bound.ends(kth_Q, np.arange(len(kth_Q)))
        survivors.raise_floor(lower_Q)
    index_N, approx_N = _reaching(scores_QB, bound.least(survivors.floor_Q))
    question_N, column_N = np.divmod(index_N, count)
    lower_N, upper_N = bound.ends(approx_N, question_N)
    survivors.add(question_N, column_N + offset, lower_N, upper_N)


def _kth_best(scores_QB: Tensor, k: int) -> Floats:
    if scores_QB.device.type != "cpu":
        return scores_QB.topk(k, dim=1).values[:, -1].cpu().numpy()
    place = scores_QB.shape[1] - k
    return np.ascontiguousarray(np.partition(scores_QB.numpy(), place, axis=1)[:, place])


def _reaching(scores_QB: Tensor, least_Q: Floats) -> tuple[Integers, Floats]:
    """Flat index and score of every pair that reaches its question's least. numpy is the quicker one on a CPU."""
    if scores_QB.device.type != "cpu":
        reach_QB = scores_QB >= torch.from_numpy(least_Q).to(scores_QB.device)[:, None]
        index_N = reach_QB.flatten().nonzero()[:, 0]
        return index_N.cpu().numpy(), scores_QB.flatten()[index_N].cpu().numpy()
    flat = scores_QB.numpy().reshape(-1)
    found_N = np.flatnonzero(scores_QB.numpy() >= least_Q[:, None])
    return found_N, flat[found_N]


@dataclass(frozen=True)
class _Rescore:
    """Written scores of pairs, read in the order of the store, whatever the order of the pairs."""

    queries_QD: Floats
    places: Places
    keeps: bool

    def __call__(self, question_N: Integers, place_N: Integers) -> tuple[Integers, Floats]:
        score_N = np.empty(len(place_N), dtype=np.float32)
        order_N = np.argsort(place_N, kind="stable")
        windows = [order_N]
        if not self.keeps:  # groups of pairs that lie close together in the store need few of its pages at a time
            window_N = place_N[order_N] // max(WINDOW // (self.queries_QD.shape[1] * 4), 1)
            windows = np.split(order_N, np.flatnonzero(np.diff(window_N)) + 1)
        parts = [window[start : start + AT_ONCE] for window in windows for start in range(0, len(window), AT_ONCE)]

        def score(part: Integers) -> None:
            vectors_ND = self.places.vectors(place_N[part])
            score_N[part] = exact_scores(self.queries_QD[question_N[part]], vectors_ND)
            if not self.keeps:
                self.places.release(place_N[part])

        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            list(pool.map(score, parts))
        return self.places.rows(place_N), score_N
