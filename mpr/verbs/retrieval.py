"""From a trained model to a score and a verdict: encode, search, evaluate, compare."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mpr.errors import DataError, RecipeError
from mpr.verbs.arguments import Home, OneRecipe, Overrides, Quiet, RunFolder

if TYPE_CHECKING:
    from mpr.data.dataset import Dataset
    from mpr.evaluation.ranking import Ranking
    from mpr.evaluation.scores import Scores
    from mpr.rows.retrieval import Retrieval
    from mpr.runtime.processes import Group
    from mpr.search.inference import Model

Untrained = Annotated[
    bool, typer.Option("--untrained", help="The encoders that the recipe starts from, as they are: the baseline.")
]
Words = Annotated[bool, typer.Option("--bm25", help="No model: BM25, the other baseline.")]
Memory = Annotated[float, typer.Option(help="GB that a search may take; it changes no result.", metavar="GB")]


def _opened(
    recipe: Path, overrides: list[str] | None, home: Path, folder: Path | None, quiet: bool, suffix: str, memory: float
) -> Retrieval:
    """The stages of a recipe in its run folder, or in one beside it for a baseline."""
    from mpr.data.dataset import Dataset
    from mpr.recipe import read
    from mpr.rows.retrieval import Retrieval
    from mpr.training import run_folder

    found = read.load(recipe, overrides or ())
    place = folder or Path("runs") / run_folder.name(found, suffix or "trained")
    return Retrieval(Dataset(found, home, quiet), place, int(memory * 1e9))


def _model(stages: Retrieval, place: Path | None) -> Model:
    """The trained model in a folder; without one, the encoders that the recipe starts from."""
    from mpr.search.inference import Model
    from mpr.training import learner

    return learner.untrained(stages.dataset) if place is None else Model.trained(place, stages.recipe.towers)


def _place(stages: Retrieval, model: str | None) -> str:
    """The folder of the trained model: the run's own, another one, or one brought from the Hub."""
    from mpr.models import locate

    dataset: Dataset = stages.dataset
    if model is not None:
        draft = dataset.recipe.draft
        return str(locate.located(model, dataset.home, key="--model", quiet=dataset.quiet, unpinned=draft))
    own = stages.folder / "model"
    if not own.exists():
        fix = "run `mpr train` first, name one with --model, or measure the start with --untrained"
        raise DataError("there is no trained model", where=str(own), fix=fix)
    return str(own)


def encode(
    recipe: OneRecipe,
    overrides: Overrides = None,
    home: Home = Path(".mpr"),
    folder: RunFolder = None,
    model: Annotated[
        str | None,
        typer.Option(help="A model folder, or org/name@<commit> on the Hub; default the run's own.", metavar="MODEL"),
    ] = None,
    untrained: Untrained = False,
    dtype: Annotated[str, typer.Option(help="Vectors are stored as float32, float16 or bfloat16.")] = "float32",
    compute: Annotated[str, typer.Option(help="They are computed in float32, float16 or bfloat16.")] = "float32",
    fallback: Annotated[
        bool, typer.Option("--fallback", help="Compute in parts what does not fit into memory; recorded.")
    ] = False,
    predict: Annotated[bool, typer.Option("--predict", help="Only say what it will take, from a sample.")] = False,
    quiet: Quiet = False,
) -> None:
    """Encode the corpus and the evaluation questions with a trained model; a stopped run goes on.

    Several processes share the work: torchrun --nproc_per_node 2 -m mpr.cli encode RECIPE.
    Example: mpr encode recipes/quickstart.yaml
    """
    from mpr.runtime.processes import Place
    from mpr.search import encode as encoding

    stages = _opened(recipe, overrides, home, folder, quiet, "untrained" if untrained else "", 2.0)
    options = encoding.Options(dtype, compute, encoding.device(Place.here()), fallback=fallback, quiet=quiet)
    with encoding.together() as group:
        group.first(lambda: bool(stages.dataset.prepare_corpus()))  # texts are tokenised once, not by every process
        place = None if untrained else Path(group.first(lambda: _place(stages, model)))  # and a model is brought once
        made = _model(stages, place)
        if predict:
            for name, task in stages.tasks(made, options).items():
                typer.echo(f"{name:<10} {encoding.predict(task, group.place.world)}")
            return
        stores = stages.vectors(made, options, group)
    for name, store in stores.items():
        if Place.here().rank == 0:
            size = f"{len(store):>12,} x {store.width}"
            typer.echo(f"{name:<10} {size}  {store.manifest.digest[:12]}  {store.folder}")


def search(
    recipe: OneRecipe,
    overrides: Overrides = None,
    home: Home = Path(".mpr"),
    folder: RunFolder = None,
    untrained: Untrained = False,
    bm25: Words = False,
    texts: Annotated[
        bool, typer.Option("--texts", help="Also a Parquet table of each run with the texts of what was found.")
    ] = False,
    memory: Memory = 2.0,
    quiet: Quiet = False,
) -> None:
    """Rank the corpus for every evaluation question; writes TREC run files that any tool reads.

    Several processes share the work: torchrun --nproc_per_node 2 -m mpr.cli search RECIPE.
    Example: mpr search recipes/quickstart.yaml --bm25
    """
    stages = _opened(recipe, overrides, home, folder, quiet, _suffix(untrained, bm25), memory)
    with _together(stages) as group:
        for role in stages.recipe.data.evaluate:
            ranking = _ranked(stages, role, bm25, group)
            if texts:
                group.first(partial(_with_texts, stages, role, ranking))
            if group.place.rank == 0:
                recall = stages.recall(role)
                typer.echo(f"{role:<10} {stages.ranking_file(role)}" + (f"\n{'':<10} {recall}" if recall else ""))


@contextmanager
def _together(stages: Retrieval) -> Iterator[Group]:
    """The processes that a launcher started, of which the first one speaks. One by itself needs no torch for that."""
    from mpr.runtime.processes import Group, Place

    place = Place.here()
    stages.dataset.quiet |= place.rank > 0
    if place.world == 1:
        yield Group(place)
        return
    from mpr.search import encode as encoding

    with encoding.together() as group:
        yield group


def _with_texts(stages: Retrieval, role: str, ranking: Ranking) -> None:
    """The ranking as a table, named after the ranking so that one of another is found out."""
    from mpr import storage
    from mpr.evaluation import ranking_table

    target = stages.ranking_file(role).parent.with_name(f"{role}-texts")
    tag = f"{stages.recipe.name}@{stages.receipt(role)['ranking'][:12]}"
    if not target.exists():
        ranking_table.write(target, ranking, stages.dataset.split(role), stages.dataset.corpus(), tag)
    elif storage.verify(target, ranking_table.KIND).receipt["tag"] != tag:
        raise DataError("has the texts of another ranking", where=str(target), fix="remove it, and search again")
    typer.echo(f"{'':<10} {target / ranking_table.FILE}")


def _suffix(untrained: bool, bm25: bool) -> str:
    if untrained and bm25:
        raise RecipeError("--untrained and --bm25 are two baselines", key="--bm25", fix="ask for one at a time")
    return "untrained" if untrained else "bm25" if bm25 else ""


def _ranked(stages: Retrieval, role: str, bm25: bool, group: Group) -> Ranking:
    dataset = stages.dataset
    count = group.first(lambda: len(dataset.split(role)))
    with dataset.bar(f"search {role}", count) as progress:
        if bm25:
            return stages.search_words(role, progress, group)
        from mpr.search import encode as encoding

        return stages.search(role, encoding.device(group.place), progress, group)


def evaluate(
    recipe: OneRecipe,
    overrides: Overrides = None,
    home: Home = Path(".mpr"),
    folder: RunFolder = None,
    untrained: Untrained = False,
    bm25: Words = False,
    run: Annotated[
        Path | None, typer.Option(help="Score this TREC run, whoever made it, instead.", metavar="FILE")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Only this evaluation split, by its name in the recipe.", metavar="NAME")
    ] = None,
    drop_self: Annotated[
        bool, typer.Option("--drop-self", help="Leave out a passage that has the id of its question, as BEIR does.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
    memory: Memory = 2.0,
    quiet: Quiet = False,
) -> None:
    """Score rankings by the recipe's measures: over which questions, by which rules, with every question's score kept.

    Searches first what was not searched yet. Example: mpr evaluate recipes/quickstart.yaml
    """
    stages = _opened(recipe, overrides, home, folder, quiet, _suffix(untrained, bm25), memory)
    found: dict[str, str] = {}
    with _together(stages) as group:
        for role in _roles(stages, split, run):
            ranking = None if run else _ranked(stages, role, bm25, group)
            found[role] = group.first(partial(_scored, stages, role, ranking, run, drop_self, as_json))
    if as_json and group.place.rank == 0:
        typer.echo(json.dumps({role: json.loads(text) for role, text in found.items()}, indent=1))


def _scored(stages: Retrieval, role: str, own: Ranking | None, run: Path | None, drop_self: bool, as_json: bool) -> str:
    """Scores of a ranking that was searched here, or of a run file: kept, shown, and as JSON."""
    from mpr import storage
    from mpr.evaluation.ranking import Ranking

    if own is not None:
        ranking, name, receipt, place = own, stages.folder.name, stages.receipt(role), role
    else:
        assert run is not None
        ranking, name, place = Ranking.read(run, stages.dataset.corpus()), run.stem, f"{role}-{run.stem}"
        receipt = {"run file": storage.remembered_sha256(run)}
    target = stages.folder / "scores" / place
    scores = stages.evaluate(role, ranking, name, receipt, own=own is not None, drop_self=drop_self)
    scores.keep(target)
    if not as_json:
        typer.echo(f"{scores}\nscores: {target}")
    return scores.json()


def _roles(stages: Retrieval, split: str | None, run: Path | None) -> list[str]:
    """The evaluation splits that are asked for; a run is of one of them."""
    known = list(stages.recipe.data.evaluate)
    if split is not None and split not in known:
        raise RecipeError(f"no evaluation split '{split}'", key="--split", fix=f"known: {', '.join(known)}")
    if run is not None and split is None and len(known) > 1:
        raise RecipeError("a run is of one split", key="--split", fix=f"name it: {', '.join(known)}")
    return known if split is None else [split]


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
