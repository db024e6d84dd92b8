"""Feedback moves questions by the mean of what they found; the second search ranks by the moved ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mpr.errors import RecipeError
from mpr.recipe.keys import Feedback
from mpr.search import feedback, search
from mpr.search.top_k import Hits
from tests.conftest import Examined
from tests.e2e.searched import Searched
from tests.unit.vectors_in_memory import brute_force, same, store_of


def by_hand(queries: Any, hits: Hits, vectors: Any, documents: int, weight: float) -> np.ndarray:
    """Question after question, passage after passage."""
    moved = []
    for query, rows in zip(queries, hits.rows_QK, strict=True):
        found = [vectors[row] for row in rows[:documents] if row >= 0]
        mean = sum(found) / len(found) if found else 0.0 * query
        moved.append(query + weight * mean)
    return np.array(moved)


def test_moved_questions(examined: Examined) -> None:
    rng, count = np.random.default_rng(2), 0
    vectors = rng.standard_normal((90, 8)).astype(np.float32)
    queries = rng.standard_normal((11, 8)).astype(np.float32)
    store: Any = store_of(vectors, shards=4, seed=3)
    hits = search.exact(queries, store, 7, budget_bytes=1 << 28)
    hits.rows_QK[2, 2:] = -1  # a question that found two passages
    hits.rows_QK[3, :] = -1  # and one that found none
    for documents, weight in ((1, 0.5), (3, 0.5), (7, 2.0)):
        moved = feedback.moved(queries, hits, store, Feedback(documents=documents, weight=weight))
        expected = by_hand(queries, hits, vectors, documents, weight)
        assert np.allclose(moved, expected, atol=1e-6)
        assert moved.dtype == np.float32
        again = search.exact(moved, store, 7, budget_bytes=1 << 28)
        assert same(again, brute_force(moved, vectors, 7))
        count += len(queries)
    examined(count, "questions moved", at_least=30)


def test_a_recipe_ranks_with_feedback(tmp_path: Any) -> None:
    """From vectors on disk: the ranking is that of the moved questions, and another one is refused in its place."""
    plain = Searched(tmp_path).encoded("plain")
    before = plain.search("test", "cpu")
    found = Searched(tmp_path).retrieval("plain", "search.feedback={documents: 3, weight: 0.7}")
    corpus = plain._vectors("corpus", plain.dataset.tokens_of_passages(None))
    queries = plain._vectors("test", plain.dataset.tokens_of_questions("test")).by_row()
    first = search.exact(queries, corpus, 60, budget_bytes=1 << 28)
    moved = by_hand(queries, first, corpus.by_row(), 3, 0.7).astype(np.float32)
    expected = search.exact(moved, corpus, 60, budget_bytes=1 << 28)
    with pytest.raises(RecipeError, match="feedback"):  # another ranking is not taken for this one
        found.search("test", "cpu")
    other = Searched(tmp_path).retrieval("other", "search.feedback={documents: 3, weight: 0.7}")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "vectors").symlink_to(tmp_path / "plain" / "vectors")
    after = other.search("test", "cpu")
    assert np.array_equal(after.passage_N.reshape(expected.rows_QK.shape), expected.rows_QK)
    assert not np.array_equal(after.passage_N, before.passage_N)
