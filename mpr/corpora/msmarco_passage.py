"""MS MARCO passage ranking: 8.8 million passages, one or few judged passages a question.

TREC's deep learning tracks (`dl19`, `dl20`) grade from 0 to 3 and count a passage as relevant from grade 2 on.

The user brings the official TSV files (they are behind Microsoft's terms). `official_train` trains on them: candidates
come from sources, out of all passages; `unlabelled` is queries.unlabelled.tsv, questions without judgements. `train`
takes a file in Tevatron's form with negatives, `annotated_train` one with positives chosen by a language model, as
arXiv 2602.12727 does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from mpr.catalogue import Parameters
from mpr.corpora import Collection as Base
from mpr.corpora import Pin, Split
from mpr.formats import msmarco, tevatron, trec
from mpr.records import Group, Judgement, Passage

_LICENCE = "MS MARCO terms, non-commercial research: microsoft.github.io/msmarco"
_TREC = {"dl19": 43, "dl20": 54}  # judged questions, as on the viewer of Tevatron/msmarco-passage
ABOUT = 400_800  # training questions: the released example of arXiv 2602.12727 saves every epoch, 3,131 steps of 128
JUDGED = 502_939  # training questions with a judgement, of 808,731: ir-datasets' card of beir/msmarco/train
_OFFICIAL = {"official_train": "train", "dev": "dev.small"}  # name of the files


class Params(Parameters):
    """Where the files are."""

    folder: str | None = None
    """Folder with collection.tsv, queries.*.tsv and qrels.*.tsv (`train`, `dev.small`, `dl19`, `dl20`); train.jsonl or
    annotation.jsonl for the splits that read them."""
    candidates: Annotated[int, Field(ge=0)] = 30
    """How many of each training record's negatives are kept, from the front."""


class Collection(Base):
    size = 8_841_823  # ir-datasets' card of msmarco-passage
    words = 56

    @property
    def splits(self) -> Mapping[str, Split]:
        judged = Split(None, judged=True, sources=("judged",))
        graded = replace(judged, trains=True, relevant=2, source="TREC DL")  # many positives: they can validate
        records = Split(None, trains=True, inline=True, sources=("negatives",), about=ABOUT)
        return {
            "official_train": replace(judged, trains=True, about=JUDGED),
            "train": records,
            "annotated_train": records,
            "unlabelled": Split(None),
            "dev": replace(judged, questions=6_980, source="the official small dev set"),
            **{name: replace(graded, questions=count) for name, count in _TREC.items()},
        }

    @property
    def pins(self) -> tuple[Pin, ...]:
        names = ("collection.tsv", "queries.dev.small.tsv", "qrels.dev.small.tsv")
        return tuple(Pin(name, licence=_LICENCE) for name in names)

    def passages(self) -> Iterator[Passage]:
        return msmarco.read_passages(self.fetch(self.pins[0]))

    def groups(self, split: str) -> Iterator[Group]:
        if split in ("train", "annotated_train"):
            tier = "gold" if split == "train" else "llm"
            name = "train.jsonl" if split == "train" else "annotation.jsonl"
            path = self.fetch(Pin(name, licence=_LICENCE))
            return tevatron.read_groups(path, tier, tier, source="negatives", negatives=self.params.candidates)
        queries = self.fetch(Pin(self._name("queries", split), licence=_LICENCE))
        if split == "unlabelled":
            return (Group(question) for question in msmarco.read_questions(queries))
        judged = trec.judged_groups(msmarco.read_questions(queries), self.judgements(split), self.split(split).relevant)
        return judged

    def judgements(self, split: str) -> Iterator[Judgement]:
        path = self.fetch(Pin(self._name("qrels", split), licence=_LICENCE))
        return trec.read_judgements(path) if split in _TREC else msmarco.read_judgements(path)

    def _name(self, kind: str, split: str) -> str:
        if split in _OFFICIAL:
            return f"{kind}.{_OFFICIAL[split]}.tsv"
        return f"{kind}.{split}.tsv" if kind == "queries" else f"{kind}.{split}.txt"
