"""Fault 31: downloads that are interrupted and servers that lie, and archives that are cut or odd.

Each time: the right file, or one refusal and no file. What is left behind never keeps the same command from giving the
right file once the server is honest.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mpr import storage
from mpr.corpora import Pin
from mpr.data import _download
from mpr.data._fetcher import Fetcher
from mpr.errors import DataError, StorageError
from tests.conftest import Examined
from tests.faults.artefacts import hooked
from tests.lying_server import Answer, LyingServer

pytestmark = pytest.mark.small

CONTENT = bytes((place * 37 + (place >> 8)) % 256 for place in range(20_000))
OTHER = bytes((place * 41 + (place >> 7)) % 256 for place in range(20_000))
SHA256, MD5, SIZE = hashlib.sha256(CONTENT).hexdigest(), hashlib.md5(CONTENT).hexdigest(), len(CONTENT)
HALF = SIZE // 2

KNOWN: dict[str, dict[str, object]] = {
    "sha256": {"sha256": SHA256, "size": SIZE},
    "md5": {"md5": MD5},
    "nothing": {},
}
RIGHT, REFUSED = "right", "refused"

# What the server does to the first requests -> what must come of it, and of a file of which nothing is known.
CASES: dict[str, tuple[list[Answer], str, str]] = {
    **{f"breaks off at {cut}": ([Answer(cut=cut)], RIGHT, RIGHT) for cut in (0, 1, 1_000, HALF, SIZE - 1)},
    "breaks off eight times": ([Answer(cut=2_000 * part) for part in range(1, 9)], RIGHT, RIGHT),
    "breaks off for ever at one byte": ([Answer(cut=HALF)] * 20, REFUSED, REFUSED),
    "ignores ranges": ([Answer(cut=HALF), Answer(ranges=False)], RIGHT, RIGHT),
    "ignores ranges and breaks off": ([Answer(cut=HALF, ranges=False)] * 20, REFUSED, REFUSED),
    "names no version": ([Answer(cut=HALF, version=None), Answer(version=None)], RIGHT, RIGHT),
    "has another file after the break": ([Answer(cut=HALF), Answer(other=True, version='"two"')], RIGHT, "other"),
    "has another file for one answer": ([Answer(cut=HALF), Answer(other=True, cut=SIZE - 9), Answer()], RIGHT, "mixed"),
    "goes on with another file and says so": (
        [Answer(cut=HALF), Answer(other=True, version='"two"', checks=False)], RIGHT, RIGHT,
    ),
    "goes on with another file in silence": (
        [Answer(cut=HALF, version=None), Answer(other=True, version=None)], RIGHT, "other",
    ),
    "goes on somewhere else": ([Answer(cut=HALF), Answer(begins=7)], RIGHT, RIGHT),
    "says another size after the break": ([Answer(cut=HALF), Answer(length=SIZE + 5)], RIGHT, RIGHT),
    "says there is more": ([Answer(length=SIZE + 5)] * 20, REFUSED, REFUSED),
    "says there is less": ([Answer(length=SIZE - 5)] * 20, REFUSED, "cut"),
    "says nothing of the length": ([Answer(silent=True)], RIGHT, REFUSED),
    "says nothing and breaks off": ([Answer(silent=True, cut=HALF)] * 20, REFUSED, REFUSED),
    "has another file": ([Answer(other=True)] * 20, REFUSED, "other"),
    "has a page": ([Answer(page=True, kind="text/html; charset=utf-8")] * 20, REFUSED, REFUSED),
    "has a page and hides it": ([Answer(page=True)] * 20, REFUSED, REFUSED),
    "is busy twice": ([Answer(status=503), Answer(status=500)], RIGHT, RIGHT),
    "is busy in the middle": ([Answer(cut=HALF), Answer(status=502)], RIGHT, RIGHT),
    "is broken for ever": ([Answer(status=500)] * 20, REFUSED, REFUSED),
    "does not have it": ([Answer(status=404)] * 20, REFUSED, REFUSED),
    "loses it in the middle": ([Answer(cut=HALF), *[Answer(status=404)] * 20], REFUSED, REFUSED),
    "will not give it": ([Answer(status=403)] * 20, REFUSED, REFUSED),
}  # fmt: skip


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_download, "_PAUSE", 0.0)
    monkeypatch.setattr(_download, "_CHUNK", 512)


@pytest.fixture
def server() -> Iterator[LyingServer]:
    with LyingServer(CONTENT, OTHER) as found:
        yield found


def _is_clean(home: Path) -> None:
    """What can be seen is whole: no folder without a manifest that holds, no lock; the rest is hidden."""
    downloads = home / "downloads"
    for folder in downloads.iterdir() if downloads.exists() else ():
        if folder.name.startswith("."):
            assert folder.name.endswith(".partial"), folder
        else:
            storage.verify(folder)


@pytest.mark.parametrize("known", KNOWN)
def test_the_right_file_or_a_refusal(tmp_path: Path, server: LyingServer, known: str, examined: Examined) -> None:
    for number, (case, (answers, pinned, unpinned)) in enumerate(CASES.items()):
        expected, home = unpinned if known == "nothing" else pinned, tmp_path / str(number)
        if (known, case) == ("md5", "says nothing of the length"):
            expected = RIGHT
        pin = Pin("data.bin", f"{server.endpoint}/{number}", **KNOWN[known])  # type: ignore[arg-type]
        server.answers = list(answers)
        if expected == REFUSED:
            with pytest.raises(DataError) as refused:
                Fetcher(home, quiet=True)(pin)
            assert len(refused.value.problems) == 1, case
            assert "cannot be downloaded: " in str(refused.value), case
            assert pin.url in str(refused.value), case
            _is_clean(home)
            kept = list(home.rglob("data.bin"))
            assert not kept or known != "nothing", f"{case}: what cannot be checked was kept"
        else:
            found = Fetcher(home, quiet=True)(pin).read_bytes()
            wanted = {RIGHT: [CONTENT], "other": [OTHER], "cut": [CONTENT[: SIZE - 5]]}
            # Of a version that its server gives to two files, nothing but a checksum tells.
            mixed = [CONTENT[:HALF] + OTHER[HALF : SIZE - 9] + CONTENT[SIZE - 9 :]]
            assert found in wanted.get(expected, mixed), case
            _is_clean(home)
            continue
        server.answers = []
        assert Fetcher(home, quiet=True)(pin).read_bytes() == CONTENT, f"{case}: the next command"
        _is_clean(home)
        assert not [path for path in (home / "downloads").iterdir() if path.name.startswith(".")], f"{case}: debris"
    examined(len(CASES), f"servers that break off or lie, {known} known", at_least=24)


def test_only_what_is_missing_is_asked_for(tmp_path: Path, server: LyingServer) -> None:
    """By the same command, and by the next one if the file can be checked."""
    server.answers = [Answer(cut=HALF), Answer(cut=HALF + 700)]
    pin = Pin("data.bin", f"{server.endpoint}/data.bin", sha256=SHA256)
    Fetcher(tmp_path, quiet=True)(pin)
    assert server.ranges == [None, HALF, HALF + 700]
    for known, asked in (("sha256", HALF), ("md5", HALF), ("nothing", None)):
        pin = Pin("data.bin", f"{server.endpoint}/{known}", **KNOWN[known])  # type: ignore[arg-type]
        server.answers = [Answer(cut=HALF), *[Answer(status=404)] * 2]
        with pytest.raises(DataError) as refused:
            Fetcher(tmp_path, quiet=True)(pin)
        assert (f"the {HALF:,} bytes that came are kept" in str(refused.value)) == (asked is not None)
        server.answers, server.ranges = [], []
        Fetcher(tmp_path, quiet=True)(pin)
        assert server.ranges == [asked]


def test_mirrors(tmp_path: Path, server: LyingServer, examined: Examined) -> None:
    """Whatever the first address does, the second one gives the file; if none does, each is named with its reason."""
    bad = [Answer(status=404)], [Answer(page=True)], [Answer(other=True)], [Answer(status=500)] * 4, [Answer(length=9)]
    for number, answers in enumerate(bad):
        server.answers = list(answers)
        urls = [f"{server.endpoint}/{number}/{place}" for place in "ab"]
        pin = Pin("data.bin", urls[0], mirrors=(urls[1],), sha256=SHA256, size=SIZE)
        assert Fetcher(tmp_path, quiet=True)(pin).read_bytes() == CONTENT
    server.answers = [Answer(status=404), Answer(page=True, kind="text/html")]
    with pytest.raises(DataError) as refused:
        Fetcher(tmp_path / "new", quiet=True)(pin)
    assert f"{urls[0]}: HTTP Error 404" in str(refused.value)
    assert f"{urls[1]}: the server sent a page" in str(refused.value)
    with pytest.raises(DataError, match="Connection refused"):
        Fetcher(tmp_path / "new", quiet=True)(Pin("data.bin", "http://127.0.0.1:9/data.bin"))
    examined(len(bad) + 2, "first addresses that fail", at_least=7)


def test_a_disk_without_room_is_said_before_the_first_byte(tmp_path: Path, server: LyingServer) -> None:
    server.answers = [Answer(length=1 << 60)]
    with pytest.raises(StorageError, match="needs about 1,152,921,504,606,846,976 bytes"):
        Fetcher(tmp_path, quiet=True)(Pin("data.bin", f"{server.endpoint}/data.bin"))
    assert not list(tmp_path.rglob("data.bin"))


class _Killed(BaseException):
    """Ends what it is raised in, as a kill does."""


def test_killed_at_every_operation(tmp_path: Path, server: LyingServer, examined: Examined) -> None:
    """Of a download that is resumed on the way; then the same command gives the right file."""
    count = killed = 0
    while True:
        count, home = count + 1, tmp_path / str(count)
        pin = Pin("data.bin", f"{server.endpoint}/data.bin", sha256=SHA256)
        server.answers = [Answer(cut=HALF)]
        seen = 0

        def kill(operation: str, path: Path, at: int = count) -> None:
            nonlocal seen
            if path.name.endswith(".lock"):  # which ends with its process, and that goes on here
                return
            seen += 1
            if seen >= at:
                raise _Killed

        try:
            with hooked(kill):
                Fetcher(home, quiet=True)(pin)
            break
        except _Killed:
            killed += 1
        for folder in (home / "downloads").glob("[!.]*") if home.exists() else ():
            assert storage.verify(folder).files["data.bin"]["sha256"] == SHA256
        server.answers = []
        assert Fetcher(home, quiet=True)(pin).read_bytes() == CONTENT
        assert not [path for path in (home / "downloads").iterdir() if path.name.startswith(".")]
    examined(killed, "operations on the disk at which a download ended", at_least=40)


# Archives


def _tar(entries: dict[str, object], mode: str = "w:gz") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as archive:  # type: ignore[call-overload]
        for name, what in entries.items():
            entry = tarfile.TarInfo(name)
            if isinstance(what, bytes):
                entry.size = len(what)
                archive.addfile(entry, io.BytesIO(what))
            else:
                entry.type, entry.linkname = what  # type: ignore[misc]
                archive.addfile(entry)
    return made.getvalue()


def _zip(entries: list[tuple[str, bytes]], mode: int = 0) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    return made.getvalue()


def _bad_size(data: bytes) -> bytes:
    """A zip whose directory says that the file is shorter than it is."""
    at = data.rindex(b"PK\x01\x02") + 24
    return data[:at] + (SIZE - 5).to_bytes(4, "little") + data[at + 4 :]


def _altered(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


GOOD = {
    "t.tar.gz": _tar({"sets/data.bin": CONTENT, "other": OTHER}),
    "t.tgz": _tar({"./other": OTHER, "./sets/data.bin": CONTENT}),
    "t.tar.xz": _tar({"sets/data.bin": CONTENT}, "w:xz"),
    "t.tar": _tar({"sets/data.bin": CONTENT}, "w"),
    "t.zip": _zip([("other", OTHER), ("sets/data.bin", CONTENT)]),
}
ESCAPES = {"../outside": OTHER, "/tmp/mpr-outside": OTHER, "sets/../../outside": OTHER, "sets/data.bin": CONTENT}
BAD: dict[str, tuple[str, bytes]] = {
    "a link": ("t.tar.gz", _tar({"sets/data.bin": (tarfile.SYMTYPE, "/etc/hostname")})),
    "a hard link": ("t.tar.gz", _tar({"other": OTHER, "sets/data.bin": (tarfile.LNKTYPE, "other")})),
    "a device": ("t.tar", _tar({"sets/data.bin": (tarfile.CHRTYPE, "")}, "w")),
    "a folder": ("t.tar", _tar({"sets/data.bin": (tarfile.DIRTYPE, "")}, "w")),
    "twice": ("t.tar", _tar({"sets/data.bin": CONTENT, "./sets/data.bin": OTHER}, "w")),
    "not there": ("t.tar", _tar({"sets/date.bin": CONTENT}, "w")),
    "no archive": ("t.tar.gz", gzip.compress(CONTENT)),
    "not even packed": ("t.tar", CONTENT),
    "a link in a zip": ("t.zip", _zip([("sets/data.bin", b"/etc/hostname")], 0o120777)),
    "twice in a zip": ("t.zip", _zip([("sets/data.bin", CONTENT), ("./sets/data.bin", OTHER)])),
    "not there in a zip": ("t.zip", _zip([("sets/date.bin", CONTENT)])),
    "a zip with a wrong size": ("t.zip", _bad_size(_zip([("sets/data.bin", CONTENT)]))),
    "a zip with an altered byte": ("t.zip", _altered(_zip([("sets/data.bin", CONTENT)]))),
    **{f"{name} cut at {cut}": (name, data[:cut]) for name, data in GOOD.items() for cut in (100, len(data) // 2)},
    **{f"{name} without its end": (name, data[:-9]) for name, data in GOOD.items() if name != "t.tar"},
}


def _member(folder: Path, name: str, data: bytes, **known: str) -> Callable[[], bytes]:
    """Reads the file of an archive that the user has in a folder."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    pin = Pin("data.bin", archive=Pin(name, **known), inside="sets/data.bin")  # type: ignore[arg-type]
    return lambda: Fetcher(folder / "home", folder)(pin).read_bytes()


def test_members_of_archives(tmp_path: Path, examined: Examined) -> None:
    for number, (name, data) in enumerate(
        [*GOOD.items(), ("t.tar", _tar(ESCAPES, "w")), ("t.zip", _zip([*ESCAPES.items()]))]
    ):
        read = _member(tmp_path / str(number), name, data, md5=hashlib.md5(data).hexdigest())
        assert read() == CONTENT
        assert read() == CONTENT  # the second time out of what was kept
    assert not Path("/tmp/mpr-outside").exists()
    assert not list(tmp_path.rglob("outside"))
    for number, (case, (name, data)) in enumerate(BAD.items()):
        folder = tmp_path / f"bad{number}"
        with pytest.raises(DataError) as refused:
            _member(folder, name, data)()
        assert len(refused.value.problems) == 1
        assert str(folder / name) in str(refused.value), case
        assert not [path for path in (folder / "home").rglob("*") if path.is_file()], case
        with pytest.raises(DataError, match="is not the pinned file: expected md5"):
            _member(folder, name, data, md5="0" * 32)()
    examined(len(BAD), "archives that are cut or odd", at_least=25)


def test_a_member_with_a_checksum_of_its_own(tmp_path: Path) -> None:
    archive = _tar({"sets/data.bin": CONTENT})
    pin = Pin("data.bin", archive=Pin("t.tar.gz"), inside="sets/data.bin", sha256=SHA256)
    (tmp_path / "t.tar.gz").write_bytes(archive)
    fetcher = Fetcher(tmp_path / "home", tmp_path, draft=False)  # nobody needs to know the archive itself
    assert fetcher(pin).read_bytes() == CONTENT
    assert fetcher.used == {"t.tar.gz": hashlib.sha256(archive).hexdigest(), "data.bin": SHA256}
    with pytest.raises(DataError, match=r"t.tar.gz: sets/data.bin: is not the pinned file: expected sha256 1111"):
        Fetcher(tmp_path / "home", tmp_path)(replace(pin, sha256="1" * 64))
