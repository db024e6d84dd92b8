"""A Trainer whose checkpoints are committed: staged, checksummed, renamed, and whole whatever shards the weights.

What a checkpoint must hold is transformers' business, where it goes is ours: the stock methods write into a staging
folder that a reader never sees. Under FSDP the weights are gathered for it, and cut up again when it is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import Trainer
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from mpr import storage
from mpr.errors import MprError, NumbersError, StorageError, excerpt
from mpr.recipe.keys import Recipe
from mpr.runtime import processes
from mpr.runtime.processes import Group
from mpr.training.learner import StepLoss
from mpr.training.run_folder import CHECKPOINT, RunFolder

WEIGHTS = "model.safetensors"
MEMORY = "negative_cache.safetensors"
_NOT_WRITTEN = re.compile(
    "inline_container|iostream error|PytorchStreamWriter|No space left|File too large|[Qq]uota exceeded"
)


@contextmanager
def read_safely(checkpoint: str | None) -> Iterator[None]:
    """Somebody may have prepared a checkpoint: torch's weights-only reader runs nothing of it, and refuses in words of
    its own, as transformers does where a file has another form."""
    try:
        yield
    except (MprError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # each library has errors of its own for a broken file
        if processes.is_broken_connection(error) or "CUDA" in str(error):
            raise  # another process or the device is lost, and the checkpoint may be sound
        what = f"cannot be read as a checkpoint, of tensors and plain values alone: {excerpt(str(error), 200)}"
        fix = "delete it, and the run goes on from the checkpoint before; nothing of it was run"
        raise StorageError(what, where=str(checkpoint), fix=fix) from error


class CommittedCheckpoints(Trainer):
    """The part of `MultiPositiveTrainer` that writes and reads checkpoints."""

    run: RunFolder
    group: Group
    recipe: Recipe
    loss: StepLoss
    _staging: Path | None = None

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._staging) if self._staging is not None else super()._get_output_dir(trial)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """The stock method writes into a staging folder; a reader finds the checkpoint complete or not at all."""
        target = self.run.checkpoint(self.state.global_step)
        if self._agreed(target.exists()):
            return  # this very state was committed before the run was interrupted
        self._refuse_bad_weights()
        with self._staged(target) as staging:
            self._staging = staging
            try:
                super()._save_checkpoint(model, trial)
            except (OSError, RuntimeError, SafetensorError) as error:  # torch says by the second that a folder is gone
                folder = staging / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
                is_gone = isinstance(error, FileNotFoundError) or not folder.exists()
                if is_gone and not self.is_world_process_zero():
                    what = "the first process gave up this checkpoint while another wrote its part of it"
                    raise StorageError(what, where=str(target), fix="see what the first process says") from error
                if _NOT_WRITTEN.search(str(error)):
                    raise self._has_no_room(target) from error
                raise
            finally:
                self._staging = None
            self.group.wait()
        self.group.wait()  # the first process hashes and commits what all have written
        if self.is_world_process_zero():
            self._forget_old()

    def _refuse_bad_weights(self) -> None:
        """A step whose loss and gradient are numbers can still leave weights that are none."""
        weights = dict(self.accelerator.unwrap_model(self.model).named_parameters())
        own = [weight.to_local() if isinstance(weight, DTensor) else weight for weight in weights.values()]
        good = torch.stack([torch.isfinite(weight).all() for weight in own])  # read once, not for each weight
        if not good.all():
            name = list(weights)[int(good.logical_not().nonzero()[0])]
            what = f"weights of {name} are no numbers after update {self.state.global_step:,}"
            fix = "nothing of it was kept: the same command goes on from the checkpoint before; lower learning_rate"
            raise NumbersError(what, where=str(self.run.folder), key="training", fix=fix)

    def _has_no_room(self, target: Path) -> StorageError:
        """torch and safetensors write files by themselves and say each in its own words that it failed."""
        free = storage.free_bytes(target)
        what = f"cannot write: at least {self._bytes():,} bytes are needed, {free:,} bytes are free"
        fix = "free some space (or raise the quota or limit that is reached) and run the same command again"
        return StorageError(what, where=str(target), fix=f"{fix}; earlier checkpoints are kept")

    def _bytes(self) -> int:
        """Of the weights and of what the optimiser keeps, on this process: a checkpoint is no smaller."""
        tensors: list[Any] = list(self.model.parameters())
        for kept in self.optimizer.state.values() if self.optimizer is not None else ():
            tensors += [value for value in kept.values() if isinstance(value, torch.Tensor)]
        return sum(tensor.nbytes for tensor in tensors)

    @contextmanager
    def _staged(self, target: Path) -> Iterator[Path]:
        """The folder that the first process stages; all of them write into it."""
        if not self.is_world_process_zero():
            yield Path(self._agreed(None))
            return
        update = int(target.name)
        if self._bytes() > storage.free_bytes(target):
            raise self._has_no_room(target)
        with storage.stage(target, CHECKPOINT, {"update": update, **self.facts(update)}) as stage:
            yield Path(self._agreed(str(stage.folder)))

    def facts(self, update: int) -> dict[str, Any]:
        """What else the receipt of a checkpoint says."""
        return {}

    def _agreed(self, value: Any) -> Any:
        """What the first process found, on all of them: their disks may tell of a rename at different times."""
        return self.group.first(lambda: value)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Only the weights: tokenizer and contract belong to the finished model, arguments to the recipe.

        Where weights are sharded the Trainer gives them whole, gathered by all processes.
        """
        if not self.args.should_save:
            return
        from safetensors.torch import save_file, save_model

        if self._staging is None or output_dir is None:
            raise StorageError("weights are saved only inside a checkpoint that is being committed", key="trainer")
        staging = self._staging / Path(output_dir).name
        storage.make_folder(staging)
        if self.loss.cache is not None:
            save_file(self.loss.cache.state(), str(staging / MEMORY))
        if state_dict is None:
            save_model(self.accelerator.unwrap_model(self.model), str(staging / WEIGHTS))
        else:
            whole = {name: tensor.contiguous() for name, tensor in self._once(state_dict).items()}
            save_file(whole, str(staging / WEIGHTS))

    def _once(self, state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Weights of shared towers stand there under two names; one is kept, as save_model does."""
        shared = self.recipe.towers.share
        return {name: tensor for name, tensor in state_dict.items() if not (shared and name.startswith("question."))}

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        with read_safely(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with read_safely(checkpoint):
            super()._load_rng_state(checkpoint)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        with read_safely(resume_from_checkpoint):
            self._load_weights(resume_from_checkpoint)

    def _load_weights(self, resume_from_checkpoint: str) -> None:
        from safetensors.torch import load_file, load_model

        path, towers = Path(resume_from_checkpoint) / WEIGHTS, self.accelerator.unwrap_model(self.model)
        if self.loss.cache is not None:
            self.loss.cache.restore(load_file(path.with_name(MEMORY)))
        if not self.is_fsdp_enabled:
            load_model(towers, str(path))
            return
        weights, shards = load_file(path), self._once(towers.state_dict())
        if weights.keys() != shards.keys():
            raise StorageError("holds other weights than the model has", where=str(path), fix="start another run")
        for name, shard in shards.items():  # each process takes its part of what was gathered
            whole = weights[name].to(shard.device)
            if isinstance(shard, DTensor):
                whole = distribute_tensor(whole, shard.device_mesh, shard.placements)
            shard.copy_(whole)

    def finished(self, blank: Callable[[], torch.nn.Module]) -> Any:
        """The trained model with whole weights on the first process, None on the others; all of them must call it.

        `blank` builds the recipe's model anew, to be filled with gathered weights: sharded modules cannot be saved.
        """
        self._refuse_bad_weights()
        if not self.is_fsdp_enabled:
            return self.accelerator.unwrap_model(self.model) if self.is_world_process_zero() else None
        weights = self.accelerator.get_state_dict(self.model)
        if not self.is_world_process_zero():
            return None
        towers = blank()
        towers.load_state_dict(weights)
        return towers

    def _forget_old(self) -> None:
        """Keeps `save_total_limit` checkpoints and the best one; deletes only after the newer one is in place."""
        limit = self.args.save_total_limit
        updates = self.run.updates()
        if not limit or len(updates) <= limit:
            return
        for update in updates[:-limit]:
            if update != self.state.best_global_step:
                storage.remove(self.run.checkpoint(update))

    def create_model_card(self, *arguments: Any, **named: Any) -> None:
        """Cards are rendered from receipts, never from here."""
