"""A writer behind an endpoint: the chat form that most servers of language models speak (`/v1/chat/completions`).

At most `at_once` requests are under way. A server that is busy, slow or broken is asked again, each time after a longer
pause. What asking again cannot mend (a wrong key, address or model) ends the run, after the answers that are under way
have arrived. The key is read from the environment and sent in the header of a request, nowhere else: over https or to
this machine only, without following redirections, and a text that contains the key is never shown.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from typing import Annotated, Any, Literal, NoReturn, Self
from urllib.parse import urlsplit

from pydantic import Field

from mpr.catalogue import Parameters
from mpr.errors import DataError, MprError, RecipeError, excerpt
from mpr.writing._transcript import Answered, Reply

_BUSY = (408, 409, 425, 429, 500, 502, 503, 504, 529)
_HERE = ("localhost", "127.0.0.1", "::1")
_FIRST, _LONGEST = 1.0, 120.0  # seconds of a pause
_LARGEST = 1 << 24  # bytes of an answer
_IN_ALL = 10  # times the patience: how long one request may take, from its connection to the last byte


class Settings(Parameters):
    """Which model at which address, and how it is asked."""

    kind: Literal["chat"]
    """A model behind an endpoint."""
    endpoint: str
    """Address up to `/v1`: requests go to `<endpoint>/chat/completions`. It is not part of what identifies a writer."""
    model: Annotated[str, Field(min_length=1)]
    """Its name as the server knows it; a name with a date or version is better than one that moves."""
    key: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """Name of the environment variable that holds the key; null: none is sent."""
    tokens: Annotated[int, Field(ge=1)]
    """Longest answer; some models count their thoughts as well."""
    temperature: Annotated[float, Field(ge=0.0)] = 0.0
    """0: the most probable answer, as far as the server keeps to it."""
    seed: int | None = None
    """Sent along, for servers that use it."""
    at_once: Annotated[int, Field(ge=1, le=256)] = 4
    """Requests under way at once."""
    attempts: Annotated[int, Field(ge=1)] = 8
    """How often a request is sent before it counts as failed."""
    patience: Annotated[float, Field(gt=0.0)] = 120.0
    """Seconds without a byte after which a request is sent again."""


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    """A key must not be sent to another address."""

    def redirect_request(self, *arguments: Any, **options: Any) -> None:
        return None


class _Clock:
    """Ends the connections of one request when its time is over, whatever they are at.

    The timeout of a socket begins anew with every byte, so a server that drips headers would hold a request for ever.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.is_over = seconds, False
        self._twins: list[socket.socket] = []  # TLS takes the sockets themselves over
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._timer.cancel()
        for twin in self._twins:
            twin.close()

    def handlers(self) -> list[urllib.request.BaseHandler]:
        """For an opener that makes this one request."""
        plain, tls = urllib.request.HTTPHandler(), urllib.request.HTTPSHandler()
        for handler, kind in ((plain, http.client.HTTPConnection), (tls, http.client.HTTPSConnection)):
            begin = handler.do_open
            handler.do_open = lambda _, *given, begin=begin, kind=kind, **more: begin(  # type: ignore[method-assign]
                partial(self._connection, kind), *given, **more
            )
        return [plain, tls]

    def _connection(self, kind: type[http.client.HTTPConnection], *given: Any, **more: Any) -> Any:
        made: Any = kind(*given, **more)
        made._create_connection = self._connected
        return made

    def _connected(self, *given: Any, **more: Any) -> socket.socket:
        made = socket.create_connection(*given, **more)
        self._twins.append(made.dup())
        if self.is_over:
            self._end()
        return made

    def _end(self) -> None:
        self.is_over = True
        for twin in list(self._twins):
            with suppress(OSError):
                twin.shutdown(socket.SHUT_RDWR)


class _BusyError(Exception):
    """Worth asking again, after so many seconds if the server said so."""

    def __init__(self, why: str, pause: float | None = None) -> None:
        super().__init__(why)
        self.pause = pause


class Writer:
    """Answers prompts through the endpoint."""

    def __init__(self, settings: Settings, sleep: Callable[[float], object] = time.sleep) -> None:
        self.settings, self._sleep = settings, sleep
        self._address = f"{_checked(settings.endpoint).rstrip('/')}/chat/completions"
        self._key = _key(settings)
        # A server on this machine is asked without a proxy, which would see the key: http is not encrypted.
        self._own = [urllib.request.ProxyHandler({})] if urlsplit(settings.endpoint).hostname in _HERE else []

    @property
    def origin(self) -> dict[str, Any]:
        """What the answers depend on, as far as it can be known from outside."""
        return self.settings.model_dump(
            mode="json", include={"kind", "model", "tokens", "temperature", "seed"}, exclude_none=True
        )

    def __call__(self, prompts: Sequence[str]) -> Iterator[list[Answered]]:
        """Each answer as soon as it is there. After a failure those under way still come in, then it is raised."""
        left, under_way = iter(enumerate(prompts)), dict[Future[Reply], int]()
        failure: MprError | None = None
        pool = ThreadPoolExecutor(self.settings.at_once, thread_name_prefix="chat")
        try:
            while True:
                while failure is None and len(under_way) < self.settings.at_once:
                    place, prompt = next(left, (-1, ""))
                    if place < 0:
                        break
                    under_way[pool.submit(self._asked, prompt)] = place
                if not under_way:
                    break
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    place = under_way.pop(future)
                    try:
                        reply = future.result()
                    except MprError as error:
                        failure = failure or error
                    else:
                        yield [(place, reply)]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        if failure is not None:
            raise failure

    def _asked(self, prompt: str) -> Reply:
        pause = _FIRST
        for attempt in range(1, self.settings.attempts + 1):
            try:
                return self._read(self._sent(prompt))
            except _BusyError as error:
                if attempt == self.settings.attempts:
                    fix = "answers so far are kept: run the same command again later, or lower `at_once`"
                    self._refuse(f"has not answered in {attempt} attempts: {error}", fix)
                self._sleep(min(_LONGEST, pause if error.pause is None else max(error.pause, 0.0)))
                pause *= 2
        raise AssertionError("the loop ends with an answer or a refusal")

    def _sent(self, prompt: str) -> bytes:
        """The body of the answer."""
        wanted = self.settings
        body: dict[str, Any] = {
            "model": wanted.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": wanted.temperature,
            "max_tokens": wanted.tokens,
        }
        if wanted.seed is not None:
            body["seed"] = wanted.seed
        headers = {"Content-Type": "application/json", "User-Agent": "mpr"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(self._address, json.dumps(body).encode(), headers)
        with _Clock(_IN_ALL * wanted.patience) as clock:
            try:
                return self._answer(request, clock)
            except _BusyError:
                if clock.is_over:
                    raise _BusyError(f"its answer has no end after {clock.seconds:,.0f} seconds") from None
                raise

    def _answer(self, request: urllib.request.Request, clock: _Clock) -> bytes:
        wanted, opener = self.settings, urllib.request.build_opener(_NoRedirection, *self._own, *clock.handlers())
        try:
            with opener.open(request, timeout=wanted.patience) as answer:
                found: bytes = answer.read(_LARGEST + 1)
                if clock.is_over:
                    raise TimeoutError
                return found
        except urllib.error.HTTPError as error:
            with error:
                try:
                    text = self._shown(error.read(2_000).decode("utf-8", "replace"))
                except (OSError, http.client.HTTPException):
                    text = ""
            if error.code in _BUSY:
                try:  # seconds; the form with a date is rare, and our own pauses do as well
                    pause = float(error.headers["Retry-After"])
                except (TypeError, ValueError):
                    pause = None
                raise _BusyError(f"status {error.code}: {text}", pause) from None
            key = wanted.key
            fixes = {
                401: f"check the variable {key}" if key else "name the variable that holds the key in `key`",
                403: f"check what the key in {key} may do" if key else "name the variable that holds the key in `key`",
                404: "check `endpoint`, up to /v1, and `model`",
            }
            self._refuse(f"answers {error.code}: {text}", fixes.get(error.code, "check the settings of the writer"))
        except (OSError, http.client.HTTPException) as error:  # refused, reset, cut short, timed out
            raise _BusyError(self._shown(getattr(error, "reason", error) or type(error).__name__)) from None

    def _read(self, data: bytes) -> Reply:
        """What was said. JSON that ends too early is asked for again; JSON of another form is another service."""
        if len(data) > _LARGEST:
            self._refuse(f"answers with more than {_LARGEST:,} bytes", "lower `tokens`")
        try:
            content = json.loads(data)
        except (ValueError, RecursionError):
            raise _BusyError(f"no JSON: {self._shown(data[:200].decode('utf-8', 'replace'))}") from None
        try:
            choice = content["choices"][0]
            text = choice["message"]["content"]
            model = content.get("model", "")
            if not isinstance(text, str | None) or not isinstance(model, str):
                raise TypeError
        except (LookupError, TypeError, AttributeError):
            shown = self._shown(data.decode("utf-8", "replace"))
            self._refuse(f"answers in another form: {shown}", "it must speak the form of /v1/chat/completions")
        if self._key is not None and self._key in f"{text}{model}":
            self._refuse("sends the key back in its answer", "nothing of it was kept; change the key")
        # JSON can hold what UTF-8 cannot
        text, model = ((said or "").encode("utf-8", "replace").decode("utf-8") for said in (text, model))
        return Reply(text, model, choice.get("finish_reason") == "length")

    def _shown(self, text: object) -> str:
        """Something the server said, safe on a terminal and without the key."""
        said = str(text) if self._key is None else str(text).replace(self._key, "<key>")
        return excerpt(said, 200)

    def _refuse(self, what: str, fix: str) -> NoReturn:
        raise DataError(what, where=urlsplit(self._address).netloc, key=self.settings.model, fix=fix)


def _checked(endpoint: str) -> str:
    """The address, which must hold no secret."""
    try:
        parts = urlsplit(endpoint)
        host = parts.hostname
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("http", "https"):
        raise RecipeError(f"{excerpt(endpoint)} is no address", key="endpoint", fix="such as https://host/v1")
    if "@" in parts.netloc or parts.query or parts.fragment:
        what = "holds more than an address: what is secret belongs into the environment"
        raise RecipeError(what, key="endpoint", fix="give scheme, host and path; name the variable of the key in `key`")
    return endpoint


def _key(settings: Settings) -> str | None:
    """The value of the variable, which is refused where it cannot be a key or would be sent in the open."""
    if settings.key is None:
        return None
    found = os.environ.get(settings.key, "").strip()
    if not found:
        fix = "set it to the key, or remove `key` for a server that wants none"
        raise RecipeError(f"the environment variable {settings.key} is not set", key="key", fix=fix)
    if not (found.isascii() and found.isprintable()):
        raise RecipeError(f"the value of {settings.key} can be no key", key="key", fix="look for a line feed in it")
    parts = urlsplit(settings.endpoint)
    if parts.scheme != "https" and parts.hostname not in _HERE:
        raise RecipeError("a key would travel readable for everybody", key="endpoint", fix="use https, or no key")
    return found
