"""Random bits are those of an independent implementation, for ever; and they are uniform.

The reference below works on Python's unbounded integers and shares no code with `mpr/runtime/randomness.py`. The
constants and the first outputs of the finalizer are those published with splitmix64 (Steele, Lea and Flood, OOPSLA
2014; Vigna's public-domain C code): for the state 0 it yields 0xE220A8397B1DCDAF, then 0x6E789E6AA1B965F4, then
0x06C45D188009454F.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from mpr.runtime import randomness
from tests.conftest import Examined

pytestmark = pytest.mark.small

MASK = (1 << 64) - 1


def _finalized(state: int) -> int:
    state = (state + 0x9E3779B97F4A7C15) & MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def _reference(seed: int, purpose: str, *coordinates: int) -> int:
    name = int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=8).digest(), "little")
    state = _finalized((seed & MASK) ^ name)
    for coordinate in coordinates:
        state = _finalized(state ^ (coordinate & MASK))
    return state


def test_the_reference_is_splitmix64() -> None:
    golden = 0x9E3779B97F4A7C15
    outputs = [_finalized(step * golden & MASK) for step in range(3)]
    assert outputs == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_bits_equal_the_reference(examined: Examined) -> None:
    count = 0
    for seed in (0, 1, 42, -1, 2**31, 2**63, 2**64 - 1, 2**64, 10**30):
        for purpose in ("", "draw", "naïve"):
            for coordinates in ((), (0,), (1,), (-1,), (3, 5), (5, 3), (2**40, 2**62, 7)):
                expected = _reference(seed, purpose, *coordinates)
                assert int(randomness.bits(seed, purpose, *coordinates)) == expected, (seed, purpose, coordinates)
                count += 1
    examined(count, "points", at_least=9 * 3 * 7)


GOLDEN = [0x8F60BB43A400014E, 0x40A22792ED5FC276, 0x0123797170A54516, 0x0F75159286689DBB]
PERMUTATION = [4, 2, 3, 0, 7, 6, 9, 5, 1, 8]


def test_golden_bits() -> None:
    """If these change, every draw of every published run changes."""
    assert randomness.bits(42, "draw", np.arange(4)).tolist() == GOLDEN
    assert randomness.permutation(42, "epoch", 10).tolist() == PERMUTATION
    assert sorted(range(10), key=lambda point: _reference(42, "epoch", point)) == PERMUTATION


def test_coordinates_broadcast() -> None:
    rows, columns = np.arange(3)[:, None], np.arange(4)[None, :]
    table = randomness.bits(1, "x", rows, columns)
    assert table.shape == (3, 4)
    assert table.dtype == np.uint64
    for row in range(3):
        for column in range(4):
            assert table[row, column] == randomness.bits(1, "x", row, column)
    narrow = randomness.bits(1, "x", rows.astype(np.int16), columns.astype(np.uint8))
    assert (narrow == table).all(), "the type of a coordinate must not matter"


def test_uniform_stays_inside_the_open_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    for extreme, expected in ((0, 2.0**-53), (MASK, 1 - 2.0**-53)):
        monkeypatch.setattr(randomness, "bits", lambda *_, value=extreme: np.array([value], dtype=np.uint64))
        assert randomness.uniform(0, "x")[0] == expected
        assert math.isfinite(randomness.gumbel(0, "x")[0])


def _chi_square(observed: np.ndarray) -> float:
    expected = observed.sum() / len(observed)
    return float(((observed - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("seed", [0, 1, 42])
def test_uniformity(seed: int, examined: Examined) -> None:
    """256 cells: chi-square has mean 255 and deviation 22.6; beyond 5 deviations once in some million tries."""
    points = 200_000
    values = {
        "uniform": randomness.uniform(seed, "cells", np.arange(points)),
        "over two coordinates": randomness.uniform(seed, "cells", np.arange(1000)[:, None], np.arange(200)).ravel(),
        "over seeds": np.concatenate([randomness.uniform(seed + s, "cells", np.arange(200)) for s in range(1000)]),
    }
    low = randomness.bits(seed, "cells", np.arange(points)) & np.uint64(0xFF)
    cells = {name: np.bincount((value * 256).astype(int), minlength=256) for name, value in values.items()}
    cells["low byte"] = np.bincount(low.astype(int), minlength=256)
    following = values["uniform"]
    pairs = (following[:-1] * 16).astype(int) * 16 + (following[1:] * 16).astype(int)
    cells["pairs of neighbours"] = np.bincount(pairs, minlength=256)
    for name, observed in cells.items():
        assert 255 - 5 * 22.6 < _chi_square(observed) < 255 + 5 * 22.6, name
    examined(len(cells), "chi-square tests")


def test_purposes_and_seeds_are_independent() -> None:
    points = np.arange(10_000)
    base = randomness.uniform(1, "positives", points)
    for other in (randomness.uniform(2, "positives", points), randomness.uniform(1, "negatives", points)):
        assert abs(np.corrcoef(base, other)[0, 1]) < 0.05
        assert not (base == other).any()


def test_gumbel_has_its_moments() -> None:
    noise = randomness.gumbel(7, "noise", np.arange(200_000))
    assert noise.mean() == pytest.approx(0.5772156649, abs=0.015)  # Euler's constant
    assert noise.std() == pytest.approx(math.pi / math.sqrt(6), abs=0.015)


def _inclusion(weights: list[float]) -> list[float]:
    """Exact inclusion probabilities of two draws, one after the other, without replacement."""
    return [
        weight + sum(first * weight / (1 - first) for other, first in enumerate(weights) if other != place)
        for place, weight in enumerate(weights)
    ]


def test_gumbel_top_k_draws_without_replacement() -> None:
    weights, trials = [0.5, 0.3, 0.15, 0.05], 200_000
    noise = randomness.gumbel(3, "draw", np.arange(trials)[:, None], np.arange(4))
    chosen = np.argsort(-(np.log(weights) + noise), axis=1)[:, :2]
    frequencies = np.bincount(chosen.ravel(), minlength=4) / trials
    assert _inclusion(weights) == pytest.approx([0.829, 0.669, 0.372, 0.130], abs=6e-4)  # as printed in docs
    deviation = [math.sqrt(p * (1 - p) / trials) for p in _inclusion(weights)]
    for frequency, p, sigma in zip(frequencies, _inclusion(weights), deviation, strict=True):
        assert abs(frequency - p) < 5 * sigma


def test_permutation_is_one_and_every_order_comes_up(examined: Examined) -> None:
    for size in (0, 1, 2, 1000):
        assert sorted(randomness.permutation(5, "order", size, 3).tolist()) == list(range(size))
    seen = Counter(tuple(randomness.permutation(5, "order", 4, epoch).tolist()) for epoch in range(4_800))
    assert len(seen) == 24
    assert _chi_square(np.array(list(seen.values()))) < 23 + 5 * math.sqrt(2 * 23)
    orders = [randomness.permutation(5, "order", 1000, epoch).tolist() for epoch in range(4)]
    assert all(one != other for one, other in pairwise(orders))
    examined(seen.total(), "permutations", at_least=4_800)
