"""Fault 33: one of several runs side by side fails or is killed, or all are stopped: the others, and what was
finished, are as if it had run alone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mpr import storage
from mpr.errors import Interrupted
from mpr.rows._side_by_side import SideBySide
from mpr.runtime import environment
from tests import published
from tests.conftest import Examined
from tests.published import ROOT, smaller
from tests.waiting import until


def _recipe(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "small.yaml"
    path.write_text(smaller((ROOT / "recipes" / "quickstart.yaml").read_text("utf-8")), "utf-8")
    return path


def _facts(folder: Path) -> dict[str, str]:
    """Checksums of a run folder's files but those that tell times or places."""
    from mpr.rows.result import Result
    from tests.faults.rows import TIMED

    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not TIMED.fullmatch(f"run/{name}"):
            found[name] = storage.sha256_file(path)
    document = Result.of_run(folder).document
    scores = {role: {**one, "digest": None} for role, one in document["scores"].items()}
    return found | {"numbers of result.json": storage.json_digest([scores, document["curve"], document["model"]])}


# In the place of a run: it does what its folder is called.
_RUN = """
import json, os, signal, sys
from pathlib import Path
folder = Path(json.loads(sys.stdin.readline())["folder"])
how = folder.name
print("begun\\x1b[2J", flush=True)
print("mpr: nothing", file=sys.stderr, flush=True)
if how == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
elif how.startswith("waits"):
    folder.mkdir(parents=True)
    try:
        while os.read(0, 1):
            pass
        print("left alone", flush=True)
    except KeyboardInterrupt:
        sys.exit(75)
sys.exit(int(how) if how.isdigit() else 0)
"""


def _rows(folder: Path, *names: str) -> dict[str, Any]:
    """What is read of rows, which would load torch."""
    recipe = SimpleNamespace(name="small", text=b"", lock_text=b"", overrides=())
    common = {"recipe": recipe, "file": "small.yaml", "system": "trained", "home": "home", "budget": 1}
    return {name: SimpleNamespace(**common, folder=folder / name) for name in names}


def test_each_ends_for_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str], examined: Examined) -> None:
    said: list[str] = []
    runs = SideBySide(2, False, said.append, (sys.executable, "-c", _RUN))
    ended = runs.run(_rows(tmp_path, "good", "3", "killed", "4"))
    assert ended == {"good": 0, "3": 3, "killed": Interrupted.exit_code, "4": 4}
    assert sorted(said) == sorted(
        [*(f"{name:<6} | begun\\x1b[2J" for name in ended), "killed | was killed by SIGKILL"]
    ), "each line behind the name of its run, and nothing steers the terminal"
    assert sorted(capsys.readouterr().err.splitlines()) == sorted(f"{name:<6} | mpr: nothing" for name in ended)
    examined(len(ended), "runs side by side", at_least=4)


# A command that has two runs, and ends them when it is interrupted.
_ALL = """
import sys
from pathlib import Path
from mpr.runtime import command
from mpr.rows._side_by_side import SideBySide
from tests.faults import test_33_side_by_side as here
with command.running():
    rows = here._rows(Path(sys.argv[1]), "waits-1", "waits-2", "good")
    SideBySide(2, False, print, (sys.executable, "-c", here._RUN)).run(rows)
"""


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGKILL]
)
def test_all_are_stopped_together(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C is handed on, and what had not begun does not begin. If the first process is killed, the runs notice."""
    command = [sys.executable, "-c", _ALL, str(tmp_path / "place")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:  # type: ignore[call-overload]
        until(lambda: all((tmp_path / "place" / name).exists() for name in ("waits-1", "waits-2")))
        process.send_signal(number)
        assert process.stdout is not None
        said = process.stdout.read()  # until the last of them has let go of it
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == Interrupted.exit_code, said
        assert said.splitlines()[-1].startswith("mpr: stopped; of every run what was finished is kept (to continue, ")
    assert "good" not in said
    assert "left alone" not in said


def test_the_cores_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "usable_cores", lambda: 16)
    for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    threads = [SideBySide(parallel, False, print)._environment(0)["OMP_NUM_THREADS"] for parallel in (1, 2, 3, 16, 64)]
    assert threads == ["16", "8", "5", "1", "1"]
    assert "CUDA_VISIBLE_DEVICES" not in SideBySide(2, False, print)._environment(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    found = [SideBySide(3, False, print)._environment(slot) for slot in range(3)]
    assert [(one["OMP_NUM_THREADS"], one["CUDA_VISIBLE_DEVICES"]) for one in found] == [
        ("3", "4"),
        ("3", "7"),
        ("3", "4"),
    ]


def test_a_launcher_cannot_start_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its processes would wait for one another's locks for ever."""
    monkeypatch.chdir(tmp_path)
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    published.said("reproduce", _recipe(tmp_path / "place"), code=2)
    assert "a row is made by one process, and a launcher started several" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


@pytest.mark.slow
def test_a_run_that_fails_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], examined: Examined
) -> None:
    from mpr.recipe import read
    from mpr.rows._stages import Row
    from mpr.rows.pipeline import Pipeline
    from mpr.rows.result import Result

    file = _recipe(tmp_path)
    recipe = read.load(file)
    (tmp_path / "no-folder").write_text("a file where a folder is needed")
    rows = {
        name: Row(recipe, file, "bm25", tmp_path / home, tmp_path / "runs" / name, quiet=True)
        for name, home in (("bad", "no-folder"), ("one", "home"), ("two", "home"))
    }
    alone = Row(recipe, file, "bm25", tmp_path / "home", tmp_path / "alone", quiet=True)
    said: list[str] = []
    assert SideBySide(2, False, said.append).run(rows) == {"bad": 4, "one": 0, "two": 0}
    expected = Pipeline(alone).run()
    for name in ("one", "two"):
        assert _facts(rows[name].folder) == _facts(tmp_path / "alone")
        assert Result.of_run(rows[name].folder).document["scores"] == expected.document["scores"]
    assert sum("evaluate" in line for line in said) >= 2
    refused = [line for line in capsys.readouterr().err.splitlines() if line.startswith("bad | mpr: ")]
    assert len(refused) == 1, "the refusal, behind the name of its run"
    assert "no-folder" in refused[0]
    examined(len(rows), "runs side by side", at_least=3)


def _started(place: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mpr.cli", "reproduce", "small.yaml", "--no-baselines", "--seeds", "2", *more]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=place, text=True, env=environment, **pipes)  # type: ignore[call-overload, no-any-return]


def _said(process: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = process.communicate()
    return process.returncode, said


def _holder(run: Path) -> int:
    """Process that works on a run folder and has begun to train."""
    until(lambda: (run / "run.json").exists())
    found = re.search(r"pid (\d+)", (run / ".row.lock").read_text())
    assert found is not None
    return int(found[1])


@pytest.mark.slow
def test_seeds_side_by_side_are_those_of_one_after_the_other(tmp_path: Path, examined: Examined) -> None:
    """With as many threads; also after one was killed, and after all were stopped."""
    for name in ("after", "beside"):
        _recipe(tmp_path / name)
    assert _said(_started(tmp_path / "after"))[0] == 0
    runs = [tmp_path / "beside" / "runs" / f"small-seed{seed}" for seed in (42, 43)]

    killed = _started(tmp_path / "beside", "--parallel", "2")
    os.kill(_holder(runs[0]), signal.SIGKILL)
    code, said = _said(killed)
    assert code == Interrupted.exit_code, said
    assert "seed42 | was killed by SIGKILL" in said
    assert (runs[1] / "result.json").exists(), "the other seed is finished"
    assert "runs/small-seed42: ended with exit code 75 (what it said stands above;" in said

    storage.remove(runs[1])
    stopped = _started(tmp_path / "beside", "--parallel", "2")
    _holder(runs[1])
    stopped.send_signal(signal.SIGINT)
    code, said = _said(stopped)
    assert code == Interrupted.exit_code, said
    assert said.splitlines()[-1].startswith("mpr: stopped; of every run what was finished is kept (to continue, run")

    code, said = _said(_started(tmp_path / "beside", "--parallel", "2"))
    assert code == 0, said
    for run in runs:
        assert _facts(run) == _facts(tmp_path / "after" / "runs" / run.name)
    examined(len(runs), "seeds compared file by file", at_least=2)
