"""The notebook runs from top to bottom, without a network, and prints what is stored in it.

Numbers may differ between processors, so they are not compared.
"""

from __future__ import annotations

import ast
import copy
import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from tests import understood
from tests.conftest import Examined
from tests.documented import Command
from tests.e2e.test_documented_commands import worded
from tests.house.source import ROOT

nbformat = pytest.importorskip("nbformat", reason="reads the notebook; it is in the group pages of pyproject.toml")
PATH = ROOT / "docs" / "notebook.ipynb"
STORED = nbformat.read(PATH, as_version=4)
FOUND = "    "  # before a passage that a model found: which one may be a matter of the last digit
SHELL = re.compile(r"^!(.*)$", re.MULTILINE)


def cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(notebook: Any) -> list[list[str]]:
    """The lines of each cell's output, without their numbers."""
    texts = ("".join(output.get("text", "") for output in cell.outputs).splitlines() for cell in cells(notebook))
    return [[FOUND if line.startswith(FOUND) else worded(line) for line in lines if line.strip()] for lines in texts]


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)


def test_it_is_whole(examined: Examined) -> None:
    """What can be seen without running it: it was run in order, nothing failed, and its code and commands exist."""
    nbformat.validate(STORED)
    assert [cell.execution_count for cell in cells(STORED)] == list(range(1, len(cells(STORED)) + 1))
    outputs = [output for cell in cells(STORED) for output in cell.outputs]
    assert {(output.output_type, output.get("name")) for output in outputs} == {("stream", "stdout")}
    commands = 0
    for number, cell in enumerate(cells(STORED)):
        tree = ast.parse(SHELL.sub("", cell.source), f"cell {number}")
        assert [name for name in imported(tree) if find_spec(name) is None] == []
        for line in SHELL.findall(cell.source):
            command = re.sub(r"\w+\.yaml", "my.yaml", re.split(r" [|2]", line)[0])
            understood.check(Command(command, f"cell {number}"), whole=True)
            commands += 1
    examined(commands, "commands", at_least=8)


@pytest.mark.slow
def test_it_runs_and_prints_what_it_stores(monkeypatch: pytest.MonkeyPatch, examined: Examined) -> None:
    from nbclient import NotebookClient

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))))
    again = copy.deepcopy(STORED)
    for cell in cells(again):
        cell.outputs = []
    NotebookClient(again, timeout=600, coalesce_streams=True).execute()
    assert printed(again) == printed(STORED)
    examined(sum(map(len, printed(again))), "lines of output", at_least=40)
