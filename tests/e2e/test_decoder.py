"""A decoder as the encoder: the last token is the vector, questions carry an instruction, adapters learn on a base that
is held in bfloat16, texts lie in one row. It trains, resumes to the same bits, and opens elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

from mpr import storage
from mpr.models import towers_folder
from mpr.recipe import read
from mpr.storage.manifest import sha256_file
from mpr.training.launch import Launch, run
from mpr.training.run_folder import RunFolder
from tests.conftest import Examined
from tests.e2e.runs import OPTIONS, World
from tests.unit import tiny_models

ADAPTERS = "adapter_model.safetensors"
QUESTIONS = ["Who wrote The Salt Road?", "how long is the Teith"]
PASSAGES = [("Salt Road", "The Salt Road is a novel by Ana Brel."), ("", "Towns have walls."), ("Teith", "A river.")]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = World(tmp_path_factory.mktemp("decoder"))
    tiny_models.published(made.folder / "decoder", "qwen3", dtype=torch.bfloat16)  # as such models are published
    return made


def trained(world: World, name: str, *more: str) -> RunFolder:
    options = (
        f"towers.base={world.folder / 'decoder'}", "towers.pooling=last", "towers.title=join",
        'towers.question_prompt="Instruct: Find the passage\\nQuery: "', "towers.question_length=60",
        "towers.passage_length=60", "towers.weights=bfloat16", "training.learning_rate=0.01", "scale.groups=packed",
        "towers.lora={rank: 2, alpha: 4, dropout: 0.1, modules: [q_proj, v_proj], towers: both}",
    )  # fmt: skip
    wanted = read.load(world.recipes["still"], (*OPTIONS, *options, *more))
    return RunFolder(run(wanted, Launch(world.folder / "home", world.folder / name, None, True)))


def test_it_trains_and_resumes_to_the_same_bits(world: World) -> None:
    whole, half = trained(world, "whole"), trained(world, "half")
    assert any(bool(tensor.any()) for name, tensor in load_file(whole.model / ADAPTERS).items() if "lora_B" in name)
    storage.remove(half.model)
    for update in half.updates()[1:]:
        storage.remove(half.checkpoint(update))
    weights = load_file(next(half.checkpoint(2).glob("*/*.safetensors")))
    held = {tensor.dtype for name, tensor in weights.items() if "lora_" not in name}
    assert held == {torch.bfloat16}, "the base takes half the room in a checkpoint too"
    assert {tensor.dtype for name, tensor in weights.items() if "lora_" in name} == {torch.float32}
    trained(world, "half")
    assert sha256_file(half.model / ADAPTERS) == sha256_file(whole.model / ADAPTERS)


def test_it_opens_in_sentence_transformers(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Examined
) -> None:
    monkeypatch.chdir(world.folder)  # the adapters name their base by the last part of its folder
    folder = trained(world, "whole").model
    made, tokenizer, _ = towers_folder.load(folder, world.folder / "decoder")
    ours = tiny_models.vectors(made, tokenizer, tmp_path, QUESTIONS, PASSAGES)
    towers_folder.merge(folder, tmp_path / "merged", world.folder / "decoder")
    worst = 0.0
    for place in (folder, tmp_path / "merged"):
        theirs = SentenceTransformer(str(place), device="cpu", local_files_only=True, model_kwargs={"dtype": "float32"})
        passages = [f"{title} {text}".strip() for title, text in PASSAGES]
        found = theirs.encode_query(QUESTIONS), theirs.encode_document(passages)
        worst = max(worst, *(tiny_models.difference(*pair) for pair in zip(ours, found, strict=True)))
    assert worst < 1e-5
    examined(2 * 5, f"vectors of adapters and of a merged model, largest difference {worst:.1e}")
