"""faiss proposes, exact scores decide: flat equals exact search, the others say how much they found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mpr import storage
from mpr.errors import DataError, MprError, NumbersError, RecipeError, StorageError
from mpr.search import search
from mpr.search.faiss_index import KIND, FaissIndex, build
from mpr.search.top_k import recall
from tests.conftest import Examined
from tests.unit.vectors_in_memory import MemoryStore, same, store_of

K = 10


def _world() -> tuple[MemoryStore, np.ndarray]:
    rng = np.random.default_rng(4)
    centres = rng.standard_normal((20, 32))
    passages_ND = centres[rng.integers(0, 20, 3000)] + 0.3 * rng.standard_normal((3000, 32))
    passages_ND[100:110] = passages_ND[100]  # copies
    queries_QD = passages_ND[::150] + 0.1 * rng.standard_normal((20, 32))
    return store_of(passages_ND.astype(np.float32), 4, seed=2), queries_QD.astype(np.float32)


FACTORIES = {"Flat": 1.0, "SQ8": 0.9, "IVF16,Flat": 0.9, "HNSW16": 0.9, "PQ16x4": 0.2}


def test_every_kind_of_index(tmp_path: Path, examined: Examined) -> None:
    store, queries_QD = _world()
    exact = search.exact(queries_QD, store, K, budget_bytes=1 << 28)
    for factory, least in FACTORIES.items():
        folder = tmp_path / factory.replace(",", "_")
        index = build(folder, store, factory, store_digest="abc")
        settings = "nprobe=8" if factory.startswith("IVF") else ""
        hits = index.search(queries_QD, K, settings=settings)
        assert recall(hits, exact) >= least, factory
        assert recall(index.search(queries_QD, K, fetch=200, settings=settings), exact) >= recall(hits, exact)
        assert same(FaissIndex.open(folder, store, store_digest="abc").search(queries_QD, K, settings=settings), hits)
        assert (np.diff(hits.scores_QK) <= 0).all()
        receipt = storage.verify(folder, KIND).receipt
        assert (receipt["factory"], receipt["store"], receipt["vectors"]) == (factory, "abc", 3000)
    examined(len(FACTORIES), "kinds of index", at_least=5)


SETTINGS = {
    "IVF16,Flat": ("nprobe=1", "nprobe=16"),
    "IVF16,PQ16x4": ("max_codes=20,nprobe=16", "max_codes=0,nprobe=16"),
    "IVF16_HNSW8,Flat": ("nprobe=1", "nprobe=16,quantizer_efSearch=64"),
    "HNSW8": ("efSearch=10", "efSearch=400"),
    "PQ16x4,RFlat": ("k_factor_rf=1", "k_factor_rf=20"),
    "PCA24,IVF16,Flat,RFlat": ("nprobe=1", "nprobe=16,k_factor_rf=20"),
}


@pytest.mark.long
def test_settings_belong_to_one_search(tmp_path: Path, examined: Examined) -> None:
    """More of them finds more, and the next search without any is as the one before."""
    store, _ = _world()
    queries_QD = np.random.default_rng(9).standard_normal((40, 32)).astype(np.float32)  # between the clusters
    exact = search.exact(queries_QD, store, K, budget_bytes=1 << 28)
    for number, (factory, (few, many)) in enumerate(SETTINGS.items()):
        index = build(tmp_path / str(number), store, factory, store_digest="abc")
        before = index.search(queries_QD, 2, fetch=4)
        less, more = (recall(index.search(queries_QD, K, settings=one), exact) for one in (few, many))
        assert more > less, factory
        assert same(index.search(queries_QD, 2, fetch=4), before), factory
    examined(len(SETTINGS), "kinds of index", at_least=6)


def test_flat_with_candidates_to_spare_is_exact(tmp_path: Path) -> None:
    store, queries_QD = _world()
    hits = build(tmp_path / "i", store, "Flat", store_digest="a").search(queries_QD, K, fetch=3 * K)
    assert same(hits, search.exact(queries_QD, store, K, budget_bytes=1 << 28))


def test_refusals(tmp_path: Path, examined: Examined) -> None:
    store, queries_QD = _world()
    index = build(tmp_path / "good", store, "IVF64,Flat", store_digest="abc")
    broken = store_of(np.full((50, 32), np.nan, dtype=np.float32))
    few = store_of(np.ones((5, 32), dtype=np.float32))
    cases: list[tuple[object, type[MprError], str]] = [
        (
            lambda: build(tmp_path / "a", store, "Nonsense", store_digest="abc"),
            RecipeError,
            "does not know the factory",
        ),
        (lambda: build(tmp_path / "b", broken, "Flat", store_digest="abc"), NumbersError, "not finite"),
        (lambda: build(tmp_path / "c", few, "IVF64,Flat", store_digest="abc"), RecipeError, "too few to train"),
        (lambda: FaissIndex.open(tmp_path / "good", store, store_digest="other"), StorageError, "not of other"),
        (lambda: FaissIndex.open(tmp_path / "good", few, store_digest="abc"), StorageError, "build the index again"),
        (lambda: index.search(queries_QD, 300, settings="nprobe=1"), DataError, "fewer than 300"),
        (lambda: build(tmp_path / "d", store, "NSG16", store_digest="abc"), RecipeError, "block after block"),
        (lambda: build(tmp_path / "e", store, "IDMap,Flat", store_digest="abc"), RecipeError, "block after block"),
        (lambda: index.search(queries_QD, K, settings="colour=3"), RecipeError, "does not know the settings"),
        (lambda: index.search(queries_QD, K, settings="efSearch=3"), RecipeError, "the index has no efSearch"),
        (lambda: index.search(queries_QD, K, fetch=K - 1), RecipeError, "cannot fetch"),
        (lambda: index.search(queries_QD, 3001), RecipeError, "depth from 1 to 3,000"),
        (lambda: index.search(queries_QD[:, :31].copy(), K), DataError, "width 32"),
    ]
    for action, kind, says in cases:
        with pytest.raises(kind) as refused:
            action()
        assert says in str(refused.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good"], "a refused index leaves nothing"
    examined(len(cases), "refusals", at_least=13)


def test_an_altered_index_is_refused(tmp_path: Path) -> None:
    store, _ = _world()
    build(tmp_path / "i", store, "Flat", store_digest="abc")
    path = tmp_path / "i" / "index.faiss"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(StorageError, match="checksum mismatch"):
        FaissIndex.open(tmp_path / "i", store, store_digest="abc")
