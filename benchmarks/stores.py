"""A matrix in the form in which an exact search takes vectors, for benchmarks of searching."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Shard:
    rows: Any
    vectors: Any
    dtype: str = "float32"

    def block(self, start: int, stop: int) -> Any:
        return np.asarray(self.vectors[start:stop], dtype=np.float32)


@dataclass(frozen=True)
class Store:
    width: int
    shards: tuple[Shard, ...]

    def __len__(self) -> int:
        return len(self.shards[0].rows)
