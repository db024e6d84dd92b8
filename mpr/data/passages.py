"""The passages of a collection on disk: ids, titles, texts and text hashes, opened in milliseconds whatever the size.

Texts are Arrow record batches of a fixed number of rows in one memory-mapped file, so row i is found by arithmetic.
Two flat arrays stand beside it: the hash of each text, and the ids' hashes in sorted order with their rows, which make
`row_of` a binary search. Nothing is ever held as a Python list of 21 million strings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mpr import storage
from mpr.errors import DataError, excerpt
from mpr.records import Passage, id_problem, stable_hash, text_hash, text_problem
from mpr.runtime.progress import Progress, silent
from mpr.storage.ragged import memory_map

KIND = "passages"
BATCH = 16_384
_SCHEMA = pa.schema([("id", pa.string()), ("title", pa.string()), ("text", pa.large_string())])


def build(
    target: Path,
    passages: Iterable[Passage],
    receipt: dict[str, Any],
    *,
    expected: int | None = None,
    progress: Progress = silent,
) -> PassageStore:
    """Writes a store in one pass. A wrong count, an unusable record or a repeated id is refused, nothing is kept."""
    with storage.stage(target, KIND, receipt) as stage:
        id_hashes, hashes = [], []
        with stage.open("passages.arrow") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
            for batch in _batches(passages):
                columns = zip(*((p.id, p.title, p.text) for p in batch), strict=True)
                arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
                writer.write_batch(pa.record_batch(arrays, schema=_SCHEMA))
                id_hashes.append(np.array([stable_hash(p.id) for p in batch], dtype=np.uint64))
                # Of the title where there is no text, or all such passages would pass for copies.
                contents = [text_hash(p.text if p.text.strip() else p.title) for p in batch]
                hashes.append(np.array(contents, dtype=np.uint64))
                progress(len(batch))
        count = sum(len(part) for part in hashes)
        if not count:
            raise DataError("the corpus has no passages", where=str(target), fix="check the corpus file")
        if expected is not None and count != expected:
            what = f"the corpus has {count:,} passages, {expected:,} are expected"
            fix = "the file is not the one the recipe was written for, or was cut short"
            raise DataError(what, where=str(target), fix=fix)
        all_ids = np.concatenate(id_hashes)
        order = np.argsort(all_ids, kind="stable")
        ids = all_ids[order]
        _refuse_twins(stage.folder / "passages.arrow", ids, order)
        stage.write("text_hashes.bin", np.concatenate(hashes).astype("<u8").tobytes())
        stage.write("id_hashes.bin", ids.astype("<u8").tobytes())
        stage.write("id_rows.bin", order.astype("<i8").tobytes())
        receipt["passages"] = count
    return PassageStore(target)


def _batches(passages: Iterable[Passage]) -> Iterator[list[Passage]]:
    batch: list[Passage] = []
    for passage in passages:
        problem = id_problem(passage.id) or text_problem(passage.text) or text_problem(passage.title)
        if problem:
            raise DataError(problem, key=excerpt(str(passage.id), 80), fix="mend the corpus file")
        if not passage.text.strip() and not passage.title.strip():
            raise DataError("passage has neither text nor title", key=passage.id, fix="remove it from the corpus file")
        batch.append(passage)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _refuse_twins(path: Path, ids: NDArray[np.uint64], order: NDArray[np.int64]) -> None:
    """Equal hashes are equal ids for practical purposes, but a message must not lie: look at the ids themselves."""
    twins = np.flatnonzero(ids[1:] == ids[:-1])
    if len(twins):
        texts = _Texts(path)
        first, second = (texts.value("id", int(order[place])) for place in (twins[0], twins[0] + 1))
        what = f"{len(twins):,} passage ids are given twice" if first == second else "two ids share a 64-bit hash"
        records = order[twins[0] : twins[0] + 2] + 1
        raise DataError(what, key=first, fix=f"first seen in records {records[0]:,} and {records[1]:,}")


class _Texts:
    """The Arrow file; constant-time access because every batch but the last has BATCH rows."""

    def __init__(self, path: Path) -> None:
        self.file = pa.ipc.open_file(pa.memory_map(str(path)))
        self.batches = self.file.num_record_batches
        self._batches: dict[int, Any] = {}

    def batch(self, number: int) -> Any:
        """Views of the memory map: kept, they cost a few hundred bytes each and save 0.1 ms an access."""
        if number not in self._batches:
            self._batches[number] = self.file.get_batch(number)
        return self._batches[number]

    def value(self, column: str, row: int) -> str:
        return str(self.batch(row // BATCH).column(column)[row % BATCH].as_py())


class PassageStore(storage.Opened):
    """Read access to a committed store. Opening checks the manifest and sizes; `storage.verify` checks every byte."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.manifest = storage.read_manifest(self.folder, KIND)
        self._texts = _Texts(self.folder / "passages.arrow")
        self.text_hashes = memory_map(self.folder / "text_hashes.bin", "<u8")
        self._id_hashes = memory_map(self.folder / "id_hashes.bin", "<u8")
        self._id_rows = memory_map(self.folder / "id_rows.bin", "<i8")

    def __len__(self) -> int:
        return len(self.text_hashes)

    def __getitem__(self, row: int) -> Passage:
        if not 0 <= row < len(self):
            raise IndexError(row)
        batch, place = self._texts.batch(row // BATCH), row % BATCH
        identifier, title, text = (batch.column(name)[place].as_py() for name in ("id", "title", "text"))
        return Passage(identifier, text, title)

    def __iter__(self) -> Iterator[Passage]:
        for batch in self.batches():
            columns = [batch.column(name).to_pylist() for name in ("id", "title", "text")]
            yield from (Passage(identifier, text, title) for identifier, title, text in zip(*columns, strict=True))

    def batches(self) -> Iterator[Any]:
        """Arrow record batches in order, for work that streams over the whole collection."""
        for number in range(self._texts.batches):
            yield self._texts.batch(number)

    def ids(self, rows: Iterable[int]) -> list[str]:
        return [self._texts.value("id", int(row)) for row in rows]

    def rows_of(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Row of each id, -1 where the collection has no such passage."""
        wanted = np.array([stable_hash(identifier) for identifier in ids], dtype=np.uint64)
        places = np.searchsorted(self._id_hashes, wanted)
        places[places == len(self)] = 0
        found = self._id_hashes[places] == wanted if len(wanted) else np.zeros(0, dtype=bool)
        return np.where(found, self._id_rows[places], -1).astype(np.int64)
