"""Tables in Markdown: of pages that the kit writes, and of cards on the Hub."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Iterable[str]], rule: Sequence[str] = ()) -> str:
    """`rule`: what stands between the bars under the head, `---` everywhere unless it is given."""
    lines = [_line(head), f"|{'|'.join(rule or ['---'] * len(head))}|", *map(_line, rows)]
    return "\n".join(lines)


def cell(text: str) -> str:
    """Text of a cell: bars and new lines end cells everywhere, angle brackets are tags outside of code."""
    pieces = text.replace("|", "\\|").replace("\n", " ").split("`")
    pieces[::2] = [piece.replace("<", "&lt;").replace(">", "&gt;") for piece in pieces[::2]]
    return "`".join(pieces)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(cell, cells))} |"
