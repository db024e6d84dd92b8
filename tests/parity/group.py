"""Processes that stay: one gloo group per world size, which runs one job after the other."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import distributed


class Group:
    """`run(job, *arguments)` calls job(rank, world, *arguments) on every process and returns all answers."""

    def __init__(self, world: int, folder: Path) -> None:
        # A fork server, and not a fork: this process may have started threads, which a fork would lose. What DDP
        # imports when it is first used takes seconds: the server imports it once.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch", "torch._dynamo", "tests.parity.jobs"])
        self.world = world
        self._pipes: list[Connection] = []
        self._processes = []
        for rank in range(world):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(rank, world, str(folder / "store"), there), daemon=True)
            process.start()
            self._pipes.append(here)
            self._processes.append(process)

    def run(self, job: Callable[..., Any], *arguments: Any) -> list[Any]:
        for pipe in self._pipes:
            pipe.send((job, arguments))
        answers = [pipe.recv() for pipe in self._pipes]
        for rank, (is_fine, answer) in enumerate(answers):
            assert is_fine, f"process {rank} of {self.world}:\n{answer}"
        return [answer for _, answer in answers]

    def close(self) -> None:
        for pipe in self._pipes:
            pipe.send(None)
        for process in self._processes:
            process.join(600)
            assert process.exitcode == 0


def _serve(rank: int, world: int, store: str, pipe: Connection) -> None:
    torch.set_num_threads(1)
    if world > 1:
        distributed.init_process_group(
            "gloo", init_method=f"file://{store}", rank=rank, world_size=world, timeout=timedelta(seconds=600)
        )
    while (order := pipe.recv()) is not None:
        job, arguments = order
        try:
            pipe.send((True, job(rank, world, *arguments)))
        except Exception:  # noqa: BLE001 - whatever it is, the test that asked must see it
            pipe.send((False, traceback.format_exc()))
    if world > 1:
        distributed.destroy_process_group()
