"""On PyPI `mpr` is somebody else's package; ours is `mpr-retrieval`. No page and no message sends anybody there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from mpr.runtime import installation
from mpr.training.launch import INSTALLED_AS
from tests.conftest import Examined
from tests.house.source import ROOT

pytestmark = pytest.mark.small

PAGES = (".md", ".py", ".yaml", ".yml", ".toml", ".cff", ".ipynb", ".txt", ".sh", ".cfg", "", ".lock")
FOLDERS = ("mpr", "docs", "recipes", "leaderboard", "benchmarks", ".ci", "skills")
_INSTALL = re.compile(r"""\b(?:pip|pip3|pipx|uv)\s+(?:tool\s+)?(?:install|add|run)\b[^\n`|&;]*?[\s'"]mpr(?![\w.:/-])""")
_EXTRA = re.compile(r"""(?<![\w.-])mpr\[[a-z]""")


def _wrong(text: str) -> list[str]:
    return [found[0] for pattern in (_INSTALL, _EXTRA) for found in pattern.finditer(text)]


def test_no_page_installs_the_other_package(examined: Examined) -> None:
    top = [path for path in ROOT.iterdir() if path.is_file()]
    below = [path for name in FOLDERS for path in (ROOT / name).rglob("*")]
    pages = [path for path in top + below if path.is_file() and path.suffix in PAGES and path.name != ".git"]
    texts = {str(path.relative_to(ROOT)): path.read_text("utf-8", "replace") for path in pages}
    assert {name: _wrong(text) for name, text in texts.items() if _wrong(text)} == {}
    assert {"README.md", "Dockerfile", "CITATION.cff", "Makefile", "uv.lock"} <= set(texts)
    examined(len(texts), "pages and sources", at_least=300)


@pytest.mark.parametrize(
    "text", ["pip install mpr", "pip install 'mpr[trackers]'", "pip install -U \"mpr\"", "uv add mpr", "needs mpr[gpu]",
             "pipx install mpr", "pip install torch mpr==1", "uv tool install mpr"],
)  # fmt: skip
def test_it_would_be_seen(text: str) -> None:
    assert _wrong(f"say `{text}` and")


@pytest.mark.parametrize(
    "text", ["pip install mpr-retrieval", "pip install 'mpr-retrieval[trackers]'", "pip uninstall mpr", "mpr check x",
             "pip install -e .` gives mpr", "docker run --rm mpr:cpu", "pip install /opt/mpr/dist", "mpr[1]"],
)  # fmt: skip
def test_the_innocent_pass(text: str) -> None:
    assert not _wrong(f"say `{text}` and")


def test_the_name_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["name"] == installation.DISTRIBUTION
    assert set(project["scripts"]) == {"mpr", installation.DISTRIBUTION}
    assert set(project["scripts"].values()) == {installation._OURS}
    locked = [
        each for each in tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))["package"] if "editable" in each["source"]
    ]
    assert [each["name"] for each in locked] == [installation.DISTRIBUTION]
    extras = {re.fullmatch(rf"{installation.DISTRIBUTION}\[(.+)\]", text)[1] for text in INSTALLED_AS.values()}
    assert extras <= set(project["optional-dependencies"])
    assert installation.DISTRIBUTION in (ROOT / "CITATION.cff").read_text("utf-8")


def _distribution(folder: Path, command: str) -> None:
    """What an installer leaves of another package called mpr."""
    about = folder / "mpr-1.35.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mpr\nVersion: 1.35\nSummary: A tool\n", "utf-8")
    (about / "entry_points.txt").write_text(f"[console_scripts]\nmpr = {command}\n", "utf-8")


def test_a_start_beside_the_other_package_says_what_shadows_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _distribution(tmp_path, "mpr.main:main")
    monkeypatch.syspath_prepend(str(tmp_path))
    said = installation.stranger("9.9")
    assert said.startswith(
        f"another package called `mpr` is installed: mpr 1.35 (A tool), in {tmp_path / 'mpr'}. This is "
    )
    assert f"mpr-retrieval 9.9 in {ROOT / 'mpr'}" in said
    assert "pip uninstall mpr" in said
    monkeypatch.setattr(installation, "_PACKAGE", tmp_path / "mpr")
    assert "in the same folder: what was installed last replaced the other" in installation.stranger("9.9")


def test_an_older_installation_of_ours_is_no_stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _distribution(tmp_path, "mpr.cli:main")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert installation.stranger("9.9") == ""
