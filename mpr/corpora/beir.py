"""A BEIR collection: judged questions over a corpus, from the Hub or from a folder in BEIR's form.

Counts are those of the pinned revisions. NFCorpus has dozens of graded passages a question, SciFact about one. Most of
the suite has no training questions: `msmarco_annotated` trains on MS MARCO's, with positives chosen by a language model
(arXiv 2602.12727), whose texts come with the records. The user brings that file into the same folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from mpr.catalogue import Parameters
from mpr.corpora import Collection as Base
from mpr.corpora import Pin, Split, msmarco_passage
from mpr.formats import beir, hub, tevatron
from mpr.formats.trec import judged_groups
from mpr.records import Group, Judgement, Passage

ELSEWHERE = "msmarco_annotated"
_ANNOTATION = Pin("annotation.jsonl", licence="MS MARCO terms, non-commercial research: microsoft.github.io/msmarco")


class Params(Parameters):
    """Which collection of the suite."""

    dataset: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    """Name in the suite, such as `scifact` or `nfcorpus`."""
    folder: str | None = None
    """Folder with corpus, queries and qrels, and annotation.jsonl to train on; null: BeIR/<dataset> on the Hub."""
    relevant: Annotated[int, Field(ge=1)] = 1
    """Grade from which a judged passage is relevant: a positive, and right in the measures."""


@dataclass(frozen=True)
class _Known:
    """Size, judged questions of each split, and the commits that were seen in public records of both repositories.

    An empty commit is one that we have not seen: the counts are those of ir-datasets' card, and a row is a draft.
    """

    size: int
    questions: dict[str, int]
    revision: str
    qrels_revision: str
    words: int


_KNOWN = {
    "scifact": _Known(
        5_183,
        {"train": 809, "test": 300},
        "b3b5335604bf5ee3c4447671af975ea25143d4f5",
        "2938d17dc3b09882fdb8c12bbbe2e2dc0e75a029",
        200,
    ),
    "nfcorpus": _Known(
        3_633,
        {"train": 2_590, "dev": 324, "test": 323},
        "b5026a0e96e8a7ac4f95f482a596389289d46269",
        "a451b3b26d3ae1358f259c1a3a4dd61fcea35a65",
        220,
    ),
    "trec-covid": _Known(171_332, {"test": 50}, "", "", 160),
}


class Collection(Base):
    @property
    def _known(self) -> _Known | None:
        """Facts hold for the pinned Hub version; a folder may hold a variant (the stemmed or filtered ones differ)."""
        return _KNOWN.get(self.params.dataset) if self.params.folder is None else None

    @property
    def size(self) -> int | None:  # type: ignore[override]
        return self._known.size if self._known else None

    @property
    def splits(self) -> Mapping[str, Split]:
        counts = self._known.questions if self._known else {}
        judged = {
            name: Split(counts.get(name), trains=True, judged=True, relevant=self.params.relevant, sources=("judged",))
            for name in ("train", "dev", "test")
            if self._known is None or name in counts
        }
        elsewhere = Split(None, trains=True, inline=True, sources=("negatives",), about=msmarco_passage.ABOUT)
        return judged | {ELSEWHERE: elsewhere}

    @property
    def pins(self) -> tuple[Pin, ...]:
        name, known = self.params.dataset, self._known
        if self.params.folder is not None:
            return (Pin("corpus.jsonl"),)
        return (
            Pin(f"BeIR/{name}", repo=f"BeIR/{name}", revision=known.revision if known else ""),
            Pin(f"BeIR/{name}-qrels", repo=f"BeIR/{name}-qrels", revision=known.qrels_revision if known else ""),
        )

    def passages(self) -> Iterator[Passage]:
        if self.params.folder is not None:
            return beir.read_passages(beir.find(self.params.folder, self._any_split()).corpus)
        columns = {"id": "_id", "title": "title", "text": "text"}
        return hub.read_passages(columns=columns, config="corpus", split="corpus", **self._hub(0))

    def groups(self, split: str) -> Iterator[Group]:
        if split == ELSEWHERE:
            return tevatron.read_groups(self.fetch(_ANNOTATION), "llm", "llm", source="negatives")
        if self.params.folder is not None:
            return beir.read_groups(self.params.folder, split, self.params.relevant)
        columns = {"id": "_id", "text": "text"}
        questions = hub.read_questions(columns=columns, config="queries", split="queries", **self._hub(0))
        judged = list(self.judgements(split))
        wanted = {judgement.question for judgement in judged}
        return judged_groups((one for one in questions if one.id in wanted), judged, self.params.relevant)

    def judgements(self, split: str) -> Iterator[Judgement]:
        if self.params.folder is not None:
            return beir.read_judgements(beir.find(self.params.folder, split).judgements)
        return hub.read_judgements(split={"dev": "validation"}.get(split, split), **self._hub(1))

    def _hub(self, number: int) -> dict[str, Any]:
        """Where one of the two repositories of the collection is. A recipe whose pins are unknown is a draft."""
        pin = self.pins[number]
        return {"repo_or_path": pin.repo, "revision": pin.revision or None, "draft": not pin.revision}

    def _any_split(self) -> str:
        folder = Path(self.params.folder or ".")
        for name in self.splits:
            if any(folder.glob(f"qrels*{name}.tsv*")) or any(folder.glob(f"qrels/{name}.tsv*")):
                return name
        return "test"
