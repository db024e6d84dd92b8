"""A process whose staging folder the first process has taken away, while it wrote its part of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import Trainer

from mpr.errors import StorageError
from mpr.training._checkpoints import CommittedCheckpoints
from mpr.training.run_folder import RunFolder


def second_process(folder: Path, staging: Path) -> Any:
    """The second of two processes, without a model: only what saving a checkpoint looks at."""
    trainer: Any = object.__new__(CommittedCheckpoints)
    trainer.run, trainer.state = RunFolder(folder), SimpleNamespace(global_step=2)
    trainer.is_world_process_zero = lambda: False
    trainer.model, trainer.accelerator = torch.nn.Linear(1, 1), SimpleNamespace(unwrap_model=lambda model: model)
    answers = iter((False, str(staging)))
    trainer._agreed = lambda value: next(answers)
    return trainer


@pytest.mark.parametrize("write", ["torch", "python"])
def test_a_staging_folder_that_is_gone_is_a_storage_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    staging = tmp_path / ".2.staging"
    staging.mkdir()  # it is removed from the inside out
    gone = staging / "checkpoint-2" / "rng_state_1.pth"

    def save(trainer: Any, model: Any, trial: Any) -> None:
        if write == "torch":
            torch.save({"cpu": torch.zeros(3)}, gone)
        else:
            gone.write_bytes(b"0")

    monkeypatch.setattr(Trainer, "_save_checkpoint", save)
    with pytest.raises(StorageError, match="gave up this checkpoint"):
        second_process(tmp_path, staging)._save_checkpoint(None, None)


def test_other_errors_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(trainer: Any, model: Any, trial: Any) -> None:
        raise RuntimeError("shapes do not match")

    (tmp_path / "checkpoint-2").mkdir()
    monkeypatch.setattr(Trainer, "_save_checkpoint", save)
    with pytest.raises(RuntimeError, match="shapes"):
        second_process(tmp_path, tmp_path)._save_checkpoint(None, None)
