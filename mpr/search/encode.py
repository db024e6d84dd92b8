"""Encodes texts with a trained model: token ids to committed shards of vectors, by all that work together.

What is encoded together, and how wide, is fixed by `mpr/search/padding.py` from the lengths alone, so the bits of a
store depend neither on memory, nor on the number of processes, nor on where a killed run was continued.

Shapes: N texts, W width of a vector.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mpr import storage
from mpr.data.token_batches import Side
from mpr.data.tokens import TokenStore
from mpr.errors import NumbersError, Problem, RecipeError
from mpr.models import towers
from mpr.runtime import environment
from mpr.runtime.processes import ONE_PROCESS, Group, Place
from mpr.runtime.progress import Progress, bar
from mpr.search import padding, vectors
from mpr.search.inference import COMPUTE, ROLES, Model, Worker, refuse_empty, unusable
from mpr.search.padding import Constants, PaddingPlan
from mpr.search.shards import widened
from mpr.search.vectors import DTYPES, Unfinished, VectorStore
from mpr.storage.ragged import Floats, Integers

_MANIFEST_BYTES = 2_000  # of a shard's manifest and its lines in that of the store
_LIBRARIES = 600 << 20  # torch, transformers and Python themselves
_ARRAYS = 40  # bytes a text that the plan and its making hold


@dataclass(frozen=True)
class Options:
    """How vectors are computed and kept."""

    dtype: str = "float16"
    """Stored as: float32, float16 or bfloat16."""
    compute: str = "float32"
    """Computed in: float32, float16 or bfloat16 (autocast)."""
    device: str = "cpu"
    constants: Constants | None = None
    """Of the padding plan; None: those for the device."""
    fallback: bool = False
    """Blocks that do not fit into memory are computed in parts, which the receipt says, instead of being refused."""
    quiet: bool = False
    width: int | None = None
    """Vectors are cut to their first so many numbers; None: whole."""

    def __post_init__(self) -> None:
        problems = [
            Problem(f"'{value}' is none of {', '.join(known)}", key=f"encode.{key}", fix="choose one of them")
            for key, value, known in (("dtype", self.dtype, DTYPES), ("compute", self.compute, COMPUTE))
            if value not in known
        ]
        if problems:
            raise RecipeError(problems)

    @property
    def plan_constants(self) -> Constants:
        return self.constants or Constants.of(torch.device(self.device).type)


@dataclass(frozen=True)
class Task:
    """One side of one model, planned: everything about a store of vectors but the vectors."""

    model: Model
    role: str
    side: Side
    plan: PaddingPlan
    options: Options
    ids: Callable[[Integers], list[str]]
    """Ids of rows, for what must be said about them."""

    @classmethod
    def of(cls, model: Model, role: str, side: Side, ids: Callable[[Integers], list[str]], options: Options) -> Task:
        """`side` is `model.side(role, token store)`; `ids` names its rows, such as `PassageStore.ids`."""
        if role not in ROLES:
            raise RecipeError(f"'{role}' is none of {', '.join(ROLES)}", key="encode.role", fix="choose one of them")
        lengths_N = padding.lengths(side)
        refuse_empty(side, lengths_N, ids)
        whole = model.towers.width
        if options.width is not None and options.width > whole:
            what = f"vectors have {whole} numbers, and cannot be cut to {options.width}"
            raise RecipeError(what, key="encoding.width", fix=f"use {whole} or less, or null")
        return cls(model, role, side, PaddingPlan.of(lengths_N, options.plan_constants), options, ids)

    @property
    def width(self) -> int:
        return self.options.width or self.model.towers.width

    @property
    def work(self) -> dict[str, Any]:
        """What decides the bits, besides machine and software."""
        narrow = {} if self.options.width is None else {"width": self.options.width}
        return narrow | {
            "model": self.model.digest,
            "role": self.role,
            "data": self.side.store.manifest.digest,
            "length": self.side.length,
            "compute": self.options.compute,
            "device": torch.device(self.options.device).type,
            "dtype": self.options.dtype,
            "plan": self.plan.facts(),
        }

    def worker(self) -> Worker:
        encoder = self.model.encoder(self.role).to(self.options.device)
        return Worker(encoder, self.side, self.options.device, self.options.compute, self.options.fallback)

    def unfinished(self, target: Path) -> Unfinished:
        return Unfinished(target, self.work, self.plan.shards, self.width, self.options.dtype)


@dataclass(frozen=True)
class Prediction:
    """What an encoding will take on this machine."""

    vectors: int
    tokens: int
    """Padded ones: what is computed."""
    disk_bytes: int
    ram_bytes: int
    seconds: float

    def __str__(self) -> str:
        size = f"{self.vectors:,} vectors, {self.tokens:,} tokens with padding"
        memory = f"{self.disk_bytes / 1e6:,.1f} MB of disk, {self.ram_bytes / 1e6:,.0f} MB of memory"
        return f"{size}: {self.seconds:,.0f} s, {memory}"


def device(place: Place) -> str:
    """This process's GPU where the machine has one, otherwise its processor."""
    return f"cuda:{place.local_rank}" if torch.cuda.is_available() else "cpu"


def beside(
    model: Model,
    role: str,
    texts: TokenStore,
    source: Path,
    ids: Callable[[Any], list[str]],
    options: Options,
    group: Group = ONE_PROCESS,
) -> VectorStore:
    """The vectors that lie beside `source`, where the texts are, encoded where they are not there yet."""
    task = Task.of(model, role, model.side(role, texts), ids, options)
    return run(task, source.with_name(f"{source.name}-vectors-{storage.json_digest(task.work)[:8]}"), group)


def run(task: Task, target: Path, group: Group = ONE_PROCESS) -> VectorStore:
    """Encodes what is missing and opens the store; the one that is there if it is of this very work.

    Every process calls it. A killed run is continued by the same call: the shards that were committed stay.
    """
    target, meter = Path(os.path.abspath(target)), environment.Meter()
    unfinished = task.unfinished(target)
    first = group.place.rank == 0
    with unfinished.held() if first else nullcontext():
        if group.first(lambda: _is_complete(target, task.work)):
            return VectorStore(target)
        missing = group.first(lambda: _missing(task, unfinished))
        total = sum(task.plan.tokens(shard) for shard in group.share(missing))
        with bar(f"{task.role}s", total, not first or task.options.quiet, "tok") as progress:
            for _ in group.map(_Encoding(task, unfinished), missing, progress):
                pass  # a shard is committed, and answers nothing
        group.first(lambda: _finished(task, unfinished, meter, group.workers))
    return VectorStore(target)


def _is_complete(target: Path, work: dict[str, Any]) -> bool:
    """Whether the store is complete; one of other work is refused."""
    if not os.path.lexists(target):
        return False
    found = VectorStore(target).manifest.receipt["work"]
    if others := list(vectors.changes(found, work)):
        fix = f"remove it, or work in another run folder ({vectors.FORK}), and both are kept"
        raise RecipeError(f"was made with {'; '.join(others)}", where=str(target), fix=fix)
    return True


def _missing(task: Task, unfinished: Unfinished) -> list[int]:
    """Shards to be made, once it is known that they fit on the disk."""
    missing = unfinished.missing()
    storage.require_space(unfinished.folder, sum(_disk(task, len(task.plan.rows(shard)), 1) for shard in missing))
    return missing


def _disk(task: Task, texts: int, shards: int) -> int:
    number = np.dtype(DTYPES[task.options.dtype]).itemsize
    return texts * (task.width * number + vectors.ROW_BYTES) + shards * _MANIFEST_BYTES


@dataclass(frozen=True)
class _Encoding:
    """The shards of a store as units of work."""

    task: Task
    unfinished: Unfinished

    def result(self, shard: int) -> Path:
        return self.unfinished.place(shard)

    def __call__(self, shard: int, progress: Progress) -> None:
        worker = self.task.worker()
        vectors_NW = _shard(self.task, worker, shard, progress)
        self.unfinished.add(shard, self.task.plan.rows(shard), vectors_NW, {"split_blocks": worker.split})


def _shard(task: Task, worker: Worker, shard: int, progress: Progress) -> Floats:
    """All vectors of a shard, each fit to be kept."""
    rows_N = task.plan.rows(shard)
    vectors_NW, place = np.empty((len(rows_N), task.width), dtype=np.float32), 0
    with worker.working():
        for block in task.plan.blocks_of(shard):
            found_NW = worker(block)
            _refuse(task, shard, unusable(found_NW, block.rows, task.model.towers.width, task.ids))
            if task.options.width is not None:
                found_NW = narrow(found_NW, task.width, task.model.towers.settings.normalize)
            vectors_NW[place : place + len(block.rows)] = found_NW
            place += len(block.rows)
            progress(len(block.rows) * block.width)
    kept_NW = widened(vectors.packed(vectors_NW, task.options.dtype), task.options.dtype)
    problem = unusable(kept_NW, rows_N, task.width, task.ids)
    _refuse(task, shard, problem and f"stored as {task.options.dtype}: {problem}")
    return vectors_NW


def narrow(vectors_NW: Floats, width: int, unit: bool) -> Floats:
    """Their first `width` numbers, of length one again if `unit`."""
    cut_NW: Floats = towers.cut(torch.tensor(vectors_NW), width, unit).numpy()
    return cut_NW


def narrowed(store: VectorStore, target: Path, width: int, unit: bool, quiet: bool = True) -> VectorStore:
    """A store whose vectors are those of another one, cut: nothing is encoded. It is opened if it is there."""
    if width > store.width:
        what = f"vectors have {store.width} numbers, and cannot be cut to {width}"
        raise RecipeError(what, where=str(store.folder), key="--widths", fix=f"use {store.width} or less")
    work = {**store.manifest.receipt["work"], "width": width, "cut_from": store.manifest.digest}
    unfinished, meter = Unfinished(target, work, len(store.shards), width, store.dtype), environment.Meter()
    with unfinished.held():
        if not _is_complete(target, work):
            missing = unfinished.missing()
            number_bytes = np.dtype(DTYPES[store.dtype]).itemsize
            rows = sum(len(store.shards[shard]) for shard in missing)
            storage.require_space(unfinished.folder, rows * (width * number_bytes + vectors.ROW_BYTES))
            with bar(f"cut to {width}", rows, quiet, "vectors") as progress:
                for shard in missing:
                    found = store.shards[shard]
                    cut_NW = narrow(found.block(0, len(found)), width, unit)
                    unfinished.add(shard, found.rows, cut_NW, {"split_blocks": 0})
                    progress(len(found))
            before = store.manifest.receipt
            kept = {name: before[name] for name in ("model", "fallback", "processes")}
            unfinished.commit({**kept, "environment": environment.snapshot(), "cost": meter.cost()})
    return VectorStore(target)


def _refuse(task: Task, shard: int, problem: str) -> None:
    if problem:
        fix = "the model is broken, or computes in too few bits for it: look at these texts, or use compute float32"
        raise NumbersError(problem, where=f"shard {shard} of {task.plan.shards}", key=task.model.name, fix=fix)


def _finished(task: Task, unfinished: Unfinished, meter: environment.Meter, world: int) -> None:
    """Names the store. The costs are those of this process in the run that finished."""
    split = sum(int(receipt["split_blocks"]) for receipt in unfinished.receipts())
    content = {
        "model": task.model.name,
        "fallback": {"allowed": task.options.fallback, "split_blocks": split},
        "processes": world,
        "environment": environment.snapshot(),
        "cost": meter.cost(),
    }
    unfinished.commit(content)


def predict(task: Task, processes: int = 1, sample_seconds: float = 3.0) -> Prediction:
    """What it will take, from a few blocks of all lengths that are encoded now and thrown away."""
    worker = task.worker()
    sample = np.unique(np.linspace(0, task.plan.blocks - 1, 16).round().astype(int))
    order = [number for start in range(4) for number in sample[start::4]]  # short and long ones soon
    tokens, spent = 0, 0.0
    with worker.working():
        worker(task.plan.block(int(sample[0])))  # sets up what libraries keep, at the largest size
        for number in order:
            block, began = task.plan.block(int(number)), time.perf_counter()
            worker(block)
            tokens, spent = tokens + len(block.rows) * block.width, spent + time.perf_counter() - began
            if spent > sample_seconds:
                break
    total, count = task.plan.tokens(), len(task.plan.order_N)
    return Prediction(
        vectors=count,
        tokens=total,
        disk_bytes=_disk(task, count, task.plan.shards),
        ram_bytes=_ram(task),
        seconds=total * spent / tokens / processes,
    )


def _ram(task: Task) -> int:
    """Of one process, libraries included: weights, a block's activations, a shard, the plan."""
    weights = sum(each.numel() * each.element_size() for each in task.model.towers.parameters())
    config = task.model.encoder(task.role).transformer.config
    inner = getattr(config, "intermediate_size", None) or 4 * task.model.encoder(task.role).hidden
    block = max(task.options.plan_constants.block_tokens, task.side.length)
    activations = block * 4 * (8 * task.model.encoder(task.role).hidden + 3 * inner)
    largest = max(len(task.plan.rows(shard)) for shard in range(task.plan.shards))
    return _LIBRARIES + weights + activations + largest * task.width * 12 + len(task.plan.order_N) * _ARRAYS
