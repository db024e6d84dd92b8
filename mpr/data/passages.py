"""The passages of a collection on disk: ids, titles, texts and text hashes, opened in milliseconds whatever the size.

Texts are Arrow record batches of a fixed number of rows in one memory-mapped file, so row i is found by arithmetic.
Two flat arrays stand beside it: the hash of each text, and the ids' hashes in sorted order with their rows, which make
`row_of` a binary search. Nothing is ever held as a Python list of 21 million strings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mpr import storage
from mpr.errors import DataError, excerpt
from mpr.records import Passage, id_problem, stable_hash, text_problem
from mpr.runtime.progress import Progress, silent
from mpr.storage import passage_columns
from mpr.storage.passage_columns import Cells, Columns
from mpr.storage.passage_lines import PassageLines
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
        id_hashes, hashes = list[NDArray[np.uint64]](), list[NDArray[np.uint64]]()
        with stage.open("passages.arrow") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
            for columns in _batches(_blocks(passages), id_hashes, hashes):
                writer.write_batch(pa.record_batch(columns, schema=_SCHEMA))
                progress(len(columns[0]))
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


@dataclass(frozen=True)
class _Block:
    """Some passages and their hashes, and which of them has neither a text nor a title."""

    columns: Columns
    id_hashes: NDArray[np.uint64]
    text_hashes: NDArray[np.uint64]
    blank: int | None

    @classmethod
    def of(cls, cells: Cells) -> _Block:
        is_blank = _are_blank(cells.columns.texts)
        blank = np.flatnonzero(is_blank & _are_blank(cells.columns.titles))
        hashes = _text_hashes(cells, is_blank)
        return cls(cells.columns, _hashes(cells.ids), hashes, int(blank[0]) if len(blank) else None)


def _blocks(passages: Iterable[Passage]) -> Iterator[_Block]:
    """The passages as they come, each looked at before more is asked for."""
    for block in passages.blocks(_Block.of) if isinstance(passages, PassageLines) else (passages,):
        if not isinstance(block, _Block):
            yield from map(_Block.of, _looked_at_one_by_one(block))
            continue
        if block.blank is not None:
            raise _blank(str(block.columns.ids[block.blank]))
        yield block


def _batches(blocks: Iterable[_Block], id_hashes: list[Any], hashes: list[Any]) -> Iterator[list[Any]]:
    """The columns of BATCH passages at a time; the hashes of all are added to the lists."""
    waiting, count = list[Columns](), 0

    def whole() -> list[Any]:
        pairs = zip(zip(*waiting, strict=True), _SCHEMA, strict=True)
        return [passage_columns.joined(arrays, field.type) for arrays, field in pairs]

    for block in blocks:
        id_hashes.append(block.id_hashes)
        hashes.append(block.text_hashes)
        some = block.columns
        while count + len(some.ids) >= BATCH:
            missing = BATCH - count
            waiting.append(Columns(*(column[:missing] for column in some)))
            yield whole()
            waiting, count, some = [], 0, Columns(*(column[missing:] for column in some))
        waiting.append(some)
        count += len(some.ids)
    if count:
        yield whole()


def _looked_at_one_by_one(passages: Iterable[Passage]) -> Iterator[Cells]:
    found: tuple[list[bytes], list[bytes], list[bytes]] = [], [], []
    for passage in passages:
        problem = id_problem(passage.id) or text_problem(passage.text) or text_problem(passage.title)
        if problem:
            raise DataError(problem, key=excerpt(str(passage.id), 80), fix="mend the corpus file")
        if not passage.text.strip() and not passage.title.strip():
            raise _blank(passage.id)
        for held, value in zip(found, (passage.id, passage.title, passage.text), strict=True):
            held.append(value.encode())
        if len(found[0]) == BATCH:
            yield Cells.of(*found)
            found = [], [], []
    yield Cells.of(*found)


def _blank(identity: str) -> DataError:
    return DataError("passage has neither text nor title", key=identity, fix="remove it from the corpus file")


def _are_blank(texts: Any) -> NDArray[np.bool_]:
    """Which of them have nothing but white space."""
    offsets, byte_N = passage_columns.parts(texts)
    is_blank = offsets[1:] == offsets[:-1]
    if len(byte_N):
        first = byte_N[np.minimum(offsets[:-1], len(byte_N) - 1)]
        for place in np.flatnonzero(~is_blank & ((first <= 32) | (first >= 127))).tolist():
            is_blank[place] = not str(texts[place]).strip()
    return np.asarray(is_blank)


def _hashes(values: Iterable[bytes]) -> NDArray[np.uint64]:
    """`records.stable_hash` of each. A copy of an empty hash is made in half the time of a new one."""
    empty, found = blake2b(digest_size=8).copy, list[bytes]()
    for value in values:
        one = empty()
        one.update(value)
        found.append(one.digest())
    return np.frombuffer(b"".join(found), dtype="<u8")


def _text_hashes(cells: Cells, is_blank: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """`records.text_hash` of each text, or of the title where there is none: such passages are no copies."""
    texts = cells.texts
    odd = np.flatnonzero(_are_spaced(cells.columns.texts) | is_blank).tolist()
    if odd:
        texts = texts.copy()
    for place in odd:
        words = texts[place].decode().split() or str(cells.columns.titles[place]).split()
        texts[place] = " ".join(words).encode()
    return _hashes(texts)


def _are_spaced(texts: Any) -> NDArray[np.bool_]:
    """Which may have white space that `str.split` takes away or folds: any but single spaces inside. Most do not."""
    offsets, byte_N = passage_columns.parts(texts)
    found = np.zeros(len(texts), dtype=bool)
    if not len(byte_N):
        return found
    is_space_N = byte_N == 32
    two = np.flatnonzero(is_space_N[1:] & is_space_N[:-1])
    others = np.flatnonzero(byte_N.view(np.int8) < 32)  # control characters and all that is not ASCII
    if 16 * len(others) > len(byte_N):  # a text that is not ASCII for the most part: fewer are looked at
        others = np.flatnonzero((byte_N < 32) | (byte_N == 0xC2) | (byte_N - np.uint8(0xE1) < 3))
    after, behind = (byte_N[np.minimum(others + step, len(byte_N) - 1)] for step in (1, 2))
    lead = byte_N[others]
    # In UTF-8: control characters; U+0085, U+00A0; U+1680; U+2000 to 200A, 2028, 2029, 202F; U+205F; U+3000.
    is_white = (lead < 32) | ((lead == 0xC2) & ((after == 0x85) | (after == 0xA0)))
    is_white |= (lead == 0xE1) & (after == 0x9A) & (behind == 0x80)
    is_white |= (lead == 0xE2) & (after == 0x80) & ((behind < 0x8B) | np.isin(behind, (0xA8, 0xA9, 0xAF)))
    is_white |= (lead == 0xE2) & (after == 0x81) & (behind == 0x9F)
    is_white |= (lead == 0xE3) & (after == 0x80) & (behind == 0x80)
    for places in (two, others[is_white]):
        found[np.searchsorted(offsets, places, side="right") - 1] = True
    held = offsets[1:] > offsets[:-1]
    found[held] |= is_space_N[offsets[:-1][held]] | is_space_N[offsets[1:][held] - 1]
    return found


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
