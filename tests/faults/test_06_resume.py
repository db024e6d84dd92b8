"""Faults 5, 6, 7, 16, 34 and 35: asked to stop, changed between start and resume, a file gone or altered,
not-a-number in loss or gradient, a checkpoint that somebody prepared, not-a-number in the weights."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from mpr import objectives, storage
from mpr.errors import Interrupted, NumbersError, RecipeError, StorageError
from mpr.recipe import read
from mpr.recipe.keys import Recipe
from mpr.recipe.strict_yaml import leaves
from mpr.training.launch import Launch, run
from mpr.training.run_folder import RunFolder, differences, identity
from tests.conftest import Examined
from tests.faults import killing, training
from tests.waiting import until


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A recipe and the folder of its uninterrupted run."""
    folder = tmp_path_factory.mktemp("run")
    path = training.recipe(folder)
    run(*training.launch(path, folder / "run"))
    return path, folder / "run"


def halfway(path: Path, source: Path, target: Path) -> RunFolder:
    """The run as it was after its first checkpoint: no model yet."""
    storage.make_folder(target)
    os.system(f"cp -r '{source}/.' '{target}'")
    half = RunFolder(target)
    storage.remove(half.model)
    storage.remove(half.checkpoint(training.STEPS))
    assert half.updates() == [training.EVERY]
    return half


def test_resumed_with_a_negative_cache_is_uninterrupted(tmp_path: Path) -> None:
    """Its passages, vectors and ages are part of the state; without them the third update would draw others."""
    path = training.recipe(tmp_path)
    options = ("scale.negative_cache={size: 3, policy: lru}", "objective=[{name: lse_pair}]", "draw.in_batch=false")
    run(*training.launch(path, tmp_path / "whole", *options))
    half = halfway(path, tmp_path / "whole", tmp_path / "half")
    run(*training.launch(path, half.folder, *options))
    assert training.weights(half.folder) == training.weights(tmp_path / "whole")
    logged = [json.loads(line) for line in half.metrics.read_text("utf-8").splitlines()]
    assert any(entry.get("cache_staleness", 0.0) > 0 for entry in logged)


def test_resumed_with_learned_numbers_and_a_guard_is_uninterrupted(tmp_path: Path) -> None:
    """Temperature and bias are in the checkpoint with what the optimizer keeps of them; the guard has no state."""
    path = training.recipe(tmp_path)
    known = "siblings: ignore, shared: ignore, duplicates: ignore, doubtful: ignore"
    options = (
        f"labels=[{{name: known_positives, tiers: [gold, answer_match], {known}}},"
        " {name: guard, by: self, than: max, absolute: 0.0}]",
        "objective=[{name: bce, scaling: none, target: grades, learn: both, learning_rate: 0.1, bias: -1.0},"
        " {name: wasserstein}]",
    )
    run(*training.launch(path, tmp_path / "whole", *options))
    half = halfway(path, tmp_path / "whole", tmp_path / "half")
    run(*training.launch(path, half.folder, *options))
    assert training.weights(half.folder) == training.weights(tmp_path / "whole")
    ends = [storage.read_manifest(folder / "model").receipt["learned"] for folder in (tmp_path / "whole", half.folder)]
    assert ends[0] == ends[1]
    assert abs(ends[0]["bce_bias"] + 1.0) > 0.1
    logged = [json.loads(line) for line in half.metrics.read_text("utf-8").splitlines()]
    assert any(entry.get("cells_guarded", 0.0) > 0 for entry in logged)


def test_resumed_is_uninterrupted(finished: tuple[Path, Path], tmp_path: Path) -> None:
    path, whole = finished
    half = halfway(path, whole, tmp_path / "half")
    run(*training.launch(path, half.folder))
    assert training.weights(half.folder) == training.weights(whole)


def test_every_changed_key_is_named(finished: tuple[Path, Path], examined: Examined) -> None:
    path, _ = finished
    started = identity(read.load(path, training.OPTIONS), {"train": "a"}, 1)
    count = 0
    for place, value in leaves(started):
        changed = _with(started, place, "other" if value != "other" else "another")
        found = differences(started, changed)
        assert len(found) == 1, found
        assert str(place[-1]) in found[0].split(":")[0], found
        count += 1
    assert differences(started, started) == []
    examined(count, "keys changed one at a time", at_least=60)


def _with(content: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    copy = list(content) if isinstance(content, (list, tuple)) else dict(content)
    copy[place[0]] = _with(content[place[0]], place[1:], value)
    return copy


def test_a_changed_recipe_is_refused(finished: tuple[Path, Path], tmp_path: Path) -> None:
    path, whole = finished
    half = halfway(path, whole, tmp_path / "half")
    with pytest.raises(RecipeError, match=r"recipe.training.learning_rate: 0.001 -> 0.002 .*--fork"):
        run(*training.launch(path, half.folder, "training.learning_rate=0.002"))


def test_a_finished_run_is_no_answer_to_another_recipe(finished: tuple[Path, Path]) -> None:
    path, whole = finished
    assert run(*training.launch(path, whole)) == whole, "the same command finds it finished"
    with pytest.raises(RecipeError, match=r"recipe.training.learning_rate: 0.001 -> 0.002 .*--fork"):
        run(*training.launch(path, whole, "training.learning_rate=0.002"))


def test_a_finished_run_is_verified(finished: tuple[Path, Path], tmp_path: Path) -> None:
    path, whole = finished
    os.system(f"cp -r '{whole}/.' '{tmp_path / 'copy'}'")
    (tmp_path / "copy" / "model" / "mpr.json").write_text("{}")
    with pytest.raises(StorageError, match=r"mpr.json: has 2 bytes instead of"):
        run(*training.launch(path, tmp_path / "copy"))


def test_each_file_of_a_checkpoint_is_needed(finished: tuple[Path, Path], tmp_path: Path, examined: Examined) -> None:
    path, whole = finished
    names = list(storage.read_manifest(RunFolder(whole).checkpoint(training.EVERY)).files)
    for number, name in enumerate(names):
        half = halfway(path, whole, tmp_path / f"gone-{number}")
        file = half.checkpoint(training.EVERY) / name
        content = file.read_bytes()
        file.unlink()
        with pytest.raises(StorageError, match=f"{Path(name).name}.*is missing.*start over"):
            run(*training.launch(path, half.folder))
        file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        with pytest.raises(StorageError, match="checksum mismatch"):
            run(*training.launch(path, half.folder))
    examined(len(names), "files of a checkpoint taken away, then altered", at_least=5)


def _until_stopped(launch: tuple[Recipe, Launch], target: Path) -> None:
    """A run in a process group of its own; leaves a mark when it was stopped on request."""
    os.setpgrp()
    try:
        run(*launch)
    except Interrupted:
        (target / ".stopped").touch()


def test_asked_to_stop(finished: tuple[Path, Path], tmp_path: Path, examined: Examined) -> None:
    path, whole = finished
    stopped = 0
    for number, (how, workers) in enumerate(((signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGTERM, 2))):
        target = tmp_path / str(number)
        busy = training.launch(path, target, "training.save_steps=1", f"training.dataloader_num_workers={workers}")
        child = killing.forked(lambda launch=busy, target=target: _until_stopped(launch, target))
        until(lambda target=target: RunFolder(target).updates())
        os.killpg(child, how)  # as a scheduler does: the loader's workers get it too
        assert killing.waited(child) == 0, "the run ended with an error instead of committing"
        stopped += (target / ".stopped").exists()
        run(*busy)
        assert training.weights(target) == training.weights(whole)
    examined(stopped, "of 3 runs stopped before their end", at_least=0)


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_not_a_number_ends_the_run(tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = training.recipe(tmp_path)
    bound = objectives.bound
    calls = 0

    def poisoned(name: str, params: Any) -> Any:
        objective = bound(name, params)

        def broken(scores_QP: torch.Tensor, *rest: Any, **targets: Any) -> Any:
            nonlocal calls
            calls += 1
            sum_Q, weight_Q = objective(scores_QP, *rest, **targets)
            if calls >= 3 and where == "loss":
                sum_Q = sum_Q * float("nan")
            if calls >= 3 and where == "gradient" and sum_Q.requires_grad:
                sum_Q.register_hook(lambda gradient: gradient * float("nan"))
            return sum_Q, weight_Q

        return broken

    monkeypatch.setattr(objectives, "bound", poisoned)
    with pytest.raises(NumbersError, match=r"(the loss is nan|the gradient's norm is nan) in update \d, questions"):
        run(*training.launch(path, tmp_path / "run", "training.save_steps=1"))
    assert RunFolder(tmp_path / "run").updates(), "the last good checkpoint is kept"
    for update in RunFolder(tmp_path / "run").updates():
        storage.verify(RunFolder(tmp_path / "run").checkpoint(update))


class _Evil:
    """What a pickle can hold: a call that is made when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def _prepared(half: RunFolder, name: str, data: bytes) -> None:
    """A checkpoint with another file, under a manifest that is true of it."""
    target = half.checkpoint(training.EVERY)
    manifest = storage.read_manifest(target)
    whole = {each: (target / each).read_bytes() for each in manifest.files}
    assert name in whole, sorted(whole)
    storage.remove(target)
    with storage.stage(target, manifest.kind, manifest.receipt) as stage:
        for each, content in whole.items():
            stage.write(each, data if each == name else content)


def test_a_prepared_checkpoint_runs_nothing(finished: tuple[Path, Path], tmp_path: Path, examined: Examined) -> None:
    """Fault 34. Its manifest is correct, for anybody can write one; the pickles in it call a function when read."""
    path, whole = finished
    half, mark, tried = halfway(path, whole, tmp_path / "half"), tmp_path / "was run", 0
    inner = f"checkpoint-{training.EVERY}"
    evil, kept = tmp_path / "evil", half.checkpoint(training.EVERY)
    torch.save({"state": _Evil(mark), "param_groups": []}, evil)
    originals = {name: (kept / name).read_bytes() for name in storage.read_manifest(kept).files}
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "model.safetensors", "trainer_state.json"):
        for data in (evil.read_bytes(), b"", b"[]"):
            _prepared(half, f"{inner}/{name}", data)
            with pytest.raises(StorageError, match=f"{inner}: cannot be read as a checkpoint"):
                run(*training.launch(path, half.folder))
            assert not mark.exists(), name
            _prepared(half, f"{inner}/{name}", originals[f"{inner}/{name}"])
            tried += 1
    mark.mkdir()
    with pytest.raises(FileExistsError):  # it is a pickle that does what it says
        torch.load(evil, weights_only=False)
    run(*training.launch(path, half.folder))
    assert training.weights(half.folder) == training.weights(whole)
    examined(tried, "prepared files", at_least=15)


class _Poison(TrainerCallback):
    """Puts not-a-number into a weight after an update, as a broken chip does."""

    def __init__(self, update: int) -> None:
        self.update = update

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **more: Any) -> None:
        if state.global_step == self.update:
            with torch.no_grad():
                next(model.parameters()).view(-1)[7] = float("nan")


@pytest.mark.parametrize("update", [3, training.STEPS])
def test_weights_that_are_no_numbers_are_never_kept(finished: tuple[Path, Path], tmp_path: Path, update: int) -> None:
    """Fault 35. No step after it need notice: the weight may be of a word that no text has."""
    path, whole = finished
    half = halfway(path, whole, tmp_path / "half")
    recipe, launch = training.launch(path, half.folder)
    why = rf"(weights of \S+ are no numbers after|(the loss|the gradient's norm) is nan in) update {training.STEPS}"
    with pytest.raises(NumbersError, match=why):
        run(recipe, replace(launch, callbacks=(_Poison(update),)))
    assert not half.model.exists()
    assert half.updates() == [training.EVERY], "the last good checkpoint is the newest"
    run(recipe, launch)
    assert training.weights(half.folder) == training.weights(whole)
