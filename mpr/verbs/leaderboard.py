"""The leaderboard: build or check it, add a run, note a failure, write the band of a recipe."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from mpr.verbs.arguments import OneRecipe, Root

app = typer.Typer(
    help="The table of all rows: leaderboard/README.md, made from results that runs left, never by hand.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Board = Annotated[
    Path | None,
    typer.Option(help="A board of your own, anywhere: its recipes and leaderboard/ lie in it.", metavar="FOLDER"),
]
Runs = Annotated[list[Path], typer.Argument(help="Run folders: runs/<recipe>-seed<n>.", metavar="RUN...")]


@app.command()
def build(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; refuse any edit since the build.")] = False,
    figures: Annotated[bool, typer.Option("--figures", help="Draw every picture anew.")] = False,
    root: Root = Path(),
    board: Board = None,
) -> None:
    """Write the page, its pictures and its lock from results and recipes, or check that nobody edited any of them.

    With --board the page of your own board is FOLDER/leaderboard/README.md. Example: mpr leaderboard build --check
    """
    from mpr.publishing import board_lock

    started = time.monotonic()
    if check:
        typer.echo(f"{board_lock.check(board or root, own=board is not None)} ({time.monotonic() - started:.1f} s)")
        return
    changed = board_lock.build(board or root, figures, own=board is not None)
    for path in changed:
        typer.echo(f"written: {path}")
    typer.echo(f"{len(changed)} files of the leaderboard changed")


@app.command()
def add(
    runs: Runs,
    replace: Annotated[bool, typer.Option("--replace", help="In place of another result of the same seed.")] = False,
    again: Annotated[
        str, typer.Option(help="Somebody ran a row again: 'authors' (repeated), or who (reproduced).", metavar="WHO")
    ] = "",
    checkpoint: Annotated[
        str, typer.Option(help="Where the trained model lies on the Hub.", metavar="OWNER/NAME@COMMIT")
    ] = "",
    root: Root = Path(),
    board: Board = None,
) -> None:
    """Take finished runs into the leaderboard; drafts, dirty code, other recipes and fallbacks are refused.

    A board of your own takes rows of your own, with the recipe that lies in the run folder, and says which are drafts:
    mpr leaderboard add runs/my-seed42 --board my-board.
    Example: mpr leaderboard add runs/quickstart-seed42 runs/quickstart-bm25
    """
    from mpr.publishing import board_entries

    for run in runs:
        changed = board_entries.add(
            board or root, run, replace=replace, again=again, checkpoint=checkpoint, own=board is not None
        )
        typer.echo(f"{run}: {', '.join(map(str, changed)) if changed else 'already there'}")
    typer.echo("now: mpr leaderboard build" + (f" --board {board}" if board else ""))


@app.command()
def fail(
    recipe: OneRecipe,
    why: Annotated[str, typer.Option(help="What happened, at which update, on what.", metavar="TEXT")],
    root: Root = Path(),
) -> None:
    """Note that a row was tried and gave no number; it stays in the table with the reason.

    Example: mpr leaderboard fail recipes/quickstart.yaml --why "loss not finite at update 20 on one CPU"
    """
    from mpr.publishing import board_entries

    typer.echo(f"written: {board_entries.fail(root, recipe, why)}")


@app.command()
def expect(recipe: OneRecipe, root: Root = Path()) -> None:
    """Write the band of one more run into the recipe, from the three or more seeds in the leaderboard.

    Example: mpr leaderboard expect recipes/quickstart.yaml
    """
    from mpr.publishing import board_entries

    for name, band in board_entries.expect(root, recipe).items():
        typer.echo(f"{name}: {band.mean} from {band.low} to {band.high}, {band.seeds} seeds")
