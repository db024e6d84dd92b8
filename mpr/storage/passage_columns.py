"""Many lines of a file of passages as columns of Arrow, found in their bytes at once.

Every function that reads gives None for what is out of the ordinary, and then the lines are read one by one
(`passage_lines`): what is given here is what that would give.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpr.errors import DataError
from mpr.records import MAX_ID_BYTES

_TAB, _FEED, _MARK = b'\t\n"'
_NO_TEXT = b"\xff"  # is in no UTF-8
_TEXT = rb'(?:[^"\\\x00-\x1f]++|\\.)*+'  # of JSON, between quotation marks
_ID = rb"[!#-\[\]-~]{1,200}"  # the same of an ordinary id


class Columns(NamedTuple):
    """What many passages have, as Arrow's arrays of text; their ids and texts are good, but a passage may be blank."""

    ids: Any
    titles: Any
    texts: Any


class Cells(NamedTuple):
    """The columns of passages that were read together, and the UTF-8 of their ids and texts one by one, as hashes need
    them."""

    columns: Columns
    ids: list[bytes]
    texts: list[bytes]

    @classmethod
    def of(cls, ids: list[bytes], titles: list[bytes], texts: list[bytes]) -> Cells:
        return cls(Columns(*map(text_array, (ids, titles, texts))), ids, texts)


def text_array(values: Sequence[bytes]) -> Any:
    """An array of texts from their UTF-8."""
    offsets = np.zeros(len(values) + 1, dtype="<i8")
    np.cumsum(np.fromiter(map(len, values), np.int64, len(values)), out=offsets[1:])
    return _array("large_string", offsets, b"".join(values))


def parts(array: Any) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Where each text begins and the last one ends, and the bytes: no copies."""
    _, offsets, data = array.buffers()
    places = np.frombuffer(offsets, dtype="<i8")[array.offset : array.offset + len(array) + 1]
    found = np.frombuffer(b"" if data is None else data, dtype=np.uint8)[places[0] : places[-1]]
    return (places - places[0] if places[0] else places), found


def joined(arrays: Sequence[Any], kind: Any) -> Any:
    """All texts of some arrays in one whose buffers have no byte too many."""
    import pyarrow as pa

    offsets, byte_N = parts(pa.concat_arrays(arrays))
    if kind == pa.string() and offsets[-1] >= 2**31:
        what = f"{len(offsets) - 1:,} titles in a row have {int(offsets[-1]):,} bytes, and a store has room for 2^31"
        raise DataError(what, fix="are texts and titles the wrong way round?")
    return _array(str(kind), offsets.astype("<i4" if kind == pa.string() else "<i8"), byte_N)


def _array(kind: str, *buffers: Any) -> Any:
    """From its parts, because `pa.array` imports pandas, which takes seconds."""
    import pyarrow as pa

    length = len(buffers[0]) - (len(buffers) > 1)
    made = [None, *map(pa.py_buffer, buffers)]
    return pa.Array.from_buffers(getattr(pa, kind)(), length, made, null_count=0)


def of_tabs(data: bytes, names: Sequence[str], quoted: bool) -> Cells | None:
    """Of lines whose cells, between tabs, are `id`, `text` and perhaps `title` in some order.

    `quoted`: a cell that begins with a quotation mark ends with one, and has pairs of them inside.
    """
    data, count = data if data.endswith(b"\n") else data + b"\n", len(names)
    byte_N = np.frombuffer(data, dtype=np.uint8)
    end_C = np.flatnonzero((byte_N == _TAB) | (byte_N == _FEED))
    if len(end_C) % count or not (byte_N[end_C].reshape(-1, count) == [_TAB] * (count - 1) + [_FEED]).all():
        return None
    start_C = np.concatenate([[0], end_C[:-1] + 1])
    if quoted and b'"' in data:
        if _NO_TEXT in data:
            return None
        found = _without_marks(data, start_C, end_C)
        if found is None:
            return None
        data, start_C, end_C = found
    cells: dict[str, list[bytes]] = {"title": [b""] * (len(end_C) // count)}
    for place, name in enumerate(names):
        starts, ends = start_C[place::count].tolist(), end_C[place::count].tolist()
        cells[name] = [data[start:end] for start, end in zip(starts, ends, strict=True)]
    return _looked_at(Cells.of(cells["id"], cells["title"], cells["text"]))


def _without_marks(data: bytes, start_C: Any, end_C: Any) -> tuple[bytes, Any, Any] | None:
    """Bytes, starts and ends of cells without the marks around quoted ones, and with one for each pair inside."""
    byte_N = np.frombuffer(data, dtype=np.uint8)
    is_quoted_C = byte_N[start_C] == _MARK
    mark_M = np.flatnonzero(byte_N == _MARK)
    first_R = np.flatnonzero(np.diff(mark_M, prepend=-2) != 1)  # of each run of marks, its place in mark_M
    start_R, length_R = mark_M[first_R], np.diff(first_R, append=len(mark_M))
    cell_R = np.searchsorted(start_C, start_R, side="right") - 1
    in_quoted_R, opens_R = is_quoted_C[cell_R], start_R == start_C[cell_R]
    closes_R = in_quoted_R & (start_R + length_R == end_C[cell_R])
    inner_R = length_R - opens_R - closes_R  # without those that open and close the cell
    is_closed_C = np.bincount(cell_R[closes_R], minlength=len(start_C)) == is_quoted_C
    if ((inner_R % 2 == 1) | (inner_R < 0))[in_quoted_R].any() or not is_closed_C.all():
        return None
    lost_R = np.where(in_quoted_R, inner_R // 2, 0)
    lost_D = np.repeat(start_R + opens_R - np.cumsum(lost_R) + lost_R, lost_R) + np.arange(lost_R.sum())
    lost_C = np.bincount(cell_R, lost_R, len(start_C)).astype(np.int64)
    before_C = np.cumsum(lost_C) - lost_C
    kept_N = byte_N.copy()
    kept_N[lost_D] = ord(_NO_TEXT)
    data = kept_N.tobytes().translate(None, _NO_TEXT)
    return data, start_C + is_quoted_C - before_C, end_C - is_quoted_C - before_C - lost_C


def json_pattern(identity: str, more: bytes = b"") -> re.Pattern[bytes]:
    """Lines of JSON objects with an id under this name, a title and a text in this order, and then perhaps `more`."""
    fields = (rb'"%b": ?"(%b)"' % pair for pair in ((identity.encode(), _ID), (b"title", _TEXT), (b"text", _TEXT)))
    return re.compile(rb"\{%b(?:%b)?\}" % (b", ?".join(fields), more))


def of_json(data: bytes, pattern: re.Pattern[bytes]) -> Cells | None:
    """Of lines that all have this form."""
    found = [
        match.groups() if match else None for match in map(pattern.fullmatch, data.removesuffix(b"\n").split(b"\n"))
    ]
    if None in found:
        return None
    ids, titles, texts = zip(*found, strict=True)
    try:
        return _looked_at(Cells.of([*ids], [*map(_unescaped, titles)], [*map(_unescaped, texts)]))
    except ValueError:  # an escape that stands for no character
        return None


def _unescaped(text: bytes) -> bytes:
    return json.loads(b'"%b"' % text).encode("utf-8") if b"\\" in text else text


def _looked_at(cells: Cells) -> Cells | None:
    """The same, if all texts are UTF-8 and all ids are such that `records.id_problem` has nothing against them."""
    import pyarrow as pa

    offsets, byte_N = parts(cells.columns.ids)
    lengths = np.diff(offsets)
    if not lengths.all() or lengths.max() > MAX_ID_BYTES or ((byte_N <= 32) | (byte_N >= 127)).any():
        return None
    try:
        for array in cells.columns[1:]:
            array.validate(full=True)
    except pa.ArrowInvalid:
        return None
    return cells
