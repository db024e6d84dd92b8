"""The documentation site builds without a warning, loads nothing from elsewhere, and no page of it is forgotten."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import Examined
from tests.house.source import ROOT

pytestmark = pytest.mark.long

SITE = YAML(typ="safe").load(ROOT / "mkdocs.yml")
WRITTEN = {"index.md", "api.md", "notebook.md"}  # by mkdocs_hooks.py
LINK = re.compile(r"\]\((?!\w+:)([^()\s#]+)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LOADED = re.compile(r"""<(?:script|link|img|iframe)[^>]*?(?:src|href)=["']?((?:https?:)?//[^"' >]+)""")


def pages(entry: Any) -> Iterator[str]:
    """Of a part of the navigation."""
    if isinstance(entry, str):
        yield entry
    else:
        for each in entry.values() if isinstance(entry, dict) else entry:
            yield from pages(each)


def test_every_page_of_docs_is_in_the_navigation(examined: Examined) -> None:
    shown = set(pages(SITE["nav"]))
    inside = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert inside - shown == set()
    assert {page for page in shown - inside - WRITTEN if not (ROOT / page).is_file()} == set()
    examined(len(shown), "pages", 35)


def test_links_between_pages_lead_somewhere(examined: Examined) -> None:
    """Also where mkdocs is not installed."""
    links = [
        (path, link)
        for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"))
        for link in LINK.findall(FENCE.sub("", path.read_text("utf-8")))
    ]
    assert [f"{path.name}: {link}" for path, link in links if not (path.parent / link).exists()] == []
    examined(len(links), "links", 100)


def test_the_site_builds(tmp_path: Path, examined: Examined) -> None:
    for name in ("material", "mkdocstrings_handlers.python", "nbconvert"):
        pytest.importorskip(name, reason="the site needs the group docs of pyproject.toml")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    made = {path.relative_to(tmp_path / "site"): path.read_text("utf-8") for path in tmp_path.rglob("*.html")}
    assert {str(path): LOADED.findall(text) for path, text in made.items() if LOADED.findall(text)} == {}
    assert 'id="mpr.objectives.load"' in made[Path("api.html")]
    assert "mpr init" in made[Path("commands.html")]
    assert "several on test" in made[Path("notebook.html")]
    assert (tmp_path / "site" / "notebook.ipynb").is_file()
    assert "leaderboard/figures/" in str(list((tmp_path / "site").rglob("*.svg")))
    examined(len(made), "pages", 35)
