"""Fault 10: a file of an artefact is cut short, or gone. It is named and refused before anyone parses it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpr import storage
from mpr.errors import StorageError
from mpr.storage.manifest import MANIFEST
from tests.conftest import Examined
from tests.faults.artefacts import ARTEFACTS
from tests.faults.damage import built, refusal


@pytest.mark.parametrize("name", ARTEFACTS)
def test_cut(tmp_path: Path, name: str, examined: Examined) -> None:
    target, digest, files = built(name, tmp_path)
    cuts = 0
    for file in files:
        path = target / file
        data = path.read_bytes()
        for size in sorted({0, 1, len(data) // 2, len(data) - 1}):
            if 0 <= size < len(data):
                path.write_bytes(data[:size])
                refusal(target, file)
                with pytest.raises(StorageError):  # sizes alone are enough, so that opening a store is cheap
                    storage.read_manifest(target)
                cuts += 1
        path.write_bytes(data)
    assert storage.verify(target).digest == digest
    examined(cuts, f"cuts of {len(files)} files", at_least=4 * (len(files) - 1))


@pytest.mark.parametrize("name", ARTEFACTS)
def test_gone(tmp_path: Path, name: str, examined: Examined) -> None:
    target, digest, files = built(name, tmp_path)
    for file in files:
        away = (target / file).rename(tmp_path / "away")
        message = refusal(target)
        assert ("it has no manifest" if file == MANIFEST else f"{file}: file is missing") in message
        away.rename(target / file)
    assert storage.verify(target).digest == digest
    examined(len(files), "files taken away")


@pytest.mark.parametrize("name", ARTEFACTS)
def test_stranger(tmp_path: Path, name: str) -> None:
    target, _, _ = built(name, tmp_path)
    (target / "sub").mkdir()
    (target / "sub" / "stranger.bin").write_bytes(b"")
    assert "file is not in the manifest" in refusal(target, "sub/stranger.bin")
