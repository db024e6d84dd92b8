"""From a pin to a file on this disk: the user's folder, or a verified download, kept once.

A file that the user brings is checked against the pinned checksum, if any. A download is staged, hashed while it
comes in, refused if it is not the pinned file, and only then given its place; what was fetched is in its manifest.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from mpr import storage
from mpr.corpora import Pin
from mpr.errors import DataError
from mpr.records import stable_hash
from mpr.runtime.progress import bar

KIND = "download"
_CHUNK = 1 << 20
_TIMEOUT = 60  # seconds without a byte


@dataclass
class Fetcher:
    """Finds the file of a pin; remembers what it handed out, for receipts."""

    home: Path
    folder: Path | None = None
    used: dict[str, str] = field(default_factory=dict)

    def __call__(self, pin: Pin) -> Path:
        if self.folder is None:
            path = self._downloaded(pin)
        elif not (path := self.folder / pin.file).is_file():
            raise DataError(f"'{pin.file}' is not in {self.folder}", key="data.corpus.folder", fix=_origin(pin))
        self.used[pin.file] = storage.remembered_sha256(path)
        if pin.sha256 is not None and self.used[pin.file] != pin.sha256:
            what = f"is not the pinned file: expected sha256 {pin.sha256[:16]}..., found {self.used[pin.file][:16]}..."
            raise DataError(what, where=str(path), fix=_origin(pin))
        return path

    def _downloaded(self, pin: Pin) -> Path:
        target = self.home / "downloads" / f"{stable_hash(pin.url):016x}"
        if not pin.url:
            fix = f"bring it and say --set data.corpus.folder=FOLDER; {_origin(pin)}"
            raise DataError(f"'{pin.file}' cannot be downloaded", key="data.corpus.folder", fix=fix)
        if not target.exists():
            try:
                self._download(pin, target)
            except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
                fix = f"check the network, or bring the file and say --set data.corpus.folder=FOLDER; {_origin(pin)}"
                raise DataError(f"cannot be downloaded: {error}", where=pin.url, fix=fix) from error
        storage.read_manifest(target, KIND)
        return target / pin.file

    def _download(self, pin: Pin, target: Path) -> None:
        request = urllib.request.Request(pin.url, headers={"User-Agent": "mpr"})
        with (
            storage.stage(target, KIND, {"url": pin.url}) as stage,
            urllib.request.urlopen(request, timeout=_TIMEOUT) as reply,
        ):
            size, received = int(reply.headers.get("Content-Length") or 0), 0
            if size:
                storage.require_space(self.home, size)
            with stage.open(pin.file) as file, bar(pin.file, size, False, "B") as progress:
                while chunk := reply.read(_CHUNK):
                    file.write(chunk)
                    received += len(chunk)
                    progress(len(chunk))
            if size and received != size:
                what = f"download ended after {received:,} of {size:,} bytes"
                raise DataError(what, where=pin.url, fix="try again")
            found = stage.entries()[pin.file]["sha256"]
            if pin.sha256 is not None and found != pin.sha256:
                what = f"the server sent another file: expected sha256 {pin.sha256[:16]}..., got {found[:16]}..."
                raise DataError(what, where=pin.url, fix="nothing was kept; tell the maintainers of mpr")


def _origin(pin: Pin) -> str:
    parts = [f"it comes from {pin.url}" if pin.url else "", f"licence {pin.licence}" if pin.licence else ""]
    return "; ".join(part for part in parts if part)
