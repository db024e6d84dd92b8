"""A server of one file that breaks off and lies, one answer after the other as it was told; then it is honest.

```python
with LyingServer(content, other) as server:
    server.answers = [Answer(cut=1_000), Answer(status=503)]       # of the next requests, of any path
    Fetcher(home)(Pin("data.bin", f"{server.endpoint}/data.bin"))
    assert server.ranges == [None, 1_000, 1_000]                    # where each request asked to begin
```
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler

from tests.loopback import Loopback


@dataclass(frozen=True)
class Answer:
    """What the server does with one request; as it stands it is honest."""

    status: int = 0
    """An error to answer with."""
    cut: int | None = None
    """It hangs up before this byte of the file."""
    other: bool = False
    """It serves another file."""
    version: str | None = '"one"'
    """ETag; None: it says none."""
    length: int | None = None
    """Bytes that it says there are."""
    ranges: bool = True
    """It knows ranges; otherwise it begins at the first byte whatever it is asked for."""
    checks: bool = True
    """It compares If-Range with its version, and sends the whole file if they differ."""
    begins: int = 0
    """So many bytes further on than it was asked to begin, and it says so."""
    kind: str = "application/octet-stream"
    page: bool = False
    """The body is a page, whatever its kind says."""
    silent: bool = False
    """It does not say how long the file is."""


PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"


class LyingServer(Loopback):
    def __init__(self, content: bytes, other: bytes) -> None:
        self.content, self.other = content, other
        self.answers: list[Answer] = []
        self.ranges: list[int | None] = []
        super().__init__(_Handler)


class _Handler(BaseHTTPRequestHandler):
    stand: LyingServer

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        stand = self.stand
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        stand.ranges.append(int(found[1]) if found else None)
        answer = stand.answers.pop(0) if stand.answers else Answer()
        if answer.status:
            self.send_error(answer.status)
            return
        body = PAGE if answer.page else stand.other if answer.other else stand.content
        same = self.headers.get("If-Range") in (None, answer.version) or not answer.checks
        at = int(found[1]) if found and answer.ranges and same else None
        if at is not None and at >= len(body):
            self.send_error(416)
            return
        first = (at or 0) + (answer.begins if at is not None else 0)
        total = len(body) if answer.length is None else answer.length
        self.send_response(200 if at is None else 206)
        self.send_header("Content-Type", answer.kind)
        if answer.version is not None:
            self.send_header("ETag", answer.version)
        if at is not None:
            self.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
        if not answer.silent:
            self.send_header("Content-Length", str(total - first))
        self.end_headers()
        last = len(body) if answer.cut is None else answer.cut
        self.wfile.write(body[first : max(first, last)])
