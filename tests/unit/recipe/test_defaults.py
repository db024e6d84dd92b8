"""Own recipes: short ones are completed, complete ones are left alone, and mistakes have a line and a remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mpr.errors import RecipeError
from mpr.recipe import plan, read, reference
from mpr.recipe.keys import Recipe
from tests.conftest import Examined

ROOT = Path(__file__).parents[3]
NEW = "new: {layers: 1, width: 32, heads: 2, feed_forward: 64, vocabulary: 400}"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [{"query": f"what is {name}", "pos": [f"{name} is one", f"{name} is two"]} for name in "abcdefgh"]
    (tmp_path / "my.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    with_negatives = [{**row, "neg": ["nothing"]} for row in rows]
    (tmp_path / "hard.jsonl").write_text("".join(json.dumps(row) + "\n" for row in with_negatives), "utf-8")
    return tmp_path


def made(place: Path, text: str, *overrides: str) -> Recipe:
    (place / "my.yaml").write_text(text, "utf-8")
    return read.load(place / "my.yaml", overrides)


def refused(place: Path, text: str, *overrides: str) -> str:
    with pytest.raises(RecipeError) as error:
        made(place, text, *overrides)
    return str(error.value)


def test_one_line_is_a_recipe(place: Path) -> None:
    recipe = made(place, "data: my.jsonl\n")
    assert recipe.draft
    assert recipe.paper is None
    assert (recipe.objective[0].name, recipe.draw.positives.m, recipe.draw.negatives) == ("joint_lh", 4, ())
    assert recipe.towers.base == "sentence-transformers/all-MiniLM-L6-v2"
    assert len(str(recipe.towers.revision)) == 40
    corpus: Any = recipe.data.corpus
    assert (corpus.splits["train"].format, corpus.splits["train"].holdout) == ("pos_neg", 0.1)
    lines = plan.resolve(recipe).lines
    first = next(number for number, line in enumerate(lines) if line.startswith("defaults"))
    shown = "\n".join(lines[first:])
    for word in (
        "holdout 0.1",
        "train.format pos_neg",
        "base sentence-transformers/",
        "learning_rate 2e-05",
        "draft: true",
    ):
        assert word in shown


def test_what_is_written_goes_before_defaults(place: Path) -> None:
    text = (
        f"data: {{train: hard.jsonl, holdout: 0.5}}\ntowers: {{{NEW}, normalize: false}}\nobjective: nll\n"
        "training: {max_steps: 7, fp16: false}\nevaluation: {measures: [mrr10]}\n"
    )
    recipe = made(place, text)
    assert recipe.draw.positives.policy == "random1"  # what nll takes
    assert [entry.from_ for entry in recipe.draw.negatives] == ["negatives"]  # those of the file
    assert recipe.objective[0].temperature == 1.0  # type: ignore[attr-defined]
    assert recipe.training["learning_rate"] == 1e-3  # of random weights
    assert "num_train_epochs" not in recipe.training
    assert "bf16" not in recipe.training
    assert recipe.evaluation.measures == ("mrr10",)
    assert recipe.evaluation.match == "judgements"


def test_sources_bring_a_negative_each(place: Path) -> None:
    recipe = made(place, "data: hard.jsonl\nsources: [bm25, {name: file, as: negatives}]\n")
    assert [(entry.from_, entry.k) for entry in recipe.draw.negatives] == [("bm25", 1), ("negatives", 1)]
    assert not made(place, "data: hard.jsonl\nsources: []\n").draw.negatives


def test_what_a_run_keeps_is_the_same_recipe_and_complete(place: Path, examined: Examined) -> None:
    texts = [
        ("data: my.jsonl\n", []),
        (f"data: {{train: hard.jsonl}}\ntowers: {{{NEW}}}\nobjective: [bce, nll]\ndraw: {{positives: first}}\n", []),
        ("data: my.jsonl\nsources: [bm25]\n", ["training.max_steps=5", "draw.positives=2", "data.holdout=0.25"]),
        (f"data: hard.jsonl\ntowers: {{{NEW}}}\nplan: [{{name: a}}, {{name: b, training: {{max_steps: 3}}}}]\n", []),
    ]  # fmt: skip
    texts[-1] = (texts[-1][0] + "training: {max_steps: 5}\n", [])
    for text, overrides in texts:
        recipe = made(place, text, *overrides)
        assert recipe.written.splitlines()[2] == "paper: null"
        (place / "kept.yaml").write_text(recipe.written, "utf-8")
        kept = read.load(place / "kept.yaml")
        assert kept.defaults == ()
        assert kept.written == ""
        assert kept.model_dump() == recipe.model_dump()
        assert plan.digest(kept) == plan.digest(recipe)
        again = read.load(place / "kept.yaml", overrides, written=True)
        assert again.overrides == tuple(overrides)
        assert plan.digest(again) == plan.digest(recipe)
    examined(len(texts), "short recipes", at_least=4)


def test_overrides_reach_what_is_not_written(place: Path) -> None:
    recipe = made(place, "data: my.jsonl\n", "training.learning_rate=1e-4", "towers.pooling=cls", "data.holdout=0.5")
    assert (recipe.training["learning_rate"], recipe.towers.pooling) == (1e-4, "cls")
    assert "did you mean 'pooling'" in refused(place, "data: my.jsonl\n", "towers.poolin=cls")
    assert "'twoers' is not in the recipe (did you mean" in refused(place, "data: my.jsonl\n", "twoers.pooling=cls")


def test_complete_recipes_are_left_alone(tmp_path: Path, examined: Examined) -> None:
    """Those that ship have the key `paper`; without it, nothing would be added to a row of our own."""
    count = 0
    for path in reference.recipe_paths(ROOT):
        text = path.read_text("utf-8")
        recipe = read.load(path)
        assert (recipe.defaults, recipe.written) == ((), ""), path
        if "\npaper: null\n" in text and recipe.expected is None and count < 12:
            (tmp_path / path.name).write_text(text.replace("\npaper: null\n", "\n"), "utf-8")
            own = read.load(tmp_path / path.name)
            assert (own.defaults, plan.digest(own)) == ((), plan.digest(recipe)), path
            count += 1
    examined(count, "rows of our own", at_least=8)


def test_a_row_must_be_complete(place: Path) -> None:
    assert "my.yaml:1 varies: is missing" in refused(place, "paper: null\ndata: {train: train}\n")


@pytest.mark.parametrize(
    "text, message",
    [
        ("data: mi.jsonl\n", "my.yaml:1 data.train: there is no file {here}/mi.jsonl (did you mean 'my.jsonl'?"),
        ("towers: {share: true}\n", "my.yaml:1 data: is missing"),
        ("data: my.jsonl\nepochs: 3\n", "my.yaml:2 epochs: unknown key (write training: {num_train_epochs: ...})"),
        ("data: my.jsonl\nsources: [dense]\n", "my.yaml:2 sources[0].model: is missing (it has no default"),
        ("data:\n  train: {file: my.jsonl, format: columns, columns: {question: qeury, positives: pos}}\n",
         "my.yaml:2 data.train.columns: my.jsonl has no column 'qeury' (did you mean 'query'?"),
        ("data: {trian: my.jsonl}\n", "my.yaml:1 data.trian: unknown key (did you mean 'train'?"),
        ("data:\n  train: {fiel: my.jsonl}\n", "my.yaml:2 data.train: names neither file nor dataset (did you mean"),
        ("data:\n  train: {file: my.jsonl, format: pos_nge}\n",
         "my.yaml:2 data.train.format: 'pos_nge' is not one of"),
        ("data:\n  train: {file: my.jsonl, fromat: pos_neg}\n",
         "my.yaml:2 data.train.fromat: unknown key (did you mean 'format'?"),
        ("data:\n  train: my.jsonl\n  test: my.jsonl\n  holdout: 0.1\n", "my.yaml:4 data.holdout: questions are held"),
        ("data: my.jsonl\nobjective: joint_hl\n", "my.yaml:2 objective[0].name: 'joint_hl' is not one of"),
        ("data: my.jsonl\ntraining: {learning_rat: 1}\n", "my.yaml:2 training.learning_rat: unknown key (did you mean"),
        ("data: my.jsonl\ndraw: {positives: 0}\n", "my.yaml:2 draw.positives.m: must be greater than or equal to 1"),
        ("data: my.jsonl\nobjective: nll\ndraw: {positives: 3}\n", "'nll' takes one positive a row"),
        ("data: odd.csv\n", "my.yaml:1 data.train: odd.csv:2: which columns are question and positives? There are a"),
        ("data: {train: {dataset: some/questions}}\n", "my.yaml:1 data.train: a data set on the Hub is not looked at"),
        ("data: {train: my.jsonl, test: {dataset: some/questions}}\n", "my.yaml:1 data.train: is a file and 'test' is"),
    ],
)  # fmt: skip
def test_a_mistake_has_a_line_and_a_remedy(place: Path, text: str, message: str) -> None:
    (place / "odd.csv").write_text("a,b\n1,2\n", "utf-8")
    said = refused(place, text)
    assert message.replace("{here}", str(place)) in said
    assert len(said.splitlines()) == 1
