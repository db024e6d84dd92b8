"""One launch of a training: processes, folder and data are made ready, then every stage is trained."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpr.errors import Problems, RecipeError
from mpr.runtime.processes import Place

if TYPE_CHECKING:
    from mpr.mining.mine import Mined
    from mpr.recipe.keys import Recipe
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
    from mpr.recipe import stages as recipe_plan
    from mpr.recipe.rules import launch as launching
    from mpr.training import run_folder

    place = Place.here()
    with place.speaking_once():
        stages = launching.chosen(row, launch.stage, place)
        locate.refuse_missing_bases(row)
        for recipe in stages:
            launching.refuse_contradictions(recipe, place, os.environ)
    target = launch.run or Path("runs") / run_folder.name(row, "trained", launch.fork)
    for recipe in stages:
        if recipe.stage and place.rank == 0:
            run_folder.RunFolder(target).refuse_without_plan()
            log.info("stage %s", recipe.stage)
        _train(recipe, launch, target, place, mined)
        if recipe_plan.is_last(row, recipe) and place.rank == 0:
            run_folder.publish_last_stage(target, recipe)
    return target


def _train(recipe: Recipe, launch: Launch, target: Path, place: Place, mined: Mined | None) -> None:
    """One training: that of the row in its folder, or of a stage of its plan in a folder in there."""
    import torch

    from mpr.data.dataset import Dataset
    from mpr.mining.mine import Mined
    from mpr.recipe.rules import launch as launching
    from mpr.runtime import command, environment, processes
    from mpr.training import run_folder
    from mpr.training._fit import fit

    folder = run_folder.RunFolder(run_folder.of_stage(target, recipe))
    with place.speaking_once():
        launching.refuse_devices(recipe, place, os.environ, torch.cuda.device_count())
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
