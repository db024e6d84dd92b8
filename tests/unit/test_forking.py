"""The child of a fork has its threads in order."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.small

ROOT = Path(__file__).parents[2]
_PROGRAM = """
import os, sys
import torch
from tests import forking
torch.set_num_threads(4)  # makes the pool: this thread and three of its own
torch.get_num_threads()  # from here on, what torch does by itself in a child does nothing
child = {fork}()
if not child:
    print(len(os.listdir("/proc/self/task")), torch.get_num_threads(), flush=True)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("fork, threads", [("os.fork", 1), ("forking.fork", 4)])
def test_child_has_the_pool_of_its_parent(fork: str, threads: int) -> None:
    """A plain fork leaves it to the first threads that ask, which may be several at once."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(fork=fork)], capture_output=True, text=True, cwd=ROOT, timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stdout.split() == [str(threads), "4"], done.stderr
