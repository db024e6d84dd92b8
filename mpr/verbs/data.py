"""The data of a recipe: bring it to this disk, and audit it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from mpr.verbs.arguments import Home, NoWait, OneRecipe, Overrides, Quiet


def data(
    recipe: OneRecipe,
    overrides: Overrides = None,
    home: Home = Path(".mpr"),
    quiet: Quiet = False,
    no_wait: NoWait = False,
) -> None:
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
    no_wait: NoWait = False,
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
