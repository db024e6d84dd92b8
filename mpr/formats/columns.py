"""Rows with named columns that hold texts: a question, its positives, its negatives, and scores of these.

Any table will do (`tables`, or a data set of the `datasets` library): a mapping says which column is which. A column of
positives or negatives holds one text or a list of texts, and several columns may be named. Rows with the same question
become one question with the positives of all: what is written twice counts once. So questions are held in memory.

A passage's id comes from its text, `text-<hash>`, and a question's from its own unless a column has ids: equal texts,
white space folded, are one passage.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mpr.errors import nearest
from mpr.records import Candidate, Group, PairScore, Passage, Positive, Question, text_hash, text_problem
from mpr.storage.json_fields import finite
from mpr.storage.lines import Line, identifier

SOURCE = "negatives"  # what the listed negatives are called as a source
LISTS = ("positives", "negatives")
Rows = Iterable[tuple[Line, dict[str, Any]]]
Names = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class Columns:
    """Our names of columns -> those of the table."""

    question: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...] = ()
    positive_scores: str | None = None
    """Of a teacher: a number for each positive, in their order."""
    negative_scores: str | None = None
    id: str | None = None
    """Of the question."""

    @classmethod
    def of(cls, names: Names) -> Columns:
        """From a recipe's mapping, whose names are checked here."""
        unknown = [name for name in names if name not in cls.__dataclass_fields__]
        missing = [name for name in ("question", "positives") if name not in names]
        several = [name for name, value in names.items() if name not in LISTS and not isinstance(value, str)]
        if unknown or missing or several:
            known = ", ".join(cls.__dataclass_fields__)
            parts = [f"unknown name '{name}' {nearest(name, cls.__dataclass_fields__)}".strip() for name in unknown]
            parts += [f"'{name}' is missing" for name in missing]
            parts += [f"'{name}' is one column" for name in several]
            raise ValueError(f"columns: {'; '.join(parts)}; names: {known}")
        given: dict[str, Any] = {name: (value,) if isinstance(value, str) else value for name, value in names.items()}
        made: dict[str, Any] = {name: tuple(value) if name in LISTS else value[0] for name, value in given.items()}
        return cls(**made)

    @property
    def names(self) -> dict[str, str]:
        """Column -> what it is for us."""
        found = {self.question: "question"}
        found |= dict.fromkeys(self.positives, "positives") | dict.fromkeys(self.negatives, "negatives")
        single = ("positive_scores", "negative_scores", "id")
        return found | {getattr(self, name): name for name in single if getattr(self, name) is not None}


@dataclass
class _Asked:
    """A question with everything that rows say about it: text of a passage -> its score."""

    question: Question
    positives: dict[str, float | None] = field(default_factory=dict)
    negatives: dict[str, float | None] = field(default_factory=dict)


def read_groups(rows: Rows, columns: Columns, optional: Sequence[str] = ()) -> Iterator[Group]:
    """A group for each different question, in the order of its first row. Columns in `optional` need not exist."""
    for one in _asked(rows, columns, optional):
        texts = {passage_id(text): text for text in (*one.positives, *one.negatives)}
        yield Group(
            one.question,
            tuple(Positive(passage) for passage in dict.fromkeys(map(passage_id, one.positives))),
            tuple(
                Candidate(passage_id(text), SOURCE, rank, score)
                for rank, (text, score) in enumerate(one.negatives.items(), 1)
            ),
            tuple(Passage(passage, text) for passage, text in texts.items()),
        )


def read_scores(rows: Rows, columns: Columns, optional: Sequence[str] = ()) -> Iterator[PairScore]:
    """What a teacher thinks of positives and negatives, as far as the rows say it; each pair once."""
    for one in _asked(rows, columns, optional):
        scores: dict[str, float] = {}
        for text, score in (*one.positives.items(), *one.negatives.items()):
            if score is not None:
                scores.setdefault(passage_id(text), score)
        yield from (PairScore(one.question.id, passage, score) for passage, score in scores.items())


def passage_id(text: str) -> str:
    """The id of a passage that came without one."""
    return f"text-{text_hash(text):016x}"


def read_passages(rows: Rows, names: Mapping[str, str]) -> Iterator[Passage]:
    """A corpus. `names`: `text`, and `id` and `title` where there are such columns. Without ids, a passage that comes
    twice is there once."""
    unseen, seen = set(names.values()), set[str]()
    for line, row in rows:
        text = _text(line, row, names["text"], "text", unseen)
        title = _text(line, row, names["title"], "title", unseen) if "title" in names else ""
        if not text and not title:
            raise line.refuse("passage has no text", names["text"], "remove the row")
        if "id" in names:
            yield Passage(_id(line, row, names["id"], unseen), text, title)
        elif (made := passage_id(f"{title} {text}" if title else text)) not in seen:
            seen.add(made)
            yield Passage(made, text, title)


def _asked(rows: Rows, columns: Columns, optional: Sequence[str]) -> Iterator[_Asked]:
    found: dict[str, _Asked] = {}
    line, row, unseen = None, dict[str, Any](), set(columns.names) - set(optional)
    for line, row in rows:
        text = _text(line, row, columns.question, "question", unseen)
        if not text.strip():
            raise line.refuse("question is empty", columns.question, "remove the row")
        name = f"question-{text_hash(text):016x}"
        if columns.id is not None and (columns.id not in optional or row.get(columns.id) is not None):
            name = _id(line, row, columns.id, unseen)
        one = found.setdefault(name, _Asked(Question(name, text)))
        if text_hash(one.question.text) != text_hash(text):
            raise line.refuse(f"id {name} is that of another question before", columns.id or "", "give it its own id")
        positives = [text for column in columns.positives for text in _texts(line, row, column, "positives", unseen)]
        if not positives:
            fix = "give it at least one, or remove the row"
            raise line.refuse("the question has no positive", ", ".join(columns.positives), fix)
        negatives = [text for column in columns.negatives for text in _texts(line, row, column, "negatives", unseen)]
        for texts, column, kept in (
            (positives, columns.positive_scores, one.positives),
            (negatives, columns.negative_scores, one.negatives),
        ):
            scores = _scores(line, row, column, len(texts), unseen)
            for text, score in zip(texts, scores, strict=True):
                if score is not None and kept.get(text) not in (None, score):
                    raise line.refuse(f"a passage has scores {kept[text]:g} and {score:g}", str(column), "keep one")
                kept[text] = kept.get(text) if score is None else score
    if line is not None:
        for column in sorted(unseen):  # named, and in no row
            raise _missing(line, row, column, columns.names[column])
    yield from found.values()


def _missing(line: Line, row: Mapping[str, Any], column: str, ours: str) -> Exception:
    fix = f"{nearest(column, row)} columns: {', '.join(row)}".strip()
    return line.refuse(f"there is no column '{column}' (for {ours})", "columns", fix)


def _text(line: Line, row: Mapping[str, Any], column: str, ours: str, unseen: set[str]) -> str:
    """The text of a column that every row must have."""
    if column not in row:
        raise _missing(line, row, column, ours)
    unseen.discard(column)
    value = row[column]
    value = "" if value is None else value
    if problem := text_problem(value):
        raise line.refuse(problem, column)
    return str(value)


def _texts(line: Line, row: Mapping[str, Any], column: str, ours: str, unseen: set[str]) -> list[str]:
    """The texts of a column: one, or a list; nothing where a row has none."""
    if column not in row:
        if ours == "positives":
            raise _missing(line, row, column, ours)
        return []
    unseen.discard(column)
    value = row[column]
    listed = value if isinstance(value, list) else [] if value in (None, "") else [value]
    for place, text in enumerate(listed):
        name = f"{column}[{place}]" if isinstance(value, list) else column
        if problem := text_problem(text):
            raise line.refuse(problem, name)
        if not text.strip():
            raise line.refuse("is a blank text", name, "remove it")
    return listed


def _scores(
    line: Line, row: Mapping[str, Any], column: str | None, count: int, unseen: set[str]
) -> Sequence[float | None]:
    """A score for each of so many texts; None where the row has none."""
    value = None if column is None else row.get(column)
    if column is None or value is None:
        return [None] * count
    unseen.discard(column)
    listed = value if isinstance(value, list) else [value]
    if len(listed) != count:
        raise line.refuse(f"has {len(listed)} scores for {count} texts", column, "give one for each, or remove them")
    try:
        return [finite(score) for score in listed]
    except ValueError as error:
        raise line.refuse(str(error), column) from None


def _id(line: Line, row: Mapping[str, Any], column: str, unseen: set[str]) -> str:
    """An id; whole numbers become text."""
    if column not in row:
        raise _missing(line, row, column, "id")
    unseen.discard(column)
    value = row[column]
    value = str(value) if type(value) is int else value
    if problem := identifier(value):
        raise line.refuse(problem, column)
    return str(value)
