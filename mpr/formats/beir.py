"""BEIR's folder: `corpus.jsonl`, `queries.jsonl` and `qrels/<split>.tsv`, or the same laid flat as `qrels.<split>.tsv`.

`find` says which files of a folder serve a split; the readers take those files, packed or not. A passage id may be
there twice for all the reader knows: the store that takes the passages in refuses that.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from pydantic import Field

from mpr.errors import DataError
from mpr.formats.trec import SeenPairs, judged_groups, judgement, judgement_columns
from mpr.records import Group, Judgement, Passage, Question
from mpr.storage import passage_columns
from mpr.storage.json_fields import Fields, Id, Text, json_object, json_text, read_objects
from mpr.storage.lines import Ids, Line, read_lines, split_line, writable_id, writable_text, write_lines
from mpr.storage.passage_lines import PassageLines
from mpr.storage.unpack import PACKED

_LINE = passage_columns.json_pattern("_id", rb', ?"metadata": ?\{\}')
_HEADER = ("query-id", "corpus-id", "score")


class _Question(Fields):
    id: Id = Field(alias="_id")
    text: Text
    metadata: Any = None


class _Passage(_Question):
    title: Text | None = None


@dataclass(frozen=True, slots=True)
class Files:
    """The three files of one split."""

    corpus: Path
    queries: Path
    judgements: Path


def find(folder: str | os.PathLike[str], split: str) -> Files:
    """The files of a folder that serve `split`, or a refusal that lists what was looked for."""
    folder = Path(folder)
    return Files(
        _only(folder, ["corpus.jsonl"]),
        _only(folder, [f"queries.{split}.jsonl", "queries.jsonl"]),
        _only(folder, [f"qrels/{split}.tsv", f"qrels.{split}.tsv"]),
    )


def _only(folder: Path, names: Sequence[str]) -> Path:
    known = [folder / (name + ending) for name in names for ending in ("", *PACKED)]
    found = [path for path in known if path.is_file()]
    if not found:
        fix = f"looked for {', '.join(names)}, each also with {', '.join(PACKED)}"
        raise DataError("a file of the collection is missing", where=str(folder), fix=fix)
    if len(found) > 1:
        what = f"two files claim the same place: {', '.join(path.name for path in found)}"
        raise DataError(what, where=str(folder), fix="keep one of them")
    return found[0]


def read_passages(path: str | os.PathLike[str], ignore: Sequence[str] = ()) -> PassageLines:
    def careful(line: Line) -> Passage:
        found = _Passage.of(json_object(line), line, ignore=ignore)
        return Passage(found.id, found.text, found.title or "")

    return PassageLines(path, careful, partial(passage_columns.of_json, pattern=_LINE))


def read_questions(path: str | os.PathLike[str], ignore: Sequence[str] = ()) -> Iterator[Question]:
    ids = Ids()
    for line, found in read_objects(path, _Question, ignore):
        ids.add(line, found.id, "_id")
        yield Question(found.id, found.text)


def read_judgements(path: str | os.PathLike[str]) -> Iterator[Judgement]:
    """With the header line, or without it where the first line already holds a whole number as its third column.

    A line without any character says nothing: some published files have such lines.
    """
    pairs = SeenPairs()
    for line in read_lines(path):
        if not line.text:
            continue
        question, passage, grade = split_line(line, _HEADER)
        if line.number == 1 and (question, passage, grade) == _HEADER:
            continue
        yield judgement(line, question, passage, grade, pairs)


def read_groups(folder: str | os.PathLike[str], split: str, least: int = 1) -> Iterator[Group]:
    """The judged questions of a split; see `trec.judged_groups`."""
    files = find(folder, split)
    return judged_groups(read_questions(files.queries), read_judgements(files.judgements), least)


def write_passages(file: IO[bytes], passages: Iterable[Passage]) -> int:
    """Returns the number of lines written, as do the other writers."""
    return write_lines(file, map(_passage_line, passages))


def write_questions(file: IO[bytes], questions: Iterable[Question]) -> int:
    """Answers have no place in the format and must be empty."""
    return write_lines(file, map(_question_line, questions))


def write_judgements(file: IO[bytes], judgements: Iterable[Judgement]) -> int:
    write_lines(file, ["\t".join(_HEADER)])
    return write_lines(file, ("\t".join(judgement_columns(one)) for one in judgements))


def _passage_line(passage: Passage) -> str:
    key = f"passage {writable_id(passage.id, 'passage id')}"
    title, text = writable_text(passage.title, key), writable_text(passage.text, key)
    return json_text({"_id": passage.id, "title": title, "text": text})


def _question_line(question: Question) -> str:
    key = f"question {writable_id(question.id, 'question id')}"
    if question.answers:
        raise DataError("has answers, which this format cannot hold", key=key, fix="use questions_jsonl")
    return json_text({"_id": question.id, "text": writable_text(question.text, key)})
