"""Artefacts that are whole, and what a reader must say of them once they were damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpr import storage
from mpr.errors import StorageError
from mpr.storage.manifest import MANIFEST
from tests.faults.artefacts import finish


def built(name: str, folder: Path) -> tuple[Path, str, list[str]]:
    """A fresh artefact, its digest, and the names of all its files, the manifest last."""
    target = folder / name
    digest = finish(name, target)
    return target, digest, [*storage.read_manifest(target).files, MANIFEST]


def refusal(target: Path, *expected: str) -> str:
    """What `verify` says; it must refuse and mention every `expected` text (the names of the damaged files)."""
    with pytest.raises(StorageError) as caught:
        storage.verify(target)
    message = str(caught.value)
    assert caught.value.exit_code == 4
    for text in expected:
        assert text in message
    return message
