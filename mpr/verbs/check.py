"""Before anything runs: check a recipe, plan it, and write the generated pages about recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mpr.errors import MprError
from mpr.verbs.arguments import Home, OneRecipe, Overrides, Recipes, Root


def check(recipes: Recipes, overrides: Overrides = None) -> None:
    """Read recipes strictly and report everything that is wrong with them, each with its line.

    Nothing is downloaded and no model is loaded. Example: mpr check my.yaml quickstart
    """
    from mpr.recipe import read, shipped

    refused = []
    for path in recipes:
        try:
            read.load(shipped.find(path), overrides or ())
        except MprError as error:
            refused.append(error.exit_code)
            typer.echo(str(error), err=True)
    typer.echo(f"{len(recipes) - len(refused)} of {len(recipes)} recipes are good", err=bool(refused))
    if refused:
        raise typer.Exit(max(refused))


def plan(
    recipe: OneRecipe,
    overrides: Overrides = None,
    home: Home = Path(".mpr"),
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Show what a recipe will do and cost before it does anything: pins, steps, downloads, memory, disk, hours.

    A line `warning` says what this machine has too little of. Costs are predictions; docs/plan.md has the formulas.
    Example: mpr plan recipes/trec_bce_m3.yaml
    """
    from mpr import storage
    from mpr.recipe import plan as plans
    from mpr.recipe import read
    from mpr.runtime import environment

    made = plans.resolve(read.load(recipe, overrides or ()))
    if as_json:
        import dataclasses
        import json

        typer.echo(json.dumps(dataclasses.asdict(made), indent=1))
        return
    typer.echo(str(made), nl=False)
    memory, free = environment.memory_bytes(), storage.free_bytes(home)
    typer.echo(f"{'here':<12}{memory / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB free under {home}")
    for what, shortage in made.shortages(memory, free).items():
        fix = "; `mpr reproduce --no-bm25` leaves it out" if what == plans.BM25_BASELINE else ""
        typer.echo(f"{'warning':<12}{shortage}{fix}")


def reference(
    write: Annotated[bool, typer.Option("--write/--check", help="Write the pages anew, or compare them.")] = False,
    root: Root = Path(),
) -> None:
    """Write or check the generated pages: recipes/README.md, recipes/schema.json and the plan of every recipe.

    For work on mpr itself, in its source tree. Example: mpr reference --write
    """
    from mpr.recipe import reference as pages

    if write:
        changed = pages.write(root)
        for path in changed:
            typer.echo(f"written: {path}")
        typer.echo(f"{len(changed)} pages changed")
    else:
        typer.echo(f"{pages.check(root)} pages are what the code says")
