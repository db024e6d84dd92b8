"""Trains a recipe: `accelerate launch mpr/train.py RECIPE`, `python -m mpr.train RECIPE` or `mpr train RECIPE`.

Running the same command again continues where the run stopped. What is left is a run folder whose `model/` every later
command accepts.
"""

from __future__ import annotations

import os
import sys

if __package__ in (None, ""):  # launched by path: this folder is first on sys.path and would shadow libraries
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import argparse
import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpr.errors import Interrupted, MprError, RecipeError

log = logging.getLogger("mpr.train")
IGNORED = (
    "per_device_train_batch_size",
    "num_train_epochs",
    "max_steps",
)  # a draw is the batch; the plan has the steps


@dataclass(frozen=True)
class Launch:
    """What the command line says."""

    recipe: Path
    overrides: tuple[str, ...] = ()
    home: Path = Path(".mpr")
    run: Path | None = None
    fork: str | None = None
    quiet: bool = False


def run(launch: Launch) -> Path:
    """Trains to the end, or raises Interrupted after committing a checkpoint; returns the run folder."""
    from mpr import recipe_file
    from mpr.run_folder import RunFolder

    recipe = recipe_file.load(launch.recipe, launch.overrides)
    rank, world = _processes(recipe.scale.processes)
    name = f"{recipe.name}-seed{recipe.training['seed']}" + (f"-{launch.fork}" if launch.fork else "")
    folder = RunFolder(launch.run or Path("runs") / name)
    if (folder.model / "manifest.json").exists():
        log.info("already trained: %s", folder.model)
        return folder.folder
    if rank == 0:
        with folder.held():
            _train(launch, recipe, folder, (rank, world))
    else:
        _train(launch, recipe, folder, (rank, world))
    return folder.folder


def _processes(wanted: int) -> tuple[int, int]:
    """(this process, processes) as the launcher set them; a launcher that started fewer than asked for is refused."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if world != wanted:
        what = f"the recipe is for {wanted} processes, {world} were started"
        fix = (
            f"torchrun --nproc_per_node {wanted} -m mpr.train RECIPE; or accelerate launch --multi_gpu --num_processes"
        )
        if wanted == 1:
            fix = "start one process, or change scale.processes and per_device_train_batch_size together"
        raise RecipeError(what, key="scale.processes", fix=fix)
    return rank, world


def _train(launch: Launch, recipe: Any, folder: Any, share: tuple[int, int]) -> None:
    import torch

    from mpr import environment
    from mpr.dataset import Dataset
    from mpr.run_folder import identity
    from mpr.training_run import TrainingRun

    arguments = training_arguments(recipe, folder.folder, torch.cuda.is_available(), launch.quiet)
    environment.seed_everything(recipe.training["seed"])
    dataset = Dataset(recipe, launch.home, launch.quiet or share[0] > 0)
    if share[0] == 0:
        dataset.prepare_training()
    arguments.distributed_state.wait_for_everyone()
    digests = {role: store.manifest.digest for role, store in dataset.prepare_training().items()}
    if share[0] == 0:
        folder.claim(identity(recipe, digests, share[1]))
    arguments.distributed_state.wait_for_everyone()
    finished = TrainingRun(recipe, dataset, folder, share, arguments).run()
    if not finished:
        command = " ".join(shlex.quote(word) for word in sys.argv)
        raise Interrupted("stopped on request; a checkpoint was committed", fix=f"to continue, run again: {command}")


def training_arguments(recipe: Any, folder: Path, cuda: bool, quiet: bool) -> Any:
    """transformers' TrainingArguments with what the recipe says and what a draw-based run needs."""
    from transformers import TrainingArguments

    from mpr import schedule

    given = {name: value for name, value in recipe.training.items() if name not in IGNORED}
    if not cuda and given.get("fp16"):
        what = "fp16 needs a GPU and none is visible"
        raise RecipeError(
            what, key="training.fp16", fix="--set training.fp16=false, or bf16 where the processor has it"
        )
    updates = schedule.updates(recipe)
    given |= {
        "output_dir": str(folder),
        "per_device_train_batch_size": 1,
        "max_steps": updates if updates is not None else -1,
        "remove_unused_columns": False,
        "ddp_find_unused_parameters": False,
        "ddp_broadcast_buffers": False,
        "logging_nan_inf_filter": False,
        "use_cpu": given.get("use_cpu", not cuda),
        "report_to": given.get("report_to", "none"),
        "disable_tqdm": given.get("disable_tqdm", quiet),
    }
    return TrainingArguments(**given)


def parse(arguments: Sequence[str]) -> Launch:
    parser = argparse.ArgumentParser(prog="mpr train", description=__doc__)
    parser.add_argument("recipe", type=Path, help="a recipe; recipes/README.md explains every key")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key; recorded")
    parser.add_argument("--home", type=Path, default=Path(os.environ.get("MPR_HOME", ".mpr")), help="prepared data")
    parser.add_argument("--run", type=Path, help="run folder; default runs/<recipe>-seed<seed>")
    parser.add_argument("--fork", metavar="NAME", help="start another run folder of the same recipe")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    found = parser.parse_args(arguments)
    return Launch(found.recipe, tuple(found.set), found.home, found.run, found.fork, found.quiet)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry of all three spellings."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        folder = run(parse(sys.argv[1:] if arguments is None else arguments))
    except MprError as error:
        print(f"mpr: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    print(f"trained: {folder}")


if __name__ == "__main__":
    main()
