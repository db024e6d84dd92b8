"""Activation checkpointing and low-rank adapters: what learns, in which precision, and that nothing else moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from mpr.errors import RecipeError
from mpr.models import towers, towers_folder
from mpr.models.towers import DualEncoder
from tests.conftest import Examined
from tests.unit.framings import bert
from tests.unit.tiny_models import LORA, batch, difference, moved, published, random_rows, random_states, settings

BERT = bert().backend_tokenizer


def gradients(built: DualEncoder, rows: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    built.zero_grad()
    questions, passages = built(question=rows, passage=rows)
    (questions[0] @ passages.T).logsumexp(0).backward()
    return {name: parameter.grad.clone() for name, parameter in built.trainable() if parameter.grad is not None}


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("share", [True, False])
def test_checkpointing_changes_nothing_but_memory(
    tmp_path: Path, reentrant: bool, lora: Any, share: bool, examined: Examined
) -> None:
    """Dropout is on: the layers that are computed again must be computed with the same noise."""
    base = str(published(tmp_path / "base"))
    built = towers.build(settings(base=base, share=share, lora=lora), BERT, 1)
    rows, calls = batch(random_rows(40)), []
    inner = built.question.transformer.encoder.layer[0].intermediate.dense
    inner.register_forward_hook(lambda *arguments: calls.append(1))
    plain = gradients(built, rows)
    before = len(calls)
    built.gradient_checkpointing_enable({"use_reentrant": reentrant})
    again = gradients(built, rows)
    assert len(calls) - before == 2 * before  # once more for the backward pass
    assert plain.keys() == again.keys() == {name for name, _ in built.trainable()}
    worst = max(difference(plain[name], again[name]) for name in plain)
    assert worst < 1e-6
    examined(len(plain), f"gradients, largest difference {worst:.1e}", at_least=8)


def test_frozen_weights_in_bfloat16(tmp_path: Path, examined: Examined) -> None:
    """They are rounded once; adapters and projection learn in 32 bits; what is saved opens as the rounded model."""
    base, which = str(published(tmp_path / "base")), {"towers": "question"}
    wanted = settings(base=base, share=False, lora=LORA | which, weights="bfloat16")
    built, rows = towers.build(wanted, BERT, 1), batch(random_rows(40))
    kinds = {name: parameter.dtype for name, parameter in built.named_parameters()}
    learning = {name for name, _ in built.trainable()}
    assert {kinds[name] for name in learning} == {torch.float32}
    assert {kinds[name] for name in kinds.keys() - learning} == {torch.bfloat16}
    found = gradients(built, rows)
    assert {part.dtype for part in found.values()} == {torch.float32}
    assert any(bool(part.any()) for part in found.values())
    moved(built)
    towers_folder.write(tmp_path / "model", built, BERT)
    opened, _, _ = towers_folder.load(tmp_path / "model", Path(base))
    assert {parameter.dtype for parameter in opened.parameters()} == {torch.float32}
    apart = 0
    for role in ("question", "passage"):
        held = {name: part.float() for name, part in getattr(built, role).state_dict().items()}
        again = getattr(opened, role).state_dict()
        assert held.keys() == again.keys()
        assert all(torch.equal(held[name], again[name]) for name in held)
        apart += len(held)
    examined(apart, "tensors: frozen ones rounded, all of them as they were after saving", at_least=60)


def test_a_frozen_tower_keeps_nothing_for_a_backward_pass(tmp_path: Path) -> None:
    base = str(published(tmp_path / "base"))
    built = towers.build(settings(base=base, share=False, lora=LORA | {"towers": "question"}), BERT, 1)
    built.activation_checkpointing_enable()
    questions, passages = built(question=batch(random_rows(40)), passage=batch(random_rows(40)))
    assert questions.requires_grad
    assert not passages.requires_grad


def test_checkpointing_that_a_model_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    built = towers.build(settings(), BERT, 1)
    monkeypatch.setattr(transformers.BertModel, "supports_gradient_checkpointing", False)
    with pytest.raises(RecipeError, match=r"training\.gradient_checkpointing"):
        built.activation_checkpointing_enable()


@pytest.mark.parametrize("which", ["both", "question", "passage"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_adapters_learn_and_nothing_else_moves(tmp_path: Path, which: str, dtype: torch.dtype) -> None:
    """From a 16-bit checkpoint too, and under a gradient scaler, which cannot take gradients of 16 bits back."""
    base = str(published(tmp_path / "base", dtype=dtype))
    plain = towers.build(settings(base=base, share=False), BERT, 1).eval()
    built = towers.build(settings(base=base, share=False, lora=LORA | {"towers": which}), BERT, 1)
    rows = batch(random_rows(40))
    assert torch.equal(plain(question=rows)[0], built.eval()(question=rows)[0])  # fresh adapters add nothing
    names = [name for name, _ in built.trainable()]
    adapted = 2 if which == "both" else 1
    assert len(names) == adapted * 2 * 2 * 2  # layers, modules, two matrices each
    assert all("lora_" in name and (which == "both" or name.startswith(which)) for name in names)
    assert {parameter.dtype for parameter in built.parameters()} == {torch.float32}
    before = {name: tensor.clone() for name, tensor in built.state_dict().items()}
    scaler = torch.amp.GradScaler("cpu")
    optimizer = torch.optim.AdamW([parameter for _, parameter in built.trainable()], lr=0.1)
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            questions, passages = built.train()(question=rows, passage=rows)
        scaler.scale((questions @ passages.T).diagonal().sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    changed = {name for name, tensor in built.state_dict().items() if not torch.equal(before[name], tensor)}
    assert changed == set(names)


def test_adapters_of_both_towers_start_equal_and_follow_from_the_seed(tmp_path: Path) -> None:
    base = str(published(tmp_path / "base"))
    wanted = settings(base=base, share=False, lora=LORA)
    before = random_states()
    built, again, other = (towers.build(wanted, BERT, seed) for seed in (1, 1, 2))
    assert random_states() == before
    for name, parameter in built.question.named_parameters():
        assert torch.equal(parameter, dict(built.passage.named_parameters())[name])
        assert torch.equal(parameter, dict(again.question.named_parameters())[name])
        assert torch.equal(parameter, dict(other.question.named_parameters())[name]) == ("lora_A" not in name)


def test_adapters_with_a_projection(tmp_path: Path) -> None:
    base = str(published(tmp_path / "base"))
    built = towers.build(settings(base=base, lora=LORA, projection=8), BERT, 1)
    assert [name for name, _ in built.trainable() if "lora_" not in name] == [
        "question.projection.weight",
        "question.projection.bias",
    ]
    with pytest.raises(RecipeError, match="which the tower that lora leaves frozen could never learn"):
        towers.build(settings(base=base, share=False, lora=LORA | {"towers": "question"}, projection=8), BERT, 1)


def test_modules_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    base = str(published(tmp_path / "base"))
    with pytest.raises(
        RecipeError, match=r"towers\.lora\.modules\[1\]: the encoder has no linear layer called 'q_proj'"
    ):
        towers.build(settings(base=base, lora=LORA | {"modules": ("query", "q_proj")}), BERT, 1)
