"""What `mpr reproduce` does first, and what it says before anything starts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mpr.errors import RecipeError
from mpr.rows import reproduction
from mpr.runtime import environment
from tests import shipped

WIKIPEDIA = shipped.ROOT / "recipes" / "trec_bce_m3.yaml"


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Systems and seeds in the order in which they would be made; nothing is."""
    found: list[str] = []

    def pipeline(row: Any, say: Any, older_code: bool) -> Any:
        return SimpleNamespace(run=lambda: found.append(f"{row.system} {row.recipe.training['seed']}"))

    monkeypatch.setattr(reproduction, "Pipeline", pipeline)
    monkeypatch.setattr(environment, "memory_bytes", lambda: 1 << 40)
    return found


def made(folder: Path, *, say: Any = lambda line: None, **more: Any) -> None:
    reproduction.reproduce(WIKIPEDIA, (), folder / "home", folder / "runs", say, **more)


def test_what_the_user_came_for_is_first(order: list[str], tmp_path: Path) -> None:
    made(tmp_path, seeds=2)
    assert order == ["trained 42", "trained 43", "bm25 42", "untrained 42"]


def test_a_baseline_that_does_not_fit_is_refused_before_anything_starts(
    order: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "memory_bytes", lambda: 2 * 10**9)
    with pytest.raises(RecipeError, match=r"BM25 baseline needs about .* this machine has 2\.0 GB .*--no-bm25"):
        made(tmp_path)
    assert order == []
    assert list(tmp_path.iterdir()) == []
    made(tmp_path, baselines=["untrained"])
    assert order == ["trained 42", "untrained 42"]


def test_an_index_that_is_there_needs_no_memory(
    order: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "memory_bytes", lambda: 2 * 10**9)
    monkeypatch.setattr("mpr.rows.retrieval.Retrieval.has_word_index", lambda self: True)
    made(tmp_path)
    assert order == ["trained 42", "bm25 42", "untrained 42"]


def test_other_shortages_are_said(order: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpr.storage.free_bytes", lambda folder: 10**9)
    lines: list[str] = []
    made(tmp_path, say=lines.append, baselines=[])
    assert lines[0].startswith("warning: the row leaves about ")
    assert lines[0].endswith(" GB on disk, and 1.0 GB are free")
    assert order == ["trained 42"]
