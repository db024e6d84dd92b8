"""Numbers that follow from a recipe and the known counts of its data: rows, steps, updates, refreshes.

A count that depends on data nobody has read yet is None, and is printed as unknown. The same holds for what follows
from a key of `training` that is missing or wrong: `rules` complains about the key.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from mpr import corpora
from mpr.corpora import Split
from mpr.errors import DataError
from mpr.recipe.keys import Recipe
from mpr.recipe.keys_draw import PAIRED


def questions_per_step(recipe: Recipe) -> int | None:
    """Questions of one forward step over all processes."""
    batch = _whole(recipe, "per_device_train_batch_size")
    return None if batch is None else batch * recipe.scale.processes


def rows_per_epoch(recipe: Recipe) -> int | None:
    """Rows of one epoch: questions, unless every positive is a row of its own."""
    split = _drawn_from(recipe)
    return None if split is None else split.trainable


def likely_rows(recipe: Recipe) -> int | None:
    """Rows of an epoch for predictions: roughly, where the number is not known."""
    split = _drawn_from(recipe)
    return None if split is None else split.trainable if split.trainable is not None else split.about


def _drawn_from(recipe: Recipe) -> Split | None:
    """The training split, where each of its usable questions is a row."""
    if recipe.draw.positives.policy == "one_row_per_positive" or recipe.data.unlabelled is not None:
        return None
    if any(entry.weight == PAIRED for entry in recipe.draw.negatives):
        return None  # questions with fewer than two pairs are left out
    try:
        return corpora.of(recipe.data.corpus).split(recipe.data.train)
    except DataError:
        return None  # the split does not exist: `rules` says so


def steps_per_epoch(recipe: Recipe) -> int | None:
    """Steps until every row of an epoch was drawn."""
    rows, questions = rows_per_epoch(recipe), questions_per_step(recipe)
    return None if rows is None or questions is None else math.ceil(rows / questions)


def steps(recipe: Recipe) -> int | None:
    """Forward steps (draws) of the whole training. Epochs run on without a gap, so only the last step is rounded up."""
    return _steps_over(recipe, rows_per_epoch(recipe))


def likely_steps(recipe: Recipe) -> int | None:
    """The same for predictions: roughly, where the number of training questions is not known."""
    return _steps_over(recipe, likely_rows(recipe))


def _steps_over(recipe: Recipe, rows: int | None) -> int | None:
    accumulation, most = accumulation_steps(recipe), _whole(recipe, "max_steps")
    if most is not None:
        return None if accumulation is None else most * accumulation
    questions, epochs = questions_per_step(recipe), recipe.training.get("num_train_epochs")
    if rows is None or questions is None or not isinstance(epochs, int | float) or epochs <= 0:
        return None
    return math.ceil(rows * Fraction(repr(float(epochs))) / questions)  # exact, as a draw counts: 1.1 is eleven tenths


def updates(recipe: Recipe) -> int | None:
    """Optimizer steps."""
    total, accumulation = steps(recipe), accumulation_steps(recipe)
    return None if total is None or accumulation is None else math.ceil(total / accumulation)


def accumulation_steps(recipe: Recipe) -> int | None:
    """Forward steps of one optimizer step."""
    return _whole(recipe, "gradient_accumulation_steps") if "gradient_accumulation_steps" in recipe.training else 1


def positives_per_row(recipe: Recipe) -> int | None:
    """At most this many positives a row; None when the data decides."""
    positives = recipe.draw.positives
    return {"up_to": positives.m, "all": positives.cap}.get(positives.policy, 1)


def negatives_per_row(recipe: Recipe, positives: int) -> int | None:
    """Drawn negatives of a row with that many positives; None when the data decides."""
    depths = {source.as_: getattr(source, "depth", None) for source in recipe.sources}  # type: ignore[attr-defined]
    drawn = 0
    for entry in recipe.draw.negatives:
        if entry.all:
            most = [limit for limit in (entry.window, depths.get(entry.from_)) if limit is not None]
            if not most:
                return None
            drawn += min(most)
        else:
            drawn += entry.k if entry.k is not None else max((entry.group or 0) - positives - drawn, 0)
    return drawn


def passages_per_step(recipe: Recipe) -> int | None:
    """Passages of a step, all processes together, at most: passages that several rows share are encoded once."""
    positives, questions = positives_per_row(recipe), questions_per_step(recipe)
    negatives = None if positives is None else negatives_per_row(recipe, positives)
    if positives is None or negatives is None or questions is None:
        return None
    remembered = 0 if recipe.scale.negative_cache is None else 1  # of each question one is encoded anew
    return questions * (positives + negatives + remembered)


def _whole(recipe: Recipe, name: str) -> int | None:
    """A training argument that is a whole number above zero; None when it is missing or wrong."""
    value = recipe.training.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


@dataclass(frozen=True)
class RefreshSchedule:
    """Before which update the model under training mines anew, and which table of candidates a step draws from.

    A version is called by the number of updates behind the weights that mined it: 0, N, 2N, ... The draws of the next N
    updates read it, or, where a version may be stale, those of the N after these, while the version before it stays in
    use; version 0 is read from the start either way. So what a step reads is a function of its number alone.
    """

    every: int | None
    """None: there is version 0 and no other."""
    updates: int
    """Of the whole training."""
    stale: bool = False
    questions: float = 1.0
    """Share of the questions that a version after the first mines for; it keeps the rows of the others."""

    @classmethod
    def of(cls, recipe: Recipe, updates: int) -> RefreshSchedule:
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


def refreshes(recipe: Recipe) -> RefreshSchedule | None:
    """Of a recipe whose model mines for itself between steps; None where none does, or the length is unknown."""
    total = updates(recipe)
    return (
        None if recipe.own is None or recipe.step_search is not None or not total else RefreshSchedule.of(recipe, total)
    )
