"""DPR's tab-separated files: passages (`psgs_w100.tsv`: id, text, title) and questions (`*.qa.csv`: text, answers).

Both follow the rules of CSV with tabs: a column that starts with a quotation mark ends with the matching one, and a
doubled mark inside stands for one. Unlike a CSV parser, these readers never let a quoted column run on into the next
line: rows would merge in silence. A mark that does not close on its own line is refused there. Answers are a Python
list of texts; it is read as a literal and never executed.
"""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Iterable, Iterator
from functools import partial
from typing import IO

from mpr.errors import DataError, excerpt
from mpr.records import Passage, Question
from mpr.storage import passage_columns
from mpr.storage.json_fields import Fields, Text
from mpr.storage.lines import (
    Line,
    line_id,
    read_lines,
    split_line,
    writable_cell,
    writable_id,
    writable_text,
    write_lines,
    wrong_columns,
)
from mpr.storage.passage_lines import PassageLines
from mpr.storage.unpack import stem

_PASSAGE = ("id", "text", "title")
_QUESTION = ("question", "answers")


class _Answers(Fields):
    answers: list[Text]


def read_passages(path: str | os.PathLike[str], header: bool = True, quoted: bool = True) -> PassageLines:
    """`header`: the first line names the columns. `quoted`: CSV's quotation marks; without it they are plain text.

    Duplicate ids are left to the store that takes the passages in.
    """

    def careful(line: Line) -> Passage | None:
        columns = _split_quoted(line, _PASSAGE) if quoted else split_line(line, _PASSAGE)
        if header and line.number == 1:
            if tuple(columns) != _PASSAGE:
                fix = "read it with header=False if the file starts with a passage"
                raise line.refuse(f"the header must be {', '.join(_PASSAGE)}", fix=fix)
            return None
        return Passage(line_id(line, columns[0], "id"), columns[1], columns[2])

    return PassageLines(path, careful, partial(passage_columns.of_tabs, names=_PASSAGE, quoted=quoted))


def write_passages(file: IO[bytes], passages: Iterable[Passage], header: bool = True, quoted: bool = True) -> int:
    """Returns the number of passages. Tabs fit only into quoted files, line breaks into neither."""
    if header:
        write_lines(file, ["\t".join(_PASSAGE)])
    return write_lines(file, (_passage_line(passage, quoted) for passage in passages))


def _passage_line(passage: Passage, quoted: bool) -> str:
    key = f"passage {writable_id(passage.id, 'passage id')}"
    if quoted:
        columns = (_quoted(passage.id, key), _quoted(passage.text, key, always=True), _quoted(passage.title, key))
        return "\t".join(columns)
    return "\t".join((passage.id, writable_cell(passage.text, key), writable_cell(passage.title, key)))


def read_questions(
    path: str | os.PathLike[str], regex: bool = False, quoted: bool = True, prefix: str | None = None
) -> Iterator[Question]:
    """Questions get the ids `<file stem>-0`, `<file stem>-1`, ... (or another `prefix` than `<file stem>-`).

    `regex`: the answers are patterns, as in CuratedTREC.
    """
    prefix = f"{stem(path)}-" if prefix is None else prefix
    for index, line in enumerate(read_lines(path)):
        text, answers = _split_quoted(line, _QUESTION) if quoted else split_line(line, _QUESTION)
        identity = line_id(line, f"{prefix}{index}", "id made from the file name (pass another prefix)")
        yield Question(identity, text, _answers(line, answers), regex)


def write_questions(file: IO[bytes], questions: Iterable[Question]) -> int:
    """Ids and the kind of answer are not part of the format; the reader makes and is told them."""
    return write_lines(file, map(_question_line, questions))


def _question_line(question: Question) -> str:
    key = f"question {question.id}"
    if question.text.startswith("\ufeff"):
        raise DataError("starts with a byte-order mark, which this format cannot hold", key=key, fix="remove it")
    answers = [writable_text(answer, key) for answer in question.answers]
    return f"{_quoted(question.text, key)}\t{_quoted(repr(answers), key)}"


def _split_quoted(line: Line, names: tuple[str, ...]) -> list[str]:
    """The columns of a line by CSV's rules; an unclosed quotation mark or text behind a closing one is refused."""
    text, columns, at = line.text, list[str](), 0
    if '"' not in text:
        return split_line(line, names)
    while True:
        if text.startswith('"', at):
            end = text.find('"', at + 1)
            while end >= 0 and text.startswith('""', end):
                end = text.find('"', end + 2)
            if end < 0:
                what = "a quotation mark is not closed on its line"
                raise line.refuse(what, fix="double the marks inside the text, or read with quoted=False", at=at)
            columns.append(text[at + 1 : end].replace('""', '"'))
            end += 1
            if end < len(text) and text[end] != "\t":
                what, column = "text follows a closing quotation mark", names[min(len(columns), len(names)) - 1]
                fix = f"in column {column}: double the marks inside, or read with quoted=False"
                raise line.refuse(what, fix=fix, at=end)
        else:
            end = text.find("\t", at)
            end = len(text) if end < 0 else end
            columns.append(text[at:end])
        if end == len(text):
            break
        at = end + 1
    if len(columns) != len(names):
        raise wrong_columns(line, len(columns), names)
    return columns


def _quoted(text: str, key: str, always: bool = False) -> str:
    for character, name in (("\n", "line feed"), ("\r", "carriage return")):
        if character in text:
            what = f"has a {name} at position {text.index(character)}, which this format cannot hold"
            raise DataError(what, key=key, fix="write a JSONL format")
    if always or '"' in text or "\t" in text:
        return '"' + writable_text(text, key).replace('"', '""') + '"'
    return writable_text(text, key)


def _answers(line: Line, literal: str) -> tuple[str, ...]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a pattern such as '\s' is fine; Python would remark on the backslash
            value = ast.literal_eval(literal)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise line.refuse(f"is not a list of texts: {type(error).__name__}, {excerpt(literal)}", "answers") from None
    return tuple(_Answers.of({"answers": value}, line).answers)
