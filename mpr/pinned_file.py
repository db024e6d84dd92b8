"""A file that a recipe names by itself, outside its collection: found, and seen to be the pinned one."""

from __future__ import annotations

from pathlib import Path

from mpr import storage
from mpr.errors import DataError


def found(
    file: str,
    sha256: str | None,
    folder: Path | None,
    key: str,
    *,
    of: str = "",
    fix: str = "check the name, or make it first",
) -> Path:
    """Inside the user's folder if there is one; `key` is that of the recipe, `of` says what the file holds."""
    path = (folder or Path()) / file
    if not path.is_file():
        raise DataError(f"file of {of} is not there" if of else "is not there", where=str(path), key=key, fix=fix)
    seen = storage.remembered_sha256(path)
    if sha256 not in (None, seen):
        what = f"is not the pinned file: expected sha256 {str(sha256)[:16]}..., found {seen[:16]}..."
        raise DataError(what, where=str(path), key=key, fix="bring the pinned file, or pin this one")
    return path
