"""The files of RLHN: training records of which a language model relabelled the false negatives.

A row is Tevatron's with the texts inline (`query_id`, `query`, `positive_passages`, `negative_passages`) and has one
column more, `subset`: the data set that it comes from, such as `fiqa` or `msmarco_passage`. Files are Parquet, as they
are published, or JSON lines. What was relabelled stands behind the positives that were there before; no column says
where that begins, so all positives have one tier. Titles are mostly empty, the texts have them.

Source: Thakur et al. 2025, arXiv 2505.16967; the data sets `rlhn/rlhn-100K`, `-250K`, `-400K` and `-680K` of the
Hub, and `rlhn/default-680K`, the same before relabelling.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mpr.errors import DataError, nearest
from mpr.formats import tables, tevatron
from mpr.records import Group
from mpr.storage.lines import Ids, Line

COLUMN = "subset"


def read_groups(path: str | os.PathLike[str], subset: str | None = None, ignore: Sequence[str] = ()) -> Iterator[Group]:
    """A group for each row of a file, or for each of one subset."""
    return groups(tables.read_rows(path), os.fspath(path), subset, ignore=ignore)


def groups(
    rows: Iterable[tuple[Line, Mapping[str, Any]]],
    where: str,
    subset: str | None = None,
    labels: tevatron.Labels | None = None,
    ignore: Sequence[str] = (),
) -> Iterator[Group]:
    """The same of rows, wherever they were read."""
    ids, others, found = Ids(), set[str](), False
    for line, row in rows:
        name = row.get(COLUMN)
        if not isinstance(name, str):
            raise line.refuse(
                "there is no text in the column 'subset'", COLUMN, "use format tevatron_inline without it"
            )
        if subset is not None and name != subset:
            others.add(name)
            continue
        group = tevatron.group(line, row, True, labels or tevatron.Labels(), (COLUMN, *ignore))
        ids.add(line, group.question.id, "query_id")
        found = True
        yield group
    if subset is not None and not found:
        fix = f"{nearest(subset, sorted(others))} there: {', '.join(sorted(others))}".strip()
        raise DataError(f"has no rows of the subset '{subset}'", where=where, key=COLUMN, fix=fix)
