"""`python tests/e2e/sharding.py ARGUMENT...` is `mpr/train.py ARGUMENT...` with FSDP 2 on CPU processes.

accelerate shards on GPUs alone. Its launcher says FSDP in the environment; the processes are told that they are of GPUs
once they have met.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[2])
    from mpr import train
    from tests.e2e.shards import on_shards

    assert os.environ["ACCELERATE_USE_FSDP"] == "true", "the launch file says so"
    on_shards()(int(os.environ["RANK"]))
    train.main(sys.argv[1:])
