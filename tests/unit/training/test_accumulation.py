"""Gradient accumulation by whole runs: it averages steps, and the negatives of a step do not grow with it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mpr.recipe import read
from mpr.training.launch import Launch, run
from tests.conftest import Examined
from tests.e2e import collection
from tests.unit import tiny_models

QUESTIONS = 20
# Plain gradient descent, so that a weight's step is its gradient and rounding stays rounding.
OPTIONS = ("training.max_steps=1", "training.optim=sgd", "training.learning_rate=5.0", "training.max_grad_norm=0")
WHOLE = ("training.per_device_train_batch_size=16",)
PARTS = ("training.per_device_train_batch_size=4", "training.gradient_accumulation_steps=4")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty questions with one to three positives and one negative each; an encoder without dropout."""
    folder = tmp_path_factory.mktemp("accumulation")
    names = list(collection.PASSAGES)
    rows: list[dict[str, object]] = []
    for number in range(QUESTIONS):
        positives = [names[(number + step) % 12] for step in range(1 + number % 3)]
        rows.append(
            {"id": f"q{number}", "question": f"What of {number} is {'so ' * (number % 4)}said?", "answers": ["x"],
             "gold": positives[0], "pos": positives, "neg": [names[(number + 5) % 12]]}
        )  # fmt: skip
    path = collection.write(folder, train=rows)
    base = tiny_models.published(folder / "encoder")
    config = json.loads((base / "config.json").read_text("utf-8"))
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (base / "config.json").write_text(json.dumps(config), "utf-8")
    text = path.read_text("utf-8").replace("questions: 5}", f"questions: {QUESTIONS}}}")
    text = text.replace("  num_train_epochs: 1\n", "  max_steps: 1\n")
    new = "  new: {layers: 1, width: 32, heads: 2, feed_forward: 64, vocabulary: 400}\n"
    assert new in text
    path.write_text(text.replace(new, f"  base: {json.dumps(str(base))}\n"), "utf-8")
    return path


def trained(recipe: Path, name: str, *options: str) -> dict[str, torch.Tensor]:
    folder = recipe.parent / name
    run(read.load(recipe, (*OPTIONS, *options)), Launch(recipe.parent / "home", folder, quiet=True))
    return load_file(folder / "model" / "model.safetensors")


def difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The largest of any weight."""
    assert one.keys() <= other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_without_in_batch_negatives_four_times_four_are_sixteen(
    recipe: Path, examined: Examined, caplog: pytest.LogCaptureFixture
) -> None:
    alone = ("draw.in_batch=false",)
    with caplog.at_level(logging.INFO, "mpr.train"):
        whole = trained(recipe, "whole", *WHOLE, *alone)
        parts = trained(recipe, "parts", *PARTS, *alone)
    moved = difference(whole, load_file(recipe.parent / "encoder" / "model.safetensors"))
    assert moved > 1e-2
    apart = difference(whole, parts)
    assert apart < 1e-5 * moved, (apart, moved)
    assert "in-batch negatives do not grow" not in caplog.text
    examined(len(whole), f"tensors that moved by up to {moved:.2g} and differ by up to {apart:.0e}", at_least=30)


def test_with_in_batch_negatives_they_are_not_and_the_log_says_so(
    recipe: Path, examined: Examined, caplog: pytest.LogCaptureFixture
) -> None:
    shared = ("draw.in_batch=true",)
    with caplog.at_level(logging.INFO, "mpr.train"):
        whole = trained(recipe, "whole together", *WHOLE, *shared)
    assert "in-batch negatives do not grow" not in caplog.text
    with caplog.at_level(logging.INFO, "mpr.train"):
        parts = trained(recipe, "parts together", *PARTS, *shared)
    assert "in-batch negatives do not grow with accumulation" in caplog.text
    moved = difference(whole, load_file(recipe.parent / "encoder" / "model.safetensors"))
    assert difference(whole, parts) > 0.1 * moved
    examined(len(whole), "tensors", at_least=30)
