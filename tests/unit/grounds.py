"""Ground for sources to stand on: a small collection with questions, and mining without a recipe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mpr import catalogue, sources
from mpr.corpora import Split
from mpr.data import _split_builder, passages
from mpr.mining.mine import Mining
from mpr.records import Group, Passage, Positive, Question
from mpr.storage.ragged import Ragged
from tests.unit.invented import small
from tests.unit.labelled import DROP, TIERS


@contextmanager
def silent(what: str, total: int) -> Iterator[Any]:
    yield lambda count: None


def ground(folder: Path, texts: list[Passage], groups: list[Group], **options: Any) -> sources.Ground:
    """Stores of these passages and questions."""
    store = passages.build(folder / "passages", texts, {})
    given = {"tiers": TIERS, "train": False, "sources": (), "receipt": {}, "repair": DROP} | options
    split = _split_builder.build(folder / "split", groups, Split(None), store, **given)
    return sources.Ground(split, store, folder, silent, folder / "home", quiet=True)


def invented(folder: Path) -> sources.Ground:
    """A small invented world with its training questions; a copy of each one's first positive comes last."""
    world = small()
    texts, groups = list(world.passages()), list(world.groups("train"))
    known = {passage.id: passage for passage in texts}
    copied = [(group.question.id, known[group.positives[0].passage]) for group in groups]
    texts += [Passage(f"copy-{name}", f" {passage.text}\n", passage.title) for name, passage in copied]
    return ground(folder, texts, groups, train=True, sources=world.splits["train"].sources)


def source(ground: sources.Ground, name: str, **params: Any) -> sources.Source:
    """A source with its parameters checked as a recipe's are."""
    made: Any = catalogue.find("sources", name)
    return made.Source(made.Params(**{"as": name, **params}), ground)


def lists(found: Ragged, column: str = "passage") -> list[list[Any]]:
    return [found.row(row, column).tolist() for row in range(len(found))]


def proposed(ground: sources.Ground, name: str, **params: Any) -> list[list[int]]:
    """Rows of the passages that a source proposes for each question."""
    return lists(source(ground, name, **params)(np.arange(len(ground.questions))))


def mining(made: sources.Source, target: Path) -> Mining:
    """What mines one source into `target`, as `mpr.mining.mine` does for a recipe."""
    return Mining(made, made.ground, target, {"source": {"name": "tested"}, "origin": made.origin})


def asked(name: str, positives: str = "", text: str = "", answers: tuple[str, ...] = (), regex: bool = False) -> Group:
    """A question with its positives by id."""
    question = Question(name, text or f"question {name}", answers, regex)
    return Group(question, tuple(Positive(passage) for passage in positives.split()))
