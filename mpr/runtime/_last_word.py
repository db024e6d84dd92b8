"""Says what it is given when another process has ended: `python _last_word.py PROCESS`, started by `command`.

accelerate with one process answers the end of a failed program with a traceback that says no more than that. This
program waits for the end of accelerate and repeats what mpr had said, so that it is the last thing on the screen. It
needs a file descriptor that stands for a process (`pidfd_open`: Linux 5.3); elsewhere it ends at once.
"""

from __future__ import annotations

import os
import select
import sys

PATIENCE = 60  # seconds


def main() -> None:
    said = sys.stdin.buffer.read().decode("utf-8", "replace")
    try:
        process = os.pidfd_open(int(sys.argv[1]))
    except (AttributeError, OSError):  # not Linux, or it has ended, so nothing was said since
        return
    os.close(sys.stdout.fileno())  # whoever reads that knows that we watch
    ended, _, _ = select.select([process], [], [], PATIENCE)
    if ended:
        sys.stderr.write(said)


if __name__ == "__main__":
    main()
    sys.stderr.flush()
    os._exit(0)  # without looking for the closed descriptor
