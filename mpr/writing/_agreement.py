"""Agreement of two judges about the same pairs: what one calls relevant against what is known.

    precision = both / judged relevant      recall = both / known relevant
    kappa = (o - e) / (1 - e)               o: share of pairs on which they agree; e: share expected by chance

Cohen's kappa (1960) is 1 for full agreement and 0 for that of two judges who call as many pairs relevant, at random.
What cannot be computed, because nothing is relevant or both judges say the same of all pairs, is None.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Agreement:
    """Pairs by what is known of them and what was judged."""

    both: int
    """Known and judged relevant."""
    missed: int
    """Known as relevant only."""
    added: int
    """Judged relevant only."""
    neither: int

    @classmethod
    def of(cls, pairs: Iterable[tuple[bool, bool]]) -> Agreement:
        """From (known, judged) of each pair."""
        counts = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
        for known, judged in pairs:
            counts[bool(known), bool(judged)] += 1
        return cls(counts[True, True], counts[True, False], counts[False, True], counts[False, False])

    @property
    def pairs(self) -> int:
        return self.both + self.missed + self.added + self.neither

    @property
    def precision(self) -> float | None:
        return _share(self.both, self.both + self.added)

    @property
    def recall(self) -> float | None:
        return _share(self.both, self.both + self.missed)

    @property
    def kappa(self) -> float | None:
        if not self.pairs:
            return None
        known, judged = self.both + self.missed, self.both + self.added
        chance = known * judged + (self.pairs - known) * (self.pairs - judged)  # times the square of pairs
        return _share((self.both + self.neither) * self.pairs - chance, self.pairs**2 - chance)

    @property
    def facts(self) -> dict[str, Any]:
        """For a receipt."""
        return {**asdict(self), "precision": self.precision, "recall": self.recall, "kappa": self.kappa}

    def __str__(self) -> str:
        named = {"precision": self.precision, "recall": self.recall, "kappa": self.kappa}
        shown = ", ".join(f"{name} {'unknown' if value is None else f'{value:.3f}'}" for name, value in named.items())
        return f"{shown} ({self.both:,} both, {self.missed:,} missed, {self.added:,} added, {self.neither:,} neither)"


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
