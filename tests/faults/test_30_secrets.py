"""Fault 30: secrets and strangers. Canaries are planted in the environment and in every file; none of them leaves.

Everything that reaches the Hub of the test, accepted or not, is searched for them: headers aside, every byte of every
request, plain and base64.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from mpr import storage
from mpr.models import contract
from mpr.publishing import _card, _secret_scan
from mpr.publishing._card import Facts
from mpr.recipe import read as recipe_file
from mpr.rows.result import Result
from tests import published
from tests.conftest import Examined
from tests.hub_server import HubServer
from tests.unit.publishing.test_hub import theirs

REPO = "tester/small"
USER, HOST = "anabrel", "teith7"
CANARIES = {  # kind -> the thing; put together here, so that this file holds no secret's shape
    "a token of the Hugging Face Hub": "hf" + "_" + "c4N4ry" * 6,
    "an AWS access key": "AKIA" + "C4N4RY77" * 2,
    "a private key": "-----BEGIN " + "OPENSSH PRIVATE KEY-----",
    "a password in an address": "https://me:" + "c4n4ry" + "@example.org",
    "the value of the environment variable SERVICE_API_KEY": "c4n4ry-of-the-key",
    "the value of the environment variable DB_PASSWORD": "c4n4ry of the password",
    "the value of the environment variable CANARY_SECRET": 'c4n4ry "of" the secret',
    "the value of the environment variable OTHER_TOKEN": "c4n4ry-of-the-token",
    "the path of the home folder": f"/home/{USER}/models",
    "the name of the user": f"made by {USER}",
    "the name of the host": f"on {HOST}.ostrand.example",
}
WORDS = ("tokenizer.json", "model.safetensors", "rankings/test/run.trec")  # any word is there by chance
STRANGERS = (
    "optimizer.pt", "training_args.bin", "scheduler.pt", "trainer_state.json", "events.log", ".env", "notes.md",
    "checkpoints/9/optimizer.pt", "receipts/notes.json", "scores/test.bak/scores.arrow", "wandb/run.json",
)  # fmt: skip


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(Path, "home", lambda: Path(f"/home/{USER}"))
    monkeypatch.setattr(_secret_scan.getpass, "getuser", lambda: USER)
    monkeypatch.setattr(socket, "gethostname", lambda: f"{HOST}.ostrand.example")
    for kind, value in CANARIES.items():
        if kind.startswith("the value of"):
            monkeypatch.setenv(kind.rpartition(" ")[2], value)
    with HubServer() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.endpoint)
        monkeypatch.setenv("HF_TOKEN", found.token)
        yield found


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return published.copied(tmp_path / "in")


def sent(server: HubServer) -> bytes:
    """Everything that arrived, with what was packed in it."""
    whole = []
    for body in server.bodies:
        whole.append(body)
        for packed in re.findall(rb'"(?:content|sample)": ?"([A-Za-z0-9+/=]*)"', body):
            data = base64.b64decode(packed)
            whole.append(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    return b"\n".join(whole)


def _remade(run: Path, file: str, change: Any, receipt: str = "") -> None:
    """The model folder with one file changed, committed again, and a result that was measured with it."""
    manifest = storage.read_manifest(run / "model")
    with storage.stage(run / "again", "model", {**manifest.receipt, "note": receipt}) as stage:
        for name in manifest.files:
            data = (run / "model" / name).read_bytes()
            stage.write(name, change(data) if name == file else data)
    shutil.rmtree(run / "model")
    (run / "again").rename(run / "model")
    digest = storage.read_manifest(run / "model").digest
    published.resealed(run, lambda document: document["model"].__setitem__("digest", digest))


def _planted_json(data: bytes, text: str) -> bytes:
    return json.dumps(json.loads(data) | {"note": text}, ensure_ascii=False).encode()


@pytest.mark.long
def test_every_canary_in_every_file(
    server: HubServer, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], examined: Examined
) -> None:
    """Each is found where it stands, said by kind and file, never shown; and nothing at all is sent."""
    tried, kept = 0, tmp_path / "kept"
    shutil.copytree(run, kept)
    for name, plant in places(run).items():
        for kind, canary in CANARIES.items():
            if kind.startswith("the name of") and name in WORDS:
                continue
            shutil.rmtree(run)
            shutil.copytree(kept, run)
            plant(canary)
            published.said("push", run, REPO, *(["--dry-run"] if tried % 2 else ["--quiet"]), code=2)
            said = "".join(capsys.readouterr())
            assert f"{name}: holds {kind}; nothing was pushed" in said, (name, kind, said)
            assert canary not in said
            tried += 1
    assert server.requests == []
    assert sent(server) == b""
    examined(tried, "canaries in files", at_least=80)


def places(run: Path) -> dict[str, Any]:
    """Name in the repository -> how to plant a text in what becomes that file, every seal renewed."""

    def recipe(text: str) -> None:
        path = run / "recipe" / "small.yaml"
        path.write_text(path.read_text("utf-8") + f"# {text}\n", "utf-8")

    def right(text: str) -> None:
        published.resealed(run, lambda document: document["scores"]["test"].__setitem__("right", text))

    def curve(text: str) -> None:
        published.resealed(run, lambda document: document["curve"].append({"step": 1, "loss": text}))

    found: dict[str, Any] = {"recipe.yaml": recipe, "result.json": curve, "README.md": right}
    found["manifest.json"] = lambda text: _remade(run, "", None, text)
    for name in ("config.json", "tokenizer.json"):
        found[name] = lambda text, name=name: _remade(run, name, lambda data: _planted_json(data, text))
    found["model.safetensors"] = lambda text: _remade(run, "model.safetensors", lambda data: data + text.encode())
    found["rankings/test/run.trec"] = lambda text: _ranked(run, text)
    return found


def _ranked(run: Path, text: str) -> None:
    """A run with a stranger's text in its tag, scored and all."""
    for folder, change in (("rankings", text), ("scores", "")):
        place = run / folder / "test"
        manifest = storage.read_manifest(place)
        receipt = dict(manifest.receipt)
        if folder == "scores":
            receipt["receipt"] = {"ranking": storage.read_manifest(run / "rankings" / "test").digest}
        with storage.stage(run / "again", manifest.kind, receipt) as stage:
            for name in manifest.files:
                stage.write(name, (place / name).read_bytes() + change.encode())
        shutil.rmtree(place)
        (run / "again").rename(place)
    digest = storage.read_manifest(run / "scores" / "test").digest
    published.resealed(run, lambda document: document["scores"]["test"].__setitem__("digest", digest))


def test_nothing_of_this_machine_in_a_sound_push(server: HubServer, run: Path, examined: Examined) -> None:
    """With all canaries in the environment, strangers in the folder, and an owner who is the user."""
    for name in STRANGERS:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("".join(CANARIES.values()), "utf-8")
    shutil.rmtree(run / "receipts")
    published.said("push", run, REPO, "--quiet")
    names = set(theirs(server))
    assert not {name for name in names if name.rpartition("/")[2] in {place.rpartition("/")[2] for place in STRANGERS}}
    assert not {name for name in names if name.endswith((".bin", ".pt", ".pth", ".log", ".arrow", ".jsonl"))}
    whole = sent(server)
    assert b"Ostrand" not in whole
    assert b'"library_name"' in whole or b"library_name" in whole
    for word in (*CANARIES.values(), USER, HOST, server.token, str(run), str(run.parent), os.environ["HF_TOKEN"]):
        assert word.encode() not in whole, word
    assert "run.json" not in names
    examined(len(CANARIES) + 6, f"words in {len(whole):,} bytes that were sent", at_least=15)


def test_the_search_of_what_was_sent_can_find(server: HubServer, run: Path) -> None:
    """The same with a guard that is off: what it would have kept is on the wire."""
    text = CANARIES["the value of the environment variable OTHER_TOKEN"]
    recipe = run / "recipe" / "small.yaml"
    recipe.write_text(recipe.read_text("utf-8") + f"# {text}\n", "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mpr.publishing.publication.Publication.refuse_secrets", lambda self, scan: None)
        published.said("push", run, REPO, "--quiet")
    assert text.encode() in sent(server)


def test_a_name_that_may_be_told(server: HubServer, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published.resealed(run, lambda document: document["scores"]["test"].__setitem__("right", f"as {USER} says"))
    published.said("push", run, REPO, code=2)
    assert "--public NAME" in capsys.readouterr().err
    published.said("push", run, REPO, "--public", USER)
    server.create(f"{USER}/small")
    published.said("push", run, f"{USER}/small", "--dry-run")


PUSH = """
import sys
from mpr import cli
print("pushing", flush=True)
cli.main(sys.argv[1:])
"""


def test_cut_in_the_middle(
    server: HubServer, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Examined
) -> None:
    """Killed, and hung up on, at each request of a push in turn: the repository stands where it stood."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between the attempts of ours and of the client
    before = server.add(REPO, {"config.json": b"old", "LICENSE": b"mine"})
    stood = dict(server.repos[REPO].files())
    cuts = 0
    for route in ("info", "tree", "validate", "preupload", "commit"):
        server.fail(route, "drop", times=99)
        published.said("push", run, REPO, "--quiet", code=75)
        server.failures.clear()
        assert server.repos[REPO].head == before
        cuts += 1
    environment = server.environment(tmp_path / "cache")
    process = subprocess.Popen([sys.executable, "-c", PUSH, "push", str(run), REPO, "--quiet"], cwd=published.ROOT,
                               env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    server.fail("commit", lambda: os.kill(process.pid, signal.SIGKILL))
    out, _ = process.communicate(timeout=100)
    assert (process.returncode, out) == (-signal.SIGKILL, "pushing\n")
    assert server.repos[REPO].head == before
    assert server.repos[REPO].files() == stood
    published.said("push", run, REPO, "--quiet")
    assert set(theirs(server)) > {"LICENSE", "result.json", "README.md"}
    assert len(server.repos[REPO].history()) == 3
    examined(cuts + 1, "cuts", at_least=6)


def test_the_card_is_rendered_from_receipts_and_compared_whole(
    server: HubServer, run: Path, examined: Examined
) -> None:
    """From nothing but what was pushed, the same card comes out; with any number of the result changed, another."""
    published.said("push", run, REPO, "--quiet")
    there = run.parent / "there"
    for name, data in theirs(server).items():
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).write_bytes(data)
    read = recipe_file.load(there / "recipe.yaml")
    card = (there / "README.md").read_text("utf-8")

    def rendered() -> str:
        return _card.render(Facts(REPO, Result.of_run(there), contract.read(there), read))

    assert rendered() == card
    original, changed = (there / "result.json").read_bytes(), 0
    measures = json.loads(original)["scores"]["test"]["measures"]
    for measure in measures:
        published.resealed(there, lambda d, m=measure: d["scores"]["test"]["measures"][m].__setitem__("mean", 0.12345))
        assert "12.35" in rendered() or "12.34" in rendered()
        assert rendered() != card
        published.resealed(there, lambda d, m=measure: d["scores"]["test"]["measures"][m].__setitem__("questions", 19))
        assert rendered() != card
        (there / "result.json").write_bytes(original)
        changed += 2
    for change in (
        lambda d: d.__setitem__("seed", 43),
        lambda d: d["stages"]["train"]["cost"].__setitem__("seconds", 99.5),
        lambda d: d["environment"]["code"].__setitem__("commit", "0" * 40),
        lambda d: d["model"].__setitem__("digest", "0" * 64),
        lambda d: d["recipe"].__setitem__("digest", "0" * 64),
    ):
        published.resealed(there, change)
        assert rendered() != card
        (there / "result.json").write_bytes(original)
        changed += 1
    assert rendered() == card
    examined(changed, "changed receipts, each another card", at_least=20)
