"""The writer: what is committed, in which order it is flushed, what is refused and what is left behind."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mpr import storage
from mpr.errors import StorageError
from tests.conftest import Examined
from tests.faults.artefacts import complete, hooked

pytestmark = pytest.mark.small

ROOT = Path(__file__).parents[3]


def _listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_committed_artefact_is_what_was_written(tmp_path: Path) -> None:
    receipt: dict[str, object] = {"early": 1}
    with storage.stage(tmp_path / "made" / "target", "thing", receipt) as stage:
        stage.write("sub/a.bin", b"alpha")
        with stage.open("b.bin") as file:
            np.save(file, np.arange(5))
        receipt["late"] = [0.1, None, "ü"]
    manifest = storage.verify(tmp_path / "made" / "target", "thing")
    assert manifest.receipt == {"early": 1, "late": [0.1, None, "ü"]}
    assert list(manifest.files) == ["b.bin", "sub/a.bin"]
    # SHA-256 of "alpha", as printed by sha256sum
    expected = "8ed3f6ad685b959ead7022518e1af76cd816f8e8ec7ccdda1ed4018e8f2223f8"
    assert manifest.files["sub/a.bin"] == {"bytes": 5, "sha256": expected}
    assert np.load(tmp_path / "made" / "target" / "b.bin").tolist() == [0, 1, 2, 3, 4]
    files = ["b.bin", "manifest.json", "sub", "sub/a.bin"]
    assert _listing(tmp_path) == ["made", "made/target", *(f"made/target/{name}" for name in files)]


def test_manifest_stays_the_same_for_good(tmp_path: Path) -> None:
    """Artefacts of older versions must keep their digests: this is the exact text of format 1."""
    with storage.stage(tmp_path / "t", "thing", {"n": 1}) as stage:
        stage.write("a", b"")
    empty = hashlib.sha256(b"").hexdigest()
    canonical = f'{{"files":{{"a":{{"bytes":0,"sha256":"{empty}"}}}},"format":1,"kind":"thing","receipt":{{"n":1}}}}'
    expected = {
        "digest": hashlib.sha256(canonical.encode()).hexdigest(),
        "files": {"a": {"bytes": 0, "sha256": empty}},
        "format": 1,
        "kind": "thing",
        "receipt": {"n": 1},
    }
    assert (tmp_path / "t" / "manifest.json").read_text() == json.dumps(expected, indent=1) + "\n"
    assert storage.read_manifest(tmp_path / "t").digest == expected["digest"]


def test_everything_is_flushed_before_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills cannot show a missing flush, only a loss of power could; so the order of the operations is checked."""
    log: list[tuple[str, Path]] = []
    monkeypatch.setattr(storage, "hook", lambda operation, path: log.append((operation, path)))
    with storage.stage(tmp_path / "new" / "t", "thing") as stage:
        stage.write("deep/er/a.bin", b"x" * 10)
        (stage.folder / "library").mkdir()
        (stage.folder / "library" / "b.bin").write_bytes(b"y")
    staging = tmp_path / "new" / ".t.staging"
    renamed = log.index(("rename", tmp_path / "new" / "t"))
    names = ["deep/er/a.bin", "library/b.bin", "manifest.json"]
    flushed = [staging / name for name in names]
    for path in flushed:
        flush = log.index(("flush", path))
        assert flush < renamed
        assert ("write", path) not in log[flush:]
    for folder in (staging, staging / "deep", staging / "deep" / "er", staging / "library"):
        last = max(place for place, entry in enumerate(log) if entry == ("flush", folder))
        assert last < renamed
        assert not any(operation == "create" and path.parent == folder for operation, path in log[last:])
    assert log.index(("write", staging / "manifest.json")) > log.index(("flush", staging / "library" / "b.bin"))
    assert ("flush", tmp_path / "new") in log[renamed:]
    assert ("flush", tmp_path) in log, "the new parent folder itself could be lost"
    assert {operation for operation, _ in log} <= set(storage.OPERATIONS)


def test_small_file_is_flushed_before_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[tuple[str, Path]] = []
    monkeypatch.setattr(storage, "hook", lambda operation, path: log.append((operation, path)))
    storage.write_file(tmp_path / "f", b"data")
    new = tmp_path / ".f.new"
    steps = [("create", new), ("write", new), ("flush", new), ("rename", tmp_path / "f"), ("flush", tmp_path)]
    assert [entry for entry in log if entry in steps] == steps


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit, StorageError, OSError])
def test_failing_body_leaves_nothing(tmp_path: Path, failure: type[BaseException]) -> None:
    left = []

    def attempt() -> None:
        with storage.stage(tmp_path / "t", "thing") as stage:
            stage.write("closed", b"1")
            left.append(stage.open("open"))
            left[0].write(b"2")
            raise failure("stop")

    with pytest.raises(failure):
        attempt()
    assert _listing(tmp_path) == []
    log: list[str] = []
    with hooked(lambda operation, path: log.append(operation)):
        left[0].close()  # what stayed in a buffer is dropped in silence; the stage is gone
    assert log == []
    with storage.stage(tmp_path / "t", "thing"):
        pass
    assert storage.verify(tmp_path / "t").files == {}


def _unclosed(stage: storage.Stage) -> object:
    file = stage.open("a")
    file.write(b"1")
    return file


def _full(operation: str, path: Path) -> None:
    raise OSError(errno.ENOSPC, "full")


def _swallowed(stage: storage.Stage) -> None:
    file = stage.open("a")
    file.write(b"1")
    with hooked(_full), contextlib.suppress(StorageError):
        file.flush()
    file.close()  # succeeds, and all bytes are there; but a disk that failed once is not trusted


def _overwritten(stage: storage.Stage) -> None:
    stage.write("a", b"1")
    (stage.folder / "a").write_bytes(b"22")


def _lost(stage: storage.Stage) -> None:
    stage.write("a", b"1")
    (stage.folder / "a").unlink()


def _link(stage: storage.Stage) -> None:
    (stage.folder / "a").symlink_to("/etc/hostname")


def _link_to_folder(stage: storage.Stage) -> None:
    (stage.folder / "a").symlink_to("/etc")


def _pipe(stage: storage.Stage) -> None:
    os.mkfifo(stage.folder / "a")


def _line_feed_in_name(stage: storage.Stage) -> None:
    (stage.folder / "a\nb").write_bytes(b"")


def _bad_name(stage: storage.Stage) -> None:
    Path(os.fsdecode(os.fsencode(stage.folder) + b"/\xff")).write_bytes(b"")


@pytest.mark.parametrize(
    "spoil", [_unclosed, _swallowed, _overwritten, _lost, _link, _link_to_folder, _pipe, _line_feed_in_name, _bad_name]
)
def test_doubtful_stage_is_not_committed(tmp_path: Path, spoil: Callable[[storage.Stage], object]) -> None:
    with pytest.raises(StorageError), storage.stage(tmp_path / "t", "thing") as stage:
        kept = spoil(stage)
    del kept
    assert _listing(tmp_path) == []


NAMES = ["", ".", "..", "../a", "a/../b", "/a", "a//b", "a/", "./a", "manifest.json", "a\\b", "a\nb", "a\0b", "\ud800"]


@pytest.mark.parametrize("name", NAMES)
def test_name_that_leads_astray(tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError, match="name "), storage.stage(tmp_path / "t", "thing") as stage:
        stage.open(name)
    assert _listing(tmp_path) == []


def test_name_given_twice(tmp_path: Path) -> None:
    with storage.stage(tmp_path / "t", "thing") as stage:
        stage.write("a", b"1")
        with pytest.raises(StorageError, match="File exists"):
            stage.write("a", b"2")
    assert (tmp_path / "t" / "a").read_bytes() == b"1"


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), {1, 2}, Path("x"), "\ud800", np.float32(1)])
def test_receipt_that_json_cannot_hold(tmp_path: Path, bad: object) -> None:
    with pytest.raises(StorageError, match="receipt cannot be written"), storage.stage(tmp_path / "t", "k", {"a": bad}):
        pass
    assert _listing(tmp_path) == []


def test_receipt_is_read_back_as_json_makes_it(tmp_path: Path) -> None:
    with storage.stage(tmp_path / "t", "k", {"by rank": {10: "ten", 9: "nine"}, "pair": (1, 2), "x": 1e-300}):
        pass
    receipt = storage.verify(tmp_path / "t").receipt
    assert receipt == {"by rank": {"10": "ten", "9": "nine"}, "pair": [1, 2], "x": 1e-300}


def test_manifest_too_long_for_its_readers(tmp_path: Path) -> None:
    receipt = {"a": "x" * (1 << 24)}
    with pytest.raises(StorageError, match="readers accept"), storage.stage(tmp_path / "t", "k", receipt):
        pass
    assert _listing(tmp_path) == []


def test_existing_target_is_refused_whole_or_broken(tmp_path: Path) -> None:
    def again() -> str:
        with pytest.raises(StorageError) as caught, storage.stage(tmp_path / "t", "thing"):
            raise AssertionError("the body must not run")
        return str(caught.value)

    with storage.stage(tmp_path / "t", "thing") as stage:
        stage.write("a", b"1")
    assert "already exists (remove" in again()
    (tmp_path / "t" / "a").unlink()
    message = again()
    assert "already exists, and is not a finished artefact" in message
    assert "delete" not in message, "it may be a folder of the user's"
    assert "file is missing" in message
    (tmp_path / "t" / "manifest.json").unlink()
    assert "it has no manifest" in again()
    (tmp_path / "t").rmdir()
    (tmp_path / "t").symlink_to("nowhere")
    assert "already exists" in again()
    assert _listing(tmp_path) == ["t"]


def test_debris_of_the_same_target_only(tmp_path: Path) -> None:
    """Names with pattern characters or that start alike must not take each other's debris away."""
    for name in ("t[1]", "t[1].staging", "t*"):
        (tmp_path / f".{name}.staging").mkdir()
        (tmp_path / f".{name}.staging" / "half").write_bytes(b"half")
    with storage.stage(tmp_path / "t[1]", "thing"):
        pass
    assert sorted(os.listdir(tmp_path)) == [".t*.staging", ".t[1].staging.staging", "t[1]"]


def test_body_may_change_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with storage.stage(Path("t"), "thing") as stage:
        (tmp_path / "elsewhere").mkdir()
        os.chdir("elsewhere")
        stage.write("a", b"1")
    assert _listing(tmp_path) == ["elsewhere", "t", "t/a", "t/manifest.json"]


def test_two_threads_build_two_targets(tmp_path: Path) -> None:
    barrier, failed = threading.Barrier(2, timeout=600), []

    def build(name: str) -> None:
        try:
            with storage.stage(tmp_path / name, name) as stage:
                barrier.wait()
                stage.write("a", name.encode())
                barrier.wait()
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=build, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert [storage.verify(tmp_path / name).kind for name in ("one", "two")] == ["one", "two"]


def test_write_file_replaces_and_leaves_no_trace(tmp_path: Path) -> None:
    for data in (b"old", b"", b"newer" * 1_000_000):
        storage.write_file(tmp_path / "a" / "b" / "f", data)
        assert (tmp_path / "a" / "b" / "f").read_bytes() == data
    assert _listing(tmp_path) == ["a", "a/b", "a/b/f"]


def test_write_file_onto_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    with pytest.raises(StorageError, match="cannot rename"):
        storage.write_file(tmp_path / "f", b"data")
    assert _listing(tmp_path) == ["f"]
    with pytest.raises(StorageError, match="cannot create folder"):
        storage.write_file(Path("/dev/null/f"), b"data")


_READ_ONLY = """
import os, sys
from pathlib import Path
from mpr import storage
from mpr.errors import StorageError
if os.geteuid() == 0:
    os.setuid(65534)
folder, said = Path(sys.argv[1]), 0
for attempt in (
    lambda: storage.write_file(folder / "new", b""),
    lambda: storage.write_file(folder / "sub" / "new", b""),
    lambda: storage.stage(folder / "t", "thing").__enter__(),
    lambda: storage.lock(folder / "t").__enter__(),
):
    try:
        attempt()
    except StorageError as error:
        said += "Permission denied" in str(error) and str(folder) in str(error) and "can be written" in str(error)
if storage.verify(folder / "artefact").kind != "thing":
    sys.exit("cannot be read")
print(said)
"""


def test_read_only_folder(examined: Examined) -> None:
    """Root may write everywhere, so the attempt is made as somebody else. Reading needs no right to write."""
    with tempfile.TemporaryDirectory(prefix="mpr-read-only-") as name:
        folder = Path(name)
        with storage.stage(folder / "artefact", "thing"):
            pass
        folder.chmod(0o555)
        command = [sys.executable, "-c", _READ_ONLY, name]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
        listing = os.listdir(folder)
        folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert listing == ["artefact"]
    examined(int(done.stdout), "refusals in a read-only folder", at_least=4)


def test_removed_artefact_loses_its_manifest_first(tmp_path: Path) -> None:
    """Killed in the middle, the rest must not pass for an artefact; killed before, it is whole."""
    for last in (1, 2):
        with storage.stage(tmp_path / "t", "thing") as stage:
            stage.write("a", b"1")
        operations: list[str] = []

        def stop(operation: str, path: Path, last: int = last, log: list[str] = operations) -> None:
            log.append(f"{operation} {path.name}")
            if len(log) == last:
                raise KeyboardInterrupt

        with hooked(stop), contextlib.suppress(KeyboardInterrupt):
            storage.remove(tmp_path / "t")
        assert operations == ["remove manifest.json", "remove t"][:last]
        assert complete(tmp_path / "t") == (last == 1)
        storage.remove(tmp_path / "t")
        assert _listing(tmp_path) == []
    storage.remove(tmp_path / "t")  # nothing is there, nothing is done


def test_removing_a_link_spares_what_it_points_at(tmp_path: Path) -> None:
    with storage.stage(tmp_path / "real", "thing"):
        pass
    (tmp_path / "link").symlink_to("real")
    storage.remove(tmp_path / "link")
    assert os.listdir(tmp_path) == ["real"]
    assert complete(tmp_path / "real")


def test_make_folder(tmp_path: Path) -> None:
    for _ in range(2):
        storage.make_folder(tmp_path / "a" / "b")
    assert _listing(tmp_path) == ["a", "a/b"]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot create folder: File exists"):
        storage.make_folder(tmp_path / "file")


def test_space(tmp_path: Path) -> None:
    free = storage.free_bytes(tmp_path / "not" / "there")
    status = os.statvfs(tmp_path)
    assert free == pytest.approx(status.f_bavail * status.f_frsize, rel=0.05)
    storage.require_space(tmp_path, 1)
    with pytest.raises(StorageError, match=r"needs about 1,000,000,000,000,000,000 bytes, [\d,]+ bytes are free"):
        storage.require_space(tmp_path / "not" / "there", 10**18)
    assert _listing(tmp_path) == []
