"""Rows of `query`, `pos` and `neg`: JSON lines with lists of texts, the form of FlagEmbedding and of many after it.

`pos_scores` and `neg_scores` may stand beside them: what a teacher thinks of each passage, for the label `teacher`. A
question may have an `id`. `type`, which says what kind of task FlagEmbedding's row is for, is not looked at. Any other
field is refused, `prompt` too: a prompt is text before every question, and a recipe says it once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mpr.errors import nearest
from mpr.formats.columns import Columns, Rows
from mpr.formats.columns import read_groups as grouped
from mpr.formats.columns import read_scores as scored
from mpr.records import Group, PairScore

COLUMNS = Columns("query", ("pos",), ("neg",), "pos_scores", "neg_scores", "id")
_OPTIONAL = ("neg", "pos_scores", "neg_scores", "id")
_DROPPED = ("type",)


def read_groups(rows: Rows, ignore: Sequence[str] = ()) -> Iterator[Group]:
    """`ignore` names further fields, to be dropped."""
    return grouped(_known(rows, ignore), COLUMNS, _OPTIONAL)


def read_scores(rows: Rows, ignore: Sequence[str] = ()) -> Iterator[PairScore]:
    return scored(_known(rows, ignore), COLUMNS, _OPTIONAL)


def _known(rows: Rows, ignore: Sequence[str]) -> Rows:
    known = (*COLUMNS.names, *_DROPPED)
    for line, row in rows:
        for name in row:
            if name == "prompt" and name not in ignore:
                fix = "say it in the recipe, towers.question_prompt, and drop the field: ignore: [prompt]"
                raise line.refuse("a prompt in a row is not used", name, fix)
            if name not in known and name not in ignore:
                fix = f"{nearest(name, known)} to read the file without it: ignore: [{name}]".strip()
                raise line.refuse("unknown field", name, fix)
        yield line, row
