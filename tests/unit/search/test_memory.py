"""What a search holds and lets go of: pages of the shards that it read, no others; on a GPU, a limit of its own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mpr.errors import RecipeError
from mpr.search import shards as pages
from mpr.search.exact import DEVICE_SHARE, DEVICE_SLACK, Exact, MemoryPlan, Room
from tests.conftest import Examined
from tests.unit.vectors_in_memory import MemoryStore, brute_force, same, store_of

WIDTH, K = 16, 20


def _mapped(folder: Path, count: int, shards: int) -> tuple[MemoryStore, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    passages_ND = rng.standard_normal((count, WIDTH)).astype(np.float32)
    return store_of(passages_ND, shards, seed=4, folder=folder), passages_ND, passages_ND[:100] + np.float32(0.1)


@pytest.fixture
def small_budget(monkeypatch: pytest.MonkeyPatch) -> int:
    """That one tile and one block need, so that no page of the store may stay."""
    working = MemoryPlan.of(1024, 100, WIDTH, Room(1 << 40), False).working.process
    return working + 1000


def test_only_shards_that_were_read_are_released(
    tmp_path: Path, small_budget: int, monkeypatch: pytest.MonkeyPatch, examined: Examined
) -> None:
    """Each part of the pairs that are scored anew lets go of its own shards: few, where there are hundreds."""
    released: list[int] = []
    parts: list[tuple[int, int]] = []
    release, vectors = pages.release, pages.Places.vectors

    def counting(array: Any) -> None:
        released.append(1)
        release(array)

    def reading(places: pages.Places, places_N: Any) -> Any:
        owners = np.searchsorted(places.offsets, places_N, side="right") - 1
        parts.append((len(places_N), len(set(owners.tolist()))))
        return vectors(places, places_N)

    store, passages_ND, queries_QD = _mapped(tmp_path, 6_000, 300)
    ready = Exact.open(store, budget_bytes=small_budget, first_pass="float32")
    assert not ready.first.keeps
    monkeypatch.setattr(pages, "release", counting)
    monkeypatch.setattr(pages.Places, "vectors", reading)
    assert same(ready.search(queries_QD, K), brute_force(queries_QD, passages_ND, K))
    assert len(store.shards) == 300
    assert len(parts) >= 6, "one part alone may well have touched every shard"
    assert len(released) == sum(touched for _, touched in parts)
    assert len(released) <= len(store.shards) + len(parts), "parts follow one another through the store"
    examined(len(released), f"releases for {len(parts)} parts of {len(store.shards)} shards", at_least=200)


def test_places_release_their_own_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, _, _ = _mapped(tmp_path, 2_000, 250)
    counted: Counter[int] = Counter()
    numbers = {id(shard.vectors): number for number, shard in enumerate(store.shards)}
    monkeypatch.setattr(pages, "release", lambda array: counted.update([numbers[id(array)]]))
    places = pages.Places(tuple(store.shards))
    wanted = [3, 17, 249]
    places.release(np.concatenate([np.repeat(places.offsets[number], 5) for number in wanted]))
    assert counted == dict.fromkeys(wanted, 1)


def test_a_device_has_a_limit_of_its_own(tmp_path: Path, small_budget: int, examined: Examined) -> None:
    """The processor, reported as a device with memory of its own: what lies there is not counted as the process's."""
    store, passages_ND, queries_QD = _mapped(tmp_path, 6_000, 5)
    expected = brute_force(queries_QD, passages_ND, K)
    size = passages_ND.nbytes
    together = Exact.open(store, budget_bytes=small_budget, first_pass="float32")
    assert _kept(together) == 750 // (WIDTH * 4), "three quarters of the spare bytes"
    seen = []
    for free in (DEVICE_SLACK * 2, DEVICE_SLACK * 4, 1 << 30):
        ready = Exact.open(store, budget_bytes=small_budget, first_pass="float32", free_on=lambda device, f=free: f)  # type: ignore[misc]
        room = ready.room.device
        assert room == free * DEVICE_SHARE // 100
        assert _kept(ready) * WIDTH * 4 <= room
        left = ready._left()
        pages_there = size if ready.first.keeps else 0
        assert left.process == small_budget - pages_there, "nothing on the device counts against the process"
        assert left.device == room - _kept(ready) * WIDTH * 4
        assert same(ready.search(queries_QD, K), expected)
        seen.append(_kept(ready))
    assert seen[-1] == len(passages_ND) > _kept(together), "with room enough, the whole store lies on the device"
    examined(len(seen), "sizes of a device", at_least=3)


def _kept(ready: Exact) -> int:
    return sum(len(kept_ND) for kept_ND in ready.first.kept)


def test_a_small_device_makes_smaller_tiles_or_is_refused(tmp_path: Path, examined: Examined) -> None:
    store, passages_ND, queries_QD = _mapped(tmp_path, 6_000, 5)
    for spare in (500_000, 2_000_000):
        free = (DEVICE_SLACK + spare) * 100 // DEVICE_SHARE
        ready = Exact.open(store, budget_bytes=1 << 30, first_pass="float32", free_on=lambda device, f=free: f)  # type: ignore[misc]
        assert same(ready.search(queries_QD, K), brute_force(queries_QD, passages_ND, K))
        assert MemoryPlan.of(100, K, WIDTH, ready._left(), False).questions < 100, "fewer questions at once"
    with pytest.raises(RecipeError, match=r"the device has 750 bytes .*CUDA_VISIBLE_DEVICES"):
        Exact.open(store, budget_bytes=1 << 30, free_on=lambda device: 1000)
    with pytest.raises(RecipeError, match="a budget of 1,000 bytes is too small"):
        Exact.open(store, budget_bytes=1000, free_on=lambda device: 1 << 40)
    asked: list[torch.device] = []
    Exact.open(store, budget_bytes=1 << 30, free_on=lambda device: asked.append(device))  # type: ignore[func-returns-value]
    assert asked == [torch.device("cpu")], "asked once, of the device that is searched on"
    examined(5, "reports of a device", at_least=5)
