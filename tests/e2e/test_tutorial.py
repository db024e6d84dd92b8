"""A stranger's day as docs/tutorial.md tells it, in an empty folder: every command and block of code is run, and prints
what is shown. The pages that go on from there have their code run on the model that it leaves.

Numbers of training may differ between processors, so the block with the table is compared without its numbers.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import published
from tests.conftest import Examined
from tests.e2e.test_documented_commands import worded
from tests.house.source import ROOT

pytestmark = pytest.mark.long

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = "runs/my-seed42"


def blocks(page: str) -> list[tuple[str, str]]:
    """(language, content) of each fence of a page."""
    return [(found[1], found[2]) for found in FENCE.finditer((ROOT / "docs" / page).read_text("utf-8"))]


@dataclass
class Day:
    """What was printed for each block of output that the page shows, and what the page's code left."""

    folder: Path
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "page"})
    shown: list[tuple[list[str], list[str]]] = field(default_factory=list)
    commands: int = 0
    written: str = ""
    """The recipe of `mpr init`, before the page's."""

    def run(self, page: str, capsys: pytest.CaptureFixture[str]) -> str:
        """Runs a page from top to bottom; returns all that its code printed."""
        printed, everything = "", ""
        for language, content in blocks(page):
            if language == "bash":
                printed = ""
                for line in content.splitlines():
                    words = shlex.split(line)[1:]
                    published.said(*words, *(["--quiet"] if words[0] == "reproduce" else []))
                    self.commands += 1
                    printed += capsys.readouterr().out
            elif language == "python":
                with contextlib.chdir(self.folder):
                    exec(compile(content, page, "exec"), self.names)
                everything += capsys.readouterr().out
            elif language == "yaml":
                self.written = (self.folder / "my.yaml").read_text("utf-8")
                (self.folder / "my.yaml").write_text(content, "utf-8")
            elif language == "text":
                self.shown.append((content.splitlines(), printed.splitlines()))
        return everything


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty one, to be in."""
    folder = tmp_path_factory.mktemp("day")
    with contextlib.chdir(folder):
        yield folder


@pytest.fixture(scope="module")
def day(folder: Path, one_thread: None) -> Day:
    return Day(folder)


def test_the_tutorial_runs_as_it_is_told(day: Day, capsys: pytest.CaptureFixture[str], examined: Examined) -> None:
    near = day.run("tutorial.md", capsys).splitlines()
    assert len(near) == 3
    assert set(near) <= set(day.names["texts"])
    (init, said), (plan, planned), (row, measured) = day.shown
    assert init == said
    assert [line for line in plan if line not in planned] == []
    assert [line for line in row if worded(line) not in map(worded, measured)] == []
    assert len([line for line in day.written.splitlines() if not line.startswith("#")]) == 8
    examined(day.commands, "commands", 6)


def test_what_serves_it_agrees(day: Day, capsys: pytest.CaptureFixture[str], examined: Examined) -> None:
    pytest.importorskip("onnxruntime", reason="the page exports to ONNX and runs it; pip install onnxruntime")
    pytest.importorskip("onnxscript", reason="torch.onnx needs it; pip install onnxscript")
    assert (day.folder / RUN).is_dir(), "the tutorial comes first"
    said = dict(line.split(": ") for line in day.run("serve.md", capsys).splitlines() if ": " in line)
    apart = {name: float(said[name]) for name in ("sentence-transformers", "onnxruntime")}
    assert max(apart.values()) < 1e-6, apart
    assert 0.99 < float(said["smallest cosine of 8 bits"]) <= 1
    names = day.names
    ranked = dict[str, list[str]]()
    for line in (day.folder / RUN / "rankings/test/run.trec").read_text("utf-8").splitlines():
        ranked.setdefault(line.split()[0], []).append(line.split()[2])
    vector = dict(zip(names["passages"].ids(range(len(names["passages"]))), names["ours"], strict=True))
    for place, (question, found) in enumerate(names["best"].items()):
        for theirs, ours in zip(found, ranked[question], strict=False):  # equal, but for ties
            assert abs(float((vector[theirs] - vector[ours]) @ names["asked"][place])) < 1e-6
    examined(len(names["best"]), "questions searched by faiss", 10)


def test_others_score_it_the_same(day: Day, capsys: pytest.CaptureFixture[str], examined: Examined) -> None:
    pytest.importorskip("mteb", reason="the page scores with it; pip install mteb")
    assert (day.folder / RUN).is_dir(), "the tutorial comes first"
    said = day.run("score_elsewhere.md", capsys).split()
    measures = json.loads((day.folder / RUN / "result.json").read_text("utf-8"))["scores"]["test"]["measures"]
    ndcg10, recall100 = (f"{100 * measures[name]['mean']:.2f}" for name in ("ndcg10", "recall100"))
    assert said == [ndcg10, ndcg10, recall100]
    examined(len(said), "scores of other programs", 3)
