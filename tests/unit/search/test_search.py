"""Exact search finds what brute force in 64 bits finds, bit for bit, and refuses what it cannot answer."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpr.errors import DataError, MprError, NumbersError, RecipeError
from mpr.recipe.keys import Feedback
from mpr.search import search
from mpr.search.exact import Exact
from mpr.search.shards import Share
from mpr.search.top_k import TopK, exact_scores, merge, recall
from tests.conftest import Examined
from tests.e2e.searched import Searched
from tests.house.source import ROOT
from tests.unit.vectors_in_memory import brute_force, same, store_of, stored_as, true_values

BUDGET = 1 << 28


def _vectors(kind: str, count: int, width: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    made = rng.standard_normal((count, width))
    if kind == "clustered":
        made = rng.standard_normal((7, width))[rng.integers(0, 7, count)] + 0.01 * made
    elif kind == "huge":
        made *= 1e15
    elif kind == "tiny":
        made *= 1e-25  # scores that vanish in 32 bits, squares too
    elif kind == "lengths":
        made *= np.exp(3 * rng.standard_normal((count, 1)))
    elif kind == "negative":
        made = -np.abs(made)
    elif kind == "whole":
        made = rng.integers(-2, 3, (count, width))
    elif kind == "zero":
        made[rng.random(count) < 0.7] = 0.0
    return made.astype(np.float32)


KINDS = ("plain", "clustered", "huge", "tiny", "lengths", "negative", "whole", "zero")


@pytest.mark.parametrize("kind", KINDS)
def test_equals_brute_force(kind: str, examined: Examined) -> None:
    done = 0
    for number, (first, width, k) in enumerate(itertools.product(("float32", "bfloat16"), (1, 5, 64), (1, 7, 300))):
        passages_ND = _vectors(kind, 2500, width, number)
        queries_QD = np.abs(_vectors(kind, 9, width, 1000 + number)) if kind == "negative" else passages_ND[:9] + 1
        queries_QD = queries_QD.astype(np.float32)
        found = search.exact(queries_QD, store_of(passages_ND, 3, seed=1), k, budget_bytes=BUDGET, first_pass=first)
        assert same(found, brute_force(queries_QD, passages_ND, k)), (first, width, k)
        done += len(queries_QD)
    examined(done, "questions", at_least=100)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_stored_types_are_searched_as_they_are(dtype: str, examined: Examined) -> None:
    passages_ND, queries_QD = _vectors("plain", 3000, 48, 5), _vectors("plain", 20, 48, 6)
    true_ND = true_values(stored_as(passages_ND, dtype), dtype)
    for first in ("float32", "bfloat16"):
        found = search.exact(queries_QD, store_of(passages_ND, 2, dtype), 50, budget_bytes=BUDGET, first_pass=first)
        assert same(found, brute_force(queries_QD, true_ND, 50))
    examined(2 * len(queries_QD), "questions")


def test_deep_search_returns_everything(examined: Examined) -> None:
    passages_ND, queries_QD = _vectors("plain", 2100, 8, 1), _vectors("plain", 3, 8, 2)
    found = search.exact(queries_QD, store_of(passages_ND, 4), 2100, budget_bytes=BUDGET)
    assert same(found, brute_force(queries_QD, passages_ND, 2100))
    examined(found.rows_QK.size, "hits")


def test_scores_do_not_depend_on_company(examined: Examined) -> None:
    """And agree with the true sum of products, taken without any rounding, to one rounding to 32 bits."""
    from fractions import Fraction

    for width in (1, 2, 3, 17, 384):
        one_ND, other_ND = _vectors("plain", 40, width, 1), _vectors("lengths", 40, width, 2)
        together = exact_scores(one_ND, other_ND)
        alone = [exact_scores(one_ND[n : n + 1], other_ND[n : n + 1])[0] for n in range(40)]
        assert np.array_equal(together, alone)
        for n in range(40):
            pairs = zip(one_ND[n].tolist(), other_ND[n].tolist(), strict=True)
            true = float(sum(Fraction(a) * Fraction(b) for a, b in pairs))
            assert abs(float(together[n]) - true) <= abs(true) * 2.0**-23
    examined(5 * 40, "scores")


def test_shares_merge_to_one_search(examined: Examined) -> None:
    passages_ND = np.repeat(_vectors("plain", 400, 12, 3), 4, axis=0)  # every passage four times
    queries_QD, k = _vectors("plain", 11, 12, 4), 90
    store = store_of(passages_ND, 9)
    whole = search.exact(queries_QD, store, k, budget_bytes=BUDGET)
    done = 0
    for processes in (1, 2, 3, 5, 12):
        shares = [Share.of(store, number, processes) for number in range(processes)]
        parts = [
            search.exact(queries_QD, share, min(k, len(share)), budget_bytes=BUDGET)
            if len(share)
            else TopK.none(len(queries_QD))
            for share in shares
        ]
        rng = np.random.default_rng(processes)
        for _ in range(4):
            parts = [parts[place] for place in rng.permutation(len(parts))]
            assert same(merge(parts, k), whole)
            middle = len(parts) // 2
            if middle:
                halves = [
                    merge(half, min(k, sum(part.depth for part in half))) for half in (parts[:middle], parts[middle:])
                ]
                assert same(merge(halves, k), whole)
            done += 1
    examined(done, "orders of merging", at_least=20)


def test_work_is_counted() -> None:
    passages_ND, queries_QD = _vectors("plain", 5000, 64, 1), _vectors("plain", 10, 64, 2)
    ready = Exact.open(store_of(passages_ND), budget_bytes=BUDGET, first_pass="bfloat16")
    ready.search(queries_QD, 20)
    assert (ready.work.questions, ready.work.settled) == (10, 0)
    assert 200 <= ready.work.rescored <= 1000
    equal = Exact.open(store_of(np.ones((5000, 4), dtype=np.float32)), budget_bytes=BUDGET)
    hits = equal.search(np.ones((2, 4), dtype=np.float32), 20)
    assert (hits.rows_QK == np.arange(20)).all()
    assert equal.work.settled > 0


def test_recall_counts_shared_passages() -> None:
    exact = TopK(np.array([[1, 2, 3, 4]]), np.zeros((1, 4), dtype=np.float32))
    assert recall(TopK(np.array([[4, 9, 1, 8]]), exact.scores_QK), exact) == 0.5
    with pytest.raises(DataError):
        recall(TopK.none(1), exact)


def _broken(value: float) -> np.ndarray:
    vectors = _vectors("plain", 30, 8, 1)
    vectors[17, 3] = value
    return vectors


GOOD = _vectors("plain", 30, 8, 1)


@pytest.mark.parametrize(
    "queries, passages, k, kind, says",
    [
        (GOOD[:2], _broken(np.nan), 3, NumbersError, "first: row 17"),
        (GOOD[:2], _broken(np.inf), 3, NumbersError, "first: row 17"),
        (GOOD[:2], _broken(-np.inf), 3, NumbersError, "first: row 17"),
        (_broken(np.nan), GOOD, 3, NumbersError, "number 17"),
        (_broken(np.inf), GOOD, 3, NumbersError, "number 17"),
        (GOOD[:2, :7].copy(), GOOD, 3, DataError, "not float32 of width 8"),
        (GOOD[0], GOOD, 3, DataError, "not float32 of width 8"),
        (GOOD[:2].astype(np.float64), GOOD, 3, DataError, "float64"),
        (GOOD[:2], GOOD, 0, RecipeError, "choose a depth from 1 to 30"),
        (GOOD[:2], GOOD, -1, RecipeError, "choose a depth from 1 to 30"),
        (GOOD[:2], GOOD, 31, RecipeError, "choose a depth from 1 to 30"),
        (GOOD[:2] * np.float32(1e30), GOOD * np.float32(1e30), 3, NumbersError, "overflow"),
    ],
)
def test_refusals(queries: np.ndarray, passages: np.ndarray, k: int, kind: type[MprError], says: str) -> None:
    for first in ("float32", "bfloat16"):
        with pytest.raises(kind) as refused:
            search.exact(queries, store_of(passages), k, budget_bytes=BUDGET, first_pass=first)
        assert says in str(refused.value)


def test_merge_and_settings_are_refused() -> None:
    hits = search.exact(GOOD[:2], store_of(GOOD), 3, budget_bytes=BUDGET)
    for parts, says in (([], "or none"), ([hits, TopK.none(3)], "different numbers"), ([hits, hits], "in two parts")):
        with pytest.raises(DataError, match=says):
            merge(parts, 2)
    with pytest.raises(RecipeError, match="depth from 1 to 3"):
        merge([hits, TopK.none(2)], 4)
    with pytest.raises(RecipeError, match="too small"):
        search.exact(GOOD[:2], store_of(GOOD), 3, budget_bytes=1000)
    with pytest.raises(RecipeError, match="float32, bfloat16"):
        search.exact(GOOD[:2], store_of(GOOD), 3, budget_bytes=BUDGET, first_pass="float8")


def test_a_broken_bound_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search looks at every score it computes; a device that adds up worse than the proof assumes is refused."""
    from mpr.search._first_pass import FirstPass

    honest = FirstPass.scores
    monkeypatch.setattr(FirstPass, "scores", lambda self, queries, vectors: honest(self, queries, vectors) * 1.01)
    with pytest.raises(NumbersError, match="outside the error bound"):
        search.exact(GOOD[:2], store_of(GOOD), 3, budget_bytes=BUDGET, first_pass="float32")


PEAK = """
import json, sys
from pathlib import Path
import numpy as np
from mpr.search.exact import Exact
from tests.unit.vectors_in_memory import MemoryShard, MemoryStore

def status(name):
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name + ":")]
    return int(line.split()[1]) * 1024

folder, count, width, budget, first = Path(sys.argv[1]), *map(int, sys.argv[2:5]), sys.argv[5]
def store(rows):
    vectors = np.memmap(folder / "vectors.bin", dtype="<f4", mode="r", shape=(count, width))
    return MemoryStore(width, (MemoryShard(np.arange(rows), vectors[:rows], "float32"),))
queries = np.random.default_rng(1).standard_normal((64, width), dtype=np.float32)
Exact.open(store(4096), budget_bytes=budget, first_pass=first).search(queries, 100)  # libraries set up what they keep
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
ready = Exact.open(store(count), budget_bytes=budget, first_pass=first)
hits = ready.search(queries, 100)
print(json.dumps([status("VmHWM") - before, ready.first.keeps, hits.rows_QK[:, 0].tolist()]))
"""


@pytest.mark.long
@pytest.mark.parametrize("first", ["float32", "bfloat16"])
def test_peak_memory_is_within_a_quarter_of_the_matrix(first: str, tmp_path: Path, examined: Examined) -> None:
    count, width = 500_000, 128
    rng = np.random.default_rng(0)
    with (tmp_path / "vectors.bin").open("wb") as file:
        for _ in range(10):
            file.write(rng.standard_normal((count // 10, width), dtype=np.float32).tobytes())
    budget = count * width * 4 // 4
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PEAK, str(tmp_path), str(count), str(width), str(budget), first]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    growth, keeps, best = json.loads(done.stdout)
    assert not keeps
    assert 0 < growth <= budget, f"grew by {growth:,} bytes, the budget is {budget:,}"
    assert len(set(best)) > 32
    examined(growth, f"bytes at the peak, of a budget of {budget}")


# ---- feedback: the second search ranks by questions that are moved by the mean of what they found


def moved_by_hand(queries: Any, hits: TopK, vectors: Any, documents: int, weight: float) -> np.ndarray:
    """Question after question, passage after passage."""
    moved = []
    for query, rows in zip(queries, hits.rows_QK, strict=True):
        found = [vectors[row] for row in rows[:documents] if row >= 0]
        mean = sum(found) / len(found) if found else 0.0 * query
        moved.append(query + weight * mean)
    return np.array(moved)


def test_feedback_moves_questions(examined: Examined) -> None:
    rng, count = np.random.default_rng(2), 0
    vectors = rng.standard_normal((90, 8)).astype(np.float32)
    queries = rng.standard_normal((11, 8)).astype(np.float32)
    store: Any = store_of(vectors, shards=4, seed=3)
    hits = search.exact(queries, store, 7, budget_bytes=1 << 28)
    hits.rows_QK[2, 2:] = -1  # a question that found two passages
    hits.rows_QK[3, :] = -1  # and one that found none
    for documents, weight in ((1, 0.5), (3, 0.5), (7, 2.0)):
        moved = search.moved_by_feedback(queries, hits, store, Feedback(documents=documents, weight=weight))
        expected = moved_by_hand(queries, hits, vectors, documents, weight)
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
    moved = moved_by_hand(queries, first, corpus.by_row(), 3, 0.7).astype(np.float32)
    expected = search.exact(moved, corpus, 60, budget_bytes=1 << 28)
    with pytest.raises(RecipeError, match="feedback"):  # another ranking is not taken for this one
        found.search("test", "cpu")
    other = Searched(tmp_path).retrieval("other", "search.feedback={documents: 3, weight: 0.7}")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "vectors").symlink_to(tmp_path / "plain" / "vectors")
    after = other.search("test", "cpu")
    assert np.array_equal(after.passage_N.reshape(expected.rows_QK.shape), expected.rows_QK)
    assert not np.array_equal(after.passage_N, before.passage_N)
