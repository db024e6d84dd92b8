"""Files of scores for pairs of a question and a passage, tab-separated and without headers.

`read_scores`: question id, passage id, score. `read_triples`: score of the positive, score of the negative, question
id, positive id, negative id: the form in which the teacher scores of Margin-MSE and TAS-B (Hofstätter et al. 2020 and
2021, arXiv 2010.02666 and 2104.06967) were published. A triple holds two pairs, and one pair stands in many triples.
Lines are read in any order and not remembered: what takes the pairs in says whether one may come twice.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from typing import IO

from mpr.errors import DataError
from mpr.formats.trec import finite_number
from mpr.records import PairScore
from mpr.storage.lines import line_id, read_lines, split_line, writable_id, write_lines

_SCORE = ("question id", "passage id", "score")
_TRIPLE = ("score of the positive", "score of the negative", "question id", "positive id", "negative id")


def read_scores(path: str | os.PathLike[str]) -> Iterator[PairScore]:
    for line in read_lines(path):
        question, passage, score = split_line(line, _SCORE)
        line_id(line, question, _SCORE[0])
        yield PairScore(question, line_id(line, passage, _SCORE[1]), finite_number(line, score, _SCORE[2]))


def read_triples(path: str | os.PathLike[str]) -> Iterator[PairScore]:
    """Two pairs a line, the positive first."""
    for line in read_lines(path):
        columns = split_line(line, _TRIPLE)
        question = line_id(line, columns[2], _TRIPLE[2])
        for place in (0, 1):
            passage = line_id(line, columns[3 + place], _TRIPLE[3 + place])
            yield PairScore(question, passage, finite_number(line, columns[place], _TRIPLE[place]))


def write_scores(file: IO[bytes], scores: Iterable[PairScore]) -> int:
    """Scores are printed so that reading gives back the same float. Returns the number of lines written."""
    return write_lines(file, map(_line, scores))


def _line(one: PairScore) -> str:
    question, passage = writable_id(one.question, _SCORE[0]), writable_id(one.passage, _SCORE[1])
    if not math.isfinite(one.score):
        what = f"score is {one.score}"
        raise DataError(what, key=f"question {question} passage {passage}", fix="scores are finite")
    return f"{question}\t{passage}\t{float(one.score)!r}"
