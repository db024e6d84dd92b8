"""Fault 9: the disk is full at any operation; and the sweep of kills (faults 2 to 4) on storage alone.

Method of SQLite's tests: the n-th operation fails, for n = 1, 2, 3 ... until a run completes untouched. After each
failure earlier artefacts verify, readers see the old world or the new one, and the same command succeeds again.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mpr import storage
from mpr.errors import StorageError
from tests.conftest import Examined
from tests.faults.artefacts import ARTEFACTS, complete, finish, hooked
from tests.faults.test_01_killed_training import tried

FULL = r"at least [\d,]+ bytes are needed, [\d,]+ bytes are free"
ROOT = Path(__file__).parents[2]
SMALL = {"split": pytest.mark.small}  # has a writer of several files
LIMIT = 2_000  # operations; far above any builder, so that a sweep that never ends is a failure


class FullDisk:
    """Fails at the n-th operation; with `stays` at every later one too, as a disk does that nobody cleans up."""

    def __init__(self, at: int, stays: bool) -> None:
        self.at, self.stays, self.count, self.failed = at, stays, 0, ""

    def __call__(self, operation: str, path: Path) -> None:
        self.count += 1
        if self.count == self.at or (self.stays and self.count > self.at):
            self.failed = self.failed or operation
            raise OSError(errno.ENOSPC, "No space left on device", str(path))


def _sweep(folder: Path, stays: bool, attempt: Callable[[Path], object], check: Callable[[Path], None]) -> list[str]:
    """Operations at which `attempt` was made to fail, in order; `check` looks at the world after each."""
    failed: list[str] = []
    for number in range(1, LIMIT):
        world = folder / str(number)
        world.mkdir(parents=True)
        disk = FullDisk(number, stays)
        problem = ""
        with hooked(disk):
            try:
                attempt(world)
            except StorageError as error:
                problem = str(error)
        if not disk.failed:
            return failed
        failed.append(disk.failed)
        if problem:
            assert re.search(FULL, problem), problem
            assert str(world) in problem
        else:  # the only failure that may pass in silence: the lock file stays, and counts for nothing
            assert disk.failed == "remove"
        check(world)
        shutil.rmtree(world)
    raise AssertionError(f"no run completed within {LIMIT} operations")


@pytest.mark.parametrize("stays", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("name", [pytest.param(name, marks=SMALL.get(name, ())) for name in ARTEFACTS])
def test_artefact_on_a_full_disk(quick_path: Path, name: str, stays: bool, examined: Examined) -> None:
    golden = finish(name, quick_path / "golden")

    def attempt(world: Path) -> None:
        shutil.copytree(quick_path / "golden", world / "earlier")
        ARTEFACTS[name](world / "new" / "target")

    def check(world: Path) -> None:
        assert storage.verify(world / "earlier").digest == golden
        target = world / "new" / "target"
        assert complete(target) == target.exists(), "a half-written artefact has the final name"
        assert finish(name, target) == golden
        assert set(os.listdir(target.parent)) <= {"target", ".target.lock"}, "debris"

    failed = _sweep(quick_path / "worlds", stays, attempt, check)
    assert set(failed) >= {"create folder", "lock", "create", "write", "flush", "rename"}
    examined(len(failed), "operations made to fail", at_least=15)


@pytest.mark.parametrize("stays", [False, True], ids=["once", "for good"])
def test_small_file_on_a_full_disk(quick_path: Path, stays: bool, examined: Examined) -> None:
    def attempt(world: Path) -> None:
        (world / "file.json").write_bytes(b"old")
        storage.write_file(world / "file.json", b"new" * 5_000)

    def check(world: Path) -> None:
        assert (world / "file.json").read_bytes() in (b"old", b"new" * 5_000)
        storage.write_file(world / "file.json", b"newer")
        assert (world / "file.json").read_bytes() == b"newer"
        assert os.listdir(world) == ["file.json"], "debris"

    failed = _sweep(quick_path, stays, attempt, check)
    assert set(failed) >= {"lock", "create", "write", "flush", "rename", "remove"}
    examined(len(failed), "operations made to fail", at_least=7)


LONG = ("late_interaction", "cross_encoder")  # as `model` is written


@pytest.mark.long
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in (*ARTEFACTS, "write_file")]
)
def test_killed_at_every_operation(quick_path: Path, name: str, examined: Examined) -> None:
    command = [sys.executable, "-m", "tests.faults.kill_sweep", name, str(quick_path)]
    env = {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")}
    env["TOKENIZERS_PARALLELISM"] = "false"
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    killed = json.loads(done.stdout)
    assert set(killed) >= {"lock", "create", "write", "flush", "rename", "remove"}
    examined(len(killed), "operations at which the process was killed", at_least=7)


_HONEST = """
import resource, sys
from pathlib import Path
from mpr import storage
from mpr.errors import StorageError

limit, folder = int(sys.argv[1]), Path(sys.argv[2])

def big_file():
    storage.write_file(folder / "earlier", bytes(3_000_000))

def big_artefact():
    with storage.stage(folder / "target", "big") as stage, stage.open("data.bin") as file:
        for _ in range(300):
            file.write(bytes(10_000))

storage.write_file(folder / "earlier", b"earlier")
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # Python ignores SIGXFSZ, so writes fail with EFBIG
for attempt in (big_file, big_artefact):
    try:
        attempt()
    except StorageError as error:
        print(error)
    else:
        sys.exit("nothing failed")
    if [path.name for path in folder.iterdir()] != ["earlier"] or (folder / "earlier").read_bytes() != b"earlier":
        sys.exit("the old world is not intact")
storage.write_file(folder / "after", bytes(100))
"""


def test_file_size_limit(tmp_path: Path, examined: Examined) -> None:
    """An honest failure of the kernel in the middle of a write, not one of our hook's."""
    command = [sys.executable, "-c", _HONEST, "1500000", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stderr
    refusals = re.findall(r"cannot write: File too large; " + FULL, done.stdout)
    examined(len(refusals), "refusals by the kernel", at_least=2)


def test_small_disk(tmp_path: Path, examined: Examined) -> None:
    """A real disk of two megabytes, where mounting one inside a private namespace is permitted; else counted as 0."""
    inside = 'mount -t tmpfs -o size=2m none "$1" && echo mounted && exec "$2" -c "$3" 0 "$1"'
    command = ["unshare", "-rm", "sh", "-c", inside, "sh", str(tmp_path), sys.executable, _HONEST]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
        mounted = done.stdout.startswith("mounted")
    except FileNotFoundError:
        mounted = False
    if not mounted:
        examined(0, "small disks: mounting is not permitted here; the file size limit stands in", at_least=0)
        return
    assert done.returncode == 0, done.stderr
    examined(len(re.findall("No space left on device; " + FULL, done.stdout)), "refusals by a full disk", at_least=2)


@pytest.mark.long
def test_checkpoint_without_room(tmp_path: Path, examined: Examined) -> None:
    """torch and safetensors open files of their own, and each says in its own words that a write failed."""
    said = tried("room", tmp_path)
    assert all(re.search(f"checkpoints/.*cannot [a-z]+: .*{FULL}", line) for line in said), said
    examined(len(said), "refusals of a checkpoint", at_least=2)
