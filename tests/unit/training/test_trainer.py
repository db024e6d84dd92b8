"""No batch is collated before the refresh whose candidates it reads, however far workers read ahead."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing import active_children
from typing import Any

import pytest
from torch.utils.data import DataLoader

from mpr.training._trainer import Draws, RefreshedBatches
from tests.conftest import Examined

DRAWS, LENGTH = 14, 4


class World:
    """A table of which there is a new version every LENGTH draws; a batch says which one it was drawn from."""

    def __init__(self, workers: int) -> None:
        self.workers, self.version, self.began = workers, -1, list[int]()

    def collate(self, numbers: Sequence[int]) -> tuple[int, int]:
        return numbers[0], self.version

    def loader(self, draws: range) -> DataLoader[Any]:
        return DataLoader(Draws(DRAWS), sampler=draws, collate_fn=self.collate, num_workers=self.workers)

    def begin(self, draw: int) -> int:
        self.began.append(draw)
        self.version = draw // LENGTH
        return min((self.version + 1) * LENGTH, DRAWS)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("first", [0, 4, 6])
def test_batches_are_those_of_their_refresh(workers: int, first: int, examined: Examined) -> None:
    """Also of a run that is continued right after a refresh, or between two."""
    world = World(workers)
    counting = DataLoader(
        Draws(DRAWS), sampler=range(first, DRAWS), collate_fn=RefreshedBatches(world.begin, world.loader)
    )
    found = []
    for batch in counting:
        assert world.version == batch[0] // LENGTH, "nothing begins before its batch is wanted"
        found.append(batch)
    assert found == [(draw, draw // LENGTH) for draw in range(first, DRAWS)]
    assert world.began == [first, *(draw for draw in range(0, DRAWS, LENGTH) if draw > first)]
    examined(len(found), "batches", at_least=8)


def test_one_loader_for_all_would_read_ahead() -> None:
    """What this is against: workers that were started with the first table."""
    world, found = World(2), []
    for draw, version in world.loader(range(DRAWS)):
        world.version = (draw + 1) // LENGTH
        found.append((draw, version))
    assert found != [(draw, draw // LENGTH) for draw in range(DRAWS)]


@pytest.mark.parametrize("read", [3, LENGTH, DRAWS])
def test_no_worker_is_left(read: int, examined: Examined) -> None:
    """Neither between two refreshes, once it is closed, nor right before the next."""
    world = World(2)
    batches, before = RefreshedBatches(world.begin, world.loader), set(active_children())
    for draw in range(read):
        batches([draw])
    if read == 3:
        assert len(set(active_children()) - before) == 2
        batches.close()
    left = set(active_children()) - before
    assert not left, left
    examined(len(world.began), "batches")
