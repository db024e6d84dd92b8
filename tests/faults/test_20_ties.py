"""Fault 20: exact ties, duplicate passages and near ties. One canonical order, whatever the search was split into."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from mpr.search.exact import Exact
from mpr.search.shards import Share
from mpr.search.top_k import TopK, merge
from tests.conftest import Examined
from tests.unit.vectors_in_memory import brute_force, same, store_of

World = Callable[[np.random.Generator], np.ndarray]

K = 40
BUDGET = 1 << 28


def _duplicates(rng: np.random.Generator) -> np.ndarray:
    """Fifteen hundred passages of sixty texts."""
    return rng.standard_normal((60, 24))[rng.integers(0, 60, 1500)]


def _near_ties(rng: np.random.Generator) -> np.ndarray:
    """Passages that differ by less than bfloat16 and often less than 32 bits of a score can tell."""
    return rng.standard_normal(24) + 1e-7 * rng.integers(0, 20, (1500, 24))


def _exact_ties(rng: np.random.Generator) -> np.ndarray:
    """Small whole numbers: different passages with equal scores."""
    return rng.integers(-1, 2, (1500, 24))


def _one_text(rng: np.random.Generator) -> np.ndarray:
    return np.tile(rng.standard_normal(24), (1500, 1))


def _blank(rng: np.random.Generator) -> np.ndarray:
    """Half of the passages have the zero vector, the best there is for questions without a negative number."""
    return -np.abs(rng.standard_normal((1500, 24))) * (rng.random((1500, 1)) < 0.5)


WORLDS = (_duplicates, _near_ties, _exact_ties, _one_text, _blank)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.long
@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.__name__.strip("_"))
def test_one_order(world: World, threads: Callable[[int], None], examined: Examined) -> None:
    rng = np.random.default_rng(20)
    passages_ND = world(rng).astype(np.float32)
    queries_QD = rng.integers(0, 3, (7, 24)).astype(np.float32)
    queries_QD[0] = 0.0  # every score of this one is equal
    expected = brute_force(queries_QD, passages_ND, K)
    done = 0
    for shards, first, count in itertools.product((1, 2, 9), ("float32", "bfloat16"), (1, 2)):
        threads(count)
        ready = Exact.open(store_of(passages_ND, shards, seed=shards), budget_bytes=BUDGET, first_pass=first)
        for batch in (1, 3, 7):
            starts = range(0, len(queries_QD), batch)
            parts = [ready.search(queries_QD[start : start + batch], K) for start in starts]
            whole = TopK(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("rows_QK", "scores_QK")))
            assert same(whole, expected), (shards, first, count, batch)
            done += 1
        for k in (1, 2, K - 1):
            shorter = ready.search(queries_QD, k)
            assert same(shorter, TopK(expected.rows_QK[:, :k], expected.scores_QK[:, :k])), (shards, first, count, k)
            done += 1
    assert (np.diff(expected.scores_QK, axis=1) == 0)[1:].sum() >= K, "this world has too few ties to prove anything"
    examined(done, "searches of the same questions", at_least=60)


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.__name__.strip("_"))
def test_separate_searches_merge_to_that_order(world: World, examined: Examined) -> None:
    rng = np.random.default_rng(20)
    passages_ND = world(rng).astype(np.float32)
    queries_QD = rng.integers(0, 3, (5, 24)).astype(np.float32)
    store = store_of(passages_ND, 6, seed=3)
    shares = [Share.of(store, number, 3) for number in range(3)]
    found = [Exact.open(share, budget_bytes=BUDGET).search(queries_QD, min(K, len(share))) for share in shares]
    expected = brute_force(queries_QD, passages_ND, K)
    orders = list(itertools.permutations(found))
    for order in orders:
        assert same(merge(order, K), expected)
    examined(len(orders), "orders of three searches")


def test_written_scores_are_in_order(examined: Examined) -> None:
    """Whoever sorts what is written by (score down, row up) gets what is written."""
    rng = np.random.default_rng(1)
    passages_ND = _near_ties(rng).astype(np.float32)
    hits = Exact.open(store_of(passages_ND, 3), budget_bytes=BUDGET).search(passages_ND[:20], K)
    for rows_K, scores_K in zip(hits.rows_QK, hits.scores_QK, strict=True):
        assert sorted(range(K), key=lambda place: (-scores_K[place], rows_K[place])) == list(range(K))
    examined(hits.rows_QK.size, "hits")
