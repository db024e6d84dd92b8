"""A recipe on a small invented world with vectors as if a model had encoded it: in several shards, with ties.

Nothing is trained or encoded, so that what is tested is the search and nothing else. `python -m tests.e2e.searched
FOLDER` searches in copies of the run folder `one` by several processes and prints what happened as JSON; it is a
program of its own because it forks.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpr import cli
from mpr.data.dataset import Dataset
from mpr.data.tokens import TokenStore
from mpr.errors import NumbersError
from mpr.recipe import read
from mpr.rows.retrieval import Retrieval
from mpr.runtime import processes
from mpr.search.exact import Exact
from mpr.search.shards import Floats
from mpr.search.top_k import TopK
from mpr.search.vectors import Unfinished
from tests.e2e.launched import Ended, start
from tests.house.source import ROOT

WIDTH, SHARDS = 16, 7
SETS = (
    "data.corpus={name: invented_world, articles: 60, questions: 100, dev_questions: 30, test_questions: 40}",
    "data.evaluate={test: test, dev: dev}",
    "validation.split=dev_truth",
    "towers.new={layers: 1, width: 32, heads: 2, feed_forward: 64, vocabulary: 600}",
    "search.depth=60",
    "evaluation.measures=[top1, top5]",
)
APPROXIMATE = ("search.index='IVF8,Flat'", "draft=true", "search.settings='nprobe=4'", "search.fetch=90")


@dataclass(frozen=True)
class Searched:
    """The recipe, its texts, and folders of vectors to search in."""

    folder: Path

    def retrieval(self, run: str, *sets: str) -> Retrieval:
        recipe = read.load(ROOT / "recipes/quickstart.yaml", (*SETS, *sets))
        return Retrieval(Dataset(recipe, self.folder / "home", quiet=True), self.folder / run)

    def encoded(self, run: str, shards: int = SHARDS) -> Retrieval:
        """A run folder with vectors: passages in clusters, a third of them copies of others."""
        stages, rng = self.retrieval(run), np.random.default_rng(5)
        centres = rng.standard_normal((20, WIDTH))
        texts = {"corpus": stages.dataset.tokens_of_passages(None)}
        texts |= {role: stages.dataset.tokens_of_questions(role) for role in stages.recipe.data.evaluate}
        for name, store in texts.items():
            vectors = centres[rng.integers(0, 20, len(store))] + 0.5 * rng.standard_normal((len(store), WIDTH))
            vectors[rng.random(len(store)) < 0.3] = vectors[0]
            cut = shards if name == "corpus" else 1
            _commit(self.folder / run / "vectors" / name, store, vectors.astype(np.float32), cut)
        return stages

    def words(self, verb: str, run: str, *sets: str) -> list[str]:
        found = [verb, str(ROOT / "recipes/quickstart.yaml"), "--home", str(self.folder / "home")]
        found += ["--folder", str(self.folder / run), "--quiet"]
        return [*found, *(word for each in (*SETS, *sets) for word in ("--set", each))]

    def ranked(self, run: str, role: str = "test") -> bytes:
        return (self.folder / run / "rankings" / role / "run.trec").read_bytes()

    def hidden(self, run: str) -> list[str]:
        """What an unfinished artefact or a lock would have left."""
        return [path.name for path in (self.folder / run).rglob(".*")]


def _commit(target: Path, store: TokenStore, vectors_NW: Floats, shards: int) -> None:
    work = {"data": store.manifest.digest, "model": "invented"}
    unfinished = Unfinished(target, work, shards, WIDTH, "float32")
    rows = np.random.default_rng(6).permutation(len(vectors_NW))
    with unfinished.held():
        unfinished.missing()
        for number, own in enumerate(np.array_split(rows, shards)):
            unfinished.add(number, own, vectors_NW[own])
        unfinished.commit({})


def copied(world: Searched, run: str, of: str = "one") -> str:
    shutil.copytree(world.folder / of / "vectors", world.folder / run / "vectors")
    return run


def _together(world: Searched, words: list[str], count: int = 2, before: Callable[[int], object] = id) -> Ended:
    """Runs the command line on so many processes; `before(rank)` prepares each of them."""

    def run(rank: int) -> None:
        before(rank)
        cli.main(words)

    return start(world.folder / "said" / words[0], [], count, run).ended()


def _killed(rank: int) -> None:
    if rank == 1:
        Exact.search = lambda *given: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore


def _broken(rank: int) -> None:
    def broken(*given: object) -> TopK:
        raise NumbersError("a spoilt share")

    if rank == 1:
        Exact.search = broken  # type: ignore


def _telling(rank: int) -> None:
    """Each search says what it searches in."""
    honest = Exact.search

    def told(self: Exact, queries_QD: Floats, k: int) -> TopK:
        print("share", rank, len(self.first.store.shards), len(self.first.store), flush=True)
        return honest(self, queries_QD, k)

    Exact.search = told  # type: ignore


def happened(world: Searched) -> dict[str, Ended]:
    """Every case, in run folders of their names."""
    found = {"two": _together(world, world.words("evaluate", copied(world, "two")))}
    run = copied(world, "stopped")
    for name, before in (("killed", _killed), ("broken", _broken), ("again", _telling)):
        found[name] = _together(world, world.words("search", run), 2, before)
        is_ranked = (world.folder / run / "rankings" / "test").exists()
        found[name] = dataclasses.replace(found[name], said=f"{found[name].said}ranked: {is_ranked}\n")
    found["few"] = _together(world, world.words("search", copied(world, "few", "halves")), 3)
    found["approximate"] = _together(world, world.words("search", copied(world, "approximate"), *APPROXIMATE))
    found["words"] = _together(world, [*world.words("search", "words"), "--bm25"])
    return found


if __name__ == "__main__":
    processes.GRACE = 0.5  # the same waits, shorter: nobody here is far away
    cases = happened(Searched(Path(sys.argv[1])))
    print(json.dumps({name: dataclasses.asdict(ended) for name, ended in cases.items()}))
