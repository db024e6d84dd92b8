"""Fault 11: one bit flipped, a tail zeroed, bytes appended, two files swapped. Sizes may fit; the checksum does not."""

from __future__ import annotations

import os
import shutil
from itertools import combinations
from pathlib import Path

import pytest

from mpr import storage
from tests.conftest import Examined
from tests.faults.artefacts import ARTEFACTS
from tests.faults.damage import built, refusal

POSITIONS = 64


def _spread(size: int) -> list[int]:
    """Up to 64 positions from the first byte to the last."""
    return sorted({round(step * (size - 1) / (POSITIONS - 1)) for step in range(POSITIONS)}) if size else []


@pytest.mark.parametrize("name", ARTEFACTS)
def test_flipped_bit(tmp_path: Path, name: str, examined: Examined) -> None:
    target, digest, files = built(name, tmp_path)
    flips = 0
    for file in files:
        path = target / file
        status = path.stat()
        data = path.read_bytes()
        for position in _spread(len(data)):
            damaged = bytearray(data)
            damaged[position] ^= 1 << (flips % 8)
            path.write_bytes(damaged)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # rot does not touch the time
            refusal(target, file)
            flips += 1
        path.write_bytes(data)
    assert storage.verify(target).digest == digest
    examined(flips, f"flipped bits in {len(files)} files", at_least=POSITIONS * len(files) // 2)


@pytest.mark.parametrize("name", ARTEFACTS)
def test_tail(tmp_path: Path, name: str, examined: Examined) -> None:
    target, digest, files = built(name, tmp_path)
    damages = 0
    for file in files:
        path = target / file
        data = path.read_bytes()
        zeroed = [data[:-count] + bytes(count) for count in (1, 16, len(data)) if count <= len(data)]
        appended = [data + b"\0", data + b"\n", data + data]
        for damaged in zeroed + appended:
            if damaged != data:
                path.write_bytes(damaged)
                refusal(target, file)
                damages += 1
        path.write_bytes(data)
    assert storage.verify(target).digest == digest
    examined(damages, f"zeroed or longer tails of {len(files)} files", at_least=4 * (len(files) - 1))


@pytest.mark.parametrize("name", ARTEFACTS)
def test_swapped(tmp_path: Path, name: str, examined: Examined) -> None:
    target, digest, files = built(name, tmp_path)
    swaps = equal = 0
    for one, other in combinations(files, 2):
        if (target / one).read_bytes() != (target / other).read_bytes():
            equal += (target / one).stat().st_size == (target / other).stat().st_size
            _swap(target / one, target / other, tmp_path / "between")
            message = refusal(target)
            assert one in message or other in message or "manifest" in message
            _swap(target / one, target / other, tmp_path / "between")
            swaps += 1
    assert storage.verify(target).digest == digest
    examined(swaps, f"swapped pairs, {equal} of equal size", at_least=1)


def test_equal_size_shards_are_told_apart(tmp_path: Path) -> None:
    target, _, files = built("shards", tmp_path)
    assert len({(target / file).stat().st_size for file in files[:-1]}) == 1
    _swap(target / files[0], target / files[1], tmp_path / "between")
    storage.read_manifest(target)  # sizes see nothing
    assert refusal(target, files[0], files[1]).count("checksum mismatch") == 2


@pytest.mark.parametrize("name", ARTEFACTS)
def test_manifest_of_another_artefact(tmp_path: Path, name: str, examined: Examined) -> None:
    """Each manifest is true in itself; it is just not the manifest of this folder."""
    target, _, _ = built(name, tmp_path)
    others = [other for other in ARTEFACTS if other != name]
    for other in others:
        elsewhere, _, _ = built(other, tmp_path)
        shutil.copy(elsewhere / "manifest.json", target / "manifest.json")
        refusal(target)
    examined(len(others), "foreign manifests")


def _swap(one: Path, other: Path, between: Path) -> None:
    one.rename(between)
    other.rename(one)
    between.rename(other)
