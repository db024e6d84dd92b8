"""Commands whose units of work a real Ray cluster does: the bytes of one process, and what a cluster is refused for.

Needs the extra `ray`; machines that die are in tests/attack/nodes.py.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Examined
from tests.e2e import namespaces
from tests.e2e.searched import SETS
from tests.e2e.test_launch import ROOT, environment
from tests.e2e.test_mine_processes import files, mining
from tests.waiting import HANGING

pytestmark = pytest.mark.slow
OTHER = "import sys, mpr\nmpr.__version__ = '9.9'\nfrom mpr import cli\ncli.main(sys.argv[1:])"
RECIPE = str(ROOT / "recipes/quickstart.yaml")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a cluster of a machine that gives out work and two that do it."""
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    from tests.attack.nodes import machines

    with machines(2) as (cluster, _):
        yield cluster.address


def ran(*words: str, program: tuple[str, ...] = ("-m", "mpr.cli")) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *program, *words], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False,
        timeout=HANGING,
    )  # fmt: skip


def fine(*words: str) -> str:
    done = ran(*words)
    assert done.returncode == 0, done.stderr[-3_000:]
    return done.stdout


def on(address: str) -> tuple[str, ...]:
    return ("--engine", "ray", "--engine-address", address)


def test_mine(address: str, tmp_path: Path, examined: Examined) -> None:
    fine(*mining(tmp_path / "alone"))
    said = fine(*mining(tmp_path / "cluster"), *on(address))
    assert "words " in said
    assert files(tmp_path / "cluster") == files(tmp_path / "alone")
    examined(len(files(tmp_path / "alone")), "files equal byte by byte", at_least=20)


def test_encode_and_search(address: str, tmp_path: Path, examined: Examined) -> None:
    """Of a run folder that does not exist yet; search asks exactly, then with feedback."""
    common = [RECIPE, "--home", str(tmp_path / "home"), "--quiet", "--untrained"]
    common += [word for each in SETS for word in ("--set", each)]
    for name, where in (("alone", ()), ("cluster", on(address))):
        fine("encode", *common, "--folder", str(tmp_path / name), *where)
        fine("search", *common, "--folder", str(tmp_path / name), *where)
    alone, cluster = (
        {
            str(path.relative_to(tmp_path / name)): path.read_bytes()
            for path in sorted((tmp_path / name).rglob("*"))
            if path.suffix in (".bin", ".trec")
        }
        for name in ("alone", "cluster")
    )
    assert alone == cluster
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()], "no token and no lock is left"
    examined(len(alone), "files of vectors and rankings equal byte by byte", at_least=6)


def test_another_version_is_refused(address: str, tmp_path: Path) -> None:
    done = ran(*mining(tmp_path / "home"), *on(address), program=("-c", OTHER))
    assert done.returncode == 2, done.stderr[-3_000:]
    assert "has another version of mpr: '0.1.0' instead of '9.9' (install the same on all machines" in done.stderr
    assert "Traceback" not in done.stderr
    fine(*mining(tmp_path / "home"), *on(address))


def test_a_folder_that_is_not_shared_is_refused(address: str, tmp_path: Path) -> None:
    """The command sees a disk of its own at that place."""
    home = tmp_path / "home"
    home.mkdir()
    inside = namespaces.needs("mount", "mount", "-t", "tmpfs", "none", str(home))
    script = 'mount -t tmpfs none "$0" && exec "$@"'
    command = [*inside, "sh", "-c", script, str(home), sys.executable, "-m", "mpr.cli"]
    words = [*mining(home), *on(address)]
    done = subprocess.run(
        [*command, *words], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False, timeout=HANGING
    )
    assert done.returncode == 4, done.stderr[-3_000:]
    assert f"{home}: machine " in done.stderr
    assert "does not see this folder as the machine that gives out the work does" in done.stderr
