"""What happens between the steps of a training run: stops on request or for want of progress, epochs, advice, lines.

transformers' own epoch is the whole run, because its loader yields draws. Evaluating, saving or logging by epoch means
ours, over the rows of the data.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from transformers import EarlyStoppingCallback, PrinterCallback, ProgressCallback, TrainerCallback

from mpr.metrics.ranks import LOWER_IS_BETTER, NAMES
from mpr.runtime.progress import Progress
from mpr.training._monitor import Health

log = logging.getLogger("mpr.train")


SAME = 5.0  # seconds within which signals are one request: a terminal and a launcher both pass it on


class Stopper:
    """Notes the request to stop; one that comes again later does not wait for the step."""

    def __init__(self) -> None:
        self.signals = 0
        self._since: float | None = None

    def __call__(self, number: int, frame: Any) -> None:
        now = time.monotonic()
        if self._since is not None and now - self._since > SAME:
            raise KeyboardInterrupt
        self._since = now if self._since is None else self._since
        self.signals = 1


@contextmanager
def stoppable() -> Iterator[Stopper]:
    """While the body runs, SIGTERM and SIGINT are requests."""
    stopper = Stopper()
    before = {number: signal.signal(number, stopper) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopper
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StopOnSignal(TrainerCallback):
    """Finishes the step, commits a checkpoint and stops."""

    def __init__(self, stopper: Stopper) -> None:
        self.stopper = stopper

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        wanted = bool(self.stopper.signals)
        if args.world_size > 1:
            flag = torch.tensor(int(wanted), device=args.device)
            torch.distributed.all_reduce(flag)
            wanted = bool(flag)
            self.stopper.signals = max(self.stopper.signals, int(wanted))
        if wanted:
            control.should_save = control.should_training_stop = True
        return control


class Patience(EarlyStoppingCallback):
    """Stops after so many evaluations without a new best one, counted from the log, so that a resumed run agrees."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_train_begin(args, state, control, **kwargs)
        self.early_stopping_patience_counter = waited(state)


def waited(state: Any) -> int:
    """Evaluations since the best one."""
    evaluated = {entry["step"] for entry in state.log_history if any(name.startswith("eval_") for name in entry)}
    return sum(step > (state.best_global_step or 0) for step in evaluated)


class EpochEnds(TrainerCallback):
    """Evaluates, saves and logs after the step in which an epoch ends, where the strategy is `epoch`."""

    def __init__(self, rows_per_update: int, rows_per_epoch: int) -> None:
        self.rows_per_update, self.rows_per_epoch = rows_per_update, rows_per_epoch

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        return self._set(args, control, True) if self._is_due(state.global_step) else control

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """The end of the run: what was done after its last step is not done twice, and a run that stops early is not
        evaluated where the unbroken one would not be."""
        stops = state.global_step < state.max_steps
        return self._set(args, control, False) if stops or self._is_due(state.global_step) else control

    def is_last(self, state: Any) -> bool:
        """Whether the next update is the last of an epoch, or of the run."""
        return self._is_due(state.global_step + 1) or state.global_step + 1 == state.max_steps

    def _is_due(self, step: int) -> bool:
        ends = (number * self.rows_per_update // self.rows_per_epoch for number in (step - 1, step))
        return next(ends) < next(ends)

    def _set(self, args: Any, control: Any, wanted: bool) -> Any:
        for strategy, action in (
            (args.eval_strategy, "should_evaluate"),
            (args.save_strategy, "should_save"),
            (args.logging_strategy, "should_log"),
        ):
            if strategy == "epoch":
                setattr(control, action, wanted)
        return control


class OnSave(TrainerCallback):
    """Does something after every checkpoint."""

    def __init__(self, action: Callable[[], None]) -> None:
        self.action = action

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.action()


class Advice(TrainerCallback):
    """Says once what looks wrong in the logged numbers, and what to try."""

    def __init__(self) -> None:
        self.health = Health()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            for complaint in self.health.complaints(logs or {}):
                log.warning("update %d: %s", state.global_step, complaint)


class Shown(TrainerCallback):
    """In the place of transformers' own bar and lines: ours. `progress` moves the bar by so many updates."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.done = progress, 0

    @classmethod
    def instead(cls, trainer: Any, progress: Progress) -> None:
        for given in (ProgressCallback, PrinterCallback):
            trainer.pop_callback(given)
        trainer.add_callback(cls(progress))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.progress(state.global_step - self.done)
        self.done = state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if state.is_world_process_zero and (found := line(state.global_step, state.max_steps, logs or {})):
            log.info("%s", found)


_NUMBERS = (("loss", "loss", "8.4f"), ("grad_norm", "gradient", "9.3g"), ("learning_rate", "learning rate", "8.2e"))


def line(update: int, updates: int, logs: Mapping[str, Any]) -> str:
    """What one looks at while a model trains, each number in its column; empty if nothing of it was logged.
    `metrics.jsonl` has all of it.

    >>> line(10, 320, {"loss": 2.125, "grad_norm": 1.5, "learning_rate": 2e-05, "tokens_per_second": 900.0})
    'update  10 of 320   loss   2.1250   gradient       1.5   learning rate 2.00e-05'
    >>> line(40, 320, {"eval_top5": 0.25, "eval_mrr": 0.125, "eval_average_rank": 17.5})
    'update  40 of 320   validation: top5  25.00   mrr  12.50   average_rank  17.50'
    """
    parts = [f"{shown} {float(logs[name]):{form}}" for name, shown, form in _NUMBERS if name in logs]
    measures = {name.removeprefix("eval_"): logs[name] for name in logs if name.startswith("eval_")}
    of_ranks = [
        f"{name} {float(value) if name in LOWER_IS_BETTER else 100 * float(value):6.2f}"
        for name, value in measures.items()
        if name in NAMES
    ]
    parts += ["validation: " + "   ".join(of_ranks)] if of_ranks else []
    return "   ".join([f"update {update:>{len(str(updates))}} of {updates}", *parts]) if parts else ""
