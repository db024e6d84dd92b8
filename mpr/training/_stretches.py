"""Draws become batches stretch by stretch: what the draws of a stretch read does not change within it.

Worker processes of a loader collate ahead of the step, so a loader that ran over a refresh would hand out steps drawn
from the table before. Here every stretch has a loader of its own, whose workers start when the table is there and end
before the next one is made. The trainer's loader only counts: it calls this with one draw number after the other, in
the process that trains, right before it needs the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any


class Stretches:
    """Called in place of the collator. `begin(draw)` prepares a stretch and answers where it ends (not included);
    `loader(draws)` opens the batches of these."""

    def __init__(self, begin: Callable[[int], int], loader: Callable[[range], Iterable[Any]]) -> None:
        self.begin, self.loader = begin, loader
        self._left = range(0)
        self._batches: Iterator[Any] = iter(())

    def __call__(self, numbers: Sequence[int]) -> Any:
        (number,) = numbers
        if number not in self._left[:1]:
            self.close()
            self._left = range(number, self.begin(number))
            self._batches = iter(self.loader(self._left))
        self._left = self._left[1:]
        batch = next(self._batches)
        if not self._left:
            self.close()
        return batch

    def close(self) -> None:
        """Ends the workers of the stretch: they are deaf to signals, so the process could not end before them."""
        self._left, self._batches = range(0), iter(())
