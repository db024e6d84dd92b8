"""Faults 36 and 37: stores of another user, in folders that cannot be written; a clock that jumps."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from mpr import storage
from mpr.rows.receipts import Receipt, Receipts
from mpr.runtime import environment
from mpr.storage import manifest
from mpr.training.run_folder import CHECKPOINT, RunFolder
from tests.conftest import Examined
from tests.house.source import ROOT, package

pytestmark = pytest.mark.small

# As somebody else: root may write everywhere.
_STRANGER = """
import os, sys
from pathlib import Path
from mpr import storage
from mpr.errors import StorageError
from mpr.rows.receipts import Receipts
from mpr.training.run_folder import RunFolder
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
home, said = Path(sys.argv[1]), []
run = RunFolder(home / "run")
with storage.missing(home / "store") as is_missing:
    said.append("found" if not is_missing else "missing")
said.append(str(storage.verify(home / "store").kind))
said.append(str(run.newest().name))
receipts = Receipts(home / "run", home)
said.append(str(receipts.damage(receipts.read("search"))))
for attempt in (
    lambda: storage.missing(home / "other").__enter__(),
    lambda: storage.missing(home / "below" / "other").__enter__(),
    lambda: run.held().__enter__(),
    lambda: storage.remove(home / "store"),
    lambda: receipts.begin("search"),
    lambda: receipts.settle("search"),
):
    try:
        attempt()
        said.append("done")
    except StorageError as error:
        is_plain = str(home) in str(error) and "Permission denied" in str(error) and len(str(error).splitlines()) == 1
        said.append("refused" if is_plain else str(error))
print("|".join(said))
"""


def _home(folder: Path) -> RunFolder:
    with storage.stage(folder / "store", "store") as stage:
        stage.write("a", b"1")
    run = RunFolder(folder / "run")
    for update in (2, 10, 9):
        with storage.stage(run.checkpoint(update), CHECKPOINT, {"update": update}) as stage:
            stage.write("weights", bytes(update))
    outputs = {"home/store": storage.read_manifest(folder / "store").digest}
    made = Receipt("search", {}, outputs, "code", {}, {"seconds": 1.0})
    Receipts(run.folder, folder).write(made)
    return run


def test_another_user_reads_and_is_refused_in_one_line(examined: Examined) -> None:
    """What is whole is used without a lock; what would have to be made, locked or removed is refused by name."""
    with tempfile.TemporaryDirectory(prefix="mpr-other-") as name:
        _home(Path(name))
        (Path(name) / "run" / ".run.lock").write_text("host elsewhere, pid 1, since 2026-01-01T00:00:00Z\n")
        places = [Path(name), *(path for path in Path(name).rglob("*") if path.is_dir())]
        before = sorted(Path(name).rglob("*"))
        for place in places:
            place.chmod(0o555)
        try:
            command = [sys.executable, "-c", _STRANGER, name]
            done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        finally:
            for place in places:
                place.chmod(0o755)
        assert sorted(Path(name).rglob("*")) == before
    assert done.returncode == 0, done.stderr
    said = done.stdout.strip().split("|")
    assert said == ["found", "store", "10", "{}", "refused", "refused", "refused", "refused", "refused", "done"]
    examined(len(said), "things done in the folder of another user", at_least=10)


@pytest.mark.parametrize("jump", [-10_000_000.0, 10_000_000.0])
def test_a_clock_that_jumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    """Between any two looks: durations, locks, the newest checkpoint and remembered checksums do not ask it."""
    true, looks = time.time, 0

    def jumping() -> float:
        nonlocal looks
        looks += 1
        return true() + jump * looks

    monkeypatch.setattr(time, "time", jumping)
    monkeypatch.setattr(time, "time_ns", lambda: int(jumping() * 1e9))
    gmtime = time.gmtime
    monkeypatch.setattr(time, "gmtime", lambda seconds=None: gmtime(max(0, jumping()) if seconds is None else seconds))
    meter = environment.Meter()
    run = _home(tmp_path)
    assert run.newest() == run.checkpoint(10), "the highest number, not the youngest file"
    for update, age in ((10, 5_000_000), (9, 0), (2, -5_000_000)):
        os.utime(run.checkpoint(update), (true() - age, true() - age))
    assert run.newest() == run.checkpoint(10)
    receipts = Receipts(run.folder, tmp_path)
    receipt = receipts.read("search")
    assert receipt is not None
    assert receipts.damage(receipt) == {}
    (tmp_path / "store" / "a").write_bytes(b"2")
    os.utime(tmp_path / "store" / "a", (1, 1))
    assert list(receipts.damage(receipt)) == ["home/store"], "an old time does not make it the old file"
    taken: list[str] = []

    def second() -> None:
        with storage.lock(tmp_path / ".lock", storage.patience()):
            taken.append("second")

    with storage.lock(tmp_path / ".lock"):
        thread = threading.Thread(target=second)
        thread.start()
        assert not taken
    thread.join()
    assert taken == ["second"]
    assert meter.cost()["seconds"] // abs(jump) == 0, "neither negative nor as long as the jump"
    assert looks > 0


CLOCK = ("time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "date.today", "getmtime", "st_mtime")
ASKED = {  # where the clock of the day may be asked, and what for
    "mpr/runtime/command.py": "a launcher wants the time of a failure",
    "mpr/storage/manifest.py": "whether a file is too young for its checksum to be remembered; identity of a file",
    "mpr/publishing/board_entries.py": "the day on which a failure was noted",
    "mpr/corpora/hub.py": "identity of a folder that a user gives",
}


def test_nobody_else_asks_the_clock(examined: Examined) -> None:
    """Durations and deadlines are of the monotonic clock, and nothing is put into an order by the time of a file."""
    seen = {source.path: [word for word in CLOCK if word in source.text] for source in package()}
    found = {str(path) for path, words in seen.items() if words}
    assert {path for path in found if not any(path.endswith(known) for known in ASKED)} == set()
    assert len(found) == len(ASKED), "each of them still asks"
    assert manifest._SETTLED > 0
    examined(len(seen), "files", at_least=250)
