"""Vectors on disk in committed shards: memory-mapped, resumable, and found out when a shard is lost or swapped.

```
<name>/00000/rows.bin      row of the text that each vector is of (int64)
            /vectors.bin   the vectors, N x W, as float32, float16 or the upper half of a float32 (bfloat16)
            /manifest.json number of this shard, of how many, what was encoded by what
<name>/manifest.json       written last; binds all of that
```

Unfinished work lies in the hidden folder in which every artefact is built (`.<name>.staging`), but is kept: a shard is
committed there as an artefact of its own, and the next start goes on after the last one. The final name appears with
the last shard.

Shapes: N vectors, W their width.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpr import storage
from mpr.errors import RecipeError, StorageError
from mpr.search.shards import widened
from mpr.storage.ragged import Floats, memory_map

KIND = "vectors"
SHARD = "shard of vectors"
DTYPES = {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2"}
ROWS, VECTORS = "rows.bin", "vectors.bin"
ROW_BYTES = 8
FORK = "--folder, or --fork NAME of `mpr reproduce`"  # how one says another run folder
_NAME = re.compile(r"\d{5,}")


def packed(vectors_NW: Floats, dtype: str) -> NDArray[Any]:
    """As they are stored, rounded to the nearest (to even in the middle). What overflows becomes infinite."""
    if dtype != "bfloat16":
        with np.errstate(over="ignore"):
            return vectors_NW.astype(DTYPES[dtype])
    bits_NW = np.ascontiguousarray(vectors_NW, dtype="<f4").view("<u4")
    rounded_NW: NDArray[Any] = (bits_NW + 0x7FFF + (bits_NW >> 16 & 1)) >> 16
    return rounded_NW.astype("<u2")


@dataclass(frozen=True)
class StoredShard:
    """Vectors `number` of so many shards, with the row of each."""

    folder: Path
    width: int
    dtype: str

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        return memory_map(self.folder / ROWS, "<i8")

    @cached_property
    def vectors(self) -> NDArray[Any]:
        return memory_map(self.folder / VECTORS, DTYPES[self.dtype]).reshape(-1, self.width)

    def __len__(self) -> int:
        return len(self.rows)

    def block(self, start: int, stop: int) -> Floats:
        """Vectors of these places in 32 bits."""
        return widened(self.vectors[start:stop], self.dtype)


class VectorStore(storage.Opened):
    """Read access. Opening reads manifests and checks sizes; `storage.verify` checks every byte."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.manifest = storage.read_manifest(self.folder, KIND)
        receipt = self.manifest.receipt
        self.width, self.dtype = int(receipt["width"]), str(receipt["dtype"])
        shards = []
        for number, digest in enumerate(receipt["shards"]):
            folder = self.folder / _name(number)
            found = storage.read_manifest(folder, SHARD)
            if found.digest != digest:
                what = _misplaced(found.receipt, number, len(receipt["shards"]))
                fix = "restore the folder, or delete the store and encode again"
                raise StorageError(what, where=str(folder), fix=fix)
            shards.append(StoredShard(folder, self.width, self.dtype))
        self.shards = tuple(shards)

    def __len__(self) -> int:
        return int(self.manifest.receipt["vectors"])

    def by_row(self) -> Floats:
        """All vectors in the order of their rows, in memory: for questions, of which there are few."""
        vectors_NW = np.empty((len(self), self.width), dtype=np.float32)
        for shard in self.shards:
            vectors_NW[shard.rows] = shard.block(0, len(shard))
        return vectors_NW


@dataclass(frozen=True)
class Unfinished:
    """A store under construction. `work` says what is encoded by what; shards of other work are refused."""

    target: Path
    work: Mapping[str, Any]
    count: int
    """Number of shards."""
    width: int
    dtype: str

    @property
    def folder(self) -> Path:
        return self.target.with_name(f".{self.target.name}.staging")

    def held(self) -> AbstractContextManager[bool]:
        """For one run at a time, by the lock that every artefact of this name is built under; whether it is missing."""
        return storage.missing(self.target)

    def missing(self) -> list[int]:
        """Shards that are still to be made. Those that are there are verified; what a killed process left is removed.

        For the holder of the lock, while nobody else works in the folder.
        """
        self._clear()
        there, others, misplaced = set(), dict[str, None](), []
        for name in sorted(os.listdir(self.folder)):
            found, number = storage.verify(self.folder / name, SHARD).receipt, int(name)
            others |= dict.fromkeys(changes(found["work"], self._receipt(number)["work"]))
            if (found["shard"], found["of"]) != (number, self.count):
                misplaced.append(f"{name} {_misplaced(found, number, self.count)}")
            there.add(number)
        if others:
            shown = "; ".join(
                sorted(others, key=lambda change: change.startswith("plan."))
            )  # which follows from others
            fix = f"restore them, and it goes on; or work in another run folder ({FORK}), and both are kept"
            raise RecipeError(f"was begun with other settings: {shown}", where=str(self.target), fix=fix)
        if misplaced:
            fix = f"remove {self.folder} to begin anew"
            raise RecipeError("; ".join(misplaced), where=str(self.target), fix=fix)
        return [number for number in range(self.count) if number not in there]

    def place(self, number: int) -> Path:
        """Where a shard lies while the store is made."""
        return self.folder / _name(number)

    def add(
        self, number: int, rows_N: NDArray[np.int64], vectors_NW: Floats, facts: Mapping[str, Any] | None = None
    ) -> None:
        """Commits a shard."""
        assert vectors_NW.shape == (len(rows_N), self.width), vectors_NW.shape
        with storage.stage(self.place(number), SHARD, self._receipt(number) | dict(facts or {})) as stage:
            stage.write(ROWS, rows_N.astype("<i8").tobytes())
            with stage.open(VECTORS) as file:
                file.write(packed(vectors_NW, self.dtype).data)

    def receipts(self) -> list[dict[str, Any]]:
        """What the shards say, in order; a missing one is refused."""
        return [manifest.receipt for manifest in self._manifests()]

    def commit(self, receipt: Mapping[str, Any]) -> VectorStore:
        """Gives the finished work its name. Every byte is verified against what its shard's manifest says."""
        self._clear()
        manifests = self._manifests(verify=True)
        counts = [manifest.files[ROWS]["bytes"] // ROW_BYTES for manifest in manifests]
        content = {
            "work": dict(self.work),
            "width": self.width,
            "dtype": self.dtype,
            "vectors": sum(counts),
            "shards": [manifest.digest for manifest in manifests],
        }
        storage.commit(self.folder, self.target, KIND, {**receipt, **content})
        return VectorStore(self.target)

    def _manifests(self, verify: bool = False) -> list[storage.Manifest]:
        read = storage.verify if verify else storage.read_manifest
        return [read(self.place(number), SHARD) for number in range(self.count)]

    def _receipt(self, number: int) -> dict[str, Any]:
        facts = {"shard": number, "of": self.count, "width": self.width, "dtype": self.dtype}
        return {**facts, "work": dict(self.work)}

    def _clear(self) -> None:
        """Makes the folder, and removes everything in it that is no shard."""
        storage.make_folder(self.folder)
        for name in sorted(os.listdir(self.folder)):
            if not _NAME.fullmatch(name):
                storage.remove(self.folder / name)


def changes(before: Mapping[str, Any], now: Mapping[str, Any], inside: str = "") -> Iterator[str]:
    """`key old -> new` wherever two descriptions differ."""
    for key in sorted({*before, *now}):
        one, other = before.get(key, "absent"), now.get(key, "absent")
        if isinstance(one, dict) and isinstance(other, dict):
            yield from changes(one, other, f"{inside}{key}.")
        elif one != other:
            yield f"{inside}{key} {one!r} -> {other!r}"


def _name(number: int) -> str:
    return f"{number:05d}"


def _misplaced(receipt: Mapping[str, Any], number: int, of: int) -> str:
    says = f"{receipt.get('shard')} of {receipt.get('of')}"
    return f"is not the shard that belongs here: it says it is {says}, here is {number} of {of}"
