"""From a trained model to scores: encode, search, evaluate."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mpr.errors import DataError, RecipeError
from mpr.verbs.arguments import Address, Engine, Home, NoWait, OneRecipe, Overrides, Quiet, RunFolder

if TYPE_CHECKING:
    from mpr.evaluation.ranking import Ranking
    from mpr.rows.retrieval import Retrieval
    from mpr.runtime.processes import Group
    from mpr.search.inference import Model

Untrained = Annotated[
    bool, typer.Option("--untrained", help="The encoders that the recipe starts from, as they are: the baseline.")
]
Words = Annotated[bool, typer.Option("--bm25", help="No model: BM25, the other baseline.")]
Memory = Annotated[float, typer.Option(help="GB that a search may take; it changes no result.", metavar="GB")]


def _opened(
    recipe: Path,
    overrides: list[str] | None,
    home: Path,
    folder: Path | None,
    quiet: bool,
    untrained: bool,
    bm25: bool = False,
    memory: float = 2.0,
) -> Retrieval:
    """The stages of a recipe in its run folder, or in one beside it for a baseline."""
    from mpr.data.dataset import Dataset
    from mpr.recipe import read
    from mpr.rows.retrieval import Retrieval
    from mpr.training import run_folder

    if untrained and bm25:
        raise RecipeError("--untrained and --bm25 are two baselines", key="--bm25", fix="ask for one at a time")
    found = read.load(recipe, overrides or ())
    if untrained and not found.trains:
        fix = "leave it out: the published encoders are the row"
        raise RecipeError("the recipe trains nothing (training: none)", key="--untrained", fix=fix)
    system = "untrained" if untrained else "bm25" if bm25 else found.system
    place = folder or Path("runs") / run_folder.name(found, system)
    return Retrieval(Dataset(found, home, quiet), place, int(memory * 1e9), untrained)


def _model(stages: Retrieval, name: str | None, untrained: bool, group: Group) -> Model:
    """The run's own trained model, another one, one of the Hub, or the encoders that the recipe starts from or, where
    it trains nothing, is about."""
    from mpr.models import locate
    from mpr.search.inference import Model
    from mpr.training import learner

    dataset, own = stages.dataset, stages.folder / "model"

    def place() -> str:
        if name is not None:
            draft, quiet = stages.recipe.draft, dataset.quiet
            return str(locate.model_folder(name, dataset.home, key="--model", quiet=quiet, unpinned=draft))
        if not own.exists():
            fix = "run `mpr train` first, name one with --model, or measure the start with --untrained"
            raise DataError("there is no trained model", where=str(own), fix=fix)
        return str(own)

    if untrained or (name is None and not stages.recipe.trains):
        return learner.untrained(dataset)
    return Model.trained(Path(group.first(place)), stages.recipe.towers)  # downloaded by the first process only


def _together(stages: Retrieval, engine: str, address: str | None) -> AbstractContextManager[Group]:
    """Those who share the work; of several processes the first one prints."""
    from mpr import engines
    from mpr.runtime.processes import Place

    stages.dataset.quiet |= Place.here().rank > 0
    return engines.opened(engine, address, stages.dataset.home, stages.folder)


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
    engine: Engine = "local",
    engine_address: Address = None,
    quiet: Quiet = False,
    no_wait: NoWait = False,
) -> None:
    """Encode the corpus and the evaluation questions with a trained model, or with the published encoders of a recipe
    that trains nothing; a stopped run goes on.

    Several processes share the work: torchrun --nproc_per_node 2 -m mpr.cli encode RECIPE.
    Several machines: mpr encode RECIPE --engine ray.
    Example: mpr encode recipes/quickstart.yaml
    """
    from mpr.runtime.processes import Place
    from mpr.search import encode as encoding

    stages = _opened(recipe, overrides, home, folder, quiet, untrained)
    width, device = stages.recipe.encoding.width, encoding.device(Place.here())
    options = encoding.Options(dtype, compute, device, fallback=fallback, quiet=quiet, width=width)
    with _together(stages, engine, engine_address) as group:
        group.first(lambda: bool(stages.dataset.prepare_corpus()))  # texts are tokenised once, not by every process
        made = _model(stages, model, untrained, group)
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
    engine: Engine = "local",
    engine_address: Address = None,
    quiet: Quiet = False,
    no_wait: NoWait = False,
) -> None:
    """Rank the corpus for every evaluation question; writes TREC run files that any tool reads.

    Several processes share the work: torchrun --nproc_per_node 2 -m mpr.cli search RECIPE.
    Several machines: mpr search RECIPE --engine ray.
    Example: mpr search recipes/quickstart.yaml --bm25
    """
    stages = _opened(recipe, overrides, home, folder, quiet, untrained, bm25, memory)
    with _together(stages, engine, engine_address) as group:
        for role in stages.recipe.data.evaluate:
            ranking = stages.ranked(role, group, words=bm25)
            table = group.first(partial(stages.write_texts, role, ranking)) if texts else None
            if group.place.rank == 0:
                if table:
                    typer.echo(f"{'':<10} {table}")
                recall = stages.recall(role)
                typer.echo(f"{role:<10} {stages.ranking_file(role)}" + (f"\n{'':<10} {recall}" if recall else ""))


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
    widths: Annotated[
        str | None,
        typer.Option(help="A table: the vectors of the run, cut to each of these sizes, and searched.", metavar="N,N"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
    memory: Memory = 2.0,
    engine: Engine = "local",
    engine_address: Address = None,
    quiet: Quiet = False,
    no_wait: NoWait = False,
) -> None:
    """Score rankings by the recipe's measures: over which questions, by which rules, with every question's score kept.

    Searches first what was not searched yet. With --run it scores a TREC run of any program: that needs the corpus, the
    questions and the judgements or answers of the recipe, but no training split, no vectors and no model.
    Examples: mpr evaluate recipes/quickstart.yaml
    mpr evaluate recipes/checkpoints/tas_b_msmarco.yaml --split dl19 --run theirs.trec
    mpr evaluate recipes/options/widths.yaml --widths 256,64,16
    """
    stages = _opened(recipe, overrides, home, folder, quiet, untrained, bm25, memory)
    found: dict[str, str] = {}
    with _together(stages, engine, engine_address) as group:
        if widths is not None:
            if bm25 or run:
                raise RecipeError("vectors are cut", key="--widths", fix="leave out --bm25 and --run")
            _by_width(stages, _sizes(widths), _roles(stages, split, run), group, drop_self, as_json)
            return
        for role in _roles(stages, split, run):
            ranking = None if run else stages.ranked(role, group, words=bm25)
            found[role] = group.first(partial(_scored, stages, role, ranking, run, drop_self, as_json))
    if as_json and group.place.rank == 0:
        typer.echo(json.dumps({role: json.loads(text) for role, text in found.items()}, indent=1))


def _sizes(text: str) -> list[int]:
    """Those of --widths, each once, the largest first."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and int(word) > 0 for word in words):
        raise RecipeError(f"'{text}' is no list of sizes", key="--widths", fix="write whole numbers: --widths 256,64")
    return sorted({int(word) for word in words}, reverse=True)


def _by_width(
    stages: Retrieval, sizes: list[int], roles: list[str], group: Group, drop_self: bool, as_json: bool
) -> None:
    """The same vectors, cut to each size and searched: one table for each split."""
    group.first(lambda: [bool(stages.cut_to(size)) for size in sizes])
    cut = {size: stages.cut_to(size) for size in sizes}
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    for role in roles:
        found[role] = {}
        for size, one in cut.items():
            found[role][str(size)] = group.first(partial(_means, one, role, one.ranked(role, group), drop_self))
    if group.place.rank > 0:
        return
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    for role, rows in found.items():
        measures = list(next(iter(rows.values())))
        typer.echo(f"{role:<10} " + "".join(f"{name:>12}" for name in ("width", *measures)))
        for width, values in rows.items():
            shown = ("-" if value is None else f"{100 * value:.2f}" for value in values.values())
            typer.echo(f"{'':<10} " + "".join(f"{word:>12}" for word in (width, *shown)))


def _means(stages: Retrieval, role: str, ranking: Ranking, drop_self: bool) -> dict[str, float | None]:
    scores, _ = stages.keep_scores(role, ranking, None, drop_self)
    return {measure: scores.mean(measure)[0] for measure in scores.values}


def _scored(stages: Retrieval, role: str, own: Ranking | None, run: Path | None, drop_self: bool, as_json: bool) -> str:
    """As JSON, for all processes; the first one prints."""
    scores, target = stages.keep_scores(role, own, run, drop_self)
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
