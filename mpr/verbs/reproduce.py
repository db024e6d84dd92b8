"""A whole row: reproduce it, see how far it is, verify that it is still what it was."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mpr.errors import NumbersError, RecipeError, StorageError
from mpr.verbs.arguments import Address, Engine, Fork, Home, NoWait, OneRecipe, Overrides, Quiet

Run = Annotated[Path, typer.Argument(help="A run folder: runs/<recipe>-seed<n>.", metavar="RUN")]


def reproduce(
    recipe: OneRecipe,
    overrides: Overrides = None,
    home: Home = Path(".mpr"),
    runs: Annotated[Path, typer.Option(help="Where run folders are made.", metavar="FOLDER")] = Path("runs"),
    seeds: Annotated[int, typer.Option(help="How many seeds, counted up from the recipe's.", min=1, max=1000)] = 1,
    parallel: Annotated[
        int, typer.Option(help="So many runs side by side on this machine, each with its share of the cores.", min=1)
    ] = 1,
    baselines: Annotated[bool, typer.Option(help="Also BM25 and the untrained start, to stand beside the row.")] = True,
    bm25: Annotated[bool, typer.Option(help="BM25 among the baselines: its index takes memory (`mpr plan`).")] = True,
    untrained: Annotated[bool, typer.Option(help="The start among them: the corpus is encoded twice.")] = True,
    older_code: Annotated[
        bool, typer.Option("--older-code", help="Keep stages that other code made; the result says so.")
    ] = False,
    memory: Annotated[float, typer.Option(help="GB that a search may take; it changes no result.", metavar="GB")] = 2.0,
    fork: Fork = None,
    engine: Engine = "local",
    engine_address: Address = None,
    quiet: Quiet = False,
    no_wait: NoWait = False,
) -> None:
    """Make a row: data, candidates, training, vectors, ranking, scores, each with a receipt; then print the row.

    The trained runs come first, then the baselines: BM25, and the model before training.
    Stop it anywhere and run it again: what is done and verifies is kept, everything else is done again and it says why.
    A run above or below the `expected` band of the recipe ends with exit code 3; everything is kept. A recipe without
    training (recipes/checkpoints/) measures published encoders: values off the published ones end with code 3 too.
    With --parallel a run that fails does not stop the others; the exit code is that of the first that failed.
    Example: mpr reproduce recipes/quickstart.yaml --seeds 3 --parallel 2
    """
    from mpr import engines
    from mpr.rows import reproduction
    from mpr.runtime import command
    from mpr.runtime.processes import Place

    command.tell()
    if Place.here().world > 1:
        what = "a row is made by one process, and a launcher started several"
        fix = "start it by itself; encode, search and mine can be launched alone, and --engine ray has many machines"
        raise RecipeError(what, key="mpr reproduce", fix=fix)
    if parallel > 1 and engine != "local":
        what = f"runs side by side are processes of this machine, and the engine is {engine}"
        raise RecipeError(what, key="--parallel", fix="leave it out, or --engine")
    if no_wait and parallel > 1:
        what = "runs side by side wait for the stores that they share"
        raise RecipeError(what, key="--no-wait", fix="leave it out, or --parallel")
    wanted = [name for name, is_wanted in (("bm25", bm25), ("untrained", untrained)) if baselines and is_wanted]
    with engines.opened(engine, engine_address, home, runs) as group:
        made = reproduction.reproduce(
            recipe, overrides or (), home, runs, typer.echo, fork=fork, seeds=seeds, baselines=wanted,
            older_code=older_code, budget=int(memory * 1e9), quiet=quiet, parallel=parallel, group=group,
        )  # fmt: skip
    typer.echo(str(made), nl=False)
    typer.echo(made.next_commands(recipe), nl=False)
    if made.failed is not None:
        raise made.failed
    if outside := list(made.outside()):
        raise NumbersError(outside)


def status(run: Run, home: Home = Path(".mpr")) -> None:
    """Show which stages of a run are done, what is lost, and how far training is. Nothing is hashed.

    Of a finished run also what its plan predicted, beside what was measured (docs/plan.md).
    """
    from mpr.rows import forecast, pipeline

    if not run.is_dir():
        raise StorageError(
            "there is no such run folder", where=str(run), fix="see runs/, or start with `mpr reproduce`"
        )
    for line in pipeline.status(run, home):
        typer.echo(line)
    is_finished = (run / "result.json").exists()
    typer.echo("result    " + ("there" if is_finished else "not there"))
    for line in forecast.compared(run, home) if is_finished else ():
        typer.echo(line)


def verify(run: Run, home: Home = Path(".mpr"), quiet: Quiet = False) -> None:
    """Hash every byte that a run left, compute its scores anew from its ranking, and list everything that differs."""
    from mpr.rows import verification

    problems = verification.mismatches(verification.opened(run, home, quiet))
    if problems:
        raise StorageError(problems)
    typer.echo(f"{run}: every byte and every score is as its receipts say")
