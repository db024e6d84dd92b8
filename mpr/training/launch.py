"""One launch of a training: processes, folder and data are made ready, then every stage is trained.

A launch that contradicts the recipe is refused: what the launcher decides must be what the recipe says. A launcher
passes its settings through the environment, where they would win, or be lost, without a word: fewer processes than
asked for, mixed precision in a run that the recipe calls 32-bit, sharding that CPU processes do not do.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpr.errors import Problem, Problems, RecipeError
from mpr.recipe import stages
from mpr.recipe.keys import Recipe
from mpr.runtime.processes import Place, is_on

if TYPE_CHECKING:
    from mpr.mining.mine import Mined
    from mpr.training.run_folder import RunFolder

log = logging.getLogger("mpr.train")
IGNORED = (
    "per_device_train_batch_size",
    "num_train_epochs",
    "max_steps",
)  # a draw is the batch; the plan has the steps
INSTALLED_AS = {"tensorboard": "mpr-retrieval[trackers]", "trackio": "mpr-retrieval[trackers]"}


@dataclass(frozen=True)
class Launch:
    """What the command line says besides the recipe."""

    home: Path = Path(".mpr")
    run: Path | None = None
    fork: str | None = None
    quiet: bool = False
    stage: str | None = None
    """Of a recipe with a plan: train this stage alone; None: all of them, one after the other."""
    callbacks: tuple[Any, ...] = ()
    """Of whoever calls from Python: transformers' `TrainerCallback`, beside those of mpr."""


def run(row: Recipe, launch: Launch, mined: Mined | None = None) -> Path:
    """Trains to the end, or raises Interrupted after committing a checkpoint; returns the run folder.

    Every process of the run calls it. The first one alone takes the lock, prepares the data and claims the folder; an
    error of any of them ends all, and is raised as itself where it happened first. `mined`: what was mined for the one
    stage that is trained.
    """
    from mpr.models import locate
    from mpr.training import run_folder

    place = Place.here()
    with place.speaking_once():
        trained = chosen(row, launch.stage, place)
        locate.refuse_missing_bases(row)
        for recipe in trained:
            refuse_contradictions(recipe, place, os.environ)
    target = launch.run or Path("runs") / run_folder.name(row, "trained", launch.fork)
    for recipe in trained:
        if recipe.stage and place.rank == 0:
            run_folder.RunFolder(target).refuse_without_plan()
            log.info("stage %s", recipe.stage)
        _train(recipe, launch, target, place, mined)
        if stages.is_last(row, recipe) and place.rank == 0:
            run_folder.publish_last_stage(target, recipe)
    return target


def _train(recipe: Recipe, launch: Launch, target: Path, place: Place, mined: Mined | None) -> None:
    """One training: that of the row in its folder, or of a stage of its plan in a folder in there."""
    import torch

    from mpr.data.dataset import Dataset
    from mpr.mining.mine import Mined
    from mpr.runtime import command, environment, processes
    from mpr.training import run_folder
    from mpr.training._fit import fit

    folder = run_folder.RunFolder(run_folder.of_stage(target, recipe))
    with place.speaking_once():
        refuse_devices(recipe, place, os.environ, torch.cuda.device_count())
    arguments = training_arguments(recipe, folder.folder, torch.cuda.is_available(), launch.quiet, place.rank)
    assert arguments.world_size == place.world, "the launcher and torch count other processes"
    with place.speaking_once():
        refuse_absent_trackers(arguments.report_to)
    if mined is None:
        quiet, models = launch.quiet or place.rank > 0, run_folder.models(target, recipe)
        mined = Mined(Dataset(recipe, launch.home, quiet, models))
    with processes.joined(place) as group, ExitStack() as held:
        begun = group.first(lambda: prepared(mined, folder, place.world, held))
        if not begun:
            return
        processes.refuse_other_disk(place, mined.dataset.corpus.folder, mined.dataset.corpus.folder.exists())
        processes.refuse_other_disk(place, folder.folder, folder.progress() == begun)
        environment.seed_everything(arguments.seed)
        if not fit(mined, folder, group, arguments, launch.callbacks):
            raise command.stopped("stopped on request; a checkpoint was committed")


def prepared(mined: Mined, folder: RunFolder, world: int, held: ExitStack) -> dict[str, Any]:
    """For the first process: holds the folder until the run ends. How far it is; empty when nothing is left to train.

    A finished run is claimed like any other, so that a changed recipe is not answered with the model of the old one.
    """
    from mpr import storage
    from mpr.mining import clusters
    from mpr.models import contract, local_inputs
    from mpr.training import step_teacher
    from mpr.training.run_folder import identity

    dataset, recipe = mined.dataset, mined.dataset.recipe
    held.enter_context(folder.held())
    digests = {role: store.manifest.digest for role, store in dataset.prepare_training().items()}
    if dataset.models.start is not None:
        digests["start"] = storage.verify(dataset.models.start, contract.KIND).digest
    digests |= {f"candidates {name}": table.manifest.digest for name, table in mined.make().tables.items()}
    digests |= {name: store.digest for name, store in mined.stores.items()}
    digests |= clusters.model_digest(dataset) | step_teacher.prepare(dataset) | local_inputs.encoders(recipe)
    folder.claim(identity(recipe, digests, world))
    if not folder.model.exists():
        return dict(folder.progress())
    storage.verify(folder.model, contract.KIND)
    log.info("already trained: %s", folder.model)
    return {}


def training_arguments(recipe: Recipe, folder: Path, cuda: bool, quiet: bool, rank: int = 0) -> Any:
    """transformers' TrainingArguments with what the recipe says and what a draw-based run needs."""
    from transformers import TrainingArguments

    from mpr.runtime import randomness

    given: dict[str, Any] = {name: value for name, value in recipe.training.items() if name not in IGNORED}
    seed: int = recipe.training["seed"]
    given |= {
        "output_dir": str(folder),
        # Only dropout draws by it: the same on every process would be the same noise.
        "seed": seed if rank == 0 else int(randomness.bits(seed, "process", rank)) % 2**32,
        "per_device_train_batch_size": 1,
        "max_steps": recipe.training.get("max_steps", -1),  # of epochs: when the rows of the data are known
        "remove_unused_columns": False,
        "ddp_find_unused_parameters": False,
        "ddp_broadcast_buffers": False,
        "logging_nan_inf_filter": False,
        "use_cpu": given.get("use_cpu", not cuda),
        "report_to": given.get("report_to", "none"),
        "disable_tqdm": given.get("disable_tqdm", quiet),
    }
    arguments = TrainingArguments(**given)
    arguments._n_gpu = min(arguments.n_gpu, 1)  # one process uses one GPU: DataParallel would tear the block apart
    return arguments


def refuse_absent_trackers(names: Iterable[str]) -> None:
    """Programs that show a run while it goes on (`training.report_to`) must be installed. transformers would raise out
    of the Trainer's constructor, after the data was prepared and the model built."""
    from transformers.integrations import get_reporting_integration_callbacks

    problems = Problems(RecipeError)
    for name in names:
        if name == "none":
            continue
        try:
            for kind in get_reporting_integration_callbacks([name]):
                kind()
        except ValueError as error:
            problems.add(str(error), key="training.report_to", fix="name one of these, or none")
        except (ImportError, RuntimeError):
            fix = f"pip install '{INSTALLED_AS.get(name, name)}', or --set training.report_to=none"
            problems.add(f"the tracker '{name}' is not installed here", key="training.report_to", fix=fix)
    problems.stop_if_any()


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
    on_cpu = not gpus or is_on(environment, "ACCELERATE_USE_CPU") or bool(recipe.training.get("use_cpu"))
    if recipe.towers.attention == "flash_attention_2":
        lacks = "a GPU, and none is visible" if on_cpu else "the package flash-attn, which is not installed"
        if on_cpu or importlib.util.find_spec("flash_attn") is None:
            fix = "use sdpa" if on_cpu else "pip install flash-attn --no-build-isolation, or use sdpa"
            raise RecipeError(f"flash_attention_2 needs {lacks}", key="towers.attention", fix=fix)
    if on_cpu:
        if recipe.training.get("fp16"):
            fix = "--set training.fp16=false, or bf16 where the processor has it"
            raise RecipeError("fp16 needs a GPU and none is visible", key="training.fp16", fix=fix)
        if is_on(environment, "ACCELERATE_USE_FSDP"):
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
    fsdp = is_on(environment, "ACCELERATE_USE_FSDP")
    for is_used, name in ((fsdp, "FSDP"), (is_on(environment, "ACCELERATE_USE_DEEPSPEED"), "DeepSpeed")):
        if recipe.scale.cache is not None and is_used:
            what = f"the gradient cache works on one process or under DDP, not under {name}"
            yield Problem(what, key="scale.cache", fix="launch with DDP, or remove scale.cache")
        for number, term in enumerate(recipe.objective):
            if is_used and getattr(term, "learns", {}):
                what = f"'{term.name}' learns numbers that belong to no layer, which {name} does not look after"
                yield Problem(what, key=f"objective[{number}].learn", fix="launch with DDP, or set learn: nothing")
    if is_on(environment, "ACCELERATE_USE_DEEPSPEED"):
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
