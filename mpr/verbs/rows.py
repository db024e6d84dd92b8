"""A whole row: reproduce it, see where it stands, verify that it is still what it was."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mpr.errors import NumbersError, RecipeError, StorageError
from mpr.verbs.arguments import Home, OneRecipe, Overrides, Quiet

if TYPE_CHECKING:
    from mpr.rows.result import Result

Run = Annotated[Path, typer.Argument(help="A run folder: runs/<recipe>-seed<n>.", metavar="RUN")]


def reproduce(
    recipe: OneRecipe,
    overrides: Overrides = None,
    home: Home = Path(".mpr"),
    runs: Annotated[Path, typer.Option(help="Where run folders are made.", metavar="FOLDER")] = Path("runs"),
    seeds: Annotated[int, typer.Option(help="How many seeds, counted up from the recipe's.", min=1, max=1000)] = 1,
    baselines: Annotated[bool, typer.Option(help="Also the untrained start and BM25, to stand beside the row.")] = True,
    older_code: Annotated[
        bool, typer.Option("--older-code", help="Keep stages that other code made; the result says so.")
    ] = False,
    memory: Annotated[float, typer.Option(help="GB that a search may take; it changes no result.", metavar="GB")] = 2.0,
    quiet: Quiet = False,
) -> None:
    """Make a row: data, candidates, training, vectors, ranking, scores, each with a receipt; then print the row.

    Stop it anywhere and run it again: what is done and verifies is kept, everything else is done again and it says why.
    A run above or below the `expected` band of the recipe ends with exit code 3; everything is kept.
    Example: mpr reproduce recipes/quickstart.yaml --seeds 3
    """
    import logging

    from mpr.recipe import read as recipe_file
    from mpr.recipe.keys import SCORERS
    from mpr.rows.pipeline import Pipeline
    from mpr.rows.reproduction import Reproduction, chosen
    from mpr.rows.stages import Row
    from mpr.training import run_folder

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    given = list(overrides or ())
    read = recipe_file.load(recipe, given)
    if read.task in SCORERS:
        what = f"{SCORERS[read.task]} cannot search, so it has no row of its own"
        fix = "train it with `mpr train`, and name its model under `scores` of a label"
        raise RecipeError(what, where=str(recipe), key="task", fix=fix)
    first = int(read.training["seed"])
    rows = [(system, first) for system in ("bm25", "untrained") if baselines]
    rows += [("trained", first + number) for number in range(seeds)]
    found: dict[str, list[tuple[Path, Result]]] = {"trained": []}
    for system, seed in rows:
        sets = given if seed == first else [*given, f"training.seed={seed}"]
        one = recipe_file.load(recipe, sets)
        folder = runs / run_folder.name(one, system)
        typer.echo(f"{folder}")
        row = Row(one, recipe, system, home, folder, quiet, int(memory * 1e9))
        made = Pipeline(row, lambda line: typer.echo(f"  {line}"), older_code).run()
        found.setdefault(system, []).append((folder, made))
    results = {system: [made for _, made in entries] for system, entries in found.items()}
    folders = {system: [folder for folder, _ in entries] for system, entries in found.items()}
    made_row = Reproduction(read, results, folders)
    typer.echo(str(made_row), nl=False)
    trained, role = folders["trained"][-1], next(iter(read.data.evaluate))
    typer.echo(f"\nevery byte and score again: mpr verify {trained}\nthe model: {trained / 'model'}")
    if baselines:
        sides = (f"{name}=" + ",".join(f"{one}/scores/{role}" for one in places) for name, places in folders.items())
        typer.echo(f"question by question: mpr compare {' '.join(sides)} --measure {chosen(read)}")
    typer.echo(f"next: copy {recipe} to my.yaml and change a key; recipes/README.md explains them all")
    typer.echo("      mpr check my.yaml; mpr plan my.yaml; mpr reproduce my.yaml --seeds 3")
    if outside := list(made_row.outside()):
        raise NumbersError(outside)


def status(run: Run, home: Home = Path(".mpr")) -> None:
    """Show which stages of a run are done, what is lost, and how far training is. Nothing is hashed."""
    from mpr.rows import pipeline

    if not run.is_dir():
        raise StorageError(
            "there is no such run folder", where=str(run), fix="see runs/, or start with `mpr reproduce`"
        )
    for line in pipeline.standing(run, home):
        typer.echo(line)
    typer.echo("result    " + ("there" if (run / "result.json").exists() else "not there"))


def verify(run: Run, home: Home = Path(".mpr"), quiet: Quiet = False) -> None:
    """Hash every byte that a run left, compute its scores anew from its ranking, and list everything that differs."""
    from mpr.rows import verification

    problems = verification.mismatches(verification.opened(run, home, quiet))
    if problems:
        raise StorageError(problems)
    typer.echo(f"{run}: every byte and every score is as its receipts say")
