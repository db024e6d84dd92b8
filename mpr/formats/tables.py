"""Tables with named columns: CSV, TSV, Parquet, and JSON objects as lines or as one list; each row with its place.

The ending of the file's name says which it is; what the columns mean is for `columns`, `anchors` and `pos_neg` to say.
CSV is that of RFC 4180: the first line names the columns, a cell with a comma, a quotation mark or a line end stands
in quotation marks. In TSV quotation marks are plain text. All but Parquet may be packed (.gz, .zst, .xz). Rows of a
Parquet file have no lines: they are counted from 0.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mpr.errors import DataError, excerpt
from mpr.storage.json_fields import json_object
from mpr.storage.json_stream import read_array
from mpr.storage.lines import Line, read_lines, wrong_columns
from mpr.storage.unpack import PACKED, open_bytes

Cells = dict[str, Any]
_CELL = 1 << 26  # characters of a CSV cell, at most
_BATCH = 1_024


def read_rows(path: str | os.PathLike[str]) -> Iterator[tuple[Line, Cells]]:
    """Every row by the names of its columns. A file without rows is refused."""
    read, empty = _READERS.get(ending(path)), True
    if read is None:
        what = f"is no table that mpr knows by its name: it ends in {ending(path) or 'nothing'!r}"
        raise DataError(what, where=str(path), fix=f"rename it, it must end in one of {', '.join(_READERS)}")
    for line, row in read(path):
        empty = False
        yield line, row
    if empty:
        raise DataError("has a header and no rows", where=str(path), fix="check how the file was written")


def ending(path: str | os.PathLike[str]) -> str:
    """The last ending of a file's name that does not only say how it is packed, in small letters."""
    name = Path(path).name.lower()
    name = next((name.removesuffix(packed) for packed in PACKED if name.endswith(packed)), name)
    return Path(name).suffix


def row_line(place: str, number: int, row: Mapping[str, Any]) -> Line:
    """The place of a row that is no line of text."""
    shown = ", ".join(f"{name}: {value[:20]}" for name, value in row.items() if isinstance(value, str))
    return Line(place, number, -1, shown)


def _json(path: str | os.PathLike[str]) -> Iterator[tuple[Line, Cells]]:
    with open_bytes(path) as file:
        first = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if first == b"[":
        yield from read_array(path)
        return
    for line in read_lines(path):
        yield line, json_object(line)


def _csv(path: str | os.PathLike[str]) -> Iterator[tuple[Line, Cells]]:
    taken: list[Line] = []  # the lines of one row: a cell may go on over several

    def texts() -> Iterator[str]:
        for line in read_lines(path):
            taken.append(line)
            yield f"{line.text}\n"

    csv.field_size_limit(_CELL)
    rows, header = csv.reader(texts(), strict=True), list[str]()
    while True:
        taken.clear()
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            fix = "put a cell with a quotation mark in quotation marks and write it twice, or write .tsv or .jsonl"
            raise taken[0].refuse(f"is not CSV: {error}", fix=fix) from None
        if not header:
            header = _header(taken[0], cells)
        elif not cells:
            raise taken[0].refuse("blank line", fix="remove it")
        else:
            yield taken[0], _named(taken[0], header, cells, "comma")


def _tsv(path: str | os.PathLike[str]) -> Iterator[tuple[Line, Cells]]:
    header = list[str]()
    for line in read_lines(path):
        cells = line.text.split("\t")
        if header:
            yield line, _named(line, header, cells, "tab")
        else:
            header = _header(line, cells)


def _header(line: Line, names: list[str]) -> list[str]:
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise line.refuse(f"two columns are called {excerpt(twice[0])}", fix="give them different names")
    return names


def _named(line: Line, header: Sequence[str], cells: Sequence[str], separator: str) -> Cells:
    if len(cells) != len(header):
        raise wrong_columns(line, len(cells), header, separator)
    return dict(zip(header, cells, strict=True))


def _parquet(path: str | os.PathLike[str]) -> Iterator[tuple[Line, Cells]]:
    import pyarrow as pa
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                for row in batch.to_pylist():
                    yield row_line(str(path), number, row), row
                    number += 1
    except (pa.ArrowException, OSError) as error:
        what = f"is no readable Parquet file: {str(error).partition(chr(10))[0]}"
        raise DataError(what, where=str(path), fix="get the file again") from error


_READERS: dict[str, Callable[[Any], Iterator[tuple[Line, Cells]]]] = {
    ".jsonl": _json,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _tsv,
    ".parquet": _parquet,
}
