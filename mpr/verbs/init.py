"""The way in: write a recipe for your own data, and list those that come with mpr."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mpr.errors import RecipeError


def init(
    recipe: Annotated[Path, typer.Argument(help="The new file; one that is there is left alone.", metavar="RECIPE")],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Your questions and positives: .jsonl, .json, .csv, .tsv, .parquet, or a saved data set.",
            metavar="FILE",
        ),
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="Your passages; without it, the texts that occur in --data.", metavar="FILE")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(help="The encoder to start from: a folder, or NAME@COMMIT on the Hub.", metavar="MODEL"),
    ] = None,
    copied: Annotated[
        str | None, typer.Option("--from", help="Instead of --data: copy this recipe of mpr.", metavar="NAME")
    ] = None,
) -> None:
    """Write a recipe for your own data: look at the file, say what is in it, and fill in what fits.

    docs/formats.md shows every format. Example: mpr init my.yaml --data my.jsonl
    """
    from mpr.recipe import starter

    if (data is None) == (copied is None):
        fix = "mpr init my.yaml --data my.jsonl, or mpr init my.yaml --from quickstart"
        raise RecipeError("give either your data or the name of a recipe", key="--data, --from", fix=fix)
    if copied is not None:
        if corpus is not None or base is not None:
            raise RecipeError("go with --data", key="--corpus, --base", fix="edit the copy instead")
        starter.copy(recipe, copied, typer.echo)
        typer.echo(f"next: edit it, then mpr check {recipe}; mpr plan {recipe}")
        return
    assert data is not None
    starter.recipe(recipe, data, corpus, base, typer.echo)
    typer.echo(f"next: mpr plan {recipe}; mpr reproduce {recipe}")


def recipes() -> None:
    """List the recipes that come with mpr, each with what it is; every command takes their names.

    Example: mpr recipes
    """
    from mpr.recipe import starter

    found = list(starter.listed())
    width = max(len(name) for name, _ in found)
    for name, about in found:
        typer.echo(f"{name:<{width}}  {about}")
    typer.echo(f"{len(found)} recipes; to copy one: mpr init my.yaml --from NAME")
