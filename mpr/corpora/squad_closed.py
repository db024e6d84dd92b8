"""SQuAD 1.1 with its own paragraphs as the corpus: few positives a question, as in the paper's SQuAD rows.

A passage is a paragraph, numbered through the training articles and then the development articles. `official` reads the
two JSON files of the data set: each question has its one gold paragraph. `paragraphs` reads the same paragraphs as a
TSV with candidate lists made by BM25: the gold paragraph, answer matches among the first 100, and 20 negatives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Literal

from mpr.catalogue import Parameters
from mpr.corpora import Collection as Base
from mpr.corpora import Pin, Split
from mpr.formats import dpr_tsv, questions_jsonl, squad
from mpr.records import Group, Passage

_SITE = "https://rajpurkar.github.io/SQuAD-explorer/dataset/"
_LICENCE = "CC BY-SA 4.0"
_QUESTIONS = {"train": 87_599, "dev": 10_570}
_OFFICIAL = {split: Pin(f"{split}-v1.1.json", f"{_SITE}{split}-v1.1.json", licence=_LICENCE) for split in _QUESTIONS}
_PARAGRAPHS = Pin(
    "squad1.paragraphs.tsv.gz",
    sha256="ea786e05e3a9f75a78474a8e060782a4c0847c49ad5e9bf9aa7426c1ebc5c60c",
    licence=_LICENCE,
)
_CANDIDATES = {
    "train": Pin(
        "squad1-train.candidates.jsonl.gz",
        sha256="135bcfc884308125eceb0d695253525384adde4fcc5fdeb87f1906232272c8d6",
        licence=_LICENCE,
    ),
    "dev": Pin(
        "squad1-dev.candidates.jsonl.gz",
        sha256="fef70a71c3d0099ad4aff54db10acfd60d15db311cd598964de11ba2a59e62a3",
        licence=_LICENCE,
    ),
}


class Params(Parameters):
    """Which form of the data."""

    form: Literal["official", "paragraphs"]
    """`official`: the data set's JSON, gold positives only. `paragraphs`: TSV and candidate lists."""
    folder: str | None = None
    """Folder with the files; null: download the official ones."""


class Collection(Base):
    size = 20_963
    words = 117

    @property
    def splits(self) -> Mapping[str, Split]:
        sources = ("bm25",) if self.params.form == "paragraphs" else ()
        return {name: Split(count, trains=True, sources=sources) for name, count in _QUESTIONS.items()}

    @property
    def pins(self) -> tuple[Pin, ...]:
        if self.params.form == "official":
            return tuple(_OFFICIAL.values())
        return (_PARAGRAPHS, *_CANDIDATES.values())

    def passages(self) -> Iterator[Passage]:
        if self.params.form == "paragraphs":
            return dpr_tsv.read_passages(self.fetch(_PARAGRAPHS), header=False, quoted=False)
        read = (squad.read_passages(self.fetch(pin), prefix="", first=first) for pin, first in self._numbered())
        return (replace(passage, title=passage.title.replace("_", " ")) for passage in chain.from_iterable(read))

    def groups(self, split: str) -> Iterator[Group]:
        if self.params.form == "paragraphs":
            return questions_jsonl.read_groups(self.fetch(_CANDIDATES[split]))
        first = dict(zip(_QUESTIONS, (number for _, number in self._numbered()), strict=True))[split]
        return squad.read_groups(self.fetch(_OFFICIAL[split]), prefix="", first=first)

    @staticmethod
    def _numbered() -> Iterator[tuple[Pin, int]]:
        """Each file with the number of its first paragraph: 18,896 paragraphs stand in the training articles."""
        yield _OFFICIAL["train"], 0
        yield _OFFICIAL["dev"], 18_896
