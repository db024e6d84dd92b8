"""Whole runs in bf16 and with LoRA: what is 32-bit or frozen stays so byte for byte, what stops resumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mpr import storage
from mpr.models import towers_folder
from mpr.recipe import read
from mpr.storage.manifest import sha256_file
from mpr.training.launch import Launch, run
from mpr.training.run_folder import RunFolder
from tests.conftest import Examined
from tests.e2e.runs import OPTIONS, World

pytestmark = pytest.mark.long

LORA = "towers.lora={{rank: 2, alpha: 4, dropout: 0.1, modules: [query, value], towers: {towers}}}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("precision"))


def trained(world: World, name: str, *options: str, recipe: str = "still") -> RunFolder:
    wanted = read.load(world.recipes[recipe], (*OPTIONS, *options))
    return RunFolder(run(wanted, Launch(world.folder / "home", world.folder / name, None, True)))


def losses(folder: RunFolder) -> list[float]:
    entries: list[dict[str, Any]] = [json.loads(line) for line in folder.metrics.read_text("utf-8").splitlines()]
    return [entry["loss"] for entry in entries if "loss" in entry]


def test_bf16_follows_32_bits_and_keeps_32_bit_weights(world: World, examined: Examined) -> None:
    whole, half = trained(world, "fp32"), trained(world, "bf16", "training.bf16=true")
    apart = [abs(one - other) / other for one, other in zip(losses(half), losses(whole), strict=True)]
    assert 0 < max(apart) < 0.02, apart
    weights = load_file(half.model / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    examined(len(apart), f"updates in bf16, losses at most {max(apart):.1e} from 32 bits", at_least=6)


@pytest.mark.parametrize("towers", ["both", "question"])
def test_lora_trains_the_adapters_and_nothing_else(world: World, towers: str, examined: Examined) -> None:
    options = ("towers.share=false", LORA.format(towers=towers), "training.bf16=true", "training.learning_rate=0.05")
    folder = trained(world, f"lora-{towers}", *options)
    base = world.folder / "encoder"
    made, _, contract = towers_folder.load(folder.model, base, base)
    assert contract.weights == "adapter"
    before = load_file(base / "model.safetensors")
    frozen = moved = 0
    for role in ("question", "passage"):
        for name, tensor in getattr(made, role).transformer.state_dict().items():
            plain = name.replace(".base_layer", "")
            if plain in before:
                assert torch.equal(tensor, before[plain]), name
                frozen += 1
            elif "lora_B" in name:  # starts as zeros
                assert bool(tensor.any()), name
                assert tensor.dtype == torch.float32, name
                moved += 1
    assert moved == (4 if towers == "both" else 2) * made.question.transformer.config.num_hidden_layers
    examined(frozen + moved, "tensors: frozen ones as they were, adapters moved and in 32 bits", at_least=40)


def test_lora_resumes_to_the_same_bits(world: World, tmp_path: Path) -> None:
    options = (LORA.format(towers="both"),)
    whole = trained(world, "lora-whole", *options)
    half = trained(world, "lora-half", *options)
    storage.remove(half.model)
    for update in half.updates()[1:]:
        storage.remove(half.checkpoint(update))
    assert half.updates() == [2]
    trained(world, "lora-half", *options)
    name = "adapter_model.safetensors"
    assert sha256_file(half.model / name) == sha256_file(whole.model / name)
