"""The model that a row of the leaderboard published: from the name of the row to a repository at a commit.

`leaderboard/results/<row>/checkpoint.json` says where it lies, and the lock of the leaderboard which bytes that file
and the results had when the board was built. So what a name stands for is what everybody can read on the page: a link
that was edited, or added without a build, leads nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpr import storage
from mpr.errors import DataError, RecipeError, excerpt, nearest
from mpr.publishing import board
from mpr.publishing.board import FOLDER
from mpr.publishing.board_lock import LOCK
from mpr.rows.result import Result

_LINK = "checkpoint.json"
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_BUILD = "undo the edit, or look at it and run `mpr leaderboard build`"


@dataclass(frozen=True)
class RowCheckpoint:
    """Where the model of a row lies, and which model that is."""

    row: str
    repo: str
    revision: str
    model: str
    """Digest of the model whose scores are on the leaderboard."""


def find(root: Path, name: str) -> RowCheckpoint:
    """The published model of that row; a row without one is refused."""
    rows = _rows(root)
    if name not in rows:
        hint = nearest(name, rows) or "a Hub repository is owner/name"
        raise RecipeError(f"{excerpt(name)} is neither a row of the leaderboard nor a repository", key="NAME", fix=hint)
    folder, files = root / FOLDER / "results" / name, rows[name]["files"]
    if not (folder / _LINK).is_file():
        fix = f"make the model with `mpr reproduce {rows[name]['recipe']['path']}`"
        raise DataError(f"row '{name}' has no published checkpoint", where=str(folder), key="NAME", fix=fix)
    link = board.read_signed(_bound(root, folder / _LINK, files))
    place = _bound(root, folder / f"trained-seed{link['seed']}.json", files)
    if link["row"] != name or not _REPO.fullmatch(link["repo"]) or not _COMMIT.fullmatch(link["revision"]):
        raise DataError("is no link to a model of this row", where=str(folder / _LINK), key=name, fix=_BUILD)
    model = str(Result.read(place).document["model"]["digest"])
    return RowCheckpoint(name, link["repo"], link["revision"], model)


def _rows(root: Path) -> Mapping[str, Any]:
    path = root / FOLDER / LOCK
    if not path.is_file():
        what = "there is no leaderboard here to look a row up in"
        raise DataError(what, where=str(path), key="NAME", fix="say --root with the source tree, or owner/name")
    rows: Mapping[str, Any] = board.read_signed(path)["rows"]
    return rows


def _bound(root: Path, path: Path, files: Mapping[str, str]) -> Path:
    """The path, if what lies there is what the leaderboard was built from."""
    place = path.relative_to(root / FOLDER).as_posix()
    if place not in files:
        raise DataError("is no part of the leaderboard as it was built", where=str(path), fix=_BUILD)
    if not path.is_file() or storage.sha256_file(path) != files[place]:
        raise DataError("is not what the leaderboard was built from", where=str(path), fix=_BUILD)
    return path
