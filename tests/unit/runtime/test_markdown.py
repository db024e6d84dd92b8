"""Tables in Markdown."""

from __future__ import annotations

from mpr.runtime import markdown


def test_table() -> None:
    assert markdown.table(("a", "b|c"), [("1", "2"), ("", "x\ny")]) == (
        "| a | b\\|c |\n|---|---|\n| 1 | 2 |\n|  | x y |"
    )
    assert markdown.table(("a", "b"), (), (" --- ", " --: ")) == "| a | b |\n| --- | --: |"


def test_cell() -> None:
    assert markdown.cell("p < 0.1 `<pad> | <x>` <b>") == "p &lt; 0.1 `<pad> \\| <x>` &lt;b&gt;"
