"""A BEIR collection: judged questions over a corpus, from a zip of BEIR's server, the Hub, or a folder in BEIR's form.

The zips of all fifteen public sets are pinned, those of CQADupStack's twelve forums being one (`cqadupstack/android`).
SciFact and NFCorpus are pinned on the Hub too and come from there unless `origin` says otherwise. Counts are those of
these files. NFCorpus has dozens of graded passages a question, SciFact about one. ArguAna's questions are passages of
its corpus: `evaluation.self_hits` says what becomes of them.

Most of the suite has no training questions: `msmarco_annotated` trains on MS MARCO's, with positives chosen by a
language model (arXiv 2602.12727), whose texts come with the records. The user brings that file in the folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from mpr.catalogue import Parameters
from mpr.corpora import Collection as Base
from mpr.corpora import Pin, Split, msmarco_passage
from mpr.errors import DataError
from mpr.formats import beir, hub, tevatron
from mpr.formats.trec import judged_groups
from mpr.records import Group, Judgement, Passage
from mpr.storage.unpack import PACKED

ELSEWHERE = "msmarco_annotated"
_ROOT = "https://public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets/"
_SOURCE = "ir_datasets, etc/downloads.json @02a8f21c"
_COUNTS = "ir_datasets, etc/metadata.json @0526f717"
_LICENCE = "that of the set, see github.com/beir-cellar/beir"
_ANNOTATION = Pin("annotation.jsonl", licence="MS MARCO terms, non-commercial research: microsoft.github.io/msmarco")


class Params(Parameters):
    """Which collection of the suite."""

    dataset: Annotated[str, Field(pattern=r"^[a-z0-9-]+(/[a-z]+)?$")]
    """Name in the suite, such as `scifact`, `trec-covid` or `cqadupstack/android`."""
    folder: str | None = None
    """Folder with corpus, queries and qrels, or with a folder of that name in which they lie, and annotation.jsonl to
    train on; null: download."""
    relevant: Annotated[int, Field(ge=1)] = 1
    """Grade from which a judged passage is relevant: a positive, and right in the measures."""
    origin: Literal["zip", "hub"] | None = None
    """`zip`: the pinned zip of BEIR's server, or what it unpacks to in the folder, with its counts. `hub`:
    BeIR/<dataset> on the Hub. null: any version in the folder if there is one; else the Hub if its commits are known,
    else the zip."""


@dataclass(frozen=True)
class _Known:
    """Passages, judged questions of each split, and the commits of both repositories on the Hub if they are known."""

    size: int
    questions: dict[str, int]
    revision: str = ""
    qrels_revision: str = ""


_ZIPS = {  # MD5 and bytes; _SOURCE
    "arguana": ("8ad3e3c2a5867cdced806d6503f29b99", 3_773_617),
    "climate-fever": ("8b66f0a9126c521bae2bde127b4dc99d", 1_228_666_652),
    "cqadupstack": ("4e41456d7df8ee7760a7f866133bda78", 5_343_728_040),
    "dbpedia-entity": ("c2a39eb420a3164af735795df012ac2c", 639_285_131),
    "fever": ("5a818580227bfb4b35bb6fa46d9b6c03", 1_236_988_269),
    "fiqa": ("17918ed23cd04fb15047f73e6c3bd9d9", 17_948_027),
    "hotpotqa": ("f412724f78b0d91183a0e86805e16114", 654_025_350),
    "msmarco": ("444067daf65d982533ea17ebd59501e4", 1_082_258_632),
    "nfcorpus": ("a89dba18a62ef92f7d323ec890a0d38d", 2_448_432),
    "nq": ("d4d3d2e48787a744b6f6e691ff534307", 498_307_926),
    "quora": ("18fb154900ba42a600f84b839c173167", 15_853_968),
    "scidocs": ("38121350fc3a4d2f48850f6aff52e4a9", 142_471_588),
    "scifact": ("5f7d1de60b170fc8027bb7898e2efca1", 2_816_079),
    "trec-covid": ("ce62140cb23feb9becf6270d0d1fe6d1", 73_876_720),
    "webis-touche2020": ("46f650ba5a527fc69e0a6521c5a23563", 227_132_363),  # version 2, which the server has now
}
_FORUMS = {  # of CQADupStack: passages, test questions; _COUNTS
    "android": (22_998, 699),
    "english": (40_221, 1_570),
    "gaming": (45_301, 1_595),
    "gis": (37_637, 885),
    "mathematica": (16_705, 804),
    "physics": (38_316, 1_039),
    "programmers": (32_176, 876),
    "stats": (42_269, 652),
    "tex": (68_184, 2_906),
    "unix": (47_382, 1_072),
    "webmasters": (17_405, 506),
    "wordpress": (48_605, 541),
}
_KNOWN = {  # counts: _COUNTS; commits: seen in public records of both repositories
    "arguana": _Known(8_674, {"test": 1_406}),
    "climate-fever": _Known(5_416_593, {"test": 1_535}),
    "dbpedia-entity": _Known(4_635_922, {"dev": 67, "test": 400}),
    "fever": _Known(5_416_568, {"train": 109_810, "dev": 6_666, "test": 6_666}),
    "fiqa": _Known(57_638, {"train": 5_500, "dev": 500, "test": 648}),
    "hotpotqa": _Known(5_233_329, {"train": 85_000, "dev": 5_447, "test": 7_405}),
    "msmarco": _Known(8_841_823, {"train": 502_939, "dev": 6_980, "test": 43}),
    "nfcorpus": _Known(
        3_633,
        {"train": 2_590, "dev": 324, "test": 323},
        "b5026a0e96e8a7ac4f95f482a596389289d46269",
        "a451b3b26d3ae1358f259c1a3a4dd61fcea35a65",
    ),
    "nq": _Known(2_681_468, {"test": 3_452}),
    "quora": _Known(522_931, {"dev": 5_000, "test": 10_000}),
    "scidocs": _Known(25_657, {"test": 1_000}),
    "scifact": _Known(
        5_183,
        {"train": 809, "test": 300},
        "b3b5335604bf5ee3c4447671af975ea25143d4f5",
        "2938d17dc3b09882fdb8c12bbbe2e2dc0e75a029",
    ),
    "trec-covid": _Known(171_332, {"test": 50}),
    "webis-touche2020": _Known(382_545, {"test": 49}),
    **{f"cqadupstack/{forum}": _Known(size, {"test": asked}) for forum, (size, asked) in _FORUMS.items()},
}


class Collection(Base):
    @property
    def _origin(self) -> str:
        """`zip`, `hub`, or `folder`: whatever version lies there."""
        if self.params.origin is not None or self.params.folder is not None:
            return self.params.origin or "folder"
        known = _KNOWN.get(self.params.dataset)
        return "hub" if known is None or known.revision else "zip"

    @property
    def _known(self) -> _Known | None:
        """Facts hold for the files that are pinned; a folder may hold a variant (stemmed or filtered ones differ)."""
        return _KNOWN.get(self.params.dataset) if self._origin != "folder" else None

    @property
    def size(self) -> int | None:  # type: ignore[override]
        return self._known.size if self._known else None

    @property
    def splits(self) -> Mapping[str, Split]:
        counts, source = (self._known.questions, _COUNTS) if self._known else ({}, "")
        facts: dict[str, Any] = {"trains": True, "judged": True, "relevant": self.params.relevant, "source": source}
        judged = {
            name: Split(counts.get(name), sources=("judged",), **facts)
            for name in ("train", "dev", "test")
            if self._known is None or name in counts
        }
        elsewhere = Split(None, trains=True, inline=True, sources=("negatives",), about=msmarco_passage.ABOUT)
        return judged | {ELSEWHERE: elsewhere}

    @property
    def pins(self) -> tuple[Pin, ...]:
        return self.read_for(name for name in self.splits if name != ELSEWHERE)

    def read_for(self, splits: Iterable[str]) -> tuple[Pin, ...]:
        name, known, wanted = self.params.dataset, self._known, list(splits)
        judged = [split for split in wanted if split in self.splits and split != ELSEWHERE]
        if self._origin == "folder":
            found: tuple[Pin, ...] = self._lying(judged)
        elif self._origin == "hub":
            found = (
                Pin(f"BeIR/{name}", repo=f"BeIR/{name}", revision=known.revision if known else ""),
                Pin(f"BeIR/{name}-qrels", repo=f"BeIR/{name}-qrels", revision=known.qrels_revision if known else ""),
            )
        else:
            files = ["corpus.jsonl", "queries.jsonl", *(f"qrels/{split}.tsv" for split in dict.fromkeys(judged))]
            found = tuple(map(self._member, files))
        return (*found, _ANNOTATION) if ELSEWHERE in wanted else found

    def _member(self, file: str) -> Pin:
        """A file of the zip."""
        name = self.params.dataset
        top = name.partition("/")[0]
        md5, size = _ZIPS.get(top, (None, None))
        source = _SOURCE if md5 else ""
        bundle = Pin(f"{top}.zip", f"{_ROOT}{top}.zip", md5=md5, size=size, source=source, licence=_LICENCE)
        names = (f"{name}/{file}", file.replace("/", "."))
        return Pin(file, archive=bundle, inside=f"{name}/{file}", names=names, source=source, licence=_LICENCE)

    def _lying(self, splits: Iterable[str]) -> tuple[Pin, ...]:
        """Of the user's folder: the passages, then questions and judgements of these splits, if they are there."""
        files = [self._corpus]
        for split in splits:
            with suppress(DataError):
                found = beir.find(self._corpus.parent, split)
                files += [found.queries, found.judgements]
        return tuple(Pin(file.relative_to(self._folder).as_posix()) for file in dict.fromkeys(files))

    @property
    def _folder(self) -> Path:
        return Path(self.params.folder or ".")

    @property
    def _corpus(self) -> Path:
        """The passages of the user's folder: in the folder itself, or in one of the name of the set."""
        places = (self._folder, self._folder / self.params.dataset)
        files = (place / f"corpus.jsonl{ending}" for place in places for ending in ("", *PACKED))
        return next((file for file in files if file.is_file()), self._folder / "corpus.jsonl")

    def passages(self) -> Iterator[Passage]:
        if self._origin == "folder":
            beir.find(self._corpus.parent, self._any_split())  # all that a split needs is there
            return beir.read_passages(self.fetch(*self._lying(())))
        if self._origin == "zip":
            return beir.read_passages(self.fetch(self._member("corpus.jsonl")))
        columns = {"id": "_id", "title": "title", "text": "text"}
        return hub.read_passages(columns=columns, config="corpus", split="corpus", **self._hub(0))

    def groups(self, split: str) -> Iterator[Group]:
        if split == ELSEWHERE:
            return tevatron.read_groups(self.fetch(_ANNOTATION), "llm", "llm", source="negatives")
        if self._origin == "folder":
            beir.find(self._corpus.parent, split)
            _, asked, judgements = map(self.fetch, self._lying((split,)))
            return judged_groups(beir.read_questions(asked), beir.read_judgements(judgements), self.params.relevant)
        if self._origin == "zip":
            questions = beir.read_questions(self.fetch(self._member("queries.jsonl")))
            return judged_groups(questions, self.judgements(split), self.params.relevant)
        columns = {"id": "_id", "text": "text"}
        questions = hub.read_questions(columns=columns, config="queries", split="queries", **self._hub(0))
        judged = list(self.judgements(split))
        wanted = {judgement.question for judgement in judged}
        return judged_groups((one for one in questions if one.id in wanted), judged, self.params.relevant)

    def judgements(self, split: str) -> Iterator[Judgement]:
        if self._origin == "folder":
            beir.find(self._corpus.parent, split)
            return beir.read_judgements(self.fetch(self._lying((split,))[-1]))
        if self._origin == "zip":
            return beir.read_judgements(self.fetch(self._member(f"qrels/{split}.tsv")))
        return hub.read_judgements(split={"dev": "validation"}.get(split, split), **self._hub(1))

    def _hub(self, number: int) -> dict[str, Any]:
        """Where one of the two repositories of the collection is. A recipe whose pins are unknown is a draft."""
        pin = self.inputs[number]
        return {"repo_or_path": pin.repo, "revision": pin.revision or None, "draft": not pin.revision}

    def _any_split(self) -> str:
        folder = self._corpus.parent
        for name in self.splits:
            if any(folder.glob(f"qrels*{name}.tsv*")) or any(folder.glob(f"qrels/{name}.tsv*")):
                return name
        return "test"
