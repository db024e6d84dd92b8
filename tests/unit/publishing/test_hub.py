"""A push is one commit or nothing, with the real client against a Hub on the loopback that fails in every way."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from mpr.errors import DataError, Interrupted, MprError, RecipeError
from mpr.publishing import hub
from mpr.publishing.publication import CARD, File, Publication, PushOptions
from tests.conftest import Examined
from tests.hub_login import logged_in
from tests.hub_server import HubServer

REPO = "tester/small"
CARD_TEXT = b"---\nlibrary_name: sentence-transformers\n---\n# A card\n"
FILES = {"config.json": b"{}", "model.safetensors": b"\0\1" * 50_000, "rankings/test/run.trec": b"q 0 p 1 2 x\n"}


def publication(files: dict[str, bytes] = FILES, repo: str = REPO, kind: str = "model") -> Publication:
    listed = tuple(File(name, data) for name, data in {**files, CARD: CARD_TEXT}.items())
    return Publication(repo, kind, "a title", listed)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with logged_in(monkeypatch) as found:
        yield found


def refused(made: Publication, kind: type[MprError] = DataError, **options: bool) -> str:
    with pytest.raises(kind) as caught:
        hub.push(made, **options)
    return str(caught.value)


def theirs(server: HubServer, name: str = REPO, revision: str = "main") -> dict[str, bytes]:
    return {name: data for name, data in server.repos[name].files(revision).items() if name != ".gitattributes"}


def test_one_commit_with_everything(server: HubServer, examined: Examined) -> None:
    pushed = hub.push(publication())
    repo = server.repos[REPO]
    assert theirs(server) == {**FILES, CARD: CARD_TEXT}
    assert len(repo.history()) == 2
    assert (pushed.commit, pushed.changed, pushed.removed) == (repo.head, True, ())
    assert repo.commits[repo.head].title == "a title"
    assert [route for route, _ in server.requests].count("commit") == 1
    assert not repo.private
    examined(len(FILES) + 1, "files", at_least=4)


def test_again_changes_nothing(server: HubServer) -> None:
    first = hub.push(publication())
    again = hub.push(publication())
    assert (again.commit, again.changed) == (first.commit, False)
    assert len(server.repos[REPO].history()) == 2
    changed = hub.push(publication({**FILES, "config.json": b"[]"}))
    assert changed.changed
    assert theirs(server)["config.json"] == b"[]"


def test_files_of_an_earlier_push_go_and_those_of_others_stay(server: HubServer) -> None:
    server.add(
        REPO, {"adapter_config.json": b"{}", "rankings/old/run.trec": b"", "LICENSE": b"mine", "onnx/model.onnx": b""}
    )
    pushed = hub.push(publication())
    assert pushed.removed == ("adapter_config.json", "rankings/old/run.trec")
    assert set(theirs(server)) == {*FILES, CARD, "LICENSE", "onnx/model.onnx"}
    assert len(server.repos[REPO].history()) == 3


def test_privacy(server: HubServer) -> None:
    hub.push(publication(), private=True)
    assert server.repos[REPO].private
    hub.push(publication({"config.json": b"1"}), private=True)
    server.add("tester/open", {})
    assert "everybody can see it, and --private was asked for" in refused(publication(repo="tester/open"), private=True)
    assert theirs(server, "tester/open") == {}
    draft = replace(publication(), reasons=("it is one",))
    server.requests.clear()
    assert "drafts are not for everybody" in refused(draft, RecipeError)
    assert server.requests == []
    assert hub.push(draft, private=True).changed


def test_a_pull_request_leaves_the_branch(server: HubServer) -> None:
    before = server.add(REPO, {"config.json": b"old"})
    pushed = hub.push(publication(), create_pr=True)
    assert pushed.request == f"{server.endpoint}/{REPO}/discussions/1"
    assert server.repos[REPO].head == before
    assert theirs(server, revision="refs/pr/1") == {**FILES, CARD: CARD_TEXT}
    server.fail("commit", "drop")
    said = refused(publication({"config.json": b"new"}), Interrupted, create_pr=True)
    assert "see whether a pull request was opened" in said


@pytest.mark.parametrize("token, says", [
    ("hf_" + "wrong" * 7, "does not accept this machine's token"),
    (HubServer.read_token, "this token may not write to it"),
    ("", "is not logged in"),
])  # fmt: skip
def test_who_may_not(
    server: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, token: str, says: str, examined: Examined
) -> None:
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    before, tried = server.add(REPO, {"config.json": b"old"}), 0
    monkeypatch.setenv("HF_TOKEN", token)
    for made in (publication(), publication(repo="tester/new"), publication(repo="other/new")):
        said = refused(made)
        assert says in said
        assert not token or token not in said
        tried += 1
    assert server.repos[REPO].head == before
    assert list(server.repos) == [REPO]
    examined(tried, "pushes", at_least=3)


def test_another_owner(server: HubServer) -> None:
    server.add("other/theirs", {"config.json": b"old"})
    assert "this token may not write to it" in refused(publication(repo="other/theirs"))
    server.add("other/hidden", {}, private=True)
    assert "this token may not write to it" in refused(publication(repo="other/hidden"))


def test_somebody_else_commits_in_the_meantime(server: HubServer) -> None:
    server.add(REPO, {"config.json": b"old"})
    server.before["commit"] = lambda: server.add(REPO, {"LICENSE": b"theirs"})
    assert "somebody else committed to it in the meantime" in refused(publication())
    assert theirs(server) == {"config.json": b"old", "LICENSE": b"theirs"}


@pytest.mark.parametrize("how", ["drop", 503, 500, 429, "drop after"])
def test_a_network_that_breaks_once(server: HubServer, how: str | int) -> None:
    """The push says to run it again, which sends it if it did not arrive, and sends nothing if it did."""
    before = server.add(REPO, {"config.json": b"old"})
    server.fail("commit", how)
    said = refused(publication(), Interrupted)
    assert "run the same command again: what has arrived is not sent twice" in said
    arrived = how == "drop after"
    assert theirs(server) == ({**FILES, CARD: CARD_TEXT} if arrived else {"config.json": b"old"})
    assert (server.repos[REPO].head != before) == arrived
    again = hub.push(publication())
    assert (again.commit, again.changed) == (server.repos[REPO].head, not arrived)
    assert theirs(server) == {**FILES, CARD: CARD_TEXT}
    assert len(server.repos[REPO].history()) == 3
    assert [route for route, _ in server.requests].count("commit") == (1 if arrived else 2)


@pytest.mark.parametrize("how", ["drop", "drop after"])
def test_a_network_that_breaks_while_another_commits(server: HubServer, how: str) -> None:
    """What another wrote in the meantime stays, whether or not the push had arrived."""
    server.add(REPO, {"config.json": b"old"})
    server.fail("commit", how)
    refused(publication(), Interrupted)
    server.add(REPO, {"x": b"theirs"})
    server.before["commit"] = lambda: server.add(REPO, {"LICENSE": b"theirs"})
    if how == "drop":
        assert "somebody else committed to it in the meantime" in refused(publication())
    assert hub.push(publication()).changed == (how == "drop")
    wanted = {**FILES, CARD: CARD_TEXT, "x": b"theirs"}
    assert theirs(server) == (wanted | {"LICENSE": b"theirs"} if how == "drop" else wanted)


@pytest.mark.parametrize("how", ["drop", 503])
def test_a_network_that_stays_broken(server: HubServer, how: str | int) -> None:
    before = server.add(REPO, {"config.json": b"old"})
    server.fail("commit", how, times=99)
    with pytest.raises(Interrupted) as caught:
        hub.push(publication())
    assert caught.value.exit_code == 75
    assert "could not be reached to the end" in str(caught.value)
    assert "run the same command again" in str(caught.value)
    assert server.repos[REPO].head == before
    assert theirs(server) == {"config.json": b"old"}
    server.failures.clear()
    assert hub.push(publication()).changed


def test_no_hub_at_all(monkeypatch: pytest.MonkeyPatch, server: HubServer) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "could not be reached" in refused(publication(), Interrupted)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in refused(publication())


PUSH = """
import sys
from tests.unit.publishing.test_hub import publication
from mpr.publishing import hub
print("sending", flush=True)
hub.push(publication())
print("sent")
"""


def test_killed_while_it_sends(server: HubServer, tmp_path: Path) -> None:
    """The process dies with half of the commit on the wire: the repository is what it was, and the next succeeds."""
    before = server.add(REPO, {"config.json": b"old"})
    root = Path(hub.__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", PUSH], cwd=root, env=server.environment(tmp_path),
                               stdout=subprocess.PIPE, text=True)  # fmt: skip
    server.fail("commit", lambda: os.kill(process.pid, signal.SIGKILL))
    said, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert said == "sending\n"
    assert ("commit", f"/api/models/{REPO}/commit/main") in server.requests
    assert server.repos[REPO].head == before
    assert hub.push(publication()).changed
    assert theirs(server) == {**FILES, CARD: CARD_TEXT}


def test_a_card_that_the_hub_refuses(server: HubServer) -> None:
    made = publication()
    bad = tuple(replace(file, source=b"---\nlicense: [1]\n---\n") if file.name == CARD else file for file in made.files)
    assert "the Hub refused the commit" in refused(replace(made, files=bad))
    assert theirs(server) == {}


def test_a_file_that_changes_after_it_was_read(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b"one")
    file = File("config.json", path)
    monkeypatch.setattr(File, "sha256", "0" * 64)
    assert "changed while it was pushed" in refused(Publication(REPO, "model", "", (file,)))
    assert REPO not in server.repos


def test_data_sets(server: HubServer) -> None:
    server.add("datasets/tester/small-vectors", {"vectors/old/rows.bin": b"", "notes.txt": b""})
    files = {"vectors/corpus/manifest.json": b"{}", "vectors/corpus/00000/rows.bin": b"1234"}
    pushed = hub.push(publication(files, "tester/small-vectors", "dataset"))
    assert theirs(server, "datasets/tester/small-vectors") == {**files, CARD: CARD_TEXT, "notes.txt": b""}
    assert pushed.removed == ("vectors/old/rows.bin",)
    assert REPO not in server.repos


def test_two_revisions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="two revisions were given"):
        hub.pull(f"a/b@{'0' * 40}", "1" * 40, tmp_path, None, True)


def test_a_folder_of_the_users_is_never_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is downloaded, and no advice would delete it."""
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "notes.txt"
    for to, better in ((Path(), "such as b"), (Path("/"), "such as /b"), (file, f"such as {tmp_path}/b")):
        with pytest.raises(DataError) as caught:
            hub.pull(f"a/b@{'0' * 40}", None, tmp_path / "home", to, True)
        assert better in str(caught.value)
        assert not re.search("remove|delete|move", str(caught.value)), str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_base_without_adapters_to_add_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="--base: a base is needed where adapters are added"):
        hub.publications(PushOptions(tmp_path, "a/b", base=tmp_path))
