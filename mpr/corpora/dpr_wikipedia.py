"""DPR's Wikipedia: 21 million passages of 100 words, and five question sets in DPR's own files or in Tevatron's copies.

Training and development records carry their texts, so training needs no corpus. In NQ and SQuAD the first positive is
the gold passage; everywhere else, and for all further positives, a positive is a BM25 hit that contains an answer
(Karpukhin et al. 2020; facebookresearch/DPR issues 95 and 118). The files are under CC BY-NC 4.0.

`variant: dpr` reads DPR's files. Checksums are known of the passages and of the records of NQ and TriviaQA. `variant:
tevatron` reads the copies of Tevatron on the Hub, all of which are pinned to a commit, and DPR's passages. They hold
fewer records (docs/data.md has both counts), no random negatives, and do not say which positive is the gold passage.
Their test questions are whole: `test: tevatron` takes them beside DPR's records, whose test files nobody has pinned.

Questions that a model wrote for passages of the corpus (`mpr generate`) are the split <set>_generated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from mpr.catalogue import Parameters
from mpr.corpora import Collection as Base
from mpr.corpora import Pin, Split
from mpr.formats import dpr_json, dpr_tsv, questions_jsonl, tevatron
from mpr.records import Group, Passage
from mpr.storage.unpack import stem

_ROOT = "https://dl.fbaipublicfiles.com/dpr/"
_LICENCE = "CC BY-NC 4.0"
_COUNTS = "records: ir_datasets' metadata of dpr-w100; usable and test: dataset table of Karpukhin et al. 2020"
_IR_DATASETS = "ir_datasets 0.6.3, etc/downloads.json"
_WIKI_DPR = "huggingface/datasets @040102f1, datasets/wiki_dpr/dataset_infos.json"  # gives the same size
_ANNOTATED = {"nq": 50_000}  # about so many, as the README of huggingface.co/hengranZhang's labels says
_BROUGHT = {  # splits of files that only the user can bring: the end of a file's name, and its licence
    "annotated": ("annotation", "see huggingface.co/hengranZhang"),
    "generated": ("generated", ""),
}


class Params(Parameters):
    """Where the files are, and which of them take part."""

    folder: str | None = None
    """Folder with the files, under the names of their addresses or of DPR's download tool; null: download."""
    questions: Literal["nq", "trivia", "webq", "trec", "squad"]
    """Which question set; the splits are <set>_train, <set>_dev and <set>_test."""
    candidates: Annotated[int, Field(ge=0)] = 30
    """How many of each record's hard negatives and random negatives are kept, from the front."""
    variant: Literal["dpr", "tevatron"] = "dpr"
    """Whose records: DPR's own files, or Tevatron's copies on the Hub, which hold fewer."""
    test: Literal["dpr", "tevatron"] | None = None
    """Whose file of test questions; null: as `variant`."""


@dataclass(frozen=True)
class _Set:
    """A question set in DPR's files, and what is known of it. None: not known to us."""

    stem: str
    tool: str
    """Its name in DPR's download tool, dpr/data/download_data.py."""
    train: int | None
    """Records, those without a positive included."""
    usable: int
    dev: int | None
    test: int
    first_tier: str
    regex: bool = False
    packed_test: bool = False


# Sources: _COUNTS. The paper's development sets (8,757 of NQ, 361 of WebQuestions, 133 of TREC, 8,886 of SQuAD) are not
# those of the files: NQ's file has 6,515 records.
_SETS = {
    "nq": _Set("nq", "nq", 58_880, 58_880, 6_515, 3_610, "gold"),
    "trivia": _Set("trivia", "trivia", 78_785, 60_413, 8_837, 11_313, "answer_match", packed_test=True),
    "webq": _Set("webquestions", "webq", None, 2_474, None, 2_032, "answer_match"),
    "trec": _Set("curatedtrec", "curatedtrec", None, 1_125, None, 694, "answer_match", regex=True),
    "squad": _Set("squad1", "squad1", None, 70_096, None, 10_570, "gold"),
}
_SUMS = {  # MD5 and bytes of DPR's files, as in _IR_DATASETS; nobody has published those of the others
    "psgs_w100.tsv.gz": ("612fe66e0b6b41ee28f806140226c563", 4_694_541_059),
    "biencoder-nq-train.json.gz": ("a1c927b5adae71388eb064329387709f", 2_314_892_908),
    "biencoder-nq-dev.json.gz": ("2640483dbe0df7ae29c6da419c551a80", 256_239_282),
    "biencoder-trivia-train.json.gz": ("5aa4d3577c91425cd20e239ed89a252b", 1_848_559_940),
    "biencoder-trivia-dev.json.gz": ("d559dffe09acfe5a6370adea55b8abf2", 207_271_749),
}
_PASSAGES_SHA256 = "c39b020c855a2b5c25ffef3abe4a3b6f9b829ad7dbc14ec3d163d34d7c53ea8d"


@dataclass(frozen=True)
class _Copy:
    """A data set of Tevatron on the Hub: its commit, and SHA-256 and bytes of the files of which they are known.

    Counts are those of the Hub's viewer. It rounds large ones: `about` has these, and is never checked.
    """

    stem: str
    commit: str
    about: dict[str, int]
    exact: dict[str, int]
    sums: dict[str, tuple[str | None, int | None]]

    def facts(self, kind: str, of_dpr: Split) -> Split:
        """Of a split, where those of DPR's file are `of_dpr`."""
        return replace(
            of_dpr,
            questions=self.exact.get(kind),
            about=self.about.get(kind),
            usable=None,
            sources=("bm25",) if of_dpr.trains else (),
            source=f"viewer of huggingface.co/datasets/{self.repo}",
        )

    @property
    def repo(self) -> str:
        return f"Tevatron/wikipedia-{self.stem}"

    def pin(self, kind: str) -> Pin:
        file, (sha256, size) = f"{self.stem}-{kind}.jsonl.gz", self.sums.get(kind, (None, None))
        source = f"huggingface.co/datasets/{self.repo}: tree and commit {self.commit[:8]}"
        return Pin(
            file, repo=self.repo, revision=self.commit, sha256=sha256, size=size, source=source, licence=_LICENCE
        )


_COPIES = {
    "nq": _Copy(
        "nq", "a74adc28b51157e1db1a75aff1fb056651df69b8", {"train": 58_600, "dev": 6_490, "test": 3_610}, {}, {}
    ),
    "trivia": _Copy(
        "trivia",
        "a3896e5a56a47518ae9b9fb155f3144c28fe39dd",
        {"train": 60_300, "dev": 6_750, "test": 11_300},
        {},
        {
            "train": ("7f5f311c9ab9cb5ba73d70ed24c601437e4a3fdd6c89387abe89ad7f37df0e2b", None),
            "dev": ("e6bcd57616db351ef1b3827acb2ece97bf8c84bbf4aad30eac1070b1debf36ee", 148_334_995),
            "test": ("7684273b0bffb844cd756375ea026d2d6055bac8fa006568f6eec443771b4db8", 1_449_634),
        },
    ),
    "webq": _Copy("wq", "c0cadefec421cb6a9d3442816e7636fc0a3fb91d", {"train": 2_450, "test": 2_030}, {"dev": 276}, {}),
    "trec": _Copy(
        "curated",
        "7b4d995dd68339c9dfafa4c7d6827a2e5c0da766",
        {"train": 1_120},
        {"dev": 116, "test": 694},
        {
            "train": ("d57c2fd45ea20a0256aeebb785b0add5145b078e5145212e9a7499e8a896b618", 24_551_211),
            "dev": ("72b22304c1e06b9d3ca21e61b86ab6028393ac5e37ec90ad0e097129b9c16818", 2_573_187),
            "test": ("ca0874f2c6899f5b38e560d9d08af76fca4c99c6f3f78eebe9c8246c4b5e9084", 30_286),
        },
    ),
    "squad": _Copy(
        "squad",
        "2234034a130e3a2706fc43512be36d4cfc335c50",
        {"train": 70_096, "test": 10_570},  # those of DPR's paper: the viewer's were not seen
        {},
        {
            "train": ("12f8a06502ba6fa25d08aa629fa7e99c4afa8fd32f2076e91a8e070a46caeae5", 1_668_545_836),
            "dev": ("e5152bc9ad2d9faeef8ef5fffaf94c142599e07c3af5d94438e7be89ed6a297a", 189_297_397),
            "test": ("252603460bc276d855f65fc5598f46eeec5dea158d2d2dea4354c9d940f0a02b", 424_510),
        },
    ),
}


class Collection(Base):
    size = 21_015_324  # ir_datasets; the Hub's wiki_dpr has 21,015,300
    words = 100

    @property
    def _set(self) -> _Set:
        return _SETS[self.params.questions]

    @property
    def _copy(self) -> _Copy:
        return _COPIES[self.params.questions]

    def _is_copy(self, kind: str) -> bool:
        """Whether train, dev or test is read from Tevatron's copy."""
        wanted = self.params.test if kind == "test" else None
        return bool((wanted or self.params.variant) == "tevatron")

    @property
    def splits(self) -> Mapping[str, Split]:
        known, name = self._set, self.params.questions
        records = Split(None, trains=True, inline=True, sources=("bm25", "random"))
        found = {
            "train": replace(records, questions=known.train, usable=known.usable, source=_COUNTS),
            "dev": replace(records, questions=known.dev, regex=known.regex, source=_COUNTS),
            "test": Split(known.test, regex=known.regex, source=_COUNTS),
        }
        for kind in filter(self._is_copy, tuple(found)):
            found[kind] = self._copy.facts(kind, found[kind])
        about = _ANNOTATED.get(name)
        found["annotated"] = Split(None, trains=True, inline=True, sources=("negatives",), about=about)
        found["generated"] = Split(None, trains=True)
        return {f"{name}_{kind}": facts for kind, facts in found.items()}

    @property
    def pins(self) -> tuple[Pin, ...]:
        return (self._passages, *(self._file(kind) for kind in ("train", "dev", "test")))

    def read_for(self, splits: Iterable[str]) -> tuple[Pin, ...]:
        kinds = dict.fromkeys(split.rpartition("_")[2] for split in splits if split in self.splits)
        return (self._passages, *map(self._file, kinds))

    @property
    def _passages(self) -> Pin:
        pin = _dpr("wikipedia_split/psgs_w100.tsv.gz", "data/wikipedia_split/psgs_w100.tsv")
        return replace(pin, sha256=_PASSAGES_SHA256, source=f"{pin.source}; SHA-256: {_WIKI_DPR}")

    def _file(self, kind: str) -> Pin:
        """What a split is read from."""
        known, name = self._set, self.params.questions
        if kind in _BROUGHT:
            ending, licence = _BROUGHT[kind]
            return Pin(f"{name}-{ending}.jsonl", licence=licence)
        if self._is_copy(kind):
            return self._copy.pin(kind)
        if kind == "test":
            file = f"{known.stem}-test.qa.csv{'.gz' if known.packed_test else ''}"
            return _dpr(f"data/retriever/{file}", f"data/retriever/qas/{known.tool}-test.csv")
        file = f"data/retriever/biencoder-{known.stem}-{kind}.json.gz"
        return _dpr(file, f"data/retriever/{known.tool}-{kind}.json")

    def passages(self) -> Iterator[Passage]:
        return dpr_tsv.read_passages(self.fetch(self._passages))

    def groups(self, split: str) -> Iterator[Group]:
        known, keep, kind = self._set, self.params.candidates, split.rpartition("_")[2]
        pin = self._file(kind)
        path, prefix = self.fetch(pin), f"{stem(pin.file)}-"  # whatever the user's file is called, ids are the same
        if kind == "annotated":  # positives chosen by a language model (arXiv 2602.12727), in Tevatron's form
            return tevatron.read_groups(path, "llm", "llm", source="negatives", negatives=keep)
        if kind == "generated":
            return questions_jsonl.read_groups(path)
        if kind == "test":
            copied = self._is_copy(kind)
            questions = (
                tevatron.read_questions(path, regex=known.regex)
                if copied
                else dpr_tsv.read_questions(path, regex=known.regex, prefix=prefix)
            )
            return (Group(question) for question in questions)
        if self._is_copy(kind):  # which positive is the gold passage is not said
            tier = "answer_match"
            return tevatron.read_groups(path, tier, tier, source="bm25", negatives=keep, regex=known.regex)
        return dpr_json.read_groups(
            path, known.first_tier, "answer_match", negatives=keep, regex=known.regex, prefix=prefix
        )


def _dpr(path: str, tool: str) -> Pin:
    """A file of DPR's server; `tool` is where DPR's download tool puts it."""
    file = path.rpartition("/")[2]
    md5, size = _SUMS.get(file, (None, None))
    source = _IR_DATASETS if md5 else ""
    names = tuple(tool.split("/", parts)[-1] for parts in range(tool.count("/") + 1))
    return Pin(file, _ROOT + path, md5=md5, size=size, source=source, licence=_LICENCE, names=names)
