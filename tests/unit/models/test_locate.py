"""Models come from the Hub whole and as they were pushed, or not at all. The client is the real one."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpr import storage
from mpr.errors import DataError, RecipeError
from mpr.models import contract, cross_encoder, late_interaction, locate
from mpr.search.inference import Model
from mpr.storage.manifest import Manifest
from tests.conftest import Examined
from tests.hub_client import Client
from tests.hub_server import HubServer
from tests.unit.encodings import model_folder
from tests.unit.models.test_late_interaction import built
from tests.unit.models.test_pretrained import trap
from tests.unit.scorers import scorer
from tests.unit.tiny_models import tokenizer_of

ROOT = Path(__file__).parents[3]
REPO = "tester/tiny"
STRANGERS = {
    "README.md": b"# A card\n",
    "results.json": b"{}",
    "logs/events.txt": b"text",
    "pytorch_model.bin": b"another form of the weights",
    "modeling.py": b"raise SystemExit",
}
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("pushed") / "model")


@pytest.fixture(scope="module")
def pushed(model: Path) -> Files:
    return {path.relative_to(model).as_posix(): path.read_bytes() for path in model.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture(scope="module")
def client(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with Client(hub.environment(tmp_path_factory.mktemp("cache") / "untouched")) as process:
        yield process


def there(folder: Path) -> list[str]:
    """Everything below, hidden or not."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def asked(hub: HubServer) -> set[str]:
    """Files that were asked for since the last time."""
    paths = {path.split("/", 5)[5] for route, path in hub.requests if route == "resolve"}
    hub.requests.clear()
    return paths


def test_what_is_brought_is_what_was_pushed(
    hub: HubServer, client: Client, model: Path, pushed: Files, tmp_path: Path, examined: Examined
) -> None:
    canary = tmp_path / "canary"
    commit = hub.add(REPO, {**pushed, **STRANGERS, "optimizer.pkl": trap(canary)})
    hub.add(REPO, {"config.json": b"{}"}, title="A later commit, of no interest")
    hub.requests.clear()
    done = client.call("from_hub", REPO, commit, str(tmp_path / "home"))
    folder = tmp_path / "home" / "models" / f"tester--tiny-{commit[:12]}"
    assert (done.value, done.error) == (str(folder), "")
    assert there(tmp_path / "home") == sorted(f"models/{folder.name}/{name}" for name in pushed)
    assert {name: (folder / name).read_bytes() for name in pushed} == pushed  # the manifest too
    assert asked(hub) == set(pushed), "what the manifest does not list is not even asked for"
    assert not canary.exists()
    opened, original = Model.opened(folder), Model.opened(model)
    assert (opened.digest, opened.tokenizer) == (original.digest, original.tokenizer)
    assert storage.read_manifest(folder).kind == contract.KIND == storage.read_manifest(model).kind
    again = client.call("from_hub", REPO, commit, str(tmp_path / "home"), network=False)
    assert (again.value, again.connections, hub.requests) == (str(folder), 0, [])
    examined(len(pushed), "files compared", at_least=9)


def test_teachers_are_brought_too(hub: HubServer, client: Client, tmp_path: Path) -> None:
    """A cross-encoder and a late-interaction model, which labels name; each opens as what it is."""
    late_interaction.write(tmp_path / "tokens", built(tmp_path), tokenizer_of("bert"))
    scorer(tmp_path / "pairs")
    readers = {"tokens": late_interaction.load, "pairs/model": cross_encoder.load}
    for name, load in readers.items():
        files = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        repo = f"tester/{name.split('/')[0]}"
        done = client.call("from_hub", repo, hub.add(repo, files), str(tmp_path / "home"))
        assert done.error == ""
        made, _, _ = load(Path(done.value))
        assert made.state_dict().keys() == load(tmp_path / name)[0].state_dict().keys()


BARS = f"""
import sys
from pathlib import Path
from huggingface_hub.utils import tqdm
from mpr.models import locate
locate.from_hub("{REPO}", sys.argv[1], Path(sys.argv[2]), quiet=sys.argv[3] == "quiet")
print(len(list(tqdm(range(3), desc="ours"))))
"""


@pytest.mark.parametrize("how, to", [("quiet", "terminal"), ("with bars", "terminal"), ("with bars", "file")])
def test_bars_on_a_terminal_unless_quiet(hub: HubServer, pushed: Files, tmp_path: Path, how: str, to: str) -> None:
    """The client counts files on the terminal; its bars for others are what they were before."""
    command = [sys.executable, "-c", BARS, hub.add(REPO, pushed), str(tmp_path / "home"), how]
    environment = hub.environment(tmp_path / "cache")
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    file = open(tmp_path / "log", "w+b")  # noqa: SIM115
    shown = slave if to == "terminal" else file.fileno()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=shown, check=False, cwd=ROOT)
    os.close(slave)
    with open(master, "rb", buffering=0) as screen, file:
        said = screen.read(1 << 16) if to == "terminal" else (tmp_path / "log").read_bytes()
    assert done.stdout == b"3\n", said
    assert (b"Fetching" in said) == (how == "with bars" and to == "terminal")
    assert b"ours" in said


def test_offline_by_the_variable(hub: HubServer, pushed: Files, tmp_path: Path) -> None:
    commit = hub.add(REPO, pushed)
    with Client(hub.environment(tmp_path / "cache", HF_HUB_OFFLINE="1")) as offline:
        said = refused(offline, hub, tmp_path / "home", commit)
        newest = offline.call("from_hub", REPO, None, str(tmp_path), unpinned=True)
    what = "is not on this machine, and the Hub cannot be read: HF_HUB_OFFLINE is set"
    assert said.startswith(f"model: '{REPO}' at {commit} {what} (go online once")
    assert newest.error.startswith(f"model: '{REPO}' at its newest commit {what}")


def test_the_newest_only_where_that_is_allowed(hub: HubServer, client: Client, pushed: Files, tmp_path: Path) -> None:
    commit, home = hub.add(REPO, pushed), str(tmp_path / "home")
    refused = client.call("from_hub", REPO, None, home)
    assert (refused.kind, refused.code) == ("RecipeError", 2)
    assert "is not pinned to a commit" in refused.error
    assert not (tmp_path / "home").exists()
    done = client.call("from_hub", REPO, None, home, unpinned=True)
    assert Path(done.value).name == f"tester--tiny-{commit[:12]}"
    assert done.log == [f"{REPO}: took the newest commit; to get the same model again, say {REPO}@{commit}"]


def test_names() -> None:
    commit = "0123456789abcdef" * 2 + "01234567"
    assert locate.split_name(f"org/model@{commit}") == ("org/model", commit)
    assert locate.split_name("org/model.v1-2_x") == ("org/model.v1-2_x", None)
    for wrong in ("model", "a/b/c", "/a/b", "a/", "../b", "a/..", "a--b/c", "a/b c", "", "@", "runs/x/model"):
        with pytest.raises(RecipeError, match="neither a folder here nor the name of a Hub repository"):
            locate.split_name(wrong)
    for moving in ("main", commit[:12], commit.upper(), f"{commit}0", "refs/pr/1", "../../.."):
        with pytest.raises(RecipeError, match="is no commit: branches and tags move"):
            locate.split_name(f"org/model@{moving}")


def test_located(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is there is meant; otherwise the text must name a repository and one commit."""
    one, other, taken = "1" * 40, "2" * 40, list[tuple[str, str]]()

    def download(name: str, revision: str, target: Path, *more: object) -> None:
        taken.append((name, revision))
        with storage.stage(target, contract.KIND):
            pass

    monkeypatch.setattr(locate, "_download", download)
    (tmp_path / "org" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert locate.model_folder("org/model", tmp_path) == Path("org/model")
    with pytest.raises(RecipeError, match="tested: a folder has no revision"):
        locate.model_folder("org/model", tmp_path, revision=one, key="tested")
    made = [
        locate.model_folder(f"org/model@{one}", tmp_path),
        locate.model_folder("org/other", tmp_path, revision=one),
        locate.model_folder(f"org/other@{one}", tmp_path, revision=one),
    ]
    assert [folder.name for folder in made] == [f"org--{name}-{one[:12]}" for name in ("model", "other", "other")]
    assert taken == [("org/model", one), ("org/other", one)]
    with pytest.raises(RecipeError, match="tested: 'org/other' is pinned to two commits"):
        locate.model_folder(f"org/other@{one}", tmp_path, revision=other, key="tested")
    with pytest.raises(DataError, match="tested: there is no folder 'org/other'"):
        locate.model_folder("org/other", tmp_path, key="tested")  # beside org/model, and not pinned
    with pytest.raises(DataError, match="tested: there is no folder 'no/such/folder'"):
        locate.model_folder("no/such/folder", tmp_path, key="tested")


# ---- refusals


def refused(client: Client, hub: HubServer, home: Path, commit: str, repo: str = REPO, **options: object) -> str:
    """The one error of a call that leaves nothing behind."""
    done = client.call("from_hub", repo, commit, str(home), **options)
    assert done.kind in ("DataError", "StorageError"), done
    assert done.code in (2, 4)
    assert "\n" not in done.error or done.kind == "StorageError", "one problem, one line"
    assert not there(home), "nothing was kept"
    return done.error


def test_what_the_hub_does_not_give(hub: HubServer, client: Client, pushed: Files, tmp_path: Path) -> None:
    commit, missing = hub.add(REPO, pushed), "0" * 40
    hub.add("someone/private", pushed, private=True)
    assert f"{REPO}@{missing} model: there is no such commit" in refused(client, hub, tmp_path, missing)
    for repo in ("tester/none", "someone/private"):
        said = refused(client, hub, tmp_path, commit, repo)
        assert said.startswith(f"{repo}@{commit} model: there is no such repository on the Hub, or it is private")
        assert "set HF_TOKEN" in said
    for status in (401, 403, 500, 503):
        hub.fail("resolve", status, times=99)
        said = refused(client, hub, tmp_path, commit, hurried=True)
        assert str(status) in said, said
        assert REPO in said
        assert commit in said
    hub.failures.clear()


@pytest.mark.parametrize("route, how", [("resolve", "drop"), ("resolve", "cut"), ("tree", "cut"), ("tree", 500)])
def test_a_connection_that_breaks_for_good(
    hub: HubServer, client: Client, pushed: Files, tmp_path: Path, route: str, how: str | int
) -> None:
    """Whatever the client raises at the end of its patience is one error of ours."""
    commit = hub.add(REPO, pushed)
    hub.fail(route, how, times=999)
    said = refused(client, hub, tmp_path, commit, hurried=True)
    hub.failures.clear()
    assert REPO in said
    assert commit in said
    assert client.call("from_hub", REPO, commit, str(tmp_path)).value


def _manifest(files: Files, **changes: object) -> bytes:
    """A true manifest of these files, with something else in it."""
    entries = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    return Manifest(**{"kind": "model", "receipt": {}, "files": entries, **changes}).to_bytes()


def test_repositories_that_are_no_models_of_ours(
    hub: HubServer, client: Client, pushed: Files, tmp_path: Path, examined: Examined
) -> None:
    plain = {name: data for name, data in pushed.items() if name != "manifest.json"}
    weights = {**plain, "pytorch_model.bin": trap(tmp_path / "canary")}
    bare = {name: data for name, data in plain.items() if name != "mpr.json"}
    foreign = "name it as towers.base"
    cases = {
        "none": (plain, "has no manifest.json, so mpr did not write it", foreign),
        "other": ({**plain, "manifest.json": b'{"files": 3}'}, "manifest.json that mpr did not write", foreign),
        "text": ({**plain, "manifest.json": b"not JSON"}, "manifest.json that mpr did not write", foreign),
        "endless": (
            {**plain, "manifest.json": b'{"kind": "model", "files": {"a": {"bytes": Infinity}}}'},
            "manifest.json that mpr did not write",
            foreign,
        ),
        "kind": ({**plain, "manifest.json": _manifest(plain, kind="vectors")}, "kind 'vectors', not a model", foreign),
        "bare": ({**bare, "manifest.json": _manifest(bare)}, "has no mpr.json", foreign),
        "pickle": (
            {**weights, "manifest.json": _manifest(weights)},
            "lists 'pytorch_model.bin' as a part of the model",
            "push the model as mpr wrote it",
        ),
        "contract": (
            {**plain, "mpr.json": b"{}", "manifest.json": _manifest({**plain, "mpr.json": b"{}"})},
            "/mpr.json format: has format",
            "use the version of mpr that wrote it",
        ),
    }
    for name, (files, what, fix) in cases.items():
        commit = hub.add(f"tester/{name}", files)
        hub.requests.clear()
        said = refused(client, hub, tmp_path / "home", commit, f"tester/{name}")
        assert what in said, said
        assert fix in said, said
        assert f"tester/{name}@{commit}" in said
        assert "staging" not in said
        assert not any(path.endswith(".bin") for path in asked(hub))
        if name not in ("contract",):
            assert all("safetensors" not in path for _, path in hub.requests), "refused before the weights are fetched"
    assert not (tmp_path / "canary").exists()
    examined(len(cases), "repositories that hold something else", at_least=7)


def edits(pushed: Files) -> list[tuple[str, Files]]:
    """One byte of each file, each file longer, each file gone."""
    found = []
    for name, data in pushed.items():
        middle = len(data) // 2
        found.append((name, {**pushed, name: data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]}))
        found.append((name, {**pushed, name: data + b"\n"}))
        found.append((name, {other: pushed[other] for other in pushed if other != name}))
    return found


@pytest.mark.parametrize("stride", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_a_repository_that_was_edited(
    hub: HubServer, client: Client, pushed: Files, tmp_path: Path, stride: int, examined: Examined
) -> None:
    """Refused, and the file is named."""
    tried = edits(pushed)[::stride]
    for number, (name, files) in enumerate(tried):
        repo = f"tester/edited-{stride}-{number}"
        commit = hub.add(repo, files)
        said = refused(client, hub, tmp_path / "home", commit, repo)
        assert name in said, said
        assert repo in said
        assert "staging" not in said
    examined(len(tried), "edited repositories", at_least=8)


def test_a_model_that_was_edited_here(hub: HubServer, client: Client, pushed: Files, tmp_path: Path) -> None:
    commit = hub.add(REPO, pushed)
    folder = Path(client.call("from_hub", REPO, commit, str(tmp_path)).value)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    done = client.call("from_hub", REPO, commit, str(tmp_path))
    assert (done.kind, done.code) == ("StorageError", 4)
    assert f"{path}: checksum mismatch" in done.error
    assert "delete the folder" in done.error
    shutil.rmtree(folder)
    assert client.call("from_hub", REPO, commit, str(tmp_path)).value == str(folder)


# ---- killed, and two at once


def killed_at(hub: HubServer, client: Client, number: int, home: Path, commit: str) -> bool:
    """Whether the call was killed by its n-th request; if not, it made fewer."""
    left = number

    def count() -> None:
        nonlocal left
        left -= 1
        if left:
            hub.before.update(resolve=count, tree=count)
        else:
            hub.before.clear()
            client.kill()

    hub.before.update(resolve=count, tree=count)
    done = client.call("from_hub", REPO, commit, str(home))
    hub.before.clear()
    assert done.killed == signal.SIGKILL or done.value
    return bool(done.killed)


@pytest.mark.parametrize("stride", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_while_downloading(
    hub: HubServer, client: Client, pushed: Files, tmp_path: Path, stride: int, examined: Examined
) -> None:
    """At any request: no model is there, and the same command brings it and leaves nothing else."""
    commit, number = hub.add(REPO, pushed), 1
    while killed_at(hub, client, number, home := tmp_path / str(number), commit):
        folder = home / "models" / f"tester--tiny-{commit[:12]}"
        assert not folder.exists()
        assert client.call("from_hub", REPO, commit, str(home)).value == str(folder)
        assert os.listdir(home / "models") == [folder.name]
        storage.verify(folder)
        number += stride
    examined(number // stride, "requests at which the download was killed", at_least=5)


def test_two_at_once(hub: HubServer, client: Client, pushed: Files, tmp_path: Path) -> None:
    """The second waits for the first and takes what it brought."""
    commit, found = hub.add(REPO, pushed), []
    with Client(hub.environment(tmp_path / "cache")) as other:
        assert other.call("model_folder", str(tmp_path), str(tmp_path)).value  # it has started and imported
        hub.fail("tree", 0.5)
        threads = [
            threading.Thread(target=lambda each=each: found.append(each.call("from_hub", REPO, commit, str(tmp_path))))
            for each in (client, other)
        ]
        hub.requests.clear()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    folder = tmp_path / "models" / f"tester--tiny-{commit[:12]}"
    assert [(done.value, done.error) for done in found] == [(str(folder), "")] * 2
    assert sum(route == "tree" for route, _ in hub.requests) == 1
    assert os.listdir(folder.parent) == [folder.name]


# ---- answers that are none


@pytest.mark.parametrize("error", [KeyError("id"), TypeError("no id"), AttributeError("id")])
def test_a_reply_of_the_hub_without_an_id(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def info(self: object, name: str) -> None:
        raise error

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", info)
    with pytest.raises(DataError, match=r"a/b NAME: could not be brought from the Hub: .*id.*; nothing was kept"):
        locate.from_hub("a/b", None, tmp_path, unpinned=True, key="NAME")


# ---- folders that are not there


@pytest.mark.parametrize(
    "name, said",
    [
        ("/no/such", "towers.base: there is no folder '/no/such' (check the path"),
        ("~/no-such-folder", "towers.base: there is no folder '~/no-such-folder' (check the path"),
        ("~", "there is no folder '~' (write it in full: /"),
        ("models/minilm", "(did you mean 'MiniLM'?)"),
        ("models/deep/down", "there is no folder 'models/deep/down' in "),
        ("./minilm", "there is no folder './minilm' in "),
    ],
)
def test_a_missing_folder_is_said_without_asking_the_hub(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "MiniLM").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        locate.refuse_missing_folder(name, "towers.base")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["bert-base-uncased", "org/model", "models/MiniLM", "models", "models/other@" + "1" * 40]
)
def test_what_may_be_on_the_hub_or_is_there_is_let_through(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "MiniLM").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    locate.refuse_missing_folder(name, "towers.base")


@pytest.mark.long
def test_where_the_hubs_address_is_unknown_nothing_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert locate.without_retries() == {}
    monkeypatch.setenv("HF_ENDPOINT", "https://no-such-host.invalid")
    assert locate.without_retries() == {"local_files_only": True}
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # which looks the address up itself
    assert locate.without_retries() == {}
