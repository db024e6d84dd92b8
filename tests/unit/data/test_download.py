"""The fetcher against a real HTTP server on the loopback interface."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mpr.corpora import Pin
from mpr.data import _download
from mpr.data._fetcher import Fetcher
from mpr.errors import DataError, StorageError

CONTENT = bytes(range(256)) * 5_000
SUM = hashlib.sha256(CONTENT).hexdigest()


class _Server(BaseHTTPRequestHandler):
    requests: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        type(self).requests.append(self.path)
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:1_000] if self.path == "/cut" else CONTENT)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_download, "_PAUSE", 0.0)


@pytest.fixture
def server() -> Iterator[str]:
    _Server.requests = []
    found = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{found.server_port}"
    found.shutdown()
    found.server_close()


def test_a_download_is_verified_kept_and_not_repeated(server: str, tmp_path: Path) -> None:
    pin = Pin("data.bin", f"{server}/data.bin", sha256=SUM)
    fetcher = Fetcher(tmp_path)
    assert fetcher(pin).read_bytes() == CONTENT
    assert Fetcher(tmp_path)(pin).read_bytes() == CONTENT
    assert _Server.requests == ["/data.bin"]
    assert fetcher.used == {"data.bin": SUM}


def test_another_file_than_the_pinned_one_is_not_kept(server: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the server sent another file"):
        Fetcher(tmp_path)(Pin("data.bin", f"{server}/data.bin", sha256="0" * 64))
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


@pytest.mark.parametrize(
    "path,message", [("/missing", "cannot be downloaded: HTTP Error 404"), ("/cut", "1,000 of 1,280,000 bytes")]
)
def test_a_failed_download_says_what_to_do_and_leaves_nothing(
    server: str, tmp_path: Path, path: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Fetcher(tmp_path)(Pin("data.bin", f"{server}{path}", licence="CC0"))
    assert not list(tmp_path.rglob("data.bin"))


def test_nobody_listening_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be downloaded.*bring the file.*licence CC0"):
        Fetcher(tmp_path)(Pin("data.bin", "http://127.0.0.1:9/data.bin", licence="CC0"))


def test_a_file_of_the_user_is_checked_against_its_pin(tmp_path: Path) -> None:
    (tmp_path / "mine.tsv").write_bytes(CONTENT)
    fetcher = Fetcher(tmp_path / "home", tmp_path)
    assert fetcher(Pin("mine.tsv", sha256=SUM)) == tmp_path / "mine.tsv"
    with pytest.raises(DataError, match="is not the pinned file"):
        fetcher(Pin("mine.tsv", sha256="1" * 64))
    with pytest.raises(DataError, match=r"'other.tsv' is not in .*licence CC0"):
        fetcher(Pin("other.tsv", licence="CC0"))


def test_what_cannot_be_downloaded_must_be_brought(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be downloaded \(bring it and say --set data.corpus.folder"):
        Fetcher(tmp_path)(Pin("mine.tsv"))


def test_an_altered_download_is_refused(server: str, tmp_path: Path) -> None:
    path = Fetcher(tmp_path)(Pin("data.bin", f"{server}/data.bin", sha256=SUM))
    path.write_bytes(b"x" + CONTENT[1:])
    with pytest.raises(DataError, match="is not the pinned file"):
        Fetcher(tmp_path)(Pin("data.bin", f"{server}/data.bin", sha256=SUM))
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(StorageError, match="1,279,999 bytes instead of 1,280,000"):
        Fetcher(tmp_path)(Pin("data.bin", f"{server}/data.bin", sha256=SUM))
