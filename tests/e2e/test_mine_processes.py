"""Candidates mined by two real processes: the bytes of one, shared work, and no process left behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Examined
from tests.e2e.test_launch import BIN, ROOT, environment
from tests.unit.invented import SMALL

pytestmark = pytest.mark.long

SOURCES = (
    "sources=[{name: file, as: bm25},"
    " {name: bm25, as: words, depth: 20, k1: 0.9, b: 0.4, title: true, stopwords: english, stemmer: english},"
    " {name: random, as: chance, depth: 10, seed: 7}]"
)
SETS = [f"data.corpus.{name}={value}" for name, value in SMALL.items()] + [SOURCES]
TORCHRUN = [str(BIN / "torchrun"), "--standalone", "--nproc_per_node", "2"]


def mining(home: Path) -> list[str]:
    words = ["mine", str(ROOT / "recipes/quickstart.yaml"), "--home", str(home), "--quiet"]
    return words + [word for each in SETS for word in ("--set", each)]


def noting(folder: Path) -> list[str]:
    folder.mkdir()
    return ["-m", "tests.e2e.mining", str(folder)]


def launched(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False, timeout=240
    )


def files(home: Path) -> dict[str, bytes]:
    """Everything under a home but locks."""
    return {str(p.relative_to(home)): p.read_bytes() for p in sorted(home.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process writes."""
    home = tmp_path_factory.mktemp("alone") / "home"
    done = launched([sys.executable, "-m", "mpr.cli", *mining(home)])
    assert done.returncode == 0, done.stderr[-2_000:]
    return files(home)


def test_two_processes_of_torchrun_write_the_bytes_of_one(
    alone: dict[str, bytes], tmp_path: Path, examined: Examined
) -> None:
    home, notes = tmp_path / "home", tmp_path / "notes"
    done = launched([*TORCHRUN, *noting(notes), *mining(home)])
    assert done.returncode == 0, done.stderr[-2_000:]
    assert files(home) == alone
    assert done.stdout.count("words ") == done.stdout.count("chance ") == 1, "said once"
    first, second = ((notes / str(rank)).read_text("utf-8").splitlines() for rank in range(2))
    parts = [[name for name in names if name.startswith("part")] for names in (first, second)]
    assert [len(one) for one in parts] == [8, 8], "four turns for each of two sources"
    assert set(parts[0]).isdisjoint(parts[1])
    assert parts[1] == second, "tables, stores and the index are the first one's"
    examined(len(alone), "files equal byte by byte", at_least=20)


@pytest.mark.slow
def test_an_error_of_one_ends_both_and_the_next_run_finishes(
    alone: dict[str, bytes], tmp_path: Path, examined: Examined
) -> None:
    """Started without a launcher, which would end the other process itself."""
    home, notes = tmp_path / "home", tmp_path / "notes"
    program, said = noting(notes), []
    for rank in range(2):
        (notes / f"fail-{rank}").touch()
        ended = both([*program, *mining(home)])
        assert [code for code, _ in ended] == [2, 2], ended
        said += [text for _, text in ended if "spoilt chunk" in text]
        (notes / f"fail-{rank}").unlink()
    assert len(said) == 2, "who fails says so"
    assert [code for code, _ in both([*program, *mining(home)])] == [0, 0]
    assert files(home) == alone
    examined(3, "launches of two processes")


def both(words: list[str]) -> list[tuple[int, str]]:
    """Two processes that know one another: exit code and what was said."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    here = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    running = [
        subprocess.Popen(
            [sys.executable, *words],
            cwd=ROOT,
            env=environment(**here, RANK=str(rank), LOCAL_RANK=str(rank)) | {"PYTHONPATH": os.fspath(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    texts = [one.communicate(timeout=600)[0] for one in running]
    return [(one.returncode, text) for one, text in zip(running, texts, strict=True)]
