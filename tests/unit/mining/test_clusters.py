"""Clusters of vectors: planted groups are found, all are nearest to the mean of their own, in any number of threads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from mpr import storage
from mpr.errors import RecipeError
from mpr.mining import clusters
from mpr.mining.clusters import QuestionClusters
from mpr.recipe.keys_draw import Clusters
from tests.conftest import Examined


def wanted(k: int, iterations: int = 10) -> Clusters:
    return Clusters(k=k, model="start", iterations=iterations)


def planted(groups: int, each: int, width: int, spread: float) -> np.ndarray[Any, Any]:
    """Vectors around far-apart middles, those of a group together."""
    dice = np.random.default_rng(7)
    middles = dice.normal(size=(groups, 1, width)) * 5
    found = middles + dice.normal(size=(groups, each, width)) * spread
    return np.asarray(found.reshape(-1, width), dtype=np.float32)


def made(folder: Path, vectors_QW: np.ndarray[Any, Any], k: int, seed: int = 3) -> QuestionClusters:
    clusters.build(folder, vectors_QW, wanted(k), seed, {"of": "a test"})
    storage.verify(folder, clusters.KIND)
    return QuestionClusters(folder)


def test_planted_groups_are_found(tmp_path: Path) -> None:
    """Two that are far apart, from any start; a vector's length is part of where it is."""
    ray = np.ones((80, 8)) * np.repeat([1.0, 9.0], 40)[:, None] + planted(1, 80, 8, 0.1) / 10
    for number, vectors in enumerate((planted(2, 40, 8, 0.1), ray - ray.min())):
        for seed in range(5):
            found = made(tmp_path / f"{number}-{seed}", vectors.astype(np.float32), 2, seed).cluster_Q.reshape(2, 40)
            assert [len(set(group.tolist())) for group in found] == [1, 1]
            assert found[0, 0] != found[1, 0]


def test_everyone_is_nearest_to_the_mean_of_its_cluster(tmp_path: Path, examined: Examined) -> None:
    """In 64 bits, by squared distance, of vectors that are not of length one."""
    vectors = planted(5, 60, 8, 3.0) * np.linspace(0.5, 4.0, 300, dtype=np.float32)[:, None]
    found = made(tmp_path / "c", vectors, 7).cluster_Q
    assert set(found.tolist()) == set(range(7))
    means = np.stack([vectors[found == number].astype(np.float64).mean(axis=0) for number in range(7)])
    distance = ((vectors[:, None].astype(np.float64) - means) ** 2).sum(axis=2)
    assert (distance.argmin(axis=1) == found).mean() > 0.98  # the last iteration moved the means once more
    receipt = storage.read_manifest(tmp_path / "c").receipt
    assert receipt["mean_squared_distance"] == pytest.approx(distance[np.arange(300), found].mean(), rel=0.02)
    assert (receipt["largest"], receipt["smallest"]) == (np.bincount(found).max(), np.bincount(found).min())
    examined(len(found), "questions and their nearest means", at_least=300)


def test_seeds_and_sizes(tmp_path: Path) -> None:
    vectors = planted(4, 50, 8, 3.0)
    first, again, other = (made(tmp_path / str(n), vectors, 9, seed) for n, seed in enumerate((1, 1, 2)))
    assert storage.verify(first.folder).digest == storage.verify(again.folder).digest
    assert first.cluster_Q.tolist() != other.cluster_Q.tolist()
    assert set(made(tmp_path / "one", vectors, 1).cluster_Q.tolist()) == {0}
    assert sorted(made(tmp_path / "all", vectors[:5], 5).cluster_Q.tolist()) == [0, 1, 2, 3, 4]
    with pytest.raises(RecipeError, match="6 clusters are asked for, there are 5 questions"):
        made(tmp_path / "more", vectors[:5], 6)


def test_any_number_of_threads_gives_the_same(tmp_path: Path, examined: Examined) -> None:
    """These vectors have no groups: where sums are split among threads, someone on a border changes sides."""
    vectors, before, digests = np.random.default_rng(7).normal(size=(6_000, 64)), faiss.omp_get_max_threads(), []
    try:
        for threads in (1, 2, 4):
            faiss.omp_set_num_threads(threads)
            found = made(tmp_path / str(threads), vectors.astype(np.float32), 50)
            assert faiss.omp_get_max_threads() == threads
            digests.append(storage.verify(found.folder).digest)
    finally:
        faiss.omp_set_num_threads(before)
    assert len(set(digests)) == 1
    examined(len(digests), "numbers of threads", at_least=3)
