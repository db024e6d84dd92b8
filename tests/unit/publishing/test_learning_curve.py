"""What `mpr reproduce` draws of a run, and what one sees while it trains."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from transformers import PrinterCallback, ProgressCallback
from transformers.trainer_callback import CallbackHandler

from mpr.rows import reproduction
from mpr.rows.result import Result
from mpr.training import _callbacks


def curves(*entries: dict[str, Any], measure: str = "top20") -> list[str]:
    return list(reproduction._curves(Result({"curve": list(entries)}), measure))


def test_a_bar_is_as_high_as_its_value() -> None:
    falling = [{"step": step, "loss": float(value)} for step, value in enumerate(range(8, 0, -1))]
    rising = [{"step": step, "eval_top20": value / 8, "eval_mrr": 0.5} for step, value in enumerate(range(1, 9))]
    loss, measure = curves(*falling, *rising)
    assert loss.split() == ["loss", "8.00", "█▇▆▅▄▃▂▁", "1.00"]
    assert measure.split() == ["validation", "top20", "12.50", "▁▂▃▄▅▆▇█", "100.00"]
    assert loss.index("█") == measure.index("▁"), "one stands above the other"


def test_what_was_not_measured_is_not_drawn() -> None:
    assert curves({"step": 1, "loss": 1.0}) == []
    assert curves() == []
    other = [{"step": step, "eval_mrr": 0.5, "eval_top1": 0.1} for step in (0, 1)]
    (line,) = curves(*other)
    assert line.split() == ["validation", "mrr", "50.00", "▁▁", "50.00"], "the rank, where there is no such cut"


@pytest.mark.parametrize("count, width", [(60, 60), (61, 31), (120, 60), (200, 50)])
def test_long_curves_are_means(count: int, width: int) -> None:
    (line,) = curves(*({"step": step, "loss": float(step % 2)} for step in range(count)))
    bars = line.split()[2]
    assert len(bars) == width
    assert (len(set(bars)) == 2) == (count % 2 == 1 or width == count), "two in a row are always one half"


LOGGED = {
    "loss": 2.0, "grad_norm": 1.5, "learning_rate": 0.25, "cells_siblings": 3.0, "eval_top5": 0.5, "eval_runtime": 3.0,
}  # fmt: skip


def test_lines_are_short(capsys: pytest.CaptureFixture[str]) -> None:
    state = SimpleNamespace(is_local_process_zero=True, global_step=7)
    given = dict(LOGGED)
    _callbacks.Lines().on_log(None, state, None, logs=given)
    assert capsys.readouterr().out == (
        "{'update': 7, 'loss': '2', 'grad_norm': '1.5', 'learning_rate': '0.25', 'eval_top5': '0.5'}\n"
    )
    assert given == LOGGED, "the log itself keeps all of it"


def test_the_bar_says_the_same() -> None:
    said: list[str] = []
    bar = _callbacks.Bar()
    bar.training_bar = SimpleNamespace(write=said.append)
    bar.on_log(None, SimpleNamespace(is_world_process_zero=True, global_step=7), None, logs=dict(LOGGED))
    assert said == ["{'update': 7, 'loss': '2', 'grad_norm': '1.5', 'learning_rate': '0.25', 'eval_top5': '0.5'}"]


@pytest.mark.parametrize("given, ours", [(ProgressCallback, _callbacks.Bar), (PrinterCallback, _callbacks.Lines)])
def test_one_of_them_takes_the_place_of_transformers(given: type, ours: type) -> None:
    handler = CallbackHandler([given, _callbacks.Advice], None, None, None, None)
    _callbacks.be_brief(handler)
    assert [type(each) for each in handler.callbacks if isinstance(each, ProgressCallback | PrinterCallback)] == [ours]
    assert len(handler.callbacks) == 2
