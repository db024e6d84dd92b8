"""How a command ends: one message, the last on the screen, and its exit code; what was stopped says how to go on."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mpr
from mpr import cli, train
from mpr.errors import DataError, Interrupted
from mpr.rows import pipeline
from mpr.runtime import command
from tests.forking import fork

pytestmark = pytest.mark.small


def _raises(error: BaseException) -> Callable[..., Any]:
    def action(*given: object, **named: object) -> None:
        raise error

    return action


def _terminated(*given: object, **named: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


STOPS = [_raises(KeyboardInterrupt()), _terminated]


@pytest.mark.parametrize("stop", STOPS, ids=["Ctrl-C", "SIGTERM"])
def test_a_stopped_command_says_how_to_go_on(
    stop: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(pipeline, "status", stop)
    monkeypatch.setattr(sys, "argv", ["/somewhere/mpr", "status", "a run"])
    with pytest.raises(SystemExit) as ended:
        cli.main(["status", str(tmp_path)])
    assert ended.value.code == Interrupted.exit_code
    expected = "mpr: stopped; what was finished is kept (to continue, run again: /somewhere/mpr status 'a run')\n"
    assert capsys.readouterr().err == expected
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("stop", STOPS, ids=["Ctrl-C", "SIGTERM"])
def test_a_stopped_training_too(
    stop: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").touch()  # a recipe that is not there is refused before it is read
    monkeypatch.setattr(train.read, "load", stop)
    monkeypatch.setattr(sys, "argv", ["/there/mpr/train.py", "my.yaml"])
    with pytest.raises(SystemExit) as ended:
        train.main(["my.yaml"])
    assert ended.value.code == Interrupted.exit_code
    assert capsys.readouterr().err.endswith("(to continue, run again: python -m mpr.train my.yaml)\n")


def test_one_process_of_several_speaks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for rank, lines in ((0, 1), (1, 0)):
        for name, value in (("RANK", rank), ("WORLD_SIZE", 2)):
            monkeypatch.setenv(name, str(value))
        with pytest.raises(SystemExit) as ended, command.running():
            raise KeyboardInterrupt
        assert ended.value.code == Interrupted.exit_code
        said = capsys.readouterr().err
        assert said.count("run again: the same launch") == lines, said


def test_a_forked_worker_dies_of_the_signal_as_ever() -> None:
    with command.running():
        child = fork()
        if not child:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


@pytest.mark.parametrize("program, typed", [("mpr", "mpr data x"), ("other/mpr", "{other} data x")])
def test_the_command_is_shown_as_one_types_it(
    program: str, typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("bin", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mpr").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    found = tmp_path / "bin/mpr" if program == "mpr" else tmp_path / program
    monkeypatch.setattr(sys, "argv", [str(found), "data", "x"])
    assert command.typed() == typed.format(other=shlex.quote(str(tmp_path / "other/mpr")))


def test_nothing_that_is_printed_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with command.running():
        print("\x1b[2Jid\u202e été-日本")
    with pytest.raises(SystemExit) as ended, command.running():
        raise DataError("is odd", where="\x1b]0;title\x07 été-日本")
    assert ended.value.code == 2
    assert capsys.readouterr() == ("\\x1b[2Jid\\u202e été-日本\n", "mpr: \\x1b]0;title\\x07 été-日本: is odd\n")


def test_torchs_own_report_ends_with_what_we_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By torch's own reader of what a failed process wrote."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

    file = tmp_path / "error.json"
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(file))
    with pytest.raises(SystemExit), command.running():
        raise DataError("is odd", where="my.yaml:3")
    report = str(ChildFailedError("mpr/train.py", {0: ProcessFailure(0, 1, 2, str(file))}))
    assert report.rstrip("= \n").endswith("mpr: my.yaml:3: is odd")
    assert [path.name for path in tmp_path.iterdir()] == ["error.json"]


LAUNCHER = """
import os, subprocess, sys
done = subprocess.Popen([sys.executable, *sys.argv[sys.argv.index("start") + 1 :]])
done.wait()
raise subprocess.CalledProcessError(done.returncode, sys.argv) if "--quiet" not in sys.argv[:2] else SystemExit(1)
"""
PROGRAM = """
from mpr.errors import DataError
from mpr.runtime import command
with command.running():
    raise DataError("is odd", where="my.yaml:3")
"""


@pytest.mark.parametrize("quiet", [False, True])
def test_our_line_comes_after_accelerates_report(tmp_path: Path, quiet: bool) -> None:
    """By a launcher that ends as accelerate's does; `test_launch.py` has the real one."""
    (tmp_path / "accelerate").write_text(LAUNCHER, "utf-8")
    (tmp_path / "program.py").write_text(PROGRAM, "utf-8")
    options = ["--quiet"] if quiet else []
    words = [sys.executable, "accelerate", *options, "start", "program.py", "my.yaml", "--quiet"]
    known = {name: value for name, value in os.environ.items() if name not in ("WORLD_SIZE", "RANK")}
    environment = {**known, "ACCELERATE_MIXED_PRECISION": "no", "PYTHONPATH": str(Path(mpr.__file__).parents[1])}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    said = done.stderr.splitlines()
    assert done.returncode == 1
    assert said[0] == said[-1] == "mpr: my.yaml:3: is odd"
    assert len(said) == 1 if quiet else "CalledProcessError" in said[-2]
