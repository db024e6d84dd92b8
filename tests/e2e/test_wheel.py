"""The wheel, built and installed, in an empty folder: shipped recipes by name, and a leaderboard of one's own.

The installed package stands in a folder of its own; its dependencies are those of the tests. So nothing of the source
tree is found by accident: the tests assert where the package lies.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Examined
from tests.house.source import ROOT
from tests.unit.publishing.test_own_board import DRAFT, finished

pytestmark = pytest.mark.long

Run = Callable[..., str]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel is installed by unpacking it; this one has no scripts or data that go elsewhere."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if ".data/" in name]
        archive.extractall(folder)
    return folder


@pytest.fixture
def run(site: Path, tmp_path: Path) -> Run:
    """`mpr ...` of the installed package, in an empty folder; what it says."""

    def call(*arguments: str, code: int = 0, before: str = "") -> str:
        path = os.pathsep.join(filter(None, (before, str(site))))
        done = subprocess.run(
            [sys.executable, "-m", "mpr.cli", *arguments], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path},
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    return call


def test_it_carries_what_a_checkout_has(wheel: Path, examined: Examined) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        about = archive.read("mpr_retrieval-0.1.0.dist-info/METADATA").decode("utf-8")
        commands = archive.read("mpr_retrieval-0.1.0.dist-info/entry_points.txt").decode("utf-8")
    assert re.search(r"^Name: mpr-retrieval$", about, re.MULTILINE)
    assert "mpr = mpr.cli:main" in commands
    assert "mpr-retrieval = mpr.cli:main" in commands
    files = [path for folder in ("recipes", "docs") for path in (ROOT / folder).rglob("*") if path.is_file()]
    shipped = [path.relative_to(ROOT).as_posix() for path in files]
    assert {f"mpr/shipped/{name}" for name in shipped} <= names
    assert "mpr/shipped/recipes/schema.json" in names
    assert not [name for name in names if not name.startswith(("mpr/", "mpr_retrieval-"))]
    examined(len(shipped), "recipes and pages in the wheel", at_least=120)


def test_a_user_of_the_wheel_has_names_plans_and_a_board(run: Run, site: Path, tmp_path: Path) -> None:
    assert run("--version") == f"mpr-retrieval 0.1.0 in {site / 'mpr'}\n"
    assert run("check", "quickstart", "trec_bce_m3") == "2 of 2 recipes are good\n"
    assert run("plan", "quickstart").startswith("recipe      quickstart\n")
    assert "did you mean 'quickstart'" in run("plan", "quickstar", code=2)
    mine = finished(tmp_path / "runs", **DRAFT)
    assert "now: mpr leaderboard build --board board" in run("leaderboard", "add", str(mine), "--board", "board")
    run("leaderboard", "build", "--board", "board")
    assert "1 rows and " in run("leaderboard", "build", "--check", "--board", "board")
    page = (tmp_path / "board" / "leaderboard" / "README.md").read_text("utf-8")
    assert "[mine](../recipes/mine.yaml)" in page
    assert "draft: inputs that nobody has pinned" in page


def test_the_other_mpr_installed_over_it_is_named(run: Run, site: Path, tmp_path: Path) -> None:
    """As its wheel 1.35 does it: an empty `mpr/__init__.py` over ours, and a command `mpr` of its own."""
    about = site / "mpr-1.35.dist-info"
    about.mkdir()
    ours = site / "mpr" / "__init__.py"
    text = ours.read_bytes()
    try:
        about.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: mpr\nVersion: 1.35\nSummary: A tool\n")
        about.joinpath("entry_points.txt").write_text("[console_scripts]\nmpr = mpr.main:main\n")
        said = run("check", "quickstart")
        assert said.startswith("1 of 1 recipes are good\n")
        assert "mpr: another package called `mpr` is installed: mpr 1.35 (A tool), whose files lie in the same" in said
        ours.write_bytes(b"")
        said = run("check", "quickstart", code=1)
        assert "another package called `mpr` is installed" in said
        assert "Traceback" not in said
    finally:
        ours.write_bytes(text)
        for path in about.iterdir():
            path.unlink()
        about.rmdir()
