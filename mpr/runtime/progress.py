"""Progress bars: how far long work is, on the terminal and nowhere else.

What works long is given a function that it calls with the number of things done since the last call. There is one bar
at a time: one that is opened inside another takes its place until it ends. Libraries have bars and reports of their
own; what they load and save is done in `ours_alone`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from tqdm import tqdm

Progress = Callable[[int], object]
Bar = Callable[[str, int | None], AbstractContextManager[Progress]]  # `bar` for those who know whether it is shown

_open: list[Any] = []  # the last one is shown


def silent(done: object) -> None:
    """Where nobody wants to know."""


@contextmanager
def bar(what: str, total: int | None, quiet: bool, unit: str = "") -> Iterator[Progress]:
    """Opens a bar over `total` things (unknown: 0 or None) where the screen is a terminal, and takes it away at the
    end."""
    with aside():
        shown = tqdm(
            total=total or None, desc=what, unit=unit, unit_scale=(total or 10_000) >= 10_000, disable=quiet or None,
            leave=False, position=0, dynamic_ncols=True, miniters=1,
        )  # fmt: skip
        if not shown.disable:
            _open.append(shown)
    try:
        yield shown.update
    finally:
        if not shown.disable:
            _open.pop()
        shown.close()
        if _open:
            _open[-1].refresh()


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
