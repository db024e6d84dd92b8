"""Runs of a row side by side: each in a process of its own on this machine, so many at a time.

A process is given its run as a line of JSON: the text of the recipe as it was read, not its file. It shows no bars;
what it says is shown behind its name. The cores are divided: each process has its share of threads, unless
OMP_NUM_THREADS says how many, and of several GPUs in CUDA_VISIBLE_DEVICES one. The runs share stores, so the first
makes what the others wait for.

Ctrl-C reaches this process alone, which hands it on: every run stops as it does by itself. If this process dies, the
runs stop too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Any

from mpr.errors import Interrupted, printable
from mpr.recipe import read
from mpr.runtime import command, environment

if TYPE_CHECKING:
    from mpr.rows._stages import Row

Say = Callable[[str], object]


@dataclass
class SideBySide:
    """Runs that are begun, under way and done."""

    parallel: int
    older_code: bool
    say: Say
    program: Sequence[str] = (sys.executable, "-m", __name__)
    """Makes the run that it reads."""
    _running: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    _stopped: bool = False
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def run(self, rows: dict[str, Row]) -> dict[str, int]:
        """Name -> exit code of each run, as of a command; one that was killed counts as interrupted."""
        slots: SimpleQueue[int] = SimpleQueue()
        for number in range(self.parallel):
            slots.put(number)
        width = max(map(len, rows))
        with ThreadPoolExecutor(self.parallel) as pool:
            begun = {name: pool.submit(self._one, name, row, slots, width) for name, row in rows.items()}
            self._wait(list(begun.values()))
        if self._stopped:
            raise command.stopped("stopped; of every run what was finished is kept")
        return {name: found.result() for name, found in begun.items()}

    def _wait(self, begun: Sequence[Future[int]]) -> None:
        while True:
            try:
                wait(begun)
                return
            except KeyboardInterrupt:
                with self._turn:
                    self._stopped = True
                    for process in self._running.values():
                        process.send_signal(signal.SIGTERM)  # which no shell has them ignore

    def _one(self, name: str, row: Row, slots: SimpleQueue[int], width: int) -> int:
        slot = slots.get()
        try:
            with self._turn:
                if self._stopped:
                    return Interrupted.exit_code
                process = self._running[name] = subprocess.Popen(
                    self.program, env=self._environment(slot), start_new_session=True, text=True,
                    encoding="utf-8", errors="replace", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )  # fmt: skip
            with process:
                assert process.stdin is not None
                errors = partial(print, file=sys.stderr, flush=True)
                relays = [
                    threading.Thread(target=_relay, args=(stream, f"{name:<{width}} |", say))
                    for stream, say in ((process.stdout, self.say), (process.stderr, errors))
                ]
                for relay in relays:
                    relay.start()
                with suppress(BrokenPipeError):  # it ended at once: what it said and its exit status tell why
                    process.stdin.write(json.dumps(_job(row, self.older_code)) + "\n")
                    process.stdin.flush()  # and it stays open: its end is ours
                for relay in relays:
                    relay.join()
                code = process.wait()
            with self._turn:
                del self._running[name]
            if code < 0:
                self.say(f"{name:<{width}} | was killed by {signal.Signals(-code).name}")
            return code if code >= 0 else Interrupted.exit_code
        finally:
            slots.put(slot)

    def _environment(self, slot: int) -> dict[str, str]:
        threads = str(max(1, environment.usable_cores() // self.parallel))
        divided = {"OMP_NUM_THREADS": threads, "RAYON_NUM_THREADS": threads}
        devices = [one for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
        chosen = {"CUDA_VISIBLE_DEVICES": devices[slot % len(devices)]} if len(devices) > 1 else {}
        return {**divided, **os.environ, **chosen}


def _relay(stream: IO[str], label: str, say: Say) -> None:
    for line in stream:
        say(printable(f"{label} {line.rstrip()}"))


def _job(row: Row, older_code: bool) -> dict[str, Any]:
    recipe = row.recipe
    return {
        "name": recipe.name,
        "text": recipe.text.decode(),
        "lock": recipe.lock_text.decode(),
        "overrides": list(recipe.overrides),
        "file": str(row.file),
        "system": row.system,
        "home": str(row.home),
        "folder": str(row.folder),
        "budget": row.budget,
        "older_code": older_code,
        "typed": sys.argv,
    }


def _made(job: dict[str, Any]) -> None:
    from mpr.rows._stages import Row
    from mpr.rows.pipeline import Pipeline

    recipe = read.kept(job["name"], job["text"].encode(), job["lock"].encode(), job["overrides"])
    places = Path(job["file"]), job["system"], Path(job["home"]), Path(job["folder"])
    row = Row(recipe, *places, quiet=True, budget=job["budget"])
    Pipeline(row, partial(print, flush=True), job["older_code"]).run()


def _stop_with_the_first() -> None:
    """Whoever began this run holds the other end, and writes nothing more."""
    while os.read(0, 1):  # not by sys.stdin, whose lock this thread would hold at the end of the process
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    job = json.loads(sys.stdin.readline())
    sys.argv = job["typed"]
    with command.running():
        command.tell()
        threading.Thread(target=_stop_with_the_first, daemon=True).start()
        _made(job)


if __name__ == "__main__":
    main()
