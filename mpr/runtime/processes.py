"""The processes of a run: which of them this one is, and how all of them end when one cannot go on.

A launcher (torchrun, accelerate, a cluster's own) starts them and says in the environment who is who. Collectives alone
cannot carry bad news: a process that raises leaves the others waiting in a barrier until a timeout of half an hour. So
beside them the processes share a small store of keys, the one by which torch made them find one another:

* what only the first process may do (take the lock, prepare data, claim the folder) is done by `first`, and the others
  wait for its answer, however long that takes, without a collective; where all work and must meet, they `wait`;
* the first error is put there with its exit code. The process that had it says what happened; all others end with the
  same code and say nothing. One that is stuck in a collective is ended by a thread that watches the store.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from mpr.errors import Interrupted, MprError, StorageError
from mpr.runtime.progress import Progress, silent

POLL = 0.05  # seconds between two looks into the store
GRACE = 2.0  # seconds for a process to end by itself after another one failed
FAILED = "failed"


class EndedElsewhere(MprError):
    """Another process says what happened; this one only ends, with the same exit code."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("another process of this run ended it")
        self.exit_code = exit_code


@dataclass(frozen=True)
class Place:
    """Who this process is among those of the run, and among those of its machine; by default the only one."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1

    @classmethod
    def here(cls) -> Place:
        """As the launcher says it; without one, the only process."""
        rank, world = (int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1)))
        local = int(os.environ.get("LOCAL_RANK", rank)), int(os.environ.get("LOCAL_WORLD_SIZE", world))
        return cls(rank, world, *local)

    @contextmanager
    def speaking_once(self) -> Iterator[None]:
        """For what every process of a machine finds out by itself, before they know one another: one says it."""
        try:
            yield
        except MprError as error:
            if self.local_rank:
                raise EndedElsewhere(error.exit_code) from error
            raise


ALONE = Place()


class Job(Protocol):
    """Work that is done unit by unit. What comes of a unit depends on nothing but the job and the unit, so that any
    process can do it, and do it again."""

    def __call__(self, unit: Any, progress: Progress, /) -> Any: ...

    def result(self, unit: Any, /) -> Path | None:
        """Where what comes of a unit is committed; None: it is only answered."""


@dataclass(eq=False)
class Group:
    """The processes of a run once they know one another. A run of one process has no store.

    This is the engine `local`; others (`mpr/engines/`) have another way of `map`.
    """

    place: Place
    store: Any = None
    _turn: int = 0
    _left: threading.Event = field(default_factory=threading.Event)

    def __reduce__(self) -> Any:
        """What goes to another machine to be done there is done by one process."""
        return Group, (ALONE,)

    @property
    def workers(self) -> int:
        """How many work at the same time."""
        return self.place.world

    @property
    def is_fixed(self) -> bool:
        """Whether the same processes work from the beginning to the end, so that each can keep what it has opened."""
        return True

    def share(self, units: Sequence[Any]) -> Sequence[Any]:
        """The units whose progress this process sees."""
        return units[self.place.rank :: self.place.world]

    def map(self, job: Job, units: Sequence[Any], progress: Progress = silent) -> Iterator[Any]:
        """What comes of this process's share of the units, in any order. At the end all processes have done theirs."""
        for unit in self.share(units):
            yield job(unit, progress)
        self.wait()

    def first(self, action: Callable[[], Any]) -> Any:
        """What `action` answers on the first process, on all of them. It must be something JSON can hold."""
        if self.store is None:
            return action()
        self._turn += 1
        key = f"turn {self._turn}"
        if self.place.rank == 0:
            answer = action()
            self.store.set(key, json.dumps(answer))
            return answer
        self._wait_for([key])
        return json.loads(self.store.get(key))

    def wait(self) -> None:
        """Until every process is here, however long that takes: a collective would give up after a time of its own."""
        if self.store is None:
            return
        self._turn += 1
        self.store.set(f"turn {self._turn} of {self.place.rank}", "")
        self._wait_for([f"turn {self._turn} of {rank}" for rank in range(self.place.world)])

    def _wait_for(self, keys: list[str]) -> None:
        while not self.store.check(keys):
            if self.store.check([FAILED]):
                raise EndedElsewhere(self._code())
            time.sleep(POLL)

    def blamed(self, error: BaseException) -> BaseException:
        """The same error where it is the first of the run, otherwise that another process has ended it."""
        if self.store is None or isinstance(error, EndedElsewhere):
            return error
        error = _explained(error)
        mine = json.dumps({"rank": self.place.rank, "code": getattr(error, "exit_code", 1)})
        try:
            if self.store.check([FAILED]) or self.store.compare_set(FAILED, "", mine).decode() != mine:
                return EndedElsewhere(self._code())
        except Exception:  # noqa: BLE001 - the process that held the store is gone, so nobody can be asked
            return error
        return error

    def _code(self) -> int:
        return int(json.loads(self.store.get(FAILED))["code"])

    def watch(self) -> None:
        """Ends this process, stuck wherever it is, when another one has failed. Runs in a thread of its own."""
        while not self._left.wait(0.5):
            try:
                code = self._code() if self.store.check([FAILED]) else 0
            except Exception:  # noqa: BLE001 - as above; a collective with that process would wait for ever
                code = Interrupted.exit_code
            if code and not self._left.wait(GRACE):
                self.leave(0.0)
                os._exit(code)

    def leave(self, patience: float) -> None:
        """The first process may hold the store, so it goes last, or when its patience ends."""
        self._left.set()
        if self.store is None:
            return
        try:
            self.store.set(f"left {self.place.rank}", "")
            if self.place.rank == 0:
                deadline = time.monotonic() + patience
                others = [f"left {rank}" for rank in range(self.place.world)]
                while not self.store.check(others) and time.monotonic() < deadline:
                    time.sleep(POLL)
        except Exception:  # noqa: BLE001 - as above; there is nobody left to wait for
            return


ONE_PROCESS = Group(ALONE)
"""The only process of a run."""


@contextmanager
def joined(place: Place) -> Iterator[Group]:
    """The group, for as long as the body runs; torch's process group must exist. An error in the body ends them all."""
    group = Group(place, None if place.world == 1 else _store(place.world))
    if group.store is not None:
        threading.Thread(target=group.watch, daemon=True).start()
    patience = 4 * GRACE
    try:
        yield group
    except BaseException as error:
        blamed = group.blamed(error)
        if blamed is error:
            raise
        raise blamed from error
    finally:
        group.leave(patience)


def _store(world: int) -> Any:
    """A connection to the store at which the processes met; its keys are kept apart from torch's and from those of an
    attempt before this one."""
    from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

    host, port = os.environ.get("MASTER_ADDR", "127.0.0.1"), int(os.environ.get("MASTER_PORT", "29500"))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    client = TCPStore(host, port, world, False, timedelta(seconds=30), wait_for_workers=False)
    return PrefixStore(f"mpr/{attempt}", client)


def _explained(error: BaseException) -> BaseException:
    """A collective that breaks because another process is gone says so in words of its own."""
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("ended at once", fix="run the same command again")
    if is_broken_connection(error):
        what = "another process of this run was killed, or its machine is lost"
        return Interrupted(what, fix="run the same command again")
    return error


def is_broken_connection(error: BaseException) -> bool:
    from torch.distributed import DistBackendError, DistNetworkError

    text = str(error)
    is_gloo = isinstance(error, RuntimeError) and ("gloo" in text or "Connection closed by peer" in text)
    return isinstance(error, DistBackendError | DistNetworkError) or is_gloo


def refuse_other_disk(place: Place, folder: Any, is_seen: bool) -> None:
    """Every process reads what the first one prepared, and writes its part of a checkpoint beside the others'."""
    if not is_seen:
        what = f"process {place.rank} does not see what process 0 wrote"
        fix = "put --home and --folder on a disk that all machines of the run share"
        raise StorageError(what, where=str(folder), fix=fix)


def is_sharded(environment: Mapping[str, str]) -> bool:
    """Whether the launch wraps the model in something that is called once a step."""
    return is_on(environment, "ACCELERATE_USE_FSDP") or is_on(environment, "ACCELERATE_USE_DEEPSPEED")


def is_on(environment: Mapping[str, str], variable: str) -> bool:
    return environment.get(variable, "false").lower() in ("true", "1", "yes", "on")
