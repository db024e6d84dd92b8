"""From a pin to a file on this disk: the user's folder, an archive, or a verified download, each kept once.

Whatever is known of a pin is checked: SHA-256, MD5, size. A file that is packed otherwise than the one that the pin
knows can be checked only where the pin is of the unpacked file; the other way round nothing could be compared, so it is
refused unless the recipe is a draft or pins it itself (`mpr pin`).
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path

from mpr import storage
from mpr.corpora import BY_MAKER, Pin, spellings
from mpr.data import _archive, _download
from mpr.data._download import origin
from mpr.errors import DataError
from mpr.storage.unpack import PACKED, StreamError, open_bytes, packing

_CHUNK = 1 << 20
log = logging.getLogger("mpr.data")


@dataclass
class Fetcher:
    """Finds the file of a pin; remembers what it handed out, for receipts."""

    home: Path
    folder: Path | None = None
    draft: bool = True
    """Whether files of which nothing is known may be read."""
    quiet: bool = False
    used: dict[str, str] = field(default_factory=dict)

    def __call__(self, pin: Pin) -> Path:
        if not (self.draft or pin.is_pinned):
            fix = "`mpr pin RECIPE` writes down what it is, or set draft: true"
            raise DataError(f"nobody has pinned '{pin.file}'", key="data.corpus", fix=fix)
        path = self._path(pin)
        self.used[pin.file] = storage.remembered_sha256(path)
        return path

    def identity(self, pin: Pin) -> str:
        """What the file is, for the names of stores: as the pin says, or as the user's file is now."""
        known = (
            pin.sha256 or (f"{pin.repo}@{pin.revision}" if pin.repo else "") or (f"md5 {pin.md5}" if pin.md5 else "")
        )
        path = self.found(pin)
        if path is not None and (not known or not is_comparable(pin, path)):
            return storage.remembered_sha256(path)
        if not known and pin.archive is not None:
            return f"{self.identity(pin.archive)} {pin.path}"
        return known or pin.url

    def found(self, pin: Pin) -> Path | None:
        """The file in the user's folder, by any of its names."""
        if self.folder is None:
            return None
        return next((path for name in spellings(pin) if (path := self.folder / name).is_file()), None)

    def _path(self, pin: Pin) -> Path:
        """Where it lies, checked."""
        if (path := self.found(pin)) is not None:
            self._check(pin, path)
            return path
        if pin.archive is not None and (self.folder is None or self.found(pin.archive)):
            whole = self._path(pin.archive)
            self.used[pin.archive.file] = storage.remembered_sha256(whole)
            path = _archive.member(whole, pin.path, self.home)
            own = replace(pin, file=path.name)
            if (pin.sha256 or pin.md5) and (what := differs(own, path)):
                raise DataError(
                    f"is not the pinned file: {what}", where=f"{pin.archive.file}: {pin.path}", fix=origin(pin)
                )
            return path
        if self.folder is not None:
            raise self._missing(pin)
        if not _download.addresses(pin):
            fix = f"bring it and say --set data.corpus.folder=FOLDER; {origin(pin)}".rstrip("; ")
            raise DataError(f"'{pin.file}' cannot be downloaded", key="data.corpus.folder", fix=fix)
        path = _download.downloaded(pin, self.home, lambda path: differs(pin, path), self.quiet)
        if what := differs(pin, path):  # since it was downloaded
            raise DataError(f"is not the pinned file: {what}", where=str(path), fix=origin(pin))
        return path

    def _check(self, pin: Pin, path: Path) -> None:
        """Of a file that the user brought."""
        if pin.is_pinned and not is_comparable(pin, path):
            if not self.draft:
                what = f"cannot be checked: what is known is of {_known_form(pin)}"
                fix = "bring that; or `mpr pin RECIPE` pins what is here; or set draft: true"
                raise DataError(what, where=str(path), key="data.corpus.folder", fix=fix)
            log.warning("%s: unchecked, because what is known is of %s", path, _known_form(pin))
        elif what := differs(pin, path):
            whose = "the recipe's maker pinned another file" if pin.source == BY_MAKER else "is not the pinned file"
            fix = origin(pin) or "bring that one; if this one is meant, `mpr pin RECIPE --renew`"
            raise DataError(f"{whose}: {what}", where=str(path), fix=fix)

    def _missing(self, pin: Pin) -> DataError:
        assert self.folder is not None
        names = [pin.file, *pin.names] + ([pin.archive.file] if pin.archive is not None else [])
        fix = f"looked for {', '.join(names)}, packed ({', '.join(PACKED)}) or not; {origin(pin)}".rstrip("; ")
        where = str(self.folder.resolve())
        return DataError(f"'{pin.file}' is not in {where}", where=where, key="data.corpus.folder", fix=fix)


def differs(pin: Pin, path: Path) -> str:
    """What the file has other than its pin says, cheapest first; empty: nothing, as far as anything is known."""
    if packing(path.name) == packing(pin.file):
        size = path.stat().st_size
        if pin.size not in (None, size):
            return f"expected {pin.size:,} bytes, found {size:,}"
        for kind, wanted, found in (
            ("sha256", pin.sha256, storage.remembered_sha256),
            ("md5", pin.md5, storage.remembered_md5),
        ):
            if wanted is not None and found(path) != wanted:
                return f"expected {kind} {wanted[:16]}..., found {found(path)[:16]}..."
        return ""
    size, sha256, md5 = 0, hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    try:
        with open_bytes(path) as file:
            while chunk := file.read(_CHUNK):
                size += len(chunk)
                sha256.update(chunk)
                md5.update(chunk)
    except StreamError as error:
        return str(error)
    if pin.size not in (None, size):
        return f"expected {pin.size:,} bytes when unpacked, found {size:,}"
    for kind, wanted, digest in (("sha256", pin.sha256, sha256.hexdigest()), ("md5", pin.md5, md5.hexdigest())):
        if wanted not in (None, digest):
            return f"expected {kind} {str(wanted)[:16]}... when unpacked, found {digest[:16]}..."
    return ""


def is_comparable(pin: Pin, path: Path) -> bool:
    """Whether what is known of the pin can be seen in this file. A commit cannot, nor what is known of an archive."""
    own = bool(pin.sha256 or pin.md5)
    return (own or not pin.is_pinned) and (packing(pin.file) in ("", packing(path.name)))


def _known_form(pin: Pin) -> str:
    if pin.sha256 or pin.md5:
        return f"the packed file '{pin.file}'"
    return f"the archive '{pin.archive.file}'" if pin.archive is not None else f"{pin.repo} at commit {pin.revision}"
