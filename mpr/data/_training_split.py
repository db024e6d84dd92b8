"""What a recipe adds to its training split: unlabelled questions, and augmented positives.

Unlabelled questions are those of the split `data.unlabelled`. They are trained on too once a label finds positives for
them. They stand behind the labelled questions in one store, so that sources propose for them and labels judge them like
any other question. Positives in their records are not looked at: unlabelled is what the recipe calls them, and a
labelled split in this place shows what labels alone find. Answers and candidates stay. A question that is among the
labelled ones too, by its words, is left out, or its known positives would be negatives in the rows of its twin. After
all labels, questions without a positive that counts are not drawn; how many is counted.

Augmented positives (`data.augment`) are passages that a writer made of known ones. They stand behind the passages of
the training split, in a store of their own kind: the rows of what was there stay what they were. Sources propose from
what was there only, random negatives are drawn from it only, and what is searched and measured is the corpus: a
rewritten passage is never found, and never a negative but of other questions of its step. It is a positive of tier
`augmented` of the questions it was made for, behind those that people or answers gave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from mpr import storage
from mpr.corpora import Collection, Split
from mpr.data import _split_builder, passages
from mpr.data.passages import PassageStore
from mpr.errors import DataError
from mpr.formats.rewritten import read_rewritten
from mpr.metrics.answers import normalised
from mpr.recipe.keys import Data
from mpr.records import Group, Passage, Positive, stable_hash
from mpr.runtime.progress import Bar

AUGMENTED = "augmented"  # tier, and part of names


@dataclass(frozen=True)
class Augmented:
    """The file that a recipe names."""

    path: Path
    sha256: str

    def store(self, base: PassageStore, begun: Callable[[], dict[str, Any]], bar: Bar) -> PassageStore:
        """The passages of `base` in their rows, then these; made where it is not there yet."""
        target = base.folder.with_name(f"{base.folder.name}-{AUGMENTED}-{self.sha256[:8]}")
        with storage.missing(target) as is_missing:
            if is_missing:
                receipt = begun() | {"base": base.manifest.digest, "augmented": self.sha256}
                with bar("passages with augmented ones", len(base)) as progress:
                    passages.build(target, chain(base, self._passages(base)), receipt, progress=progress)
        return PassageStore(target)

    def _passages(self, base: PassageStore) -> Iterator[Passage]:
        for one in read_rewritten(self.path):
            if base.rows_of([one.of])[0] < 0:
                what = f"passage {one.of}, of which {one.id} was made, is not among the passages"
                raise DataError(what, where=str(self.path), fix="augment this collection")
            yield one.passage

    def groups(self, groups: Iterable[Group], receipt: dict[str, Any]) -> Iterator[Group]:
        """The questions of the training split with these positives too; how many were added goes into the receipt."""
        made: dict[str, list[Positive]] = {}
        for one in read_rewritten(self.path):
            for question in one.questions:
                made.setdefault(question, []).append(Positive(one.id, AUGMENTED))
        added = {"questions": 0, "positives": 0}
        for group in groups:
            more = tuple(made.get(group.question.id, ()))
            added["questions"] += bool(more)
            added["positives"] += len(more)
            yield replace(group, positives=(*group.positives, *more)) if more else group
        if not added["positives"]:
            fix = "check that the ids are those of the split"
            raise DataError("has nothing for any question of the split", where=str(self.path), fix=fix)
        receipt[AUGMENTED] = added


@dataclass(frozen=True)
class Added:
    """What is added to a split: nothing, unless it is trained on."""

    unlabelled: str | None = None
    """The split of unlabelled questions."""
    augmented: Augmented | None = None

    @classmethod
    def of(cls, data: Data, folder: Path | None) -> Added:
        if data.augment is None:
            return cls(data.unlabelled)
        path = storage.pinned_file(data.augment.file, data.augment.sha256, folder, "data.augment.file")
        return cls(data.unlabelled, Augmented(path, storage.remembered_sha256(path)))

    @property
    def identity(self) -> dict[str, str]:
        """What it adds to the identity of a split."""
        unlabelled = {} if self.unlabelled is None else {"unlabelled": self.unlabelled}
        return unlabelled if self.augmented is None else {**unlabelled, "augmented": self.augmented.sha256}

    def facts(self, collection: Collection, name: str) -> Split:
        """Of all questions together; how many each split has is looked at while they are read."""
        split = collection.split(name)
        if self.unlabelled is None:
            return split
        sources = (*split.sources, *collection.split(self.unlabelled).sources)
        return replace(split, questions=None, sources=tuple(dict.fromkeys(sources)))

    def groups(self, collection: Collection, name: str, receipt: dict[str, Any]) -> Iterable[Group]:
        """All questions; what was found of those that are added goes into the receipt."""
        found: Iterable[Group] = collection.groups(name)
        if self.unlabelled is not None:
            found = _with_unlabelled(collection, name, self.unlabelled, receipt)
        return found if self.augmented is None else self.augmented.groups(found, receipt)

    def texts(self, collection: Collection, name: str) -> Iterator[Group]:
        """Groups whose inline texts are the passages of the split: those of both splits, where both bring texts."""
        yield from collection.groups(name)
        if self.unlabelled is not None and collection.split(self.unlabelled).inline:
            yield from collection.groups(self.unlabelled)


def _with_unlabelled(collection: Collection, train: str, unlabelled: str, receipt: dict[str, Any]) -> Iterator[Group]:
    """The questions of both splits."""
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
