"""Exact search on the simulated GPU: `python -m tests.device.searching FOLDER` prints what was found, as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mpr.errors import RecipeError
from mpr.search import _first_pass, shards, vectors
from mpr.search.exact import DEVICE_SLACK, DeviceShare, Exact
from tests.device import simulated
from tests.unit.vectors_in_memory import brute_force, same

COUNT, WIDTH, K, BUDGET = 120_000, 16, 20, 1 << 30
TIGHT = (DEVICE_SLACK + 2_500_000) * 4 // 3  # room for little more than one block


def stored(folder: Path, dtype: str) -> tuple[vectors.VectorStore, Any]:
    """A store of two shards, and the vectors as they came out of rounding."""
    made_ND = np.random.default_rng(3).standard_normal((COUNT, WIDTH), dtype=np.float32)
    work = vectors.Unfinished(folder / dtype, {"model": "m", "data": "d"}, 2, WIDTH, dtype)
    with work.held():
        work.missing()
        for number, rows_N in enumerate((np.arange(0, 70_000), np.arange(70_000, COUNT))):
            work.add(number, rows_N, made_ND[rows_N])
        store = work.commit({})
    return store, shards.widened(vectors.packed(made_ND, dtype), dtype)


def main() -> None:
    folder, found = Path(sys.argv[1]), dict[str, Any]()
    simulated.begin()
    torch.set_num_threads(1)
    _first_pass.INTO_32_BITS = False  # the processor has no such product; as torch before 2.8
    sent = [0]
    send = _first_pass.sent

    def counted(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
        sent[0] += tensor.nbytes
        return send(tensor, device)

    _first_pass.sent = counted
    queries_QD = np.random.default_rng(4).standard_normal((30, WIDTH), dtype=np.float32)
    with simulated.Mode():
        for dtype in ("float32", "float16", "bfloat16"):
            store, true_ND = stored(folder, dtype)
            size = sum(shard.vectors.nbytes for shard in store.shards)
            expected = brute_force(queries_QD, true_ND, K)
            sent[0] = 0
            ready = Exact.open(store, budget_bytes=BUDGET, device="cuda:0", remembers=True)
            first, sent[0] = sent[0], 0
            results = [ready.search(queries_QD, K)]
            again = Exact.open(store, budget_bytes=BUDGET, device="cuda:0", remembers=True)
            found[dtype] = {"stored_bytes": size, "sent_bytes": first, "again_bytes": sent[0], "kept_bytes": size}
            results.append(again.search(queries_QD, K))
            ready = Exact.open(
                store, budget_bytes=BUDGET, device="cuda:0", remembers=True, free_on=lambda device: TIGHT
            )
            found["streamed"] = 0 <= sum(map(len, ready.first.kept)) < COUNT
            results.append(ready.search(queries_QD, K))
            found[dtype]["same"] = all(same(each, expected) for each in results)
        simulated.FREE[:] = [1 << 30, 8 << 30]
        found["free"] = Exact.open(store, budget_bytes=BUDGET, device="cuda:0", share=DeviceShare(1.0)).room.device
        try:
            share = DeviceShare(0.001, "refresh.device_share", "raise it (0.001 now), or use a GPU with more memory")
            Exact.open(store, budget_bytes=BUDGET, device="cuda:0", share=share)
        except RecipeError as error:
            found["refused"] = [error.problems[0].key, str(error)]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
