"""A server of a language model on the loopback, in the form of `/v1/chat/completions`, which answers as it was told.

```python
with ChatServer(lambda prompt: "yes") as server:
    server.fail(429, 429, "cut")      # what the next requests get instead: a status, a way to break, or a body
    settings = {"kind": "chat", "endpoint": server.endpoint, "model": "small", "tokens": 8}
    assert server.prompts == [...]    # every prompt that was answered well, in the order of arrival
```
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.loopback import Loopback
from tests.waiting import HANGING, let_pass

Answer = Callable[[str], str]


class ChatServer(Loopback):
    """Ways to fail: a status; `drop` hangs up; `cut` sends half; `text` sends no JSON; `form` sends other JSON; `slow`
    sends nothing until the client hangs up; `drip` sends white space until then, `head` headers, `error` an answer of
    status 400; `away` redirects; `echo` sends the
    header with the key back, and 400."""

    def __init__(self, answer: Answer = lambda prompt: "yes", key: str | None = None) -> None:
        self.answer, self.key = answer, key
        self.asked: list[str] = []  # all prompts
        self.prompts: list[str] = []  # those that were answered well
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.failures: list[int | str] = []
        self.retry_after: str | None = None
        self.most_at_once = self.at_once = 0
        self.paths: list[str] = []
        self.guard = threading.Lock()
        super().__init__(_Handler)
        self.endpoint += "/v1"

    def fail(self, *how: int | str) -> None:
        self.failures.extend(how)

    def settings(self, **more: Any) -> dict[str, Any]:
        """Settings of a writer that asks here."""
        return {"kind": "chat", "endpoint": self.endpoint, "model": "small-1", "tokens": 8, **more}


class _Handler(BaseHTTPRequestHandler):
    stand: ChatServer
    protocol_version = "HTTP/1.1"
    _counts = False

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self.stand.paths.append(self.path)
        self._send(200, b"{}")

    def do_POST(self) -> None:
        server = self.stand
        with server.guard:
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        self._counts = True
        try:
            self._answered(server)
        finally:
            self._over()

    def _over(self) -> None:
        """The request is under way no more: said before its client can know, whose next one may be here at once."""
        with self.stand.guard:
            self.stand.at_once -= self._counts
            self._counts = False

    def _answered(self, server: ChatServer) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][0]["content"]
        with server.guard:
            server.asked.append(prompt)
            server.paths.append(self.path)
            server.bodies.append(body)
            server.headers.append(dict(self.headers))
            how = server.failures.pop(0) if server.failures else 200
        given = self.headers.get("Authorization")
        if server.key is not None and given != f"Bearer {server.key}":
            how = 401
        if how == "drop":
            self._over()
            self.close_connection = True
            self.connection.close()
            return
        if how == "echo":
            self._send(400, json.dumps({"error": f"cannot use {given}"}).encode())
            return
        if how == "away":
            self._send(302, b"", {"Location": f"{server.endpoint}/elsewhere"})
            return
        if how in ("drip", "head", "error"):
            with contextlib.suppress(OSError):  # until the client hangs up
                if how == "head":
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
                else:
                    self.send_response(200 if how == "drip" else 400)
                    self.send_header("Content-Length", str(1 << 24))
                    self.end_headers()
                while True:
                    self.wfile.write(b" ")
                    self.wfile.flush()
                    let_pass(0.01)
            self.close_connection = True
            return
        if how == "slow":
            self.connection.settimeout(HANGING)
            self.connection.recv(1)  # nothing more is sent: this ends when the client hangs up
            self.close_connection = True
            return
        if isinstance(how, int) and how != 200:
            extra = {} if server.retry_after is None else {"Retry-After": server.retry_after}
            self._send(how, json.dumps({"error": f"told to say {how}"}).encode(), extra)
            return
        content = {"model": "small-1-of-today", "choices": [
            {"message": {"role": "assistant", "content": server.answer(prompt)}, "finish_reason": "stop"}
        ]}  # fmt: skip
        data = json.dumps(content).encode()
        data = {"text": b"<html>busy</html>", "form": b'{"choices": []}', "ends": data[: len(data) // 2]}.get(
            str(how), data
        )
        if how == "cut":
            self._send(200, data, cut=True)
            return
        if how == 200:
            with server.guard:
                server.prompts.append(prompt)
        self._send(200, data)

    def _send(self, status: int, data: bytes, more: dict[str, str] | None = None, cut: bool = False) -> None:
        self._over()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(data), **(more or {})}.items():
            self.send_header(name, str(value))
        with contextlib.suppress(ConnectionError):  # of a client that did not wait
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
