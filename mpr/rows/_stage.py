"""A stage of a row: what it reads, what it does and what it leaves. `mpr/rows/stages.py` lists them, in their order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpr.rows.receipts import Receipt

Made = tuple[dict[str, Path], dict[str, Any]]
"""(name -> artefact that was left, facts for the receipt)."""


@dataclass(frozen=True)
class Stage:
    """One step from a recipe to its scores."""

    name: str
    """Of its receipt: what is done, and in a plan for which of its stages, `train warmup`."""
    reads: Callable[[Mapping[str, Receipt]], dict[str, str]]
    """Digests of its inputs, given the receipts of the stages before it."""
    work: Callable[[], Made]
    """Does what is missing; goes on where a stopped attempt was."""
    precious: Path | None = None
    """The folder that is never thrown away because inputs or code changed: that is refused."""


def digests_of(done: Mapping[str, Receipt], *names: str) -> dict[str, str]:
    """What these stages left, as the input of another."""
    return {name: done[name].digest for name in names}
