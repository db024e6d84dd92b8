"""`training: none`: which keys a recipe then has, and what it is compared with."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpr.errors import RecipeError
from mpr.recipe import plan, read, strict_yaml
from tests import shipped
from tests.conftest import Examined

NAME = "checkpoints/tas_b_msmarco"
TEXT = shipped.text(NAME)
CHECKPOINTS = [name for name, recipe in shipped.recipes().items() if not recipe.trains]


def written(folder: Path, text: str) -> Path:
    path = folder / "row.yaml"
    path.write_text(text, "utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        read.load(written(folder, text))
    return str(caught.value)


def test_every_checkpoint_has_its_own_recipe(examined: Examined) -> None:
    assert all(name.startswith("checkpoints/") for name in CHECKPOINTS)
    for name in CHECKPOINTS:
        recipe = shipped.recipes()[name]
        assert recipe.system == "published"
        pinned = recipe.towers.revision and (recipe.towers.passage_base is None or recipe.towers.passage_revision)
        assert pinned or recipe.draft, name
        known = [value for value in recipe.published.values.values() if value is not None]
        assert bool(known) == (recipe.published.source is not None) == (recipe.published.tolerance is not None)
        assert ("# missing: " in shipped.text(name)) == recipe.draft
    examined(len(CHECKPOINTS), "recipes of published checkpoints", at_least=12)


@pytest.mark.parametrize(
    "line",
    [
        "sources: []", "draw: {in_batch: true}", "labels: []", "objective: []", "scale: {processes: 1}",
        "refresh: {every: 2}", "validation: {split: dev}", "plan: [{name: a}]", "task: cross_encoder",
        "expected: {mrr10: 1}",
    ],
)  # fmt: skip
def test_keys_about_training_are_refused(tmp_path: Path, line: str) -> None:
    said = refusal(tmp_path, f"{TEXT}{line}\n")
    number, key = len(TEXT.splitlines()) + 1, line.partition(":")[0]
    assert f"row.yaml:{number} {key}: is about training, and nothing is trained (training: none)" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("key", ["train: train", "repair: {}", "overlap: drop", "unlabelled: train"])
def test_so_are_those_of_data_and_towers(tmp_path: Path, key: str) -> None:
    place = "  evaluate: {dev"
    assert f"data.{key.partition(':')[0]}: is about training" in refusal(
        tmp_path, TEXT.replace(place, f"  {key}\n{place}")
    )
    assert "towers.lora: is about training" in refusal(
        tmp_path, TEXT.replace("  share: true", "  lora: {rank: 4}\n  share: true")
    )


def test_every_misspelt_key_is_refused_at_its_line(examined: Examined) -> None:
    """Names of one's own are free, and stand elsewhere again."""
    count, seen = 0, set[str]()
    for name in CHECKPOINTS:
        text = shipped.text(name)
        lines = text.splitlines(keepends=True)
        for path, number in strict_yaml.parse(text.encode(), name).lines.items():
            place, line = strict_yaml.dotted(path), lines[number - 1]
            is_free = (path[:2] == ("data", "evaluate") and len(path) == 3) or path[-2:] == ("splits", "test")
            if not path or isinstance(path[-1], int) or is_free or place in seen:
                continue
            seen.add(place)
            at = line.index(f"{path[-1]}: ") if f"{path[-1]}: " in line else line.index(f"{path[-1]}:")
            spoilt = [*lines[: number - 1], f"{line[:at]}x{line[at:]}", *lines[number:]]
            with pytest.raises(RecipeError) as caught:
                read.from_document(strict_yaml.parse("".join(spoilt).encode(), "r.yaml"), "r")
            assert f"r.yaml:{number} " in str(caught.value), (name, place, str(caught.value))
            count += 1
    examined(count, "misspelt keys", at_least=50)


def test_a_key_that_is_not_known_is_refused_even_as_null(tmp_path: Path) -> None:
    assert "row.yaml:1 papr: unknown key" in refusal(tmp_path, f"papr: null\n{TEXT}")
    for null in ("draw: null\n", "expected: null\n"):
        read.load(written(tmp_path, TEXT + null))


def test_what_is_compared_is_complete(tmp_path: Path) -> None:
    tolerance = next(line for line in TEXT.splitlines(True) if "tolerance" in line)
    assert "published.tolerance: is missing: the values" in refusal(tmp_path, TEXT.replace(tolerance, ""))
    assert "published.values.dl19.ndcg11: is not a measure of this recipe" in refusal(
        tmp_path, TEXT.replace("dl19.ndcg10", "dl19.ndcg11")
    )
    assert "published.values.dl21.ndcg10: is not a measure" in refusal(
        tmp_path, TEXT.replace("dl19.ndcg10", "dl21.ndcg10")
    )
    with pytest.raises(RecipeError, match=r"published\.tolerance: nothing is compared"):
        read.load(shipped.ROOT / "recipes" / "nq_nll_m1_released.yaml", ["published.tolerance=0.1"])


def test_an_empty_training_is_no_training_left_out(tmp_path: Path) -> None:
    for given in ("{}", "null", "nothing"):
        said = refusal(tmp_path, TEXT.replace("training: none", f"training: {given}"))
        assert "training: " in said
        assert "draw: is missing" in said
    text = shipped.text("quickstart")
    start = text.index("training:\n")
    other = text[:start] + "training: {learning_rat: 1}\n" + text[text.index("\nvalidation:") + 1 :]
    said = refusal(tmp_path, other)
    assert "training.seed: is missing" in said, "a training whose keys are all wrong is a training"


def test_nobody_reads_what_stands_in_for_training(tmp_path: Path) -> None:
    """Its digest is of what is measured; and whoever wants to train with it is told."""
    recipe = read.load(written(tmp_path, TEXT))
    digest = plan.digest(recipe)
    assert digest == plan.digest(read.load(written(tmp_path, TEXT.replace("tolerance: 0.2", "tolerance: 0.3"))))
    assert digest != plan.digest(
        read.load(written(tmp_path, TEXT.replace("passage_length: 256", "passage_length: 128")))
    )
    with pytest.raises(RecipeError, match=r"the recipe trains nothing \(training: none\)"):
        recipe.must_train()


def test_the_plan_says_so() -> None:
    lines = plan.resolve(shipped.recipes()[NAME]).lines
    text = "\n".join(lines)
    assert "training    none: the encoders are measured as they were published" in lines
    assert "published   dl20: ndcg10 68.54, map1000 46.98, recall1000 87.27" in lines
    assert "GPU memory" not in text
    assert "checkpoint" not in next(line for line in lines if line.startswith("disk"))
    assert "encode on 1 x H100" in text
    assert "train on" not in text
