"""What a language model adds to a recipe's data, as files that are then pinned: judge, generate, augment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mpr.errors import RecipeError
from mpr.verbs.arguments import Home, NoWait, OneRecipe, Overrides, Quiet

if TYPE_CHECKING:
    from mpr.recipe.keys import Recipe

_HOME = Path(".mpr")
_UNSAID = {"answer_matches": False, "relevant": 1}  # what a label does not say that judges lists
Who = Annotated[Path, typer.Option("--writer", help="Settings of a writer; docs/generation.md.", metavar="FILE")]
To = Annotated[Path, typer.Option(help="The new folder for the file and its receipt.", metavar="FOLDER")]


def judge(
    recipe: OneRecipe,
    writer: Who,
    to: To,
    source: Annotated[
        str | None, typer.Option(help="The `as` of a source; default that of the label.", metavar="NAME")
    ] = None,
    window: Annotated[
        int | None, typer.Option(help="Candidates up to this rank; default the label's window.", metavar="K")
    ] = None,
    answer_matches: Annotated[
        bool | None, typer.Option(help="Also those that mining took out because they contain an answer.")
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            help="Version of the prompt: judge-yes-no-1 or judge-graded-1 for the label llm, one passage at a time; "
            "judge-relabel-1 for rlhn and judge-order-1 for arhn, all passages of a question at once. Default by the "
            "recipe's label.",
            metavar="NAME",
        ),
    ] = None,
    relevant: Annotated[
        int | None, typer.Option(help="Grade that counts as relevant for the figures of agreement.", metavar="GRADE")
    ] = None,
    planted: Annotated[int, typer.Option(help="Known positives of a question that are judged too.", metavar="N")] = 1,
    overrides: Overrides = None,
    home: Home = _HOME,
    quiet: Quiet = False,
    no_wait: NoWait = False,
) -> None:
    """Let a language model judge the candidates of training questions; a stopped run goes on, nothing is asked twice.

    A label llm, rlhn or arhn reads what is written. Example: mpr judge RECIPE --writer writer.yaml --to judged/bm25
    """
    from mpr import writing as writers
    from mpr.data.dataset import Dataset
    from mpr.mining import mine
    from mpr.recipe import read
    from mpr.writing import judge as judging
    from mpr.writing import prompts

    found = read.load(recipe, overrides or ())
    wanted = judging.Wanted(
        source=_given(found, source, "source", "--source"),
        window=_given(found, window, "window", "--window"),
        answer_matches=_given(found, answer_matches, "answer_matches", "--answer-matches"),
        prompt=prompts.of(prompt or judging.PROMPTS[judging.label_of(found)], "judge"),
        relevant=_given(found, relevant, "relevant", "--relevant"),
        planted=planted,
    )
    who, dataset = writers.of(writer), Dataset(found, home, quiet)
    mine.Mined(dataset, until=judging.label_of(found)).make()
    typer.echo(str(judging.judge(dataset, wanted, who, to)))


def generate(
    recipe: OneRecipe,
    writer: Who,
    to: To,
    passages: Annotated[
        int | None, typer.Option(help="How many passages of the corpus are read; default all.", metavar="N")
    ] = None,
    each: Annotated[int, typer.Option(help="At most so many questions of a passage.", metavar="N")] = 1,
    prompt: Annotated[str, typer.Option(help="Version of the prompt.", metavar="NAME")] = "questions-1",
    seed: Annotated[int, typer.Option(help="Another seed reads other passages.")] = 0,
    overrides: Overrides = None,
    home: Home = _HOME,
    quiet: Quiet = False,
    no_wait: NoWait = False,
) -> None:
    """Let a language model ask what passages of the corpus answer; a stopped run goes on, nothing is asked twice.

    A local collection takes what is written as a split. Example: mpr generate RECIPE --writer w.yaml --to generated
    """
    from mpr import writing as writers
    from mpr.data.dataset import Dataset
    from mpr.recipe import read
    from mpr.writing import generation, prompts

    found = read.load(recipe, overrides or ())
    wanted = generation.Wanted(prompts.of(prompt, "question"), passages, each, seed)
    made = generation.generate(Dataset(found, home, quiet), wanted, writers.of(writer), to)
    typer.echo(str(made))


def augment(
    recipe: OneRecipe,
    writer: Who,
    to: To,
    least: Annotated[
        int, typer.Option(help="Questions with fewer positives than this get more.", min=2, metavar="N")
    ] = 2,
    prompt: Annotated[str, typer.Option(help="Version of the prompt.", metavar="NAME")] = "paraphrase-1",
    then: Annotated[
        str | None, typer.Option(help="Another prompt for what was written: to-german-1, then to-english-1.")
    ] = None,
    then_writer: Annotated[
        Path | None, typer.Option(help="Settings of its writer; default the same.", metavar="FILE")
    ] = None,
    overrides: Overrides = None,
    home: Home = _HOME,
    quiet: Quiet = False,
    no_wait: NoWait = False,
) -> None:
    """Let a language model say known positives in other words, for questions that have few; a stopped run goes on.

    `data.augment` reads what is written, as a tier of its own. Example: mpr augment RECIPE --writer w.yaml --to more
    """
    from mpr import writing as writers
    from mpr.data.dataset import Dataset
    from mpr.recipe import read
    from mpr.writing import augmentation, prompts

    found = read.load(recipe, overrides or ())
    found = found.model_copy(update={"data": found.data.model_copy(update={"augment": None})})  # it may be yet to come
    who = writers.of(writer)
    steps = [(prompts.of(prompt, "rewrite"), who)]
    if then is not None:
        after = who if then_writer is None else writers.of(then_writer)
        steps.append((prompts.of(then, "rewrite", "--then"), after))
    typer.echo(str(augmentation.augment(Dataset(found, home, quiet), least, steps, to)))


def _given(recipe: Recipe, option: Any, key: str, name: str) -> Any:
    """What the command line says, otherwise the recipe's label."""
    if option is not None:
        return option
    label = next((each for each in recipe.labels if hasattr(each, "judgements")), None)
    if label is None:
        what = "the recipe has no label llm, rlhn or arhn that would say it"
        raise RecipeError(what, key=name, fix="add the label, or the option")
    if key in _UNSAID and not hasattr(label, key):
        return _UNSAID[key]
    return getattr(label, key)
