"""A simulated GPU for the CPU build of torch.

Its tensors say `cuda:0`, hold their numbers on the processor, run autograd, and refuse to be mixed with tensors of the
processor. While `counting`, everything on which a GPU would make the program wait is counted, by the function of mpr
that asked for it.

What counts as a wait: reading a number or a tensor back, results whose size depends on values (`nonzero`, indexing by
truth values), and copies to the device that are not both from pinned memory and `non_blocking`. It says nothing about
speed, precision, memory, or several GPUs.

`begin` changes torch for the whole process: tests do so in a process of their own, whose environment names the library.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

LIBRARY = "MPR_SIMULATED_GPU"  # names the compiled guard.cpp
if LIBRARY in os.environ:  # before torch, which asks once what there is
    ctypes.CDLL(os.environ[LIBRARY], mode=ctypes.RTLD_GLOBAL)

import torch  # noqa: E402
import torch.utils._device  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves, tree_map  # noqa: E402

CUDA = torch.device("cuda:0")
aten = torch.ops.aten

waits: Counter[str] = Counter()
_counts = False


def compiled(folder: Path, compiler: str) -> Path:
    """guard.cpp as a library beside this torch."""
    root, target = Path(torch.__file__).parent, folder / "libguard.so"
    include = [f"-I{root / 'include'}", f"-I{root / 'include/torch/csrc/api/include'}"]
    link = [f"-L{root / 'lib'}", f"-Wl,-rpath,{root / 'lib'}", "-lc10", "-ltorch_cpu"]
    abi = f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"
    source = Path(__file__).with_name("guard.cpp")
    command = [compiler, "-std=c++20", "-shared", "-fPIC", "-O0", abi, *include, str(source), *link, "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return target


@contextmanager
def counting() -> Iterator[None]:
    """What makes the program wait in the body is counted."""
    global _counts
    before, _counts = _counts, True
    try:
        yield
    finally:
        _counts = before


def _wait(what: str) -> None:
    if _counts:
        waits[f"{what} at {_where()}"] += 1


def _where() -> str:
    """The innermost line of mpr, or of a library that trains."""
    frames = [frame for frame in reversed(traceback.extract_stack()) if frame.filename != __file__]
    for signs in (("/mpr/",), ("/transformers/", "/accelerate/", "/torch/optim/", "/torch/nn/utils/")):
        for frame in frames:
            if any(sign in frame.filename for sign in signs):
                name = frame.filename
                return f"{name[name.rindex(signs[0] if len(signs) == 1 else '/', 0, len(name)) + 1 :]}:{frame.name}"
    return "autograd"


class OnDevice(torch.Tensor):
    """`held` has the numbers."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Any:
        about = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        made = torch.Tensor._make_wrapper_subclass(cls, held.shape, device=CUDA, **about)  # type: ignore[attr-defined]
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def __repr__(self, *rest: Any, **named: Any) -> str:  # type: ignore[override]
        return f"OnDevice({self.held})"

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(function, args, kwargs or {})


class Mode(TorchDispatchMode):
    """Makes tensors that are asked for on `cuda:0`."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        device = kwargs.get("device")
        asked = device is not None and torch.device(device).type == "cuda"
        if asked or any(isinstance(leaf, OnDevice) for leaf in tree_leaves((args, kwargs))):
            return _run(function, args, kwargs)
        return function(*args, **kwargs)


READS = {
    aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default, aten._unique2.default,
    aten.unique_dim.default, aten.equal.default, aten.is_nonzero.default, aten.repeat_interleave.Tensor,
    aten.bincount.default,
}  # fmt: skip
INDEXES = {
    aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default,
    aten._unsafe_index.Tensor,
}  # fmt: skip


def _run(function: Any, args: Any, kwargs: Any) -> Any:
    if function in (aten._to_copy.default, aten.copy_.default):
        return _copied(function, args, kwargs)
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    here = [tensor for tensor in tensors if isinstance(tensor, OnDevice)]
    foreign = [tensor for tensor in tensors if not isinstance(tensor, OnDevice) and tensor.dim() > 0]
    if here and foreign and function is not aten.set_.source_Tensor:
        raise RuntimeError(f"tensors of two devices in {function} at {_where()}")
    by_truth = function in INDEXES and any(
        isinstance(each, torch.Tensor) and each.dtype in (torch.bool, torch.uint8) for each in args[1]
    )
    if here and (function in READS or by_truth):
        _wait(f"{function}")
    asked = kwargs.get("device")
    is_here = bool(here) if asked is None else torch.device(asked).type == "cuda"
    plain = {name: value for name, value in tree_map(_plain, kwargs).items() if name != "pin_memory"}
    found = function(*tree_map(_plain, args), **plain)
    known = {id(tensor.held): tensor for tensor in here}

    def wrapped(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return known.get(id(value)) if id(value) in known else OnDevice(value) if is_here else value

    return tree_map(wrapped, found)


def _plain(value: Any) -> Any:
    if isinstance(value, OnDevice):
        return value.held
    is_cuda = isinstance(value, torch.device) and value.type == "cuda"
    return torch.device("cpu") if is_cuda else value


def _copied(function: Any, args: Any, kwargs: Any) -> Any:
    """Between devices, or to another type on one of them."""
    if function is aten.copy_.default:
        target, source = args[0], args[1]
        if isinstance(source, OnDevice) and not isinstance(target, OnDevice):
            _wait("device to host")
        elif isinstance(target, OnDevice) and not isinstance(source, OnDevice) and source.dim():
            _sent(source, (len(args) > 2 and args[2]) or kwargs.get("non_blocking", False))
        _plain(target).copy_(_plain(source))
        return target
    source, asked = args[0], kwargs.get("device")
    device = source.device if asked is None else torch.device(asked)
    more = {name: value for name, value in kwargs.items() if name not in ("device", "non_blocking", "pin_memory")}
    made = function(_plain(source), **more)
    if isinstance(source, OnDevice) and device.type == "cpu":
        _wait("device to host")
        return made
    if device.type == "cuda":
        if not isinstance(source, OnDevice):
            _sent(source, kwargs.get("non_blocking", False))
        return OnDevice(made.clone() if made is source else made)
    return made


def _sent(source: torch.Tensor, non_blocking: bool) -> None:
    if not (non_blocking and getattr(source, "is_as_pinned", False)):
        _wait("host to device")


def _pinned(self: torch.Tensor, *rest: Any) -> torch.Tensor:
    made: Any = self.detach().clone()
    made.is_as_pinned = True
    return made  # type: ignore[no-any-return]


def _made_there(make: Any) -> Any:
    """torch.tensor and torch.as_tensor with a device are a copy to it."""

    def made(data: Any, *rest: Any, device: Any = None, **named: Any) -> Any:
        found = data if isinstance(data, torch.Tensor) and make is _as_tensor else make(data, *rest, **named)
        return found if device is None or torch.device(device).type != "cuda" else found.to(device)

    return made


def _module_to(self: Any, *places: Any, **named: Any) -> Any:
    there = any("cuda" in str(place) for place in (*places, *named.values()))
    if there and all(isinstance(each, OnDevice) for each in (*self.parameters(), *self.buffers())):
        return self
    torch.__future__.set_overwrite_module_params_on_conversion(there)
    try:
        return _to(self, *places, **named)
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)


FREE = [6 << 30, 8 << 30]  # bytes that the device reports: free for others, and with what torch only holds
_tensor, _as_tensor, _to = torch.tensor, torch.as_tensor, torch.nn.Module.to


def begin() -> None:
    """From now on there is a GPU."""
    assert LIBRARY in os.environ
    cuda: Any = torch.cuda
    cuda._lazy_init, cuda._initialized = lambda: None, True
    cuda.get_rng_state, cuda.set_rng_state = (
        lambda *of: torch.get_rng_state(),
        lambda state, *of: torch.set_rng_state(state),
    )
    cuda.mem_get_info = lambda *of: (FREE[0], 16 << 30)
    cuda.empty_cache = lambda: FREE.__setitem__(0, FREE[1])
    cuda.synchronize = lambda *of: None
    cuda.current_device, cuda.device_count = lambda: 0, lambda: 1
    cuda.get_device_name = lambda *of: "Tesla T4"
    cuda.get_device_properties = lambda *of: None
    cuda.device = lambda *of: nullcontext()
    cuda.max_memory_allocated = lambda *of: 0
    cuda.is_bf16_supported = lambda *of, **named: True
    torch.utils._device._device_constructors()  # remembers torch's own functions, before they are replaced
    replaced: Any = torch
    replaced.tensor, replaced.as_tensor = _made_there(_tensor), _made_there(_as_tensor)
    replaced.Tensor.pin_memory = _pinned
    replaced.nn.Module.to = _module_to
    replaced.inference_mode = torch.no_grad
