"""DPR's training files: one JSON list of questions, each with its passages inline in three lists.

`positive_ctxs`: in NQ and SQuAD the first is the gold passage and the others are BM25 hits that contain an answer, the
gold passage often among them once more; in TriviaQA, WebQuestions and CuratedTREC all of them are such hits.
`hard_negative_ctxs`: BM25 hits without an answer, or, in `nq-adv-hn-train`, those of a first DPR model.
`negative_ctxs`: random passages. A file has gigabytes and is read in bounded memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

from mpr.errors import DataError
from mpr.records import Candidate, Group, Passage, Positive, Question, text_hash
from mpr.storage.json_fields import Fields, IdOrNumber, Number, Object, Text, json_text
from mpr.storage.json_stream import read_array
from mpr.storage.lines import Ids, Line, line_id, writable_id, writable_text
from mpr.storage.unpack import stem

_POSITIVES, _HARD, _RANDOM = "positive_ctxs", "hard_negative_ctxs", "negative_ctxs"


class _Entry(Fields):
    question: Text
    answers: list[Text]
    positive_ctxs: list[Object]
    negative_ctxs: list[Object]
    hard_negative_ctxs: list[Object]
    id: IdOrNumber = ""
    dataset: Text = ""


class _Context(Fields):
    title: Text
    text: Text
    passage_id: IdOrNumber | None = None  # which of the three ids is there depends on the file
    psg_id: IdOrNumber | None = None
    id: IdOrNumber | None = None
    score: Number | None = None
    title_score: Number | None = None
    has_answer: bool = False


def read_groups(
    path: str | os.PathLike[str],
    first_tier: str = "gold",
    rest_tier: str = "answer_match",
    hard_source: str = "bm25",
    negatives: int | None = None,
    regex: bool = False,
    prefix: str | None = None,
    ignore: Sequence[str] = (),
) -> Iterator[Group]:
    """A group for each entry, in the order of the file, entries without positives included.

    `first_tier` and `rest_tier` label the first positive and the others: use `gold` and `answer_match` for NQ and
    SQuAD, `answer_match` for both elsewhere. Hard negatives become candidates of `hard_source`, the others of
    `random`; `negatives` keeps that many of each list (they hold 30 to 100), from the front. A passage that a list
    repeats counts once, in its first place. A question without an id gets `<file stem>-<index>` (or another
    `prefix`), a passage without one an id made from its title and text. `ignore` names further fields to be dropped.
    """
    prefix = f"{stem(path)}-" if prefix is None else prefix
    ids = Ids()
    for index, (line, found) in enumerate(read_array(path)):
        entry = _Entry.of(found, line, ignore=ignore)
        identity = entry.id or line_id(line, f"{prefix}{index}", "id")
        ids.add(line, identity)
        inline = InlinePassages(line)
        positives = tuple(
            Positive(passage, rest_tier if rank > 1 else first_tier)
            for rank, passage, _ in _contexts(inline, entry.positive_ctxs, _POSITIVES, ignore)
        )
        lists = ((hard_source, _HARD, entry.hard_negative_ctxs), ("random", _RANDOM, entry.negative_ctxs))
        candidates = tuple(
            Candidate(passage, source, rank, score)
            for source, name, contexts in lists
            for rank, passage, score in _contexts(inline, contexts[:negatives], name, ignore)
        )
        question = Question(identity, entry.question, tuple(entry.answers), regex)
        yield Group(question, positives, candidates, inline.passages)


class InlinePassages:
    """The passages whose texts one record carries, each once; an id that stands for two texts is refused.

    White space and quotation marks at the ends do not make another text: the programs that wrote these files read
    the passages in different ways.
    """

    def __init__(self, line: Line) -> None:
        self.line = line
        self._found: dict[str, Passage] = {}

    def add(self, passage: Passage, key: str) -> None:
        first = self._found.setdefault(passage.id, passage)
        if first != passage and _essence(first) != _essence(passage):
            raise self.line.refuse(f"passage {passage.id} has two different texts in this record", key)

    @property
    def passages(self) -> tuple[Passage, ...]:
        return tuple(self._found.values())


def _essence(passage: Passage) -> str:
    return "\n".join(" ".join(text.split()).strip('" ') for text in (passage.title, passage.text))


def _contexts(
    inline: InlinePassages, contexts: list[dict[str, Any]], name: str, ignore: Sequence[str]
) -> Iterator[tuple[int, str, float | None]]:
    """Place, passage id and score of each passage of a list, without repetitions; collects their texts."""
    seen: set[str] = set()
    for place, found in enumerate(contexts, 1):
        key = f"{name}[{place - 1}]"
        context = _Context.of(found, inline.line, key, ignore)
        given = {one for one in (context.passage_id, context.psg_id, context.id) if one is not None}
        if len(given) > 1:
            raise inline.line.refuse(f"has two ids: {', '.join(sorted(given))}", key)
        identity = given.pop() if given else text_id(context.title, context.text)
        inline.add(Passage(identity, context.text, context.title), key)
        if identity not in seen:
            seen.add(identity)
            yield place, identity, context.score


def text_id(title: str, text: str) -> str:
    """The id of a passage that came without one: equal for equal title and text, white space folded."""
    whole = f"{title}\n{text}"
    return f"text-{text_hash(whole):016x}"


def write_groups(
    file: IO[bytes],
    groups: Iterable[Group],
    first_tier: str = "gold",
    rest_tier: str = "answer_match",
    hard_source: str = "bm25",
) -> int:
    """Writes what `read_groups` with the same arguments gives back, one entry a line. Returns the number of entries.

    Every text must be inline. Grades, other tiers and other sources than `hard_source` and `random` have no place in
    the format and are refused.
    """
    count = 0
    for group in groups:
        file.write(b",\n" if count else b"[\n")
        file.write(json_text(_entry(group, (first_tier, rest_tier), {hard_source: _HARD, "random": _RANDOM})).encode())
        count += 1
    file.write(b"\n]\n" if count else b"[]\n")
    return count


def _entry(group: Group, tiers: tuple[str, str], sources: Mapping[str, str]) -> dict[str, Any]:
    question, key = group.question, f"question {writable_id(group.question.id, 'question id')}"
    passages = {passage.id: passage for passage in group.passages}
    entry: dict[str, Any] = {
        "id": question.id,
        "question": writable_text(question.text, key),
        "answers": [writable_text(answer, key) for answer in question.answers],
        _POSITIVES: [_context(passages, positive.passage, None, key) for positive in group.positives],
        _RANDOM: [],
        _HARD: [],
    }
    for index, positive in enumerate(group.positives):
        if positive != Positive(positive.passage, tiers[min(index, 1)]):
            what = f"positive {index} has tier {positive.tier} and grade {positive.grade}, which the format cannot hold"
            raise DataError(what, key=key, fix="pass first_tier and rest_tier, or write another format")
    for candidate in group.candidates:
        name = sources.get(candidate.source)
        if name is None or candidate.rank != len(entry[name]) + 1:
            what = f"candidate of source {candidate.source} at rank {candidate.rank} has no place in the format"
            raise DataError(what, key=key, fix=f"ranks count from 1 within {' and '.join(sources)}")
        entry[name].append(_context(passages, candidate.passage, candidate.score, key))
    return entry


def _context(passages: Mapping[str, Passage], identity: str, score: float | None, key: str) -> dict[str, Any]:
    if identity not in passages:
        raise DataError(f"text of passage {identity} is not inline", key=key, fix="add it to the group's passages")
    passage = passages[identity]
    context: dict[str, Any] = {"title": writable_text(passage.title, key), "text": writable_text(passage.text, key)}
    context["passage_id"] = writable_id(identity, key)
    return context if score is None else {**context, "score": score}
