"""A page of which a part is written by code: `--write` brings it up to date, `--check` says whether it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from tests.house.source import ROOT


def main(page: Path, made: Callable[[str], str], stale: str, good: str) -> int:
    """Exit code of the program that keeps `page`; `made` is its text as it should be, given the text that it has."""
    text, place = page.read_text(encoding="utf-8"), page.relative_to(ROOT)
    wanted = made(text)
    if sys.argv[1:] == ["--write"]:
        page.write_text(wanted, encoding="utf-8")
        return 0
    if wanted != text:
        print(f"{place} {stale}: run `make table`", file=sys.stderr)
        return 1
    print(f"{place} {good}")
    return 0
