"""leaderboard/rows.json: the checksum of everything that the leaderboard was written from, and of what was written.

It binds each row to its recipe, its receipts and its questions, so that any later edit of one of them is found and the
row named, without computing anything anew: p-values and pictures are taken from here. It is no signature; it shows
edits and forgotten rebuilds, not the malice of somebody who rebuilds.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpr import storage
from mpr.errors import DataError, MprError, Problem, Problems
from mpr.publishing import _board_page, _board_table, _board_verdicts, _panels, _pictures
from mpr.publishing import board as leaderboard
from mpr.publishing._panels import Figure
from mpr.publishing.board import FOLDER, Board, Row
from mpr.recipe import reference

LOCK, PAGE = "rows.json", "README.md"
_MEND = "undo the edit; if it was meant, run `mpr leaderboard build` and commit what it writes"
_REBUILD = "run `mpr leaderboard build` and look at what it changes"


@dataclass(frozen=True)
class Checked:
    """How much a check looked at."""

    rows: int
    files: int

    def __str__(self) -> str:
        return f"{self.rows} rows and {self.files} files of the leaderboard are what was built"


def build(root: Path, redraw: bool = False) -> list[Path]:
    """Writes what differs, pictures only where their numbers changed; returns it. The lock comes last."""
    board, old = leaderboard.read(root), _old(root)
    tables = _board_table.tables(board)
    against = {
        name: one
        for table in tables
        for name, one in _board_verdicts.plain(_board_verdicts.against_baseline(table)).items()
    }
    figures = _pictures.figures(tables)
    files = {
        Path("figures") / f"{figure.name}.svg": _drawn(root, figure, old, redraw) for figure in figures if figure.panels
    }
    files[Path(PAGE)] = _board_page.text(board, against, figures).encode()
    gone = [path for path in (root / FOLDER / "figures").glob("*.svg") if Path("figures") / path.name not in files]
    changed = [root / FOLDER / place for place, data in files.items() if not _is(root / FOLDER / place, data)]
    for path in gone:
        storage.remove(path)
    for path in changed:
        storage.write_file(path, files[path.relative_to(root / FOLDER)])
    lock = leaderboard.document(leaderboard.signed(_content(board, against, figures)))
    if not _is(root / FOLDER / LOCK, lock):
        storage.write_file(root / FOLDER / LOCK, lock)
        changed.append(root / FOLDER / LOCK)
    return gone + changed


def check(root: Path) -> Checked:
    """Refuses any edit since the build, naming the row; loads no torch, draws and tests nothing."""
    path = root / FOLDER / LOCK
    if not path.is_file():
        raise DataError("is missing", where=str(path), fix=_REBUILD)
    problems = Problems(DataError)
    lock = _read(path, problems)
    problems.found.extend(_differences(root, lock))
    problems.stop_if_any()
    board = leaderboard.read(root)
    figures = _pictures.figures(_board_table.tables(board))
    page = _board_page.text(board, lock["against"], figures).encode()
    if not _is(root / FOLDER / PAGE, page):
        where = str(root / FOLDER / PAGE)
        raise DataError("is not what this code makes of rows and results", where=where, fix=_REBUILD)
    if _content(board, lock["against"], figures) != {name: lock[name] for name in lock if name != "digest"}:
        raise DataError("is not what this code makes of rows and results", where=str(path), fix=_REBUILD)
    return Checked(len(board.rows), len(board.rows) + len(_listed(lock)) + 1)


def _content(board: Board, against: Mapping[str, Any], figures: tuple[Figure, ...]) -> dict[str, Any]:
    places = [PAGE, *(f"figures/{figure.name}.svg" for figure in figures if figure.panels)]
    return {
        "format": 1,
        "rows": {row.name: _row(board, row) for row in board.rows},
        "against": dict(against),
        "figures": {figure.name: _panels.digest(figure) for figure in figures if figure.panels},
        "written": {place: storage.sha256_file(board.folder / place) for place in places},
    }


def _row(board: Board, row: Row) -> dict[str, Any]:
    """What a row is bound to, and the digest of it."""
    own = board.folder / "results" / row.name
    receipts = [path for path in leaderboard.files(board.root) if path.is_relative_to(own)]
    asked = {str(scores["questions"]) for entry in row.entries for scores in entry.result.document["scores"].values()}
    questions = [board.folder / leaderboard.question_file(digest) for digest in sorted(asked)]
    content = {
        "recipe": {"path": row.path, "sha256": storage.sha256_file(board.root / row.path)},
        "files": {
            path.relative_to(board.folder).as_posix(): storage.sha256_file(path) for path in receipts + questions
        },
    }
    return leaderboard.signed(content)


def _listed(lock: Mapping[str, Any]) -> dict[str, tuple[str, list[str]]]:
    """Place below leaderboard/ -> (sha256, rows it belongs to)."""
    found: dict[str, tuple[str, list[str]]] = {place: (sha256, []) for place, sha256 in lock["written"].items()}
    for name, row in lock["rows"].items():
        for place, sha256 in row["files"].items():
            found.setdefault(place, (sha256, []))[1].append(name)
    return found


def _differences(root: Path, lock: Mapping[str, Any]) -> Iterator[Problem]:
    """What is on the disk against what was built, file by file."""
    paths = {path.relative_to(root).as_posix(): path for path in reference.recipe_paths(root)}
    known = {row["recipe"]["path"]: (name, row["recipe"]["sha256"]) for name, row in lock["rows"].items()}
    for place in sorted(paths.keys() | known.keys()):
        name, sha256 = known.get(place, (Path(place).stem, ""))
        yield from _difference(root / place, place, sha256, f"row {name}", place in paths)
    listed = _listed(lock)
    there = {path.relative_to(root / FOLDER).as_posix(): path for path in leaderboard.files(root)}
    there.pop(LOCK, None)
    for place in sorted(there.keys() | listed.keys()):
        sha256, rows = listed.get(place, ("", _rows_of(place)))
        named = f"row{'s' if len(rows) > 1 else ''} {', '.join(rows)}" if rows else ""
        for problem in _difference(root / FOLDER / place, str(FOLDER / place), sha256, named, place in there):
            yield dataclasses.replace(problem, key=_line(root, lock)) if place == PAGE else problem


def _difference(path: Path, place: str, sha256: str, key: str, is_there: bool) -> Iterator[Problem]:
    if not is_there:
        yield Problem("is missing", place, key, "restore it; if it was removed on purpose, " + _REBUILD)
    elif not sha256:
        yield Problem("is new since the leaderboard was built", place, key, _REBUILD)
    elif storage.sha256_file(path) != sha256:
        yield Problem("was edited since the leaderboard was built", place, key, _MEND)


def _rows_of(place: str) -> list[str]:
    parts = Path(place).parts
    return [parts[1]] if parts[0] == "results" and len(parts) > 2 else []


def _line(root: Path, lock: Mapping[str, Any]) -> str:
    """The row of the first line of the page that is not what it should be, as far as it can be told."""
    try:
        board = leaderboard.read(root)
        figures = _pictures.figures(_board_table.tables(board))
        wanted = _board_page.text(board, lock["against"], figures).split("\n")
        found = (root / FOLDER / PAGE).read_bytes().decode("utf-8", "replace").split("\n")
    except (MprError, OSError):
        return ""
    for number, line in enumerate(wanted):
        if number >= len(found) or found[number] != line:
            name = line.removeprefix("| [").partition("]")[0]
            return f"row {name}" if name in lock["rows"] else f"line {number + 1}"
    return ""


def _read(path: Path, problems: Problems) -> dict[str, Any]:
    """The lock. One that was edited is refused, with the row that was edited where it can be told."""
    try:
        return leaderboard.read_signed(path)
    except DataError as error:
        problems.found.extend(Problem(found.what, found.where, _edited(path), _MEND) for found in error.problems)
    problems.stop_if_any()
    raise AssertionError


def _edited(path: Path) -> str:
    """Rows of a lock whose own digest does not hold."""
    try:
        rows = json.loads(path.read_bytes())["rows"]
        bad = [name for name, row in rows.items() if leaderboard.signed(_without_digest(row)) != row]
    except (ValueError, KeyError, AttributeError, TypeError):
        return ""
    return f"row {', '.join(bad)}" if bad else ""


def _without_digest(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "digest"}


def _old(root: Path) -> dict[str, Any]:
    """The figures of the last build; none if it cannot be trusted."""
    try:
        return leaderboard.read_signed(root / FOLDER / LOCK)
    except DataError:
        return {"figures": {}, "written": {}}


def _drawn(root: Path, figure: Figure, old: Mapping[str, Any], redraw: bool) -> bytes:
    """The picture that lies there if its numbers are the same, else a new one."""
    place = f"figures/{figure.name}.svg"
    path = root / FOLDER / place
    same = old["figures"].get(figure.name) == _panels.digest(figure)
    if same and not redraw and path.is_file() and storage.sha256_file(path) == old["written"].get(place):
        return path.read_bytes()
    from mpr.publishing import _board_drawing as figures

    return figures.draw(figure)


def _is(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data
