"""Your own collection: a file per split, and a corpus file if there is one, in any format that mpr reads.

Give the SHA-256 of every file and the row can be published; without them the recipe must say `draft: true`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from mpr.catalogue import Parameters
from mpr.corpora import Pin, Split, _own
from mpr.formats import (
    anchors,
    beir,
    columns,
    dpr_json,
    dpr_tsv,
    msmarco,
    pos_neg,
    questions_jsonl,
    rlhn,
    squad,
    tables,
    tevatron,
    trec,
)
from mpr.records import Group, Judgement, Passage, Question

Checksum = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

_CORPORA: dict[str, Callable[..., Iterator[Passage]]] = {
    "dpr_tsv": dpr_tsv.read_passages,
    "plain_tsv": lambda path: dpr_tsv.read_passages(path, header=False, quoted=False),
    "tevatron": tevatron.read_passages,
    "beir": beir.read_passages,
    "msmarco": msmarco.read_passages,
    "squad": lambda path: squad.read_passages(path, prefix=""),
}
_QUESTIONS: dict[str, Callable[..., Iterator[Question]]] = {
    "beir": beir.read_questions,
    "msmarco": msmarco.read_questions,
    "questions": questions_jsonl.read_questions,
}
_TEXTS = ("pos_neg", "anchors", "columns")  # texts without ids, which are passages of the corpus
_WITH_FIELDS = (
    "dpr_json", "tevatron", "tevatron_inline", "rlhn", "candidates", "questions", "beir", "pos_neg", "anchors",
)  # fmt: skip
_INLINE = ("dpr_json", "tevatron_inline", "rlhn")
_LISTED = {
    "dpr_json": ("bm25", "random"),
    **dict.fromkeys(("tevatron", "tevatron_inline", "rlhn", "candidates"), ("bm25",)),
}
_TRAINS = ("dpr_json", "tevatron", "tevatron_inline", "rlhn", "candidates", "squad", *_TEXTS)


class Corpus(Parameters):
    """The file of passages."""

    file: str
    """Name inside the folder; .gz, .zst and .xz are unpacked while reading."""
    format: Literal["dpr_tsv", "plain_tsv", "tevatron", "beir", "msmarco", "squad", "columns"]
    """`dpr_tsv`: id, text, title with a header; `plain_tsv`: the same without header and quoting; `columns`: a table;
    or a peer's own."""
    columns: dict[Literal["id", "text", "title"], str] | None = None
    """For `columns`: our name -> column. Without `id`, ids come from the texts."""
    ignore: tuple[str, ...] = ()
    """For `tevatron` and `beir`: further fields of a line, which are not read."""
    sha256: Checksum | None = None
    """Of the file as it lies on disk."""
    passages: Annotated[int, Field(ge=1)] | None = None
    """How many there must be; null: any number."""

    @model_validator(mode="after")
    def _columns_fit(self) -> Corpus:
        if (self.format == "columns") != (self.columns is not None):
            raise ValueError("`format: columns` and `columns` go together")
        if self.columns is not None and "text" not in self.columns:
            raise ValueError("columns: 'text' is missing")
        if self.ignore and self.format not in _WITH_FIELDS:
            raise ValueError(f"ignore: a file of format {self.format} has no fields to be left out")
        return self


class Questions(_own.Held):
    """The file or files of a split."""

    file: str
    """Questions, or whole training records."""
    format: Literal[
        "dpr_json", "dpr_qa", "tevatron", "tevatron_inline", "rlhn", "candidates", "questions", "beir", "msmarco",
        "squad", "pos_neg", "anchors", "columns",
    ]  # fmt: skip
    """`pos_neg`, `anchors`, `columns`: texts of questions, positives and negatives; `dpr_json`, `tevatron_inline`,
    `rlhn`: records with texts and ids; `tevatron`, `candidates`: records with passage ids; `dpr_qa`, `questions`:
    questions with answers; `beir`, `msmarco`: questions for `judgements`."""
    columns: dict[str, str | tuple[str, ...]] | None = None
    """For `columns`: `question` and `positives` -> columns; also `negatives`, `positive_scores`, `negative_scores`,
    `id`. Positives and negatives may be in several columns."""
    subset: str | None = None
    """For `rlhn`: only the rows of this data set; null: all."""
    ignore: tuple[str, ...] = ()
    """For files of JSON objects: further fields of an object, which are not read."""
    sha256: Checksum | None = None
    """Of the file as it lies on disk."""
    judgements: str | None = None
    """File of qrels: in the format's own form, or TREC's when its name ends in .txt or .qrels."""
    judgements_sha256: Checksum | None = None
    """Of that file as it lies on disk."""
    relevance: Literal["answers", "positives"] | None = None
    """What is right when the split is evaluated without `judgements`: a passage with an answer, or a positive. Null:
    `positives` for `pos_neg`, `anchors` and `columns`, otherwise `answers`."""
    answers: Literal["string", "regex"] = "string"
    """Whether answers are strings or patterns."""
    questions: Annotated[int, Field(ge=1)] | None = None
    """How many there must be; null: any number."""
    relevant: Annotated[int, Field(ge=1)] = 1
    """Grade from which a judged passage is relevant: a positive, and right in the measures."""

    @model_validator(mode="after")
    def _columns_fit(self) -> Questions:
        if (self.format == "columns") != (self.columns is not None):
            raise ValueError("`format: columns` and `columns` go together")
        if self.ignore and self.format not in _WITH_FIELDS:
            raise ValueError(f"ignore: a file of format {self.format} has no fields to be left out")
        if self.subset is not None and self.format != "rlhn":
            raise ValueError("subset: only a file of format rlhn tells data sets apart")
        if self.columns is not None:
            columns.Columns.of(self.columns)
        return self

    @property
    def by_positives(self) -> bool:
        """Whether its positives are what is right in an evaluation."""
        return self.judgements is None and (self.relevance or _RELEVANCE[self.format in _TEXTS]) == "positives"


_RELEVANCE = {True: "positives", False: "answers"}


def _left_out(file: Corpus | Questions) -> dict[str, tuple[str, ...]]:
    """What a reader that knows fields is told."""
    return {"ignore": file.ignore} if file.ignore else {}


class Params(Parameters):
    """Where the files are and how to read them."""

    folder: str
    """Folder with the files."""
    passages: Corpus | None = None
    """The corpus; null: all texts that occur in the splits."""
    splits: Annotated[dict[str, Questions], Field(min_length=1)]
    """Split name -> its files."""

    @model_validator(mode="after")
    def _fit(self) -> Params:
        texts = {name: one.format in (*_TEXTS, *_INLINE) for name, one in self.splits.items()}
        if problem := _own.problem(self.passages, self.splits, texts):
            raise ValueError(problem)
        return self


class Collection(_own.Collection):
    @property
    def size(self) -> int | None:  # type: ignore[override]
        corpus: Corpus | None = self.params.passages
        return None if corpus is None else corpus.passages

    def facts(self, split: str) -> Split:
        found: Questions = self.params.splits[split]
        listed = (columns.SOURCE,) if found.format in _TEXTS else _LISTED.get(found.format, ())
        return Split(
            found.questions,
            trains=found.judgements is not None or found.format in _TRAINS,
            judged=found.judgements is not None or found.by_positives,
            relevant=found.relevant,
            regex=found.answers == "regex",
            inline=found.format in _INLINE,
            sources=listed if found.judgements is None else ("judged",),
        )

    def brings_texts(self, split: str) -> bool:
        return self.params.splits[split].format in (*_TEXTS, *_INLINE)

    @property
    def pins(self) -> tuple[Pin, ...]:
        splits = self.params.splits.values()
        named = splits if self.params.passages is None else (self.params.passages, *splits)
        files = tuple(Pin(one.file, sha256=one.sha256) for one in named)
        judged = (one for one in splits if one.judgements is not None)
        return files + tuple(Pin(str(one.judgements), sha256=one.judgements_sha256) for one in judged)

    def corpus(self) -> Iterator[Passage]:
        corpus: Corpus = self.params.passages
        path = self.fetch(Pin(corpus.file, sha256=corpus.sha256))
        if corpus.columns is not None:
            return columns.read_passages(
                tables.read_rows(path), {str(ours): name for ours, name in corpus.columns.items()}
            )
        return _CORPORA[corpus.format](path, **_left_out(corpus))

    def records(self, split: str) -> Iterator[Group]:
        found: Questions = self.params.splits[split]
        path, regex = self.fetch(Pin(found.file, sha256=found.sha256)), found.answers == "regex"
        if found.judgements is not None:
            asked = _QUESTIONS[found.format](path, **_left_out(found))
            return trec.judged_groups(asked, self._qrels(found), found.relevant)
        if found.columns is not None:
            return columns.read_groups(tables.read_rows(path), columns.Columns.of(found.columns))
        if found.format in ("pos_neg", "anchors"):
            read = pos_neg.read_groups if found.format == "pos_neg" else anchors.read_groups
            return read(tables.read_rows(path), found.ignore)
        if found.format == "dpr_json":
            return dpr_json.read_groups(path, regex=regex, ignore=found.ignore)
        if found.format in ("tevatron", "tevatron_inline"):
            return tevatron.read_groups(path, regex=regex, ignore=found.ignore)
        if found.format == "rlhn":
            return rlhn.read_groups(path, found.subset, ignore=found.ignore)
        if found.format == "candidates":
            return questions_jsonl.read_groups(path, ignore=found.ignore)
        if found.format == "squad":
            return squad.read_groups(path, prefix="")
        if found.format == "dpr_qa":
            return (Group(question) for question in dpr_tsv.read_questions(path, regex=regex))
        return (Group(question) for question in _QUESTIONS[found.format](path, **_left_out(found)))

    def judgements(self, split: str) -> Iterator[Judgement]:
        name = self.source_of(split)
        found: Questions = self.params.splits[name]
        if found.judgements is None:
            return super().judgements(split) if found.by_positives else self.unjudged(split)
        if name == split and found.holdout is None:
            return self._qrels(found)
        kept = {group.question.id for group in self.groups(split)}
        return (one for one in self._qrels(found) if one.question in kept)

    def _qrels(self, found: Questions) -> Iterator[Judgement]:
        path = self.fetch(Pin(str(found.judgements), sha256=found.judgements_sha256))
        if str(found.judgements).endswith((".txt", ".qrels")):
            return trec.read_judgements(path)
        return beir.read_judgements(path) if found.format == "beir" else msmarco.read_judgements(path)
