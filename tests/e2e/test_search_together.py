"""`mpr search` on the invented world: by several processes, by faiss, with texts; one order, one receipt."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from mpr import cli, storage
from mpr.errors import RecipeError
from mpr.rows.retrieval import RANKING
from mpr.search import faiss_index
from mpr.search import search as searching
from mpr.search.exact import Exact
from tests.conftest import Examined
from tests.e2e.launched import Ended
from tests.e2e.searched import APPROXIMATE, Searched, copied
from tests.house.source import ROOT

pytestmark = pytest.mark.long

IVF = APPROXIMATE[:2]
ROLES = ("test", "dev")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """With the rankings of one process in `one`."""
    made = Searched(tmp_path_factory.mktemp("searched"))
    stages = made.encoded("one")
    for role in ROLES:
        stages.search(role, "cpu")
    made.encoded("halves", 2)
    return made


@pytest.fixture(scope="module")
def cases(world: Searched) -> dict[str, Ended]:
    """How the processes of searched.py ended."""
    command = [sys.executable, "-m", "tests.e2e.searched", str(world.folder)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3_000:]
    return {name: Ended(**ended) for name, ended in json.loads(done.stdout.splitlines()[-1]).items()}


def does(arguments: list[str], code: int = 0) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == code


def receipt(world: Searched, run: str, role: str = "test") -> dict[str, object]:
    return dict(storage.verify(world.folder / run / "rankings" / role, RANKING).receipt)


# Several processes


def test_two_processes_write_what_one_writes(world: Searched, cases: dict[str, Ended], examined: Examined) -> None:
    ended = cases["two"]
    assert ended.codes == [0, 0], ended.said
    for role in ROLES:
        assert world.ranked("two", role) == world.ranked("one", role)
        assert receipt(world, "two", role) == receipt(world, "one", role)
        assert ended.said.count(f"scores: {world.folder / 'two' / 'scores' / role}\n") == 1, "the first one speaks"
        assert (world.folder / "two" / "scores" / role).exists()
    assert world.hidden("two") == []
    lines = world.ranked("two").count(b"\n") + world.ranked("two", "dev").count(b"\n")
    examined(lines, "lines of two run files", at_least=70 * 60)


def test_a_killed_or_broken_process_ends_all_and_leaves_nothing(
    world: Searched, cases: dict[str, Ended], examined: Examined
) -> None:
    expected = {
        "killed": ([75, -9], "was killed, or its machine is lost"),
        "broken": ([3, 3], "mpr: a spoilt share"),
    }
    for name, (codes, says) in expected.items():
        ended = cases[name]
        assert not ended.hanging
        assert ended.codes == codes, ended
        assert ended.said.count(says) == 1, ended.said
        assert "Traceback" not in ended.said
        assert ended.said.endswith("ranked: False\n")
    again = cases["again"]
    assert again.codes == [0, 0], again.said
    assert world.ranked("stopped") == world.ranked("one")
    assert world.hidden("stopped") == []
    examined(len(expected), "ways to end", at_least=2)


def test_each_process_searches_its_share(world: Searched, cases: dict[str, Ended]) -> None:
    lines = {line for line in cases["again"].said.splitlines() if line.startswith("share")}
    shares = sorted(tuple(int(number) for number in line.split()[1:]) for line in lines)
    assert [(rank, shards) for rank, shards, _ in shares] == [(0, 4), (1, 3)]
    assert sum(size for *_, size in shares) == len(world.retrieval("one").dataset.corpus())


def test_a_process_may_have_no_share(world: Searched, cases: dict[str, Ended]) -> None:
    """Three processes, two shards."""
    assert cases["few"].codes == [0, 0, 0], cases["few"].said
    assert world.ranked("few") == world.ranked("one")


def test_words_are_searched_by_the_first_process(world: Searched, cases: dict[str, Ended]) -> None:
    assert cases["words"].codes == [0, 0], cases["words"].said
    stages = world.retrieval("words-alone")
    stages.search_words("test")
    assert world.ranked("words") == world.ranked("words-alone")


@pytest.mark.slow
def test_torchrun_starts_a_search(world: Searched) -> None:
    command = [str(Path(sys.executable).parent / "torchrun"), "--standalone", "--nproc_per_node", "2", "-m", "mpr.cli"]
    words = world.words("search", copied(world, "torchrun"))
    done = subprocess.run([*command, *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr[-3_000:]
    assert world.ranked("torchrun") == world.ranked("one")


# One store, several splits


def test_the_store_is_opened_once_for_all_splits(world: Searched, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, verified = [], []
    honest, check = Exact.open, storage.verify

    def counting(store: object, **named: object) -> Exact:
        opened.append(store)
        return honest(store, **named)  # type: ignore[arg-type]

    def looking(place: Path, *kind: str) -> storage.Manifest:
        verified.append(Path(place).name)
        return check(place, *kind)

    monkeypatch.setattr(Exact, "open", counting)
    monkeypatch.setattr(storage, "verify", looking)
    stages = world.retrieval(copied(world, "once"))
    for role in ROLES:
        stages.search(role, "cpu")
    assert len(opened) == 1
    assert verified.count("corpus") == 1
    for role in ROLES:
        assert world.ranked("once", role) == world.ranked("one", role)


# faiss


def test_recall_is_printed_and_kept(world: Searched, capsys: pytest.CaptureFixture[str], examined: Examined) -> None:
    """Counted anew from the lines of the two run files."""
    run = copied(world, "recalled")
    does(world.words("search", run, *APPROXIMATE))
    shown = capsys.readouterr().out
    counted = 0
    for role in ROLES:
        exact, found = (_lists(world.ranked(name, role)) for name in ("one", run))
        kept = receipt(world, run, role)
        assert kept["settings"] == "nprobe=4"
        assert kept["fetch"] == 90
        index = storage.verify(world.folder / run / "vectors/corpus-IVF8-Flat", faiss_index.KIND)
        assert kept["index digest"] == index.digest
        for depth, value in kept["recall"]["at"].items():  # type: ignore[index]
            shared = [len(set(exact[one][: int(depth)]) & set(found[one][: int(depth)])) for one in exact]
            assert value == pytest.approx(sum(shared) / (int(depth) * len(exact)))
            assert f"{value:.4f} at {depth}" in shown
            counted += 1
        assert list(kept["recall"]["at"]) == ["1", "5", "60"]  # type: ignore[index]
    assert receipt(world, run)["recall"]["at"]["60"] < 1, "nothing to see where all is found"  # type: ignore[index]
    assert "recall" not in receipt(world, "one")
    examined(counted, "recalls", at_least=6)


def _lists(run: bytes) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in run.decode().splitlines():
        question, _, passage, *_ = line.split()
        found.setdefault(question, []).append(passage)
    return found


def test_two_processes_approximate_as_one_does(world: Searched, cases: dict[str, Ended]) -> None:
    ended, stages = cases["approximate"], world.retrieval(copied(world, "approximate-alone"), *APPROXIMATE)
    assert ended.codes == [0, 0], ended.said
    assert ended.said.count("recall of exact search") == len(ROLES)
    for role in ROLES:
        stages.search(role, "cpu")
        assert world.ranked("approximate", role) == world.ranked("approximate-alone", role)
        assert receipt(world, "approximate", role) == receipt(world, "approximate-alone", role)


def test_a_ranking_by_other_settings_or_another_index_is_refused(world: Searched, examined: Examined) -> None:
    run, asked = copied(world, "mixed"), (*IVF, "search.settings='nprobe=8'")
    world.retrieval(run, *asked).search("test", "cpu")
    before = world.ranked(run)
    cases = {
        "settings 'nprobe=8' -> 'nprobe=7'": (*IVF, "search.settings='nprobe=7'"),
        "fetch 60 -> 61": (*asked, "search.fetch=61"),
        "index 'IVF8,Flat' -> 'exact'": (),
        "index 'IVF8,Flat' -> 'Flat'": ("search.index=Flat", "draft=true"),
    }
    for says, sets in cases.items():
        with pytest.raises(RecipeError, match=says):
            world.retrieval(run, *sets).search("test", "cpu")
    world.retrieval(run, *IVF, "search.settings=' nprobe=8'").search("test", "cpu")  # the same in other words
    index = world.folder / run / "vectors" / "corpus-IVF8-Flat"
    manifest = json.loads((index / "manifest.json").read_text("utf-8"))
    shutil.rmtree(index)
    world.retrieval(run, *asked).search("test", "cpu")
    assert not index.exists(), "a ranking that is there needs no index"
    with storage.stage(index, faiss_index.KIND, {**manifest["receipt"], "note": "built again"}) as stage:
        stage.write("index.faiss", b"another one")
    with pytest.raises(RecipeError, match="was made with index digest"):
        world.retrieval(run, *asked).search("test", "cpu")
    assert world.ranked(run) == before
    examined(len(cases) + 1, "other searches", at_least=5)


def test_large_splits_are_sampled(monkeypatch: pytest.MonkeyPatch, examined: Examined) -> None:
    everything, some = searching.sample(1_000), searching.sample(25_000)
    assert everything.tolist() == list(range(1_000))
    assert len(some) == len(np.unique(some)) == 1_000
    assert (np.diff(some) > 0).all()
    assert np.array_equal(some, searching.sample(25_000))
    assert 0.4 < (some < 12_500).mean() < 0.6, "spread over the split"
    examined(len(some), "questions drawn", at_least=1_000)


# Texts


def test_texts_stand_beside_the_run(world: Searched, capsys: pytest.CaptureFixture[str]) -> None:
    run = copied(world, "texts")
    for _ in range(2):
        does([*world.words("search", run), "--texts"])
    place = world.folder / run / "rankings" / "test-texts"
    table = pyarrow.parquet.read_table(place / "run.parquet")
    lines = [line.split() for line in world.ranked(run).decode().splitlines()]
    assert table.column("passage_id").to_pylist() == [line[2] for line in lines]
    assert all(table.column("text").to_pylist())
    assert capsys.readouterr().out.count(str(place / "run.parquet")) == 2
    shutil.rmtree(world.folder / run / "rankings" / "test")
    does([*world.words("search", run, "search.depth=50", "data.evaluate={test: test}"), "--texts"], code=2)
    assert "has the texts of another ranking" in capsys.readouterr().err
