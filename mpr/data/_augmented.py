"""Augmented positives: passages that a writer made of known ones, for training alone (`data.augment`).

They stand behind the passages of the training split, in a store of their own kind: the rows of what was there stay what
they were. Sources propose from what was there only, random negatives are drawn from it only, and what is searched and
measured is the corpus: a rewritten passage is never found, and never a negative but of other questions of its step. It
is a positive of tier `augmented` of the questions it was made for, behind those that people or answers gave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from mpr import storage
from mpr.data import passages
from mpr.data.passages import PassageStore
from mpr.errors import DataError
from mpr.formats.rewritten import Rewritten, read_rewritten
from mpr.recipe.keys import Augment
from mpr.records import Group, Passage, Positive

TIER = "augmented"


@dataclass(frozen=True)
class Augmented:
    """The file that a recipe names."""

    path: Path
    sha256: str

    @classmethod
    def of(cls, wanted: Augment, folder: Path | None) -> Augmented:
        path = storage.pinned_file(wanted.file, wanted.sha256, folder, "data.augment.file")
        return cls(path, storage.remembered_sha256(path))

    def store(self, base: PassageStore, begun: Callable[[], dict[str, Any]], bar: Any) -> PassageStore:
        """The passages of `base` in their rows, then these; made where it is not there yet."""
        target = base.folder.with_name(f"{base.folder.name}-{TIER}-{self.sha256[:8]}")
        if not target.exists():
            receipt = begun() | {"base": base.manifest.digest, "augmented": self.sha256}
            with bar("passages with augmented ones", len(base)) as progress:
                passages.build(target, chain(base, self._passages(base)), receipt, progress=progress)
        return PassageStore(target)

    def _passages(self, base: PassageStore) -> Iterator[Passage]:
        for one in self._read():
            if base.rows_of([one.of])[0] < 0:
                what = f"passage {one.of}, of which {one.id} was made, is not among the passages"
                raise DataError(what, where=str(self.path), fix="augment this collection")
            yield one.passage

    def groups(self, groups: Iterable[Group], receipt: dict[str, Any]) -> Iterator[Group]:
        """The questions of the training split with these positives too; how many were added goes into the receipt."""
        made: dict[str, list[Positive]] = {}
        for one in self._read():
            for question in one.questions:
                made.setdefault(question, []).append(Positive(one.id, TIER))
        told = {"questions": 0, "positives": 0}
        for group in groups:
            more = tuple(made.get(group.question.id, ()))
            told["questions"] += bool(more)
            told["positives"] += len(more)
            yield replace(group, positives=(*group.positives, *more)) if more else group
        if not told["positives"]:
            fix = "check that the ids are those of the split"
            raise DataError("has nothing for any question of the split", where=str(self.path), fix=fix)
        receipt[TIER] = told

    def _read(self) -> Iterator[Rewritten]:
        return read_rewritten(self.path)
