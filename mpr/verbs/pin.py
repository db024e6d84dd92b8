"""What nobody has pinned: find it, and write it into the lock of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mpr.verbs.arguments import Home, OneRecipe, Overrides, Quiet


def pin(
    recipe: OneRecipe,
    overrides: Overrides = None,
    home: Home = Path(".mpr"),
    renew: Annotated[
        bool, typer.Option("--renew", help="Look everything up anew, whatever the lock says now.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Pin what nobody has pinned: files by SHA-256, models and data sets of the Hub by their newest commit.

    Reads the recipe, downloads or finds its files, and writes <recipe>.lock beside it: what was found, and where it
    came from. With the lock the recipe needs no `draft: true`; its rows say that their maker pinned these inputs. A
    file that then differs is refused. docs/data.md says more.
    Example: mpr pin my.yaml --set data.corpus.folder=FOLDER
    """
    from mpr.data import pinning

    made = pinning.pin(recipe, home, overrides or (), renew=renew, quiet=quiet)
    for found in made.found:
        typer.echo(str(found))
    for problem in made.left:
        typer.echo(f"cannot be pinned: {problem}", err=True)
    if not made.found and not made.kept:
        typer.echo(f"nothing to pin in {recipe}" + ("" if made.left else ": everything is pinned"))
    else:
        typer.echo(f"{made.file}: {len(made.found)} new pins, {len(made.kept)} that were there")
    if made.left:
        raise typer.Exit(2)
    if made.is_draft:
        typer.echo(f"now remove `draft: true` from {recipe}: its rows can be published, and say who pinned what")
