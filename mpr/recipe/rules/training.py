"""Rules about what learns and how: `task:`, `towers:`, `start:`, models that are named by a stage, and `training:`.

A cross-encoder reads question and passage together. A late-interaction model reads them one by one and compares their
tokens, so passages of other rows are there to be scored, as they are for towers.

`training:` says what must be written, what mpr decides itself, and what contradicts what. Types are checked before
(mpr/recipe/_training_arguments.py), but a rule must hold its ground when a key is missing or was refused: then it says
nothing about that key."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any, TypeGuard

from mpr.errors import excerpt, nearest
from mpr.metrics import ranks
from mpr.recipe import _backbones, model_names, schedule, stages
from mpr.recipe.keys import CROSS_ENCODER, DUAL_ENCODER, LATE_INTERACTION, PACKED, SCORERS, Recipe
from mpr.recipe.keys_towers import PACKABLE, Towers
from mpr.recipe.model_names import START
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


_NO_VECTORS = "a pair has a score, and no vectors"


ONLY: dict[str, tuple[tuple[str, object, str], ...]] = {  # task -> key of `towers`, its one value, and why
    CROSS_ENCODER: (
        ("share", True, "question and passage are read by one transformer"),
        ("pooling", "cls", "the score is read off the first token"),
        ("normalize", False, _NO_VECTORS),
        ("projection", None, _NO_VECTORS),
        ("lora", None, "adapters are put on encoders of vectors only"),
        ("pair_cut", "end", "what is too long is cut from the passage, whose title is a part of it"),
        ("last_slot", "pad", "it belongs to texts that are read one by one"),
    ),
    LATE_INTERACTION: (
        ("share", True, "questions and passages are read by one encoder"),
        ("pooling", "none", "every token keeps its vector"),
        ("lora", None, "adapters are put on encoders of whole texts only"),
        ("last_slot", "pad", "every token of a text is compared"),
    ),
}


_PINNED = re.compile(r"[^@]+@[0-9a-f]{40}")


def towers_fit_the_task(recipe: Recipe) -> Iterator[Finding]:
    """See `of_task`."""
    yield from of_task(recipe.towers, recipe.task)


def of_task(towers: Towers, task: str) -> Iterator[Finding]:
    """Keys of `towers` that are about another kind of model; also asked where a recipe is not at hand."""
    if task == DUAL_ENCODER and towers.pooling == "none":
        yield ("towers", "pooling"), "vectors of whole texts are compared (task: dual_encoder)", "use cls, mean or last"
    for key, only, why in ONLY.get(task, ()):
        if getattr(towers, key) != only:
            fix = f"set it to {'null' if only is None else str(only).lower()}"
            yield ("towers", key), f"{why} (task: {task})", fix
    if task != CROSS_ENCODER:
        return
    if towers.title == "pair":
        what = "a cross-encoder's pair is the question and the passage (task: cross_encoder)"
        yield ("towers", "title"), what, "use join or none"
    if towers.question_length >= towers.passage_length:
        what = f"is of question and passage together, the question alone may have {towers.question_length} tokens"
        yield ("towers", "passage_length"), what, "raise it, or lower question_length"


def only_own_passages(recipe: Recipe) -> Iterator[Finding]:
    """A cross-encoder has no block of scores beyond the pairs that were drawn."""
    if recipe.is_cross_encoder and recipe.draw.in_batch:
        what = "a cross-encoder would have to read every passage of the step with every question"
        yield ("draw", "in_batch"), what, "set it to false, and draw negatives"


def nothing_that_needs_vectors(recipe: Recipe) -> Iterator[Finding]:
    """What is about the vectors of whole texts, or about searching with them."""
    if recipe.task not in SCORERS:
        return
    who = SCORERS[recipe.task]
    if recipe.scale.gather:
        yield ("scale", "gather"), f"{who} has no passages to share", "set it to false"
    for key in ("cache", "negative_cache"):
        if getattr(recipe.scale, key) is not None:
            yield ("scale", key), f"{_NO_VECTORS}: there is nothing to remember", "remove it"
    if recipe.refresh is not None:
        yield ("refresh",), f"{who} cannot search", "remove it"
    if recipe.start is not None:
        yield ("start",), f"{who} does not go on from another model", "remove it; in a plan, `start: base`"
    if recipe.validation is not None:
        yield ("validation",), f"is a search among passages, and {who} cannot search", "remove it"
    if recipe.draw.clusters is not None and recipe.draw.clusters.model == START:
        fix = "name a trained model, `stage:<name>` in a plan"
        yield ("draw", "clusters", "model"), f"{who} has no vectors of questions", fix
    for number, term in enumerate(recipe.objective):
        if getattr(term, "view", "query") != "query":
            yield ("objective", number, "view"), f"{who} has no rows of passages", "use view: query"
        if getattr(term, "sqrt_width", False):
            yield ("objective", number, "sqrt_width"), f"{_NO_VECTORS} whose size could count", "set it to false"


def encoder_is_named_once(recipe: Recipe) -> Iterator[Finding]:
    towers = recipe.towers
    if (towers.base is None) == (towers.new is None):
        yield ("towers", "base"), "give exactly one of base and new", "a pretrained encoder, or one from random weights"
    if towers.new is not None:
        if towers.revision is not None:
            yield ("towers", "revision"), "belongs to a pretrained base", "remove it"
        if towers.new.width % towers.new.heads:
            yield ("towers", "new", "heads"), f"does not divide the width of {towers.new.width}", "choose a divisor"
        if towers.lora is not None and recipe.start is None:
            yield ("towers", "lora"), "random weights cannot be adapted, they must be learned", "remove it"


def lora_fits(recipe: Recipe) -> Iterator[Finding]:
    towers, backbone = recipe.towers, _backbones.of(recipe.towers)
    if towers.lora is None:
        return
    if towers.share and towers.lora.towers != "both":
        yield ("towers", "lora", "towers"), "there is only one tower (share: true)", "use both"
    for number, module in enumerate(towers.lora.modules):
        if backbone is not None and not backbone.linears(module):
            known = sorted({name.rpartition(".")[2] for name in backbone.all_linears})
            fix = nearest(module, known) or f"known: {', '.join(known)}"
            yield ("towers", "lora", "modules", number), f"the encoder has no linear layer called '{module}'", fix


def precision_fits(recipe: Recipe) -> Iterator[Finding]:
    """What computes in 16 bits, and what may be held in them."""
    towers, training = recipe.towers, recipe.training
    rounded = towers.weights == "bfloat16"
    if rounded and training.get("fp16"):
        what = "a forward in fp16 overflows on what bfloat16 weights can hold"
        yield ("training", "fp16"), what, "use bf16, or towers.weights: float32"
    if towers.attention == "flash_attention_2" and not (rounded or training.get("bf16") or training.get("fp16")):
        what = "flash_attention_2 computes in 16 bits, and this training is in 32"
        yield ("towers", "attention"), what, "set training.bf16: true (fp16 on a GPU without bf16), or use sdpa"
    if recipe.own is not None and getattr(recipe.own, "compute", "") == "float32":
        if rounded:
            what = "the model under training mines for itself as it is held, and that is not in 32 bits"
            yield ("towers", "weights"), what, f"set compute: bfloat16 in the source '{recipe.own.as_}'"
        elif towers.attention == "flash_attention_2":
            what = "the model under training mines for itself in 32 bits, which flash_attention_2 cannot do"
            yield ("towers", "attention"), what, f"set compute: bfloat16 in the source '{recipe.own.as_}', or use sdpa"


def packing_fits(recipe: Recipe) -> Iterator[Finding]:
    """Texts of a side in one row, without padding."""
    if recipe.scale.groups != PACKED:
        return
    towers, family, path = recipe.towers, _backbones.family(recipe.towers), ("scale", "groups")
    if recipe.task != DUAL_ENCODER:
        yield path, f"only texts that become one vector each can be packed (task: {recipe.task})", "give a number"
    if towers.last_slot == "sep":
        yield path, "towers.last_slot: sep fills every text up on purpose", "give a number, or set last_slot: pad"
    if towers.attention == "eager":
        yield path, "attention by eager cannot tell the texts of one row apart", "use sdpa or flash_attention_2"
    if recipe.training.get("torch_compile"):
        yield ("training", "torch_compile"), "would compile every packed step anew: no two have one shape", "remove it"
    if family is not None and family not in PACKABLE:
        what = f"texts of '{family}' cannot be packed into one row, or nobody has compared it with padding"
        yield path, what, f"give a number; packed is for {', '.join(PACKABLE)}"


def lengths_fit(recipe: Recipe) -> Iterator[Finding]:
    backbone = _backbones.of(recipe.towers)
    for key in ("question_length", "passage_length"):
        length = getattr(recipe.towers, key)
        if backbone is not None and length > backbone.longest:
            yield ("towers", key), f"the encoder reads at most {backbone.longest} tokens", "ask for fewer"


def towers_agree(recipe: Recipe) -> Iterator[Finding]:
    """See `of_towers`."""
    yield from of_towers(recipe.towers)


def of_towers(towers: Towers) -> Iterator[Finding]:
    """What would otherwise show only in what is learned; also asked by `towers.build`, which a recipe need not call."""
    if towers.passage_base is not None and (towers.share or towers.base is None):
        what = "belongs to separate towers that both start from pretrained encoders"
        yield ("towers", "passage_base"), what, "remove it, or set share: false and base"
    if towers.passage_revision is not None and towers.passage_base is None:
        yield ("towers", "passage_revision"), "belongs to passage_base", "remove it"
    if towers.lora is not None and towers.lora.towers != "both" and towers.projection is not None:
        what = "starts from random weights, which the tower that lora leaves frozen could never learn"
        yield ("towers", "projection"), what, "adapt both towers, or leave the projection out"
    if towers.pair_cut == "longest_first" and towers.title != "pair":
        yield ("towers", "pair_cut"), "there is no pair of title and text to cut", "remove it, or set title: pair"
    if towers.weights != "float32" and towers.lora is None:
        what = "weights that learn are held in 32 bits: in 16, small steps would be rounded away"
        yield ("towers", "weights"), what, "add towers.lora, or remove it; training.bf16 computes in 16 bits"
    if towers.train == "question" and towers.share:
        yield ("towers", "train"), "there is only one tower (share: true)", "set share: false, or train both"
    if towers.train == "question" and towers.lora is not None and towers.lora.towers != "question":
        yield ("towers", "lora", "towers"), "the passage tower does not learn (train: question)", "use question"


def unlike(before: Towers, now: Towers, *, starting: bool = False) -> Iterator[tuple[str, str, str]]:
    """(key, one value, the other) wherever towers are not used in the same way; who learned does not matter.

    `starting`: training that begins with the first may add adapters, and give each side a copy of a shared encoder.
    """
    unused = {"train", "attention"}
    if starting and before.share:
        unused |= {"share"}
    if starting and before.lora is None:
        unused |= {"lora", "weights"}
    one, other = (each.model_dump(mode="json", exclude=unused) for each in (before, now))
    yield from _differences(one, other)


def _differences(before: dict[str, Any], now: dict[str, Any], inside: str = "") -> Iterator[tuple[str, str, str]]:
    for key, one in before.items():
        other = now[key]
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _differences(one, other, f"{inside}{key}.")
        elif one != other:
            yield inside + key, _shown(one), _shown(other)


def _shown(value: Any) -> str:
    return excerpt(value) if isinstance(value, str) else json.dumps(value)


def start_is_pinned(recipe: Recipe) -> Iterator[Finding]:
    start = recipe.start
    if start is None or recipe.draft or model_names.stage(start) is not None:
        return
    if os.path.isdir(start):
        yield ("start",), "is a local folder, which no commit pins", "set draft: true"
    elif not _PINNED.fullmatch(start):
        fix = "say org/name@ and the 40 hex digits of a commit, or set draft: true"
        yield ("start",), "is not pinned to a commit", fix


def stages_are_earlier(recipe: Recipe) -> Iterator[Finding]:
    """A stage may use the models of those before it, wherever a model is named."""
    known = recipe.earlier
    for path, name in stages.references(recipe):
        if name == recipe.stage:
            yield path, f"'{name}' is this very stage", "name an earlier one, or `self` for the model under training"
        elif name not in known:
            fix = nearest(name, known) or (f"earlier: {', '.join(known)}" if known else "stages belong to a plan")
            yield path, f"no earlier stage is called '{name}'", fix


def models_of_sources_fit(recipe: Recipe) -> Iterator[Finding]:
    for number, source in enumerate(recipe.sources):
        model = getattr(source, "model", None)
        if model == START and recipe.start is None:
            what = "this training starts from no model that could search"
            yield ("sources", number, "model"), what, "name a model, or give start"
        here = model == START or model_names.stage(model) is not None
        if here and getattr(source, "revision", None) is not None:
            yield ("sources", number, "revision"), f"says where a model comes from, '{model}' is here", "remove it"


def start_agrees(recipe: Recipe) -> Iterator[Finding]:
    """The towers of a stage are those of the stage that it starts from, but for what may be added to them."""
    name = model_names.stage(recipe.start)
    before = None if name is None else recipe.earlier.get(name)
    if before is None:
        return
    for key, trained, asked in unlike(before.towers, recipe.towers, starting=True):
        path = tuple(key.split("."))
        what = f"is {asked} here and {trained} in stage '{name}', which this one starts from"
        yield ("towers", *path), what, "leave it as it is there, or start from elsewhere (start: base)"


def models_are_of_their_kind(recipe: Recipe) -> Iterator[Finding]:
    """What vectors are wanted of, what reads pairs, and what may teach a step; of stages, whose task is known here."""
    for path, name in stages.references(recipe):
        before = recipe.earlier.get(name)
        if before is None:
            continue
        wanted: tuple[str, ...] = (DUAL_ENCODER,)
        fix = "name a stage that trains a dual encoder"
        if path[0] == "labels" and path[-1] == "cross_encoder":
            wanted, fix = (CROSS_ENCODER,), "name a stage with task: cross_encoder"
        elif path[0] == "labels":
            wanted, fix = (LATE_INTERACTION, *wanted), "name a late-interaction model or a dual encoder"
        if before.task not in wanted:
            what = f"stage '{name}' trains {SCORERS.get(before.task, 'a dual encoder')}"
            if path[0] == "labels" and before.task == CROSS_ENCODER:
                what += ", which would have to read every passage of a step with every question"
            yield path, what, fix


def frozen_passages_have_learned(recipe: Recipe) -> Iterator[Finding]:
    """Vectors that stay for the whole training must come from a model that can tell passages apart."""
    if recipe.towers.train == "question" and recipe.towers.new and recipe.start is None and not recipe.draft:
        what = "passages would be encoded by random weights, for good"
        yield ("towers", "train"), what, "start from a trained model (start), or train both"
