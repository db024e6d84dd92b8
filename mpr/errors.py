"""One tree of errors: what is wrong, where it is, and what to do about it.

Every refusal of the kit is one of these. The command line prints it on one screen, without a traceback, and exits
with its code: 0 done, 2 recipe or data refused, 3 numbers refused, 4 storage refused, 75 interrupted (run the same
command again), 1 a bug in mpr.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unicodedata import category

SHOWN = 40  # problems printed in full before the rest is only counted: one screen
LONGEST = 1_500  # characters of each part of a message: a value of a file may have any length


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `where` is `file:line` (or as much of it as is known), `key` the name within."""

    what: str
    where: str = ""
    key: str = ""
    fix: str = ""

    def __str__(self) -> str:
        place = " ".join(_cut(part) for part in (self.where, self.key) if part)
        text = f"{place}: {_cut(self.what)}" if place else _cut(self.what)
        return printable(f"{text} ({_cut(self.fix)})" if self.fix else text)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


class MprError(Exception):
    """Base of every refusal. `str()` is what a person reads."""

    exit_code = 1

    def __init__(self, what: str | Sequence[Problem], *, where: str = "", key: str = "", fix: str = "") -> None:
        problems = (Problem(what, where, key, fix),) if isinstance(what, str) else tuple(what)
        self.problems: tuple[Problem, ...] = problems
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems[:SHOWN]]
        if len(self.problems) > SHOWN:
            lines.append(f"... and {len(self.problems) - SHOWN} more problems like these")
        return "\n".join(lines)


class RecipeError(MprError):
    """The recipe cannot be run as written."""

    exit_code = 2


class DataError(MprError):
    """A data file is missing, malformed or contradicts itself."""

    exit_code = 2


class NumbersError(MprError):
    """A number that must be finite or within a band is not."""

    exit_code = 3


class StorageError(MprError):
    """Something on disk is missing, altered, locked or cannot be written."""

    exit_code = 4


class Interrupted(MprError):
    """Stopped on request after committing what was done; the same command continues."""

    exit_code = 75


@dataclass
class Problems:
    """Collects problems so that all of them are reported together."""

    kind: type[MprError]
    found: list[Problem] = field(default_factory=list)

    def add(self, what: str, *, where: str = "", key: str = "", fix: str = "") -> None:
        self.found.append(Problem(what, where, key, fix))

    def stop_if_any(self) -> None:
        if self.found:
            raise self.kind(self.found)


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?` for the closest known name, or the empty string when nothing is close."""
    spelled = {other.lower(): other for other in known}
    close = difflib.get_close_matches(name.lower(), list(spelled), n=1, cutoff=0.6)
    return f"did you mean '{spelled[close[0]]}'?" if close else ""


def nearest_beside(path: Path) -> str:
    """The same for a path that leads nowhere: what its folder has instead."""
    try:
        return nearest(path.name, (other.name for other in path.parent.iterdir()))
    except (OSError, ValueError):
        return ""


def printable(text: str) -> str:
    """Safe on a terminal: letters of every script as they are; what would steer the terminal or turn the direction of
    writing around is written as its escape sequence."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" or category(c) == "Zs" else repr(c)[1:-1] for c in text)


def excerpt(data: bytes | str, limit: int = 60) -> str:
    """A bounded view of untrusted data in quotes, safe to put on a terminal."""
    text = data.decode("utf-8", "backslashreplace") if isinstance(data, bytes) else data
    shown = repr(text[:limit])
    return shown if len(text) <= limit else f"{shown}... ({len(text)} characters)"
