"""Rows of different lengths as flat arrays on disk: one file of offsets, one file per column, all memory-mapped.

Row i of column c is `columns[c][offsets[i]:offsets[i + 1]]`. Positives, candidates and token ids are kept this way, so
that opening a store of any size costs nothing and reading a row is one slice.
"""

from __future__ import annotations

from collections.abc import Mapping
from mmap import mmap
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mpr.storage import Stage

Integers = NDArray[np.int64]
Floats = NDArray[np.float32]


class RaggedWriter:
    """Appends rows to `<name>.<column>.bin` files of a stage; `close` adds the offsets."""

    def __init__(self, stage: Stage, name: str, columns: Mapping[str, Any]) -> None:
        self._stage, self._name = stage, name
        self._types = {column: np.dtype(kind) for column, kind in columns.items()}
        self._files = {column: stage.open(f"{name}.{column}.bin") for column in columns}
        self._lengths: list[Integers] = []

    def append(self, lengths: Any, **columns: Any) -> None:
        """Adds len(lengths) rows whose values stand one after the other in each column."""
        lengths = np.asarray(lengths, dtype=np.int64)
        total = int(lengths.sum())
        for column, kind in self._types.items():
            values = np.ascontiguousarray(columns[column], dtype=kind)
            assert len(values) == total, f"{self._name}.{column}: {len(values)} values for {total} places"
            self._files[column].write(values.tobytes())
        self._lengths.append(lengths)

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        lengths = np.concatenate(self._lengths) if self._lengths else np.zeros(0, dtype=np.int64)
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
        self._stage.write(f"{self._name}.offsets.bin", offsets.astype("<i8").tobytes())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()


class Ragged:
    """Rows of a ragged array; slices of memory maps, never copies until someone computes with them."""

    def __init__(self, offsets: Integers, columns: Mapping[str, NDArray[Any]]) -> None:
        self.offsets, self.columns = offsets, dict(columns)

    @classmethod
    def open(cls, folder: Path, name: str, columns: Mapping[str, Any]) -> Ragged:
        offsets = memory_map(Path(folder) / f"{name}.offsets.bin", "<i8")
        kinds = {column: memory_map(Path(folder) / f"{name}.{column}.bin", kind) for column, kind in columns.items()}
        return cls(offsets, kinds)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def row(self, index: int, column: str) -> NDArray[Any]:
        return self.columns[column][self.offsets[index] : self.offsets[index + 1]]

    def lengths(self, rows: Any = None) -> Integers:
        """Number of values of each row."""
        if rows is None:
            return np.diff(self.offsets)
        rows = np.asarray(rows, dtype=np.int64)
        return np.asarray(self.offsets[rows + 1] - self.offsets[rows])

    def owners(self) -> Integers:
        """The row of every value."""
        return np.repeat(np.arange(len(self)), self.lengths())

    def kept(self, wanted: NDArray[np.bool_]) -> Ragged:
        """Only these values of the rows, which keep their order; `wanted` has a truth value for each place."""
        return self.taken(self.owners()[wanted], np.flatnonzero(wanted))

    def some(self, rows: Any) -> Ragged:
        """These rows, in this order."""
        _, places = self.places(rows)
        offsets = np.concatenate([[0], np.cumsum(self.lengths(rows))]).astype(np.int64)
        return Ragged(offsets, {name: values[places] for name, values in self.columns.items()})

    def taken(self, owner: Integers, place: Integers) -> Ragged:
        """The values at these places, in this order; `owner`, which ascends, says whose they become."""
        lengths = np.bincount(owner, minlength=len(self))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return Ragged(offsets, {name: values[place] for name, values in self.columns.items()})

    def places(self, rows: Any, lengths: Any = None) -> tuple[Integers, Integers]:
        """(number of the row within `rows`, place in the columns) of every value of these rows, in order."""
        rows = np.asarray(rows, dtype=np.int64)
        lengths = self.lengths(rows) if lengths is None else np.asarray(lengths, dtype=np.int64)
        owner = np.repeat(np.arange(len(rows)), lengths)
        starts = np.cumsum(lengths) - lengths
        return owner, np.arange(int(lengths.sum())) - starts[owner] + self.offsets[rows][owner]


def memory_map(path: Path, kind: Any) -> NDArray[Any]:
    """A read-only array over a whole file; an empty file is an empty array, which mmap cannot express."""
    size = Path(path).stat().st_size // np.dtype(kind).itemsize
    return _Map(path, dtype=kind, mode="r", shape=(size,)) if size else np.zeros(0, dtype=kind)


class _Map(np.memmap[Any, Any]):
    """A map that goes to another process as its path: a data loader's worker must not be sent gigabytes of tokens."""

    def __getitem__(self, index: Any) -> Any:
        return np.asarray(self)[index]  # a plain array, so that only the whole map is a _Map

    def __reduce_ex__(self, protocol: Any) -> Any:
        if isinstance(self.base, mmap):
            return memory_map, (Path(str(self.filename)), self.dtype.str)
        return np.asarray(self).__reduce_ex__(protocol)
