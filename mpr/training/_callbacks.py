"""What happens between the steps of a training run: stops on request or for want of progress, epochs, advice, lines.

transformers' own epoch is the whole run, because its loader yields draws. Evaluating, saving or logging by epoch means
ours, over the rows of the data.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import EarlyStoppingCallback, PrinterCallback, ProgressCallback, TrainerCallback

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


class Bar(ProgressCallback):
    """transformers' bar with a short line for each log; `metrics.jsonl` has all of it."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        super().on_log(args, state, control, logs=_short(state, logs or {}), **kwargs)


class Lines(PrinterCallback):
    """The same lines where no bar is wanted."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        super().on_log(args, state, control, logs=_short(state, logs or {}), **kwargs)


def be_brief(trainer: Any) -> None:
    """Puts the bar or the lines of above in the place of transformers' own."""
    for given, ours in ((ProgressCallback, Bar), (PrinterCallback, Lines)):
        if trainer.pop_callback(given) is not None:
            trainer.add_callback(ours)


def _short(state: Any, logs: dict[str, Any]) -> dict[str, Any]:
    """What one looks at while it runs."""
    shown = ("loss", "grad_norm", "learning_rate", "train_runtime")
    measures = {name for name in logs if name.startswith("eval_") and not name.endswith(("_runtime", "_per_second"))}
    return {"update": state.global_step} | {name: logs[name] for name in logs if name in shown or name in measures}
