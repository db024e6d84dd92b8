"""Your own collection: a corpus file and one file per split, in any format that mpr reads.

Give the SHA-256 of every file and the row can be published; without them the recipe must say `draft: true`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from mpr.catalogue import Parameters
from mpr.corpora import Collection as Base
from mpr.corpora import Pin, Split
from mpr.formats import beir, dpr_json, dpr_tsv, msmarco, questions_jsonl, squad, tevatron, trec
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
_WITH_FIELDS = ("dpr_json", "tevatron", "tevatron_inline", "candidates", "questions", "beir")
_INLINE = ("dpr_json", "tevatron_inline")
_LISTED = {"dpr_json": ("bm25", "random"), "tevatron": ("bm25",), "tevatron_inline": ("bm25",), "candidates": ("bm25",)}
_TRAINS = ("dpr_json", "tevatron", "tevatron_inline", "candidates", "squad")


class Corpus(Parameters):
    """The file of passages."""

    file: str
    """Name inside the folder; .gz, .zst and .xz are unpacked while reading."""
    format: Literal["dpr_tsv", "plain_tsv", "tevatron", "beir", "msmarco", "squad"]
    """`dpr_tsv`: id, text, title with a header; `plain_tsv`: the same without header and quoting; or a peer's own."""
    sha256: Checksum | None = None
    """Of the file as it lies on disk."""
    ignore: tuple[str, ...] = ()
    """For `tevatron` and `beir`: further fields of a line, which are not read."""
    passages: Annotated[int, Field(ge=1)] | None = None
    """How many there must be; null: any number."""

    @model_validator(mode="after")
    def _ignore_fits(self) -> Corpus:
        if self.ignore and self.format not in _WITH_FIELDS:
            raise ValueError(f"ignore: a file of format {self.format} has no fields to be left out")
        return self


class Questions(Parameters):
    """The file or files of a split."""

    file: str
    """Questions, or whole training records."""
    format: Literal[
        "dpr_json", "dpr_qa", "tevatron", "tevatron_inline", "candidates", "questions", "beir", "msmarco", "squad"
    ]
    """`dpr_json`, `tevatron_inline`: records with texts; `tevatron`, `candidates`: records with passage ids;
    `dpr_qa`, `questions`: questions with answers; `beir`, `msmarco`: questions for `judgements`."""
    sha256: Checksum | None = None
    """Of the file as it lies on disk."""
    ignore: tuple[str, ...] = ()
    """For files of JSON objects: further fields of an object, which are not read."""
    judgements: str | None = None
    """File of qrels: in the format's own form, or TREC's when its name ends in .txt or .qrels."""
    judgements_sha256: Checksum | None = None
    """Of that file as it lies on disk."""
    answers: Literal["string", "regex"] = "string"
    """Whether answers are strings or patterns."""
    questions: Annotated[int, Field(ge=1)] | None = None
    """How many there must be; null: any number."""
    relevant: Annotated[int, Field(ge=1)] = 1
    """Grade from which a judged passage is relevant: a positive, and right in the measures."""

    @model_validator(mode="after")
    def _ignore_fits(self) -> Questions:
        if self.ignore and self.format not in _WITH_FIELDS:
            raise ValueError(f"ignore: a file of format {self.format} has no fields to be left out")
        return self


def _left_out(file: Corpus | Questions) -> dict[str, tuple[str, ...]]:
    """What a reader that knows fields is told."""
    return {"ignore": file.ignore} if file.ignore else {}


class Params(Parameters):
    """Where the files are and how to read them."""

    folder: str
    """Folder with the files."""
    passages: Corpus
    """The corpus."""
    splits: Annotated[dict[str, Questions], Field(min_length=1)]
    """Split name -> its files."""


class Collection(Base):
    @property
    def size(self) -> int | None:  # type: ignore[override]
        found: int | None = self.params.passages.passages
        return found

    @property
    def splits(self) -> Mapping[str, Split]:
        return {
            name: Split(
                found.questions,
                trains=found.judgements is not None or found.format in _TRAINS,
                judged=found.judgements is not None,
                relevant=found.relevant,
                regex=found.answers == "regex",
                inline=found.format in _INLINE,
                sources=_LISTED.get(found.format, ()) if found.judgements is None else ("judged",),
            )
            for name, found in self.params.splits.items()
        }

    @property
    def pins(self) -> tuple[Pin, ...]:
        splits = self.params.splits.values()
        files = tuple(Pin(one.file, sha256=one.sha256) for one in (self.params.passages, *splits))
        judged = (one for one in splits if one.judgements is not None)
        return files + tuple(Pin(str(one.judgements), sha256=one.judgements_sha256) for one in judged)

    def passages(self) -> Iterator[Passage]:
        corpus = self.params.passages
        return _CORPORA[corpus.format](self.fetch(Pin(corpus.file, sha256=corpus.sha256)), **_left_out(corpus))

    def groups(self, split: str) -> Iterator[Group]:
        found: Questions = self.params.splits[split]
        path, regex = self.fetch(Pin(found.file, sha256=found.sha256)), found.answers == "regex"
        if found.judgements is not None:
            asked = _QUESTIONS[found.format](path, **_left_out(found))
            return trec.judged_groups(asked, self.judgements(split), found.relevant)
        if found.format == "dpr_json":
            return dpr_json.read_groups(path, regex=regex, ignore=found.ignore)
        if found.format in ("tevatron", "tevatron_inline"):
            return tevatron.read_groups(path, regex=regex, ignore=found.ignore)
        if found.format == "candidates":
            return questions_jsonl.read_groups(path, ignore=found.ignore)
        if found.format == "squad":
            return squad.read_groups(path, prefix="")
        if found.format == "dpr_qa":
            return (Group(question) for question in dpr_tsv.read_questions(path, regex=regex))
        return (Group(question) for question in _QUESTIONS[found.format](path, **_left_out(found)))

    def judgements(self, split: str) -> Iterator[Judgement]:
        found: Questions = self.params.splits[split]
        if found.judgements is None:
            return super().judgements(split)
        path = self.fetch(Pin(found.judgements, sha256=found.judgements_sha256))
        if found.judgements.endswith((".txt", ".qrels")):
            return trec.read_judgements(path)
        return beir.read_judgements(path) if found.format == "beir" else msmarco.read_judgements(path)
