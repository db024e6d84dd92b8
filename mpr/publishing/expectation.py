"""The `expected` block of a recipe, written by the kit: the bands of its measured seeds. Every other byte stays.

What is written is read again before it replaces the file: anything else that changed is a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mpr import storage
from mpr.errors import DataError, RecipeError
from mpr.recipe import read, strict_yaml
from mpr.recipe.keys import Band
from mpr.rows import band
from mpr.rows.result import Result

# The key's own line and the indented lines under it; comments at the margin are somebody's.
_BLOCK = re.compile(r"^expected:[^\n]*\n?(?:[ \t]+\S[^\n]*\n?)*", re.MULTILINE)


def bands(results: Sequence[Result], role: str) -> dict[str, Band]:
    """Measure -> band of these runs, which are of one recipe and differ in their seeds."""
    seeds = {result.document["seed"] for result in results}
    if len(seeds) != len(results) or len(results) < band.LEAST:
        what = f"{len(seeds)} seeds are measured, a band needs {band.LEAST}"
        raise DataError(what, key="expected", fix="run `mpr reproduce` with more seeds and add them to the leaderboard")
    measured = [result.document["scores"][role]["measures"] for result in results]
    return {name: band.of([measures[name]["mean"] for measures in measured]) for name in measured[0]}


def block(expected: Mapping[str, Band]) -> str:
    """The YAML of the key, with a word on how far to trust it."""
    seeds = next(iter(expected.values())).seeds
    wide = f"; fewer than {band.FEW}, so it is wide" if seeds < band.FEW else ""
    lines = [f"expected: # 95 % band of one more run, from {seeds} seeds{wide} (mpr leaderboard expect)"]
    for name, found in expected.items():
        lines.append(f"  {name}: {{mean: {found.mean}, low: {found.low}, high: {found.high}, seeds: {found.seeds}}}")
    return "\n".join(lines) + "\n"


def written(text: str, expected: Mapping[str, Band]) -> str:
    """The text of a recipe with another `expected` and no other change."""
    new = block(expected)
    found = _BLOCK.search(text)
    if found is None:
        return text + ("" if text.endswith("\n") else "\n") + new
    return text[: found.start()] + new + text[found.end() :]


def write(path: Path, expected: Mapping[str, Band]) -> None:
    """Replaces the block in the file, if the file then says what it said and the bands."""
    name, text = read.load(path).name, Path(path).read_bytes().decode("utf-8")
    made = written(text, expected)
    document = strict_yaml.parse(made.encode(), str(path))
    again = read.from_document(document, name)
    if again.expected != dict(expected) or _others(document) != _others(strict_yaml.parse(text.encode(), str(path))):
        what = "its `expected` block could not be replaced without changing something else"
        raise RecipeError(what, where=str(path), key="expected", fix="write `expected: null` on a line of its own")
    storage.write_file(path, made.encode("utf-8"))


def _others(document: strict_yaml.Document) -> dict[str, Any]:
    return {key: value for key, value in document.value.items() if key != "expected"}
