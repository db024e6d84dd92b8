"""The postings of a BM25 index: which word is in which passage and how often, sorted on disk, then weighted.

Passages are taken in blocks. A block's postings are sorted by word (in the order of the words' hashes) and passage and
written to a run on disk. When all blocks are there, the counts of the whole collection are known: how many passages
have a word, and how long passages are on average. Then the runs are merged, one range of words after the other, each so
large as memory allows. So the result does not depend on blocks or ranges.

Shapes: N postings, W words, T tokens of a block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpr.storage import Stage
from mpr.storage.ragged import Integers, memory_map

_RUNS = {"run_words": "<i4", "run_counts": "<i4", "run_passages": "<i4", "run_times": "<i4"}
_BYTES = 48  # of memory for each posting that is merged at once: its passage, count, weight and what is computed of it


class Words(dict[bytes, int]):
    """The number of a word, by the piece of a text that it is; -1 for a piece of which nothing is indexed.

    A piece outside ASCII may hold several words. It has a number below -1, and they are in `several`.
    """

    _KNOWN = 1 << 22  # pieces that are remembered; of others the number is found each time

    def __init__(self, words: Callable[[str], list[str]]) -> None:
        """`words` gives what is indexed of a text."""
        super().__init__()
        self._words, self.numbers = words, dict[str, int]()
        self._several = list[list[int]]()

    def __missing__(self, piece: bytes) -> int:
        found = [self.numbers.setdefault(word, len(self.numbers)) for word in self._words(piece.decode())]
        number = -1 if not found else found[0]
        if len(found) > 1:
            self._several.append(found)
            number = -1 - len(self._several)
        if len(self) < self._KNOWN or len(found) > 1:
            self[piece] = number
        return number

    def apart(self, number_T: NDArray[np.int32], owner_T: Integers) -> tuple[NDArray[np.int32], Integers]:
        """Numbers of words alone, each with the passage that it is in; words of one passage in any order."""
        several = [self._several[-2 - number] for number in number_T[number_T < -1].tolist()]
        more = np.fromiter(chain.from_iterable(several), np.int32)
        owner_M = np.repeat(owner_T[number_T < -1], [len(found) for found in several])
        is_one_T = number_T >= 0
        return np.concatenate([number_T[is_one_T], more]), np.concatenate([owner_T[is_one_T], owner_M])


class Runs:
    """The sorted postings of blocks of passages, in files of a stage that are removed at the end."""

    def __init__(self, stage: Stage) -> None:
        self._stage, self._files = stage, {name: stage.open(f"{name}.bin") for name in _RUNS}
        self._ends: list[tuple[int, int]] = [(0, 0)]  # of each run, in words and in postings
        self._lengths: list[NDArray[np.int32]] = []

    def add(self, passages: int, number_T: NDArray[np.int32], owner_T: Integers, hash_W: NDArray[np.uint64]) -> None:
        """The passages that come next: numbers of their words, the place of each word's passage, the words' hashes."""
        first = sum(map(len, self._lengths))
        self._lengths.append(np.bincount(owner_T, minlength=passages).astype(np.int32))
        own_W = np.flatnonzero(np.bincount(number_T, minlength=len(hash_W)))
        own_W = own_W[np.argsort(hash_W[own_W])]
        place_W = np.zeros(len(hash_W), dtype=np.int64)
        place_W[own_W] = np.arange(len(own_W))
        key_T = np.sort(place_W[number_T] * passages + owner_T)
        start_N = np.flatnonzero(np.diff(key_T, prepend=-1))
        place_N, owner_N = np.divmod(key_T[start_N], passages)
        columns = {
            "run_words": own_W,
            "run_counts": np.bincount(place_N, minlength=len(own_W)),
            "run_passages": owner_N + first,
            "run_times": np.diff(start_N, append=len(key_T)),
        }
        for name, values in columns.items():
            self._files[name].write(values.astype(_RUNS[name]).data)
        words, postings = self._ends[-1]
        self._ends.append((words + len(own_W), postings + len(start_N)))

    def merged(
        self, hash_W: NDArray[np.uint64], k1: float, b: float, budget_bytes: int
    ) -> tuple[Integers, Iterator[tuple[NDArray[np.float32], NDArray[np.int32]]]]:
        """Where each word's postings begin, in the order of the hashes, and the weights and passages part by part."""
        for file in self._files.values():
            file.close()
        maps = {name: np.asarray(memory_map(self._stage.folder / f"{name}.bin", kind)) for name, kind in _RUNS.items()}
        place_W = np.empty(len(hash_W), dtype=np.int64)
        place_W[np.argsort(hash_W)] = np.arange(len(hash_W))
        having_W = np.zeros(len(hash_W), dtype=np.int64)
        for (first, _), (last, _) in zip(self._ends, self._ends[1:], strict=False):
            having_W[place_W[maps["run_words"][first:last]]] += maps["run_counts"][first:last]
        starts = np.concatenate([[0], np.cumsum(having_W)])
        length_P = np.concatenate(self._lengths)
        # bm25s's arithmetic: in 64 bits, the weight of a word and then the product rounded to 32.
        average = int(length_P.sum(dtype=np.int64)) / len(length_P)
        norm_L = k1 * ((1 - b) + b * np.arange(int(length_P.max()) + 1) / average)
        found, own_W = np.unique(having_W, return_inverse=True)
        idf_F = [math.log(1 + (len(length_P) - df + 0.5) / (df + 0.5)) for df in found.tolist()]
        idf_W = np.array(idf_F, dtype=np.float32)[own_W]

        def parts() -> Iterator[tuple[NDArray[np.float32], NDArray[np.int32]]]:
            at_once, low = max(1, budget_bytes // _BYTES), 0
            while low < len(hash_W):
                high = max(low + 1, int(np.searchsorted(starts, starts[low] + at_once, side="right")) - 1)
                passage_N, times_N = self._gathered(maps, place_W, starts, low, high)
                idf_N = np.repeat(idf_W[low:high], having_W[low:high])
                weight_N = idf_N * (times_N / (norm_L[length_P[passage_N]] + times_N))
                yield weight_N.astype(np.float32), passage_N
                low = high
            for name in _RUNS:
                self._stage.discard(f"{name}.bin")

        return starts, parts()

    def _gathered(
        self, maps: dict[str, Any], place_W: Integers, starts: Integers, low: int, high: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Passages and counts of the words from `low` to `high`, those of each word together."""
        size = int(starts[high] - starts[low])
        passage_N, times_N = np.empty(size, dtype=np.int32), np.empty(size, dtype=np.int32)
        next_W = starts[low:high] - starts[low]
        for (first, posting), (last, _) in zip(self._ends, self._ends[1:], strict=False):
            words, counts = place_W[maps["run_words"][first:last]], maps["run_counts"][first:last]
            start, end = np.searchsorted(words, (low, high))
            own, many = words[start:end] - low, counts[start:end]
            posting += int(counts[:start].sum(dtype=np.int64))
            total = int(many.sum(dtype=np.int64))
            to_N = np.repeat(next_W[own] - np.cumsum(many) + many, many) + np.arange(total)
            passage_N[to_N] = maps["run_passages"][posting : posting + total]
            times_N[to_N] = maps["run_times"][posting : posting + total]
            next_W[own] += many
        return passage_N, times_N
