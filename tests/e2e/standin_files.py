"""The invented world in the files of the collections that the papers use: same names, same shapes, invented texts.

Nothing of `mpr/formats` writes them: lines are put together as the published files have them, so that the readers meet
what they would meet. Planted are what the real files have too: a question without positives, a gold passage that is
among the BM25 hits once more, quotation marks in a text.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mpr.corpora import invented_world
from mpr.records import Group, Passage

TRAINED, TESTED = 36, 12
DIALS = {"articles": 184, "questions": TRAINED, "dev_questions": 1, "test_questions": TESTED}
LOST = 3  # the training question that has no positives
DPR = {  # question set -> (name in DPR's files, first positive is gold, answers are patterns, test file is packed)
    "nq": ("nq", True, False, False),
    "trivia": ("trivia", False, False, True),
    "webq": ("webquestions", False, False, False),
    "trec": ("curatedtrec", False, True, False),
    "squad": ("squad1", True, False, False),
}
COPIES = {"nq": "nq", "trivia": "trivia", "webq": "wq", "trec": "curated", "squad": "squad"}  # names in Tevatron's
JUDGED = {"dev": slice(0, 5), "dl19": slice(5, 9), "dl20": slice(9, TESTED)}  # of the test questions


@dataclass
class Written:
    """What was put into a folder, to be found again: all that a row can be held against."""

    folder: Path
    passages: dict[str, str]
    """Id -> text."""
    positives: list[int]
    """How many each training question has that has any."""
    records: int = TRAINED
    """How many training questions there are."""
    answers: dict[str, list[list[str]]] = field(default_factory=dict)
    """Split -> answers of each question, in the order of the file."""
    grades: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    """Split -> question id -> passage id -> grade."""

    def counts(self) -> dict[str, int]:
        """Of the evaluation splits."""
        return {name: len(asked) for name, asked in (*self.answers.items(), *self.grades.items())}


@cache
def _world() -> invented_world.Collection:
    return invented_world.Collection(invented_world.Params.model_validate(DIALS))


@cache
def passages() -> dict[str, Passage]:
    """Id of the world -> passage, under a whole number as in the published files."""
    found = {}
    for number, passage in enumerate(_world().passages(), 1):
        text = f'{passage.text} It is called "the {passage.title}".' if number % 10 == 1 else passage.text
        found[passage.id] = Passage(str(number), text, passage.title)
    return found


@cache
def asked(split: str) -> list[Group]:
    return list(_world().groups(split))


def texts() -> Iterator[str]:
    """For a vocabulary."""
    return (f"{passage.title}\n{passage.text}" for passage in passages().values())


def _packed(path: Path, text: str) -> None:
    data = text.encode()
    path.write_bytes(gzip.compress(data, 1, mtime=0) if path.suffix == ".gz" else data)


def _tabbed(rows: Iterable[Iterable[str]]) -> str:
    """As Python's csv module writes it, which DPR's own code reads with."""
    out = io.StringIO()
    csv.writer(out, delimiter="\t", lineterminator="\n").writerows(rows)
    return out.getvalue()


def _jsonl(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _pattern(answer: str) -> str:
    """No string would match it: white space is written as a class, and words may stand in either case."""
    return r"\s+".join(re.escape(word) for word in answer.split()) + r"(?!\w)"


# DPR's Wikipedia


def dpr(folder: Path, questions: str, copies: tuple[str, ...] = (), annotated: bool = False) -> Written:
    """`psgs_w100.tsv.gz`, `biencoder-*-train.json.gz`, `*-test.qa.csv` and, if asked for, `*-annotation.jsonl`.

    Of `copies`, `train` and `test` among them, Tevatron's copies are written instead: `*.jsonl.gz`.
    """
    folder.mkdir(parents=True)
    stem, gold, regex, packed = DPR[questions]
    rows = [["id", "text", "title"], *([one.id, one.text, one.title] for one in passages().values())]
    _packed(folder / "psgs_w100.tsv.gz", _tabbed(rows))
    records = [_record(stem, group, number, gold, regex) for number, group in enumerate(asked("train"))]
    if "train" in copies:
        lines = [_copied(number, found) for number, found in enumerate(records) if found["positive_ctxs"]]
        _packed(folder / f"{COPIES[questions]}-train.jsonl.gz", _jsonl(lines))
    else:
        _packed(folder / f"biencoder-{stem}-train.json.gz", json.dumps(records, indent=4))
    answers = [_answers(group, regex) for group in asked("test")]
    texts = [group.question.text for group in asked("test")]
    if "test" in copies:  # without lists of passages, and the numbers of the questions as their ids
        lines = [
            {"query_id": str(number), "query": text, "answers": known}
            for number, (text, known) in enumerate(zip(texts, answers, strict=True))
        ]
        _packed(folder / f"{COPIES[questions]}-test.jsonl.gz", _jsonl(lines))
    else:
        lines_of_two = [[text, repr(known)] for text, known in zip(texts, answers, strict=True)]
        _packed(folder / f"{stem}-test.qa.csv{'.gz' if packed else ''}", _tabbed(lines_of_two))
    if annotated:
        _packed(folder / f"{questions}-annotation.jsonl", _annotation())
    known = {one.id: one.text for one in passages().values()}
    key = _key(stem)
    sizes = [len({one[key] for one in found["positive_ctxs"]}) for found in records if found["positive_ctxs"]]
    trained = _annotated_sizes() if annotated else sizes
    records = len(sizes) if "train" in copies else TRAINED
    return Written(folder, known, trained, records, answers={f"{questions}_test": answers})


def _copied(number: int, record: dict[str, Any]) -> dict[str, Any]:
    """A record in Tevatron's first form."""
    lists = {
        ours: [
            {"docid": one[key], "title": one["title"], "text": one["text"]}
            for one in record[theirs]
            for key in {"passage_id", "psg_id"} & set(one)
        ]
        for ours, theirs in (("positive_passages", "positive_ctxs"), ("negative_passages", "hard_negative_ctxs"))
    }
    return {"query_id": str(number), "query": record["question"], "answers": record["answers"], **lists}


def _answers(group: Group, regex: bool) -> list[str]:
    return [_pattern(answer) if regex else answer for answer in group.question.answers]


def _record(stem: str, group: Group, number: int, gold: bool, regex: bool) -> dict[str, Any]:
    listed = [passages()[one.passage] for one in group.positives]
    if not gold:
        listed = listed[1:] or listed
    hard = [passages()[one.passage] for one in group.candidates]
    key = _key(stem)
    found = {
        "positive_ctxs": [] if number == LOST else [*listed, listed[0]],
        "negative_ctxs": list(passages().values())[5 * number : 5 * number + 5],
        "hard_negative_ctxs": hard,
    }
    return {
        "dataset": f"{stem}_train_psgs_w100",
        "question": group.question.text,
        "answers": _answers(group, regex),
        **{name: [_context(one, place, key) for place, one in enumerate(ones)] for name, ones in found.items()},
    }


def _key(stem: str) -> str:
    return "passage_id" if stem == "nq" else "psg_id"


def _context(passage: Passage, place: int, key: str) -> dict[str, Any]:
    return {"title": passage.title, "text": passage.text, "score": 20.5 - place, "title_score": 0, key: passage.id}


def _annotation() -> str:
    """Tevatron's first form, with texts: positives as a language model ranks them, and thirty negatives at most."""
    rows = []
    for number, group in enumerate(asked("train")):
        rows.append(
            {
                "query_id": str(1_000 + number),
                "query": group.question.text,
                "positive_passages": [_inline(one) for one in _chosen(number, group)],
                "negative_passages": [_inline(one.passage) for one in group.candidates],
            }
        )
    return _jsonl(rows)


def _chosen(number: int, group: Group) -> list[str]:
    return [] if number == LOST else [one.passage for one in group.positives[:6]]


def _annotated_sizes() -> list[int]:
    chosen = (_chosen(number, group) for number, group in enumerate(asked("train")))
    return [len(found) for found in chosen if found]


def _inline(identity: str) -> dict[str, str]:
    passage = passages()[identity]
    return {"docid": passage.id, "title": passage.title, "text": passage.text}


# Judged collections


def _judged() -> dict[str, dict[str, int]]:
    """Number of each test question -> passage id -> grade, those of grade 0 included."""
    number_of = {group.question.id: str(2_000 + number) for number, group in enumerate(asked("test"))}
    grades: dict[str, dict[str, int]] = {number: {} for number in number_of.values()}
    for one in _world().judgements("test_truth"):
        grades[number_of[one.question]][passages()[one.passage].id] = one.grade
    return grades


def msmarco(folder: Path) -> Written:
    """`collection.tsv`, queries and qrels of dev (tabs, all 1) and of TREC DL (spaces, graded), `annotation.jsonl`."""
    folder.mkdir(parents=True)
    known = {one.id: " ".join(one.text.split()) for one in passages().values()}
    (folder / "collection.tsv").write_text("".join(f"{identity}\t{text}\n" for identity, text in known.items()))
    (folder / "annotation.jsonl").write_text(_annotation())
    written = Written(folder, known, _annotated_sizes())
    judged = _judged()
    for split, part in JUDGED.items():
        some = {number: judged[number] for number in list(judged)[part]}
        if split == "dev":
            some = {number: {name: 1 for name, grade in found.items() if grade > 1} for number, found in some.items()}
        else:  # half of what only has the words is on the topic, as TREC says: grade 1, which is not relevant
            some = {
                number: {name: grade or int(name) % 2 for name, grade in found.items()}
                for number, found in some.items()
            }
        written.grades[split] = some
        small, mark, ending = (".small", "\t", "tsv") if split == "dev" else ("", " ", "txt")
        pairs = ((number, name, grade) for number, found in some.items() for name, grade in found.items())
        lines = [mark.join((number, "0", name, str(grade))) for number, name, grade in pairs]
        (folder / f"qrels.{split}{small}.{ending}").write_text("\n".join(lines) + "\n")
        texts = [f"{number}\t{asked('test')[int(number) - 2_000].question.text}\n" for number in some]
        (folder / f"queries.{split}{small}.tsv").write_text("".join(texts))
    return written


def beir(folder: Path) -> Written:
    """What a zip of the suite unpacks to, and the annotation beside it."""
    (folder / "qrels").mkdir(parents=True)
    rows = [{"_id": one.id, "title": one.title, "text": one.text, "metadata": {}} for one in passages().values()]
    (folder / "corpus.jsonl").write_text(_jsonl(rows))
    queries = [
        {"_id": str(2_000 + number), "text": group.question.text, "metadata": {}}
        for number, group in enumerate(asked("test"))
    ]
    (folder / "queries.jsonl").write_text(_jsonl(queries))
    judged = _judged()
    lines = [f"{number}\t{name}\t{grade}" for number, found in judged.items() for name, grade in found.items()]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n")
    (folder / "annotation.jsonl").write_text(_annotation())
    known = {one.id: one.text for one in passages().values()}
    return Written(folder, known, _annotated_sizes(), grades={"test": judged})
