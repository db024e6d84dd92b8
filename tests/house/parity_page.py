"""The table of `docs/parity.md`: what the tests compared with other people's code, and the differences they measured.

A test makes a line with the fixture `parity` of tests/conftest.py. `make parity` runs the tests and writes the table
anew. In any other run the fixture asks whether the page has the line.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version

from tests.house.source import ROOT

PAGE = ROOT / "docs" / "parity.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
HEAD = ("of ours", "compared with", "version", "cases", "allowed", "measured", "runs in")
SUITE = "suite"


@dataclass(frozen=True)
class Line:
    """One comparison. `version` and `largest` are those of the run that wrote the page, the rest is fixed by a test."""

    subject: str
    against: str
    version: str
    cases: int
    bound: float
    largest: float
    runs: str
    """`suite` (`make test` or `make test-long`), `make parity` where it is too slow, or what it needs besides."""

    @property
    def key(self) -> tuple[str, str, int, float, str]:
        return self.subject, self.against, self.cases, self.bound, self.runs

    def __str__(self) -> str:
        cells = (self.subject, self.against, self.version, f"{self.cases:,}", _number(self.bound))
        return f"| {' | '.join((*cells, _number(self.largest), self.runs))} |"

    @classmethod
    def read(cls, line: str) -> Line:
        subject, against, found, cases, bound, largest, runs = (cell.strip() for cell in line.strip("|").split(" | "))
        return cls(subject, against, found, int(cases.replace(",", "")), float(bound), float(largest), runs)


def _number(value: float) -> str:
    return f"{value:.1e}" if value else "0"


def version_of(package: str) -> str:
    return f"{package} {version(package)}" if package else "-"


def _parts(text: str) -> tuple[str, str, str]:
    before, found, rest = text.partition(BEGIN)
    table, ended, after = rest.partition(END)
    assert found, f"{PAGE} has no {BEGIN}"
    assert ended, f"{PAGE} has no {END}"
    return before, table, after


def lines(text: str | None = None) -> Iterator[Line]:
    """What the page says."""
    table = _parts(PAGE.read_text(encoding="utf-8") if text is None else text)[1]
    yield from (Line.read(line) for line in table.strip().splitlines()[2:])


def page(text: str, found: Iterable[Line], written: set[str]) -> str:
    """The page with these lines. One that this run did not make stays as it was as long as a test has its texts: some
    comparisons need a package that may not be there."""
    made = {(line.subject, line.against): line for line in found}
    kept = {(line.subject, line.against): line for line in lines(text) if {line.subject, line.against} <= written}
    rule = "|---|---|---|--:|--:|--:|---|"
    rows = sorted(map(str, {**kept, **made}.values()), key=lambda row: (row.split(" | ")[1], row))
    before, _, after = _parts(text)
    return "\n".join((f"{before}{BEGIN}", f"| {' | '.join(HEAD)} |", rule, *rows, f"{END}{after}"))


def written_in_tests() -> set[str]:
    """Every text that stands in a test file in which lines are made."""
    found: set[str] = set()
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "parity: Parity" in text:  # the fixture
            constants = (node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant))
            found |= {value for value in constants if isinstance(value, str)}
    return found
