"""MultiPositiveTrainer: transformers' Trainer over draws, with multi-positive objectives and committed checkpoints.

What differs from the stock Trainer, and why:

* A training "example" is a whole draw: the loader yields draw numbers in order, the collator makes each a step, and
  every process sees the same numbers (it encodes its share). So the order is a pure function, resuming is skipping,
  and epochs exist only inside the draw.
* `compute_loss` is that of `mpr/training/learner.py`; it is divided by the accumulation steps here, because
  transformers decides from the model's signature whether it should, and silently leaves the gradient several times too
  large.
* Where the model under training mines for itself, batches are made anew after each refresh (`RefreshedBatches`).
* Checkpoints are written into a staging folder and renamed when complete: `mpr/training/_checkpoints.py`.
* A loss or gradient that is not finite ends the run before the weights change. Both are looked at once an update, right
  before the optimizer: to look, the program has to wait for a GPU. DeepSpeed changes the weights within the backward
  pass, so there the loss is looked at before it, and a gradient only afterwards.
* Nothing else waits for a GPU: batches are copied without it, and what the host knows is not asked of the device.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import EvalPrediction, TrainingArguments

from mpr.batches.collate import Collator, PairCollator
from mpr.errors import NumbersError
from mpr.mining.refresh import Refresh
from mpr.models import lengths, out_of_memory
from mpr.models.kinds import AnyModel
from mpr.models.transfer import all_sent, sent
from mpr.recipe.keys import Recipe
from mpr.runtime.processes import ONE_PROCESS, Group
from mpr.training._block import Found
from mpr.training._callbacks import EpochEnds
from mpr.training._checkpoints import CommittedCheckpoints
from mpr.training._monitor import StepSums
from mpr.training._validation import DevPool
from mpr.training.learner import StepLoss
from mpr.training.run_folder import RunFolder

OVERFLOWS = 30  # updates on end that an fp16 loss scaler may skip: it halves its scale each time, from 65,536


class Draws(Dataset[int]):
    """The numbers 0, 1, 2, ... of the draws of a run."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> int:
        return number


class RefreshedBatches:
    """Called in place of the collator: draws become batches, refresh by refresh.

    Worker processes of a loader collate ahead of the step, so a loader that ran over a refresh would hand out steps
    drawn from the table before. Here the draws between two refreshes have a loader of their own, whose workers start
    when the table is there and end before the next one is made. The trainer's loader only counts: it calls this with
    one draw number after the other, in the process that trains, right before it needs the batch.

    `begin(draw)` makes the candidates for this draw and answers which draw is the first that needs others;
    `loader(draws)` opens the batches of these.
    """

    def __init__(self, begin: Callable[[int], int], loader: Callable[[range], Iterable[Any]]) -> None:
        self.begin, self.loader = begin, loader
        self._left = range(0)
        self._batches: Iterator[Any] = iter(())

    def __call__(self, numbers: Sequence[int]) -> Any:
        (number,) = numbers
        if number not in self._left[:1]:
            self.close()
            self._left = range(number, self.begin(number))
            self._batches = iter(self.loader(self._left))
        self._left = self._left[1:]
        batch = next(self._batches)
        if not self._left:
            self.close()
        return batch

    def close(self) -> None:
        """Ends the workers: they ignore signals, so the process could not end before them."""
        self._left, self._batches = range(0), iter(())


class MultiPositiveTrainer(CommittedCheckpoints):
    """See the module's docstring. `run` is where checkpoints go; of the ranks that `evaluator` finds, and whose they
    are, `compute_metrics` makes measures. `refresh` brings candidates that the model under training finds between steps
    (`mpr/mining/refresh.py`)."""

    loss_is_scaled_for_ga = False  # ours never is; older versions are told by model_accepts_loss_kwargs below

    def __init__(
        self,
        learner: AnyModel,
        args: TrainingArguments,
        *,
        recipe: Recipe,
        loss: StepLoss,
        collator: Collator | PairCollator,
        draws: int,
        run: RunFolder,
        group: Group = ONE_PROCESS,
        evaluator: DevPool | None = None,
        compute_metrics: Callable[[EvalPrediction], dict[str, float]] | None = None,
        callbacks: list[Any] | None = None,
        refresh: Refresh | None = None,
    ) -> None:
        super().__init__(
            learner,
            args,
            data_collator=collator,
            train_dataset=Draws(draws),
            eval_dataset=None if evaluator is None else Draws(len(evaluator.question_Q)),  # asked for, never read
            compute_metrics=compute_metrics,
            callbacks=callbacks,
        )
        per_update = recipe.questions_per_step * args.gradient_accumulation_steps
        self.epochs = EpochEnds(per_update, collator.drawer.rows_per_epoch)
        self.add_callback(self.epochs)
        self.model_accepts_loss_kwargs = False
        self.recipe, self.loss, self.collator, self.evaluator = recipe, loss, collator, evaluator
        self.run, self.group = run, group
        self.sums = StepSums()
        self.observed: dict[str, float] = {}
        self._looked: list[tuple[torch.Tensor, torch.Tensor]] = []  # loss and questions of each draw of this update
        self._skipped = 0  # updates on end whose gradient was not finite
        _compute_outputs_in_32_bits(self.accelerator)
        self._available = torch.from_numpy(collator.drawer.drawable.lengths())  # of every question, for `_note`
        self.refresh = refresh
        self.refreshed = RefreshedBatches(self._begin, self._loader)

    # Draws

    def get_train_dataloader(self) -> DataLoader[int]:
        """Not handed to accelerate, which would deal draws out to processes: each needs all of them."""
        draws = range(len(self.train_dataset))
        if self.refresh is None:
            return self._loader(draws)
        return DataLoader(self.train_dataset, sampler=draws, collate_fn=self.refreshed)

    def _loader(self, draws: range) -> DataLoader[int]:
        """The batches of these draws."""
        workers = self.args.dataloader_num_workers
        return DataLoader(
            Draws(len(self.train_dataset)),
            batch_size=1,
            sampler=draws,
            collate_fn=self.collator,
            num_workers=workers,
            prefetch_factor=self.args.dataloader_prefetch_factor if workers else None,
            pin_memory=self.args.dataloader_pin_memory and torch.cuda.is_available(),
            worker_init_fn=_ignore_signals,
            generator=None if self.refresh is None else torch.Generator(),  # that of dropout is left alone
        )

    def _begin(self, draw: int) -> int:
        """Makes the candidates that this draw reads; answers which draw is the first that reads others."""
        assert self.refresh is not None
        began, accumulation = time.monotonic(), self.args.gradient_accumulation_steps
        update = draw // accumulation
        noted = self.refresh.turn(update, self.accelerator.unwrap_model(self.model))
        if noted:
            self.log(noted)
        self.sums.pause(time.monotonic() - max(began, self.sums.since or began))
        return min(self.refresh.schedule.end(update) * accumulation, len(self.train_dataset))

    def facts(self, update: int) -> dict[str, Any]:
        """A checkpoint names the candidates that cannot be made again."""
        needed = {} if self.refresh is None else self.refresh.needed(update)
        return {"candidates": needed} if needed else {}

    # Loss

    def create_optimizer(self, *arguments: Any, **named: Any) -> Any:
        """What objectives learn themselves has its own learning rate, and no weight decay."""
        is_new = self.optimizer is None
        optimizer = super().create_optimizer(*arguments, **named)
        if is_new and self.loss.rates:
            own = {id(number) for number, _ in self.loss.rates}
            for group in optimizer.param_groups:
                group["params"] = [parameter for parameter in group["params"] if id(parameter) not in own]
            for number, rate in self.loss.rates:
                rate = self.args.learning_rate if rate is None else rate
                optimizer.add_param_group({"params": [number], "lr": rate, "weight_decay": 0.0})
        return optimizer

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The loss of one draw; its gradient, averaged over processes, is that of the whole step."""
        found = self.loss.forward(model, inputs)
        if self.is_deepspeed_enabled and not torch.isfinite(found.loss):
            self._stop_on(f"the loss is {float(found.loss)}", inputs["question_ids"])
        self._note(found)
        return (found.loss, found) if return_outputs else found.loss

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """One draw forward and backward; with `scale.cache` in chunks, with the same gradient."""
        self.sums.start()
        if self.loss.in_chunks is None:
            loss = super().training_step(model, inputs, num_items_in_batch)
        else:  # forward and backward take turns, which the stock method cannot do
            model.train()
            inputs = self._prepare_inputs(inputs)
            found = self.loss.in_chunks(
                model,
                inputs,
                autocast=self.compute_loss_context_manager,
                backward=lambda loss: self.accelerator.backward(loss / self.current_gradient_accumulation_steps),
            )
            self._note(found)
            loss = found.loss.detach() / self.current_gradient_accumulation_steps
        self._looked.append((loss.detach(), inputs["question_ids"]))
        return loss

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """On the device, without waiting for it."""
        return all_sent(inputs, self.args.device)

    def _note(self, found: Found) -> None:
        """Cheap numbers of every step; the others only of the step before a log. Passages that a source was short of
        are no cells: they are counted for the whole step."""
        inputs = found.batch
        texts = [inputs[side] for side in ("question", "passage", "pair") if side in inputs]
        ids_Q = inputs["question_ids"]
        self._available = sent(self._available, ids_Q.device)
        counts = {name: float(count) for name, count in inputs["counts"].items()}
        short = {name.replace(" ", "_"): counts.pop(name) for name in list(counts) if name.startswith("short of ")}
        block = {"positives": counts.pop("positive"), **{f"cells_{name}": count for name, count in counts.items()}}
        block["positives_available"] = (self._available[ids_Q.clamp_min(0)] * (ids_Q >= 0)).sum()
        parts = {
            "examples": (ids_Q[found.seen.own] >= 0).sum(),
            "tokens": float(sum(lengths.measured(each)[lengths.SIZES][1].sum() for each in texts)),
            "places": float(sum(each["input_ids"].numel() for each in texts)),
            **found.parts,
        }
        same = {**found.watched, **short}
        if self.recipe.scale.gather:  # every process counts the whole block
            self.sums.add({**same, **block}, parts)
        else:
            self.sums.add(same, {**block, **parts})
        if self.accelerator.sync_gradients and self._is_logged_next():
            self.observed = found.observed()

    def _is_logged_next(self) -> bool:
        every = int(self.state.logging_steps or 0)
        by_step = every > 0 and (self.state.global_step + 1) % every == 0
        is_first = self.args.logging_first_step and self.state.global_step == 0
        by_epoch = self.args.logging_strategy == "epoch" and self.epochs.is_last(self.state)
        return by_step or is_first or by_epoch

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Called after clipping and before the optimizer: the last moment to refuse a step."""
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        scaler = getattr(self.accelerator, "scaler", None)
        looked, self._looked = self._looked, []
        *losses, size = _on_the_host([*(loss for loss, _ in looked), 0.0 if norm is None else norm])
        for loss, (_, questions) in zip(losses, looked, strict=True):
            if not math.isfinite(loss):
                self._stop_on(f"the loss is {loss}", questions)
        self._skipped = 0 if math.isfinite(size) else self._skipped + 1
        if self._skipped > (0 if scaler is None else OVERFLOWS):
            again = f" for {self._skipped} updates on end" if scaler is not None else ""
            self._stop_on(f"the gradient's norm is {size}{again}", looked[-1][1])
        return norm

    def _stop_on(self, what: str, questions: torch.Tensor) -> None:
        """Exit 3: the weights, or under DeepSpeed the last checkpoint, still are those of the last finite update."""
        split = [int(number) for number in questions.tolist() if number >= 0]
        shown = ", ".join(map(str, split[:8])) + ("..." if len(split) > 8 else "")
        update = self.state.global_step + 1
        fix = "lower training.learning_rate, try bf16 or 32-bit, or look at these questions with `mpr audit`"
        raise NumbersError(f"{what} in update {update}, questions (rows of the split) {shown}", key="training", fix=fix)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs and self.sums.steps:
            logs |= {**self.sums.read(self.args.world_size), **self.observed}
            rows, per_epoch = self.recipe.questions_per_step, self.collator.drawer.rows_per_epoch
            accumulation = self.args.gradient_accumulation_steps
            logs["draw_epoch"] = self.state.global_step * accumulation * rows / per_epoch
        super().log(logs, start_time)

    def _maybe_log_save_evaluate(self, *arguments: Any, **named: Any) -> None:
        """Speeds in the log are those of steps: the time of evaluations and checkpoints is taken out."""
        began = time.monotonic()
        super()._maybe_log_save_evaluate(*arguments, **named)
        self.sums.pause(time.monotonic() - max(began, self.sums.since or began))

    # Evaluation

    def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> Any:
        """Retrieval measures on the pool of development questions, the same whatever the number of processes."""
        if self.evaluator is None or self.compute_metrics is None:
            return {}
        model, batch = self.model_wrapped, self.args.per_device_eval_batch_size
        was_training = model.training
        model.eval()
        with torch.no_grad(), out_of_memory.becomes(lambda: out_of_memory.in_validation(batch)):
            ranks = self.evaluator.ranks(model, self.args.device)
        model.train(was_training)
        measures = self.compute_metrics(EvalPrediction(predictions=ranks, label_ids=self.evaluator.owner_N))
        found = {f"{metric_key_prefix}_{name}": value for name, value in measures.items()}
        self.log(found)
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        return found

    def _load_best_model(self) -> None:
        """Nothing: the best checkpoint is loaded, verified, by whoever writes the model. The path that transformers
        remembers is that of the staging folder."""


def _on_the_host(values: Sequence[Any]) -> list[float]:
    """Numbers of the device, all of them in one look."""
    whole = [value.full_tensor() if hasattr(value, "full_tensor") else value for value in values]  # of sharded weights
    tensors = [value.detach().reshape(()).float() for value in whole if isinstance(value, torch.Tensor)]
    found = iter(torch.stack(tensors).tolist() if tensors else [])
    return [next(found) if isinstance(value, torch.Tensor) else float(value) for value in whole]


def _ignore_signals(worker: int) -> None:
    """A request to stop is for the process that trains; a worker that died of it would take the last step along."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _compute_outputs_in_32_bits(accelerator: Any) -> None:
    """FSDP's policy for 16 bits would round the vectors too, and sum gradients in 16 bits."""
    plugin = getattr(accelerator.state, "fsdp_plugin", None)
    policy = getattr(plugin, "mixed_precision_policy", None)
    if plugin is not None and policy is not None:
        full = {"reduce_dtype": torch.float32, "output_dtype": torch.float32}
        plugin.mixed_precision_policy = type(policy)(param_dtype=policy.param_dtype, **full)
