"""Ways to spoil one key of a recipe, as edits of its text, and the line at which each must be refused.

Places are found with ruamel's composer, which the reader under test does not use.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Spot:
    """One key of a text: where it stands, where its value ends, and what it is in: its line and its other keys."""

    text: str
    path: Path_
    key: tuple[int, int]
    value: tuple[int, int]
    flow: bool
    parent_line: int
    siblings: int

    @property
    def pattern(self) -> str:
        """The key without the places of list items: what equal keys of different recipes share."""
        return ".".join(str(part) for part in self.path if isinstance(part, str))

    @property
    def line(self) -> int:
        return self.text.count("\n", 0, self.key[0]) + 1

    @property
    def written(self) -> str:
        """The value as it stands there."""
        return self.text[slice(*self.value)]

    @property
    def lines(self) -> tuple[int, int]:
        """Start of the key's first line, and the end of its value's last line, newline included."""
        start = self.text.rfind("\n", 0, self.key[0]) + 1
        end = self.text.find("\n", self.value[1])
        return start, end + 1

    def replaced(self, value: str) -> str:
        """The text with another value for this key."""
        return f"{self.text[: self.key[1]]}: {value}{self.text[self.value[1] :]}"

    def before(self, entry: str) -> str:
        """The text with another entry in front of this one."""
        start = self.key[0]
        if self.flow:
            return f"{self.text[:start]}{entry}, {self.text[start:]}"
        indent = " " * (start - self.lines[0])
        return f"{self.text[: self.lines[0]]}{indent}{entry}\n{self.text[self.lines[0] :]}"


def spots(text: str) -> list[Spot]:
    """Every key of a recipe."""
    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 2)
    root: Any = yaml.compose(text)
    return list(_spots(text, root, (), root.start_mark.line + 1))


def _spots(text: str, node: Node, path: Path_, line: int) -> Iterator[Spot]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            here = (*path, key.value)
            ends = (key.start_mark.index, key.end_mark.index), (value.start_mark.index, _end(value))
            yield Spot(text, here, *ends, bool(node.flow_style), line, len(node.value) - 1)
            yield from _spots(text, value, here, key.start_mark.line + 1)
    elif isinstance(node, SequenceNode):
        for number, item in enumerate(node.value):
            yield from _spots(text, item, (*path, number), item.start_mark.line + 1)


def _end(node: Node) -> int:
    """Index behind a value's last sign; the composer's own mark of a block lies behind blank lines and comments."""
    if isinstance(node, ScalarNode) or node.flow_style:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)


@dataclass(frozen=True)
class Mutant:
    """A spoilt text, and the line of it that must be named."""

    text: str
    line: int
    only: bool = False
    """Nothing else may be reported: the spoilt value says nothing about the rest."""


def _misspelt(spot: Spot) -> Mutant:
    return Mutant(f"{spot.text[: spot.key[1]]}x{spot.text[spot.key[1] :]}", spot.line)


def _removed(spot: Spot) -> Mutant:
    if not spot.flow:
        start, end = spot.lines
        text = spot.text[:start] + spot.text[end:]
        if len(spot.path) > 1:
            return Mutant(text, spot.parent_line)
        return Mutant(text, min(other.line for other in spots(text)))
    start, end = spot.key[0], spot.value[1]
    after = spot.text[end:]
    if after.startswith(","):
        rest = after[1:].lstrip(" ")
        return Mutant(spot.text[:start] + rest, spot.parent_line)
    return Mutant(spot.text[:start].rstrip(", \n") + after, spot.parent_line)


def _twice(spot: Spot) -> Mutant:
    if spot.flow:
        entry = spot.text[spot.key[0] : spot.value[1]]
        return Mutant(spot.before(entry), spot.line + entry.count("\n"), only=True)
    start, end = spot.lines
    block = spot.text[start:end]
    return Mutant(spot.text[:end] + block + spot.text[end:], spot.line + block.count("\n"), only=True)


def _tab(spot: Spot) -> Mutant:
    if spot.flow:
        start = spot.key[0]
        return Mutant(f"{spot.text[:start]}\n\t{spot.text[start:]}", spot.line + 1, only=True)
    return Mutant(f"{spot.text[: spot.lines[0]]}\t{spot.text[spot.lines[0] :].lstrip(' ')}", spot.line, only=True)


def _other_kind(spot: Spot) -> Mutant:
    """A number becomes text, text a number, a mapping or list text."""
    written = spot.written
    is_text = written[0] in "'\"" or (written[0].isalpha() and written not in ("true", "false", "null"))
    quoted = json.dumps(written if written[0] not in "[{" and "\n" not in written else "text")
    return Mutant(spot.replaced("7" if is_text else quoted), spot.line)


def _with(value: str, only: bool = True) -> Callable[[Spot], Mutant]:
    return lambda spot: Mutant(spot.replaced(value), spot.line, only)


def _marked(mark: str) -> Callable[[Spot], Mutant]:
    """A tag or an anchor in front of the value, on the line of the key."""

    def mutate(spot: Spot) -> Mutant:
        rest = spot.text[spot.key[1] + 1 :]
        return Mutant(f"{spot.text[: spot.key[1]]}: {mark}{rest}", spot.line, only=True)

    return mutate


KINDS: dict[str, Callable[[Spot], Mutant]] = {
    "misspelt": _misspelt,
    "removed": _removed,
    "twice": _twice,
    "stranger beside it": lambda spot: Mutant(spot.before("stranger: 1"), spot.line),
    "merge key beside it": lambda spot: Mutant(spot.before("<<: {a: 1}"), spot.line, only=True),
    "mapping instead": _with("{stranger: [1]}", only=False),
    "other kind": _other_kind,
    "null": _with("null", only=False),
    "no": _with("no"),
    "octal": _with("0123"),
    "infinite": _with("1e999"),
    "alias": _with("*anchor"),
    "anchor": _marked("&anchor"),
    "tag": _marked("!!python/object:os.system"),
    "tab": _tab,
}
