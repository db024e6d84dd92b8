"""Fault 13: a cache that cannot be written, no network, a cache that was filled half. What is whole and pinned is used;
what is not there is named with its revision and the remedy; nothing is written but where it belongs."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mpr.corpora import Pin
from mpr.data import _download
from mpr.data._fetcher import Fetcher
from mpr.errors import DataError
from mpr.models import weight_files
from tests.conftest import Examined
from tests.hub_client import Client, Done
from tests.hub_server import HubServer
from tests.lying_server import LyingServer
from tests.unit.encodings import model_folder
from tests.unit.tiny_models import published

BASE, MODEL = "tester/base", "tester/model"
ROUTES = ("cut off", "offline")  # no socket connects; HF_HUB_OFFLINE is set
FILES = ("config.json", "model.safetensors", "tokenizer.json")


class Machine:
    """A Hub with an encoder and a model, a cache, a home folder, and a process with or without a network."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cache, self.user = folder, folder / "cache", folder / "user"
        for each in (folder, self.user):
            each.mkdir(exist_ok=True)
            each.chmod(0o755)
        encoder, model = published(folder / "encoder"), model_folder(folder / "model")
        self.digest = weight_files.digest(encoder)
        self.hub = HubServer()
        self.base = self.hub.add(BASE, {name: (encoder / name).read_bytes() for name in FILES})
        files = [path for path in model.rglob("*") if path.is_file()]
        self.model = self.hub.add(MODEL, {path.relative_to(model).as_posix(): path.read_bytes() for path in files})
        preloaded = (
            "mpr.models.pretrained",
            "mpr.data._vocabulary",
            "transformers.models.bert.modeling_bert",
            "tokenizers",
        )
        variables = {"HOME": str(self.user), "TRANSFORMERS_VERBOSITY": "error", "OMP_NUM_THREADS": "1"}
        self.client = Client(self.hub.environment(self.cache, **variables), *preloaded)

    def ask(self, route: str, do: str, *arguments: object) -> Done:
        """As somebody who may not write where this machine forbids it, and without a network."""
        options = {"network": False, "nobody": True, "hurried": True, "offline": route == "offline"}
        return self.client.call(do, *arguments, **options)

    def listing(self) -> dict[str, int]:
        """When what lies here was changed last: the cache, the user's home, what tests made."""
        return {str(path): path.lstat().st_mtime_ns for path in self.folder.rglob("*")}


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="mpr-offline-") as name:
        made = Machine(Path(name))
        with made.hub, made.client:
            assert made.client.call("base", BASE, made.base).value["sha256"] == made.digest
            assert made.client.call("pieces", BASE, made.base).value > 5
            assert made.client.call("from_hub", MODEL, made.model, str(made.folder / "whole")).value
            for path in made.cache.rglob("*.json"):  # the client keeps its notes from other users
                path.chmod(0o644)
            yield made


@pytest.fixture
def sealed(machine: Machine) -> Iterator[Machine]:
    """Nothing below the folder can be written by anybody but root."""
    places = [path for path in (machine.folder, *machine.folder.rglob("*")) if not path.is_symlink()]
    before = {path: path.stat().st_mode for path in places}
    for path, mode in before.items():
        path.chmod((mode | 0o444) & ~0o222)
    yield machine
    for path, mode in before.items():
        path.chmod(mode)


@pytest.mark.parametrize("route", ROUTES)
def test_what_is_whole_is_used(sealed: Machine, route: str, examined: Examined) -> None:
    """From a cache and a home that cannot be written; not one file changes, and the user's home stays empty."""
    before, asked = sealed.listing(), len(sealed.hub.requests)
    base = sealed.ask(route, "base", BASE, sealed.base)
    assert (base.error, base.value["sha256"], base.value["revision"]) == ("", sealed.digest, sealed.base)
    pieces = sealed.ask(route, "pieces", BASE, sealed.base)
    assert pieces.value > 5, pieces
    model = sealed.ask(route, "from_hub", MODEL, sealed.model, str(sealed.folder / "whole"))
    assert Path(model.value).name == f"tester--model-{sealed.model[:12]}"
    assert model.connections == 0, "a model that is there needs no network at all"
    assert sealed.listing() == before
    assert len(sealed.hub.requests) == asked
    assert not list(sealed.user.iterdir())
    examined(len(before), "files and folders that stayed as they were", at_least=20)


@pytest.mark.parametrize("route", ROUTES)
def test_what_is_not_there_is_named(machine: Machine, route: str, tmp_path: Path, examined: Examined) -> None:
    """Artefact, revision and remedy in one line; exit code 2; nothing is left where it would have gone."""
    other, home = "0123456789" * 4, machine.folder / f"none-{route}"
    home.mkdir()
    home.chmod(0o777)
    before = machine.listing()
    cases = [
        ("base", "tester/other", other),
        ("base", BASE, other),
        ("pieces", BASE, other),
        ("from_hub", MODEL, machine.model, str(home)),
        ("from_hub", MODEL, other, str(home)),
        ("model_folder", f"{MODEL}@{machine.model}", str(home)),
    ]
    for case in cases:
        done = machine.ask(route, *case)
        name, revision = case[1].split("@") if "@" in case[1] else case[1:3]
        assert (done.kind, done.code) == ("DataError", 2), done
        assert name in done.error
        assert revision in done.error
        assert "go online once" in done.error
        assert "\n" not in done.error
    left = {path: when for path, when in machine.listing().items() if path not in (str(home), f"{home}/models")}
    assert left == {path: when for path, when in before.items() if path != str(home)}
    assert not [path for path in home.rglob("*") if path.is_file()]
    home.chmod(0o755)
    examined(len(cases), "things that are not there", at_least=6)


@pytest.mark.parametrize("route", ROUTES)
def test_half_a_base_is_refused(machine: Machine, route: str, examined: Examined) -> None:
    """Any of its files may be the one that did not come; what came is not taken for the whole."""
    snapshot = next(machine.cache.glob(f"hub/models--tester--base/snapshots/{machine.base}"))
    for name in FILES:
        link = snapshot / name
        blob, kept = link.resolve(), machine.folder / "kept"
        target = os.readlink(link)
        shutil.move(blob, kept)
        link.unlink()
        done = [machine.ask(route, do, BASE, machine.base) for do in ("base", "pieces")]
        shutil.move(kept, blob)
        link.symlink_to(target)
        refused = [each for each in done if each.kind]
        assert refused, f"{name} is missing and nobody minds"
        for each in refused:
            assert (each.kind, each.code) == ("DataError", 2), each
            assert BASE in each.error
            assert machine.base in each.error
            assert "go online once" in each.error
    assert machine.ask(route, "base", BASE, machine.base).value["sha256"] == machine.digest
    examined(len(FILES), "files that were missing", at_least=3)


@pytest.mark.parametrize("route", ROUTES)
def test_a_tokenizer_alone_is_no_base(machine: Machine, route: str) -> None:
    """`mpr data` needs no more of an encoder, so this is what a machine has that went offline after it."""
    commit = machine.hub.add(BASE, {"README.md": route.encode()})
    assert machine.client.call("pieces", BASE, commit).value > 5
    done = machine.ask(route, "base", BASE, commit)
    assert (done.kind, done.code) == ("DataError", 2), done
    assert f"'{BASE}' at {commit} is on this machine only in part" in done.error
    assert "go online once" in done.error


def test_half_a_model_is_no_model(machine: Machine, examined: Examined) -> None:
    """Killed while it was brought, with files in the stage; then offline, then online again."""
    home, count = machine.folder / "half", 0

    def kill_at_the_weights() -> None:
        nonlocal count
        count += 1
        if count == 12:
            machine.client.kill()
        else:
            machine.hub.before["resolve"] = kill_at_the_weights

    machine.hub.before["resolve"] = kill_at_the_weights
    assert machine.client.call("from_hub", MODEL, machine.model, str(home)).killed
    (staging,) = (home / "models").glob(".*.staging")
    debris = [path for path in staging.rglob("*.json") if ".cache" not in path.parts]
    for path in (home, *home.rglob("*")):
        path.chmod(0o777)
    for route in ROUTES:
        done = machine.ask(route, "from_hub", MODEL, machine.model, str(home))
        assert "is not on this machine" in done.error, done
        assert machine.model in done.error
        assert not [path for path in home.rglob("*") if path.is_file()], "the debris is gone, and nothing came"
    folder = Path(machine.client.call("from_hub", MODEL, machine.model, str(home)).value)
    assert os.listdir(home / "models") == [folder.name]
    examined(len(debris), "files in the stage of the killed process", at_least=1)


@pytest.mark.long
def test_files_that_are_here_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Examined) -> None:
    """Downloads, members of archives and plain files of the Hub, with every server gone; what is missing is named."""
    monkeypatch.setattr(_download, "_PAUSE", 0.0)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("sets/c.tsv", b"c")
    with LyingServer(made.getvalue(), b"") as server, HubServer() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.setenv("HF_TOKEN", hub.token)
        commit = hub.add("datasets/tester/wiki", {"b.tsv": b"b"})
        bundle = Pin("all.zip", f"{server.endpoint}/all.zip", md5=hashlib.md5(made.getvalue()).hexdigest())
        member = Pin("c.tsv", archive=bundle, inside="sets/c.tsv")
        pins = [bundle, Pin("b.tsv", repo="tester/wiki", revision=commit), member]
        found = [Fetcher(tmp_path, draft=False, quiet=True)(pin) for pin in pins]
    for offline in (False, True):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
        assert [Fetcher(tmp_path, draft=False, quiet=True)(pin) for pin in pins] == found
        for pin in (replace(bundle, url=f"{bundle.url}?2"), replace(pins[1], inside="d.tsv")):
            with pytest.raises(DataError) as refused:
                Fetcher(tmp_path, draft=False, quiet=True)(pin)
            assert "bring the file and say --set data.corpus.folder=FOLDER" in str(refused.value)
            reason = "HF_HUB_OFFLINE is set" if offline and pin.repo else "Connection refused"
            assert reason in str(refused.value)
    examined(2 * (len(pins) + 2), "files without a network", at_least=10)
