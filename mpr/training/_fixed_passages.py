"""Passages whose vectors do not change in training: encoded once, kept on disk, read by row.

The passage tower is frozen (`towers.train: question`), so every passage of the training split has one vector for the
whole run. It is computed before the first step with the weights that training starts from, in a committed store of
vectors that any later run from the same weights finds again, and that is memory-mapped: a step reads the rows it needs.

Shapes: O own questions of this process, N passages asked for, D dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mpr import storage
from mpr.data.passages import PassageStore
from mpr.data.tokens import PADDING, TokenStore
from mpr.models.transfer import sent
from mpr.runtime.processes import ONE_PROCESS, Group
from mpr.search import encode, vectors
from mpr.search.inference import Model
from mpr.search.shards import Places, Store
from mpr.search.vectors import VectorStore
from mpr.storage.ragged import Integers


def kept(
    model: Model, passages: PassageStore, texts: TokenStore, options: encode.Options, group: Group = ONE_PROCESS
) -> VectorStore:
    """The vectors of these passages, which lie beside them: encoded now, or verified byte for byte. Every process of
    the group calls it and encodes its share."""
    task = encode.Task.of(model, "passage", model.side("passage", texts), passages.ids, options)
    target = passages.folder.with_name(f"{passages.folder.name}-vectors-{storage.json_digest(task.work)[:8]}")
    group.first(lambda: storage.verify(target, vectors.KIND).digest if target.exists() else "")
    return encode.run(task, target, group)


@dataclass(frozen=True)
class FixedPassages:
    """The vectors of all passages by row."""

    store: Store
    device: torch.device

    @cached_property
    def _places(self) -> Places:
        return Places(tuple(self.store.shards))

    def vectors(self, row_N: Integers) -> Tensor:
        """In 32 bits, on the device; zeros for PADDING."""
        vectors_ND = np.zeros((len(row_N), self.store.width), dtype=np.float32)
        real_N = row_N != PADDING
        vectors_ND[real_N] = self._places.vectors(self._places.place_of[row_N[real_N]])
        return sent(torch.from_numpy(vectors_ND), self.device)

    def __call__(self, own_OD: Tensor, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The batch with the vectors of its passages; what the questions look like does not matter."""
        return {**batch, "passage_PD": self.vectors(batch["passage_rows"])}
