"""Generated questions: a writer reads passages and writes questions that they answer.

The result is a store with one file of questions, each with its passage as a positive of tier `generated`, in the form
`candidates` of a local collection: a recipe trains on it as on any split, and the questions count only where its tiers
say so. Which passages are read is a function of the seed. Whether a question is good, so that its passage is found by
it, is decided by labels (`ce_above`, `llm`, `rank_window`), not by the writer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpr import __version__, storage
from mpr.data.dataset import Dataset
from mpr.errors import DataError
from mpr.formats import questions_jsonl
from mpr.records import Group, Positive, Question
from mpr.runtime import randomness
from mpr.writing import _transcript
from mpr.writing._transcript import Reply, Writer
from mpr.writing.prompts import Prompt

KIND = "generated_questions"
FILE = "questions.jsonl"


@dataclass(frozen=True)
class Wanted:
    """What is to be written."""

    prompt: Prompt
    passages: int | None
    """How many passages are read; None: all."""
    each: int
    """At most so many questions of a passage."""
    seed: int


@dataclass(frozen=True)
class Generated:
    """What came of it."""

    path: Path
    receipt: dict[str, Any]

    def __str__(self) -> str:
        said = self.receipt
        return (
            f"generated: {self.path} ({said['questions']:,} questions of {said['passages read']:,} passages; "
            f"{said['unread']:,} answers without a question, {said['cut']:,} cut off)\n"
            f"a split of a local collection: {{file: {self.path.name}, format: candidates, "
            f"sha256: {storage.remembered_sha256(self.path)}}}"
        )


def generate(dataset: Dataset, wanted: Wanted, writer: Writer, target: Path) -> Generated:
    """Writes the store `target`, or says what is in it if the same was written before."""
    corpus = dataset.corpus()
    count = len(corpus) if wanted.passages is None else wanted.passages
    if not 0 < count <= len(corpus):
        raise DataError(f"the corpus has {len(corpus):,} passages", key="--passages", fix="ask for 1 to that many")
    receipt: dict[str, Any] = {
        "writer": writer.origin,
        "prompt": wanted.prompt.name,
        "passages read": count,
        "each": wanted.each,
        "seed": wanted.seed,
        "passages": corpus.manifest.digest,
        "mpr": __version__,
    }
    if target.exists():
        return Generated(target / FILE, _transcript.same(target, KIND, receipt))
    rows = np.sort(randomness.permutation(wanted.seed, "passages to ask about", len(corpus), 0)[:count]).tolist()
    prompts = (wanted.prompt.filled(title=corpus[row].title, text=corpus[row].text) for row in rows)
    counts = {"questions": 0, "unread": 0, "cut": 0}
    written = {"writer": str(receipt["writer"]["model"]), "prompt": wanted.prompt.name}
    asking = closing(_transcript.answers(writer, prompts, count, dataset.home, dataset.bar))
    with storage.stage(target, KIND, receipt) as stage, stage.open(FILE) as file, asking as replies:
        named = zip(rows, corpus.ids(rows), replies, strict=True)
        groups = (group for row, name, reply in named for group in _groups(row, name, reply, wanted, counts))
        questions_jsonl.write_groups(file, groups, written=written)
        if not counts["questions"]:
            what = f"none of {count:,} answers holds a question"
            raise DataError(what, key=wanted.prompt.name, fix="look at the answers, or use another prompt")
        receipt |= counts
    return Generated(target / FILE, receipt)


def _groups(row: int, passage: str, reply: Reply, wanted: Wanted, counts: dict[str, int]) -> Iterator[Group]:
    """The questions of one answer; their ids say which passage they were written for, by its row."""
    found = wanted.prompt.read(reply.text)
    counts["unread"] += found is None
    counts["cut"] += reply.cut
    for number, text in enumerate((found or [])[: wanted.each]):
        counts["questions"] += 1
        yield Group(Question(f"g{row}-{number}", text), (Positive(passage, "generated"),))
