"""Whether a program would take a command: parsed by the program's own parser, nothing is run.

Each parser raises `Refused` with what it would say. A command of running text need not be whole: only what it names
has to exist.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import typer.main

from mpr import cli, train
from tests.documented import ROOT, Command

_RECIPES = ("RECIPE", "my.yaml")  # what stands for a reader's own


class Refused(Exception):
    """What the program would say."""


def check(command: Command, *, whole: bool) -> None:
    """Raises Refused if its program would not take it; `whole`: as it is, not only what it names."""
    parser: Callable[[list[str], bool], None] = _PARSERS[command.program]
    parser(command.words[1:], whole)


def options() -> set[str]:
    """Every option of every program that our pages speak of."""
    found = {"--help"} | _options(_torchrun()) | _options(_accelerate())
    for command in _commands(_mpr()):
        found |= {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    scripts = [ROOT / "mpr" / "train.py", *sorted(ROOT.glob("benchmarks/*.py"))]
    return found.union(*(re.findall(r'"(--[a-z-]+)"', path.read_text("utf-8")) for path in scripts))


def _mpr() -> Any:
    return typer.main.get_command(cli.app)


def _commands(command: Any) -> Iterator[Any]:
    yield command
    for each in getattr(command, "commands", {}).values():
        yield from _commands(each)


def _parse_mpr(words: list[str], whole: bool) -> None:
    command, rest = _mpr(), list(words)
    while rest and hasattr(command, "commands") and not rest[0].startswith("-"):
        name = rest.pop(0)
        if name not in command.commands:
            raise Refused(f"mpr has no command {name}")
        command = command.commands[name]
    if whole:
        rest = ["quickstart" if word in _RECIPES else word for word in rest]  # a recipe must be there to be named
        try:
            command.make_context("mpr", rest)
        except Exception as error:
            said = getattr(error, "format_message", None)  # its own refusals of bad arguments
            raise Refused(said() if said else str(error)) from error
        return
    known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"--help"}
    if unknown := [word for word in rest if word.startswith("--") and word.split("=")[0] not in known]:
        raise Refused(f"mpr {words[0]} has no {', '.join(unknown)}")


def _parse_make(words: list[str], whole: bool) -> None:
    printed(words)


def printed(words: list[str]) -> list[str]:
    """What `make` would run; a target or variable that it does not know is refused."""
    text = (ROOT / "Makefile").read_text("utf-8")
    for name in (word.split("=")[0] for word in words if "=" in word):
        if not re.search(rf"^{name} \?=", text, re.MULTILINE):
            raise Refused(f"the Makefile has no {name}")
    of_make = ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "VENV")  # from a make that runs these tests
    alone = {name: value for name, value in os.environ.items() if name not in of_make}
    done = subprocess.run(
        ["make", "-n", *words], cwd=ROOT, env=alone, capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode:
        raise Refused(done.stderr)
    return done.stdout.splitlines()


@cache
def _accelerate() -> argparse.ArgumentParser:
    from accelerate.commands.launch import launch_command_parser

    return launch_command_parser()


@cache
def _torchrun() -> argparse.ArgumentParser:
    from torch.distributed.run import get_args_parser

    return get_args_parser()


def _parse_accelerate(words: list[str], whole: bool) -> None:
    if words[0] != "launch":
        raise Refused(f"accelerate {words[0]} is nothing of ours")
    if len(words) > 1:
        script = [] if whole or any(word.endswith(".py") for word in words) else ["mpr/train.py", "RECIPE"]
        found = _parsed(_accelerate(), [*words[1:], *script])
        if whole and found.config_file and not (ROOT / found.config_file).is_file():
            raise Refused(f"there is no {found.config_file}")
        _script(found.training_script, found.training_script_args)


def _parse_torchrun(words: list[str], whole: bool) -> None:
    found = _parsed(_torchrun(), words)
    _script(found.training_script, found.training_script_args)


def _parse_python(words: list[str], whole: bool) -> None:
    _script(*((words[1], words[2:]) if words[0] == "-m" else (words[0], words[1:])))


def _script(script: str, words: list[str]) -> None:
    """A program of ours that another one starts."""
    if script in ("mpr/train.py", "mpr.train"):
        _quietly(lambda: train.parse(words))
    elif script == "mpr.cli":
        _parse_mpr(words, True)
    elif not script.startswith("benchmarks/") or words or not (ROOT / script).is_file():
        raise Refused(f"{script} {' '.join(words)} is nothing of ours")


def _parse_docker(words: list[str], whole: bool) -> None:
    """Only what the Dockerfile decides: docker itself has no parser that can be asked."""
    known = re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    given = [words[place + 1].split("=")[0] for place, word in enumerate(words) if word == "--build-arg"]
    if unknown := set(given) - set(known):
        raise Refused(f"the Dockerfile has no {', '.join(unknown)}")
    if words[0] == "run":
        image = next(place for place, word in enumerate(words) if re.fullmatch(r"mpr(:\w+)?", word))
        if words[image + 1 :]:
            _parse_mpr(words[image + 1 :], whole)
    elif words[0] != "build":
        raise Refused(f"docker {words[0]} is nothing of ours")


def _parse_pip(words: list[str], whole: bool) -> None:
    """Extras exist; what else pip is told is pip's business."""
    extras = [name for word in words for name in re.findall(r"^(?:mpr-retrieval|\.)\[([\w-]+)\]$", word)]
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    if unknown := [name for name in extras if f"\n{name} = [" not in text]:
        raise Refused(f"mpr has no extra {', '.join(unknown)}")


def _parse_pytest(words: list[str], whole: bool) -> None:
    """What is named is there; pytest's options are pytest's business."""
    if missing := [word for word in words if word.startswith("tests/") and not (ROOT / word).exists()]:
        raise Refused(f"there is no {', '.join(missing)}")


def _parsed(parser: argparse.ArgumentParser, words: list[str]) -> argparse.Namespace:
    return _quietly(lambda: parser.parse_args(words))


def _quietly(parse: Callable[[], Any]) -> Any:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return parse()
    except SystemExit:
        raise Refused(said.getvalue()) from None


def _options(parser: argparse.ArgumentParser) -> set[str]:
    return {name for action in parser._actions for name in action.option_strings}


_PARSERS = {
    "mpr": _parse_mpr,
    "make": _parse_make,
    "accelerate": _parse_accelerate,
    "torchrun": _parse_torchrun,
    "python": _parse_python,
    "docker": _parse_docker,
    "pip": _parse_pip,
    "pytest": _parse_pytest,
}
