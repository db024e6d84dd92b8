"""The processes that a launcher started (torchrun, accelerate), or this one alone.

Each takes every n-th unit. They meet through torch; a single process needs no torch for that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from mpr.errors import RecipeError
from mpr.runtime.processes import ONE_PROCESS, Group, Place, joined

_PATIENCE = timedelta(days=30)  # for the slowest process; one that failed or was killed is noticed at once


@contextmanager
def opened(address: str | None, folders: Sequence[Path]) -> Iterator[Group]:
    """The processes of this launch; one that fails ends all."""
    if address is not None:
        fix = "leave it out, or name the engine: --engine ray"
        raise RecipeError("processes of a launch have no address", key="--engine-address", fix=fix)
    place = Place.here()
    if place.world == 1:
        yield ONE_PROCESS
        return
    from torch import distributed

    distributed.init_process_group("gloo", timeout=_PATIENCE)
    try:
        with joined(place) as group:
            yield group
    finally:
        distributed.destroy_process_group()
