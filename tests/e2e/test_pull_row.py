"""`mpr pull ROW`: the name of a row stands for the commit that the leaderboard was built with, and for that model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mpr import storage
from mpr.publishing import _board
from mpr.publishing._board import document, signed
from tests import published
from tests.conftest import Examined
from tests.hub_login import reading
from tests.hub_server import HubServer

REPO, ROW = "tester/small", "small"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    with reading(monkeypatch, tmp_path / "cache") as found:
        yield found


class Tree:
    """A source tree with one measured row, whose model is on the Hub, and a second row that nobody ran."""

    def __init__(self, folder: Path, server: HubServer) -> None:
        self.root, self.home, self.run = folder / "tree", folder / "home", published.copied(folder / "here")
        (self.root / "recipes").mkdir(parents=True)
        for name in (ROW, "never_run"):
            shutil.copyfile(self.run / "recipe" / "small.yaml", self.root / "recipes" / f"{name}.yaml")
        published.said("push", self.run, REPO)
        self.commit = server.repos[REPO].head

    @property
    def link(self) -> Path:
        return self.root / _board.FOLDER / "results" / ROW / "checkpoint.json"

    def add(self, *more: object) -> None:
        published.said("leaderboard", "add", self.run, "--root", self.root, *more)

    def build(self) -> None:
        published.said("leaderboard", "build", "--root", self.root)

    def pull(self, *words: object, code: int = 0) -> None:
        published.said("pull", *words, "--root", self.root, "--home", self.home, "--quiet", code=code)


def rewritten(path: Path, **changes: Any) -> None:
    """Edits a small file of the leaderboard, and signs it anew."""
    found = {name: value for name, value in json.loads(path.read_bytes()).items() if name != "digest"}
    path.write_bytes(document(signed(found | changes)))


def test_a_row_stands_for_its_commit(
    server: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], examined: Examined
) -> None:
    tree = Tree(tmp_path, server)
    tree.add("--checkpoint", f"{REPO}@{tree.commit}")
    tree.build()
    server.add(REPO, {"README.md": b"a later commit"})
    assert server.repos[REPO].head != tree.commit
    server.requests.clear()
    tree.pull(ROW, "--to", tmp_path / "mine")
    assert f"row {ROW}: {REPO}@{tree.commit}\nmodel: {tmp_path / 'mine'}\n" in capsys.readouterr().out
    assert storage.verify(tmp_path / "mine", "model") == storage.verify(tree.run / "model", "model")
    fetched = [path for route, path in server.requests if route == "resolve"]
    assert {path.split("/resolve/")[0] for path in fetched} == {f"/{REPO}"}
    assert {path.split("/resolve/")[1].split("/")[0] for path in fetched} == {tree.commit}
    examined(len(fetched), "files asked for at the commit of the row", at_least=5)


def test_refusals(server: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], examined: Examined) -> None:
    """Each names what is wrong and is made right before the next; nothing comes from the Hub on the way."""
    tree, tried = Tree(tmp_path, server), 0

    def refused(says: str, *words: object, name: str = ROW) -> None:
        nonlocal tried
        tree.pull(name, *words, code=2)
        told = capsys.readouterr().err
        assert says in told, told
        tried += 1

    server.requests.clear()
    refused("there is no leaderboard here to look a row up in")
    tree.add()
    tree.build()
    refused(f"row '{ROW}' has no published checkpoint (make the model with `mpr reproduce recipes/{ROW}.yaml`)")
    refused("row 'never_run' has no published checkpoint", name="never_run")
    refused("'smal' is neither a row of the leaderboard nor a repository (did you mean", name="smal")
    tree.add("--checkpoint", f"{REPO}@{tree.commit}")
    refused("is no part of the leaderboard as it was built")
    tree.build()
    refused("the leaderboard says which commit a row is at", "--revision", tree.commit)
    whole = tree.link.read_bytes()
    tree.link.write_bytes(whole.replace(tree.commit.encode(), b"0" * 40))
    refused("is not what the leaderboard was built from")
    rewritten(tree.link, revision="0" * 40)
    refused("is not what the leaderboard was built from")
    rewritten(tree.link, revision="main")
    tree.build()
    refused("is no link to a model of this row")
    assert server.requests == []
    rewritten(tree.link, revision="0" * 40)
    tree.build()
    refused("there is no such commit")
    tree.link.write_bytes(whole)
    result = tree.link.with_name("trained-seed42.json")
    changed = json.loads(result.read_bytes())
    rewritten(result, model=changed["model"] | {"digest": "0" * 64})
    tree.build()
    refused("is another model than the one that was measured")
    examined(tried, "refusals", at_least=11)
