"""docs/labels.md: its program prints what the page says, and its table has every label."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

from mpr import catalogue

PAGE = (Path(__file__).parents[3] / "docs" / "labels.md").read_text(encoding="utf-8")


def test_the_program_prints_what_the_page_says() -> None:
    programs = re.findall(r"^```python\n(.*?)^```\n+```text\n(.*?)^```$", PAGE, re.M | re.S)
    assert len(programs) == 1
    for program, printed in programs:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(program, {})  # our own page
        assert said.getvalue() == printed


def test_the_table_has_every_label() -> None:
    found = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.M)) - {"name"}
    assert found | {"known_positives"} == set(catalogue.names("labels"))
