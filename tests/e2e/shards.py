"""The case of weights in shards: FSDP 2 on CPU processes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate.state import PartialState
from accelerate.utils import DistributedType
from safetensors.torch import load_file, save_model
from torch.distributed.tensor import DTensor

from mpr.training import _fit, launch, learner
from tests.e2e.launched import Running, start
from tests.e2e.runs import TWO, Pause, World, fine

FSDP = {
    "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP", "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
}  # fmt: skip


def sharded(world: World) -> dict[str, Any]:
    """FSDP 2 on CPU processes, which accelerate never does: it is told that they are GPU processes once they have met.

    The whole weights are looked at as `MultiPositiveTrainer.finished` gives them, then again after a stop and a resume.
    """
    fine(start(world.folder / "said/alone", world.arguments("alone", 2, recipe="still"), 1).ended())
    fine(_sharding(world, "shards").ended())
    pause = Pause(world.folder / "pause-shards")
    running = _sharding(world, "part", pause)
    pause.reached()
    running.signal(signal.SIGTERM)
    pause.go()
    stopped = running.ended()
    fine(_sharding(world, "part").ended())
    one = load_file(world.folder / "alone/checkpoints/6/checkpoint-6/model.safetensors")
    whole, part = (load_file(world.folder / f"{name}.finished") for name in ("shards", "part"))
    kept = load_file(world.folder / "shards/checkpoints/6/checkpoint-6/model.safetensors")
    return {
        "codes": stopped.codes,
        "counts": json.loads((world.folder / "shards.counts").read_text("utf-8")),
        "names": sorted(one) == sorted(whole) == sorted(kept),
        "difference": max(float((one[n] - whole[n]).abs().max()) for n in one if not n.endswith("key.bias")),
        "kept": all(torch.equal(kept[name], whole[name]) for name in whole),
        "same": all(torch.equal(part[name], whole[name]) for name in whole),
    }


def _sharding(world: World, name: str, pause: Pause | None = None) -> Running:
    arguments = world.arguments(name, 1, *TWO, recipe="still")
    return start(world.folder / "said" / name, arguments, 2, _on_shards(pause))


def _on_shards(pause: Pause | None) -> Callable[[int], None]:
    def prepare(rank: int) -> None:
        os.environ.update(FSDP)
        launch.refuse_devices = lambda *arguments: None
        trainer_of = _fit.trainer_of

        def trainer(*given: Any) -> Any:
            PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
            made = trainer_of(*given)
            learner.write = lambda target, model, *rest: _write_finished(target.parent, model, made)
            return made

        _fit.trainer_of = trainer
        if pause is not None:
            pause(rank)

    return prepare


def _write_finished(folder: Path, model: Any, trainer: Any) -> None:
    """What is gathered at the end, and how many weights were in shards."""
    kinds = [isinstance(weight, DTensor) for weight in trainer.model.parameters()]
    save_model(model, f"{folder}.finished")
    Path(f"{folder}.counts").write_text(json.dumps([sum(kinds), len(kinds)]), "utf-8")
