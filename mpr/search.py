"""Search for the k best passages: the one call that most callers need. See docs/search.md."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpr.exact import Exact
from mpr.hits import Hits
from mpr.shards import Store


def exact(
    queries_QD: NDArray[np.float32],
    store: Store,
    k: int,
    *,
    budget_bytes: int,
    device: str = "cpu",
    first_pass: str | None = None,
) -> Hits:
    """Exact search of one batch. To search one store many times, open it once: `Exact.open(store, ...).search(...)`."""
    return Exact.open(store, budget_bytes=budget_bytes, device=device, first_pass=first_pass).search(queries_QD, k)
