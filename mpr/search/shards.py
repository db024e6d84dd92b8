"""What a search needs of a store of vectors: shards of a width, each vector with the row of its passage.

A shard is memory-mapped; reading it makes pages of the file resident, which count as this process's memory. `release`
gives them back (the system keeps what it likes in its own cache), so that a search over a store of any size stays
within its budget.

Shapes: D the width of a vector, N vectors asked for.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mpr.errors import DataError
from mpr.storage.ragged import Floats, Integers


class Shard(Protocol):
    """`vectors` are float32, float16, or uint16 that hold the bits of bfloat16, as `dtype` says."""

    @property
    def rows(self) -> Integers: ...

    @property
    def vectors(self) -> NDArray[Any]: ...

    @property
    def dtype(self) -> str: ...

    def block(self, start: int, stop: int) -> Floats: ...


class Store(Protocol):
    @property
    def width(self) -> int: ...

    @property
    def shards(self) -> Sequence[Shard]: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Share:
    """The shards of a store that one of several processes searches; `merge` makes one result of all shares."""

    width: int
    shards: tuple[Shard, ...]

    @classmethod
    def of(cls, store: Store, number: int, processes: int) -> Share:
        if not 0 <= number < processes:
            raise DataError(f"there is no share {number} of {processes}", key="share", fix="number them from 0")
        return cls(store.width, tuple(store.shards[number::processes]))

    def __len__(self) -> int:
        return sum(len(shard.rows) for shard in self.shards)


@dataclass(frozen=True)
class Places:
    """Every vector of a store by one number: shard after shard, in the order they lie there."""

    shards: tuple[Shard, ...]

    @cached_property
    def offsets(self) -> Integers:
        return np.cumsum([0, *(len(shard.rows) for shard in self.shards)], dtype=np.int64)

    @cached_property
    def place_of(self) -> Integers:
        """The place of each row: a store holds texts in an order of its own."""
        row_N = np.concatenate([shard.rows for shard in self.shards])
        place_of = np.empty(len(row_N), dtype=np.int64)
        place_of[row_N] = np.arange(len(row_N))
        return place_of

    def rows(self, places_N: Integers) -> Integers:
        """The passage at each place."""
        rows_N = np.empty(len(places_N), dtype=np.int64)
        for chosen, shard, inside in self._by_shard(places_N):
            rows_N[chosen] = shard.rows[inside]
        return rows_N

    def vectors(self, places_N: Integers) -> Floats:
        """The vector at each place, widened to 32 bits, which changes no number."""
        width = self.shards[0].vectors.shape[1]
        vectors_ND = np.empty((len(places_N), width), dtype=np.float32)
        for chosen, shard, inside in self._by_shard(places_N):
            vectors_ND[chosen] = widened(shard.vectors[inside], shard.dtype)
        return vectors_ND

    def release(self, places_N: Integers) -> None:
        """Lets go of the shards in which these places lie, and of no others: there may be hundreds."""
        for number in np.unique(self._shard_N(places_N)):
            release(self.shards[number].vectors)

    def _shard_N(self, places_N: Integers) -> Integers:
        return np.searchsorted(self.offsets, places_N, side="right") - 1

    def _by_shard(self, places_N: Integers) -> list[tuple[Integers, Shard, Integers]]:
        shard_N = self._shard_N(places_N)
        found = []
        for number in np.unique(shard_N):
            chosen = np.flatnonzero(shard_N == number)
            found.append((chosen, self.shards[number], places_N[chosen] - self.offsets[number]))
        return found


def widened(vectors: NDArray[Any], dtype: str) -> Floats:
    """Stored numbers as float32, exactly. bfloat16 is the upper half of a float32."""
    if dtype == "bfloat16":
        return (vectors.astype(np.uint32) << 16).view(np.float32)
    return vectors.astype(np.float32, copy=False)


def release(array: NDArray[Any]) -> None:
    """Lets go of the resident pages of a memory-mapped array. Its content stays where it is, on disk."""
    base: Any = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = base.obj if isinstance(base, memoryview) else getattr(base, "base", None)
    if base is not None and hasattr(base, "madvise"):
        base.madvise(mmap.MADV_DONTNEED)
