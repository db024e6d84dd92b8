"""On a simulated GPU (tests/device/simulated.py): no tensor of one device meets one of the other, and a step waits for
the device no more often than docs/training.md says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Examined
from tests.device import simulated
from tests.device.trainings import KINDS
from tests.house.source import ROOT

QUICK = ("two towers, accumulation", "gradient cache", "live search", "negative cache", "view of positives")
COMPILER = next((found for name in ("c++", "g++", "clang++") if (found := shutil.which(name))), "")

needs_compiler = pytest.mark.skipif(
    not COMPILER, reason="the simulated GPU is 40 lines of C++, and there is no c++, g++ or clang++ here"
)


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that has one."""
    library = simulated.compiled(tmp_path_factory.mktemp("gpu"), COMPILER)
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", simulated.LIBRARY: str(library)}


def lines_of(module: str, gpu: dict[str, str], *words: str) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-m", f"tests.device.{module}", *words]
    done = subprocess.run(command, env=gpu, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))


def ceilings() -> dict[str, int]:
    """Kind of step -> how often it waits at most, from the table of docs/training.md."""
    text = (ROOT / "docs" / "training.md").read_text("utf-8")
    table = text[text.index("<!-- waits: begin -->") : text.index("<!-- waits: end -->")]
    return {name: int(count) for name, count in re.findall(r"^\| ([^|]+?) \| (\d+) \|", table, re.MULTILINE)}


def looked_at(gpu: dict[str, str], folder: Path, kinds: tuple[str, ...]) -> int:
    """Trains by each kind; each waits at most as often as the table says."""
    promised, seen = ceilings(), {}
    for found in lines_of("trainings", gpu, str(folder), *kinds):
        seen |= found
    assert seen.keys() == set(kinds)
    for kind, about in seen.items():
        assert about["updates"] == 4, kind
        assert sum(about["last"].values()) <= promised[kind], f"{kind}: {about['last']}"
        assert about["logged"] > promised[kind], f"{kind}: a step before a log reads numbers, and they were not counted"
    return len(seen)


@needs_compiler
@pytest.mark.slow
def test_steps(gpu: dict[str, str], tmp_path: Path, examined: Examined) -> None:
    examined(looked_at(gpu, tmp_path, QUICK), "kinds of step", at_least=len(QUICK))


@needs_compiler
@pytest.mark.slow
def test_all_other_steps(gpu: dict[str, str], tmp_path: Path, examined: Examined) -> None:
    others = tuple(kind for kind in KINDS if kind not in QUICK)
    examined(looked_at(gpu, tmp_path, others), "kinds of step", at_least=7)


def test_the_table_has_every_kind(examined: Examined) -> None:
    promised = ceilings()
    assert promised.keys() == KINDS.keys()
    assert all(count <= 2 for kind, count in promised.items() if kind != "live search"), "more than two"
    examined(len(promised), "kinds of step", at_least=12)


@needs_compiler
@pytest.mark.slow
def test_search(gpu: dict[str, str], tmp_path: Path, examined: Examined) -> None:
    """What tests/device/searching.py says, in one process."""
    (found,) = lines_of("searching", gpu, str(tmp_path))
    for dtype in ("float32", "float16", "bfloat16"):
        about = found[dtype]
        assert about["same"], f"{dtype}: not what brute force finds"
        assert about["sent_bytes"] == about["stored_bytes"], f"{dtype}: vectors travel as they are stored"
        assert about["again_bytes"] == about["kept_bytes"], f"{dtype}: only what stays on the device is sent again"
    assert found["streamed"], "not all vectors fitted, and the result is the same"
    assert found["free"] == 8 << 30, "what torch only holds is given back before the free memory is asked for"
    assert found["refused"][0] == "refresh.device_share"
    assert "0.001" in found["refused"][1]
    examined(3, "types of vectors")


@needs_compiler
def test_mixing_is_noticed(gpu: dict[str, str], examined: Examined) -> None:
    """The simulation refuses what a GPU would, and counts what one would wait for."""
    code = (
        "import json, torch\nfrom tests.device import simulated\nsimulated.begin()\nfound = {}\n"
        "with simulated.Mode(), simulated.counting():\n"
        "    there = torch.ones(3).pin_memory().to('cuda:0', non_blocking=True)\n"
        "    found['pinned'] = sum(simulated.waits.values())\n"
        "    torch.ones(3).to('cuda:0')\n    torch.tensor([1.0], device='cuda:0')\n    there.sum().item()\n"
        "    there.nonzero()\n    there[there > 0]\n    there.cpu()\n"
        "    found['waits'] = sum(simulated.waits.values())\n"
        "    there[torch.tensor([0, 2]).pin_memory().to('cuda:0', non_blocking=True)] * 2\n"
        "    found['again'] = sum(simulated.waits.values())\n"
        "    try:\n        there + torch.ones(3)\n"
        "    except RuntimeError as error:\n        found['mixed'] = str(error)\n"
        "print(json.dumps(found))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=gpu, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["pinned"], found["waits"], found["again"]) == (0, 6, 6)
    assert "two devices" in found["mixed"]
    examined(6, "waits")
