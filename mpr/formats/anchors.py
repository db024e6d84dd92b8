"""Rows of an anchor, a positive and any number of negatives: the columns of sentence-transformers' training data.

`anchor`, `positive`, and `negative`, or `negative_1`, `negative_2` and so on. A row has one positive; rows that repeat
an anchor become one question with several positives. Other names of columns are for `columns` to map.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain

from mpr.errors import nearest
from mpr.formats.columns import Columns, Rows
from mpr.formats.columns import read_groups as grouped
from mpr.records import Group

_COLUMN = re.compile(r"anchor|positive|negative(_[0-9]+)?")
_KNOWN = ("anchor", "positive", "negative", "negative_1")


def read_groups(rows: Rows, ignore: Sequence[str] = ()) -> Iterator[Group]:
    """`ignore` names further columns, to be dropped."""
    left = iter(rows)
    first = next(left, None)
    if first is None:
        return
    names = [name for name in first[1] if name not in ignore]
    negatives = sorted((name for name in names if name.startswith("negative")), key=lambda name: (len(name), name))
    columns = Columns("anchor", ("positive",), tuple(negatives))
    yield from grouped(_known(chain([first], left), ignore), columns)


def _known(rows: Rows, ignore: Sequence[str]) -> Rows:
    for line, row in rows:
        for name in row:
            if not _COLUMN.fullmatch(name) and name not in ignore:
                fix = f"{nearest(name, _KNOWN)} or name the columns: format: columns; or ignore: [{name}]".strip()
                raise line.refuse("is no column of anchors", name, fix)
        yield line, row
