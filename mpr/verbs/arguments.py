"""Arguments that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mpr import storage
from mpr.recipe import shipped

Recipes = Annotated[
    list[Path], typer.Argument(help="Recipe files, or names of those that come with mpr.", metavar="RECIPE...")
]
OneRecipe = Annotated[
    Path,
    typer.Argument(
        help="A recipe file, or the name of one that comes with mpr (`quickstart`).",
        metavar="RECIPE",
        parser=shipped.find,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a key, for example --set draw.positives.m=2. Recorded.", metavar="KEY=VALUE"),
]
Home = Annotated[
    Path,
    typer.Option(help="Where prepared data is kept; $MPR_HOME if set.", envvar="MPR_HOME", metavar="FOLDER"),
]


def _set_patience(no_wait: bool) -> bool:
    storage.waits = not no_wait
    return no_wait


NoWait = Annotated[
    bool,
    typer.Option(
        "--no-wait", callback=_set_patience, help="Refuse where another process is at work, instead of waiting for it."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]
StageName = Annotated[
    str | None, typer.Option("--stage", help="Of a recipe with a plan: only this stage.", metavar="NAME")
]
Fork = Annotated[
    str | None, typer.Option("--fork", help="Another run of the same recipe, in a folder beside it.", metavar="NAME")
]
Engine = Annotated[
    str,
    typer.Option(
        "--engine",
        help="Who shares the work: `local`, the processes of this launch, or `ray`, a cluster (docs/machines.md).",
        metavar="NAME",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--engine-address",
        help="Of the cluster; $RAY_ADDRESS if set, otherwise the one that this machine is part of.",
        metavar="HOST:PORT",
    ),
]
Root = Annotated[Path, typer.Option(help="Folder of the source tree.", metavar="FOLDER")]
RunFolder = Annotated[
    Path | None,
    typer.Option("--folder", help="Run folder; default runs/<recipe>-seed<seed>.", metavar="FOLDER"),
]
