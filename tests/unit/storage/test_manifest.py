"""Reading and verifying: hostile manifests, links, and a memory that never covers up a change."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from mpr import storage
from mpr.errors import StorageError
from mpr.storage import manifest
from mpr.storage.manifest import FORMAT, MAX_MANIFEST, Manifest
from tests.conftest import Examined


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    with storage.stage(tmp_path / "t", "thing", {"n": 1}) as stage:
        stage.write("a.bin", b"alpha")
        stage.write("sub/b.bin", b"beta")
    return tmp_path / "t"


def _refused(folder: Path) -> str:
    with pytest.raises(StorageError) as caught:
        manifest.read_manifest(folder)
    assert caught.value.exit_code == 4
    assert str(folder) in str(caught.value)
    return str(caught.value)


def test_kind(artefact: Path) -> None:
    assert manifest.verify(artefact, "thing") == manifest.read_manifest(artefact)
    with pytest.raises(StorageError, match="is of kind 'thing', not 'other'"):
        manifest.verify(artefact, "other")


def test_nothing_there(tmp_path: Path) -> None:
    assert "does not exist" in _refused(tmp_path / "nowhere")
    assert "it has no manifest" in _refused(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    assert "it has no manifest" in _refused(tmp_path / "file")


JUNK = {
    "empty": b"",
    "text": b"hello",
    "list": b"[]",
    "number": b"1",
    "null": b"null",
    "no keys": b"{}",
    "wrong types": b'{"kind": [], "receipt": 1, "files": 2, "digest": {}, "format": 1}',
    "not UTF-8": b'{"kind": "\xff"}',
    "NaN": b'{"kind": "k", "receipt": {"a": NaN}, "files": {}, "digest": "", "format": 1}',
    "lone surrogate": b'{"kind": "\\ud800", "receipt": {}, "files": {}, "digest": "", "format": 1}',
    "deep": b"[" * 200_000,
    "deep object": b'{"kind": ' + b'{"a":' * 50_000,
    "long number": b'{"kind": ' + b"9" * 10_000 + b"}",
    "NUL": b"\0" * 1_000,
}


@pytest.mark.parametrize("name", JUNK)
def test_junk(artefact: Path, name: str) -> None:
    (artefact / "manifest.json").write_bytes(JUNK[name])
    _refused(artefact)


def test_huge_manifest_is_refused_without_reading_it(artefact: Path) -> None:
    with open(artefact / "manifest.json", "r+b") as file:
        file.truncate(100 << 20)  # a hundred megabytes, sparse
    tracemalloc.start()
    assert f"longer than {MAX_MANIFEST:,} bytes" in _refused(artefact)
    assert tracemalloc.get_traced_memory()[1] < 3 * MAX_MANIFEST
    tracemalloc.stop()


def test_manifest_that_is_no_file(artefact: Path) -> None:
    for make in (lambda path: path.symlink_to("elsewhere.json"), os.mkfifo, os.mkdir):
        (artefact / "manifest.json").unlink()
        make(artefact / "manifest.json")
        assert "not a file" in _refused(artefact)
        if (artefact / "manifest.json").is_dir():
            (artefact / "manifest.json").rmdir()
            (artefact / "manifest.json").touch()


def _forge(artefact: Path, **changes: Any) -> None:
    """A manifest with false content and a true digest, as somebody hostile would write it."""
    true = manifest.read_manifest(artefact)
    content = {"kind": true.kind, "receipt": true.receipt, "files": true.files, **changes}
    (artefact / "manifest.json").write_bytes(Manifest(**content).to_bytes())


NAMES = ["../t/a.bin", "/etc/hostname", "sub/../a.bin", "./a.bin", "sub//b.bin", "", ".", "..", "manifest.json", "a\nb"]


def test_names_that_lead_out(artefact: Path, examined: Examined) -> None:
    for name in NAMES:
        with pytest.raises(StorageError, match="its entries are malformed"):
            _read_forged(artefact, {name: {"bytes": 5, "sha256": "0" * 64}})
    examined(len(NAMES), "hostile names", at_least=10)


ENTRIES: list[Any] = [
    None, [], 5, {}, {"bytes": 5}, {"sha256": "0"}, {"bytes": "5", "sha256": "0"}, {"bytes": True, "sha256": "0"},
    {"bytes": 5.0, "sha256": "0"}, {"bytes": 5, "sha256": 0}, {"bytes": 5, "sha256": "0", "more": 1},
]  # fmt: skip


def test_malformed_entries(artefact: Path, examined: Examined) -> None:
    for entry in ENTRIES:
        with pytest.raises(StorageError, match="its entries are malformed"):
            _read_forged(artefact, {"a.bin": entry})
    for change in ({"files": []}, {"receipt": []}, {"kind": 1}):
        with pytest.raises(StorageError, match="its entries are malformed"):
            _read_forged(artefact, **change)
    examined(len(ENTRIES) + 3, "malformed manifests", at_least=14)


def _read_forged(artefact: Path, files: Any = None, **changes: Any) -> None:
    before = (artefact / "manifest.json").read_bytes()
    try:
        _forge(artefact, **({"files": files} if files is not None else {}), **changes)
        manifest.read_manifest(artefact)
    finally:
        (artefact / "manifest.json").write_bytes(before)


def test_other_spelling_of_the_same_manifest_is_refused(artefact: Path) -> None:
    path = artefact / "manifest.json"
    content = json.loads(path.read_bytes())
    for text in (json.dumps(content), json.dumps(content, indent=1, sort_keys=True), path.read_text() + "\n"):
        path.write_text(text)
        assert "altered" in _refused(artefact)


def test_other_format_says_so(artefact: Path) -> None:
    path = artefact / "manifest.json"
    content = json.loads(path.read_bytes()) | {"format": FORMAT + 1}
    path.write_text(json.dumps(content))
    assert f"has format '{FORMAT + 1}', this version of mpr reads format {FORMAT}" in _refused(artefact)


def test_links_are_refused_even_to_equal_bytes(artefact: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.bin").write_bytes(b"alpha")
    (artefact / "a.bin").unlink()
    (artefact / "a.bin").symlink_to(tmp_path / "outside.bin")
    assert "a.bin: is a link or a device, not a file" in _refused(artefact)


def test_linked_folder_is_refused_even_with_equal_content(artefact: Path, tmp_path: Path) -> None:
    (artefact / "sub").rename(tmp_path / "outside")
    (artefact / "sub").symlink_to(tmp_path / "outside")
    message = _refused(artefact)
    assert "sub/b.bin: file is missing" in message
    assert "sub: file is not in the manifest" in message


def test_artefact_may_be_reached_through_a_link_and_carry_empty_folders(artefact: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(artefact)
    (artefact / "empty" / "folders").mkdir(parents=True)
    assert manifest.verify(tmp_path / "link") == manifest.verify(artefact)


def test_all_problems_at_once(artefact: Path) -> None:
    (artefact / "a.bin").unlink()
    (artefact / "sub" / "b.bin").write_bytes(b"longer")
    (artefact / "new").write_bytes(b"")
    with pytest.raises(StorageError) as caught:
        manifest.verify(artefact)
    assert len(caught.value.problems) == 3


class TestMemory:
    def _settle(self, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
        """Lets every file count as settled; returns the files that are really read from then on."""
        read: list[Path] = []
        original = manifest._sum
        monkeypatch.setattr(manifest, "_SETTLED", -(10**12))
        monkeypatch.setattr(manifest, "_sum", lambda path, *how: (read.append(path), original(path, *how))[1])
        return read

    def test_settled_file_is_read_once(self, artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        read = self._settle(monkeypatch)
        for _ in range(3):
            manifest.verify(artefact)
        assert len(read) == 2
        os.link(artefact / "a.bin", artefact.parent / "same")  # a new status change, the same bytes
        manifest.verify(artefact)
        assert len(read) == 3

    def test_fresh_file_is_read_every_time(self, artefact: Path) -> None:
        """Within one tick of the file system's clock a file can change twice and keep its stamp."""
        manifest.verify(artefact)
        status = (artefact / "a.bin").stat()
        (artefact / "a.bin").write_bytes(b"omega")
        os.utime(artefact / "a.bin", ns=(status.st_atime_ns, status.st_mtime_ns))
        with pytest.raises(StorageError, match="checksum mismatch"):
            manifest.verify(artefact)

    def test_stamp_that_did_not_tick_is_not_trusted(self, artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        status = (artefact / "a.bin").stat()
        stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        monkeypatch.setattr(manifest, "_identity", lambda path: (*stamp[:1], hash(path.name), *stamp[2:]))
        manifest.verify(artefact)
        (artefact / "a.bin").write_bytes(b"omega")
        with pytest.raises(StorageError, match="checksum mismatch"):
            manifest.verify(artefact)

    def test_change_is_seen_though_time_and_size_are_restored(
        self, artefact: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._settle(monkeypatch)
        old = 1_600_000_000_000_000_000
        os.utime(artefact / "a.bin", ns=(old, old))
        manifest.verify(artefact)
        (artefact / "a.bin").write_bytes(b"omega")
        os.utime(artefact / "a.bin", ns=(old, old))
        with pytest.raises(StorageError, match="checksum mismatch"):
            manifest.verify(artefact)

    def test_swapped_files_are_seen(self, artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._settle(monkeypatch)
        with storage.stage(tmp_path / "two", "thing") as stage:
            stage.write("0", b"first")
            stage.write("1", b"other")
        manifest.verify(tmp_path / "two")
        (tmp_path / "two" / "0").rename(tmp_path / "between")
        (tmp_path / "two" / "1").rename(tmp_path / "two" / "0")
        (tmp_path / "between").rename(tmp_path / "two" / "1")
        with pytest.raises(StorageError) as caught:
            manifest.verify(tmp_path / "two")
        assert len(caught.value.problems) == 2


def test_unreadable_file_is_a_refusal(tmp_path: Path) -> None:
    for read in (manifest.sha256_file, manifest.remembered_sha256):
        with pytest.raises(StorageError, match="cannot be read: No such file"):
            read(tmp_path / "nowhere")
        with pytest.raises(StorageError, match="cannot be read: Is a directory"):
            read(tmp_path)


def test_json_digest_is_canonical() -> None:
    # sha256sum of the bytes {"a":"ü","b":[1,2.5,null]}
    expected = "91ff63a7ddb19a1b9c7a2e722d40ba9baba03223f291c89743abfd71bb743cb5"
    content = {"b": [1, 2.5, None], "a": "ü"}
    assert manifest.json_digest(content) == manifest.json_digest(dict(sorted(content.items())))
    assert manifest.json_digest(content) == expected
