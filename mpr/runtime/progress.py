"""Progress bars: how far long work is, on the terminal and nowhere else.

What works long is given a function that it calls with the number of things done since the last call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from tqdm import tqdm

Progress = Callable[[int], object]
Bar = Callable[[str, int | None], AbstractContextManager[Progress]]  # `bar` for those who know whether it is shown


def silent(done: object) -> None:
    """Where nobody wants to know."""


@contextmanager
def bar(what: str, total: int | None, quiet: bool, unit: str = "") -> Iterator[Progress]:
    """Opens a bar over `total` things (unknown: 0 or None), and takes it away at the end."""
    with tqdm(total=total or None, desc=what, unit=unit, unit_scale=True, disable=quiet, leave=False) as shown:
        yield shown.update
