"""Every number of the tables in docs/findings.md is that of the leaderboard.

A table there has a column `row` with the name of a recipe. In each line the cells under the name of a measure, and
those under `against NLL` or `against DPR`, must be what the leaderboard's page would write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict

import pytest

from mpr.publishing import _board as leaderboard
from mpr.publishing import _board_page, _board_table, _board_verdicts
from mpr.publishing._board import BoardRow
from tests import shipped
from tests.conftest import Examined

PAGE = shipped.ROOT / "docs" / "findings.md"
MEASURES = {
    "nDCG@10": "ndcg10", "recall@20": "recall20", "recall@100": "recall100", "top-20": "top20", "top-100": "top100",
}  # fmt: skip
AGAINST = {"against NLL": "nll", "against DPR": "dpr"}  # and what the name of that baseline says
SYSTEMS = {"BM25": "bm25", "untrained": "untrained"}
Line = dict[str, str]


def lines(text: str) -> Iterator[Line]:
    """The lines of all tables, by the heads of their columns."""
    head: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            head = []
        elif not head:
            head = cells
        elif not set(line) <= set("|-: "):
            yield dict(zip(head, cells, strict=True))


def wrong(line: Line, rows: dict[str, BoardRow], against: dict[str, dict[str, object]]) -> Iterator[str]:
    """What a line says that the leaderboard does not."""
    if not {"what", "row"} <= line.keys() <= {"what", "row", *MEASURES, *AGAINST}:
        yield f"columns that nobody compares: {', '.join(line)}"
        return
    name = re.fullmatch(r"`(\w+)`", line["row"])
    if name is None or name[1] not in rows:
        yield f"no row is called {line['row']}"
        return
    row = rows[name[1]]
    system = next((system for word, system in SYSTEMS.items() if line["what"].startswith(word)), "trained")
    for head, measure in MEASURES.items():
        if head in line:
            expected = _board_page.number_cell(_board_verdicts.number(row.of(system), row.role, measure))
            if line[head] != expected:
                yield f"{row.name} ({system}): {head} is {expected}, not {line[head]}"
    for head, word in AGAINST.items():
        if head in line:
            found = against.get(row.name) if system == "trained" else None
            expected = "" if found is None else _board_page.against_cell(found)
            if line[head] != expected or (found is not None and word not in str(found["baseline"])):
                yield f"{row.name}: {head} is {expected}, not {line[head]}"


@pytest.fixture(scope="module")
def board() -> tuple[dict[str, BoardRow], dict[str, dict[str, object]]]:
    found = leaderboard.read(shipped.ROOT)
    against = {
        name: asdict(one)
        for table in _board_table.tables(found)
        for name, one in _board_verdicts.against_baseline(table).items()
    }
    return {row.name: row for row in found.rows}, against


def test_tables_say_what_was_measured(
    board: tuple[dict[str, BoardRow], dict[str, dict[str, object]]], examined: Examined
) -> None:
    found = list(lines(PAGE.read_text("utf-8")))
    problems = [problem for line in found for problem in wrong(line, *board)]
    assert not problems, "\n".join(problems)
    examined(len(found), "lines of tables", at_least=60)


def test_a_wrong_number_is_found(board: tuple[dict[str, BoardRow], dict[str, dict[str, object]]]) -> None:
    text = "| what | row | nDCG@10 | against NLL |\n|---|---|--:|--:|\n"
    text += "| four | `world_joint_lh_m4` | 18.31 ± 0.65 | +3.79, p 0.00026 |\n"
    (line,) = lines(text)
    assert [*wrong(line, *board)] == ["world_joint_lh_m4 (trained): nDCG@10 is 18.30 ± 0.65, not 18.31 ± 0.65"]
    assert [*wrong({**line, "row": "`nobody`"}, *board)] == ["no row is called `nobody`"]
    assert [*wrong({"what": "x", "row": line["row"], "against NLL": "+9.99, p 1"}, *board)]
    assert [*wrong({"what": "x", "row": line["row"], "against NLL": ""}, *board)]
    assert [*wrong({"what": "x", "row": line["row"], "top-5": "1"}, *board)]
