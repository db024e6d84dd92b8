"""The first pass of an exact search: blocks of a store against a tile of questions, in low precision on one device.

It may run in 32 bits or in bfloat16, on a CPU or a GPU: `mpr/search/_error_bounds.py` says how far it can be off, and
the written scores never depend on it. Lengths of vectors are measured when a store is opened, and so is that all
numbers are finite; what was measured is kept beside the store (`mpr/search/_measured.py`). Vectors travel as they are
stored, in 16 bits or in 32: whatever is done to them is done on the device. As many as the budget has room for stay
there in the type of the pass.

Shapes: Q questions of a tile, B passages of a block, D the width of a vector.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mpr.errors import NumbersError, RecipeError
from mpr.models.transfer import sent
from mpr.search import _measured
from mpr.search._error_bounds import LARGEST, Norms
from mpr.search.shards import Shard, Store, release
from mpr.storage.ragged import Floats

PANEL = 2048  # passages that share one bound
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
STORED = {**TYPES, "float16": torch.float16}
INTO_32_BITS = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 8)  # whether torch.mm has `out_dtype`


@dataclass(frozen=True)
class PassageBlock:
    """Consecutive passages of one shard, and the largest length and loss among them."""

    shard: int
    start: int
    stop: int
    norms: Norms


@dataclass
class FirstPass:
    """A store made ready for the first pass."""

    store: Store
    device: torch.device
    dtype: torch.dtype
    keeps: bool  # mapped pages of the store stay resident; otherwise they are released after use
    room: int  # vectors that may stay on the device
    apart: bool = False  # whether the device has a memory of its own
    norms: list[Norms] = field(default_factory=list)
    kept: list[Tensor] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        store: Store,
        device: str,
        type_name: str | None,
        room_bytes: int,
        keeps: bool,
        at_once: int = PANEL,
        apart: bool = False,
        remembers: bool = False,
    ) -> FirstPass:
        """`at_once`: passages that are measured at a time. `remembers`: what was measured is read, or kept, beside a
        store that lies on disk."""
        place = torch.device(device)
        name = _fastest(place) if type_name is None else type_name
        if name not in TYPES:
            what = f"a first pass in {name} is not known"
            raise RecipeError(what, key="search.first_pass", fix=f"one of {', '.join(TYPES)}")
        ready = cls(store, place, TYPES[name], keeps, room_bytes // (store.width * TYPES[name].itemsize), apart)
        measures = _measured.of(store.shards, PANEL, name) if remembers else None
        known = None if measures is None else measures.read()
        for number, shard in enumerate(store.shards):
            ready._open(number, shard, at_once, None if known is None else known[number])
        if measures is not None and known is None:
            measures.keep(ready.norms)
        return ready

    @property
    def rounded_result(self) -> bool:
        """Only CUDA multiplies bfloat16 into 32-bit results."""
        return self.dtype is torch.bfloat16 and self.device.type != "cuda"

    def questions(self, queries_QD: Floats) -> tuple[Tensor, Norms]:
        tensor_QD = torch.tensor(queries_QD).to(self.dtype)
        norms = Norms.of(queries_QD, tensor_QD.float().numpy())
        longest = max((float(norms.length.max(initial=0.0)) * float(n.length.max()) for n in self.norms), default=0.0)
        if longest > LARGEST:
            what = "question and passage vectors are so long that their scores may overflow 32 bits"
            raise NumbersError(what, key="queries", fix="look at the model that encoded them")
        return tensor_QD.to(self.device), norms

    def blocks(self, most: int) -> Iterator[PassageBlock]:
        """All of the store, in pieces of at most `most` passages (a panel at least)."""
        panels = max(most // PANEL, 1)
        for number, shard in enumerate(self.store.shards):
            norms, count = self.norms[number], len(shard.rows)
            for first in range(0, len(norms.length), panels):
                some = slice(first, first + panels)
                largest = Norms(norms.length[some].max(keepdims=True), norms.lost[some].max(keepdims=True))
                yield PassageBlock(number, first * PANEL, min((first + panels) * PANEL, count), largest)

    def vectors(self, block: PassageBlock) -> Tensor:
        """The block on the device, in the type of the pass."""
        kept_ND = self.kept[block.shard]
        if block.stop <= len(kept_ND):
            return kept_ND[block.start : block.stop]
        shard = self.store.shards[block.shard]
        vectors_BD = self._stored(shard, block.start, block.stop).to(self.dtype)
        if not self.keeps:
            release(shard.vectors)
        return vectors_BD

    def scores(self, queries_QD: Tensor, vectors_BD: Tensor) -> Tensor:
        with _as_bounded(self.device):
            if self.dtype is not torch.bfloat16 or self.rounded_result:
                return torch.mm(queries_QD, vectors_BD.T).float()
            if INTO_32_BITS:
                return torch.mm(queries_QD, vectors_BD.T, out_dtype=torch.float32)
            return torch.mm(queries_QD.float(), vectors_BD.T.float())

    def _stored(self, shard: Shard, start: int, stop: int) -> Tensor:
        """Vectors as they are stored, on the device. On the processor they are the pages of the store themselves."""
        array_BD = np.ascontiguousarray(shard.vectors[start:stop])
        if shard.dtype == "bfloat16":  # numpy does not know it
            return sent(_tensor(array_BD.view(np.int16)), self.device).view(torch.bfloat16)
        return sent(_tensor(array_BD), self.device)

    def _open(self, number: int, shard: Shard, at_once: int, known: Norms | None) -> None:
        """Measures a shard, unless its measures are known, and keeps what there is room for."""
        count, shape = len(shard.rows), shard.vectors.shape[1:]
        if shape != (self.store.width,):
            what = f"shard {number} has vectors of shape {shape}, the store has width {self.store.width}"
            raise NumbersError(what, key="store", fix="encode the corpus again")
        # Where the pages of the store stay in memory and have the type of the pass, a copy of them would be no help.
        is_there = not self.apart and self.keeps and STORED[shard.dtype] is self.dtype
        keep = 0 if is_there else min(self.room, count)
        self.room -= keep
        kept_ND = torch.empty((keep, self.store.width), dtype=self.dtype, device=self.device)
        norms_2N = torch.zeros((2, 0 if known is not None else count), dtype=torch.float64, device=self.device)
        for start in range(0, count if known is None else keep, at_once):
            stop = min(start + at_once, count)
            true_BD = self._stored(shard, start, stop)
            rounded_BD = true_BD.to(self.dtype)
            if known is None:
                norms_2N[0, start:stop], norms_2N[1, start:stop] = _norms(true_BD, rounded_BD)
            if start < keep:
                kept_ND[start : min(stop, keep)] = rounded_BD[: keep - start]
            del true_BD, rounded_BD
            if not self.keeps:
                release(shard.vectors)
        self.norms.append(_of_panels(number, shard, norms_2N.cpu()) if known is None else known)
        self.kept.append(kept_ND)


def _norms(true_BD: Tensor, rounded_BD: Tensor) -> tuple[Tensor, Tensor]:
    """Length of each vector, and of what rounding took from it, in 64 bits: squares of small 32-bit numbers would
    vanish and make a bound too narrow."""
    length_B = torch.linalg.vector_norm(true_BD, dim=1, dtype=torch.float64)
    if rounded_BD.dtype in (true_BD.dtype, torch.float32):
        return length_B, torch.zeros_like(length_B)
    return length_B, torch.linalg.vector_norm(true_BD.double().sub_(rounded_BD), dim=1)


def _of_panels(number: int, shard: Shard, norms_2N: Tensor) -> Norms:
    """The largest of each panel, a little more than measured. The length of a vector tells whether it is finite."""
    length_N, lost_N = norms_2N.numpy()
    bad_N = shard.rows[~np.isfinite(length_N)]
    if len(bad_N):
        what = f"{len(bad_N):,} passage vectors of shard {number} are not finite, first: row {int(bad_N[0]):,}"
        fix = "the model that encoded them is broken; encode the corpus again"
        raise NumbersError(what, key="store", fix=fix)
    starts = np.arange(0, len(length_N), PANEL)
    if not len(starts):
        return Norms(length_N, lost_N)
    return Norms(*(np.maximum.reduceat(each_N, starts) * (1 + 1e-9) for each_N in (length_N, lost_N)))


def _fastest(device: torch.device) -> str:
    """bfloat16 where the processor multiplies it; elsewhere it is emulated and slower than 32 bits."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    is_wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return "bfloat16" if is_wide and supported and supported() else "float32"


def _tensor(array: NDArray[np.generic]) -> Tensor:
    """Shares memory with a read-only array. torch warns that it could write there; nothing here does."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


@contextmanager
def _as_bounded(device: torch.device) -> Iterator[None]:
    """Products and sums as the bound assumes, whatever the program has allowed elsewhere."""
    matmul = torch.backends.cuda.matmul
    reduced = matmul.allow_bf16_reduced_precision_reduction
    matmul.allow_bf16_reduced_precision_reduction = False
    try:
        with _in_32_bits(), torch.inference_mode(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        matmul.allow_bf16_reduced_precision_reduction = reduced


@contextmanager
def _in_32_bits() -> Iterator[None]:
    """torch 2.9 has a setting of its own for each library, and refuses to be asked the old way once one was used."""
    backends: list[Any] = [torch.backends.cuda.matmul, torch.backends.mkldnn.matmul]  # type: ignore[attr-defined]
    if not hasattr(backends[0], "fp32_precision"):
        old = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(old)
        return
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision
