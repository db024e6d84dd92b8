"""The order of the rows of an epoch: a pure function of the seed and the number of the epoch.

`shuffle` is a seeded permutation, `sequential` the order of the data. `cluster` puts similar questions into a step:
the rows of each cluster, in a seeded order, are cut into steps; what is left of the clusters is put together, cluster
after cluster, and cut into steps too; and the steps come in a seeded order. Every row comes once an epoch.

Rows run on from epoch to epoch without a gap, so a step may begin in one epoch and end in the next. These rows at
either end of an epoch are taken from what is left of the clusters, so that all other steps are whole.

Shapes: U rows of an epoch, L of them that are left over, S portions of a cluster.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mpr.runtime import randomness
from mpr.storage.ragged import Integers

_KEPT = 4  # epochs whose order is remembered


@dataclass
class RowOrder:
    """Orders of `size` rows. For `cluster`: the cluster of each, and from how many of them a step takes its rows."""

    questions: str
    seed: int
    size: int
    rows_per_step: int
    cluster_U: NDArray[np.int32] | None = None
    per_step: int = 1
    _made: dict[int, Integers] = field(default_factory=dict, repr=False)

    def __call__(self, epoch: int) -> Integers:
        """The rows of an epoch in their order."""
        if epoch not in self._made:
            if len(self._made) == _KEPT:
                self._made.clear()
            self._made[epoch] = self._order(epoch)
        return self._made[epoch]

    def _order(self, epoch: int) -> Integers:
        if self.questions == "sequential":
            return np.arange(self.size)
        shuffled_U = randomness.permutation(self.seed, "order of rows", self.size, epoch)
        return shuffled_U if self.cluster_U is None else self._clustered(shuffled_U, self.cluster_U, epoch)

    def _clustered(self, shuffled_U: Integers, cluster_U: NDArray[np.int32], epoch: int) -> Integers:
        step = self.rows_per_step
        whole, left_L = self._portions(shuffled_U, cluster_U[shuffled_U], epoch)
        head = min(-epoch * self.size % step, self.size)  # rows of the step that the epoch before began
        tail = (self.size - head) % step
        if len(left_L) < head + tail and len(whole):
            whole, left_L = whole[:-1], np.concatenate([left_L, whole[-1]])
        middle_L = left_L[head : len(left_L) - tail]
        steps = np.concatenate([whole, middle_L.reshape(-1, step)])
        order = randomness.permutation(self.seed, "order of steps", len(steps), epoch)
        return np.concatenate([left_L[:head], steps[order].reshape(-1), left_L[len(left_L) - tail :]])

    def _portions(self, shuffled_U: Integers, cluster_U: NDArray[np.int32], epoch: int) -> tuple[Integers, Integers]:
        """Whole steps, one a line, and the rows that are left, those of a cluster together."""
        portion, count = self.rows_per_step // self.per_step, int(cluster_U.max()) + 1
        turn_K = randomness.permutation(self.seed, "order of clusters", count, epoch)  # of each cluster
        order = np.argsort(turn_K[cluster_U], kind="stable")
        size_K = np.bincount(turn_K[cluster_U], minlength=count)
        within_U = np.arange(len(order)) - np.repeat(np.cumsum(size_K) - size_K, size_K)
        full_U = within_U < np.repeat(size_K - size_K % portion, size_K)
        rows_U = shuffled_U[order]
        portions_S = rows_U[full_U].reshape(-1, portion)
        portions_S = portions_S[randomness.permutation(self.seed, "order of portions", len(portions_S), epoch)]
        steps = len(portions_S) // self.per_step
        whole = portions_S[: steps * self.per_step].reshape(steps, self.per_step * portion)
        return whole, np.concatenate([portions_S[steps * self.per_step :].reshape(-1), rows_U[~full_U]])
