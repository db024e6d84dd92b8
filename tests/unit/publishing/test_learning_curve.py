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
STATE = SimpleNamespace(is_world_process_zero=True, global_step=7, max_steps=320)


def test_lines_of_a_training_are_aligned(caplog: pytest.LogCaptureFixture) -> None:
    moved: list[int] = []
    shown, given = _callbacks.Shown(moved.append), dict(LOGGED)
    with caplog.at_level("INFO", "mpr"):
        shown.on_log(None, STATE, None, logs=given)
        shown.on_log(None, STATE, None, logs={"seconds_of_a_refresh": 3.0})  # nothing that one looks at: no line
    assert caplog.messages == [
        "update   7 of 320   loss   2.0000   gradient       1.5   learning rate 2.50e-01   validation: top5  50.00"
    ]
    assert given == LOGGED, "the log itself keeps all of it"
    lines = [_callbacks.line(*where, LOGGED) for where in ((7, 320), (320, 320))]
    assert len({len(text) for text in lines}) == 1, lines
    for step in (1, 2, 5):
        shown.on_step_end(None, SimpleNamespace(global_step=step), None)
    assert moved == [1, 1, 3], "what the bar moves by, also after a resume"


@pytest.mark.parametrize("given", [ProgressCallback, PrinterCallback])
def test_ours_takes_the_place_of_transformers(given: type) -> None:
    handler = CallbackHandler([given, _callbacks.Advice], None, None, None, None)
    _callbacks.Shown.instead(handler, print)
    assert [type(each) for each in handler.callbacks] == [_callbacks.Advice, _callbacks.Shown]
