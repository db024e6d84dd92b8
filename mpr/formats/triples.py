"""Triples of a question, a positive and a negative by their ids, tab-separated and without headers, in any order.

`ids`: question id, positive id, negative id, as MS MARCO's `qidpidtriples.*.tsv`. `scored`: a teacher's score of the
positive and of the negative before them, as those of Margin-MSE and TAS-B were published; the scores themselves are
read by `mpr/formats/scored_pairs.py`. `mpr/formats/msmarco.py` makes training questions of triples, which asks for the
lines of a question to stand together; here a line stands for itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import IO, NamedTuple

from mpr.formats.trec import finite_number
from mpr.storage.lines import Line, line_id, read_lines, split_line, writable_id, write_lines

_IDS = ("question id", "positive id", "negative id")
_SCORES = ("score of the positive", "score of the negative")


class Triple(NamedTuple):
    """Ids, and the line that they were read from."""

    question: str
    positive: str
    negative: str
    line: Line


def read_ids(path: str | os.PathLike[str]) -> Iterator[Triple]:
    for line in read_lines(path):
        yield _triple(line, split_line(line, _IDS))


def read_scored(path: str | os.PathLike[str]) -> Iterator[Triple]:
    for line in read_lines(path):
        columns = split_line(line, (*_SCORES, *_IDS))
        for name, value in zip(_SCORES, columns, strict=False):
            finite_number(line, value, name)
        yield _triple(line, columns[len(_SCORES) :])


READERS = {"ids": read_ids, "scored": read_scored}


def _triple(line: Line, columns: list[str]) -> Triple:
    question, positive, negative = (line_id(line, value, name) for value, name in zip(columns, _IDS, strict=True))
    return Triple(question, positive, negative, line)


def write_ids(file: IO[bytes], triples: Iterable[tuple[str, str, str]]) -> int:
    """Returns the number of lines written."""
    named = (zip(triple, _IDS, strict=True) for triple in triples)
    return write_lines(file, ("\t".join(writable_id(value, name) for value, name in triple) for triple in named))
