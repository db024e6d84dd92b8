"""A Ray cluster of three machines, of which one after the other is lost while it encodes, mines, searches and labels.

The machines are real ones to Ray (`ray.cluster_utils`): each has its own daemon and its own processes. Half of them are
lost whole, of the other half the daemon dies first and its processes live on for a moment. Others join. At the end of
each piece of work there must be the same bytes as from one process. Of every unit it is noted when it was begun and
when it was done: a unit may be begun again only where it was lost, and none may be committed twice.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.cluster_utils import Cluster

from mpr import engines, storage
from mpr.engines.ray import Cluster as Group
from mpr.labels import _score_models
from mpr.runtime.processes import ONE_PROCESS, Job
from mpr.runtime.progress import Progress, silent
from mpr.search import encode
from mpr.search.padding import Constants
from mpr.search.search import Parts
from mpr.search.vectors import VectorStore
from tests.attack.outcome import Attack
from tests.unit.encodings import sums, task
from tests.unit.grounds import invented, mining, source
from tests.unit.scorers import ALL, scorer, split
from tests.waiting import let_pass, until

MACHINES = 3
_MEMORY = 80 << 20  # bytes of each machine's object store
_NOTICED = {"health_check_initial_delay_ms": 1_000, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
_LONGEST = 0.5  # seconds that a unit is made to take, at most
_BM25: dict[str, Any] = {
    "depth": 20, "k1": 0.9, "b": 0.4, "title": True, "stopwords": "english", "stemmer": "english",
}  # fmt: skip
_SHARDS = Constants(block_tokens=120, shards=24, least=120, most=4_000)


@dataclass
class Nodes(Attack):
    """Counts of units beside those of machines."""

    units: int = 0
    begun: int = 0
    twice: int = 0
    pieces: int = 0

    def report(self) -> str:
        again = f"{self.units:,} units of {self.pieces} pieces of work, begun {self.begun:,} times"
        return f"{super().report()}; {again}, {self.twice} committed twice"


@dataclass(frozen=True)
class Noted:
    """A job that takes a while, and notes in a file of its machine which units it begins and ends."""

    job: Job
    notes: Path

    def result(self, unit: Any) -> Path | None:
        return self.job.result(unit)

    def __call__(self, unit: Any, progress: Progress) -> Any:
        name = getattr(unit, "name", None) or str(unit)
        with open(self.notes / ray.get_runtime_context().get_node_id(), "a", buffering=1) as file:
            file.write(f"begin {name}\n")
            let_pass(random.random() * _LONGEST / 2)
            found = self.job(unit, progress)
            let_pass(random.random() * _LONGEST / 2)
            file.write(f"end {name}\n")
        return found


def noted(notes: Path) -> Counter[str]:
    """How often each line was written, on all machines; none of a piece of work that has not begun."""
    return Counter(line for path in notes.glob("*") for line in path.read_text().splitlines())


@contextmanager
def machines(count: int = MACHINES) -> Iterator[tuple[Cluster, list[Any]]]:
    """A cluster whose first machine, where the work is given out, has no room for units, and its other machines."""
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": _MEMORY, "_system_config": _NOTICED}
    cluster = _patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
    try:
        yield cluster, [joined(cluster) for _ in range(count)]
    finally:
        cluster.shutdown()


def joined(cluster: Cluster) -> Any:
    return _patiently(lambda: cluster.add_node(num_cpus=1, object_store_memory=_MEMORY))


def _patiently(start: Callable[[], Any]) -> Any:
    """Ray gives a machine 30 seconds to start, which a busy computer may not have. One that starts later joins too."""
    for _ in range(20):
        try:
            return start()
        except Exception as error:  # Ray has no class for it
            if "timed out during startup" not in str(error):
                raise
    raise AssertionError("no machine starts")


def lost(cluster: Cluster, node: Any, *, whole: bool) -> None:
    """`whole`: its processes die with it, at once; else they find out by themselves that it is gone."""
    if whole:
        for process in _children(node):
            os.kill(process, signal.SIGKILL)
    cluster.remove_node(node, allow_graceful=False)


def _children(node: Any) -> list[int]:
    """The processes that a machine's daemon has started and that still are there, the daemon stopped meanwhile."""
    daemon = node.all_processes["raylet"][0].process.pid
    os.kill(daemon, signal.SIGSTOP)  # else it starts others
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[1]) == daemon:
                found.append(int(path.parent.name))
        except OSError:
            continue  # it has ended
    return found


@dataclass
class Misfortune:
    """Takes machines away, and brings others."""

    cluster: Cluster
    nodes: list[Any]
    wanted: int
    dice: random.Random
    notes: Path
    """Where the piece of work at hand notes what it does; another folder for each."""
    ended: Counter[str] = field(default_factory=Counter)
    is_over: bool = False

    def run(self) -> None:
        while self.ended.total() < self.wanted and not self.is_over:
            self._happen()

    def _happen(self) -> None:
        """After a few units were begun, in the middle of one or later, a machine is lost."""
        notes, enough = self.notes, self._begun() + self.dice.randint(1, 6)
        until(lambda: self._begun() >= enough or self.notes != notes or self.is_over)
        if self.is_over:
            return
        let_pass(self.dice.random() * self.dice.choice([0.1, 0.5, 2.0]))
        busy = [node for node in self.nodes if self._unit(node)]
        node = self.dice.choice(busy if busy and self.dice.random() < 0.7 else self.nodes)
        early = self.dice.random() < 0.3 and self.nodes.append(joined(self.cluster)) is None
        unit = self._unit(node)
        self.nodes.remove(node)
        lost(self.cluster, node, whole=self.dice.random() < 0.5)
        self.ended["machines lost in a unit" if unit else "machines lost between two units"] += 1
        if not early:
            let_pass(self.dice.random() * self.dice.choice([0.0, 1.0]))
            self.nodes.append(joined(self.cluster))

    def _begun(self) -> int:
        return sum(count for line, count in noted(self.notes).items() if line.startswith("begin"))

    def _unit(self, node: Any) -> str:
        """The unit that a machine works on."""
        path = self.notes / node.node_id
        lines = path.read_text().splitlines() if path.exists() else []
        return lines[-1].removeprefix("begin ") if lines and lines[-1].startswith("begin") else ""


@dataclass
class Work:
    """Four pieces of work, each as one process does it and as a cluster does."""

    folder: Path

    def __post_init__(self) -> None:
        self.encoding = task(self.folder, 240, constants=_SHARDS)
        self.store = encode.run(self.encoding, self.folder / "alone")
        self.ground = invented(self.folder / "invented")
        self.model, (self.labelled, self.known) = scorer(self.folder / "scorer"), split(self.folder / "scored")
        self.queries_QW = self.store.by_row()[:30] + np.float32(0.01)

    def encode(self, target: Path, group: Any) -> dict[str, str]:
        return sums(encode.run(self.encoding, target, group).folder)

    def mine(self, target: Path, group: Any) -> str:
        work = mining(source(replace(self.ground, group=group), "bm25", **_BM25), target)
        return storage.verify(work.done(5).folder).digest

    def search(self, target: Path, group: Any) -> list[Any]:
        found = Parts.search(VectorStore(self.store.folder), self.queries_QW, 20, group, budget_bytes=1 << 28)
        return [found.rows_QK.tolist(), found.scores_QK.tolist()]

    def label(self, target: Path, group: Any) -> str:
        ground = replace(self.labelled, group=group)
        found = _score_models.scores_of(str(self.model), ALL, self.known, ground, chunk=1)
        assert found.folder is not None
        digest = storage.verify(found.folder).digest
        storage.remove(found.folder)
        return digest

    @property
    def pieces(self) -> dict[str, Callable[[Path, Any], Any]]:
        return {"encode": self.encode, "mine": self.mine, "search": self.search, "label": self.label}


def attack(folder: Path, cases: int, seed: int, start: int = 0) -> Nodes:
    """Machines are lost one after the other, so that a case cannot be run by itself: `start` makes other dice."""
    found, dice = Nodes(), random.Random(seed + (start << 32))
    work = Work(folder)
    expected = {name: piece(folder / f"{name}-alone", ONE_PROCESS) for name, piece in work.pieces.items()}
    with machines() as (cluster, nodes), engines.opened("ray", cluster.address, folder) as group:
        misfortune = Misfortune(cluster, nodes, cases, dice, folder / "notes-0")

        def give_out() -> None:
            try:
                while not misfortune.is_over and not found.failures:
                    name = list(work.pieces)[found.pieces % len(work.pieces)]
                    _piece(found, misfortune, name, work.pieces[name], expected[name], group, folder)
            except BaseException:  # noqa: BLE001 (a failure of the attack, whatever it is)
                found.failed(f"piece {found.pieces}", traceback.format_exc(limit=-4))
            finally:
                misfortune.is_over = True

        thread = threading.Thread(target=give_out)
        thread.start()
        try:
            misfortune.run()  # Ray starts machines from the main thread only
        except Exception:  # noqa: BLE001 (what was counted until then is told)
            found.failed("cluster", traceback.format_exc(limit=-4))
        finally:
            misfortune.is_over = True
            thread.join()
    found.ended = misfortune.ended
    return found


def _piece(
    found: Nodes,
    misfortune: Misfortune,
    name: str,
    piece: Callable[[Path, Any], Any],
    expected: Any,
    group: Any,
    folder: Path,
) -> None:
    """One piece of work, and what is to be said of it."""
    found.pieces += 1
    notes, units = folder / f"notes-{found.pieces}", list[int]()
    notes.mkdir()
    before, misfortune.notes = misfortune.ended.total(), notes

    def watched(job: Job, given: Any, progress: Progress = silent) -> Iterator[Any]:
        units.append(len(given))
        return Group.map(group, Noted(job, notes), given, progress)

    group.map = watched
    if piece(folder / f"{name}-{found.pieces}", group) != expected:
        found.failed(f"{name} {found.pieces}", "other bytes than from one process")
    lines, deaths = noted(notes), misfortune.ended.total() - before + 1  # one may be under way
    begun = sum(count for line, count in lines.items() if line.startswith("begin"))
    twice = [line for line, count in lines.items() if line.startswith("end") and count > 1]
    found.units, found.begun, found.twice = found.units + sum(units), found.begun + begun, found.twice + len(twice)
    if not sum(units) <= begun <= sum(units) + deaths:
        found.failed(f"{name} {found.pieces}", f"{sum(units)} units, {deaths} machines lost, {begun} begun")
    if twice and name != "search":
        found.failed(f"{name} {found.pieces}", f"committed twice: {twice}")
