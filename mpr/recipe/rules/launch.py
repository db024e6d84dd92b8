"""Refuses a launch that contradicts the recipe: what the launcher decides must be what the recipe says.

A launcher passes its settings through the environment, where they would win, or be lost, without a word: fewer
processes than asked for, mixed precision in a run that the recipe calls 32-bit, sharding that CPU processes do not do.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping

from mpr.errors import Problem, RecipeError
from mpr.recipe import stages
from mpr.recipe.keys import Recipe
from mpr.runtime.processes import Place


def chosen(row: Recipe, stage: str | None, place: Place) -> tuple[Recipe, ...]:
    """What to train: the stage that is asked for, or all of them, which one process alone can do."""
    if stage is not None:
        return (stages.stage_of(row, stage),)
    if row.plan and (place.world > 1 or any(each.scale.processes > 1 for each in row.stages)):
        commands = "; ".join(f"{_launcher(each)} {_command()} --stage {each.stage}" for each in row.stages)
        raise RecipeError("several processes train one stage at a time", key="plan", fix=f"in this order: {commands}")
    return row.stages


def refuse_contradictions(recipe: Recipe, place: Place, environment: Mapping[str, str]) -> None:
    """Everything that can be known before torch is loaded, all of it together."""
    found = [*_processes(recipe, place), *_precision(recipe, environment), *_numbers(recipe, environment)]
    if found := [*found, *_sharding(recipe, environment)]:
        raise RecipeError(found)


def refuse_devices(recipe: Recipe, place: Place, environment: Mapping[str, str], gpus: int) -> None:
    """What depends on the GPUs that this machine shows."""
    on_cpu = not gpus or _is_on(environment, "ACCELERATE_USE_CPU") or bool(recipe.training.get("use_cpu"))
    if on_cpu:
        if recipe.training.get("fp16"):
            fix = "--set training.fp16=false, or bf16 where the processor has it"
            raise RecipeError("fp16 needs a GPU and none is visible", key="training.fp16", fix=fix)
        if _is_on(environment, "ACCELERATE_USE_FSDP"):
            what = "the launch asks for FSDP, and accelerate shards nothing on CPU processes: it would be plain DDP"
            raise RecipeError(what, key="scale.processes", fix="launch without FSDP: recipes/accelerate/cpu.yaml")
    elif place.local_world > gpus:
        what = f"{place.local_world} processes were started on this machine, which shows {gpus} GPUs"
        fix = f"start at most {gpus} here, or --set training.use_cpu=true"
        raise RecipeError(what, key="scale.processes", fix=fix)


def _processes(recipe: Recipe, place: Place) -> Iterator[Problem]:
    wanted, world = recipe.scale.processes, place.world
    if world == wanted:
        return
    what = f"the recipe is for {wanted} processes, {world} {'was' if world == 1 else 'were'} started"
    if wanted == 1:
        smaller = f"scale.processes={world} and a {world} times smaller training.per_device_train_batch_size"
        yield Problem(
            what, key="scale.processes", fix=f"start one: python -m {_command()}; or give the recipe {smaller}"
        )
        return
    if world == 1:
        what += " (`accelerate launch --cpu` starts one whatever it is told)"
    fix = f"start {wanted}: {_launcher(recipe)} {_command()}"
    yield Problem(what, key="scale.processes", fix=fix)


def _launcher(recipe: Recipe) -> str:
    """What starts as many processes as the recipe is for."""
    wanted = recipe.scale.processes
    return "python -m" if wanted == 1 else f"torchrun --nproc_per_node {wanted} -m"


def _command() -> str:
    """The module and arguments of this command. torchrun takes `--run` for an option of its own."""
    words = [f"--folder{word[5:]}" if word.split("=")[0] == "--run" else word for word in sys.argv[1:]]
    return f"mpr.train {shlex.join(words)}"


def _precision(recipe: Recipe, environment: Mapping[str, str]) -> Iterator[Problem]:
    """accelerate says `no` also when nobody asked for anything; then the recipe decides."""
    launched = environment.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    said = next((name for name in ("fp16", "bf16") if recipe.training.get(name)), "no")
    if launched in ("no", said):
        return
    fix = f"launch with --mixed_precision {said} (`mixed_precision` of the launch file)"
    if launched in ("fp16", "bf16"):
        off = "" if said == "no" else f" --set training.{said}=false"
        fix += f", or train another recipe: --set training.{launched}=true{off}"
    what = f"the launch asks for {launched}, the recipe says {'32-bit' if said == 'no' else said}"
    yield Problem(what, key=f"training.{said if said != 'no' else launched}", fix=fix)


def _numbers(recipe: Recipe, environment: Mapping[str, str]) -> Iterator[Problem]:
    """Settings of a launch file that are keys of the recipe too."""
    training = recipe.training
    pairs = (
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "gradient_accumulation_steps", 1),
        ("ACCELERATE_GRADIENT_CLIPPING", "max_grad_norm", 0.0),
    )
    for variable, key, default in pairs:
        launched, said = environment.get(variable, "auto"), float(training.get(key, default))
        if launched not in ("auto", "none") and float(launched) != said:
            what = f"the launch says {launched}, the recipe says {training.get(key, default)}"
            yield Problem(what, key=f"training.{key}", fix="write `auto` in the launch file, or the recipe's number")
    backend = environment.get("ACCELERATE_DYNAMO_BACKEND", "no").lower()
    if backend != "no" and not training.get("torch_compile"):
        what = f"the launch asks for compilation by {backend}, the recipe does not"
        yield Problem(
            what, key="training.torch_compile", fix="launch without dynamo, or --set training.torch_compile=true"
        )


def _sharding(recipe: Recipe, environment: Mapping[str, str]) -> Iterator[Problem]:
    """The gradient cache calls the model several times a step, which a sharding wrapper takes for several steps.

    Of FSDP's variants, the one whose checkpoints and results were compared with those of one process is let through.
    """
    fsdp = _is_on(environment, "ACCELERATE_USE_FSDP")
    for is_on, name in ((fsdp, "FSDP"), (_is_on(environment, "ACCELERATE_USE_DEEPSPEED"), "DeepSpeed")):
        if recipe.scale.cache is not None and is_on:
            what = f"the gradient cache works on one process or under DDP, not under {name}"
            yield Problem(what, key="scale.cache", fix="launch with DDP, or remove scale.cache")
        for number, term in enumerate(recipe.objective):
            if is_on and getattr(term, "learns", {}):
                what = (
                    f"'{term.name}' learns numbers that are in no layer of the model, which {name} does not look after"
                )
                yield Problem(what, key=f"objective[{number}].learn", fix="launch with DDP, or set learn: nothing")
    if _is_on(environment, "ACCELERATE_USE_DEEPSPEED"):
        yield from _deepspeed(recipe, environment)
    if not fsdp:
        return
    for variable, key, needed in (
        ("FSDP_VERSION", "fsdp_version", "2"),
        ("FSDP_STATE_DICT_TYPE", "fsdp_state_dict_type", "FULL_STATE_DICT"),
    ):
        if (said := environment.get(variable, "unsaid")) != needed:
            what = f"the launch file's {key} is {said}; weights are saved and resumed with {needed}"
            yield Problem(
                what, key="scale.processes", fix=f"write {key}: {needed}, as recipes/accelerate/fsdp.yaml does"
            )
    if recipe.own is not None and recipe.step_search is None:
        what = "the model under training encodes with its own weights, which FSDP cuts up"
        yield Problem(what, key="sources.model", fix="launch with DDP, or mine with the folder of a trained model")
    if recipe.towers.lora is not None:
        what = "adapters on sharded weights were never tried"
        yield Problem(what, key="towers.lora", fix="launch with DDP: adapters need little memory")


def _deepspeed(recipe: Recipe, environment: Mapping[str, str]) -> Iterator[Problem]:
    """Of DeepSpeed, what leaves whole 32-bit weights in the model, where checkpoints take them from."""
    stage, file = (environment.get(f"ACCELERATE_DEEPSPEED_{name}", "") for name in ("ZERO_STAGE", "CONFIG_FILE"))
    if file not in ("", "none"):
        what = "a DeepSpeed configuration file may say anything"
        yield Problem(what, key="scale.processes", fix="write its settings into the launch file")
    if stage not in ("", "0", "1", "2"):
        what = f"ZeRO stage {stage} cuts up the weights that checkpoints are made of"
        yield Problem(what, key="scale.processes", fix="use stage 2, or FSDP: recipes/accelerate/fsdp.yaml")
    for name in ("fp16", "bf16"):
        if recipe.training.get(name):
            what = f"DeepSpeed keeps the model's own weights in {name}, and these would be saved"
            yield Problem(what, key=f"training.{name}", fix=f"--set training.{name}=false, or launch with DDP or FSDP")


def is_sharded(environment: Mapping[str, str]) -> bool:
    """Whether the launch wraps the model in something that is called once a step."""
    return _is_on(environment, "ACCELERATE_USE_FSDP") or _is_on(environment, "ACCELERATE_USE_DEEPSPEED")


def _is_on(environment: Mapping[str, str], variable: str) -> bool:
    return environment.get(variable, "false").lower() in ("true", "1", "yes", "on")
