"""What is known of pairs: of the questions of a split with passages, after mining and while labels are applied.

Four things: the positives of every question, with those that are only not to be negatives; the candidates of every
source, from which negatives are drawn; what mining took out of a source, with the reason; and numbers for pairs, named
by the target of an objective that they become. A label (`mpr/labels/`) takes what is known before it and gives what is
known after it:

    applied(params, known, ground) -> known

Labels act one after the other, in the order of the recipe, each on what those before it left. The result is a function
of the split, the tables and the recipe alone; what a label has to compute for long it keeps beside the split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mpr.data.pair_scores import PairScores, keys_of
from mpr.data.positives import PositiveIndex, tier_codes
from mpr.errors import RecipeError
from mpr.storage.ragged import Ragged


@dataclass(frozen=True)
class Asked:
    """The pairs that a label must have scores of, as far as they can be computed."""

    windows: Mapping[str, int | None]
    """Source -> the last rank that is looked at; null: all."""
    positives: bool = False
    """Whether those of the known positives too."""


@dataclass(frozen=True)
class Knowledge:
    """What is known of pairs; see the module's docstring. Sources go by their `as`."""

    positives: PositiveIndex
    candidates: Mapping[str, Ragged]
    tiers: tuple[str, ...]
    """Those whose positives count."""
    removed: Mapping[str, Ragged] = field(default_factory=dict)
    """Of mined sources only."""
    anchors: Mapping[str, PairScores] = field(default_factory=dict)
    """Scores that a source gives to positives, proposed or not; of mined sources that were asked for them."""
    scores: Mapping[str, PairScores] = field(default_factory=dict)
    """Name of a target, such as `teacher_QP` -> the pairs whose value is known."""
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """What each label did, for people; labels go by number and name."""
    before: Knowledge | None = None
    """What was known before the first label; None: this is it."""
    stores: Mapping[str, PairScores] = field(default_factory=dict)
    """What labels read or keep beside the split, by the same names: together with the tables, all that they go by."""

    def of(self, source: str) -> Ragged:
        """Candidates of a source."""
        return _named(self.candidates, source, "source")

    def taken_out(self, source: str) -> Ragged:
        """What mining took out of a source."""
        return _named(self.removed, source, "mined source")

    @property
    def counting(self) -> NDArray[np.bool_]:
        """Which of the known pairs are positives that count; one truth value for each place of the index."""
        return np.isin(self.positives.rows.columns["tier"], tier_codes(self.tiers))

    def open(self, source: str) -> NDArray[np.bool_]:
        """Which candidates of a source nothing is known of yet; one truth value for each place of the table."""
        table = self.of(source)
        return ~np.isin(keys_of(table.owners(), table.columns["passage"]), self.positives.keys())

    def pairs(self) -> NDArray[np.int64]:
        """All that is known or proposed, each pair once, as ascending keys."""
        listed = [keys_of(table.owners(), table.columns["passage"]) for table in self.candidates.values()]
        return np.unique(np.concatenate([self.positives.keys(), *listed]))

    def asked(self, asked: Asked, first: int, last: int) -> NDArray[np.int64]:
        """What is asked for of these questions, each pair once, as ascending keys: positives as they are known now, and
        candidates as they were before any label. Only their part of the tables is read."""
        rows_Q, found = np.arange(first, last), [np.zeros(0, dtype=np.int64)]
        for source, window in asked.windows.items():
            table = (self.before or self).of(source)
            owner_N, place_N = table.places(rows_Q)
            if window is not None:
                near_N = table.columns["rank"][place_N] <= window
                owner_N, place_N = owner_N[near_N], place_N[near_N]
            found.append(keys_of(rows_Q[owner_N], table.columns["passage"][place_N]))
        if asked.positives:
            rows = self.positives.rows
            owner_N, place_N = rows.places(rows_Q)
            found.append(keys_of(rows_Q[owner_N], rows.columns["passage"][place_N]))
        return np.unique(np.concatenate(found))

    def with_candidates(self, source: str, table: Ragged) -> Knowledge:
        return replace(self, candidates={**self.candidates, source: table})

    def with_scores(self, target: str, scores: PairScores) -> Knowledge:
        """Refused where another label gave the target already: of two values for one pair neither would be right."""
        if target in self.scores:
            what = f"two labels give {target}"
            raise RecipeError(what, key="labels", fix="keep one of them")
        return replace(self, scores={**self.scores, target: scores})

    def noted(self, label: str, counts: Mapping[str, int], store: PairScores | None = None) -> Knowledge:
        """With what a label did, and by what."""
        name = f"{len(self.counts) + 1} {label}"
        stores = {} if store is None else {name: store}
        return replace(self, counts={**self.counts, name: dict(counts)}, stores={**self.stores, **stores})


def _named(tables: Mapping[str, Ragged], source: str, kind: str) -> Ragged:
    if source not in tables:
        known = ", ".join(tables) or "none"
        kinds = "mined" if kind.startswith("mined") else "known"
        raise RecipeError(f"no {kind} is called '{source}'", key="labels", fix=f"{kinds}: {known}")
    return tables[source]
