"""`report_to`: a real run is seen in TensorBoard, and one that is not installed is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpr.errors import RecipeError
from mpr.recipe import read
from mpr.recipe.keys import Recipe
from mpr.training import launch as launching
from mpr.training.launch import Launch, run
from tests.conftest import Examined
from tests.e2e import collection

ABSENT = ("wandb", "comet_ml", "swanlab", "dvclive")


def launch(tmp_path: Path, *options: str) -> tuple[Recipe, Launch]:
    path = collection.write(tmp_path)
    steps = ("training.logging_steps=1", 'training.save_strategy="no"', *options)
    return read.load(path, steps), Launch(tmp_path / "home", tmp_path / "run", quiet=True)


def test_tensorboard_sees_what_the_log_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Examined) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    run(*launch(tmp_path, "training.report_to=tensorboard"))
    board = EventAccumulator(str(tmp_path / "board"))
    board.Reload()
    shown = set(board.Tags()["scalars"])
    wanted = {"loss", "loss_joint_lh", "positives_seen_share", "tokens_per_second", "gradient_share_1", "draw_epoch"}
    assert {f"train/{name}" for name in wanted} <= shown
    assert [event.step for event in board.Scalars("train/loss")] == [1, 2]
    examined(len(shown), "curves in TensorBoard", at_least=25)


def test_tensorboard_writes_into_the_run_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    start = launch(tmp_path, "training.report_to=[tensorboard]")
    run(*start)
    assert list((tmp_path / "run" / "runs").rglob("events.out.tfevents.*"))
    run(*start)  # the files in the run folder are in nobody's way


def test_an_absent_tracker_is_refused(tmp_path: Path, examined: Examined) -> None:
    with pytest.raises(RecipeError, match="the tracker 'wandb' is not installed here"):
        run(*launch(tmp_path, "training.report_to=wandb"))
    assert not (tmp_path / "run" / "model").exists()
    for name in ABSENT:
        with pytest.raises(RecipeError, match=f"the tracker '{name}' is not installed here") as caught:
            launching.refuse_absent_trackers([name])
        assert [problem.key for problem in caught.value.problems] == ["training.report_to"]
        assert caught.value.exit_code == 2
    examined(len(ABSENT), "absent trackers", at_least=4)


def test_all_problems_of_trackers_are_told_together() -> None:
    with pytest.raises(RecipeError) as caught:
        launching.refuse_absent_trackers(["wandb", "tensorbord", "none"])
    assert len(caught.value.problems) == 2
    assert "tensorbord is not supported" in str(caught.value)
    launching.refuse_absent_trackers(["tensorboard"])
    launching.refuse_absent_trackers([])


def test_tensorboard_itself_may_be_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.integrations.integration_utils.is_tensorboard_available", lambda: False)
    with pytest.raises(RecipeError, match=r"pip install 'mpr-retrieval\[trackers\]'"):
        launching.refuse_absent_trackers(["tensorboard"])
