"""Numbers of a step against slow plain-Python readings of them, and the advice that follows from them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mpr.recipe import read
from mpr.training import _monitor
from mpr.training._monitor import Health, StepSums
from mpr.training.launch import Launch, run
from tests.conftest import Examined
from tests.e2e import collection

Rows = list[list[float]]


def block(seed: int, rows: int = 5, columns: int = 9) -> tuple[torch.Tensor, ...]:
    """Scores, relations with rows of 0 to 3 positives and some ignored cells, and a gradient."""
    dice = np.random.default_rng(seed)
    kind = dice.choice([0, 1, 2], (rows, columns), p=[0.2, 0.2, 0.6])
    scores = dice.normal(0, 3, (rows, columns)).astype(np.float32)
    gradient = dice.normal(0, 1, (rows, columns)).astype(np.float32) * (kind > 0)
    gradient[0] = 0
    return tuple(torch.from_numpy(each) for each in (scores, kind == 1, kind == 2, gradient))


def slow(scores: Rows, positives: Rows, negatives: Rows, gradient: Rows, temperature: float) -> dict[str, float]:
    """Row by row, cell by cell."""
    low, high, count, saturated, pool = [], [], [], [], []
    shares: dict[str, list[float]] = {}
    for s, p, n, g in zip(scores, positives, negatives, gradient, strict=True):
        cells = [place for place in range(len(s)) if p[place]]
        if not cells:
            continue
        low.append(min(s[c] for c in cells))
        high.append(max(s[c] for c in cells))
        count.append(len(cells))
        pool += [s[c] for c in range(len(s)) if n[c]]
        members = [math.exp((s[c] - max(s)) / temperature) for c in range(len(s)) if p[c] or n[c]]
        saturated.append(max(members) / sum(members) > 0.999)
        pull = [abs(g[c]) for c in cells]
        if sum(pull) > 0 and len(cells) > 1:
            for place, value in enumerate(sorted(pull, reverse=True)[:3], 1):
                shares.setdefault(f"gradient_share_{place}", []).append(value / sum(pull))
            weakest = min(cells, key=lambda c: s[c])
            shares.setdefault("gradient_share_of_weakest", []).append(abs(g[weakest]) / sum(pull))
    found = {"weakest_positive": low, "strongest_positive": high, "positives_in_row": count, **shares}
    found["saturated_share"] = saturated
    means = {name: sum(values) / len(values) for name, values in found.items()}
    return means | dict(
        zip(("negatives_p05", "negatives_p50", "negatives_p95"), np.quantile(pool, [0.05, 0.5, 0.95]), strict=True)
    )


def test_against_slow_readings(examined: Examined) -> None:
    for seed in range(40):
        given, temperature = block(seed), (1.0, 0.2)[seed % 2]
        found = _monitor.observe(*given, temperature)
        assert found == pytest.approx(slow(*(each.tolist() for each in given), temperature), rel=1e-4, abs=1e-5)
    examined(40, "blocks", at_least=40)


def test_one_positive_that_is_pulled_alone_is_told() -> None:
    """Hard selectors pull at one of several positives: all of the share is the first's, and none the second's."""
    scores = torch.tensor([[3.0, 1.0, 0.0]])
    positives, negatives = torch.tensor([[True, True, False]]), torch.tensor([[False, False, True]])
    found = _monitor.observe(scores, positives, negatives, torch.tensor([[-0.5, 0.0, 0.5]]))
    assert (found["gradient_share_1"], found["gradient_share_2"], found["gradient_share_of_weakest"]) == (1, 0, 0)
    assert "gradient_share_3" not in found


def test_blocks_with_little_in_them() -> None:
    scores, none = torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool)
    assert _monitor.observe(scores, none, ~none, scores) == {}
    found = _monitor.observe(scores, ~none, none, scores * 0)
    assert "negatives_p50" not in found
    assert "gradient_share_1" not in found


def test_quantiles_are_those_of_numpy(examined: Examined) -> None:
    dice = np.random.default_rng(0)
    shares = [0.0, 0.05, 0.5, 0.95, 1.0]
    for size in (1, 2, 3, 17, 1000):
        values = dice.normal(size=size).astype(np.float32)
        found = _monitor.quantiles(torch.from_numpy(values), shares)
        assert found == pytest.approx(np.quantile(values, shares).tolist(), abs=1e-6)
    examined(5, "sizes", at_least=5)


def test_spread_is_the_mean_cosine_of_pairs() -> None:
    vectors = np.random.default_rng(1).normal(size=(7, 4))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [float(unit[i] @ unit[j]) for i in range(7) for j in range(7) if i != j]
    assert _monitor.spread(torch.from_numpy(vectors)) == pytest.approx(np.mean(pairs), abs=1e-6)
    assert _monitor.spread(torch.ones(3, 2)) == pytest.approx(1.0)


# ---- over the steps since the last log

BLOCK = {"positives": 3.0, "cells_negative": 6.0, "cells_ignored": 1.0, "positives_available": torch.tensor(4)}


def test_means_shares_and_speeds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 14.0, 20.0])
    monkeypatch.setattr("mpr.training._monitor.time.monotonic", lambda: next(clock))
    kept = StepSums()
    kept.start()  # at 10
    kept.add({"loss_nll": torch.tensor(2.0), **BLOCK}, {"examples": 2, "tokens": torch.tensor(30), "places": 40.0})
    kept.add({"loss_nll": torch.tensor(4.0), **BLOCK}, {"examples": 4, "tokens": torch.tensor(10), "places": 60.0})
    kept.pause(2.0)
    found = kept.read()  # at 14, of which 2 were spent on something else
    assert found == pytest.approx(
        {
            "loss_nll": 3.0, "cells_negative": 6.0, "cells_ignored": 1.0, "examples": 3.0, "tokens": 20.0,
            "positives_seen": 3.0, "positives_available": 4.0, "positives_seen_share": 0.75, "ignored_share": 0.1,
            "padding_share": 0.6, "examples_per_second": 3.0, "tokens_per_second": 20.0,
        }
    )  # fmt: skip
    kept.start()  # the clock has been running since the log
    kept.add({"loss_nll": 1.0, **BLOCK}, {"examples": 12, "tokens": 6, "places": 6.0})
    assert kept.read()["examples_per_second"] == pytest.approx(2.0)


def test_parts_are_added_over_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_reduce(values: torch.Tensor) -> None:
        values *= 3  # as if two other processes had the same

    monkeypatch.setattr("mpr.training._monitor.distributed.all_reduce", all_reduce)
    kept = StepSums()
    kept.add({"loss_nll": 1.5}, {**BLOCK, "examples": 2, "tokens": torch.tensor(30), "places": 40.0})
    found = kept.read(processes=3)
    assert (found["loss_nll"], found["examples"], found["tokens"]) == (1.5, 6.0, 90.0)
    assert (found["positives_seen"], found["positives_seen_share"], found["padding_share"]) == (9.0, 0.75, 0.25)


# ---- health


def logs(**numbers: Any) -> dict[str, Any]:
    return {"loss": 1.0, **numbers}


def test_each_complaint_once() -> None:
    health = Health()
    assert health.complaints(logs(saturated_share=0.9, passage_cosine=0.9)) == []
    first = health.complaints(logs(saturated_share=0.96, passage_cosine=0.995))
    assert [text.split()[0] for text in first] == ["scores", "vectors"]
    assert health.complaints(logs(saturated_share=0.99, passage_cosine=0.999)) == []


def test_stuck_is_ten_logs_of_the_same_loss() -> None:
    moving, still = Health(), Health()
    assert all(moving.complaints({"loss": 1.0 - 0.001 * number}) == [] for number in range(50))
    found = [still.complaints({"loss": 0.69 + 1e-5 * number}) for number in range(20)]
    assert [number for number, texts in enumerate(found) if texts] == [_monitor.PATIENCE - 1]
    assert "bce scaling: softmax" in found[_monitor.PATIENCE - 1][0]
    assert Health().complaints({"eval_mrr": 1.0}) == []


@pytest.mark.parametrize("scaling, is_stuck", [("softmax", True), ("probability", False)])
def test_the_literal_reading_of_bce_hardly_moves(
    tmp_path: Path, scaling: str, is_stuck: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A real run on the small collection, where one of the two readings learns and the other does not."""
    path = collection.write(tmp_path)
    options = (
        f"objective=[{{name: bce, scaling: {scaling}}}]",
        "training.per_device_train_batch_size=4",
        "training.num_train_epochs=24",
        "training.learning_rate=1.0e-4",
        "training.logging_steps=2",
        'training.save_strategy="no"',
    )
    with caplog.at_level("WARNING", "mpr.train"):
        run(read.load(path, options), Launch(tmp_path / "home", tmp_path / "run", quiet=True))
    assert ("the loss has moved less than" in caplog.text) == is_stuck
    assert (tmp_path / "run" / "model").is_dir()
