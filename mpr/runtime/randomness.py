"""Randomness as an argument: every random bit is a pure function of a seed, a purpose and coordinates.

There is no generator whose state could depend on worker counts, on the order of calls or on a resume. The mixing
function is splitmix64's finalizer (Steele, Lea and Flood, OOPSLA 2014), applied once per coordinate; it is written out
because numpy promises stable bits for its bit generators but has no cheap way to address one by coordinates, and the
sampler needs a fresh value for each (question, candidate) of a batch at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpr.records import stable_hash

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def bits(seed: int, purpose: str, *coordinates: ArrayLike) -> NDArray[np.uint64]:
    """64 random bits per point; coordinates are integers or integer arrays and broadcast against one another."""
    state: Any = _mixed(np.asarray(seed & 0xFFFFFFFFFFFFFFFF, dtype=np.uint64) ^ np.uint64(stable_hash(purpose)))
    for coordinate in coordinates:
        point = np.asarray(coordinate).astype(np.int64).astype(np.uint64)
        state = _mixed(state ^ point)
    return np.asarray(state, dtype=np.uint64)


def uniform(seed: int, purpose: str, *coordinates: ArrayLike) -> NDArray[np.float64]:
    """Numbers in the open interval (0, 1), so that their logarithm is always finite."""
    return ((bits(seed, purpose, *coordinates) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def gumbel(seed: int, purpose: str, *coordinates: ArrayLike) -> NDArray[np.float64]:
    """Standard Gumbel noise: added to log-weights, its k largest are a draw without replacement."""
    return -np.log(-np.log(uniform(seed, purpose, *coordinates)))


def permutation(seed: int, purpose: str, size: int, *coordinates: int) -> NDArray[np.int64]:
    """A random order of `range(size)`."""
    keys = bits(seed, purpose, *coordinates, np.arange(size))
    return np.argsort(keys, kind="stable").astype(np.int64)


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        state = state + _GOLDEN
        state = (state ^ (state >> np.uint64(30))) * _MIX_1
        state = (state ^ (state >> np.uint64(27))) * _MIX_2
    return state ^ (state >> np.uint64(31))
