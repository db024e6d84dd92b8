"""A Ray cluster: any number of machines that share a folder, of which some may come, go and die meanwhile.

Every unit is a task of Ray. A task that is lost with its machine is given to another one. Before a process works for
the first time it must be like the one that gives out the work: the same mpr, Python and libraries, the same folders
under the same names, and locks that hold on all machines. Then it works in the same folder, with the same settings and
as many threads, so that the same bytes come of a unit wherever it is done.

A unit whose result is committed is done under a lock beside its target, and one that is there already is not made
again: not even where a machine that was given up had finished it.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mpr import storage
from mpr.errors import DataError, Interrupted, MprError, RecipeError, StorageError, excerpt
from mpr.runtime import environment
from mpr.runtime.processes import ALONE, Group, Job, Place
from mpr.runtime.progress import Progress, silent

log = logging.getLogger("mpr.engines")
RETRIES = 20  # times that one unit may be lost with its machine
_ANSWERS = 5.0  # seconds for the address to answer
_LOOK = 10.0  # seconds between two looks at which machines there are
_PATIENCE = 3_600.0  # seconds for a process of a machine that was given up to let go of a unit
_FIX = "start the cluster with `ray start --head`, on other machines `ray start --address HOST:6379` (docs/machines.md)"
_ready: dict[str, Any] = {}  # in a process of the cluster: the job at hand, by its number


@contextmanager
def opened(address: str | None, folders: Sequence[Path]) -> Iterator[Group]:
    """This process gives out the work; it must run on a machine of the cluster."""
    if Place.here().world > 1:
        what = "a cluster is given its work by one process, and a launcher started several"
        raise RecipeError(what, key="--engine", fix="start the command by itself, without torchrun or accelerate")
    ray = _library()
    _connect(ray, address or os.environ.get("RAY_ADDRESS") or "auto")
    try:
        with ExitStack() as held:
            seen = [held.enter_context(_held(folder)) for folder in {_existing(Path.cwd()), *map(_existing, folders)}]
            threads, gpus = _needs(ray)
            yield Cluster(ALONE, about=_about(seen), threads=threads, gpus=gpus)
    finally:
        ray.shutdown()


def _library() -> Any:
    try:
        import ray
    except ImportError as error:
        fix = "pip install 'mpr-retrieval[ray]', on every machine of the cluster"
        raise RecipeError("Ray is not installed", key="--engine", fix=fix) from error
    return ray


def _connect(ray: Any, address: str) -> None:
    host, _, port = address.rpartition(":")
    if "://" in address or (address != "auto" and not (host and port.isdigit())):
        what, fix = f"{excerpt(address)} is no address of a cluster", "write HOST:PORT, or leave it out on its machines"
        raise RecipeError(what, key="--engine-address", fix=fix)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if host:
            socket.create_connection((host, int(port)), _ANSWERS).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        ray._private.worker._worker_logs_enabled = False  # pages about a lost machine on the standard output, else
    except Exception as error:  # Ray has no class for this: a cluster of another version is a RuntimeError
        what = f"no cluster answers at {address}: {excerpt(str(error), 300)}"
        raise StorageError(what, key="--engine-address", fix=_FIX) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray has put its own there


def _needs(ray: Any) -> tuple[int, int]:
    """What a task takes of a machine: threads as this process has them, and a GPU if this process sees one."""
    import torch

    threads, gpus = torch.get_num_threads(), int(torch.cuda.is_available())
    if not _able(ray, threads, gpus):
        wanted = f"{threads} CPUs" + (" and a GPU" if gpus else "")
        fix = "set OMP_NUM_THREADS to the CPUs that a task may take, and CUDA_VISIBLE_DEVICES= where GPUs are not meant"
        raise RecipeError(f"no machine of the cluster has {wanted}, as this process has", key="--engine", fix=fix)
    return threads, gpus


def _able(ray: Any, threads: int, gpus: int) -> int:
    """How many machines that are alive have so much, used or not."""
    resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(one.get("CPU", 0) >= threads and one.get("GPU", 0) >= gpus for one in resources)


def _existing(folder: Path) -> Path:
    """The folder, or the one in which it is going to be made."""
    folder = Path(os.path.abspath(folder))
    return folder if folder.is_dir() else _existing(folder.parent)


@contextmanager
def _held(folder: Path) -> Iterator[str]:
    """A file that every machine must see, with a lock that must hold on every machine."""
    path = folder / f".mpr-engine-{socket.gethostname()}-{os.getpid()}"
    with storage.lock(path):
        yield str(path)


def _about(seen: list[str]) -> dict[str, Any]:
    """What a process of the cluster must be like, in plain types: one of another version has other classes."""
    settings = {name: os.environ[name] for name in environment.VARIABLES if name in os.environ}
    placed = {name for name in settings if name.endswith("_VISIBLE_DEVICES")}  # Ray says which GPU a task has
    settings = {name: value for name, value in settings.items() if name not in placed}
    return {"cwd": os.getcwd(), "seen": seen, "settings": settings, "same": _same()}


def _same() -> dict[str, Any]:
    """What must not differ."""
    own = environment.snapshot()
    return {"mpr": own["mpr"], "code": environment.code_digest(), "python": own["python"], "packages": own["packages"]}


@dataclass(eq=False)
class Cluster(Group):
    """Whoever gives out tasks."""

    about: dict[str, Any] = field(default_factory=dict)
    threads: int = 1
    gpus: int = 0
    looked: float = 0.0
    machines: int | None = None
    """That could work when somebody looked."""

    @property
    def workers(self) -> int:
        import ray

        found = ray.cluster_resources()
        wanted = {"CPU": self.threads, "GPU": self.gpus}
        return max(1, min(int(found.get(name, 0) // each) for name, each in wanted.items() if each))

    @property
    def is_fixed(self) -> bool:
        return False

    def share(self, units: Sequence[Any]) -> Sequence[Any]:
        return units

    def map(self, job: Job, units: Sequence[Any], progress: Progress = silent) -> Iterator[Any]:
        import ray

        task: Any = ray.remote(_done).options(num_cpus=self.threads, num_gpus=self.gpus, max_retries=RETRIES)
        given = [ray.put({**self.about, "threads": self.threads}), ray.put(job)]
        waiting = [task.remote(given, unit) for unit in units]
        while waiting:
            ended, waiting = ray.wait(waiting, timeout=_LOOK)
            for each in ended:
                answer, count = _answered(each)
                progress(count)
                yield answer
            self._look(len(waiting))

    def _look(self, units: int) -> None:
        """Says which machines came and went, every few seconds."""
        import ray

        if time.monotonic() < self.looked + _LOOK:
            return
        self.looked = time.monotonic()
        able = _able(ray, self.threads, self.gpus)
        if self.machines is not None and able != self.machines:
            left = "" if able else f": waiting for one to join, for {units:,} units of work"
            log.warning("machines of the cluster that can work: %d, before %d%s", able, self.machines, left)
        self.machines = able


def _answered(each: Any) -> tuple[Any, int]:
    """What a task answered, and how far that is; what it refused is refused here."""
    import ray

    try:
        kind, answer, count = ray.get(each)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ImportError) or "failed to import" in str(error):
            said = excerpt(str(error.cause or error).splitlines()[-1], 300)
            what = f"a machine of the cluster cannot load mpr: {said}"
            fix = "install the same version of mpr-retrieval[ray] on all of them"
            raise DataError(what, key="--engine", fix=fix) from error
        raise
    except ray.exceptions.RayError as error:
        what = f"a unit of work was lost {RETRIES + 1} times, each time with the process that did it"
        fix = f"look at the logs of Ray there; too little memory is the usual reason: {excerpt(str(error), 300)}"
        raise Interrupted(what, key="--engine", fix=fix) from error
    if kind is not None:
        raise kind(answer)
    return answer, count


# In a process of the cluster


def _done(given: list[Any], unit: Any) -> tuple[type[MprError] | None, Any, int]:
    """(None, answer, how far that is), or (kind of refusal, problems, 0). The job is opened once in a process."""
    import ray

    about, job = given
    try:
        if job.hex() not in _ready:
            _become(ray.get(about))
            _ready.clear()
            _ready[job.hex()] = ray.get(job)
        return None, *_counted(_ready[job.hex()], unit)
    except MprError as error:
        return type(error), error.problems, 0


def _counted(job: Job, unit: Any) -> tuple[Any, int]:
    counts: list[int] = []
    target = job.result(unit)
    if target is None:
        return job(unit, counts.append), sum(counts)
    with storage.lock(target.with_name(f".{target.name}.claim.lock"), _PATIENCE):
        try:
            if not os.path.lexists(target):
                job(unit, counts.append)
        except StorageError:  # a disk may say late that another machine has committed it
            if not os.path.lexists(target):
                raise
    return None, sum(counts)


def _become(about: dict[str, Any]) -> None:
    """Makes this process like the one that gives out the work, or says why it cannot be."""
    here, own = socket.gethostname(), _same()
    for name, value in about["same"].items():
        if own[name] != value:
            what = f"machine {here} has another {_LONG[name]}: {_difference(own[name], value)}"
            raise DataError(what, key="--engine", fix="install the same on all machines; results would not be the same")
    for path in map(Path, about["seen"]):
        if not path.exists():
            what = f"machine {here} does not see this folder as the machine that gives out the work does"
            fix = "put it, --home, --folder and the recipe on a disk that all machines have under this name"
            raise StorageError(what, where=str(path.parent), fix=fix)
        if _is_free(path):
            what = f"a lock that another machine holds on this disk does not hold on machine {here}"
            raise StorageError(
                what, where=str(path.parent), fix="mount it with locks (flock): NFS 4, Lustre with -o flock"
            )
    try:
        os.chdir(about["cwd"])
    except OSError as error:
        what, fix = f"machine {here} cannot work in this folder: {error.strerror}", "start the command in a shared one"
        raise StorageError(what, where=about["cwd"], fix=fix) from error
    os.environ.update(about["settings"], OMP_NUM_THREADS=str(about["threads"]))  # torch reads it when it is loaded
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(about["threads"])


_LONG = {"mpr": "version of mpr", "code": "code of mpr", "python": "Python", "packages": "version of a library"}


def _difference(own: Any, value: Any) -> str:
    if not isinstance(value, dict):
        return f"{excerpt(str(own), 12)} instead of {excerpt(str(value), 12)}"
    names = sorted(name for name in {*own, *value} if own.get(name) != value.get(name))
    return ", ".join(f"{name} {own.get(name, 'missing')} instead of {value.get(name, 'none')}" for name in names)


def _is_free(path: Path) -> bool:
    try:
        with storage.lock(path):
            return True
    except StorageError:
        return False
