"""Forks of a program that has torch loaded and may have used it."""

from __future__ import annotations

import os
import sys


def fork() -> int:
    """`os.fork`, whose child has a pool of torch's threads before any other thread of it can ask for one.

    torch marks its pool as lost when it is forked, and whoever asks next exchanges it: takes the old one away, then
    puts a new one there. A thread that asks in between finds none, and torch ends the process: "Invalid thread pool!".
    Each thread of autograd asks when it starts, and where a build for CUDA sees no GPU, code that imitates one (as
    FSDP's does) makes torch start eight of them at once. What torch itself does after a fork, `get_num_threads`, asks
    only if the parent's thread never did. The child of a fork has one thread, so here it asks at once.
    """
    child = os.fork()
    if not child and (torch := sys.modules.get("torch")):
        torch.set_num_threads(torch.get_num_threads())
    return child
