"""What was measured of a store is read again, verified; a store of other vectors, or damage, is measured anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mpr.errors import NumbersError, StorageError
from mpr.search import _first_pass, _measured
from mpr.search.exact import Exact
from mpr.search.shards import Share
from mpr.search.vectors import StoredShard, Unfinished, VectorStore
from tests.conftest import Examined
from tests.unit.vectors_in_memory import brute_force, same

COUNT, WIDTH, K, BUDGET = 5_000, 8, 5, 1 << 30


def store_in(folder: Path, seed: int = 1, broken: bool = False) -> VectorStore:
    made_ND = vectors_of(seed)
    if broken:
        made_ND[4321, 2] = np.inf
    work = Unfinished(folder, {"model": "m", "data": "d"}, 2, WIDTH, "float32")
    with work.held():
        work.missing()
        for number, rows_N in enumerate((np.arange(3000), np.arange(3000, COUNT))):
            work.add(number, rows_N, made_ND[rows_N])
        return work.commit({})


def vectors_of(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((COUNT, WIDTH)).astype(np.float32)


def beside(folder: Path) -> list[Path]:
    return sorted(folder.glob("store-measured-*"))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Vectors that were read to be measured or kept."""
    counted: list[int] = []
    stored = _first_pass.FirstPass._stored

    def counting(self: _first_pass.FirstPass, shard: StoredShard, start: int, stop: int) -> object:
        counted.append(stop - start)
        return stored(self, shard, start, stop)

    monkeypatch.setattr(_first_pass.FirstPass, "_stored", counting)
    return counted


def test_a_store_is_read_once(tmp_path: Path, read: list[int], examined: Examined) -> None:
    store = store_in(tmp_path / "store")
    queries_QD, expected = vectors_of(2)[:20], brute_force(vectors_of(2)[:20], vectors_of(1), K)
    for first_pass, again in (("float32", 0), ("bfloat16", COUNT)):  # those of another type are made from the store
        opened = []
        for turn in range(2):
            read.clear()
            opened.append(Exact.open(store, budget_bytes=BUDGET, first_pass=first_pass, remembers=True))
            assert sum(read) == (again if turn else COUNT)
            assert same(opened[-1].search(queries_QD, K), expected)
        for one, other in zip(opened[0].first.norms, opened[1].first.norms, strict=True):
            assert np.array_equal(one.length, other.length)
            assert np.array_equal(one.lost, other.lost)
    assert len(beside(tmp_path)) == 2
    read.clear()
    Exact.open(store, budget_bytes=BUDGET, first_pass="float32")
    assert sum(read) == COUNT, "nobody asked for it to be remembered"
    examined(4, "openings")


def test_norms_are_those_of_the_vectors(tmp_path: Path) -> None:
    """Against numpy in 64 bits; never smaller."""
    store = store_in(tmp_path / "store")
    ready = Exact.open(store, budget_bytes=BUDGET, first_pass="bfloat16")
    length_N = np.linalg.norm(vectors_of(1).astype(np.float64), axis=1)
    for shard, norms in zip(store.shards, ready.first.norms, strict=True):
        panels = np.array_split(length_N[shard.rows], np.arange(2048, len(shard), 2048))
        expected = np.array([panel.max() for panel in panels])
        assert (norms.length >= expected).all()
        np.testing.assert_allclose(norms.length, expected, rtol=1e-8)
        assert (norms.lost > 0).all()
        assert (norms.lost < expected * 2.0**-8).all()


def test_shares_have_measures_of_their_own(tmp_path: Path, read: list[int]) -> None:
    store = store_in(tmp_path / "store")
    for turn in range(2):
        read.clear()
        for number in range(2):
            Exact.open(Share.of(store, number, 2), budget_bytes=BUDGET, first_pass="float32", remembers=True)
        assert sum(read) == (0 if turn else COUNT)
    assert len(beside(tmp_path)) == 2


def test_damage_and_other_vectors_are_measured_anew(
    tmp_path: Path,
    read: list[int],
    examined: Examined,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = store_in(tmp_path / "store")
    Exact.open(store, budget_bytes=BUDGET, first_pass="float32", remembers=True)
    (place,) = beside(tmp_path)
    numbers = (place / _measured.NORMS).read_bytes()
    for damaged in (numbers[:-8], bytes([numbers[0] ^ 1]) + numbers[1:]):
        (place / _measured.NORMS).write_bytes(damaged)
        read.clear()
        ready = Exact.open(store, budget_bytes=BUDGET, first_pass="float32", remembers=True)
        assert sum(read) == COUNT
        assert "measured anew" in caplog.text
        assert float(ready.first.norms[0].length[0]) == np.frombuffer(numbers)[0]
        assert (place / _measured.NORMS).read_bytes() == numbers

    def refused(folder: Path) -> None:
        raise StorageError("cannot remove: Read-only file system", where=str(folder))

    (place / _measured.NORMS).write_bytes(numbers[:-8])
    with monkeypatch.context() as patched:
        patched.setattr(_measured.storage, "remove", refused)
        read.clear()
        Exact.open(store, budget_bytes=BUDGET, first_pass="float32", remembers=True)
        assert sum(read) == COUNT, "where nothing can be removed, it is measured all the same"
    other = store_in(tmp_path / "other" / "store", seed=5)
    read.clear()
    Exact.open(other, budget_bytes=BUDGET, first_pass="float32", remembers=True)
    assert sum(read) == COUNT
    assert beside(tmp_path / "other")[0].name != place.name
    examined(3, "stores")


def test_numbers_that_are_not_finite_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(NumbersError, match="first: row 4,321"):
        Exact.open(store_in(tmp_path / "store", broken=True), budget_bytes=BUDGET, remembers=True)
    assert beside(tmp_path) == []
