"""Waiting, for all tests: for a condition, with a limit that only a hang reaches; never for enough time to pass.

A test that sleeps and then looks fails on a busy machine. `tests/house/test_patience.py` lets nothing else sleep.
"""

from __future__ import annotations

import time
from collections.abc import Callable

HANGING = 1_200.0  # seconds until something counts as hanging, on however busy a machine


def until(condition: Callable[[], object], meanwhile: Callable[[], object] = lambda: None) -> None:
    """Looks again and again; `meanwhile` is called between two looks and may raise what makes further ones useless."""
    deadline = time.monotonic() + HANGING
    while not condition():
        meanwhile()
        assert time.monotonic() < deadline, "hangs"
        time.sleep(0.005)


def let_pass(seconds: float) -> None:
    """For what happens at any time, such as a kill, or for what must only be late: nothing may rely on the length."""
    time.sleep(seconds)
