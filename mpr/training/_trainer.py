"""MultiPositiveTrainer: transformers' Trainer over draws, with multi-positive objectives and committed checkpoints.

What differs from the stock Trainer, and why:

* A training "example" is a whole draw: the loader yields draw numbers in order, the collator makes each a step, and
  every process sees the same numbers (it encodes its share). So the order is a pure function, resuming is skipping,
  and epochs exist only inside the draw.
* `compute_loss` is the relation block's loss; it is divided by the accumulation steps here, because transformers
  decides from the model's signature whether it should, and silently leaves the gradient several times too large.
* Checkpoints are written into a staging folder and renamed when complete: `mpr/training/_checkpoints.py`.
* A loss or gradient that is not finite ends the run before the weights change.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import EvalPrediction, TrainingArguments

from mpr.batches.collate import Collator, PairCollator
from mpr.errors import NumbersError
from mpr.mining.refresh import Refresh
from mpr.models import out_of_memory
from mpr.models.cross_encoder import CrossEncoder
from mpr.models.late_interaction import LateInteraction
from mpr.models.towers import DualEncoder
from mpr.recipe import keys
from mpr.recipe.keys import Recipe
from mpr.training import _block as scale
from mpr.training import _monitor
from mpr.training._checkpoints import CommittedCheckpoints
from mpr.training._loss import Terms
from mpr.training._negative_cache import NegativeCache, Stream
from mpr.training._stretches import Stretches
from mpr.training._validation import DevPool
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


class MultiPositiveTrainer(CommittedCheckpoints):
    """See the module's docstring. `run` is where checkpoints go; of the ranks that `evaluator` finds, and whose they
    are, `compute_metrics` makes measures. `completed` brings what a collator cannot know: passages that are not encoded
    here (`mpr/training/_fixed_passages.py`), scores of a teacher (`mpr/training/step_teacher.py`). `refresh` brings
    candidates that the model under training finds between steps (`mpr/mining/refresh.py`)."""

    loss_is_scaled_for_ga = False  # ours never is; older versions are told by model_accepts_loss_kwargs below

    def __init__(
        self,
        towers: DualEncoder | CrossEncoder | LateInteraction,
        args: TrainingArguments,
        *,
        recipe: Recipe,
        collator: Collator | PairCollator,
        draws: int,
        run: RunFolder,
        evaluator: DevPool | None = None,
        compute_metrics: Callable[[EvalPrediction], dict[str, float]] | None = None,
        callbacks: list[Any] | None = None,
        completed: scale.Completed | None = None,
        refresh: Refresh | None = None,
    ) -> None:
        super().__init__(
            towers,
            args,
            data_collator=collator,
            train_dataset=Draws(draws),
            eval_dataset=None if evaluator is None else Draws(len(evaluator.question_Q)),  # asked for, never read
            compute_metrics=compute_metrics,
            callbacks=callbacks,
        )
        self.model_accepts_loss_kwargs = False
        self.recipe, self.collator, self.run, self.evaluator = recipe, collator, run, evaluator
        self.terms = Terms(recipe.objective)
        self.watch = _monitor.Watch()
        self.observed: dict[str, float] = {}
        self._questions = torch.zeros(0)
        self._skipped = 0  # updates on end whose gradient was not finite
        _compute_outputs_in_32_bits(self.accelerator)
        self._available = torch.from_numpy(collator.drawer.drawable.lengths())  # of every question, for `_note`
        self.completed, self.refresh = completed, refresh
        self.stretches = Stretches(self._begin, self._loader)
        self.stream = self._stream(towers, collator)

    def _stream(
        self, towers: DualEncoder | CrossEncoder | LateInteraction, collator: Collator | PairCollator
    ) -> Stream | None:
        """Negatives of earlier steps, where the recipe wants them."""
        wanted, device = self.recipe.scale.negative_cache, self.args.device
        if wanted is None or not isinstance(towers, DualEncoder) or isinstance(collator, PairCollator):
            return None
        passages = collator.passages
        if passages is None:
            return None
        return Stream(
            NegativeCache(wanted, towers.width, device),
            lambda question_Q, row_C: torch.from_numpy(
                collator.negatives_among(question_Q.cpu().numpy(), row_C.cpu().numpy())
            ).to(device),
            lambda row_N: {name: part.to(device) for name, part in passages.tokens(row_N.cpu().numpy()).items()},
            float(getattr(self.recipe.objective[0], "temperature", 1.0)),
            int(self.recipe.training["seed"]),
        )

    # Draws

    def get_train_dataloader(self) -> DataLoader[int]:
        """Not handed to accelerate, which would deal draws out to processes: each needs all of them."""
        draws = range(len(self.train_dataset))
        if self.refresh is None:
            return self._loader(draws)
        return DataLoader(self.train_dataset, sampler=draws, collate_fn=self.stretches)

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
            worker_init_fn=_deaf,
            generator=None if self.refresh is None else torch.Generator(),  # the dice of dropout are left alone
        )

    def _begin(self, draw: int) -> int:
        """The candidates of the stretch that begins with this draw are made; the draw after its end."""
        assert self.refresh is not None
        began, accumulation = time.monotonic(), self.args.gradient_accumulation_steps
        update = draw // accumulation
        noted = self.refresh.turn(update, self.accelerator.unwrap_model(self.model))
        if noted:
            self.log(noted)
        self.watch.pause(time.monotonic() - max(began, self.watch.since or began))
        return min(self.refresh.clock.end(update) * accumulation, len(self.train_dataset))

    def facts(self, update: int) -> dict[str, Any]:
        """A checkpoint names the candidates that cannot be made again."""
        needed = {} if self.refresh is None else self.refresh.needed(update)
        return {"candidates": needed} if needed else {}

    # Loss

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The loss of one draw; its gradient, averaged over processes, is that of the whole step."""
        share = self.collator.share
        if self.recipe.task in keys.SCORERS:
            loss = scale.pair_loss if self.recipe.is_cross_encoder else scale.late_interaction_loss
            found = loss(model, inputs, self.terms, share, self.completed)
            self._note(found)
        elif self.stream is None:
            gather = self.recipe.scale.gather
            found = scale.block_loss(model, inputs, self.terms, share, gather=gather, completed=self.completed)
            self._note(found)
        else:
            found, watched = self.stream.loss(model, inputs, self.terms)
            self._note(found, watched)
        return (found.loss, found) if return_outputs else found.loss

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """One draw forward and backward; with `scale.cache` in chunks, with the same gradient."""
        self.watch.start()
        if self.recipe.scale.cache is None:
            loss = super().training_step(model, inputs, num_items_in_batch)
        else:
            model.train()
            inputs = self._prepare_inputs(inputs)
            found = scale.cached_step(
                model,
                inputs,
                self.terms,
                self.collator.share,
                self.recipe.scale.cache,
                gather=self.recipe.scale.gather,
                completed=self.completed,
                autocast=self.compute_loss_context_manager,
                backward=lambda loss: self.accelerator.backward(loss / self.current_gradient_accumulation_steps),
            )
            self._note(found)
            loss = found.loss.detach() / self.current_gradient_accumulation_steps
        self._questions = inputs["question_ids"]
        if not torch.isfinite(loss):
            self._stop_on(f"the loss is {float(loss)}")
        return loss

    def _note(self, found: scale.Found, more: Mapping[str, Any] = MappingProxyType({})) -> None:
        """Cheap numbers of every step; the dear ones only of the step before a log."""
        inputs = found.batch
        masks = [inputs[side]["attention_mask"] for side in ("question", "passage", "pair") if side in inputs]
        ids_Q = inputs["question_ids"]
        self._available = self._available.to(ids_Q.device)
        counts = {name: float(count) for name, count in inputs["counts"].items()}
        block = {"positives": counts.pop("positive"), **{_counted(name): count for name, count in counts.items()}}
        short = {name: block.pop(name) for name in list(block) if name.startswith("short_of_")}  # of the whole step
        block["positives_available"] = (self._available[ids_Q.clamp_min(0)] * (ids_Q >= 0)).sum()
        parts = {
            "examples": (ids_Q[found.seen.own] >= 0).sum(),
            "tokens": sum(mask.sum() for mask in masks),
            "places": float(sum(mask.numel() for mask in masks)),
        }
        same = {**found.watched, **more, **short}
        if self.recipe.scale.gather:  # every process counts the whole block
            self.watch.add({**same, **block}, parts)
        else:
            self.watch.add(same, {**block, **parts})
        if self._is_logged_next():
            self.observed = self._observed(found)

    def _is_logged_next(self) -> bool:
        every = int(self.state.logging_steps or 0)
        by_step = every > 0 and (self.state.global_step + 1) % every == 0
        is_first = self.args.logging_first_step and self.state.global_step == 0
        return by_step or is_first or self.args.logging_strategy == "epoch"

    def _observed(self, found: scale.Found) -> dict[str, float]:
        """Of this process's questions in one step."""
        seen = found.seen
        divisor = _divisor(self.recipe.objective[0], seen.own_OD.shape[1])
        observed = _monitor.observe(seen.scores_OP, seen.positives_OP, seen.negatives_OP, found.pull(), divisor)
        if seen.given_OP is not None:
            return observed
        return {**observed, "passage_cosine": _monitor.spread(seen.passage_PD)}

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Called after clipping and before the optimizer: the last moment to refuse a step."""
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        scaler = getattr(self.accelerator, "scaler", None)
        if norm is None:
            return norm
        self._skipped = 0 if math.isfinite(float(norm)) else self._skipped + 1
        if self._skipped > (0 if scaler is None else OVERFLOWS):
            again = f" for {self._skipped} updates on end" if scaler is not None else ""
            self._stop_on(f"the gradient's norm is {float(norm)}{again}")
        return norm

    def _stop_on(self, what: str) -> None:
        """Exit 3: the weights still are those of the last finite update."""
        split = [int(number) for number in self._questions.tolist() if number >= 0]
        shown = ", ".join(map(str, split[:8])) + ("..." if len(split) > 8 else "")
        update = self.state.global_step + 1
        fix = "lower training.learning_rate, try bf16 or 32-bit, or look at these questions with `mpr audit`"
        raise NumbersError(f"{what} in update {update}, questions (rows of the split) {shown}", key="training", fix=fix)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs and self.watch.steps:
            logs |= {**self.watch.read(self.args.world_size), **self.observed}
            rows, per_epoch = self.recipe.questions_per_step, self.collator.drawer.rows_per_epoch
            accumulation = self.args.gradient_accumulation_steps
            logs["draw_epoch"] = self.state.global_step * accumulation * rows / per_epoch
        super().log(logs, start_time)

    def _maybe_log_save_evaluate(self, *arguments: Any, **named: Any) -> None:
        """Speeds in the log are those of steps: the time of evaluations and checkpoints is taken out."""
        began = time.monotonic()
        super()._maybe_log_save_evaluate(*arguments, **named)
        self.watch.pause(time.monotonic() - max(began, self.watch.since or began))

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


def _deaf(worker: int) -> None:
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


def _divisor(entry: Any, width: int) -> float | None:
    """What a term divides scores by before its softmax; None: it has none."""
    if getattr(entry, "scaling", "") == "none":
        return None
    return float(getattr(entry, "temperature", 1.0)) * (width**0.5 if getattr(entry, "sqrt_width", False) else 1.0)


def _counted(name: str) -> str:
    """Cells by what decided them; passages that a source was short of are no cells."""
    return name.replace(" ", "_") if name.startswith("short of ") else f"cells_{name}"
