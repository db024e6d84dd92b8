"""What `mpr plan` says: golden texts of every recipe, and a digest that changes with what is computed and only then."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from mpr.cli import app
from mpr.recipe import plan, strict_yaml
from mpr.recipe import read as recipe_file
from mpr.recipe.reference import PLANS
from tests import shipped
from tests.conftest import Examined
from tests.unit.recipe.test_schedule import with_training


@pytest.mark.parametrize("name", shipped.NAMES)
def test_golden(name: str) -> None:
    golden = shipped.ROOT / PLANS / f"{name}.txt"
    assert str(plan.resolve(shipped.recipes()[name])) == golden.read_text("utf-8"), "see `mpr reference --write`"


BAND = "{mean: 80.0, low: 79.0, high: 81.0, seeds: 3}"
MEASURES = ("top1", "top5", "top20", "top100")


def read(text: str, *overrides: str) -> Any:
    return recipe_file.from_document(strict_yaml.parse(text.encode(), "r.yaml"), "r", overrides)


def test_the_digest_names_what_is_computed(examined: Examined) -> None:
    """Every value of the recipe that is not about its place in a table changes the digest; the others do not."""
    name = "trec_bce_m3"
    text, base = shipped.text(name), plan.digest(shipped.recipes()[name])
    changes = {
        "data.repair.passages_missing": "drop", "data.corpus.candidates": 50, "data.overlap": "drop",
        "data.evaluate.test": "trec_dev", "data.evaluate.dev": "trec_dev", "towers.share": "true",
        "towers.pooling": "mean", "towers.normalize": "true", "towers.title": "join", "towers.question_length": 64,
        "towers.projection": 128, "towers.question_prompt": "'query: '", "draw.questions": "sequential",
        "draw.positives.m": 2, "draw.positives.beyond": "rotate", "draw.positives.cap": 5, "draw.negatives[0].k": 2,
        "draw.negatives[0].weight": "top", "draw.negatives[0].short": "fewer", "draw.negatives[0].window": 20,
        "draw.in_batch": "false", "labels[0].siblings": "ignore", "labels[0].tiers": "[gold]",
        "objective[0].scaling": "softmax", "objective[0].coefficient": 2.0, "scale.processes": 2,
        "scale.gather": "true", "training.seed": 43, "training.learning_rate": 2.0e-5, "training.fp16": "false",
        "training.adam_beta2": 0.99, "search.depth": 200,
        "evaluation.measures": "[top20, top100]",
    }  # fmt: skip
    digests = {base}
    for key, value in changes.items():
        digests.add(plan.digest(read(text, f"{key}={value}")))
    assert len(digests) == len(changes) + 1
    same = {
        "paper.row": "another", "varies": "[objective]", "published.source": "somewhere", "paper": "null",
        "expected": f"{{{', '.join(f'{name}: {BAND}' for name in MEASURES)}}}", "data.corpus.folder": "/elsewhere",
    }  # fmt: skip
    for key, value in same.items():
        assert plan.digest(read(text, f"{key}={value}")) == base, key
    examined(len(changes) + len(same), "changed keys", at_least=35)


def test_digests_tell_all_recipes_apart(examined: Examined) -> None:
    assert len({plan.digest(recipe) for recipe in shipped.recipes().values()}) == len(shipped.NAMES)
    examined(len(shipped.NAMES), "digests")


def test_unknown_is_said() -> None:
    text = str(plan.resolve(read(shipped.text("trec_bce_m3"), "towers.base=somebody/some-model")))
    assert "encoder     somebody/some-model, unknown parameters" in text
    assert "GPU memory  unknown\n" in text
    assert "one checkpoint unknown" in text
    assert text.endswith("time        unknown\n")


def test_validation_is_shown() -> None:
    pool = "validation={split: trec_dev, questions: 100, candidates: 30}"
    text = str(plan.resolve(read(shipped.text("trec_bce_m3"), pool, "training.eval_strategy=epoch")))
    assert "validate    trec_dev, at most 100 questions, during training\n" in text


def test_clusters_and_pairs_are_shown() -> None:
    label = "{name: teacher, missing: drop, scores: {file: s, format: triples}}"
    known = (
        "{name: known_positives, tiers: [gold], siblings: ignore, shared: ignore, duplicates: ignore, doubtful: ignore}"
    )
    made = plan.resolve(
        read(
            shipped.text("trec_bce_m3"),
            "draw.questions=cluster",
            "draw.clusters={k: 50, model: somebody/model@" + "0" * 40 + ", iterations: 5, per_batch: 2}",
            "draw.positives={policy: random1}",
            "draw.negatives[0].weight=margin_bins",
            "draw.negatives[0].bins=10",
            f"labels=[{known}, {label}]",
            "draft=true",
        )
    )
    assert f"questions   those of a step from 2 of 50 clusters, somebody/model@{'0' * 40}\n" in str(made)
    assert f"pin         somebody/model: checked by commit {'0' * 40}\n" in str(made)
    assert "positives   one a question, that of the drawn pair\n" in str(made)
    assert (made.steps, made.updates) == (None, None)  # questions without two pairs are left out


def test_accumulation_is_explained() -> None:
    text = str(plan.resolve(with_training("nq_bce_m3", gradient_accumulation_steps=4)))
    assert "147,200 steps in all, 36,800 updates (in-batch negatives do not grow with accumulation)" in text


@pytest.mark.parametrize(
    "hours, shown",
    [(0.0001, "under a second"), (0.01, "36 seconds"), (0.5, "30.0 minutes"), (1.9, "114.0 minutes"),
     (2.0, "2.0 hours"), (47.0, "47.0 hours"), (48.0, "2.0 days")],
)  # fmt: skip
def test_durations(hours: float, shown: str) -> None:
    assert plan._duration(hours) == shown


def test_commands(examined: Examined) -> None:
    recipe = str(shipped.ROOT / "recipes" / "quickstart.yaml")
    printed = CliRunner().invoke(app, ["plan", recipe])
    assert printed.exit_code == 0
    assert printed.output.startswith("recipe      quickstart\n")
    assert "\nhere        " in printed.output
    assert "\nwarning " not in printed.output
    made = json.loads(CliRunner().invoke(app, ["plan", "--json", recipe, "--set", "search.depth=200"]).output)
    assert made["steps"] == 160
    assert made["digest"] == plan.digest(read(shipped.text("quickstart"), "search.depth=200"))
    assert made["memory"]["states"] > 0
    checked = CliRunner().invoke(app, ["check", *map(str, shipped.PATHS)])
    assert (checked.exit_code, checked.output) == (
        0,
        f"{len(shipped.PATHS)} of {len(shipped.PATHS)} recipes are good\n",
    )
    examined(len(shipped.PATHS), "recipes checked")


def test_rows_of_papers_say_what_they_cost(examined: Examined) -> None:
    """Memory, hours and disk of each, before anything is downloaded: none is unknown, none is nothing."""
    rows = {
        name: recipe
        for name, recipe in shipped.recipes().items()
        if recipe.paper is not None and not shipped.is_system(name)
    }
    said = 0
    for name, recipe in rows.items():
        found = plan.resolve(recipe)
        assert found.memory is not None, name
        assert found.hours is not None, name
        kinds = {what.split(" on ")[0] for what in found.hours}
        assert kinds == {"train", "encode"}, name
        numbers = [found.memory.total, *found.disk.values(), *found.hours.values()]
        assert all(number is not None and number > 0 for number in numbers), (name, numbers)
        lines = str(found).splitlines()
        costs = lines[next(number for number, line in enumerate(lines) if line.startswith("GPU memory")) :]
        assert not [line for line in costs if plan.UNKNOWN in line], costs
        said += len(numbers)
    assert len(rows) >= 45
    examined(said, f"costs of {len(rows)} rows", at_least=500)
