"""Engines: which there are, what travels to another machine, and what is refused before any work is given out."""

from __future__ import annotations

import os
import pickle
import socket
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mpr import catalogue, engines, storage
from mpr.engines import ray
from mpr.errors import MprError
from mpr.runtime.processes import ONE_PROCESS, Group, Place
from mpr.runtime.progress import silent
from mpr.search import encode
from mpr.search.search import Parts
from mpr.search.vectors import VectorStore
from tests.conftest import Examined
from tests.unit.encodings import sums, task
from tests.unit.grounds import invented, mining, source


class Several(Group):
    """Who works with others, each of them another object that was pickled: as in a cluster, one after the other."""

    workers = 3
    is_fixed = False

    def __init__(self) -> None:
        super().__init__(Place())
        self.sizes = list[int]()

    def share(self, units: Any) -> Any:
        return units

    def map(self, job: Any, units: Any, progress: Any = silent) -> Any:
        travelling = pickle.dumps(job)
        self.sizes.append(len(travelling))
        for unit in reversed(units):
            yield pickle.loads(travelling)(unit, progress)


def test_the_catalogue() -> None:
    assert catalogue.names("engines") == ("local", "ray")
    with engines.opened("local") as group:
        assert group is ONE_PROCESS
    with pytest.raises(MprError, match=r"unknown name 'rai' in engines .*did you mean 'ray'\?"):
        engines.opened("rai")


def test_encoding_travels(tmp_path: Path) -> None:
    made, group = task(tmp_path), Several()
    expected = sums(encode.run(made, tmp_path / "alone").folder)
    assert sums(encode.run(made, tmp_path / "several", group).folder) == expected
    assert len(group.sizes) == 1


def test_mining_travels_without_what_was_opened(tmp_path: Path, examined: Examined) -> None:
    stood, group = invented(tmp_path), Several()
    bm25 = {"depth": 20, "k1": 0.9, "b": 0.4, "title": True, "stopwords": "english", "stemmer": "english"}
    expected = mining(source(stood, "bm25", **bm25), tmp_path / "alone").done().manifest.digest
    found = mining(source(replace(stood, group=group), "bm25", **bm25), tmp_path / "several")
    assert found.done().manifest.digest == expected
    assert group.sizes[0] < 10_000, "stores travel as their folders, the index not at all"
    examined(group.sizes[0], "bytes")


def test_mining_goes_on_in_the_chunks_that_were_begun(tmp_path: Path) -> None:
    """A cluster of another size would cut the questions otherwise, and throw away what is done."""
    stood = invented(tmp_path)
    begun = mining(source(replace(stood, group=Several()), "random", depth=20, seed=1), tmp_path / "begun")
    begun._parts(7)[0].mkdir(parents=True)
    assert begun._chunk() == 7
    fresh = mining(begun.source, tmp_path / "fresh")
    assert fresh._chunk() == -(-len(stood.questions) // 12), "three workers, four turns each"


def test_search_in_parts_is_search(tmp_path: Path, examined: Examined) -> None:
    store = encode.run(task(tmp_path), tmp_path / "store")
    queries_QW, told = store.by_row()[:9] + np.float32(0.25), list[int]()
    whole = Parts.search(store, queries_QW, 7, ONE_PROCESS, budget_bytes=1 << 28)
    group = Several()
    parts = Parts.search(VectorStore(store.folder), queries_QW, 7, group, budget_bytes=1 << 28, progress=told.append)
    np.testing.assert_array_equal(parts.rows_QK, whole.rows_QK)
    np.testing.assert_array_equal(parts.scores_QK, whole.scores_QK)
    assert sum(told) == 9
    examined(len(store.shards), "parts", at_least=6)


# Refusals before the first unit


def refused(*words: Any) -> str:
    with pytest.raises(MprError) as caught, engines.opened(*words):
        raise AssertionError("opened")
    return str(caught.value)


def test_refusals(monkeypatch: pytest.MonkeyPatch, examined: Examined) -> None:
    assert "processes of a launch have no address" in refused("local", "127.0.0.1:6379")
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "Ray is not installed (pip install 'mpr-retrieval[ray]'" in refused("ray")
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace())
    for address in ("ray://127.0.0.1:10001", "127.0.0.1", "127.0.0.1:port"):
        assert "is no address of a cluster" in refused("ray", address)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        said = refused("ray", address)
    assert f"--engine-address: no cluster answers at {address}: " in said
    assert "ray start --head" in said
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "a cluster is given its work by one process" in refused("ray")
    examined(7, "refusals")


# What a process of the cluster must be like


@pytest.fixture
def about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What one is told that is like this process, and sees what it sees; the settings of this one stay."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.chdir(tmp_path)
    seen = tmp_path / ".mpr-engine"
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with storage.lock(seen):
            held.set()
            let_go.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    yield {**ray._about([str(seen)]), "threads": 1}
    let_go.set()
    holder.join()


def test_one_that_is_like_this_becomes_it(about: Any, tmp_path: Path, one_thread: None) -> None:
    (tmp_path / "deeper").mkdir()
    os.chdir(tmp_path / "deeper")
    ray._become({**about, "settings": {"TOKENIZERS_PARALLELISM": "maybe"}})
    assert Path.cwd() == tmp_path
    assert os.environ["TOKENIZERS_PARALLELISM"] == "maybe"


def test_one_that_is_not_is_refused(about: Any, tmp_path: Path, examined: Examined) -> None:
    here, free = socket.gethostname(), tmp_path / ".free"
    free.touch()
    packages = {**about["same"]["packages"], "numpy": "1.0"}
    other = {
        f"machine {here} has another version of mpr: '": {"same": {**about["same"], "mpr": "9.9"}},
        f"machine {here} has another code of mpr: '": {"same": {**about["same"], "code": "0" * 64}},
        f"has another version of a library: numpy {np.__version__} instead of 1.0": {
            "same": {**about["same"], "packages": packages}
        },
        f"{tmp_path / 'gone'}: machine {here} does not see this folder": {"seen": [str(tmp_path / "gone" / "token")]},
        f"a lock that another machine holds on this disk does not hold on machine {here}": {"seen": [str(free)]},
        f"machine {here} cannot work in this folder: No such file": {"cwd": str(tmp_path / "gone")},
    }
    for said, change in other.items():
        with pytest.raises(MprError) as caught:
            ray._become({**about, **change})
        assert said in str(caught.value)
        assert "Traceback" not in str(caught.value)
    examined(len(other), "machines that are not like this one", at_least=6)
