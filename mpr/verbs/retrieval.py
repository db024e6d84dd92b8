"""From a trained model to a score and a verdict: encode, search, evaluate, compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mpr.errors import DataError, RecipeError
from mpr.verbs.arguments import Home, OneRecipe, Overrides, Quiet, RunFolder

if TYPE_CHECKING:
    from mpr.dataset import Dataset
    from mpr.inference import Model
    from mpr.retrieval import Retrieval
    from mpr.scores import Scores

Untrained = Annotated[
    bool, typer.Option("--untrained", help="The encoders that the recipe starts from, as they are: the baseline.")
]
Words = Annotated[bool, typer.Option("--bm25", help="No model: BM25, the other baseline.")]
Memory = Annotated[float, typer.Option(help="GB that a search may take; it changes no result.", metavar="GB")]


def _opened(
    recipe: Path, overrides: list[str] | None, home: Path, folder: Path | None, quiet: bool, suffix: str, memory: float
) -> Retrieval:
    """The stages of a recipe in its run folder, or in one beside it for a baseline."""
    from mpr import recipe_file
    from mpr.dataset import Dataset
    from mpr.retrieval import Retrieval

    found = recipe_file.load(recipe, overrides or ())
    place = folder or Path("runs") / f"{found.name}-{suffix or 'seed{}'.format(found.training['seed'])}"
    return Retrieval(Dataset(found, home, quiet), place, int(memory * 1e9))


def _model(stages: Retrieval, untrained: bool, model: Path | None) -> Model:
    from mpr.inference import Model

    dataset: Dataset = stages.dataset
    if untrained:
        return Model.untrained(dataset.recipe.towers, dataset.tokenizer(), int(dataset.recipe.training["seed"]))
    place = model or stages.folder / "model"
    if not place.exists():
        fix = "run `mpr train` first, name one with --model, or measure the start with --untrained"
        raise DataError("there is no trained model", where=str(place), fix=fix)
    towers = dataset.recipe.towers
    return Model.opened(place, _local(towers.base), _local(towers.passage_base))


def _local(base: str | None) -> Path | None:
    """The folder of a base that adapters were trained on; one on the Hub is found by its name."""
    return Path(base) if base is not None and Path(base).is_dir() else None


def encode(
    recipe: OneRecipe,
    overrides: Overrides = None,
    home: Home = Path(".mpr"),
    folder: RunFolder = None,
    model: Annotated[Path | None, typer.Option(help="A model folder; default the run's own.", metavar="FOLDER")] = None,
    untrained: Untrained = False,
    dtype: Annotated[str, typer.Option(help="Vectors are stored as float32, float16 or bfloat16.")] = "float32",
    compute: Annotated[str, typer.Option(help="They are computed in float32 or bfloat16.")] = "float32",
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
    from mpr import encode as encoding
    from mpr.processes import Place

    stages = _opened(recipe, overrides, home, folder, quiet, "untrained" if untrained else "", 2.0)
    options = encoding.Options(dtype, compute, encoding.device(Place.here()), fallback=fallback, quiet=quiet)
    with encoding.together() as group:
        group.first(lambda: bool(stages.dataset.prepare_corpus()))  # texts are tokenised once, not by every process
        made = _model(stages, untrained, model)
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
    memory: Memory = 2.0,
    quiet: Quiet = False,
) -> None:
    """Rank the corpus for every evaluation question; writes TREC run files that any tool reads.

    Example: mpr search recipes/quickstart.yaml --bm25
    """
    stages = _opened(recipe, overrides, home, folder, quiet, _suffix(untrained, bm25), memory)
    for role in stages.recipe.data.evaluate:
        _ranked(stages, role, bm25)
        typer.echo(f"{role:<10} {stages.ranking_file(role)}")


def _suffix(untrained: bool, bm25: bool) -> str:
    if untrained and bm25:
        raise RecipeError("--untrained and --bm25 are two baselines", key="--bm25", fix="ask for one at a time")
    return "untrained" if untrained else "bm25" if bm25 else ""


def _ranked(stages: Retrieval, role: str, bm25: bool) -> Any:
    from mpr import encode as encoding
    from mpr.processes import Place

    dataset = stages.dataset
    with dataset.bar(f"search {role}", len(dataset.split(role))) as progress:
        if bm25:
            return stages.search_words(role, progress)
        return stages.search(role, encoding.device(Place.here()), progress)


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
    from mpr import storage
    from mpr.ranking import Ranking

    stages = _opened(recipe, overrides, home, folder, quiet, _suffix(untrained, bm25), memory)
    found = {}
    for role in _roles(stages, split, run):
        if run is None:
            ranking, name, receipt = _ranked(stages, role, bm25), stages.folder.name, stages.receipt(role)
            target = stages.folder / "scores" / role
        else:
            ranking, name = Ranking.read(run, stages.dataset.corpus()), run.stem
            receipt = {"run file": storage.remembered_sha256(run)}
            target = stages.folder / "scores" / f"{role}-{run.stem}"
        scores = stages.evaluate(role, ranking, name, receipt, own=run is None, drop_self=drop_self)
        _kept(scores, target)
        found[role] = json.loads(scores.json())
        if not as_json:
            typer.echo(f"{scores}\nscores: {target}")
    if as_json:
        typer.echo(json.dumps(found, indent=1))


def _roles(stages: Retrieval, split: str | None, run: Path | None) -> list[str]:
    """The evaluation splits that are asked for; a run is of one of them."""
    known = list(stages.recipe.data.evaluate)
    if split is not None and split not in known:
        raise RecipeError(f"no evaluation split '{split}'", key="--split", fix=f"known: {', '.join(known)}")
    if run is not None and split is None and len(known) > 1:
        raise RecipeError("a run is of one split", key="--split", fix=f"name it: {', '.join(known)}")
    return known if split is None else [split]


def _kept(scores: Scores, target: Path) -> None:
    from mpr.scores import Scores

    if not target.exists():
        scores.commit(target)
    elif Scores.open(target).json() != scores.json():
        raise DataError("holds other scores", where=str(target), fix="remove it, and evaluate again")


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
    from mpr import comparison
    from mpr.scores import Scores

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
