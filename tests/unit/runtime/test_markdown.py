"""Markdown: tables, and that no text from outside becomes a mark of the page, by a renderer that is not ours."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from mpr.runtime import markdown
from tests.conftest import Examined

pytestmark = pytest.mark.small

HOSTILE = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</td></table><b>", "a`<b>`", "`", "``` ", "a``b`c",
    "[click](javascript:alert(1))", "![x](https://example.org/x.png)", "<https://example.org>", "# title", "**bold**",
    "_it_ and __that__", "a | b | c", "one\n\n# two", "one\r## two", "x\u2028---\u2028y", "~~gone~~",
    "&lt;b&gt; &copy;", "\\`<b>\\`", "\\", "\\\\|", "---", "[ref]: https://example.org", "> quoted",
    "```python\nrun()\n```", "[a][b]", "-->",
)  # fmt: skip
PLAIN = {"text", "paragraph_open", "paragraph_close", "inline", "code_inline", "softbreak", "text_special"}
TABLE = {f"{part}_{side}" for part in ("table", "thead", "tbody", "tr", "th", "td") for side in ("open", "close")}


def tokens(text: str) -> list[Token]:
    """All of them, those of a line among the others."""
    found = []
    for token in MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text):
        found += [token, *(token.children or [])]
    return found


def shown(found: list[Token]) -> str:
    return "".join(token.content for token in found if token.type in ("text", "code_inline", "text_special"))


def spaced(text: str) -> str:
    return " ".join(text.split())


def test_a_text_from_outside_is_a_text(examined: Examined) -> None:
    for text in HOSTILE:
        for made in (f"It is {markdown.code(text)}, and so on.", f"It is {markdown.plain(text)}, and so on."):
            found = tokens(made)
            assert {token.type for token in found} <= PLAIN, (text, made)
            assert spaced(shown(found)) == spaced(f"It is {text}, and so on."), made
        heading = tokens(f"### {markdown.plain(text)}: {markdown.code(text)}")
        assert [token.type for token in heading if token.type.endswith("open")] == ["heading_open"], text
        assert {token.type for token in heading} <= PLAIN | {"heading_open", "heading_close"}
    examined(len(HOSTILE), "hostile texts", at_least=25)


def test_so_it_is_in_a_table(examined: Examined) -> None:
    """Links are left to those who write a plain cell; tags and further cells are not."""
    rows = [(text, markdown.code(text), "end") for text in HOSTILE]
    found = tokens(markdown.table(("plain", "code", "last"), rows))
    assert not {token.type for token in found} & {"html_inline", "html_block", "heading_open", "fence"}
    assert sum(token.type == "td_open" for token in found) == 3 * len(rows)
    assert sum(token.type == "code_inline" for token in found) >= len(rows)
    assert sum(token.type == "text" and token.content == "end" for token in found) == len(rows)
    examined(len(rows), "rows", at_least=25)


def test_and_in_a_block_of_code(examined: Examined) -> None:
    for text in HOSTILE:
        lines = ["first", text, "last"]
        [block] = tokens(markdown.block("text", lines))
        assert (block.type, block.info) == ("fence", "text")
        assert block.content.splitlines() == "\n".join(lines).splitlines()
    examined(len(HOSTILE), "blocks", at_least=25)


def test_table() -> None:
    assert markdown.table(("a", "b|c"), [("1", "2"), ("", "x\ny")]) == (
        "| a | b\\|c |\n|---|---|\n| 1 | 2 |\n|  | x y |"
    )
    assert markdown.table(("a", "b"), (), (" --- ", " --: ")) == "| a | b |\n| --- | --: |"


def test_cell() -> None:
    assert markdown.cell("p < 0.1 `<pad> | <x>` <b>") == "p &lt; 0.1 `<pad> \\| <x>` &lt;b&gt;"
