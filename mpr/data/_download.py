"""A pinned file over the network: from its address or a mirror, resumed where it broke off, verified whole.

What came so far lies in a hidden folder beside the place of the download. It is asked for from there on, never trusted:
when the last byte is there, the whole file is hashed, and what differs from its pin is thrown away. A file of which
nothing is known cannot be looked at so; it is resumed within one command alone, and only if the server names its
version (`ETag` or `Last-Modified`).

An address is given up for the next one if it refuses, sends a page instead of a file, another size or another file, or
brings nothing new several times in a row.
"""

from __future__ import annotations

import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from mpr import storage
from mpr.corpora import Pin
from mpr.errors import DataError
from mpr.records import stable_hash
from mpr.runtime.progress import bar
from mpr.storage.unpack import packing

KIND = "download"
HUB = "https://huggingface.co"
_CHUNK = 1 << 20
_TIMEOUT = 60  # seconds without a byte
_ATTEMPTS = 4  # in a row that bring nothing new
_PAUSE = 1.0  # seconds before the second of them, then twice as long each time
_BUSY = (408, 425, 429, 500, 502, 503, 504)  # answers that may be another one in a moment
_PAGE = (b"<!doctype html", b"<html")
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")

Differs = Callable[[Path], str]
"""What a file at a path has other than its pin says; empty: nothing."""


def _hub_path(pin: Pin) -> str:
    """Where the Hub has a file: it serves every file of a data set by its name."""
    return f"/datasets/{pin.repo}/resolve/{quote(pin.revision or 'main')}/{quote(pin.path)}" if pin.repo else ""


def hub() -> str:
    """Address of the Hub."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or HUB


def addresses(pin: Pin) -> tuple[str, ...]:
    """Where it is offered, in the order in which it is asked for."""
    found = (pin.url, *pin.mirrors, hub() + _hub_path(pin) if pin.repo else "")
    return tuple(address for address in found if address)


def origin(pin: Pin) -> str:
    """Where a file comes from, and under which terms."""
    come = addresses(pin) or (addresses(pin.archive) if pin.archive is not None else ())
    parts = [f"it comes from {come[0]}" if come else "", f"licence {pin.licence}" if pin.licence else ""]
    return "; ".join(part for part in parts if part)


def downloaded(pin: Pin, home: Path, differs: Differs, quiet: bool = False) -> Path:
    """The file of the pin, as it is kept; downloaded if it is not there yet."""
    target = home / "downloads" / f"{stable_hash(pin.url or _hub_path(pin)):016x}"
    offered = urlsplit(pin.url or _hub_path(pin)).path
    name = pin.file if packing(pin.file) else pin.file + packing(offered)  # packed, and known is what is in it
    with storage.missing(target) as is_missing:
        if is_missing:
            _Download(pin, target, name, differs, quiet).bring()
    storage.read_manifest(target, KIND)
    return target / name


def _as_member(request: urllib.request.Request) -> None:
    """A request to the Hub as its client would make it."""
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise _Elsewhere("HF_HUB_OFFLINE is set")
    if token := get_token():
        request.add_unredirected_header("Authorization", f"Bearer {token}")  # not for where the Hub leads to


class _Elsewhere(Exception):
    """This address cannot give the file."""


class _BrokenOff(Exception):
    """The connection, not the file: the next attempt may go on."""


@dataclass
class _Download:
    pin: Pin
    target: Path
    name: str
    differs: Differs
    quiet: bool
    version: str = ""
    """What the server calls the bytes that are here; empty: it does not, or they came from elsewhere."""
    total: int | None = None
    """Bytes that there will be, as this address says."""

    @property
    def folder(self) -> Path:
        return self.target.with_name(f".{self.target.name}.partial")

    @property
    def path(self) -> Path:
        return self.folder / self.name

    @property
    def here(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def is_checked(self) -> bool:
        return bool(self.pin.sha256 or self.pin.md5)

    def bring(self) -> None:
        """Commits the file, or says of every address what it did."""
        if not self.is_checked:
            self._forget()
        failed, ended = [], False
        try:
            for address in addresses(self.pin):
                try:
                    self._from(address)
                except _Elsewhere as why:
                    failed.append(f"{address}: {why}" if len(addresses(self.pin)) > 1 else str(why))
                    continue
                storage.commit(self.folder, self.target, KIND, {"url": address})
                ended = True
                return
        finally:
            if not ended and not self.is_checked:
                self._forget()
        fix = f"check the network, or bring the file and say --set data.corpus.folder=FOLDER; {origin(self.pin)}"
        if self.here:
            fix = f"the {self.here:,} bytes that came are kept: the same command goes on there; {fix}"
        raise DataError(f"cannot be downloaded: {'; '.join(failed)}", where=addresses(self.pin)[0], fix=fix)

    def _from(self, address: str) -> None:
        """Brings the whole file from one address."""
        if not self.is_checked:
            self._forget()  # of two addresses only a checksum could say that they offer the same
        self.version, self.total, furthest, lost, wrong = "", None, self.here, 0, 0
        while True:
            before, resumed = self.here, self.here > 0
            try:
                self._attempt(address, before)
            except _BrokenOff as why:
                lost, furthest = (0, self.here) if self.here > furthest else (lost + 1, furthest)
                if lost >= _ATTEMPTS:
                    raise _Elsewhere(why) from why
                if lost:
                    time.sleep(_PAUSE * 2 ** (lost - 1))
                continue
            what = self.differs(self.path)
            if not what:
                return
            self._forget()
            wrong += 1
            if not resumed or wrong > 1:  # one that was resumed may be of two files: it is brought again as a whole
                raise _Elsewhere(f"the server sent another file: {what}")

    def _attempt(self, address: str, at: int) -> None:
        """One request, from byte `at` on; well ended, the file is whole, as far as the server tells."""
        if at and at == self.pin.size:
            return
        if at and not (self.version or self.is_checked):  # nothing would tell that the rest is of the same file
            self._forget()
            at = 0
        request = urllib.request.Request(address, headers={"User-Agent": "mpr", "Accept-Encoding": "identity"})
        if at:
            request.add_header("Range", f"bytes={at}-")
            if self.version:
                request.add_header("If-Range", self.version)
        if self.pin.repo and address.startswith(hub()):
            _as_member(request)
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as reply:
                self._receive(reply, at)
        except urllib.error.HTTPError as error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                self._forget()
                raise _BrokenOff("it has less than what came before") from error
            raise (_BrokenOff if error.code in _BUSY else _Elsewhere)(str(error)) from error
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            never = isinstance(error, urllib.error.URLError) and self.total is None  # nobody there, or no such name
            what = f"after {self.here:,} bytes: {error}" if self.here else str(error)
            raise (_Elsewhere if never else _BrokenOff)(what) from error

    def _receive(self, reply: Any, at: int) -> None:
        version = reply.headers.get("ETag") or reply.headers.get("Last-Modified") or ""
        version = "" if version.startswith("W/") else version
        at, total = self._begins(reply, at, version)
        if reply.headers.get_content_type() == "text/html" and not self.name.endswith((".html", ".htm")):
            raise _Elsewhere("the server sent a page (text/html) instead of the file")
        if total is not None and self.pin.size not in (None, total):
            raise _Elsewhere(f"the server offers a file of {total:,} bytes, the pinned one has {self.pin.size:,}")
        if total is None and not (self.is_checked or self.pin.size or reply.headers.get("Transfer-Encoding")):
            raise _Elsewhere("the server does not say how long the file is, and nothing else is known of it")
        expected = self.pin.size if total is None else total
        storage.require_space(self.target.parent, (expected or 0) - at)
        self.version, self.total = version, total
        with storage.growing(self.path, at) as write, bar(self.name, expected, self.quiet, "B") as progress:
            progress(at)
            while chunk := reply.read(_CHUNK):
                if not at and chunk[:512].lstrip().lower().startswith(_PAGE) and not self.name.endswith("html"):
                    raise _Elsewhere("the server sent a page instead of the file")
                at += len(chunk)
                if expected is not None and at > expected:
                    raise _Elsewhere(f"the server sends more than the {expected:,} bytes of the file")
                write(chunk)
                progress(len(chunk))
        if expected is not None and at < expected:
            raise _BrokenOff(f"the download ended after {at:,} of {expected:,} bytes")

    def _begins(self, reply: Any, at: int, version: str) -> tuple[int, int | None]:
        """The byte at which the answer begins, and how many there are in all; whatever does not fit is forgotten."""
        if reply.status != http.client.PARTIAL_CONTENT:
            length = reply.headers.get("Content-Length", "")
            return 0, int(length) if length.isdigit() else None
        found = _RANGE.fullmatch(reply.headers.get("Content-Range", ""))
        same = version == self.version or not self.version
        if found is None or int(found[1]) != at or not same or self.total not in (None, int(found[2])):
            self._forget()
            raise _BrokenOff("the server went on with another file or another part of it")
        return at, int(found[2])

    def _forget(self) -> None:
        self.version, self.total = "", None
        storage.remove(self.folder)
