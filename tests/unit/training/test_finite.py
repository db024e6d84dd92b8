"""When a loss or a gradient is looked at, and what is said of one that is not finite."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import Trainer

from mpr.errors import NumbersError
from mpr.training._callbacks import EpochEnds
from mpr.training._trainer import OVERFLOWS, MultiPositiveTrainer
from tests.conftest import Examined

NAN, INF = float("nan"), float("inf")


def trainer(scaler: object = None, deepspeed: bool = False) -> Any:
    made = object.__new__(MultiPositiveTrainer)
    made.accelerator = SimpleNamespace(scaler=scaler)
    made.state = SimpleNamespace(global_step=6)
    made._looked, made._skipped, made.is_deepspeed_enabled = [], 0, deepspeed
    return made


@pytest.fixture(autouse=True)
def norm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stock method gives back the norm."""
    monkeypatch.setattr(Trainer, "_get_grad_norm", lambda self, model, grad_norm=None: grad_norm)


def test_all_numbers_of_an_update_are_read_in_one_look(monkeypatch: pytest.MonkeyPatch, examined: Examined) -> None:
    looks: list[int] = []
    tolist = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: looks.append(1) or tolist(self))  # type: ignore[func-returns-value]
    monkeypatch.setattr(torch.Tensor, "__float__", lambda self: pytest.fail("another look"))
    made = trainer()
    made._looked = [(torch.tensor(1.0), torch.tensor([3])), (torch.tensor(2.0), torch.tensor([4]))]
    assert made._get_grad_norm(None, torch.tensor(0.5)) is not None
    assert looks == [1]
    assert made._looked == [], "the next update begins anew"
    examined(3, "numbers")


@pytest.mark.parametrize(
    "losses, size, scaler, says",
    [
        ([1.0, NAN], 0.5, None, r"the loss is nan in update 7, questions \(rows of the split\) 1$"),
        ([INF, 1.0], NAN, object(), r"the loss is inf in update 7, questions \(rows of the split\) 0$"),
        ([1.0], NAN, None, "the gradient's norm is nan in update 7"),
        ([1.0], INF, None, "the gradient's norm is inf in update 7"),
    ],
)
def test_what_is_not_finite_ends_the_run(losses: list[float], size: float, scaler: object, says: str) -> None:
    made = trainer(scaler)
    made._looked = [(torch.tensor(loss), torch.tensor([number, -1])) for number, loss in enumerate(losses)]
    with pytest.raises(NumbersError) as stopped:
        made._get_grad_norm(None, torch.tensor(size))
    what = stopped.value.problems[0].what
    assert re.search(says, what), what


def test_a_loss_scaler_may_skip_some_updates() -> None:
    made = trainer(object())
    for _ in range(OVERFLOWS):
        made._looked = [(torch.tensor(1.0), torch.tensor([0]))]
        made._get_grad_norm(None, torch.tensor(INF))
    made._looked = [(torch.tensor(1.0), torch.tensor([0]))]
    with pytest.raises(NumbersError, match=f"for {OVERFLOWS + 1} updates on end"):
        made._get_grad_norm(None, torch.tensor(INF))


@pytest.mark.parametrize("deepspeed", [True, False])
def test_deepspeed_steps_in_the_backward_pass_so_the_loss_is_looked_at_before(deepspeed: bool) -> None:
    made = trainer(deepspeed=deepspeed)
    found = SimpleNamespace(loss=torch.tensor(NAN))
    made.loss = SimpleNamespace(forward=lambda model, inputs: found)
    made._note = lambda found: None
    inputs = {"question_ids": torch.tensor([5, 6])}
    if deepspeed:
        with pytest.raises(NumbersError, match="the loss is nan in update 7, questions"):
            made.compute_loss(None, inputs)
    else:
        assert made.compute_loss(None, inputs) is found.loss


def test_numbers_of_a_log_by_epoch_are_those_of_its_last_step(examined: Examined) -> None:
    """Rows 4 an update, 10 an epoch: epochs end in the updates 3, 5 and 8; the run in 9."""
    ends = EpochEnds(4, 10)
    wanted = [step for step in range(9) if ends.is_last(SimpleNamespace(global_step=step, max_steps=9))]
    assert wanted == [2, 4, 7, 8]
    made = trainer()
    made.epochs = ends
    made.args = SimpleNamespace(logging_first_step=False, logging_strategy="epoch")
    for step in range(9):
        made.state = SimpleNamespace(global_step=step, max_steps=9, logging_steps=0)
        assert made._is_logged_next() == (step in wanted)
    examined(9, "updates")
