"""Where and with what something was computed: seeds, a snapshot for receipts, and what a stage cost.

The snapshot is a list of named facts, never a dump: user and host names, paths and secrets cannot appear in it, because
nothing that could hold them is read. Torch is looked at only if it is already loaded; importing it takes seconds.
"""

from __future__ import annotations

import ast
import hashlib
import os
import platform
import random
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import mpr
from mpr.errors import RecipeError
from mpr.storage.manifest import json_digest

# Packages whose version can change a number. Those that are not installed are left out of the snapshot.
PACKAGES = (
    "PyStemmer", "accelerate", "bitsandbytes", "bm25s", "datasets", "evaluate", "faiss-cpu", "faiss-gpu",
    "faiss-gpu-cu12", "flash-attn", "huggingface-hub", "isal", "matplotlib", "numpy", "peft", "pyarrow", "pydantic",
    "pytrec-eval-terrier", "regex", "ruamel.yaml", "safetensors", "scipy", "sentence-transformers", "tokenizers",
    "torch", "tqdm", "transformers", "triton", "typer", "zstandard",
)  # fmt: skip

# Settings that can change a number or a speed. Anything else in the environment is nobody's business.
VARIABLES = (
    "CUBLAS_WORKSPACE_CONFIG", "CUDA_DEVICE_ORDER", "CUDA_LAUNCH_BLOCKING", "CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE",
    "HIP_VISIBLE_DEVICES", "MKL_NUM_THREADS", "NVIDIA_TF32_OVERRIDE", "OMP_DYNAMIC", "OMP_NUM_THREADS", "OMP_PLACES",
    "OMP_PROC_BIND", "OMP_SCHEDULE", "OMP_THREAD_LIMIT", "OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS", "PYTHONHASHSEED",
    "TOKENIZERS_PARALLELISM", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)  # fmt: skip

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # as a container sees its own
_PACKAGE = Path(mpr.__file__).resolve().parent
_PLAIN = re.compile(r"[A-Za-z0-9_.,:;(){} *+-]{0,80}")  # what such settings look like; no path and no address fits
_KEY = re.compile(r"[A-Za-z0-9]{20}")  # what they never contain and keys, tokens and passwords often do


def seed_everything(seed: int) -> None:
    """Seeds the global generators of Python, numpy and torch (if it is loaded), for libraries that draw from them.

    What mpr itself draws does not come from these: see `mpr/runtime/randomness.py`. Seeds have 32 bits, because numpy
    takes no more and torch's generator for the CPU looks at no more: longer ones would collide in silence.
    """
    if not 0 <= seed < 2**32:
        raise RecipeError(f"seed {seed} is not between 0 and {2**32 - 1}", key="seed", fix="choose a smaller one")
    random.seed(seed)
    np.random.seed(seed)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


def snapshot() -> dict[str, Any]:
    """Everything about this machine and this software that a receipt states, with a digest of it all."""
    facts = {
        "mpr": mpr.__version__,
        "code": _code(_PACKAGE),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": {"system": platform.system(), "machine": platform.machine(), "libc": "-".join(platform.libc_ver())},
        "packages": _versions(),
        "cpu": {
            "model": _cpu_model(),
            "count": os.cpu_count(),
            "usable": usable_cores(),
        },
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "torch": _torch(),
        "variables": {name: _shown(os.environ[name]) for name in VARIABLES if name in os.environ},
    }
    return {**facts, "digest": json_digest(facts)}


def usable_cores() -> int:
    """Those that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Main memory that a process here can have: the machine's, or what a container leaves of it."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _LIMITS:
        try:
            found = min(found, int(Path(path).read_text()))
        except (OSError, ValueError):  # not here, or "max"
            continue
    return found


@cache
def code_digest(package: Path = _PACKAGE) -> str:
    """What tells one program from another where there is no repository to ask: of each file its path and what runs.

    Comments, docstrings and layout are no part of it. Everything else is: a new name, a function that moved to another
    place or file, a message. So a refactoring that changes no result is other code to this digest, because no text can
    show that results are the same. Whoever knows it keeps what was made before with `mpr reproduce --older-code`.
    """
    found = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        said = [path.relative_to(package).as_posix()]
        _say(ast.parse(path.read_bytes()), said.append)
        found.update("\n".join(said).encode() + b"\n")
    return found.hexdigest()


def _say(node: ast.AST, say: Callable[[str], object]) -> None:
    """The syntax tree as lines, without positions and docstrings: `ast.dump` takes three times as long."""
    say(type(node).__name__)
    for name in node._fields:
        value = getattr(node, name, None)
        if value is None or value == []:  # so are fields that only newer versions of Python have
            continue
        if isinstance(value, ast.AST):
            say(name)
            _say(value, say)
        elif type(value) is list:
            say(f"{name} [")
            for each in value:
                if not isinstance(each, ast.AST):
                    say(repr(each))
                elif not _is_text(each):
                    _say(each, say)
            say("]")
        else:
            say(f"{name} {value!r}")


def _is_text(node: ast.AST) -> bool:
    """A statement that is nothing but a text: the docstring of what it stands in or behind."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


class Meter:
    """Time and memory since it was made. Peaks are of the whole process so far: the kernel keeps no other."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.monotonic(), self._cpu_seconds()

    def cost(self) -> dict[str, float | int]:
        """`seconds`, `cpu_seconds` (with finished children), `peak_bytes`, and `gpu_peak_bytes` where one is used."""
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        unit = 1 if sys.platform == "darwin" else 1024
        cost: dict[str, float | int] = {
            "seconds": round(time.monotonic() - self._wall, 3),
            "cpu_seconds": round(self._cpu_seconds() - self._cpu, 3),
            "peak_bytes": own * unit,
        }
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            cost["gpu_peak_bytes"] = max(map(torch.cuda.max_memory_allocated, range(torch.cuda.device_count())))
        return cost

    @staticmethod
    def _cpu_seconds() -> float:
        spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def _shown(value: str) -> str:
    return value if _PLAIN.fullmatch(value) and not _KEY.search(value) else "(not shown)"


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _code(package: Path) -> dict[str, Any]:
    """The commit that runs, and whether the package differs from it; empty when mpr runs from anything but a checkout.

    Only changes of the package itself count: results written into the repository do not make its code another one.
    """
    checkout = package.parent
    if _git(checkout, "rev-parse", "--show-toplevel") != str(checkout):
        return {}  # installed; maybe somewhere below another project's repository
    commit = _git(checkout, "rev-parse", "--verify", "HEAD")
    if not commit:
        return {}
    return {"commit": commit, "dirty": _git(checkout, "status", "--porcelain", "--", package.name) != ""}


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says, or nothing where there is no git, no repository or no answer."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, env=plain, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor()


def _torch() -> dict[str, Any]:
    """What torch computes on and with; empty if torch is not loaded."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    facts: dict[str, Any] = {
        "version": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "matmul_precision": _matmul_precision(torch),
        "gpus": [],
    }
    if torch.cuda.is_available():
        facts["cuda"], facts["cudnn"] = torch.version.cuda, torch.backends.cudnn.version()
        devices = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
        facts["gpus"] = [
            {"name": device.name, "memory_bytes": device.total_memory, "capability": f"{device.major}.{device.minor}"}
            for device in devices
        ]
    return facts


def _matmul_precision(torch: Any) -> str:
    """torch refuses to be asked the old way once one of its newer settings was used, as `training.tf32` does."""
    try:
        return str(torch.get_float32_matmul_precision())
    except RuntimeError:
        return str(torch.backends.cuda.matmul.fp32_precision)
