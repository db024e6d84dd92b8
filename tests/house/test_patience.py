"""No test depends on how busy the machine is: none sleeps and hopes, none is late, and only what hangs is cut off.

`tests/waiting.py` has the waits that there are: for a condition, or for a time whose length nothing relies on. A limit
of a program or a thread is a guard against hanging, of a minute at least. Time of a processor may be bounded, within
reason: `time.process_time` does not count what others compute.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import Examined
from tests.house.doors import Found
from tests.house.source import Source, everything

WAITS = "tests/waiting.py"
HERE = f"tests/house/{Path(__file__).name}"  # its planted violations are text
SHORTEST = 60  # seconds that a guard against hanging lasts
CLOCKS = {f"time.{name}{unit}" for name in ("time", "monotonic", "perf_counter") for unit in ("", "_ns")}
PASSED = re.compile(r"(wall_)?seconds|elapsed|took|duration")
LIMITED = {"timeout", "patience"}
WAITING = {"acquire", "communicate", "get", "join", "result", "wait", "wait_for"}  # a number is their limit
SLEEPS = re.compile(r"\b(time|asyncio)\.sleep\(")


def impatient(sources: tuple[Source, ...]) -> Found:
    """Sleeps, bounds of what a clock says, and limits that a busy machine reaches."""
    found = Found()
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Assert | ast.Attribute | ast.Call | ast.Constant | ast.Name):
                found.examined += 1
                if why := _why(source, node):
                    found.violations.append(f"{source.place(node)}: {why}")
    return found


def _why(source: Source, node: ast.AST) -> str:
    if isinstance(node, ast.Attribute | ast.Name):
        slept = isinstance(node.ctx, ast.Load) and source.dotted(node) in ("time.sleep", "asyncio.sleep")
        return f"sleeps; {WAITS} has what waits" if slept else ""
    if isinstance(node, ast.Constant):
        slept = isinstance(node.value, str) and SLEEPS.search(node.value) and source.path != HERE
        return "is a program that sleeps; let it wait for its input to be closed" if slept else ""
    if isinstance(node, ast.Call):
        short = next((limit for limit in _limits(source, node) if limit < SHORTEST), None)
        return f"gives up after {short:g} seconds; a guard against hanging has {SHORTEST}" if short is not None else ""
    if isinstance(node, ast.Assert) and any(_is_late(source, node.test)):
        return "fails when the machine is slow: a clock has no upper bound"
    return ""


def _limits(source: Source, node: ast.Call) -> Iterator[float]:
    last = node.func.attr if isinstance(node.func, ast.Attribute) else source.dotted(node.func).rpartition(".")[2]
    given = [keyword.value for keyword in node.keywords if keyword.arg in LIMITED]
    given += [keyword.value for keyword in node.keywords if last == "timedelta" and keyword.arg == "seconds"]
    if last in WAITING and len(node.args) == 1:
        given += node.args
    for value in given:
        if isinstance(value, ast.Constant) and isinstance(value.value, int | float) and value.value is not True:
            yield value.value


def _is_late(source: Source, test: ast.expr) -> Iterator[bool]:
    """For each comparison, whether the smaller side is time that passed and the larger one is not."""
    durations = _durations(source)
    for node in ast.walk(test):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            for one, how, other in zip(sides, node.ops, sides[1:], strict=False):
                small, large = (one, other) if isinstance(how, ast.Lt | ast.LtE) else (other, one)
                ordered = isinstance(how, ast.Lt | ast.LtE | ast.Gt | ast.GtE)
                yield ordered and _is_passed(source, small, durations) and not _is_passed(source, large, durations)


@cache
def _durations(source: Source) -> set[str]:
    """Names that the file gives to differences of a clock."""
    return {
        target.id
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Assign) and _is_passed(source, node.value, set())
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _is_passed(source: Source, node: ast.expr, durations: set[str]) -> bool:
    if isinstance(node, ast.Call) and source.dotted(node.func) in CLOCKS:
        return True
    return any(
        (isinstance(each, ast.BinOp) and isinstance(each.op, ast.Sub) and _reads_clock(source, each))
        or (isinstance(each, ast.Name) and (each.id in durations or bool(PASSED.fullmatch(each.id))))
        or (isinstance(each, ast.Attribute) and bool(PASSED.fullmatch(each.attr)))
        or (isinstance(each, ast.Subscript) and isinstance(each.slice, ast.Constant) and _is_word(each.slice.value))
        for each in ast.walk(node)
    )


def _reads_clock(source: Source, node: ast.AST) -> bool:
    return any(isinstance(each, ast.Call) and source.dotted(each.func) in CLOCKS for each in ast.walk(node))


def _is_word(value: object) -> bool:
    return isinstance(value, str) and bool(PASSED.fullmatch(value))


def test_no_test_depends_on_how_busy_the_machine_is(examined: Examined) -> None:
    sources = tuple(each for each in everything() if each.path.startswith("tests/") and each.path != WAITS)
    found = impatient(sources)
    assert not found.violations, "\n".join(found.violations)
    examined(found.examined, f"names, texts, calls and assertions in {len(sources)} files", at_least=50_000)


IMPATIENT = """
time.sleep(1)
wait = time.sleep
from time import sleep; sleep(0.1)
import asyncio; asyncio.sleep(1)
PROGRAM = "import time; time.sleep(60)"
assert time.monotonic() - began < 2
assert 40 > time.time() - began
assert abs(time.time() - stamp) < 60
took = time.perf_counter() - began; assert took <= LIMIT
assert elapsed < 2
assert end["seconds"] < QUICK, name
assert 0 < predicted.seconds < 60
assert time.monotonic() < deadline
assert done and time.monotonic() - began < 2
subprocess.run(command, timeout=20)
process.communicate(timeout=59.5)
process.wait(10)
thread.join(20)
event.wait(timeout=1)
threading.Barrier(2, timeout=10)
storage.lock(path, patience=30)
timedelta(seconds=30)
""".strip().splitlines()

PATIENT = """
until(lambda: path.exists())
let_pass(0.5)
time.sleep = lambda seconds: None
monkeypatch.setattr(time, "sleep", print)
began = time.monotonic()
typical = time.monotonic() - began
assert time.process_time() - started < 20
assert cost["seconds"] >= 0.05
assert predicted.seconds > 0
assert one.seconds < other.seconds
assert int(began) <= stamp <= time.time()
assert cost["cpu_seconds"] <= 5
subprocess.run(command, timeout=60)
process.wait()
process.wait(600)
process.communicate(timeout=HANGING)
timedelta(seconds=600)
", ".join(names)
found.get(name)
""".strip().splitlines()


def _caught(line: str) -> list[str]:
    return impatient((Source.of(f"import subprocess, threading, time\n{line}\n"),)).violations


@pytest.mark.parametrize("line", IMPATIENT)
def test_planted_violations_are_caught(line: str) -> None:
    assert len(_caught(line)) == 1, line


@pytest.mark.parametrize("line", PATIENT)
def test_innocent_lines_pass(line: str) -> None:
    assert not _caught(line), line
