"""One training run: builds model, collator and trainer from a recipe and its data, trains, and writes the result."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from transformers import TrainerCallback, TrainingArguments

from mpr import schedule, storage, towers_folder
from mpr import towers as towers_module
from mpr.collate import Collator, Side
from mpr.dataset import Dataset
from mpr.dev_pool import DevPool
from mpr.draw import Drawer
from mpr.errors import RecipeError
from mpr.labels.known_positives import policy
from mpr.recipe import Recipe
from mpr.run_folder import RunFolder
from mpr.tokens import Template
from mpr.trainer import MultiPositiveTrainer
from mpr.watch import Health

log = logging.getLogger("mpr.train")


@dataclass
class TrainingRun:
    """Everything between a checked recipe and a trained directory."""

    recipe: Recipe
    dataset: Dataset
    folder: RunFolder
    share: tuple[int, int]
    arguments: TrainingArguments

    def run(self) -> bool:
        """True when training reached its end; False when it was stopped on request after a checkpoint."""
        if self.arguments.max_steps <= 0:
            self.arguments.max_steps = self._updates()
        trainer = self._trainer()
        resumed = self.folder.newest()
        self._say(resumed)
        with _stoppable() as stopper:
            trainer.add_callback(_StopOnSignal(stopper))
            try:
                trainer.train(resume_from_checkpoint=None if resumed is None else str(_inner(resumed)))
            except torch.OutOfMemoryError as error:
                raise self._out_of_memory() from error
        self._write_metrics(trainer)
        if trainer.state.global_step < trainer.state.max_steps and stopper.signals:
            return False
        self._write_model(trainer)
        return True

    def _updates(self) -> int:
        """Optimizer steps, now that the number of rows is known."""
        accumulation = self.arguments.gradient_accumulation_steps
        steps = self.drawer.steps(float(self.recipe.training["num_train_epochs"]))
        return -(-steps // accumulation)

    @cached_property
    def drawer(self) -> Drawer:
        split = self.dataset.split("train")
        labels: Any = self.recipe.labels[0]
        candidates = {source.as_: split.candidates(source.as_) for source in self.recipe.sources}  # type: ignore[attr-defined]
        return Drawer(
            self.recipe.draw,
            split.positives,
            labels.tiers,
            candidates,
            len(self.dataset.passages_of("train")),
            self.recipe.questions_per_step,
            int(self.recipe.training["seed"]),
        )

    @cached_property
    def template(self) -> Template:
        return Template.of(self.dataset.tokenizer())

    def sides(self, role: str) -> tuple[Side, Side]:
        """How questions and passages of a split become token ids."""
        sizes = self.recipe.towers
        questions = Side(self.dataset.tokens_of_questions(role), self.template, sizes.question_length)
        return questions, Side(self.dataset.tokens_of_passages(role), self.template, sizes.passage_length)

    @cached_property
    def collator(self) -> Collator:
        labels: Any = self.recipe.labels[0]
        questions, passages = self.sides("train")
        hashes = self.dataset.passages_of("train").text_hashes
        return Collator(
            self.drawer, questions, passages, hashes, labels.tiers, policy(labels), self.share, self.recipe.scale.gather
        )

    def _trainer(self) -> MultiPositiveTrainer:
        updates = self.arguments.max_steps
        return MultiPositiveTrainer(
            towers_module.build(self.recipe.towers, self.dataset.tokenizer(), seed=int(self.recipe.training["seed"])),
            self.arguments,
            recipe=self.recipe,
            collator=self.collator,
            draws=updates * self.arguments.gradient_accumulation_steps,
            run=self.folder,
            evaluator=self._evaluator(),
            callbacks=[_Advice()],
        )

    def _evaluator(self) -> DevPool | None:
        wanted = self.recipe.validation
        if wanted is None:
            return None
        split = self.dataset.split("validation")
        return DevPool.of(
            *self.sides("validation"),
            split.positives,
            [split.candidates(name) for name in split.sources],
            at_most=wanted.questions,
            each=wanted.candidates,
            batch=self.arguments.per_device_eval_batch_size,
        )

    def _say(self, resumed: Any) -> None:
        if self.share[0]:
            return
        positives = self.drawer.drawable.lengths(self.drawer.questions)
        log.info(
            "%d rows an epoch, %d positives that count, %d updates%s",
            self.drawer.rows_per_epoch,
            int(positives.sum()),
            self.arguments.max_steps,
            f"; continuing after update {resumed.name}" if resumed else "",
        )
        if self.arguments.gradient_accumulation_steps > 1 and self.recipe.draw.in_batch:
            log.info("in-batch negatives do not grow with accumulation: use scale.cache for a larger block")

    def _out_of_memory(self) -> RecipeError:
        """A smaller batch would be another objective, so nothing is changed; the message says what fits."""
        cache = self.recipe.scale.cache
        passages = schedule.passages_per_step(self.recipe) or 64
        now = passages // self.share[1] if cache is None else cache.passages
        chunk = max(now // 4, 1)
        fix = f"--set 'scale.cache={{questions: {chunk}, passages: {chunk}}}' gives the same gradient in less memory"
        return RecipeError("out of memory in training; nothing was changed", key="scale.cache", fix=fix)

    def _write_metrics(self, trainer: MultiPositiveTrainer) -> None:
        if self.share[0] == 0:
            lines = [json.dumps(entry, sort_keys=True) for entry in trainer.state.log_history]
            storage.write_file(self.folder.metrics, ("\n".join(lines) + "\n").encode())

    def _write_model(self, trainer: MultiPositiveTrainer) -> None:
        best = trainer.state.best_global_step
        if self.arguments.load_best_model_at_end and best:
            trainer._load_from_checkpoint(str(_inner(self.folder.checkpoint(best))))
        if self.share[0] == 0:
            model = trainer.accelerator.unwrap_model(trainer.model)
            receipt = {"updates": trainer.state.global_step, "best": best, "recipe": self.recipe.name}
            towers_folder.write(self.folder.model, model, self.dataset.tokenizer(), receipt)
        trainer.accelerator.wait_for_everyone()


def _inner(checkpoint: Any) -> Any:
    """transformers puts its files into a folder of its own naming."""
    return checkpoint / f"checkpoint-{checkpoint.name}"


class _Stopper:
    """Counts the requests to stop."""

    def __init__(self) -> None:
        self.signals = 0

    def __call__(self, number: int, frame: Any) -> None:
        self.signals += 1
        if self.signals > 1:
            raise KeyboardInterrupt  # the second request does not wait for the step


@contextmanager
def _stoppable() -> Iterator[_Stopper]:
    stopper = _Stopper()
    before = {number: signal.signal(number, stopper) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopper
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _StopOnSignal(TrainerCallback):
    """Finishes the step, commits a checkpoint and stops."""

    def __init__(self, stopper: _Stopper) -> None:
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


class _Advice(TrainerCallback):
    """Says once what looks wrong in the logged numbers, and what to try."""

    def __init__(self) -> None:
        self.health = Health()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            for complaint in self.health.complaints(logs or {}):
                log.warning("update %d: %s", state.global_step, complaint)
