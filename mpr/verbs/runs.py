"""Run files of several systems become one: fuse."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mpr.errors import DataError, MprError, RecipeError
from mpr.verbs.arguments import Home, OneRecipe, Overrides, Quiet

if TYPE_CHECKING:
    from mpr.data.dataset import Dataset
    from mpr.evaluation.ranking import Ranking
    from mpr.recipe.keys import Recipe

_HOME = Path(".mpr")
_SHOWN = 5  # ids of what is only counted otherwise


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
    from mpr import __version__
    from mpr.data.dataset import Dataset
    from mpr.evaluation import fusion
    from mpr.recipe import read as recipe_file

    rule = _Rule.of(len(runs), weights, missing, reciprocal, constant)
    found = recipe_file.load(recipe, overrides or ())
    role, kept = _role(found, split), found.search.depth if depth is None else depth
    dataset = Dataset(found, home, quiet)
    inputs = [_Input.of(path, dataset, role) for path in runs]
    _say_inputs(inputs, rule)
    counts = _counted(inputs, role)
    receipt = {
        "runs": [{"weight": weight, **one.facts} for one, weight in zip(inputs, rule.weights, strict=True)],
        "rule": rule.facts,
        "depth": kept,
        "split": {"name": dataset.splits.names[role], "digest": dataset.split(role).manifest.digest},
        "passages": dataset.corpus().manifest.digest,
        "questions": counts,
        "mpr": __version__,
    }
    fused = fusion.fuse([one.ranking for one in inputs], rule.combining(kept))
    fusion.commit(to, fused, dataset.corpus(), receipt)
    typer.echo(
        f"fused: {to / fusion.RUN_FILE} ({rule}; {len(fused.passage_N):,} passages, {kept:,} a question at most)"
    )
    typer.echo(f"score it: {_evaluation(recipe, overrides or [], home, role, to)}")


@dataclass(frozen=True)
class _Rule:
    """How scores become one, as the command line says it."""

    name: Literal["weighted_sum", "reciprocal_rank"]
    weights: tuple[float, ...]
    option: tuple[str, Any]
    """The other argument of the function of that name in mpr/evaluation/fusion.py."""

    @classmethod
    def of(
        cls, count: int, weights: str | None, missing: str | None, reciprocal: bool, constant: float | None
    ) -> _Rule:
        from mpr.evaluation.fusion import RANK_CONSTANT

        if count < 2:
            raise RecipeError("one run cannot be fused", key="RUN", fix="name two or more run files")
        numbers = _numbers(weights, count)
        if reciprocal:
            if missing is not None:
                what = "a list without a passage adds nothing to a sum of reciprocal ranks"
                raise RecipeError(what, key="--missing", fix="leave it out, or leave --reciprocal out")
            return cls("reciprocal_rank", numbers, ("constant", RANK_CONSTANT if constant is None else constant))
        if weights is None:
            fix = "give --weights, such as 1,1.1 for BM25 and dense, or --reciprocal"
            raise RecipeError("how is not said", key="--weights", fix=fix)
        if constant is not None:
            raise RecipeError("a sum of scores has no constant", key="--constant", fix="leave it out, or --reciprocal")
        if missing not in ("minimum", "zero"):
            what = "what is the score of a passage in a list without it?" if missing is None else f"no rule '{missing}'"
            fix = "minimum: the lowest of that list, as Pyserini; zero: nothing, as CombSUM"
            raise RecipeError(what, key="--missing", fix=fix)
        return cls("weighted_sum", numbers, ("missing", missing))

    @property
    def facts(self) -> dict[str, Any]:
        return {"name": self.name, self.option[0]: self.option[1]}

    def combining(self, depth: int) -> Any:
        """The function that makes one list of a question's lists."""
        from mpr.evaluation import fusion

        option = dict([self.option])
        if self.name == "weighted_sum":
            return partial(fusion.weighted_sum, weights=self.weights, k=depth, **option)
        return partial(fusion.reciprocal_rank, weights=self.weights, k=depth, **option)

    def __str__(self) -> str:
        return f"{self.name.replace('_', ' ')}, {self.option[0]} {self.option[1]}"


def _numbers(text: str | None, count: int) -> tuple[float, ...]:
    if text is None:
        return (1.0,) * count
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise RecipeError(f"'{text}' is no list of numbers", key="--weights", fix="such as 1,1.1") from None
    if len(numbers) != count:
        what = f"{len(numbers)} weights for {count} runs"
        raise RecipeError(what, key="--weights", fix="give one for each run, in their order")
    return numbers


def _role(recipe: Recipe, split: str | None) -> str:
    """The evaluation split that the runs are of."""
    known = list(recipe.data.evaluate)
    if split is None and len(known) == 1:
        return known[0]
    if split not in known:
        what = "runs are of one split" if split is None else f"no evaluation split '{split}'"
        raise RecipeError(what, key="--split", fix=f"name it: {', '.join(known)}")
    return split


@dataclass(frozen=True)
class _Input:
    """A run file, its lists in the order of the split's questions."""

    path: Path
    sha256: str
    ranking: Ranking
    others: tuple[str, ...]
    """Questions of the file that the split does not have."""

    @classmethod
    def of(cls, path: Path, dataset: Dataset, role: str) -> _Input:
        """Reads a run; what is wrong with it names the file."""
        from mpr import storage
        from mpr.evaluation.ranking import Ranking

        asked = dataset.split(role).ids
        try:
            sha256, read = storage.sha256_file(path), Ranking.read(path, dataset.corpus())
        except MprError as error:
            raise type(error)(
                [replace(problem, where=problem.where or str(path)) for problem in error.problems]
            ) from error
        others = tuple(sorted(set(read.questions) - set(asked)))
        if len(others) == len(read):
            what = f"no question of the run is in '{role}', first: {', '.join(others[:_SHOWN])}"
            raise DataError(what, where=str(path), fix="name the split that it is of with --split")
        return cls(path, sha256, read.aligned(asked), others)

    @property
    def answered(self) -> frozenset[str]:
        """Questions of the split for which the run has a passage."""
        ends = self.ranking.offsets
        return frozenset(one for place, one in enumerate(self.ranking.questions) if ends[place] < ends[place + 1])

    @property
    def facts(self) -> dict[str, Any]:
        depth, questions = self.ranking.depth, len(self.answered)
        return {"file": self.path.name, "sha256": self.sha256, "questions": questions, "depth": depth}


def _say_inputs(inputs: Sequence[_Input], rule: _Rule) -> None:
    deepest = max(one.ranking.depth for one in inputs)
    for one, weight in zip(inputs, rule.weights, strict=True):
        depth = one.ranking.depth
        shallow = f"; shallower than {deepest:,}: what it did not keep counts as not found" if depth < deepest else ""
        typer.echo(f"{one.path}: weight {weight:g}, {len(one.answered):,} questions, up to {depth:,} passages{shallow}")


def _counted(inputs: Sequence[_Input], role: str) -> dict[str, int]:
    """How many questions which runs have; printed, and kept in the receipt."""
    asked, answered = inputs[0].ranking.questions, [one.answered for one in inputs]
    having = {question: sum(question in found for found in answered) for question in asked}
    others = sorted({question for one in inputs for question in one.others})
    groups = {
        "in_every_run": [one for one in asked if having[one] == len(inputs)],
        "in_some_runs_only": [one for one in asked if 0 < having[one] < len(inputs)],
        "in_no_run": [one for one in asked if not having[one]],
        "of_no_question_of_the_split_and_left_out": others,
    }
    typer.echo(f"questions of {role}:")
    for name, ids in groups.items():
        first = f" (first: {', '.join(ids[:_SHOWN])})" if ids and name != "in_every_run" else ""
        typer.echo(f"  {len(ids):>10,} {name.replace('_', ' ')}{first}")
    return {name: len(ids) for name, ids in groups.items()}


def _evaluation(recipe: Path, overrides: Sequence[str], home: Path, role: str, to: Path) -> str:
    """The command that scores the fused run, in a run folder of its own: an artefact takes no further files."""
    from mpr.evaluation.fusion import RUN_FILE

    words = ["mpr", "evaluate", str(recipe), *(word for each in overrides for word in ("--set", each))]
    words += ["--home", str(home)] if home != _HOME else []
    return shlex.join([*words, "--run", str(to / RUN_FILE), "--split", role, "--folder", f"{to}-scored"])
