"""What the first pass of an exact search measured of a store, kept beside it: the next start need not read it all.

`<store>-measured-<digest>/norms.bin` has two 64-bit numbers for each panel of passages: the largest length, and the
largest loss by rounding (`mpr/search/_error_bounds.py`). That it is there means that all numbers were finite. The
digest is of the shards' own digests, the size of a panel and the type of the pass: a store that was encoded anew has
other measures, and so has each share of one that several processes search together.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from mpr import storage
from mpr.errors import StorageError
from mpr.search._error_bounds import Norms
from mpr.search.vectors import SHARD, StoredShard

KIND = "measures of vectors"
NORMS = "norms.bin"

log = logging.getLogger("mpr.search")


class Measures:
    """Of these shards, for a pass in this type."""

    def __init__(self, shards: Sequence[StoredShard], panel: int, type_name: str) -> None:
        digests = [storage.read_manifest(shard.folder, SHARD).digest for shard in shards]
        self.receipt = {"shards": digests, "panel": panel, "type": type_name}
        self.panels = [-(-len(shard) // panel) for shard in shards]
        store = shards[0].folder.parent
        self.target = store.with_name(f"{store.name}-measured-{storage.json_digest(self.receipt)[:8]}")

    def read(self) -> list[Norms] | None:
        """Of each shard, every byte verified; None: not there. What is damaged is measured anew."""
        if not self.target.exists():
            return None
        try:
            found = storage.verify(self.target, KIND)
            numbers_2N = np.frombuffer((self.target / NORMS).read_bytes(), dtype="<f8").reshape(2, -1)
            if found.receipt != self.receipt or numbers_2N.shape[1] != sum(self.panels):
                raise StorageError("is of other vectors", where=str(self.target))
        except (StorageError, ValueError, OSError) as error:
            log.warning("%s; the vectors are measured anew", error)
            with suppress(StorageError):
                storage.remove(self.target)
            return None
        parts = np.split(numbers_2N, np.cumsum(self.panels)[:-1], axis=1)
        return [Norms(lengths_N.copy(), losses_N.copy()) for lengths_N, losses_N in parts]

    def keep(self, norms: Sequence[Norms]) -> None:
        """Where nothing can be written, the next start measures again."""
        numbers_2N = np.concatenate([np.stack([each.length, each.lost]) for each in norms], axis=1)
        try:
            with storage.stage(self.target, KIND, self.receipt) as stage:
                stage.write(NORMS, numbers_2N.astype("<f8").tobytes())
        except StorageError as error:
            log.info("what was measured of the vectors is not kept: %s", error)


def of(shards: Sequence[object], panel: int, type_name: str) -> Measures | None:
    """None where the shards do not lie on disk."""
    stored = [shard for shard in shards if isinstance(shard, StoredShard)]
    return Measures(stored, panel, type_name) if stored and len(stored) == len(shards) else None
