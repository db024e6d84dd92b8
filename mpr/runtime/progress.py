"""Progress: how far long work is, as a bar on the terminal; in a log, a line from time to time.

What works long is given a function that it calls with the number of things done since the last call. There is one bar
at a time: one that is opened inside another takes its place until it ends. Libraries have bars and reports of their
own; what they load and save is done in `ours_alone`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from tqdm import tqdm

Progress = Callable[[int], object]
Bar = Callable[[str, int | None], AbstractContextManager[Progress]]  # `bar` for those who know whether it is shown

log = logging.getLogger("mpr.progress")
_FIRST, _AGAIN = 60.0, 600.0  # seconds until the log says how far something is
_open: list[Any] = []  # the last one is shown


def silent(done: object) -> None:
    """Where nobody wants to know."""


@contextmanager
def bar(what: str, total: int | None, quiet: bool, unit: str = "") -> Iterator[Progress]:
    """Opens a bar over `total` things (unknown: 0 or None) where the screen is a terminal, and takes it away at the
    end. Elsewhere the log says how far the work is after a minute, and then every ten minutes."""
    with aside():
        shown = tqdm(
            total=total or None, desc=what, unit=unit, unit_scale=(total or 10_000) >= 10_000, disable=quiet or None,
            leave=False, position=0, dynamic_ncols=True, miniters=1,
        )  # fmt: skip
        if not shown.disable:
            _open.append(shown)
    try:
        yield _Logged(what, total or 0) if shown.disable and not quiet else shown.update
    finally:
        if not shown.disable:
            _open.pop()
        shown.close()
        if _open:
            _open[-1].refresh()


class _Logged:
    """Says how much is done of work that nobody watches, and how long the rest will take at this speed."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        self._began = time.monotonic()
        self._next = self._began + _FIRST

    def __call__(self, done: int) -> None:
        self._done += done
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _AGAIN
            log.info("%s: %s", self._what, self._said(now - self._began))

    def _said(self, seconds: float) -> str:
        if not 0 < self._done <= self._total:
            return f"{self._done:,} done"
        left = seconds * (self._total - self._done) / self._done
        rest = f"{left / 3600:.1f} hours" if left > 5_400 else f"{left / 60:.0f} minutes"
        return f"{self._done / self._total:.1%} of {self._total:,} done, about {rest} left"


@contextmanager
def aside() -> Iterator[None]:
    """While the body writes to the screen, the bar that is shown makes room for it."""
    shown = _open[-1] if _open else None
    if shown is not None:
        shown.clear()
    yield
    if shown is not None and _open and shown is _open[-1]:  # bars are equal to tqdm where they stand at one place
        shown.refresh()


@contextmanager
def ours_alone() -> Iterator[None]:
    """While the body loads or saves a model, transformers shows no bar of its own and reports nothing but errors: what
    its reports say is checked by those who load."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars
    from transformers.utils import logging

    level, has_bars, hub_is_quiet = (
        logging.get_verbosity(),
        logging.is_progress_bar_enabled(),
        are_progress_bars_disabled(),
    )
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if has_bars:
            logging.enable_progress_bar()
        if hub_is_quiet:
            disable_progress_bars()
