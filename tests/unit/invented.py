"""Invented worlds that several tests look at, each generated once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import cache
from typing import Any

from mpr.corpora.invented_world import Collection, Params

PLAIN = ("train", "dev", "test")
SMALL: dict[str, Any] = {"articles": 66, "questions": 120, "dev_questions": 30, "test_questions": 40}


@cache
def usual() -> Collection:
    """The default world."""
    return Collection(Params())


@cache
def small(**dials: Any) -> Collection:
    """A world of one region, in a fifth of a second."""
    return Collection(Params(**{**SMALL, **dials}))


def digest(collection: Collection) -> str:
    """SHA-256 of everything that a collection yields, one JSON line each."""
    found = hashlib.sha256()

    def add(record: Any) -> None:
        found.update(json.dumps(asdict(record), sort_keys=True, ensure_ascii=False).encode() + b"\n")

    for passage in collection.passages():
        add(passage)
    for split in collection.splits:
        for group in collection.groups(split):
            add(group)
        for judgement in collection.truth(split):
            add(judgement)
    topics = [collection.world.topic_of(passage.id) for passage in collection.passages()]
    found.update(json.dumps(topics, ensure_ascii=False).encode())
    return found.hexdigest()
