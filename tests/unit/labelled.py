"""A split built from a few words: questions with their positives and candidates, over a small passage store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mpr.corpora import Split
from mpr.data import _split_builder, passages
from mpr.data.passages import PassageStore
from mpr.data.questions import SplitStore
from mpr.recipe.keys import Repair
from mpr.records import Candidate, Group, Passage, Positive, Question

REFUSE = Repair(without_positives="refuse", passages_missing="refuse", positive_as_negative="refuse")
DROP = Repair(without_positives="drop", passages_missing="drop", positive_as_negative="drop_negative")
TIERS = ("gold", "answer_match")


def store(folder: Path, count: int = 20) -> PassageStore:
    """Passages p0, p1, ..."""
    return passages.build(folder / "passages", (Passage(f"p{row}", f"text {row}") for row in range(count)), {})


def group(name: str, positives: str = "", **candidates: str) -> Group:
    """`p1 p2:llm` are positives with their tiers; each keyword is a source with its candidates, best first."""
    listed = [word.partition(":") for word in positives.split()]
    return Group(
        Question(name, f"question {name}", (f"answer {name}",)),
        tuple(Positive(passage, tier or "gold") for passage, _, tier in listed),
        tuple(
            Candidate(passage, source, rank, 1 / rank)
            for source, words in candidates.items()
            for rank, passage in enumerate(words.split(), 1)
        ),
    )


def build(folder: Path, groups: Sequence[Group], repair: Repair = REFUSE, **options: Any) -> SplitStore:
    given: dict[str, Any] = {"tiers": TIERS, "train": True, "sources": ("bm25",), "receipt": {}} | options
    split = given.pop("split", Split(None, trains=True))
    return _split_builder.build(folder / "split", groups, split, given.pop("store"), repair=repair, **given)


def positives(split: SplitStore) -> list[list[int]]:
    return [split.positives.rows.row(row, "passage").tolist() for row in range(len(split))]


def candidates(split: SplitStore, source: str = "bm25") -> list[list[int]]:
    table = split.candidates(source)
    return [table.row(row, "passage").tolist() for row in range(len(split))]
