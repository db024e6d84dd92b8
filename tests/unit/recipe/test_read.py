"""Reading a recipe: everything wrong with it at once, each with its line and a way out; `--set` on top."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpr.errors import RecipeError
from mpr.recipe import read, strict_yaml
from tests import shipped

NAME = "trec_bce_m3"
TEXT = shipped.text(NAME)


def refused(text: str, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        read.from_document(strict_yaml.parse(text.encode(), "r.yaml"), "r", overrides)
    return [str(problem) for problem in caught.value.problems]


def line(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def changed(old: str, new: str) -> str:
    assert TEXT.count(old) == 1, f"{old!r} stands {TEXT.count(old)} times in {NAME}"
    return TEXT.replace(old, new)


def test_a_good_recipe() -> None:
    recipe = read.load(shipped.ROOT / "recipes" / f"{NAME}.yaml")
    assert (recipe.name, recipe.overrides) == (NAME, ())
    assert (recipe.draw.positives.m, recipe.training["num_train_epochs"]) == (3, 100)
    assert recipe.draw.negatives[0].from_ == "bm25"
    assert recipe.questions_per_step == 16


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("  pooling: cls", "  poolin: cls", "towers.poolin: unknown key (did you mean 'pooling'?)"),
        (
            "pooling: cls",
            "pooling: clss",
            "towers.pooling: 'clss' is not one of cls, mean, last, none (did you mean 'cls'?)",
        ),
        (
            "share: false",
            "share: 'false'",
            "towers.share: must be true or false, not 'false' (YAML 1.2 knows only true",
        ),
        ("share: false", "share: no", "towers.share: 'no' is neither a plain decimal number, true, false, null, nor"),
        ("m: 3", "m: '3'", "draw.positives.m: must be a whole number, not '3' (remove the quotes)"),
        ("m: 3", "m: 3.0", "draw.positives.m: must be a whole number, not 3.0"),
        ("m: 3", "m: 0", "draw.positives.m: must be greater than or equal to 1, not 0"),
        ("k: 1", "k: [1]", "draw.negatives[0].k: must be a whole number, not a list"),
        ("name: bce", "name: bcee", "objective[0].name: 'bcee' is not one of bce, joint_lh,"),
        ("name: dpr_wikipedia", "name: wikipedia", "data.corpus.name: 'wikipedia' is not one of beir, dpr_wikipedia,"),
        ("name: dpr_wikipedia, ", "", "data.corpus: must name what it is (write {name: ...})"),
        ("questions: trec", "question: trec", "data.corpus.question: unknown key (did you mean 'questions'?)"),
        ("scaling: probability", "scalin: probability", "objective[0].scalin: unknown key (did you mean 'scaling'?)"),
        ('"86b5e', '"7', "towers.revision: must match pattern '^[0-9a-f]{40}$', not '70934494bd15c9632b12f734a8a67f72"),
        (
            "learning_rate: 1.0e-5",
            "learning_rat: 1.0e-5",
            "training.learning_rat: unknown key (did you mean 'learning_r",
        ),
        ("fp16: true", 'fp16: "true"', "training.fp16: must be true or false, not 'true' (YAML 1.2 knows only true"),
        ("lr_scheduler_type: linear", "lr_scheduler_type: liner", "training.lr_scheduler_type: 'liner' is not a known"),
        ("top20, top100]", "top20, top1000]", "evaluation.measures[3]: 'top1000' looks at 1000 passages, the search"),
        ("top20, top100]", "top20, hit100]", "evaluation.measures[3]: must match pattern '^(top|recall|"),
        ("tiers: [gold, answer_match]", "tiers: []", "labels[0].tiers: Tuple should have at least 1 item"),
        ("paper: {", "paper: [", "is not YAML"),
    ],
)
def test_one_thing_wrong(old: str, new: str, message: str) -> None:
    text = changed(old, new)
    found = [problem for problem in refused(text) if message in problem]
    assert len(found) == 1, refused(text)
    assert found[0].startswith(f"r.yaml:{line(TEXT, old)}")


def test_everything_at_once_in_the_order_of_the_file() -> None:
    text = TEXT.replace("pooling: cls", "pool: cls").replace("k: 1", "k: one").replace("seed: 42", "seed: 4.2")
    text = text.replace("depth: 100", "dept: 100").replace("scaling: probability", "scaling: yes")
    found = refused(text)
    keys = [problem.split(" ")[1].rstrip(":") for problem in found]
    assert keys == [
        "towers.pooling", "towers.pool", "draw.negatives[0].k", "objective[0].scaling", "training.seed",
        "search.depth", "search.dept",
    ]  # fmt: skip
    numbers = [int(problem.split(":")[1].split(" ")[0]) for problem in found]
    assert numbers == sorted(numbers)


def test_rules_are_checked_when_only_training_is_wrong() -> None:
    """Types of `training` do not hide what else is wrong, and a refused key is not called missing as well."""
    text = TEXT.replace("learning_rate: 1.0e-5", "learning_rate: fast").replace("train: trec_train", "train: trec_trai")
    text = text.replace("seed: 42", "sed: 42")
    found = refused(text)
    assert [problem.split(" ")[1] for problem in found] == [
        "data.train:", "training.seed:", "training.sed:", "training.learning_rate:"
    ]  # fmt: skip
    assert "must be a number, not 'fast'" in found[-1]


@pytest.mark.parametrize("written", ["[1, 2]", "text", "3", "null", "[{a: 1}]"])
def test_not_a_mapping(written: str) -> None:
    assert len(refused(written)) == 1
    assert refused(written)[0].startswith("r.yaml:1")


@pytest.mark.parametrize("written", ["3", "[]", "text", "null", "{a: 1}"])
@pytest.mark.parametrize("key", ["data", "towers", "draw", "training", "labels", "objective"])
def test_a_part_of_the_wrong_kind(key: str, written: str) -> None:
    lines = TEXT.splitlines()
    first = next(number for number, text in enumerate(lines) if text.startswith(f"{key}:"))
    last = next((n for n in range(first + 1, len(lines)) if lines[n][:1] not in (" ", "#", "")), len(lines))
    text = "\n".join([*lines[:first], f"{key}: {written}", *lines[last:]])
    assert any(problem.startswith(f"r.yaml:{first + 1} ") for problem in refused(text)), refused(text)


def test_overrides() -> None:
    document = strict_yaml.parse(TEXT.encode(), "r.yaml")
    overrides = ["draw.positives.m=2", "training.max_grad_norm=1.0", "draw.negatives[0].k=3", "search.depth=200",
                 "data.corpus.folder=/data", "evaluation.measures=[top1, top200]", "published.values={}"]  # fmt: skip
    recipe = read.from_document(document, "r", overrides)
    assert (recipe.draw.positives.m, recipe.draw.negatives[0].k, recipe.search.depth) == (2, 3, 200)
    assert recipe.data.corpus.folder == "/data"
    assert recipe.evaluation.measures == ("top1", "top200")
    assert recipe.overrides == tuple(overrides)


@pytest.mark.parametrize(
    "override, message",
    [
        ("draw.positives.m", "'draw.positives.m' is not key=value"),
        (
            "draw.positive.m=2",
            "--set draw.positive.m: 'draw.positive' is not in the recipe (did you mean 'positives'?)",
        ),
        ("draw.negatives[4].k=2", "'draw.negatives[4]' is not in the recipe"),
        ("draw.negatives[4]=2", "'draw.negatives[4]' is not in the recipe"),
        ("draw.negatives.first.k=2", "'draw.negatives.first' is not in the recipe"),
        ("training.seed.more=2", "'training.seed.more' is not in the recipe"),
        ("training.seed=0123", "--set:1: '0123' is neither a plain decimal number"),
        ("training.seed={a: &x 1}", "anchors are not allowed"),
        ("training.seed=text", "--set training.seed: must be a whole number, not 'text'"),
        ("draw.positives.mm=2", "--set draw.positives.mm: unknown key"),
        ("training.sed=2", "--set training.sed: unknown key (did you mean 'seed'?"),
        ("draw.positives.m=0", "--set draw.positives.m: must be greater than or equal to 1"),
        ("search.depth=50", "evaluation.measures[3]: 'top100' looks at 100 passages, the search keeps 50"),
        ("training=3", "--set training: must be a mapping, not 3"),
        ("search.depth=", "--set:1: is empty"),
        (f"training.seed={'1' * 4301}", "(4301 characters) is neither a plain decimal number"),
        (f"training.max_steps={'1' * 999}", "(999 characters) is neither a plain decimal number"),
        ("objective[²].name=nll", "'objective.²' is not in the recipe"),
        (f"objective[{'1' * 5000}].name=nll", "is not in the recipe"),
        ("training.seed=\udcff", r"--set: 'training.seed=\udcff' has an undecodable character"),
        ("\udcff=1", r"--set: '\udcff=1' has an undecodable character"),
        ("a\x1b[2J=1", r"a\x1b[2J: 'a\x1b' is not in the recipe"),
        ("training.learning_rate=1.0e38", "--set training.learning_rate: must be less than 1e+30, not 1e+38"),
    ],
)
def test_bad_overrides(override: str, message: str) -> None:
    found = refused(TEXT, override)
    assert any(message in problem for problem in found), found


def test_the_file_s_own_line_comes_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT.replace("pooling: cls", "pooling: all"), "utf-8")
    with pytest.raises(RecipeError) as caught:
        read.load(path)
    assert str(caught.value).startswith(f"{path}:{line(TEXT, 'pooling: cls')} towers.pooling: ")
