"""Which format a table of somebody's own data is in, by the names of the columns in its first rows.

Only names that say it plainly count; otherwise the table is refused, with what a recipe has to say. Nothing but the
first rows is read: several, because in one row a list may be empty, null or left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from mpr.errors import DataError
from mpr.formats import tables
from mpr.formats.columns import SOURCE
from mpr.storage.lines import Line

QUESTION = ("question", "query", "anchor")
POSITIVES = ("positives", "positive", "pos", "passage", "passages", "document", "documents", "context", "answer")
NEGATIVES = ("negatives", "negative", "neg", "hard_negatives")
TEXT = ("text", "passage", "document", "contents", "content", "body")
ID = ("id", "_id", "docid", "doc_id", "pid")
LOOKED_AT = 100  # rows
_PLAIN = (  # all of these columns are there -> the format
    (("query", "pos"), "pos_neg"),
    (("anchor", "positive"), "anchors"),
    (("positive_passages", "subset"), "rlhn"),
    (("positive_passages",), "tevatron_inline"),
    (("positive_document_ids",), "tevatron"),
    (("question", "positive_ctxs"), "dpr_json"),
    (("id", "question", "pos"), "candidates"),
)
_LISTS = {
    "pos_neg": SOURCE, **dict.fromkeys(("dpr_json", "tevatron", "tevatron_inline", "rlhn", "candidates"), "bm25"),
}  # fmt: skip
_NEGATIVE = ("neg", "negative_passages", "negative_document_ids", "hard_negative_ctxs")


@dataclass(frozen=True)
class Recognised:
    """What the first rows of a table say of it."""

    format: str
    columns: dict[str, Any] = field(default_factory=dict)
    """The mapping of columns, where the format needs one."""
    negatives: str = ""
    """What its list of negatives is called; empty: it has none."""
    relevance: str | None = None
    """`positives`, where a format of questions with answers has none."""

    @property
    def keys(self) -> dict[str, Any]:
        """What a recipe says of it."""
        relevance = {"relevance": self.relevance} if self.relevance else {}
        return {"format": self.format, **({"columns": self.columns} if self.columns else {}), **relevance}


def training_file(path: str | os.PathLike[str]) -> Recognised:
    """The format of a file of questions with positives."""
    return _training(*first_rows(path))


def _training(line: Line, row: Mapping[str, Any]) -> Recognised:
    for names, found in _PLAIN:
        if all(name in row for name in names):
            if found == "anchors":
                return Recognised(found, negatives=SOURCE if any(name.startswith("negative") for name in row) else "")
            listed = any(row.get(name) for name in _NEGATIVE)
            unanswered = found != "pos_neg" and not (row.get("answers") or row.get("answer"))
            return Recognised(found, {}, _LISTS[found] if listed else "", "positives" if unanswered else None)
    columns = {"question": _only(row, QUESTION), "positives": _only(row, POSITIVES)}
    if not all(columns.values()):
        fix = "say which is which: {file: ..., format: columns, columns: {question: ..., positives: ...}}"
        raise line.refuse(f"which columns are question and positives? There are {', '.join(row) or 'none'}", fix=fix)
    negatives = _only(row, NEGATIVES)
    if negatives:
        return Recognised("columns", {**columns, "negatives": negatives}, SOURCE)
    return Recognised("columns", columns)


def training_columns(rows: Iterable[tuple[Line, Mapping[str, Any]]]) -> Recognised:
    """The same of rows of the `datasets` library, always as a mapping of columns."""
    line, row = _together(rows)
    found = _training(line, row)
    if found.format == "pos_neg":
        columns: dict[str, Any] = {"question": "query", "positives": "pos"}
        more = {"negatives": "neg", "positive_scores": "pos_scores", "negative_scores": "neg_scores"}
        columns |= {ours: theirs for ours, theirs in more.items() if row.get(theirs)}
        return Recognised("columns", columns, found.negatives)
    if found.format == "anchors":
        negatives = [name for name in row if name.startswith("negative")]
        columns = {"question": "anchor", "positives": "positive"} | ({"negatives": negatives} if negatives else {})
        return Recognised("columns", columns, found.negatives)
    if found.format != "columns":
        what = f"has the columns of {found.format}"
        raise line.refuse(what, fix="write data.corpus in full: {name: hub, ...}, form: inline or referring")
    return found


def corpus_file(path: str | os.PathLike[str]) -> Recognised:
    """The format of a file of passages."""
    if tables.ending(path) == ".tsv":
        from mpr.storage.lines import read_lines

        if next(read_lines(path)).text.split("\t") == ["id", "text", "title"]:
            return Recognised("dpr_tsv")
    line, row = first_rows(path)
    if "docid" in row and "text" in row:
        return Recognised("tevatron")
    if "_id" in row and "text" in row and tables.ending(path) == ".jsonl":
        return Recognised("beir")
    text = _only(row, TEXT)
    if not text:
        fix = "say which one: corpus: {file: ..., format: columns, columns: {text: ..., id: ...}}"
        raise line.refuse(f"which column has the passages' texts? There are {', '.join(row) or 'none'}", fix=fix)
    columns = {"id": _only(row, ID), "text": text, "title": "title" if "title" in row else ""}
    return Recognised("columns", {ours: name for ours, name in columns.items() if name})


def first_rows(path: str | os.PathLike[str]) -> tuple[Line, Mapping[str, Any]]:
    """The place of the first row, and every column of the first rows with a value where one has it."""
    return _together(tables.read_rows(path))


def _together(rows: Iterable[tuple[Line, Mapping[str, Any]]]) -> tuple[Line, Mapping[str, Any]]:
    place, columns = None, dict[str, Any]()
    try:
        for line, row in islice(rows, LOOKED_AT):
            place = place or line
            columns |= {name: value for name, value in row.items() if name not in columns or not columns[name]}
    except DataError:
        if place is None:
            raise  # after a row or more, reading the data says it
    assert place is not None, "a table without rows is refused by its reader"
    return place, columns


def _only(row: Mapping[str, Any], names: Sequence[str]) -> str:
    """The one column with such a name; nothing where there is none, or more than one."""
    found = [name for name in row if name.lower() in names]
    return found[0] if len(found) == 1 else ""
