"""The commands that our pages show: fenced ones, which a reader pastes, and those in running text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRAMS = ("mpr", "make", "accelerate", "torchrun", "docker", "python", "pip", "pytest")
PAGES = ("README.md", "CONTRIBUTING.md", "docs/*.md", "recipes/accelerate/*")

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(rf"`((?:{'|'.join(PROGRAMS)})\s[^`]+)`")
_OPTION = re.compile(r"`(--[a-z0-9-]+)[^`]*`")
_HEADER = re.compile(r"^#   (.+)$", re.MULTILINE)  # how a launch file shows its command


@dataclass(frozen=True)
class Command:
    """One line as a reader sees it, on one line and without its comment."""

    text: str
    place: str
    """`path:line`."""

    @property
    def words(self) -> list[str]:
        """Without the dots that stand for whatever else is wanted, and without the quotes of a shell."""
        return [word.replace("'", "").replace('"', "") for word in self.text.split() if word != "..."]

    @property
    def program(self) -> str:
        return self.words[0]


def pages() -> list[Path]:
    return [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))]


@cache
def fenced() -> tuple[Command, ...]:
    """What stands in fences and at the head of launch files; what is printed there is no command."""
    return tuple(command for page in pages() for command in _fenced(page.relative_to(ROOT), page.read_text("utf-8")))


@cache
def in_text() -> tuple[Command, ...]:
    return tuple(command for page in pages() for command in _in_text(page.relative_to(ROOT), page.read_text("utf-8")))


@cache
def options() -> tuple[Command, ...]:
    """Options that running text names on their own."""
    found = ((page, page.read_text("utf-8")) for page in pages())
    return tuple(
        Command(span[1], f"{page.relative_to(ROOT)}:{_at(text, span.start())}")
        for page, text in found
        for span in _OPTION.finditer(text)
    )


def _fenced(page: Path, text: str) -> Iterator[Command]:
    if page.suffix == ".yaml":
        yield from _lines(page, text, "\n".join(_HEADER.findall(text)))
    for block in _FENCE.finditer(text):
        yield from _lines(page, text, block[2], prompt=block[1] in ("text", "console"))


def _lines(page: Path, text: str, block: str, *, prompt: bool = False) -> Iterator[Command]:
    for line in block.replace("\\\n", " ").splitlines():
        shown = line.removeprefix("$ ")
        if shown.split(" ")[0] in PROGRAMS and (shown != line or not prompt):
            command = re.sub(r"\s{2,}#.*|\s#\s.*", "", shown)
            yield Command(" ".join(command.split()), f"{page}:{_line(text, shown)}")


def _in_text(page: Path, text: str) -> Iterator[Command]:
    outside = _FENCE.sub(lambda block: "\n" * block[0].count("\n"), text)
    for span in _SPAN.finditer(outside):
        yield Command(" ".join(span[1].split()), f"{page}:{_at(outside, span.start())}")


def _line(text: str, shown: str) -> int:
    """Of a command's beginning; the lines of one that goes on are joined."""
    return _at(text, text.find(shown.split("  ")[0]))


def _at(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1
