"""Fault 17: memory runs out in training. Nothing changes in silence; the refusal names a key and a value that fits."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mpr import storage
from mpr.errors import RecipeError
from mpr.models import out_of_memory
from mpr.models.towers import Encoder
from mpr.recipe import read
from mpr.train import main
from mpr.training.launch import run
from mpr.training.run_folder import RunFolder
from tests.conftest import Examined
from tests.e2e import collection
from tests.e2e import test_validation as validation
from tests.faults import training

CPU = "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
WAYS: dict[str, Callable[[], Exception]] = {
    "cuda": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    "cpu": lambda: RuntimeError(CPU),
    "numpy": lambda: MemoryError("Unable to allocate 9. GiB for an array with shape (9,)"),
}


class Device:
    """Has no room for more than `most` texts in one forward, or for any from the n-th forward on."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *, most: int = 10**9, at: int = 10**9, way: str = "cuda"
    ) -> None:
        self.calls = 0
        real = Encoder.forward

        def forward(encoder: Encoder, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            if len(input_ids) > most or self.calls >= at:
                raise WAYS[way]()
            return real(encoder, input_ids, attention_mask)

        monkeypatch.setattr(Encoder, "forward", forward)


def refused(path: Path, folder: Path, *options: str) -> RecipeError:
    with pytest.raises(RecipeError, match="out of memory") as caught:
        run(*training.launch(path, folder, *options))
    assert caught.value.exit_code == 2
    assert len(caught.value.problems) == 1
    return caught.value


def suggestion(error: RecipeError) -> str:
    """The argument of `--set` in the message, as a shell would pass it on."""
    found = re.search(r"--set (?:'([^']+)'|(\S+))", error.problems[0].fix)
    assert found is not None, error
    option = found[1] or found[2]
    assert option.startswith(f"{error.problems[0].key}=")
    return option


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training.recipe(tmp_path_factory.mktemp("memory"))


@pytest.mark.parametrize("way", WAYS)
def test_at_any_forward_nothing_is_changed(path: Path, tmp_path: Path, way: str, examined: Examined) -> None:
    before = path.read_bytes()
    forwards = range(1, 2 * training.STEPS + 1, 2 if way == "cuda" else 5)
    for number in forwards:
        with pytest.MonkeyPatch.context() as patch:
            Device(patch, at=number, way=way)
            folder = tmp_path / str(number)
            error = refused(path, folder)
        assert error.problems[0].key == "scale.cache"
        assert "nothing was changed" in str(error)
        assert not (folder / "model").exists()
        for update in RunFolder(folder).updates():
            storage.verify(RunFolder(folder).checkpoint(update))
    claimed = {(tmp_path / str(number) / "run.json").read_bytes() for number in forwards}
    assert len(claimed) == 1, "what the run is does not depend on where memory ran out"
    assert path.read_bytes() == before
    examined(len(forwards), f"forwards that failed ({way})", at_least=2)


def test_with_memory_again_the_same_command_goes_on(path: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        Device(patch, at=2 * training.STEPS - 1)
        refused(path, tmp_path / "short")
    assert RunFolder(tmp_path / "short").updates() == [training.EVERY]
    run(*training.launch(path, tmp_path / "short"))
    run(*training.launch(path, tmp_path / "whole"))
    assert training.weights(tmp_path / "short") == training.weights(tmp_path / "whole")


@pytest.mark.slow
def test_the_suggestion_fits(path: Path, tmp_path: Path, examined: Examined) -> None:
    """Followed as often as it is given, on devices of several sizes; the batch is the same all the way."""
    big, tried = ("training.per_device_train_batch_size=4",), 0
    for most in (1, 2, 3, 8):
        with pytest.MonkeyPatch.context() as patch:
            Device(patch, most=most)
            options: tuple[str, ...] = big
            for number in range(8):
                folder = tmp_path / f"{most}-{number}"
                try:
                    run(*training.launch(path, folder, *options))
                    break
                except RecipeError as error:
                    options = (*big, suggestion(error))
                    tried += 1
            assert (folder / "model").is_dir()
            assert read.load(path, (*training.OPTIONS, *options)).questions_per_step == 4
    examined(tried, "suggestions followed", at_least=3)


def test_the_suggestion_is_another_run(path: Path, tmp_path: Path) -> None:
    """In the folder of the run that ran out of memory it is refused, and the message said so before."""
    with pytest.MonkeyPatch.context() as patch:
        Device(patch, at=1)
        error = refused(path, tmp_path / "run")
    assert "--fork NAME" in error.problems[0].fix
    with pytest.raises(RecipeError, match=r"recipe\.scale\.cache.*--fork NAME"):
        run(*training.launch(path, tmp_path / "run", suggestion(error)))


def test_with_a_cache_the_chunks_get_smaller(path: Path, tmp_path: Path, examined: Examined) -> None:
    expected = {
        "scale.cache={questions: 2, passages: 8}": "scale.cache={questions: 1, passages: 4}",
        "scale.cache={questions: 1, passages: 3}": "scale.cache={questions: 1, passages: 1}",
        "scale.cache={questions: 1, passages: 1}": "training.gradient_checkpointing=true",
    }
    for number, (given, wanted) in enumerate(expected.items()):
        with pytest.MonkeyPatch.context() as patch:
            Device(patch, at=3)
            assert suggestion(refused(path, tmp_path / str(number), given)) == wanted
    examined(len(expected), "chunk sizes", at_least=3)


def test_one_text_is_too_much(path: Path) -> None:
    """What is left when chunks are one text: recompute, then 16 bits, then shorter texts, each a sound recipe."""
    options: tuple[str, ...] = ("scale.cache={questions: 1, passages: 1}",)
    keys = []
    for _ in range(3):
        error = out_of_memory.in_training(read.load(path, (*training.OPTIONS, *options)))
        keys.append(error.problems[0].key)
        options = (*options, suggestion(error))
    assert keys == ["training.gradient_checkpointing", "training.bf16", "towers.passage_length"]
    assert read.load(path, (*training.OPTIONS, *options)).towers.passage_length == 8


def test_in_validation_the_other_batch_is_named(tmp_path: Path) -> None:
    path, options = validation.recipe(tmp_path), (*validation.BEST, "training.max_steps=1")
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        Device(patch, at=3)  # questions and passages of the step, then the pool
        with pytest.raises(RecipeError, match="out of memory in validation") as caught:
            run(*validation.launch(path, folder, *options))
    assert suggestion(caught.value) == "training.per_device_eval_batch_size=4"
    run(*validation.launch(path, tmp_path / "other", *options, suggestion(caught.value)))
    assert out_of_memory.in_validation(1).problems[0].key == "towers.passage_length"


def test_other_errors_pass() -> None:
    for error in (RuntimeError("shapes do not match"), ValueError("out of memory"), KeyError(1)):
        with pytest.raises(type(error)), out_of_memory.becomes(lambda: pytest.fail("told")):
            raise error


def test_a_real_refusal_of_the_cpu_allocator_is_recognised() -> None:
    """No text of our own: torch and numpy are asked for more than there can be."""
    asks: tuple[Callable[[], Any], ...] = (
        lambda: torch.empty(1 << 60, dtype=torch.uint8),
        lambda: np.zeros(1 << 59, dtype=np.float64),
    )
    for ask in asks:
        with (
            pytest.raises(RecipeError, match="in validation"),
            out_of_memory.becomes(lambda: out_of_memory.in_validation(2)),
        ):
            ask()


def test_on_the_command_line(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and one line."""
    arguments = [str(path), "--home", str(path.parent / "home"), "--folder", str(tmp_path / "run"), "--quiet"]
    arguments += [word for option in training.OPTIONS for word in ("--set", option)]
    with pytest.MonkeyPatch.context() as patch:
        Device(patch, at=1)
        with pytest.raises(SystemExit) as left:
            main(arguments)
    assert left.value.code == 2
    shown = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mpr: ")]
    assert len(shown) == 1
    assert shown[0].startswith("mpr: scale.cache: out of memory in training; nothing was changed (--set 'scale.cache=")


def test_a_search_in_every_step_is_asked_first(tmp_path: Path) -> None:
    """It took its share of a GPU before the model came."""
    source = "{name: dense, as: own, model: self, depth: 6, dtype: float32, compute: float32, index: exact}"
    live = (
        "towers.share=false", "towers.train=question", f"sources=[{source}]", "draw.in_batch=false",
        "draw.positives={policy: all, append: if_none_retrieved}",
        "draw.negatives=[{from: own, all: true, weight: top, short: fewer}]",
        "objective=[{name: pairwise, phi: logistic, weight: drr, ranks: given, cut: 6, reduce: query_mean}]",
    )  # fmt: skip
    for share, key in ((0.4, "refresh.device_share=0.2"), (0.1, "scale.cache")):
        recipe = read.load(collection.write(tmp_path), (*live, f"refresh={{every: 1, device_share: {share}}}"))
        assert f"--set {key}" in str(out_of_memory.in_training(recipe)).replace("'", "")
