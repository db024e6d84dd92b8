"""Stores of vectors for the tests of search: in memory or memory-mapped, split and shuffled as a test likes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpr.search.top_k import TopK


@dataclass(frozen=True)
class MemoryShard:
    rows: NDArray[np.int64]
    vectors: NDArray[Any]
    dtype: str

    def block(self, start: int, stop: int) -> NDArray[np.float32]:
        return true_values(self.vectors[start:stop], self.dtype)


@dataclass(frozen=True)
class MemoryStore:
    width: int
    shards: tuple[MemoryShard, ...]

    def __len__(self) -> int:
        return sum(len(shard.rows) for shard in self.shards)


def true_values(stored: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    """Written apart from the package: bfloat16 bits as the upper half of a float32."""
    if dtype != "bfloat16":
        return np.asarray(stored, dtype=np.float32)
    halves = np.zeros((*stored.shape, 2), dtype="<u2")
    halves[..., 1] = stored
    return halves.view("<f4")[..., 0]


def stored_as(vectors_ND: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    """float32 and float16 round as numpy does; bfloat16 is cut, which is as good as any rounding here."""
    if dtype == "bfloat16":
        return (np.ascontiguousarray(vectors_ND, dtype="<f4").view("<u4") >> 16).astype(np.uint16)
    return vectors_ND.astype(dtype)


def store_of(
    vectors_ND: NDArray[np.float32], shards: int = 1, dtype: str = "float32", seed: int = 0, folder: Path | None = None
) -> MemoryStore:
    """Passage row i has vector i. Rows are shuffled over `shards` of unequal size; with a folder, they are mapped."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(vectors_ND)) if shards > 1 or seed else np.arange(len(vectors_ND))
    cuts = np.sort(rng.choice(np.arange(1, len(vectors_ND)), shards - 1, replace=False)) if shards > 1 else []
    made = []
    for number, rows in enumerate(np.split(order, cuts)):
        stored = stored_as(vectors_ND[rows], dtype)
        if folder is not None:
            stored.tofile(folder / f"{number}.bin")
            stored = np.memmap(folder / f"{number}.bin", dtype=stored.dtype, mode="r", shape=stored.shape)
        made.append(MemoryShard(rows.astype(np.int64), stored, dtype))
    return MemoryStore(vectors_ND.shape[1], tuple(made))


def brute_force(queries_QD: NDArray[np.float32], vectors_ND: NDArray[np.float32], k: int) -> TopK:
    """All scores in 64 bits by matrix product, rounded once, sorted by (score down, row up)."""
    scores_QN = (queries_QD.astype(np.float64) @ vectors_ND.astype(np.float64).T).astype(np.float32)
    rows = [sorted(range(len(vectors_ND)), key=lambda row: (-line[row], row))[:k] for line in scores_QN]
    rows_QK = np.array(rows, dtype=np.int64)
    return TopK(rows_QK, np.take_along_axis(scores_QN, rows_QK, axis=1))


def same(one: TopK, other: TopK) -> bool:
    return bool(
        np.array_equal(one.rows_QK, other.rows_QK)
        and np.array_equal(one.scores_QK.view(np.uint32), other.scores_QK.view(np.uint32))
    )
