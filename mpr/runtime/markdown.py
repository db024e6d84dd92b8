"""Markdown: of pages that the kit writes, and of cards on the Hub.

What a recipe or a result says is text from outside: `code` and `plain` show it as it is, whatever it is, so that it is
no heading, link, picture or tag of the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_SPAN = re.compile(r"(?<![`\\])(`+)(?!`)(.*?)(?<!`)\1(?!`)")  # code between as many backticks as it begins with
_MARKS = re.compile(r"[\\`*_\[\]<>&#|~!]")


def table(head: Sequence[str], rows: Iterable[Iterable[str]], rule: Sequence[str] = ()) -> str:
    """`rule`: what stands between the bars under the head, `---` everywhere unless it is given."""
    lines = [_line(head), f"|{'|'.join(rule or ['---'] * len(head))}|", *map(_line, rows)]
    return "\n".join(lines)


def cell(text: str) -> str:
    """Text of a cell: bars and new lines end cells everywhere, angle brackets are tags outside of code."""
    line, found, at = " ".join(text.replace("|", "\\|").splitlines()), "", 0
    for span in _SPAN.finditer(line):
        found, at = found + _untagged(line[at : span.start()]) + span[0], span.end()
    return found + _untagged(line[at:])


def _untagged(text: str) -> str:
    return text.replace("<", "&lt;").replace(">", "&gt;")


def code(text: str) -> str:
    """A text between backticks, more of them than it has in a row."""
    line = " ".join(text.splitlines())
    if not line.strip():
        return "none"
    fence = _longer(line, 1)
    pad = " " if line[0] in "` " or line[-1] in "` " else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def plain(text: str) -> str:
    """A text in a line of its own or in a sentence, every mark of it escaped."""
    return _MARKS.sub(r"\\\g<0>", " ".join(text.splitlines()))


def block(language: str, lines: Iterable[str]) -> str:
    """Lines of code, between fences that are longer than any in them."""
    text = "\n".join(lines)
    fence = _longer(text, 3)
    return f"{fence}{language}\n{text}\n{fence}"


def _longer(text: str, least: int) -> str:
    return "`" * max(least, 1 + max(map(len, re.findall("`+", text)), default=0))


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(cell, cells))} |"
