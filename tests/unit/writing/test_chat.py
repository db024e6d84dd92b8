"""Asking a model behind an endpoint: against a server that fails in every way a server can."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from mpr.errors import DataError, MprError, RecipeError
from mpr.writing import _chat
from tests.chat_server import ChatServer
from tests.conftest import Examined
from tests.waiting import HANGING, until

pytestmark = pytest.mark.small

KEY = "s3cr3t" + "-of-the-test-0123456789"


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer(lambda prompt: f"re: {prompt}") as found:
        yield found


def writer(server: ChatServer, pauses: list[float] | None = None, **more: Any) -> _chat.Writer:
    return _chat.Writer(_chat.Settings(**server.settings(**more)), (pauses if pauses is not None else []).append)


def ask(made: _chat.Writer, *prompts: str) -> list[str]:
    found = {place: reply.text for arrived in made(prompts) for place, reply in arrived}
    return [found[place] for place in range(len(prompts))]


def test_every_prompt_gets_its_answer_and_no_more_are_under_way_than_allowed(server: ChatServer) -> None:
    three = threading.Barrier(3, timeout=HANGING)  # none is answered until three are here
    server.answer = lambda prompt: (three.wait(), f"re: {prompt}")[1]
    prompts = [f"prompt {number}" for number in range(12)]
    assert ask(writer(server, at_once=3), *prompts) == [f"re: {prompt}" for prompt in prompts]
    assert sorted(server.asked) == sorted(prompts)
    assert server.most_at_once == 3


def test_what_is_sent(server: ChatServer) -> None:
    ask(writer(server), "a")
    ask(writer(server, temperature=0.5, seed=7), "b")
    common = {"model": "small-1", "max_tokens": 8}
    assert server.bodies[0] == {**common, "messages": [{"role": "user", "content": "a"}], "temperature": 0.0}
    assert server.bodies[1]["temperature"] == 0.5
    assert server.bodies[1]["seed"] == 7
    assert server.paths == ["/v1/chat/completions"] * 2
    assert "Authorization" not in server.headers[0]


@pytest.mark.parametrize("how", [408, 429, 500, 502, 503, 504, "drop", "cut", "text", "ends", "slow"])
def test_asked_again_after_what_passes(server: ChatServer, how: int | str) -> None:
    pauses: list[float] = []
    server.fail(how, how)
    made = writer(server, pauses, **({"patience": 0.2} if how == "slow" else {}))

    def paused(seconds: float) -> None:
        """The next request comes after this one was read; one that is answered well may take its time."""
        pauses.append(seconds)
        until(lambda: len(server.asked) == len(pauses))
        if not server.failures:
            made.settings = made.settings.model_copy(update={"patience": HANGING})

    made._sleep = paused
    assert ask(made, "a") == ["re: a"]
    assert (server.asked, pauses) == (["a"] * 3, [1.0, 2.0])


def test_pauses_grow_and_the_server_may_name_them(server: ChatServer) -> None:
    pauses: list[float] = []
    server.fail(*[429] * 9)
    assert ask(writer(server, pauses, attempts=10), "a") == ["re: a"]
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 120, 120]
    server.retry_after, pauses[:] = "7", []
    server.fail(429, 503)
    ask(writer(server, pauses), "b")
    assert pauses == [7.0, 7.0]
    server.retry_after, pauses[:] = "Wed, 21 Oct 2026 07:28:00 GMT", []
    server.fail(429)
    ask(writer(server, pauses), "c")
    assert pauses == [1.0]


@pytest.mark.parametrize(
    "how, message",
    [
        (401, "answers 401: .*name the variable that holds the key"),
        (404, "answers 404: .*check `endpoint`, up to /v1, and `model`"),
        (400, "answers 400: .*check the settings"),
        ("form", "answers in another form"),
        ("away", "answers 302"),
    ],
)
def test_what_asking_again_cannot_mend(server: ChatServer, how: int | str, message: str) -> None:
    server.fail(how)
    pauses: list[float] = []
    with pytest.raises(DataError, match=message):
        ask(writer(server, pauses), "a")
    assert (server.asked, pauses) == (["a"], [])
    assert server.paths == ["/v1/chat/completions"]  # no redirection was followed


def test_attempts_end(server: ChatServer) -> None:
    server.fail(503, 503, 503)
    with pytest.raises(DataError, match=r"has not answered in 3 attempts: status 503.*answers so far are kept"):
        ask(writer(server, attempts=3), "a")
    assert server.asked == ["a"] * 3


@pytest.mark.parametrize("how", ["drip", "head"])
def test_an_answer_that_never_ends(server: ChatServer, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Each byte comes in time, in the body or in the headers: only the whole does not."""
    monkeypatch.setattr(_chat, "_IN_ALL", 0.002)
    server.fail(how, how)
    with pytest.raises(DataError, match="in 2 attempts: its answer has no end after 0 seconds"):
        ask(writer(server, attempts=2), "a")
    assert server.asked == ["a"] * 2


def test_a_refusal_that_never_ends(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_chat, "_IN_ALL", 0.002)
    server.fail("error")
    with pytest.raises(DataError, match="answers 400"):
        ask(writer(server, attempts=2), "a")
    assert server.asked == ["a"]


def test_a_server_that_is_not_there(server: ChatServer) -> None:
    gone = server.settings(attempts=2) | {"endpoint": "http://127.0.0.1:1/v1"}
    with pytest.raises(DataError, match=r"127\.0\.0\.1:1 small-1: has not answered in 2 attempts: .*refused"):
        ask(_chat.Writer(_chat.Settings(**gone), lambda seconds: None), "a")


def test_answers_under_way_come_in_before_a_failure_is_raised(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, look, looks = threading.Event(), _chat.wait, []  # known: the failure, when the writer waits once more

    def looked(*arguments: Any, **options: Any) -> Any:
        looks.append(1)
        if len(looks) == 2:
            known.set()
        return look(*arguments, **options)

    monkeypatch.setattr(_chat, "wait", looked)
    server.answer = lambda prompt: "late" if known.wait(HANGING) else "never"
    server.fail(400)
    found: list[Any] = []
    with pytest.raises(DataError, match="answers 400"):
        found.extend(arrived[0] for arrived in writer(server, at_once=3)([f"{number}" for number in range(9)]))
    assert len(server.asked) == 3  # nothing new was asked after the failure
    assert [reply.text for _, reply in found] == ["late", "late"]


def test_the_key_is_sent_and_never_shown(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, examined: Examined, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TESTED_KEY", KEY)
    server.key = KEY
    made = writer(server, key="TESTED_KEY", attempts=2)
    assert ask(made, "a") == ["re: a"]
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    shown = [str(made.origin), repr(made.settings)]
    for how in (400, 401, 404, 429, "echo", "form", "text", "drop"):
        server.failures[:] = [how, how]
        with pytest.raises(MprError) as caught:
            ask(made, "b")
        shown += [str(caught.value), repr(caught.value), str(caught.value.__cause__)]
        shown[-3].index("small-1")
    assert "cannot use Bearer <key>" in "".join(shown)
    server.failures[:], server.answer = [], lambda prompt: f"your key is {KEY}"
    with pytest.raises(DataError, match="sends the key back") as caught:
        ask(made, "c")
    shown += [str(caught.value), caplog.text]
    assert KEY not in "".join(shown)
    examined(len(shown), "texts without the key", at_least=25)


def test_refused_before_anything_is_sent(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TESTED_KEY", raising=False)
    with pytest.raises(RecipeError, match="the environment variable TESTED_KEY is not set"):
        writer(server, key="TESTED_KEY")
    monkeypatch.setenv("TESTED_KEY", "two\nlines")
    with pytest.raises(RecipeError, match="can be no key"):
        writer(server, key="TESTED_KEY")
    monkeypatch.setenv("TESTED_KEY", KEY)
    for endpoint, message in (
        ("http://models.example.org/v1", "would travel readable"),
        ("https://me:word@models.example.org/v1", "more than an address"),
        ("https://models.example.org/v1?key=1", "more than an address"),
        ("models.example.org/v1", "is no address"),
        ("ftp://models.example.org/v1", "is no address"),
        ("https://[models/v1", "is no address"),
    ):
        with pytest.raises(RecipeError, match=message):
            writer(server, key="TESTED_KEY", endpoint=endpoint)
    assert not server.asked


def test_a_proxy_does_not_see_what_stays_on_this_machine(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert ask(writer(server, attempts=1), "a") == ["re: a"]


def test_an_answer_without_words_and_one_cut_off() -> None:
    made = _chat.Writer(_chat.Settings(kind="chat", endpoint="http://127.0.0.1:1/v1", model="m", tokens=1))
    empty = made._read(b'{"choices": [{"message": {"content": null}, "finish_reason": "length"}]}')
    assert (empty.text, empty.model, empty.cut) == ("", "", True)
    odd = made._read(b'{"model": "m", "choices": [{"message": {"content": "\\ud800yes"}, "finish_reason": "stop"}]}')
    assert (odd.text, odd.cut) == ("?yes", False)
    named = made._read(b'{"model": "m\\ud800", "choices": [{"message": {"content": "yes"}}]}')
    assert named.model == "m?", "it is written down with the answer"
