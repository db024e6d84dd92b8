"""From candidates to a trained model: mine, train, merge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mpr.errors import RecipeError
from mpr.verbs.arguments import (
    Address,
    Engine,
    Fork,
    Home,
    NoWait,
    OneRecipe,
    Overrides,
    Quiet,
    RunFolder,
    StageName,
)

if TYPE_CHECKING:
    from mpr.data.pair_labels import Knowledge


def mine(
    recipe: OneRecipe,
    overrides: Overrides = None,
    home: Home = Path(".mpr"),
    quiet: Quiet = False,
    no_wait: NoWait = False,
    folder: RunFolder = None,
    stage: StageName = None,
    engine: Engine = "local",
    engine_address: Address = None,
) -> None:
    """Propose candidates for every training question and take known positives out; a stopped run goes on.

    Training mines by itself what is missing. Of a plan one stage is mined, when those before it are trained.
    Several processes share the work:
    torchrun --nproc_per_node 2 -m mpr.cli mine RECIPE. Several machines: mpr mine RECIPE --engine ray.
    Example: mpr mine recipes/mini/trec_lead3_joint_lh_m3.yaml
    """
    from mpr import engines
    from mpr.data.dataset import Dataset
    from mpr.mining import mine as mining
    from mpr.recipe import read, stages
    from mpr.runtime.processes import Place
    from mpr.training import run_folder

    place = Place.here()
    with place.speaking_once():
        row = read.load(recipe, overrides or ())
        found = stages.stage_of(row, stage)
    models = run_folder.models(folder or Path("runs") / run_folder.name(row, "trained"), found)
    with engines.opened(engine, engine_address, home) as group:
        dataset = Dataset(found, home, quiet or place.rank > 0, models)
        mined = mining.Mined(dataset, group=group).make()
    for name, table in mined.tables.items() if place.rank == 0 else ():
        typer.echo(f"{name:<12} {table.summary()}  {table.manifest.digest[:12]}  {table.folder}")
    if place.rank == 0 and found.cross_encoders:
        typer.echo("labels ask a cross-encoder: `mpr label RECIPE` runs it, or training does by itself")
    elif place.rank == 0:
        _say_labels(mined.knowledge)
    if not mined.tables and place.rank == 0:
        typer.echo("nothing to mine: candidates came with the records, or every step searches for them")


def _say_labels(known: Knowledge) -> None:
    """What each label did, and by which store."""
    for label, counts in known.counts.items():
        typer.echo(f"label {label:<6} " + ", ".join(f"{count:,} {what}" for what, count in counts.items()))


def label(
    recipe: OneRecipe,
    split: Annotated[
        str, typer.Option(help="`train`, `validation`, or the name of an evaluation split.", metavar="NAME")
    ] = "train",
    overrides: Overrides = None,
    home: Home = Path(".mpr"),
    quiet: Quiet = False,
    no_wait: NoWait = False,
    folder: RunFolder = None,
    stage: StageName = None,
    engine: Engine = "local",
    engine_address: Address = None,
) -> None:
    """Apply the labels of a recipe, running the cross-encoders that they ask; a stopped run goes on.

    Mines first what is missing. Training labels by itself what is not labelled yet.
    Several processes share the work: torchrun --nproc_per_node 2 -m mpr.cli label RECIPE.
    Several machines share the work: mpr label RECIPE --engine ray.
    Example: mpr label RECIPE --set labels.1.scores.cross_encoder=runs/reader-seed42/model
    """
    from mpr import engines
    from mpr.data.dataset import Dataset
    from mpr.mining import mine as mining
    from mpr.recipe import read, stages
    from mpr.runtime.processes import Place
    from mpr.training import run_folder

    place = Place.here()
    with place.speaking_once():
        row = read.load(recipe, overrides or ())
        found = stages.stage_of(row, stage)
    models = run_folder.models(folder or Path("runs") / run_folder.name(row, "trained"), found)
    dataset = Dataset(found, home, quiet or place.rank > 0, models)
    if split not in dataset.splits.names:
        raise RecipeError(f"no split '{split}'", key="--split", fix=f"known: {', '.join(dataset.splits.names)}")
    with engines.opened(engine, engine_address, home) as group:
        known = mining.Mined(dataset, split, group=group).make().knowledge
    if place.rank > 0:
        return
    _say_labels(known)
    for store in {store.folder: store for store in known.stores.values() if store.folder is not None}.values():
        typer.echo(f"scores       {len(store):,} pairs  {store.digest[:12]}  {store.folder}")
    if not known.counts:
        typer.echo("nothing to label: the recipe has known_positives only")


def train(
    recipe: OneRecipe,
    overrides: Overrides = None,
    home: Home = Path(".mpr"),
    folder: RunFolder = None,
    fork: Fork = None,
    quiet: Quiet = False,
    no_wait: NoWait = False,
    stage: StageName = None,
) -> None:
    """Train a recipe in this process, with a plan stage by stage; the same command goes on where a run was stopped.

    For several processes: accelerate launch mpr/train.py RECIPE, with a launch file of recipes/accelerate/.
    Example: mpr train recipes/quickstart.yaml
    """
    from mpr.recipe import read
    from mpr.runtime import command
    from mpr.runtime.processes import Place
    from mpr.training.launch import Launch, run

    command.tell()
    with Place.here().speaking_once():
        row = read.load(recipe, overrides or ())
    typer.echo(f"trained: {run(row, Launch(home, folder, fork, quiet, stage))}")


def merge(
    model: Annotated[Path, typer.Argument(help="The `model` folder of a run with LoRA.", metavar="MODEL")],
    target: Annotated[Path, typer.Argument(help="Where the merged model goes.", metavar="TARGET")],
    base: Annotated[
        Path | None, typer.Option(help="Folder of the base, where it is not on the Hub.", metavar="FOLDER")
    ] = None,
    passage_base: Annotated[
        Path | None, typer.Option(help="The same of the passage encoder's base.", metavar="FOLDER")
    ] = None,
) -> None:
    """Write a copy of a model with its LoRA adapters added to the weights, so that it needs no base.

    Example: mpr merge runs/my-seed42/model my-model
    """
    from mpr.models import towers_folder

    towers_folder.merge(model, target, base, passage_base)
    typer.echo(f"merged: {target}")
