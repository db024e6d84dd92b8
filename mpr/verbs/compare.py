"""Several systems side by side, or as one: compare, fuse."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mpr.errors import RecipeError
from mpr.verbs.arguments import Home, OneRecipe, Overrides, Quiet

if TYPE_CHECKING:
    from mpr.evaluation.scores import Scores

_HOME = Path(".mpr")


def compare(
    systems: Annotated[
        list[str],
        typer.Argument(
            help="NAME=FOLDER[,FOLDER...]: folders of scores, one for each seed; the first system is compared with.",
            metavar="NAME=FOLDERS...",
        ),
    ],
    measure: Annotated[str, typer.Option(help="Measure to compare by, such as top20 or ndcg10.")],
    seed: Annotated[int, typer.Option(help="Of the randomisation and the bootstrap.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Say whether one system beats another: paired test, interval, win/tie/loss, and the questions that moved most.

    More than two systems are corrected for (Holm). Example:
    mpr compare bm25=runs/quickstart-bm25/scores/test ours=runs/quickstart-seed42/scores/test --measure top20
    """
    from mpr.evaluation import comparison
    from mpr.evaluation.scores import Scores

    found: dict[str, list[Scores]] = {}
    for text in systems:
        name, _, folders = text.partition("=")
        if not name or not folders or name in found:
            what = f"'{text}' is not NAME=FOLDER[,FOLDER...] with a name of its own"
            raise RecipeError(what, key="SYSTEMS", fix="for example bm25=runs/quickstart-bm25/scores/test")
        found[name] = [Scores.open(Path(folder)) for folder in folders.split(",")]
    if len(found) < 2:
        raise RecipeError("one system cannot be compared", key="SYSTEMS", fix="name two or more")
    compared = comparison.compare(found, measure, against=next(iter(found)), seed=seed)
    typer.echo(compared.json() if as_json else str(compared))


def fuse(
    recipe: OneRecipe,
    runs: Annotated[list[Path], typer.Argument(help="Two or more TREC run files of the same split.", metavar="RUN...")],
    to: Annotated[Path, typer.Option(help="The new folder for run.trec and its receipt.", metavar="FOLDER")],
    weights: Annotated[
        str | None, typer.Option(help="One for each run: DPR's hybrid of BM25 and dense is 1,1.1.", metavar="W,W...")
    ] = None,
    missing: Annotated[
        str | None,
        typer.Option(
            help="Score of a passage in a list without it: minimum (the list's lowest, as Pyserini) or zero (CombSUM).",
            metavar="RULE",
        ),
    ] = None,
    reciprocal: Annotated[bool, typer.Option("--reciprocal", help="Add reciprocal ranks instead of scores.")] = False,
    constant: Annotated[
        float | None, typer.Option(help="Added to each rank; 60 if not given.", metavar="NUMBER")
    ] = None,
    depth: Annotated[
        int | None, typer.Option(help="Passages kept of each question; default the recipe's search.depth.", metavar="K")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="The evaluation split, by its name in the recipe.", metavar="NAME")
    ] = None,
    overrides: Overrides = None,
    home: Home = _HOME,
    quiet: Quiet = False,
) -> None:
    """Make one ranking of several: a weighted sum of scores, or of reciprocal ranks; any system's run files will do.

    Example: mpr fuse RECIPE bm25.trec dense.trec --weights 1,1.1 --missing minimum --to runs/hybrid
    """
    from mpr.data.dataset import Dataset
    from mpr.evaluation import fusion
    from mpr.recipe import read

    rule = fusion.Rule.of(len(runs), weights, missing, reciprocal, constant)
    found = read.load(recipe, overrides or ())
    known = list(found.data.evaluate)
    role = known[0] if split is None and len(known) == 1 else split
    if role not in known:
        what = "runs are of one split" if role is None else f"no evaluation split '{role}'"
        raise RecipeError(what, key="--split", fix=f"name it: {', '.join(known)}")
    kept = found.search.depth if depth is None else depth
    fused = fusion.fuse_files(runs, Dataset(found, home, quiet), role, rule, kept, to, typer.echo)
    file = to / fusion.RUN_FILE
    typer.echo(f"fused: {file} ({rule}; {len(fused.passage_N):,} passages, {kept:,} a question at most)")
    again = ["mpr", "evaluate", str(recipe), *(word for each in overrides or () for word in ("--set", each))]
    again += ["--home", str(home)] if home != _HOME else []
    again += ["--run", str(file), "--split", role, "--folder", f"{to}-scored"]  # a store takes no further files
    typer.echo(f"score it: {shlex.join(again)}")
