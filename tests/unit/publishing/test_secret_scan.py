"""What must not leave is found in any file, wherever it stands in it; and nothing is found where there is nothing."""

from __future__ import annotations

import io
import json
import os
import socket
from pathlib import Path

import numpy as np
import pytest

from mpr.publishing import _secret_scan
from mpr.publishing._secret_scan import Scan
from tests.conftest import Examined

# Assembled here, so that this very file holds no secret's shape.
SHAPES = {
    "hf" + "_" + "a1B2" * 9: "a token of the Hugging Face Hub",
    "AKIA" + "Q7" * 8: "an AWS access key",
    "-----BEGIN " + "RSA PRIVATE KEY-----": "a private key",
    "-----BEGIN " + "PRIVATE KEY-----": "a private key",
    "ghp" + "_" + "x9" * 18: "a GitHub token",
    "github" + "_pat_" + "x9" * 21: "a GitHub token",
    "xoxb" + "-" + "1234567890-ab": "a Slack token",
    "AIza" + "b" * 35: "a Google key",
    "sk" + "-" + "proj_" + "z8" * 20: "a key of a language model service",
    "https://me:" + "pass@example.org/x": "a password in an address",
}
VARIABLES = {
    "WANDB_API_KEY": "1f" * 20,
    "DB_PASSWORD": 'quo"te\\d and long',
    "my_secret": "ünïcödë-sécret",
    "TOKEN": "plain-token-value",
    "SERVICE_TOKENS": "several of them",
}
INNOCENT = {"TOKENIZERS_PARALLELISM": "false-or-true", "KEYBOARD": "a long enough layout", "API_KEY": "short"}


def kinds(text: str | bytes, scan: Scan, describes: bool = True) -> list[str]:
    return scan.kinds(io.BytesIO(text.encode() if isinstance(text, str) else text), describes)


@pytest.fixture
def scan(monkeypatch: pytest.MonkeyPatch) -> Scan:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/anabrel"))
    monkeypatch.setattr(socket, "gethostname", lambda: "teith7.ostrand.example")
    monkeypatch.setattr(_secret_scan.getpass, "getuser", lambda: "anabrel")
    return Scan.here("login-token-of-this-machine", [Path("/data/velmora/runs")], (), VARIABLES | INNOCENT)


def test_shapes(scan: Scan, examined: Examined) -> None:
    for secret, what in SHAPES.items():
        assert kinds(f'{{"a": "{secret}"}}', scan) == [what], what
        assert kinds(b"\0\xff" * 99 + secret.encode() + b"\0", scan, False) == [what]
        assert kinds(secret[: len(secret) // 2], scan) == []
    examined(len(SHAPES), "shapes of secrets", at_least=10)


def test_values_of_the_environment_and_the_login(scan: Scan, examined: Examined) -> None:
    for name, value in VARIABLES.items():
        for text in (value, json.dumps(value)):
            assert kinds(f"x {text} y", scan, False) == [f"the value of the environment variable {name}"]
    assert kinds("login-token-of-this-machine", scan) == ["the token of this machine's login to the Hub"]
    for value in INNOCENT.values():
        assert kinds(value, scan) == []
    examined(2 * len(VARIABLES), "values found", at_least=10)


@pytest.mark.parametrize(
    "text, what",
    [
        ("see /home/anabrel/models", "the path of the home folder"),
        ('"/home/anabrel"', "the path of the home folder"),
        ("/data/velmora/runs/x", "a path of this machine"),
        ("made by anabrel.", "the name of the user"),
        ("made by Anabrel on", "the name of the user"),
        ("host: teith7", "the name of the host"),
        ("teith7.ostrand.example", "the name of the host"),
        ("anabrels teith77 /home/anabrel2 /data/velmora/runs-of-others x-anabrel", ""),
    ],
)
def test_names_and_paths(scan: Scan, text: str, what: str) -> None:
    found = kinds(text, scan)
    assert (what in found) if what else found == []


def test_names_count_in_descriptions_only_and_paths_everywhere(scan: Scan) -> None:
    assert kinds("anabrel teith7", scan, describes=False) == []
    assert kinds("/home/anabrel/x", scan, describes=False) == ["the path of the home folder"]


def test_what_is_public_and_what_names_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_secret_scan.getpass, "getuser", lambda: "root")
    monkeypatch.setattr(socket, "gethostname", lambda: "teith7")
    monkeypatch.setattr(Path, "home", lambda: Path("/"))
    scan = Scan.here(None, (), ["Anabrel/my-model"], {"USER": "anabrel", "HOSTNAME": "ab"})
    assert kinds("anabrel, root, ab, /, 7", scan) == []
    assert kinds("teith7", scan) == ["the name of the host"]


def test_across_the_pieces_that_are_read(scan: Scan, monkeypatch: pytest.MonkeyPatch, examined: Examined) -> None:
    """A secret at any place around the end of a piece, and in the last of several."""
    monkeypatch.setattr(_secret_scan, "_CHUNK", 2 * _secret_scan._OVERLAP)
    secret, tried = next(iter(SHAPES)).encode(), 0
    for piece in (1, 2):
        for before in range(-len(secret) - 2, 3):
            text = b"." * (piece * _secret_scan._CHUNK + before) + secret + b"." * 30
            assert kinds(text, scan) == [SHAPES[secret.decode()]]
            tried += 1
    examined(tried, "places around the end of a piece", at_least=80)


def test_random_bytes_and_plain_prose_are_innocent(scan: Scan, examined: Examined) -> None:
    noise = np.random.default_rng(5).integers(0, 256, 8 << 20, dtype=np.uint8).tobytes()
    assert kinds(noise, scan, False) == []
    root = Path(_secret_scan.__file__).parents[2]
    sources = [path for folder in ("mpr", "recipes") for path in (root / folder).rglob("*") if path.is_file()]
    texts = [path for path in sources if path.suffix in (".py", ".yaml", ".json", ".md")]
    assert [path for path in texts if kinds(path.read_bytes(), scan)] == []
    examined(len(texts), "files of this repository", at_least=100)


def test_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The defaults look at the real environment."""
    monkeypatch.setenv("SOME_SECRET", "something-long")
    assert kinds("something-long", Scan.here()) == ["the value of the environment variable SOME_SECRET"]
    assert "something-long" in os.environ.values()


def test_signs_of_markdown_hide_nothing(scan: Scan, examined: Examined) -> None:
    """A page writes a backslash before what would otherwise be a sign."""
    for secret, what in SHAPES.items():
        escaped = "".join(f"\\{each}" if each in "_-*[]<>:/@" else each for each in secret)
        assert kinds(f"| {escaped} |", scan) == [what], what
    examined(len(SHAPES), "shapes of secrets", at_least=10)
