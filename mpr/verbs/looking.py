"""Looking before anything runs: check, plan, data, audit, and the generated pages."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from mpr.errors import MprError
from mpr.verbs.arguments import Home, OneRecipe, Overrides, Quiet, Recipes


def check(recipes: Recipes, overrides: Overrides = None) -> None:
    """Read recipes strictly and report everything that is wrong with them, each with its line.

    Nothing is downloaded and no model is loaded. Example: mpr check recipes/*.yaml
    """
    from mpr.recipe import read

    refused = []
    for path in recipes:
        try:
            read.load(path, overrides or ())
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
    """Show what a recipe will do and cost before it does anything: pins, steps, GPU memory, disk, hours.

    Costs are predictions; docs/plan.md has the formulas. Example: mpr plan recipes/trec_bce_m3.yaml
    """
    from mpr import storage
    from mpr.recipe import plan as plans
    from mpr.recipe import read

    made = plans.resolve(read.load(recipe, overrides or ()))
    if as_json:
        import dataclasses
        import json

        typer.echo(json.dumps(dataclasses.asdict(made), indent=1))
        return
    typer.echo(str(made), nl=False)
    typer.echo(f"{'free here':<12}{storage.free_bytes(home) / 1e9:.1f} GB under {home}")


def data(recipe: OneRecipe, overrides: Overrides = None, home: Home = Path(".mpr"), quiet: Quiet = False) -> None:
    """Bring a recipe's data to this disk: corpus, questions, positives and token ids, each verified and committed.

    What is already there is used again. Example: mpr data recipes/quickstart.yaml
    """
    from mpr.data.dataset import Dataset
    from mpr.recipe import read

    started = time.monotonic()
    built: dict[tuple[str, Path], Any] = {}
    for stage in read.load(recipe, overrides or ()).stages:
        built |= {(name, store.folder): store for name, store in Dataset(stage, home, quiet).prepare().items()}
    for (name, _), store in built.items():
        dropped = {reason: count for reason, count in store.manifest.receipt.get("dropped", {}).items() if count}
        note = "; dropped " + ", ".join(f"{count:,} {reason}" for reason, count in dropped.items()) if dropped else ""
        typer.echo(f"{name:<22} {len(store):>12,}  {store.manifest.digest[:12]}  {store.folder}{note}")
    typer.echo(f"verified {len(built)} stores in {time.monotonic() - started:.1f} s")


def audit(
    recipe: OneRecipe,
    overrides: Overrides = None,
    home: Home = Path(".mpr"),
    quiet: Quiet = False,
    picture: Annotated[Path | None, typer.Option(help="Also draw the histograms: an .svg or .png file.")] = None,
    scan: Annotated[
        bool | None,
        typer.Option(
            "--scan/--no-scan", help="Look for every answer in the whole corpus (default: small corpora, no patterns)."
        ),
    ] = None,
) -> None:
    """Look at a recipe's data: positives per question, overlap, duplicates, truncation, answers that match nothing.

    Prepares the data first if needed. Example: mpr audit recipes/quickstart.yaml --picture audit.svg
    """
    from mpr import storage
    from mpr.data import audit as audits
    from mpr.data import audit_report
    from mpr.data.dataset import Dataset
    from mpr.recipe import read

    found = audits.audit(Dataset(read.load(recipe, overrides or ()), home, quiet), scan=scan)
    typer.echo(audit_report.text(found), nl=False)
    if picture is not None:
        storage.write_file(picture, audit_report.picture(found, "png" if picture.suffix == ".png" else "svg"))
        typer.echo(f"picture: {picture}")


def reference(
    write: Annotated[bool, typer.Option("--write/--check", help="Write the pages anew, or compare them.")] = False,
    root: Annotated[Path, typer.Option(help="Folder of the source tree.", metavar="FOLDER")] = Path(),
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
