"""Dice: a deterministic chooser for one place of the world.

Every article, region or question has its own dice, made from the seed, a purpose and coordinates; what one of them
throws never depends on how often another was thrown. Only integers decide, so every platform throws the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from mpr.runtime.randomness import bits

Item = TypeVar("Item")

_BATCH = 64  # numbers fetched at a time: one call of `bits` costs as much as fifty numbers


class Dice:
    """A stream of choices that is a pure function of (seed, purpose, coordinates)."""

    def __init__(self, seed: int, purpose: str, *coordinates: int) -> None:
        self._source = (seed, purpose, coordinates)
        self._used = 0
        self._ready: list[int] = []

    def _next(self) -> int:
        if not self._ready:
            seed, purpose, coordinates = self._source
            block = bits(seed, f"world/{purpose}", *coordinates, np.arange(self._used, self._used + _BATCH))
            self._used += _BATCH
            self._ready = [int(value) for value in block[::-1]]
        return self._ready.pop()

    def below(self, size: int) -> int:
        """A number from 0 to size - 1."""
        return ((self._next() >> 11) * size) >> 53

    def between(self, low: int, high: int) -> int:
        """A number from low to high, both included."""
        return low + self.below(high - low + 1)

    def chance(self, share: float) -> bool:
        """True with probability `share`. The same throw that is true for one share is true for every larger one."""
        return (self._next() >> 11) < round(share * (1 << 53))

    def pick(self, items: Sequence[Item]) -> Item:
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """A new list in random order (Fisher and Yates)."""
        order = list(items)
        for last in range(len(order) - 1, 0, -1):
            other = self.below(last + 1)
            order[last], order[other] = order[other], order[last]
        return order

    def sample(self, items: Sequence[Item], size: int) -> list[Item]:
        """`size` different items, or all of them when there are fewer."""
        return self.shuffled(items)[:size]
