"""Rows of an anchor, a positive and any number of negatives: the columns of sentence-transformers' training data.

`anchor`, `positive`, and `negative`, or `negative_1`, `negative_2` and so on. A row has one positive; rows that repeat
an anchor become one question with several positives. Other names of columns are for `columns` to map.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mpr.errors import nearest
from mpr.formats.columns import Columns, Rows
from mpr.formats.columns import read_groups as grouped
from mpr.records import Group

_COLUMN = re.compile(r"anchor|positive|negative(_[0-9]+)?")
COLUMNS = Columns("anchor", ("positive",), ("negatives",))
_KNOWN = ("anchor", "positive", "negative", "negative_1")


def read_groups(rows: Rows, ignore: Sequence[str] = ()) -> Iterator[Group]:
    """`ignore` names further columns, to be dropped."""
    return grouped(_listed(rows, ignore), COLUMNS, ("negatives",))


def _listed(rows: Rows, ignore: Sequence[str]) -> Rows:
    """The columns of negatives as one list, in the order of their numbers; rows may have different ones."""
    for line, row in rows:
        for name in row:
            if not _COLUMN.fullmatch(name) and name not in ignore:
                fix = f"{nearest(name, _KNOWN)} or name the columns: format: columns; or ignore: [{name}]".strip()
                raise line.refuse("is no column of anchors", name, fix)
        names = sorted((name for name in row if name.startswith("negative") and name not in ignore), key=_number)
        cells = (row[name] if isinstance(row[name], list) else [row[name]] for name in names if row[name])
        yield line, {**row, "negatives": [text for cell in cells for text in cell]}


def _number(name: str) -> tuple[int, str]:
    return len(name), name
