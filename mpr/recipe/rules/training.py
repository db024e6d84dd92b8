"""Rules about `training:`: what must be written, what mpr decides itself, and what contradicts what.

Types are checked before (mpr/recipe/_training_arguments.py), but a rule must hold its ground when a key is missing or
was refused: then it says nothing about that key.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeGuard

from mpr.errors import nearest
from mpr.metrics import ranks
from mpr.recipe import schedule
from mpr.recipe.keys import Recipe
from mpr.recipe.strict_yaml import Finding, Path_

REQUIRED = {
    "seed": "every draw and every weight that is made follows from it",
    "per_device_train_batch_size": "questions of a step on each process",
    "learning_rate": "its peak",
    "lr_scheduler_type": "its course",
    "warmup_steps": "a number of updates, or a share of them below 1; 0 for none",
    "optim": "adamw_torch with weight_decay: 0 is Adam",
    "weight_decay": "0 for none",
    "max_grad_norm": "0 for no clipping",
}
ONE_OF = {
    ("num_train_epochs", "max_steps"): "exactly one says how long training lasts",
    ("fp16", "bf16"): "the precision is a choice: write at least one of them; false is 32-bit",
}
OWNED = {
    "output_dir": "the run folder is chosen on the command line",
    "resume_from_checkpoint": "running the same command again resumes",
    "hub_token": "a token in a recipe would be published with it; use the HF_TOKEN variable",
    "push_to_hub": "`mpr push` publishes a run when it is complete",
    "save_only_model": "a checkpoint that cannot be resumed from is no checkpoint",
    "remove_unused_columns": "batches are made by mpr's collator",
    "dataloader_persistent_workers": "a draw must not depend on what a worker did before",
    "dataloader_in_order": "batches are used in the order of their draws",
    "dataloader_drop_last": "a draw is always a whole step",
    "train_sampling_strategy": "the order of questions is draw.questions",
    "length_column_name": "batches are not grouped by length",
    "auto_find_batch_size": "a smaller batch is another objective, not a memory setting",
    "label_names": "the relation block carries the labels",
    "ignore_data_skip": "resuming continues at the next draw",
    "data_seed": "draws use training.seed",
    "accelerator_config": "batches are not split or dispatched by accelerate",
    "label_smoothing_factor": "objectives define their own targets",
    "local_rank": "the launcher sets it",
    "ddp_find_unused_parameters": "every weight that learns takes part in every step",
    "ddp_broadcast_buffers": "the encoders have no buffers that change",
    "logging_nan_inf_filter": "a loss that is not finite stops the run",
    "fsdp": "the launch file decides how weights are sharded: recipes/accelerate/fsdp.yaml",
    "fsdp_config": "the launch file decides how weights are sharded: recipes/accelerate/fsdp.yaml",
    "deepspeed": "the launch file decides: recipes/accelerate/deepspeed_zero2.yaml",
    "parallelism_config": "the launch file decides",
    "save_on_each_node": "a checkpoint is written once, on a disk that all processes see",
    "neftune_noise_alpha": "two encoders have no one layer of embeddings for its noise",
    "use_liger_kernel": "its kernels are for language models",
    "do_train": "`mpr train` trains",
    "do_eval": "evaluation is described under evaluation",
    "do_predict": "evaluation is described under evaluation",
}
LEAST = {
    "seed": 0,
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "max_steps": 1,
    "warmup_steps": 0,
    "weight_decay": 0,
    "max_grad_norm": 0,
    "adam_beta1": 0,
    "adam_beta2": 0,
    "dataloader_num_workers": 0,
    "logging_steps": 0,
    "save_steps": 0,
    "eval_steps": 0,
    "save_total_limit": 1,
}
ABOVE_ZERO = ("learning_rate", "num_train_epochs", "adam_epsilon")
BELOW = {"adam_beta1": 1, "adam_beta2": 1, "weight_decay": 1, "seed": 2**32, "learning_rate": 1e30}


def training_is_complete(recipe: Recipe) -> Iterator[Finding]:
    """What changes a result is written, with no default of a library's version behind it."""
    given = recipe.training
    for name, why in REQUIRED.items():
        if name not in given:
            yield ("training", name), "is missing", f"it changes the result, so it must be written: {why}"
    for names, why in ONE_OF.items():
        if not any(name in given for name in names):
            yield ("training", names[0]), f"{' or '.join(names)} is missing", why
    if "num_train_epochs" in given and "max_steps" in given:
        yield ("training", "max_steps"), "stands next to num_train_epochs", "keep one of them"


def training_is_ours_to_set(recipe: Recipe) -> Iterator[Finding]:
    """Arguments that would be overwritten, or would break a promise."""
    for name in recipe.training:
        if name in OWNED:
            yield ("training", name), "is decided by mpr", OWNED[name]


def training_numbers_make_sense(recipe: Recipe) -> Iterator[Finding]:
    """Sizes that are zero or negative, and factors out of their range."""
    for name, value in recipe.training.items():
        if not _is_number(value):
            continue
        if name in LEAST and value < LEAST[name]:
            yield ("training", name), f"must be at least {LEAST[name]}, not {value}", ""
        if name in ABOVE_ZERO and value <= 0:
            yield ("training", name), f"must be more than 0, not {value}", ""
        if name in BELOW and value >= BELOW[name]:
            yield ("training", name), f"must be less than {BELOW[name]}, not {value}", ""
    warmup = recipe.training.get("warmup_steps")
    if _is_number(warmup) and warmup > 1 and warmup != int(warmup):
        yield ("training", "warmup_steps"), f"{warmup} is neither a share nor a number of steps", "write a whole number"


def training_keys_agree(recipe: Recipe) -> Iterator[Finding]:
    """Keys that exclude each other, or of which one does nothing."""
    given = recipe.training
    if given.get("fp16") and given.get("bf16"):
        yield ("training", "bf16"), "fp16 and bf16 cannot both be on", "choose one"
    if given.get("fp16") and given.get("use_cpu"):
        yield ("training", "fp16"), "fp16 needs a GPU, use_cpu says there is none", "use bf16, or false"
    if given.get("lr_scheduler_type") == "constant" and given.get("warmup_steps"):
        yield ("training", "warmup_steps"), "'constant' has no warm-up", "use constant_with_warmup, or 0"
    if "report_to" in given and given["report_to"] is None:
        yield ("training", "report_to"), "null is not a tracker", "write none in quotes, or the name of a tracker"
    if given.get("save_strategy") == "best":
        what = "'best' leaves nothing to continue from between the best ones"
        yield ("training", "save_strategy"), what, "use steps with load_best_model_at_end: true and save_total_limit"
    if given.get("dataloader_prefetch_factor") is not None and not given.get("dataloader_num_workers"):
        yield ("training", "dataloader_prefetch_factor"), "needs dataloader_num_workers", "set both"


def best_is_known(recipe: Recipe) -> Iterator[Finding]:
    """What chooses the best checkpoint is measured, points the right way, and is measured where checkpoints are."""
    given, patience = recipe.training, recipe.validation and recipe.validation.patience
    metric, keeps_best = given.get("metric_for_best_model"), bool(given.get("load_best_model_at_end"))
    if patience is not None and not keeps_best:
        why = "set training.load_best_model_at_end: true; the model would be that of the last, worse evaluation"
        yield ("validation", "patience"), "needs the best checkpoint to be kept", why
    if keeps_best and recipe.validation is None:
        yield ("training", "load_best_model_at_end"), "nothing is measured that could be best", "add validation"
    if (keeps_best or given.get("save_strategy") == "best") and metric is None:
        what = "is missing: there is no loss to choose by"
        yield ("training", "metric_for_best_model"), what, f"one of {', '.join(ranks.NAMES)}"
    if keeps_best:
        yield from _best_is_saved(given)
    if isinstance(metric, str):
        yield from _metric_is_measured(metric.removeprefix("eval_"), given.get("greater_is_better"))


def _best_is_saved(given: dict[str, Any]) -> Iterator[Finding]:
    evaluates, saves = given.get("eval_strategy", "no"), given.get("save_strategy", "steps")
    if saves != "best" and evaluates != saves:
        yield ("training", "load_best_model_at_end"), "needs eval_strategy equal to save_strategy", "set both"
        return
    together = given.get("eval_steps") is not None and given.get("eval_steps") == given.get("save_steps")
    if evaluates == saves == "steps" and not together:
        what = "needs eval_steps and save_steps to be written and equal"
        yield ("training", "load_best_model_at_end"), what, "the best evaluation would have no checkpoint"


def _metric_is_measured(name: str, greater_is_better: Any) -> Iterator[Finding]:
    path: Path_ = ("training", "metric_for_best_model")
    if name not in ranks.NAMES:
        fix = nearest(name, ranks.NAMES) or f"known: {', '.join(ranks.NAMES)}"
        yield path, f"'{name}' is not measured during training", fix
    elif name in ranks.LOWER_IS_BETTER and greater_is_better is not False:
        what = f"a lower {name} is better, and transformers takes a higher one unless told"
        yield ("training", "greater_is_better"), what, "write false"
    elif name not in ranks.LOWER_IS_BETTER and greater_is_better is False:
        yield ("training", "greater_is_better"), f"a higher {name} is better", "write true, or remove it"


def warmup_ends(recipe: Recipe) -> Iterator[Finding]:
    """Warm-up is over before training is."""
    warmup, total = recipe.training.get("warmup_steps", 0), schedule.updates(recipe)
    if total is not None and _is_number(warmup) and warmup > 1 and warmup > total:
        yield ("training", "warmup_steps"), f"{warmup:g} steps are beyond the end after {total:,}", "warm up less"


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
