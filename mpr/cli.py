"""The command line. Each command imports what it needs when it runs, so that `mpr --help` answers at once."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from mpr import __version__
from mpr.errors import Interrupted, MprError

app = typer.Typer(
    name="mpr",
    help="Train and reproduce dense retrievers with several positive passages per question. "
    "A recipe is one row of a table: check it, plan it, look at its data, run it.",
    epilog="Exit codes: 0 done, 2 recipe or data refused, 3 numbers refused, 4 storage refused, "
    "75 interrupted (run the same command again), 1 a bug in mpr.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Recipes = Annotated[list[Path], typer.Argument(help="Recipe files.", metavar="RECIPE...")]
OneRecipe = Annotated[Path, typer.Argument(help="A recipe; recipes/README.md explains every key.", metavar="RECIPE")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a key, for example --set draw.positives.m=2. Recorded.", metavar="KEY=VALUE"),
]
Home = Annotated[
    Path,
    typer.Option(help="Where prepared data is kept; $MPR_HOME if set.", envvar="MPR_HOME", metavar="FOLDER"),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"mpr {__version__}")
        raise typer.Exit


@app.command()
def check(recipes: Recipes, overrides: Overrides = None) -> None:
    """Read recipes strictly and report everything that is wrong with them, each with its line.

    Nothing is downloaded and no model is loaded. Example: mpr check recipes/*.yaml
    """
    from mpr import recipe_file

    refused = []
    for path in recipes:
        try:
            recipe_file.load(path, overrides or ())
        except MprError as error:
            refused.append(error.exit_code)
            typer.echo(str(error), err=True)
    typer.echo(f"{len(recipes) - len(refused)} of {len(recipes)} recipes are good", err=bool(refused))
    if refused:
        raise typer.Exit(max(refused))


@app.command()
def plan(
    recipe: OneRecipe,
    overrides: Overrides = None,
    home: Home = Path(".mpr"),
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Show what a recipe will do and cost before it does anything: pins, steps, GPU memory, disk, hours.

    Costs are predictions; docs/plan.md has the formulas. Example: mpr plan recipes/trec_bce_m3.yaml
    """
    from mpr import plan as plans
    from mpr import recipe_file, storage

    made = plans.resolve(recipe_file.load(recipe, overrides or ()))
    if as_json:
        import dataclasses
        import json

        typer.echo(json.dumps(dataclasses.asdict(made), indent=1))
        return
    typer.echo(str(made), nl=False)
    typer.echo(f"{'free here':<12}{storage.free_bytes(home) / 1e9:.1f} GB under {home}")


@app.command()
def data(recipe: OneRecipe, overrides: Overrides = None, home: Home = Path(".mpr"), quiet: Quiet = False) -> None:
    """Bring a recipe's data to this disk: corpus, questions, positives and token ids, each verified and committed.

    What is already there is used again. Example: mpr data recipes/quickstart.yaml
    """
    from mpr import recipe_file
    from mpr.dataset import Dataset

    started = time.monotonic()
    dataset = Dataset(recipe_file.load(recipe, overrides or ()), home, quiet)
    built = dataset.prepare()
    for name, store in built.items():
        dropped = {reason: count for reason, count in store.manifest.receipt.get("dropped", {}).items() if count}
        note = "; dropped " + ", ".join(f"{count:,} {reason}" for reason, count in dropped.items()) if dropped else ""
        typer.echo(f"{name:<22} {len(store):>12,}  {store.manifest.digest[:12]}  {store.folder}{note}")
    typer.echo(f"verified {len(built)} stores in {time.monotonic() - started:.1f} s")


@app.command()
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
    from mpr import audit as audits
    from mpr import audit_report, recipe_file, storage
    from mpr.dataset import Dataset

    found = audits.audit(Dataset(recipe_file.load(recipe, overrides or ()), home, quiet), scan=scan)
    typer.echo(audit_report.text(found), nl=False)
    if picture is not None:
        storage.write_file(picture, audit_report.picture(found, "png" if picture.suffix == ".png" else "svg"))
        typer.echo(f"picture: {picture}")


@app.command()
def reference(
    write: Annotated[bool, typer.Option("--write/--check", help="Write the pages anew, or compare them.")] = False,
    root: Annotated[Path, typer.Option(help="Folder of the source tree.", metavar="FOLDER")] = Path(),
) -> None:
    """Write or check the generated pages: recipes/README.md, recipes/schema.json and the plan of every recipe.

    For work on mpr itself, in its source tree. Example: mpr reference --write
    """
    from mpr import reference as pages

    if write:
        changed = pages.write(root)
        for path in changed:
            typer.echo(f"written: {path}")
        typer.echo(f"{len(changed)} pages changed")
    else:
        typer.echo(f"{pages.check(root)} pages are what the code says")


def main(arguments: list[str] | None = None) -> None:
    """Entry of the `mpr` command: refusals are one screen without a traceback, with their exit code."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads cost 3 to 5 times on a busy machine
    try:
        result: Any = app(arguments, standalone_mode=False)
    except typer.Exit as leaving:
        sys.exit(leaving.exit_code)
    except MprError as error:
        typer.echo(f"mpr: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("mpr: interrupted; run the same command again to continue", err=True)
        sys.exit(Interrupted.exit_code)
    except Exception as error:
        usage = getattr(error, "format_message", None)  # click's own refusals of bad arguments
        if usage is None:
            raise
        typer.echo(f"mpr: {usage()} (see mpr --help)", err=True)
        sys.exit(2)
    sys.exit(result if isinstance(result, int) else 0)


if __name__ == "__main__":
    main()
