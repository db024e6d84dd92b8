"""Measures of ranks: against numpy in 64 bits, as a metric of `evaluate`, and in training without `evaluate`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import EvalPrediction

from mpr.errors import DataError
from mpr.metrics import ranks as rank_measures
from mpr.training._fit import Measures
from tests.conftest import Examined
from tests.house.source import ROOT

SCRIPT = ROOT / "mpr" / "metrics" / "pool_ranks.py"
CASE = {"predictions": [4, 0, 9], "references": [7, 7, 8]}
EXPECTED = {"top1": 0.5, "top5": 0.5, "top20": 1.0, "top100": 1.0, "mrr": 0.55, "average_rank": 6.5}


def slow(ranks: list[int], owners: list[int], cuts: tuple[int, ...]) -> dict[str, float]:
    """One question after the other."""
    of_question = {owner: [r for r, o in zip(ranks, owners, strict=True) if o == owner] for owner in set(owners)}
    best = np.array([min(each) for each in of_question.values()], dtype=np.float64)
    found = {f"top{cut}": float((best < cut).mean()) for cut in cuts}
    return found | {
        "mrr": float((1.0 / (1.0 + best)).mean()),
        "average_rank": float(np.mean([each[0] for each in of_question.values()])),
    }


def test_against_numpy(examined: Examined) -> None:
    dice = np.random.default_rng(4)
    for trial in range(50):
        owners = np.sort(dice.integers(0, 12, 30)).tolist() if trial % 2 else dice.integers(0, 12, 30).tolist()
        ranks = dice.integers(0, 150, 30).tolist()
        assert rank_measures.of(ranks, owners) == pytest.approx(slow(ranks, owners, rank_measures.CUTS), abs=1e-12)
    examined(50, "lists of ranks", at_least=50)


def test_names_are_what_is_measured() -> None:
    assert tuple(rank_measures.of([0], [0])) == rank_measures.NAMES
    assert set(rank_measures.LOWER_IS_BETTER) < set(rank_measures.NAMES)


def test_nothing_to_average_is_refused() -> None:
    with pytest.raises(DataError, match="no ranks"):
        rank_measures.of([], [])
    with pytest.raises(DataError, match="a rank is -1"):
        rank_measures.of([-1], [0])


def test_as_a_metric_of_evaluate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, examined: Examined) -> None:
    """Directly and through `evaluate.load` of the file, by whole lists and in batches."""
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path))
    monkeypatch.setattr("socket.socket.connect", lambda *arguments: pytest.fail("went to the network"))
    import evaluate

    from mpr.metrics.pool_ranks import PoolRanks

    made: list[Any] = [PoolRanks(), evaluate.load(str(SCRIPT))]
    for metric in made:
        assert metric.compute(**CASE) == pytest.approx(EXPECTED)
        for rank, owner in zip(CASE["predictions"], CASE["references"], strict=True):
            metric.add_batch(predictions=[rank], references=[owner])
        assert metric.compute(cuts=(1,)) == pytest.approx({"top1": 0.5, "mrr": 0.55, "average_rank": 6.5})
    examined(len(made), "ways to load the metric", at_least=2)


def measured() -> dict[str, float]:
    """As the Trainer does it."""
    return Measures(pool=21)(EvalPrediction(predictions=np.array([4, 0, 9]), label_ids=np.array([7, 7, 8])))


@pytest.mark.parametrize("missing", ["evaluate", "datasets", None])
def test_training_measures_the_same_without(missing: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "mpr.metrics.pool_ranks", raising=False)
    monkeypatch.delattr("mpr.metrics.pool_ranks", raising=False)
    if missing is not None:
        monkeypatch.setitem(sys.modules, missing, None)
    assert measured() == pytest.approx({"top1": 0.5, "top5": 0.5, "top20": 1.0, "mrr": 0.55, "average_rank": 6.5})
    assert ("mpr.metrics.pool_ranks" in sys.modules) == (missing is None)


def test_a_broken_metric_is_no_missing_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpr.metrics.pool_ranks", None)
    with pytest.raises(ImportError):
        measured()


@pytest.mark.long
def test_training_core_imports_without_evaluate() -> None:
    code = "import sys\nsys.modules |= dict.fromkeys(('evaluate', 'datasets', 'faiss'))\nimport mpr.training._fit"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
