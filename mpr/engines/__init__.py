"""CATALOGUE: one file per engine: who does the units of work of encoding, search, mining and labelling.

    opened(address, folders) -> a context that gives a Group     # mpr/runtime/processes.py

A unit is a shard of vectors, a part of the corpus, or a range of questions. What comes of it depends on nothing but the
job and the unit, and is committed in one step. So a unit may be done anywhere and, if a machine is lost, once more; the
same bytes come of it. A group gives out units by `map`, says how many work at a time (`workers`), and does by `first`
what only one process may do. An engine adds no step and changes no result: it only has another `map`.

A file imports the library of its engine inside its functions.

Door: `engines.opened`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from mpr import catalogue
from mpr.runtime.processes import Group


def opened(name: str, address: str | None = None, *folders: Path) -> AbstractContextManager[Group]:
    """Those who work together. `folders` are what all of them must see."""
    engine: Any = catalogue.find("engines", name)
    found: AbstractContextManager[Group] = engine.opened(address, folders)
    return found
