"""Augmentation: a writer rewrites known positives, for questions that have few.

A question with fewer than `least` positives that count gets one new passage for each that is missing, made of its own
first positives, each used once: with one positive it can get one more. Questions that share a passage share what was
made of it. A second prompt may follow, with the same or another writer: into a language and back. An answer without a
text and one that repeats its original are left out and counted. The result is a store with one file
(`mpr/formats/rewritten.py`) that `data.augment` names.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpr import __version__, storage
from mpr.data.dataset import Dataset
from mpr.errors import DataError
from mpr.formats import rewritten
from mpr.formats.rewritten import Rewritten
from mpr.records import text_hash
from mpr.writing import _transcript
from mpr.writing._transcript import Writer
from mpr.writing.prompts import Prompt

KIND = "augmentation"
FILE = "passages.jsonl"
Step = tuple[Prompt, Writer]


@dataclass(frozen=True)
class Made:
    """What came of it."""

    path: Path
    receipt: dict[str, Any]

    def __str__(self) -> str:
        said = self.receipt
        counts = f"{said['written']:,} passages for {said['questions with few']:,} questions with few"
        lost = f"{said['unread']:,} without a text, {said['repeats']:,} that say the same, {said['cut']:,} cut off"
        pin = f"{{file: {self.path}, sha256: {storage.remembered_sha256(self.path)}}}"
        return f"augmented: {self.path} ({counts}; {lost})\npin it: data.augment: {pin}, and count the tier augmented"


def augment(dataset: Dataset, least: int, steps: list[Step], target: Path) -> Made:
    """Writes the store `target`, or says what is in it if the same was written before."""
    split, store = dataset.split("train"), dataset.passages_of("train")
    positives = split.positives.counting(dataset.recipe.tiers)
    have_Q = positives.lengths()
    missing_Q = np.where(have_Q < least, np.minimum(least - have_Q, have_Q), 0)
    wanted: dict[int, list[int]] = {}  # passage that is to be rewritten -> its questions
    for question in np.flatnonzero(missing_Q).tolist():
        for passage in positives.row(question, "passage")[: missing_Q[question]].tolist():
            wanted.setdefault(passage, []).append(question)
    receipt: dict[str, Any] = {
        "writers": [writer.origin for _, writer in steps],
        "prompt": ">".join(prompt.name for prompt, _ in steps),
        "least": least,
        "tiers": list(dataset.recipe.tiers),
        "questions": split.manifest.digest,
        "passages": store.manifest.digest,
        "mpr": __version__,
    }
    if target.exists():
        return Made(target / FILE, _transcript.same(target, KIND, receipt))
    if not wanted:
        raise DataError(f"no question has fewer than {least} positives", key="--least", fix="ask for more")
    few = int((have_Q < least).sum())
    rows, counts = sorted(wanted), {"questions with few": few, "written": 0, "unread": 0, "repeats": 0, "cut": 0}
    texts = _written([store[row].text for row in rows], [store[row].title for row in rows], steps, dataset, counts)
    model, names, questions = str(steps[-1][1].origin["model"]), store.ids(rows), split.ids
    lines = []
    for row, name, text in zip(rows, names, texts, strict=True):
        if text is not None and text_hash(text) == text_hash(store[row].text):
            counts["repeats"] += 1
        elif text is not None:
            asked = tuple(questions[question] for question in wanted[row])
            lines.append(Rewritten(f"augmented-{row}", name, asked, store[row].title, text, model, receipt["prompt"]))
    counts["written"] = len(lines)
    if not lines:
        raise DataError(
            f"none of {len(rows):,} answers is a new text", key=receipt["prompt"], fix="look at the answers"
        )
    with storage.stage(target, KIND, receipt | counts) as stage, stage.open(FILE) as file:
        rewritten.write_rewritten(file, lines)
    return Made(target / FILE, receipt | counts)


def _written(
    texts: list[str], titles: list[str], steps: list[Step], dataset: Dataset, counts: dict[str, int]
) -> list[str | None]:
    """What all steps make of each text, one after another; None where an answer held no text."""
    current: list[str | None] = [*texts]
    for prompt, writer in steps:
        open_ = [place for place, text in enumerate(current) if text is not None]
        prompts = [prompt.filled(title=titles[place], text=str(current[place])) for place in open_]
        replies = _transcript.answers(writer, prompts, len(prompts), dataset.home, dataset.bar)
        for place, reply in zip(open_, replies, strict=True):
            current[place] = prompt.read(reply.text)
            counts["unread"] += current[place] is None
            counts["cut"] += reply.cut
    return current
