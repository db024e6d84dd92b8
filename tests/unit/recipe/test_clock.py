"""The clock of a refresh: golden timetables, and that what a checkpoint keeps is what its continuation needs."""

from __future__ import annotations

from itertools import product

import pytest

from mpr.recipe.clock import Clock
from tests.conftest import Examined

# every, stale, updates -> versions that are made, the version that each update reads
TIMETABLES = [
    (None, False, 5, [0], [0, 0, 0, 0, 0]),
    (2, False, 6, [0, 2, 4], [0, 0, 2, 2, 4, 4]),
    (2, False, 7, [0, 2, 4, 6], [0, 0, 2, 2, 4, 4, 6]),
    (3, False, 6, [0, 3], [0, 0, 0, 3, 3, 3]),
    (9, False, 6, [0], [0] * 6),
    (2, True, 6, [0, 2], [0, 0, 0, 0, 2, 2]),  # what update 4 could mine is for updates that never come
    (2, True, 7, [0, 2, 4], [0, 0, 0, 0, 2, 2, 4]),
    (9, True, 6, [0], [0] * 6),
    (1, True, 4, [0, 1, 2], [0, 0, 1, 2]),
]  # fmt: skip


@pytest.mark.parametrize("every, stale, updates, made, read", TIMETABLES)
def test_known_timetables(every: int | None, stale: bool, updates: int, made: list[int], read: list[int]) -> None:
    clock = Clock(every, updates, stale)
    assert clock.versions() == [update for update in range(updates) if clock.is_due(update)] == made
    assert [clock.in_force(update) for update in range(updates)] == read
    assert all(clock.in_force(update) == clock.in_force(clock.end(update) - 1) for update in range(updates))


def test_what_a_continued_run_needs_is_there_and_nothing_else(examined: Examined) -> None:
    """Continued before every update in turn: with the tables that are needed, and those that it makes, it goes on; with
    one of them less it does not."""
    tried = 0
    for every, stale, questions in product((None, 1, 2, 3, 5), (False, True), (1.0, 0.2)):
        clock = Clock(every, 11, stale, questions)
        for start in range(12):
            needed = clock.needed(start)
            assert _goes_on(clock, start, needed)
            assert not any(_goes_on(clock, start, needed - {version}) for version in needed)
            assert len(needed) <= 2, "a bounded disk"
            tried += len(needed)
    examined(tried, "tables that a run cannot go on without", at_least=150)


def _goes_on(clock: Clock, start: int, tables: set[int]) -> bool:
    there = set(tables)
    for update in range(start, clock.updates):
        if clock.is_due(update):
            if clock.is_partial(update) and clock.before(update) not in there:
                return False
            there.add(update)
        if clock.in_force(update) not in there:
            return False
    return True
