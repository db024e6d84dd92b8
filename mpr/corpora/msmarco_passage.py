"""MS MARCO passage ranking: 8.8 million passages, one or few judged passages a question.

The official files come from the servers of Microsoft and NIST, under Microsoft's terms, and are unpacked from their
archives; or they lie in the user's folder, unpacked or not. `official_train` trains on them: candidates come from
sources, out of all passages. `unjudged_train` has the official training questions that nobody judged. TREC's deep
learning tracks (`dl19`, `dl20`) grade from 0 to 3 and count a passage as relevant from grade 2 on; their published
measures are nDCG@10, MAP and recall at 1,000 (`ndcg10`, `map1000`, `recall1000`).

`train` is Tevatron's copy on the Hub, whose records bring their negatives. The user brings `annotated_train`, records
in the same form whose positives a language model chose, as in arXiv 2602.12727, and `unlabelled`, further questions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from mpr.catalogue import Parameters
from mpr.corpora import Collection as Base
from mpr.corpora import Pin, Split
from mpr.formats import msmarco, tevatron, trec
from mpr.records import Group, Judgement, Passage

_LICENCE = "MS MARCO terms, non-commercial research: microsoft.github.io/msmarco"
_ROOT = "https://msmarco.z22.web.core.windows.net/msmarcoranking/"
_NIST = "https://trec.nist.gov/data/deep/"
_COPIES = "https://mirror.ir-datasets.com/"  # the copies that ir_datasets keeps of NIST's files, named by their MD5
_IR_DATASETS = "ir_datasets, etc/downloads.json @02a8f21c"  # addresses, MD5 and bytes
_MEMBERS = "records that public projects keep of the unpacked archive; two or more agree"
_ONE_MEMBER = "the record that a public project keeps of the unpacked archive, whose other sums are confirmed elsewhere"
ABOUT = 400_800  # training questions: the released example of arXiv 2602.12727 saves every epoch, 3,131 steps of 128
JUDGED = 502_939  # training questions with a judgement, of 808,731: ir-datasets' card of beir/msmarco/train
_ASKED = 808_731  # official training questions: ir_datasets' metadata of msmarco-passage/train
_TREC = {"dl19": 43, "dl20": 54}  # judged questions, as on the viewer of Tevatron/msmarco-passage


def _official(file: str, md5: str, size: int, *names: str, root: str = _ROOT, mirror: str = "") -> Pin:
    mirrors = (mirror,) if mirror else ()
    return Pin(file, root + file, mirrors, md5=md5, size=size, source=_IR_DATASETS, licence=_LICENCE, names=names)


def _trec(file: str, md5: str, size: int, *names: str) -> Pin:
    return _official(file, md5, size, *names, root=_NIST, mirror=_COPIES + md5)


_BUNDLE = _official(
    "collectionandqueries.tar.gz",
    "31644046b18952c1386cd4564ba2ae69",
    1_057_717_952,
    mirror="https://www.dropbox.com/s/9f54jg2f71ray3b/collectionandqueries.tar.gz?dl=1",  # Anserini's guide names it
)


def _member(file: str, md5: str, size: int | None, *names: str, source: str = _MEMBERS) -> Pin:
    """Of the archive above. An older copy of the small questions, with MD5 41e980d8..., is not the one in it."""
    return Pin(file, md5=md5, size=size, source=source, licence=_LICENCE, names=names, archive=_BUNDLE)


_PASSAGES = _member("collection.tsv", "31e42eeac3a3ea1b75c689c483be4484", 3_061_567_852)
_TRAIN_QUESTIONS = _member("queries.train.tsv", "33c9e2a484f1f5a8cc041f05497e639e", None, source=_ONE_MEMBER)
_TRAIN_QRELS = _official("qrels.train.tsv", "733fb9fe12d93e497f7289409316eccf", 10_589_532)
_FILES = {  # split -> what it is read from: questions or records, then judgements
    "official_train": (_TRAIN_QUESTIONS, _TRAIN_QRELS),
    "unjudged_train": (_TRAIN_QUESTIONS, _TRAIN_QRELS),
    "train": (
        Pin(
            "train.jsonl.gz",
            repo="Tevatron/msmarco-passage",
            revision="153491a34ceed12299b710cf731aa41bc3e00f54",
            sha256="9df43ab7a970fc63e9eca68b7a3a26036221339b6d2d7619d959306f96ec3193",
            size=1_726_062_395,
            source="huggingface.co/datasets/Tevatron/msmarco-passage, commit a8eec567 of the file",
            licence=_LICENCE,
        ),
    ),
    "annotated_train": (Pin("annotation.jsonl", licence=_LICENCE),),
    "unlabelled": (Pin("queries.unlabelled.tsv", licence=_LICENCE),),
    "dev": (
        _member("queries.dev.small.tsv", "4621c583f1089d223db228a4f95a05d1", 290_193),
        _member(
            "qrels.dev.small.tsv", "38a80559a561707ac2ec0f150ecd1e8a", 143_300, "qrels.msmarco-passage.dev-subset.txt"
        ),
    ),
    "dl19": (
        _official("msmarco-test2019-queries.tsv.gz", "eda71eccbe4d251af83150abe065368c", 4_276, "queries.dl19.tsv"),
        _trec(
            "2019qrels-pass.txt",
            "2f4be390198da108f6845c822e5ada14",
            187_092,
            "qrels.dl19.txt",
            "qrels.dl19-passage.txt",
        ),
    ),
    "dl20": (
        _official("msmarco-test2020-queries.tsv.gz", "00a406fb0d14ed3752d70d1e4eb98600", 4_131, "queries.dl20.tsv"),
        _trec(
            "2020qrels-pass.txt",
            "0355ccee7509ac0463e8278186cdd8d1",
            218_617,
            "qrels.dl20.txt",
            "qrels.dl20-passage.txt",
        ),
    ),
}


class Params(Parameters):
    """Where the files are."""

    folder: str | None = None
    """Folder with the official files, as they are published or as collection.tsv, queries.*.tsv and qrels.*.tsv
    (`train`, `dev.small`, `dl19`, `dl20`); null: download. annotation.jsonl and queries.unlabelled.tsv for the splits
    that read them."""
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
        source = "ir_datasets, etc/metadata.json @0526f717"
        return {
            "official_train": replace(judged, questions=JUDGED, trains=True, about=JUDGED, source=source),
            "unjudged_train": Split(_ASKED - JUDGED, source=source),
            "train": records,
            "annotated_train": records,
            "unlabelled": Split(None),
            "dev": replace(judged, questions=6_980, source="the official small dev set"),
            **{name: replace(graded, questions=count) for name, count in _TREC.items()},
        }

    @property
    def pins(self) -> tuple[Pin, ...]:
        return self.read_for(("official_train", "train", "dev", *_TREC))

    def read_for(self, splits: Iterable[str]) -> tuple[Pin, ...]:
        return tuple(dict.fromkeys((_PASSAGES, *(pin for split in splits for pin in _FILES.get(split, ())))))

    def passages(self) -> Iterator[Passage]:
        return msmarco.read_passages(self.fetch(_PASSAGES))

    def groups(self, split: str) -> Iterator[Group]:
        path = self.fetch(_FILES[split][0])
        if split in ("train", "annotated_train"):
            tier = "gold" if split == "train" else "llm"
            return tevatron.read_groups(path, tier, tier, source="negatives", negatives=self.params.candidates)
        questions = msmarco.read_questions(path)
        if split == "unlabelled":
            return (Group(question) for question in questions)
        if split == "unjudged_train":
            judged = {one.question for one in self.judgements(split)}
            return (Group(question) for question in questions if question.id not in judged)
        return trec.judged_groups(questions, self.judgements(split), self.split(split).relevant)

    def judgements(self, split: str) -> Iterator[Judgement]:
        if len(_FILES[split]) == 1:
            return super().judgements(split)
        path = self.fetch(_FILES[split][1])
        if split in _TREC:
            return trec.read_judgements(path)
        # the training file has 532,761 lines, BEIR's copy of it 532,751: some lines say what an earlier one says
        return msmarco.read_judgements(path, repeated=split != "dev")
