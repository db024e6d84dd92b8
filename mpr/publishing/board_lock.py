"""leaderboard/rows.json: the checksum of everything that the leaderboard was written from, and of what was written.

A check compares every file with these checksums, so that an edit is found and its row named. Then it writes the page
and the checksums once more, in memory, and compares. Only p-values and pictures are not made again: they are expensive,
so the recorded ones count. This is no signature: whoever rebuilds the leaderboard can write what they like.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from mpr import storage
from mpr.errors import DataError, Problem
from mpr.publishing import _board as leaderboard
from mpr.publishing import _board_drawing, _board_figures, _board_page, _board_table, _board_verdicts
from mpr.publishing._board import FOLDER, Board, BoardRow
from mpr.publishing._board_figures import Figure
from mpr.recipe import reference
from mpr.recipe.lock import SUFFIX

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


def build(root: Path, redraw: bool = False, *, own: bool = False) -> list[Path]:
    """Writes what differs, pictures only where their numbers changed; returns it. The lock comes last."""
    board = leaderboard.read(root, own)
    tables = _board_table.tables(board)
    compared = [_board_verdicts.against_baseline(table) for table in tables]
    against = {name: asdict(found) for rows in compared for name, found in rows.items()}
    figures = _board_figures.figures(tables)
    try:
        old = leaderboard.read_signed(board.folder / LOCK)
    except DataError:  # the pictures of a lock that cannot be trusted are drawn anew
        old = {"figures": {}, "written": {}}
    files: dict[Path, bytes] = {}
    for figure in figures:
        place = f"figures/{figure.name}.svg"
        path = board.folder / place
        is_same = old["figures"].get(figure.name) == figure.digest and path.is_file()
        if figure.panels and (redraw or not is_same or storage.sha256_file(path) != old["written"].get(place)):
            files[path] = _board_drawing.draw(figure)
    files[board.folder / PAGE] = _board_page.text(board, against, figures).encode()
    shown = {f"{figure.name}.svg" for figure in figures if figure.panels}
    gone = [path for path in (board.folder / "figures").glob("*.svg") if path.name not in shown]
    for path in gone:
        storage.remove(path)
    changed = [path for path, data in files.items() if _write(path, data)]
    lock = board.folder / LOCK
    if _write(lock, leaderboard.document(_lock(board, against, figures))):
        changed.append(lock)
    return gone + changed


def check(root: Path, *, own: bool = False) -> Checked:
    """Refuses any edit since the build, naming the row; loads no torch, draws and tests nothing."""
    path, page = root / FOLDER / LOCK, root / FOLDER / PAGE
    if not path.is_file():
        raise DataError("is missing", where=str(path), fix=_REBUILD)
    lock = leaderboard.read_signed(path, fix=_MEND)
    recipes = reference.recipe_paths(root)
    locks = [path for recipe in recipes if (path := recipe.with_suffix(SUFFIX)).is_file()]
    paths = [*recipes, *locks, *leaderboard.files(root)]
    if problems := list(_differences(root, paths, lock)):
        raise DataError(problems)
    board = leaderboard.read(root, own)
    figures = _board_figures.figures(_board_table.tables(board))
    what = "is not what this code makes of rows and results"
    wanted, found = _board_page.text(board, lock["against"], figures).encode(), page.read_bytes()
    if found != wanted:
        raise DataError(what, where=str(page), key=_first_difference(wanted, found), fix=_MEND)
    if _lock(board, lock["against"], figures) != lock:
        raise DataError(what, where=str(path), fix=_REBUILD)
    return Checked(len(board.rows), len(paths))


def _lock(board: Board, against: Mapping[str, Any], figures: Sequence[Figure]) -> dict[str, Any]:
    """What rows.json says of the files that lie there."""
    shown = [figure for figure in figures if figure.panels]
    places = [PAGE, *(f"figures/{figure.name}.svg" for figure in shown)]
    content = {
        "format": 1,
        "rows": {row.name: _row(board, row) for row in board.rows},
        "against": dict(against),
        "figures": {figure.name: figure.digest for figure in shown},
        "written": {place: storage.sha256_file(board.folder / place) for place in places},
    }
    return leaderboard.signed(content)


def _row(board: Board, row: BoardRow) -> dict[str, Any]:
    """What a row is bound to, and the digest of it."""
    paths = list(leaderboard.files(board.root, f"results/{row.name}"))
    asked = {str(scores["questions"]) for entry in row.entries for scores in entry.result.document["scores"].values()}
    paths += [board.folder / leaderboard.question_file(digest) for digest in sorted(asked)]
    files = {path.relative_to(board.folder).as_posix(): storage.sha256_file(path) for path in paths}
    recipe: dict[str, Any] = {"path": row.path, "sha256": storage.sha256_file(board.root / row.path)}
    if (pins := (board.root / row.path).with_suffix(SUFFIX)).is_file():
        recipe["lock"] = {"path": pins.relative_to(board.root).as_posix(), "sha256": storage.sha256_file(pins)}
    return leaderboard.signed({"recipe": recipe, "files": files})


def _differences(root: Path, paths: Iterable[Path], lock: Mapping[str, Any]) -> Iterator[Problem]:
    """What is on the disk against what was built, file by file; what the page says is compared later."""
    built: dict[str, tuple[str, list[str]]] = {}  # place -> (sha256, rows it belongs to)
    for place, sha256 in lock["written"].items():
        built[f"{FOLDER}/{place}"] = (sha256, [])
    for name, row in lock["rows"].items():
        for file in (row["recipe"], row["recipe"].get("lock")):
            if file is not None:
                built[file["path"]] = (file["sha256"], [name])
        for place, sha256 in row["files"].items():
            built.setdefault(f"{FOLDER}/{place}", (sha256, []))[1].append(name)
    there = {path.relative_to(root).as_posix() for path in paths} - {f"{FOLDER}/{LOCK}"}
    for place in sorted(there | built.keys()):
        sha256, rows = built.get(place, ("", _rows_of_new(Path(place))))
        key = f"row{'s' if len(rows) > 1 else ''} {', '.join(rows)}" if rows else ""
        if place not in there:
            yield Problem("is missing", place, key, "restore it; if it was removed on purpose, " + _REBUILD)
        elif not sha256:
            yield Problem("is new since the leaderboard was built", place, key, _REBUILD)
        elif place != f"{FOLDER}/{PAGE}" and storage.sha256_file(root / place) != sha256:
            yield Problem("was edited since the leaderboard was built", place, key, _MEND)


def _rows_of_new(place: Path) -> list[str]:
    """The row that a file which nobody built belongs to."""
    if place.parts[0] != FOLDER.name:
        return [place.stem]
    return [place.parts[2]] if place.parts[1] == "results" and len(place.parts) > 3 else []


def _first_difference(wanted: bytes, found: bytes) -> str:
    """The row of the first line of the page that is not what it should be, or the number of the line."""
    lines = enumerate(zip_longest(wanted.split(b"\n"), found.split(b"\n")), start=1)
    number, line = next((number, one) for number, (one, other) in lines if one != other)
    row = re.match(rb"\| \[(\w+)\]", line or b"")
    return f"row {row[1].decode()}" if row else f"line {number}"


def _write(path: Path, data: bytes) -> bool:
    """Whether the file had to change."""
    if path.is_file() and path.read_bytes() == data:
        return False
    storage.write_file(path, data)
    return True
