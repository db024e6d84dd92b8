"""What must not leave this machine: secrets, and where and by whom something was made.

Everything that is about to be published is read through this, byte by byte. A find says which file and what kind of
thing, never the thing itself. Four sorts are looked for: the shapes of well-known tokens and keys; the values that
secrets of this very process have (environment, login of the Hub); paths of this machine; names of user and host. Names
are words that occur by chance, so they are looked for in descriptions only, not in weights, vocabularies and runs.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_SHAPES = (  # (a few bytes that are found fast, the whole shape, what it is)
    (b"hf_", rb"hf_[A-Za-z0-9]{30,}", "a token of the Hugging Face Hub"),
    (b"AKIA", rb"AKIA[0-9A-Z]{16}(?![0-9A-Za-z])", "an AWS access key"),
    (b"ASIA", rb"ASIA[0-9A-Z]{16}(?![0-9A-Za-z])", "an AWS access key"),
    (b"PRIVATE KEY", rb"-----BEGIN [A-Z ]{0,20}PRIVATE KEY", "a private key"),
    (b"gh", rb"gh[pousr]_[A-Za-z0-9]{36}", "a GitHub token"),
    (b"github_pat_", rb"github_pat_[A-Za-z0-9_]{40,}", "a GitHub token"),
    (b"xox", rb"xox[abprs]-[A-Za-z0-9-]{10,}", "a Slack token"),
    (b"AIza", rb"AIza[0-9A-Za-z_-]{35}", "a Google key"),
    (b"sk-", rb"sk-[A-Za-z0-9_-]{32,}", "a key of a language model service"),
    (b"://", rb"[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"'\\]{1,64}:[^\s/:@\"'\\]{1,64}@\w", "a password in an address"),
)  # fmt: skip
_ESCAPED = re.compile(rb"\\([!-/:-@\[-`{-~])")  # a sign of Markdown that is not meant as one
_SECRET = re.compile(r"(.*_)?(TOKEN|KEY|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL)S?", re.IGNORECASE)
_SHORTEST = 8  # characters of a secret; shorter values such as "1" and "true" are everywhere and protect nothing
_COMMON = {  # names that tell nothing of anybody
    "admin", "app", "build", "container", "docker", "host", "jovyan", "local", "localhost", "nobody", "root", "runner",
    "server", "ubuntu", "user", "worker",
}  # fmt: skip
_CHUNK, _OVERLAP = 1 << 20, 1 << 13  # bytes; nothing that is looked for is longer than the overlap


@dataclass(frozen=True)
class Scan:
    """What is looked for on this machine, by kind."""

    literals: tuple[tuple[bytes, str], ...]
    names: tuple[tuple[re.Pattern[bytes], str], ...]

    @classmethod
    def here(
        cls,
        login: str | None = None,
        places: Iterable[Path] = (),
        public: Iterable[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Scan:
        """`login`: the Hub's token; `places`: folders that are nobody's business; `public`: words that may be told."""
        environment = os.environ if environment is None else environment
        found: dict[bytes, str] = {}
        for name, value in environment.items():
            if _SECRET.fullmatch(name) and len(value) >= _SHORTEST:
                found |= dict.fromkeys(_forms(value), f"the value of the environment variable {name}")
        if login:
            found |= dict.fromkeys(_forms(login), "the token of this machine's login to the Hub")
        allowed = {word.lower() for text in public for word in (text, *re.split(r"[^A-Za-z0-9]+", text))}
        words = [(name, what) for name, what in _names(environment) if name.lower() not in allowed | _COMMON]
        paths = [(Path.home(), "the path of the home folder"), *((place, "a path of this machine") for place in places)]
        return cls(
            literals=tuple(found.items()),
            names=(
                *(_pattern(name, what, rb"A-Za-z0-9_-", re.IGNORECASE) for name, what in words if len(name) > 2),
                *(
                    _pattern(str(path.absolute()), what, rb"A-Za-z0-9_.-")
                    for path, what in paths
                    if len(path.absolute().parts) > 1
                ),
            ),
        )

    def kinds(self, file: BinaryIO, describes: bool) -> list[str]:
        """Every kind of thing found in a file. `describes`: it is a text about something, so that names count."""
        found: dict[str, None] = {}
        tail = b""
        while chunk := file.read(_CHUNK):
            data = tail + chunk
            found |= dict.fromkeys(self._found(data, describes))
            if (plain := _ESCAPED.sub(rb"\1", data)) != data:
                found |= dict.fromkeys(self._found(plain, describes))
            tail = chunk[-_OVERLAP:]
        return list(found)

    def _found(self, data: bytes, describes: bool) -> Iterator[str]:
        for marker, shape, what in _SHAPES:
            if marker in data and re.search(shape, data):
                yield what
        for literal, what in self.literals:
            if literal in data:
                yield what
        for pattern, what in self.names:
            if (describes or what.split()[1] == "path") and pattern.search(data):
                yield what


def _names(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """User and host by every name that this process can learn of them."""
    users = {environment.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER")}
    with contextlib.suppress(KeyError, OSError):  # a number without a name, as in some containers
        users.add(getpass.getuser())
    host = socket.gethostname()
    hosts = {host, host.partition(".")[0], environment.get("HOSTNAME", "")}
    yield from ((name, "the name of the user") for name in sorted(users) if name)
    yield from ((name, "the name of the host") for name in sorted(hosts) if name)


def _pattern(text: str, what: str, letters: bytes, flags: int = 0) -> tuple[re.Pattern[bytes], str]:
    """Finds the text where it stands alone: with none of `letters` before or after it."""
    forms = b"|".join(map(re.escape, _forms(text)))
    return re.compile(rb"(?<![" + letters + rb"])(" + forms + rb")(?![" + letters + rb"])", flags), what


def _forms(text: str) -> tuple[bytes, ...]:
    """As it is written in plain text and in JSON."""
    written = text.encode("utf-8", "surrogateescape")
    escaped = json.dumps(text)[1:-1].encode()
    return (written,) if escaped == written else (written, escaped)
