"""A file that a source or a label of a recipe names: in the user's folder, or downloaded from the address it gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mpr import storage
from mpr.corpora import Pin
from mpr.data._fetcher import Fetcher


def located(named: Any, ground: Any, key: str, *, of: str, fix: str) -> Path:
    """`named` has the keys `file`, `sha256`, `md5` and `url`; what is known of the file is checked."""
    if named.url is None and named.md5 is None:
        return storage.pinned_file(named.file, named.sha256, ground.folder, key, of=of, fix=fix)
    folder = ground.folder if named.url is not None else ground.folder or Path()
    pin = Pin(named.file, named.url or "", sha256=named.sha256, md5=named.md5)
    return Fetcher(ground.home, folder, quiet=ground.quiet)(pin)
