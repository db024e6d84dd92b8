"""Disks and networks of a test's own, by the namespaces of Linux, which not every container permits."""

from __future__ import annotations

import subprocess

import pytest

from tests.waiting import HANGING


def needs(kind: str, *probe: str) -> tuple[str, ...]:
    """What a command is started by to have a `mount` or `net` of its own. Skips by the outcome of `probe` alone, which
    has nothing of mpr in it: where that succeeds, whatever fails later is a failure."""
    inside = ("unshare", "--map-root-user", f"--{kind}")
    try:
        done = subprocess.run([*inside, *probe], capture_output=True, text=True, check=False, timeout=HANGING)
    except FileNotFoundError as error:
        pytest.skip(f"no namespaces here: {error}")
    if done.returncode:
        pytest.skip(f"no {kind} namespaces here: {done.stderr.strip()}")
    return inside
