"""The clock of a refresh: before which update the model under training mines anew, and which table a step draws from.

A version is called by the number of updates behind the weights that mined it: 0, N, 2N, ... It is in force for the next
N updates, or, where a version may be stale, for the N after those, while the one before it stays in force; version 0
is in force from the start either way. So what a step reads is a function of its number alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from mpr.recipe import schedule
from mpr.recipe.keys import Recipe


@dataclass(frozen=True)
class Clock:
    """`every` None: there is version 0 and no other."""

    every: int | None
    updates: int
    """Of the whole training."""
    stale: bool = False
    questions: float = 1.0
    """Share of the questions that a version after the first mines for; it keeps the rows of the others."""

    @classmethod
    def of(cls, recipe: Recipe, updates: int) -> Clock:
        wanted = recipe.refresh
        return cls(None, updates) if wanted is None else cls(wanted.every, updates, wanted.stale, wanted.questions)

    def newest(self, update: int) -> int:
        """The last version that could be made before this update."""
        return 0 if self.every is None else update - update % self.every

    def in_force(self, update: int) -> int:
        """The version that the draws of this update read."""
        newest = self.newest(update)
        return max(newest - (self.every or 0), 0) if self.stale else newest

    def before(self, version: int) -> int:
        """The version before this one, which is not the first."""
        return version - (self.every or 0)

    def is_partial(self, version: int) -> bool:
        """Whether it keeps rows of the version before it."""
        return version > 0 and self.questions < 1 and self.is_made(version)

    def is_made(self, version: int) -> bool:
        """Whether any update reads it: nothing is mined for updates beyond the end."""
        first = version + (self.every or 0) if self.stale and version else version
        return first < self.updates

    def is_due(self, update: int) -> bool:
        """Whether a version is made right before this update."""
        return update == self.newest(update) and self.is_made(update)

    def end(self, update: int) -> int:
        """The first update after this one that may read another version."""
        return self.updates if self.every is None else min(self.newest(update) + self.every, self.updates)

    def versions(self) -> list[int]:
        """All that are made, in order."""
        return [version for version in range(0, self.updates, self.every or self.updates) if self.is_made(version)]

    def needed(self, update: int) -> set[int]:
        """Versions that a run which goes on with this update needs and cannot make from the weights that it has."""
        if update >= self.updates:
            return set()
        newest = self.newest(update)
        wanted = {version for version in (self.in_force(update), newest) if self.is_made(version)}
        if update == newest:
            wanted -= {newest}
            if self.is_partial(newest):
                wanted |= {self.before(newest)}
        return wanted


def of(recipe: Recipe) -> Clock | None:
    """Of a recipe whose model mines for itself between steps; None where none does, or the length is unknown."""
    updates = schedule.updates(recipe)
    return None if recipe.own is None or recipe.step_search is not None or not updates else Clock.of(recipe, updates)
