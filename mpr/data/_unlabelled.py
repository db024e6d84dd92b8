"""Unlabelled questions: those of the split `data.unlabelled`, trained on too once a label finds them positives.

They stand behind the labelled questions of the training split, in one store, so that sources propose for them and
labels judge them like any other question. What their records say of positives is not looked at: unlabelled is what the
recipe calls them, and a labelled split in this place shows what labels alone find. Answers and candidates stay. A
question that is among the labelled ones too, by its words, is left out, or its known positives would be negatives in
the rows of its twin. After all labels, questions without a positive that counts are not drawn; how many is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from mpr.corpora import Collection, Split
from mpr.data import _split_builder
from mpr.data.overlap import normalised
from mpr.records import Group, stable_hash


def facts(labelled: Split, unlabelled: Split) -> Split:
    """Of both together; how many questions each has is looked at while they are read."""
    return replace(labelled, questions=None, sources=tuple(dict.fromkeys((*labelled.sources, *unlabelled.sources))))


def groups(collection: Collection, train: str, unlabelled: str, receipt: dict[str, Any]) -> Iterator[Group]:
    """The questions of both splits; what was found of the unlabelled ones goes into the receipt."""
    asked, count = set[int](), 0
    for group in collection.groups(train):
        asked.add(stable_hash(ascii(normalised(group.question.text))))
        count += 1
        yield group
    _split_builder.refuse_count(train, count, collection.split(train).questions)
    found = {"questions": 0, "also labelled": 0, "positives not looked at": 0}
    for group in collection.groups(unlabelled):
        found["questions"] += 1
        found["positives not looked at"] += len(group.positives)
        if stable_hash(ascii(normalised(group.question.text))) in asked:
            found["also labelled"] += 1
        else:
            yield replace(group, positives=())
    _split_builder.refuse_count(unlabelled, found["questions"], collection.split(unlabelled).questions)
    receipt["unlabelled"] = found


def texts(collection: Collection, train: str, unlabelled: str) -> Iterable[Group]:
    """Groups whose inline texts are the passages of the training split: those of both, where both bring texts."""
    yield from collection.groups(train)
    if collection.split(unlabelled).inline:
        yield from collection.groups(unlabelled)
