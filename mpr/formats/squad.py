"""SQuAD 1.1: articles of paragraphs with their questions, and a plain form with one paragraph a line.

The official file (`.json`) is `{version, data: [{title, paragraphs: [{context, qas: [{id, question, answers:
[{text, answer_start}]}]}]}]}`. The plain one (`.jsonl`) has lines `{title, para, context, qas: [{question, answers:
[text]}]}`. Paragraphs have no ids of their own and are numbered through the file; a question's gold passage is the
paragraph it was asked about.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mpr.errors import DataError, excerpt
from mpr.records import Group, Passage, Positive, Question
from mpr.storage.json_fields import Fields, Id, Text, json_text, read_objects
from mpr.storage.json_stream import read_array
from mpr.storage.lines import Ids, Line, line_id, writable_id, writable_text
from mpr.storage.unpack import PACKED, stem


class _Answer(Fields):
    text: Text
    answer_start: int


class _Question(Fields):
    id: Id
    question: Text
    answers: list[_Answer]


class _Official(Fields):
    context: Text
    qas: list[_Question]


class _Article(Fields):
    title: Text
    paragraphs: list[_Official]


class _PlainQuestion(Fields):
    question: Text
    answers: list[Text]


class _Plain(Fields):
    title: Text
    para: int
    context: Text
    qas: list[_PlainQuestion]


@dataclass(frozen=True, slots=True)
class _Paragraph:
    line: Line
    title: str
    context: str
    questions: Sequence[tuple[str | None, str, tuple[str, ...]]]  # id if it has one, text, answers


def read_passages(path: str | os.PathLike[str], prefix: str | None = None, first: int = 0) -> Iterator[Passage]:
    """The paragraphs. Ids are `<file stem>-<n>` (or another `prefix`), counted from `first`."""
    prefix = f"{stem(path)}-" if prefix is None else prefix
    for count, paragraph in enumerate(_paragraphs(path), first):
        identity = line_id(paragraph.line, f"{prefix}{count}", "id made from the file name (pass another prefix)")
        yield Passage(identity, paragraph.context, paragraph.title)


def read_groups(
    path: str | os.PathLike[str], prefix: str | None = None, first: int = 0, question_prefix: str | None = None
) -> Iterator[Group]:
    """The questions, each with its paragraph as the gold positive; `prefix` and `first` as in `read_passages`.

    Questions of the plain form have no ids and get `<question_prefix><n>-<k>`, the k-th of the n-th paragraph;
    `question_prefix` is `prefix` unless given. Texts are not inline: read the passages too.
    """
    prefix = f"{stem(path)}-" if prefix is None else prefix
    question_prefix = prefix if question_prefix is None else question_prefix
    ids = Ids()
    for count, paragraph in enumerate(_paragraphs(path), first):
        gold = line_id(paragraph.line, f"{prefix}{count}", "id made from the file name (pass another prefix)")
        for index, (own, text, answers) in enumerate(paragraph.questions):
            identity = f"{question_prefix}{count}-{index}" if own is None else own
            ids.add(paragraph.line, line_id(paragraph.line, identity, "question id"), "question id")
            yield Group(Question(identity, text, answers), (Positive(gold),))


def read_questions(path: str | os.PathLike[str], prefix: str | None = None, first: int = 0) -> Iterator[Question]:
    """The questions alone; ids as in `read_groups`."""
    return (group.question for group in read_groups(path, prefix, first))


def _paragraphs(path: str | os.PathLike[str]) -> Iterator[_Paragraph]:
    name = Path(path)
    ending = Path(name.stem).suffix if name.suffix in PACKED else name.suffix
    if ending == ".jsonl":
        for line, plain in read_objects(path, _Plain):
            unnamed = [(None, one.question, tuple(one.answers)) for one in plain.qas]
            yield _Paragraph(line, plain.title, plain.context, unnamed)
    elif ending == ".json":
        for line, content in read_array(path, member="data"):
            article = _Article.of(content, line)
            for found in article.paragraphs:
                for one in found.qas:
                    for answer in one.answers:
                        if found.context[answer.answer_start :][: len(answer.text)] != answer.text:
                            what = f"answer {excerpt(answer.text)} is not in the context at {answer.answer_start:,}"
                            fix = "the answer, its answer_start or the context was changed: get the file again"
                            raise line.refuse(what, key=f"question {excerpt(one.id)}", fix=fix)
                named = [(one.id, one.question, tuple(answer.text for answer in one.answers)) for one in found.qas]
                yield _Paragraph(line, article.title, found.context, named)
    else:
        fix = "name the official form *.json and the form with one paragraph a line *.jsonl"
        raise DataError(f"ending '{ending}' does not say which form of SQuAD this is", where=str(path), fix=fix)


def write(
    file: IO[bytes], passages: Iterable[Passage], groups: Iterable[Group], prefix: str = "", first: int = 0
) -> int:
    """Writes the official form; neighbouring passages of one title become an article. Returns the number of passages.

    Passage ids must be those that reading with `prefix` and `first` makes. Each question needs one gold positive
    among the passages, and its answers must be found in it. Groups are held in memory.
    """
    asked: dict[str, list[Question]] = {}
    for group in groups:
        if len(group.positives) != 1 or group.positives[0] != Positive(group.positives[0].passage):
            what = "must have one positive of tier gold and grade 1"
            raise DataError(what, key=f"question {group.question.id}", fix="write another format")
        asked.setdefault(group.positives[0].passage, []).append(group.question)
    count, title = 0, None
    file.write(b'{"version": "1.1", "data": [')
    for count, passage in enumerate(passages, 1):
        if passage.id != f"{prefix}{first + count - 1}":
            what = f"is in place {count} of the file, where its id would be {prefix}{first + count - 1}"
            raise DataError(what, key=f"passage {passage.id}", fix="pass the prefix and first number of its id")
        if passage.title != title:
            name = json_text(writable_text(passage.title, f"passage {passage.id}"))
            file.write(f'{"" if title is None else "]},"}\n{{"title": {name}, "paragraphs": [\n'.encode())
        else:
            file.write(b",\n")
        title = passage.title
        file.write(json_text(_paragraph(passage, asked.pop(passage.id, []))).encode())
    file.write(b"]}]}\n" if count else b"]}\n")
    if asked:
        raise DataError(f"is the gold passage of a question but not among the passages: {next(iter(asked))}")
    return count


def _paragraph(passage: Passage, questions: list[Question]) -> dict[str, Any]:
    context, rows = writable_text(passage.text, f"passage {passage.id}"), []
    for question in questions:
        key = f"question {writable_id(question.id, 'question id')}"
        answers = []
        for answer in question.answers:
            if answer not in context:
                raise DataError(f"answer is not in passage {passage.id}", key=key, fix="write another format")
            answers.append({"text": writable_text(answer, key), "answer_start": context.index(answer)})
        rows.append({"id": question.id, "question": writable_text(question.text, key), "answers": answers})
    return {"context": context, "qas": rows}
