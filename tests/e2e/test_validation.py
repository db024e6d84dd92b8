"""Validation during real runs: the best checkpoint becomes the model, patience ends a run, a resumed run agrees."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mpr import storage
from mpr.errors import RecipeError
from mpr.recipe import read
from mpr.recipe.keys import Recipe
from mpr.training._validation import DevPool
from mpr.training.launch import Launch, run
from mpr.training.run_folder import RunFolder
from tests.conftest import Examined
from tests.e2e import collection

DEV = [
    {"id": "d0", "question": "Which town lies on the Teith?", "answers": ["Velmora"], "gold": "p1",
     "pos": ["p1", "p2"], "neg": ["p11", "p8"]},
    {"id": "d1", "question": "Who is the author of The Salt Road?", "answers": ["Ana Brel"], "gold": "p5",
     "pos": ["p5", "p6"], "neg": ["p10", "p9"]},
    {"id": "d2", "question": "Where do rivers end?", "answers": ["the sea"], "gold": "p9",
     "pos": ["p9"], "neg": ["p3"]},
]  # fmt: skip
BEST = (
    "training.eval_strategy=steps",
    "training.eval_steps=1",
    "training.save_strategy=steps",
    "training.save_steps=1",
    "training.save_total_limit=1",
    "training.load_best_model_at_end=true",
    "training.metric_for_best_model=mrr",
    "training.logging_steps=1",
    "training.max_steps=8",
)
PATIENT = (*BEST, "validation.patience=2")


def recipe(folder: Path) -> Path:
    """The small collection with three questions held out, whose pool is nine passages."""
    path = collection.write(folder)
    (folder / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in DEV), "utf-8")
    text = path.read_text("utf-8")
    text = text.replace(
        "      test: {", "      dev: {file: dev.jsonl, format: candidates, questions: 3}\n      test: {"
    )
    text = text.replace("search:", "validation: {split: dev, questions: 3, candidates: 2}\nsearch:")
    path.write_text(text.replace("  num_train_epochs: 1\n", "  max_steps: 8\n"), "utf-8")
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recipe(tmp_path_factory.mktemp("validation"))


def launch(path: Path, folder: Path, *options: str) -> tuple[Recipe, Launch]:
    return read.load(path, options), Launch(path.parent / "home", folder, quiet=True)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def evaluations(folder: Path) -> dict[int, dict[str, float]]:
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {entry["step"]: entry for entry in entries if "eval_mrr" in entry}


class Planned:
    """Stands in for the pool: after update n the one positive has the n-th of these ranks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ranks: list[int]) -> None:
        self.ranks, self.asked = ranks, 0
        real = DevPool.ranks

        def planned(pool: DevPool, model: Any, device: torch.device) -> Any:
            found = real(pool, model, device)
            found[:] = self.ranks[self.asked]
            self.asked += 1
            return found

        monkeypatch.setattr(DevPool, "ranks", planned)


class Kept:
    """Weights after every update, as the checkpoints had them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.of: dict[int, dict[str, torch.Tensor]] = {}
        real = storage.Stage._commit

        def commit(stage: Any, target: Path, kind: str, receipt: Any) -> None:
            if kind == "checkpoint":
                inner = stage.folder / f"checkpoint-{target.name}" / "model.safetensors"
                self.of[int(target.name)] = load_file(inner)
            real(stage, target, kind, receipt)

        monkeypatch.setattr(storage.Stage, "_commit", commit)


def is_checkpoint(model: dict[str, torch.Tensor], checkpoint: dict[str, torch.Tensor]) -> bool:
    """Names differ between a checkpoint and a model; the transformer's tensors do not."""
    words = model["embeddings.word_embeddings.weight"]
    stored = [value for name, value in checkpoint.items() if name.endswith("word_embeddings.weight")]
    return any(torch.equal(words, value) for value in stored)


def test_the_best_checkpoint_becomes_the_model(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Examined
) -> None:
    kept = Kept(monkeypatch)
    plans = {2: [5, 3, 1, 1, 2, 4, 5, 6], 7: [7, 6, 5, 4, 3, 2, 1, 0]}
    for best, ranks in plans.items():
        Planned(monkeypatch, ranks)
        folder = tmp_path / str(best)
        run(*launch(path, folder, *BEST))
        assert is_checkpoint(weights(folder), kept.of[best + 1])
        assert [step for step in kept.of if is_checkpoint(weights(folder), kept.of[step])] == [best + 1]
        assert storage.read_manifest(folder / "model").receipt["best"] == best + 1
        assert RunFolder(folder).updates() == sorted({best + 1, 8}), "save_total_limit keeps the best"
        monkeypatch.undo()
        kept = Kept(monkeypatch)
    examined(len(plans), "runs with a known best checkpoint", at_least=2)


@pytest.fixture
def stopping(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Planned]:
    """A run that is best after update 2, and so ends after update 4."""
    return tmp_path / "whole", Planned(monkeypatch, [5, 1, 1, 2, 0, 0, 0, 0])


def test_patience_ends_the_run(path: Path, stopping: tuple[Path, Planned], caplog: pytest.LogCaptureFixture) -> None:
    folder, plan = stopping
    run(*launch(path, folder, *PATIENT))
    assert plan.asked == 4
    assert list(evaluations(folder)) == [1, 2, 3, 4]
    receipt = storage.read_manifest(folder / "model").receipt
    assert (receipt["updates"], receipt["best"]) == (4, 2)
    with caplog.at_level("INFO", "mpr.train"):
        run(*launch(path, folder, *PATIENT))
    assert "already trained" in caplog.text
    assert plan.asked == 4


@pytest.mark.parametrize("left", [[2, 4], [2, 3], [1], []], ids=str)
def test_a_resumed_run_stops_where_the_unbroken_one_did(
    path: Path, stopping: tuple[Path, Planned], tmp_path: Path, left: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if killed with these checkpoints: after the stop, between two bad evaluations, before the best, at once."""
    folder, plan = stopping
    with pytest.MonkeyPatch.context() as keep_all:
        keep_all.setattr("mpr.training._trainer.MultiPositiveTrainer._forget_old", lambda trainer: None)
        run(*launch(path, folder, *PATIENT))
    again = RunFolder(tmp_path / "again")
    shutil.copytree(folder, again.folder)
    storage.remove(again.model)
    os.remove(again.metrics)
    for update in again.updates():
        if update not in left:
            storage.remove(again.checkpoint(update))
    plan.asked = max(left, default=0)
    run(*launch(path, again.folder, *PATIENT))
    assert plan.asked == 4
    assert {name: value.tolist() for name, value in weights(again.folder).items()} == {
        name: value.tolist() for name, value in weights(folder).items()
    }
    assert evaluations(again.folder) == evaluations(folder)


def test_measuring_changes_nothing(path: Path, tmp_path: Path) -> None:
    """Not a bit: no random number is drawn, no dropout stays off."""
    plain = [option for option in BEST if "best" not in option]
    run(*launch(path, tmp_path / "measured", *plain))
    nothing = ["validation=null", 'training.eval_strategy="no"', "training.save_steps=8", "training.max_steps=8"]
    run(*launch(path, tmp_path / "plain", *nothing))
    left, right = weights(tmp_path / "measured"), weights(tmp_path / "plain")
    assert all(torch.equal(left[name], right[name]) for name in right)
    measured = evaluations(tmp_path / "measured")
    assert set(measured[8]) >= {"eval_top1", "eval_top5", "eval_mrr", "eval_average_rank"}
    assert "eval_top20" not in measured[8], "the pool has fewer passages"


def test_epochs_are_those_of_the_data(path: Path, tmp_path: Path) -> None:
    """Four rows, two a step: an epoch is two updates, and transformers' own is the whole run."""
    by_epoch = ["training.eval_strategy=epoch", "training.save_strategy=epoch", "training.max_steps=5"]
    run(*launch(path, tmp_path / "run", *by_epoch))
    assert list(evaluations(tmp_path / "run")) == [2, 4, 5]
    assert RunFolder(tmp_path / "run").updates() == [2, 4, 5]


def test_a_measure_that_is_always_one_is_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="'top20' cannot tell checkpoints apart: the pool has 9 passages"):
        run(*launch(path, tmp_path / "run", *BEST, "training.metric_for_best_model=eval_top20"))


def test_the_recipe_of_these_tests_is_sound(path: Path) -> None:
    assert read.load(path, PATIENT).validation is not None
