"""DPR's Wikipedia: 21 million passages of 100 words and its five question sets, each in DPR's own files.

Training and development records carry their texts, so training needs no corpus. In NQ and SQuAD the first positive is
the gold passage; everywhere else, and for all further positives, a positive is a BM25 hit that contains an answer
(Karpukhin et al. 2020; facebookresearch/DPR issues 95 and 118). The files are under CC BY-NC 4.0. Their checksums were
never published and are not known to us, so rows on this collection are drafts until somebody pins them.

Questions that a model wrote for passages of the corpus (`mpr generate`) are the split <set>_generated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from mpr.catalogue import Parameters
from mpr.corpora import Collection as Base
from mpr.corpora import Pin, Split
from mpr.formats import dpr_json, dpr_tsv, questions_jsonl, tevatron
from mpr.records import Group, Passage

_ROOT = "https://dl.fbaipublicfiles.com/dpr/"
_LICENCE = "CC BY-NC 4.0"
_COUNTS = "Karpukhin et al. 2020, dataset table; records in the files are the filtered ones"
_ANNOTATED = {"nq": 50_000}  # about so many, as the README of huggingface.co/hengranZhang's labels says


class Params(Parameters):
    """Where the files are, and which of them take part."""

    folder: str | None = None
    """Folder with the files; null: download."""
    questions: Literal["nq", "trivia", "webq", "trec", "squad"]
    """Which question set; the splits are <set>_train, <set>_dev and <set>_test."""
    candidates: Annotated[int, Field(ge=0)] = 30
    """How many of each record's hard negatives and random negatives are kept, from the front."""


@dataclass(frozen=True)
class _Set:
    """DPR's name of a question set and what is known of it."""

    stem: str
    usable: int
    dev: int
    test: int
    first_tier: str
    regex: bool = False
    packed_test: bool = False


_SETS = {
    "nq": _Set("nq", 58_880, 8_757, 3_610, "gold"),
    "trivia": _Set("trivia", 60_413, 8_837, 11_313, "answer_match", packed_test=True),
    "webq": _Set("webquestions", 2_474, 361, 2_032, "answer_match"),
    "trec": _Set("curatedtrec", 1_125, 133, 694, "answer_match", regex=True),
    "squad": _Set("squad1", 70_096, 8_886, 10_570, "gold"),
}


class Collection(Base):
    size = 21_015_324
    words = 100

    @property
    def _set(self) -> _Set:
        return _SETS[self.params.questions]

    @property
    def splits(self) -> Mapping[str, Split]:
        name, known = self.params.questions, self._set
        records = Split(None, trains=True, inline=True, sources=("bm25", "random"), source=_COUNTS)
        return {
            f"{name}_train": replace(records, usable=known.usable),
            f"{name}_dev": replace(records, regex=known.regex),
            f"{name}_test": Split(known.test, regex=known.regex, source=_COUNTS),
            f"{name}_annotated": Split(
                None, trains=True, inline=True, sources=("negatives",), about=_ANNOTATED.get(name)
            ),
            f"{name}_generated": Split(None, trains=True),
        }

    @property
    def pins(self) -> tuple[Pin, ...]:
        return (*self._files.values(),)

    @property
    def _files(self) -> dict[str, Pin]:
        stem, name = self._set.stem, self.params.questions
        test = f"{stem}-test.qa.csv" + (".gz" if self._set.packed_test else "")
        paths = {
            "passages": "wikipedia_split/psgs_w100.tsv.gz",
            f"{name}_train": f"data/retriever/biencoder-{stem}-train.json.gz",
            f"{name}_dev": f"data/retriever/biencoder-{stem}-dev.json.gz",
            f"{name}_test": f"data/retriever/{test}",
        }
        return {key: Pin(path.rsplit("/", 1)[1], _ROOT + path, licence=_LICENCE) for key, path in paths.items()}

    def passages(self) -> Iterator[Passage]:
        return dpr_tsv.read_passages(self.fetch(self._files["passages"]))

    def groups(self, split: str) -> Iterator[Group]:
        known = self._set
        if split.endswith("_annotated"):
            return self._annotated()
        if split.endswith("_generated"):
            return questions_jsonl.read_groups(self.fetch(Pin(f"{self.params.questions}-generated.jsonl")))
        path = self.fetch(self._files[split])
        if split.endswith("_test"):
            return (Group(question) for question in dpr_tsv.read_questions(path, regex=known.regex))
        keep = self.params.candidates
        return dpr_json.read_groups(path, known.first_tier, "answer_match", negatives=keep, regex=known.regex)

    def _annotated(self) -> Iterator[Group]:
        """Positives chosen by a language model (arXiv 2602.12727), in Tevatron's form; the user brings the file."""
        pin = Pin(f"{self.params.questions}-annotation.jsonl", licence="see huggingface.co/hengranZhang")
        return tevatron.read_groups(self.fetch(pin), "llm", "llm", source="negatives", negatives=self.params.candidates)
