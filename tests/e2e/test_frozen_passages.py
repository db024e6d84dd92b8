"""Whole runs in which passages are encoded once: what is encoded when, what stays, what resumes, what is kept."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.modules import module as torch_module

from mpr import storage
from mpr.errors import MprError
from mpr.models.towers import DualEncoder
from mpr.training import _fit, learner
from mpr.training.launch import run
from mpr.training.run_folder import RunFolder
from tests.conftest import Examined
from tests.e2e.runs import FROZEN, LIVE, SELF
from tests.faults import training
from tests.faults.test_06_resume import halfway

pytestmark = pytest.mark.long

KINDS = {
    "table": (*FROZEN, "draw.negatives=[{from: bm25, all: true, weight: top, short: fewer}]"),
    "live": (*FROZEN, *LIVE),
    "live in chunks, 16 bits": (*FROZEN, *LIVE, "scale.cache={questions: 1, passages: 1}", "training.bf16=true"),
    "proposed by faiss": (*FROZEN, *LIVE, SELF.format(index="SQ4")),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe whose encoder has dropout."""
    return training.recipe(tmp_path_factory.mktemp("frozen"))


def trained(path: Path, folder: Path, kind: str, *options: str) -> RunFolder:
    run(*training.launch(path, folder, *KINDS[kind], *options))
    return RunFolder(folder)


def weights(folder: RunFolder) -> dict[str, dict[str, torch.Tensor]]:
    names = {"question": "query_0_Transformer", "passage": "document_0_Transformer"}
    return {role: load_file(folder.model / name / "model.safetensors") for role, name in names.items()}


class Built:
    """The towers that runs build, and how often each encoder was called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.towers: list[DualEncoder] = []
        self.calls: Counter[int] = Counter()
        self.trainers: list[Any] = []
        build, trainer = learner.towers_of, _fit.trainer_of
        monkeypatch.setattr(learner, "towers_of", lambda *given: self._kept(self.towers, build(*given)))
        monkeypatch.setattr(_fit, "trainer_of", lambda *given: self._kept(self.trainers, trainer(*given)))

    @staticmethod
    def _kept(places: list[Any], made: Any) -> Any:
        places.append(made)
        return made

    def __call__(self, module: Any, *_: object) -> None:
        self.calls[id(module)] += 1

    def of(self, number: int, role: str) -> int:
        return self.calls[id(getattr(self.towers[number], role))]


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Any:
    found = Built(monkeypatch)
    handle = torch_module.register_module_forward_hook(found)
    yield found
    handle.remove()


@pytest.mark.parametrize("kind", KINDS)
def test_passages_are_encoded_before_training_and_never_in_it(
    path: Path, tmp_path: Path, kind: str, built: Built, examined: Examined
) -> None:
    for store in (path.parent / "home").rglob("passages-vectors-*"):
        storage.remove(store)
    folder = trained(path, tmp_path / "run", kind)
    assert built.of(0, "passage") > 0, "before training"
    assert built.of(0, "question") == built.of(1, "passage") == 0
    assert built.of(1, "question") >= training.STEPS
    before, after = {role: getattr(built.towers[0], role) for role in ("question", "passage")}, weights(folder)
    for name, tensor in before["passage"].transformer.state_dict().items():
        assert torch.equal(tensor.cpu(), after["passage"][name]), name
    moved = [name for name, tensor in after["question"].items() if not torch.equal(tensor, after["passage"][name])]
    assert len(moved) > 10
    learning = [each for group in built.trainers[0].optimizer.param_groups for each in group["params"]]
    assert {id(each) for each in learning} == {id(each) for each in built.towers[1].question.parameters()}
    examined(len(after["passage"]), "tensors of the passage tower, unchanged", at_least=15)


def test_a_second_run_finds_the_vectors_and_a_damaged_store_is_refused(
    path: Path, tmp_path: Path, built: Built
) -> None:
    trained(path, tmp_path / "one", "table")
    built.calls.clear()
    trained(path, tmp_path / "two", "live")
    assert sum(built.of(number, "passage") for number in range(len(built.towers))) == 0
    made = (path.parent / "home").rglob("passages-vectors-*")
    (store,) = (place for place in made if not {"index", "measured"} & {*place.name.split("-")})
    victim = store / "00000" / "vectors.bin"
    content = victim.read_bytes()
    os.chmod(victim, 0o644)
    victim.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(MprError, match=r"vectors\.bin"):
        trained(path, tmp_path / "three", "table")
    victim.write_bytes(content)


@pytest.mark.parametrize("kind", ["table", "live"])
def test_resumed_is_uninterrupted(path: Path, tmp_path: Path, kind: str) -> None:
    whole = trained(path, tmp_path / "whole", kind)
    half = halfway(path, tmp_path / "whole", tmp_path / "half")
    trained(path, half.folder, kind)
    for role, tensors in weights(whole).items():
        assert all(torch.equal(tensor, weights(half)[role][name]) for name, tensor in tensors.items()), role


def test_what_is_logged(path: Path, tmp_path: Path) -> None:
    folder = trained(path, tmp_path / "run", "live", "training.max_steps=1")
    (entry, *_) = (json.loads(line) for line in folder.metrics.read_text("utf-8").splitlines())
    assert 0 <= entry["cells_retrieved"] <= entry["positives_seen"]
    assert entry["tokens"] <= 2 * 12, "of questions alone"


def test_a_search_deeper_than_the_collection_is_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(MprError, match=r"13 best of 12 passages"):
        trained(path, tmp_path / "deep", "live", "sources[0].depth=13")
