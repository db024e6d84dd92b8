"""Pair scores against a dictionary: any blocks in any order, any memory, one set of bytes; what is unknown is NaN."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from mpr import storage
from mpr.data import pair_scores
from mpr.data.pair_scores import PairScores, Scored
from mpr.errors import DataError
from tests.conftest import Examined

Known = dict[tuple[int, int], float]


def block(pairs: Sequence[tuple[int, int]], values: Sequence[float]) -> Scored:
    question_N, passage_N = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return Scored(question_N, passage_N, np.array(values, dtype=np.float32))


def world(seed: int, size: int) -> Known:
    """Pairs with numbers as large as rows get: passages beyond 32 bits, questions in the millions."""
    dice = random.Random(seed)
    pairs = {
        (dice.randrange(5_000_000), dice.choice((dice.randrange(9), 2**39 + dice.randrange(9)))) for _ in range(size)
    }
    return {pair: dice.uniform(-9, 9) for pair in pairs}


def shuffled(known: Known, dice: random.Random) -> Iterator[Scored]:
    """All pairs in blocks of any size, none included, in any order."""
    pairs = list(known)
    dice.shuffle(pairs)
    while pairs:
        some, pairs = pairs[: (count := dice.randrange(9))], pairs[count:]
        yield block(some, [known[pair] for pair in some])


def test_any_blocks_and_any_memory_give_the_same_bytes(tmp_path: Path, examined: Examined) -> None:
    digests, looked = set(), 0
    known = world(1, 600)
    for number, memory in enumerate((1, 2, 7, 60, 10_000)):
        made = pair_scores.write(tmp_path / f"{number}", shuffled(known, random.Random(number)), {}, memory=memory)
        assert made.folder is not None
        digests.add(storage.verify(made.folder).digest)
        assert not list(tmp_path.glob("*-runs"))
        pairs = [*known, *((question, passage + 1) for question, passage in known), (0, 0), (2**22, 2**40 - 1)]
        found = made.lookup(*np.array(pairs).T)
        for pair, value in zip(pairs, found.tolist(), strict=True):
            assert value == np.float32(known[pair]) if pair in known else np.isnan(value)
        looked += len(pairs)
    assert len(digests) == 1
    in_memory = PairScores.of(block(list(known), list(known.values())))
    assert np.array_equal(in_memory.keys, made.keys)
    assert np.array_equal(in_memory.values, made.values)
    assert (np.diff(made.keys) > 0).all()
    examined(looked, "pairs looked up", at_least=5_000)


def test_lookups_take_the_shape_of_a_block() -> None:
    scores = PairScores.of(block([(3, 5), (1, 2)], [0.5, 0.25]))
    found_QP = scores.lookup(np.array([1, 3, -1])[:, None], np.array([2, 5, -1]))
    assert np.array_equal(found_QP, [[0.25, np.nan, np.nan], [np.nan, 0.5, np.nan], [np.nan] * 3], equal_nan=True)
    assert found_QP.dtype == np.float32
    nothing = PairScores.of(block([], []))
    assert len(nothing) == 0
    assert np.isnan(nothing.lookup([1, 2], [3, 4])).all()


@pytest.mark.parametrize("memory", [1, 3, 100])
@pytest.mark.parametrize("between", [0, 4])
def test_a_pair_with_two_scores_is_refused(tmp_path: Path, memory: int, between: int) -> None:
    """In a block, in a run, and in two runs that only meet when they are merged."""
    rest = [block([(9, number)], [0.0]) for number in range(between)]
    other = [block([(2, 7)], [1.0]), *rest, block([(2, 7)], [2.0])]
    for repeated in ("refuse", "same"):
        with pytest.raises(DataError, match="question row 2 and passage row 7 has two scores, 1 and 2"):
            pair_scores.write(tmp_path / "s", other, {}, repeated=repeated, memory=memory)  # type: ignore[arg-type]
        assert not (tmp_path / "s").exists()
    equal = [block([(2, 7)], [1.0]), *rest, block([(2, 7)], [1.0])]
    with pytest.raises(DataError, match="has two scores, 1 and 1"):
        pair_scores.write(tmp_path / "s", equal, {}, memory=memory)
    assert len(pair_scores.write(tmp_path / "s", equal, {}, repeated="same", memory=memory)) == between + 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_score_that_is_no_number_is_refused(tmp_path: Path, value: float) -> None:
    with pytest.raises(DataError, match=rf"passage row 5 is -?{str(value).lstrip('-')}"):
        pair_scores.write(tmp_path / "s", [block([(1, 2), (4, 5)], [0.0, value])], {})


def test_nothing_is_a_store_too(tmp_path: Path) -> None:
    made = pair_scores.write(tmp_path / "s", [], {})
    assert (len(made), storage.read_manifest(tmp_path / "s").receipt["pairs"]) == (0, 0)


def test_parts_become_one_store(tmp_path: Path) -> None:
    known = world(2, 300)
    whole = pair_scores.write(tmp_path / "whole", shuffled(known, random.Random(0)), {})
    pairs = list(known)
    parts = [
        pair_scores.write(tmp_path / f"{start}", [block(some := pairs[start::3], [known[pair] for pair in some])], {})
        for start in range(3)
    ]
    for number, memory in enumerate((1, 50, 10_000)):
        made = pair_scores.merge(tmp_path / f"made-{number}", parts, {}, memory)
        assert made.digest == whole.digest
    with pytest.raises(DataError, match="has two scores"):
        pair_scores.merge(tmp_path / "twice", [parts[0], parts[1], parts[0]], {})


def test_memory_does_not_grow_with_the_number_of_pairs(tmp_path: Path, examined: Examined) -> None:
    """Eight times the pairs in the same memory; all of them sorted at once need megabytes more."""

    def blocks(count: int) -> Iterator[Scored]:
        for start in range(0, count, 500):
            row_N = (np.arange(start, start + 500, dtype=np.int64) * 7_919) % count  # in no order, each once
            yield Scored(row_N, row_N, row_N.astype(np.float32))

    peaks = []
    for number, (count, memory) in enumerate(((50_000, 4_000), (400_000, 4_000), (400_000, 400_000))):
        tracemalloc.start()
        made = pair_scores.write(tmp_path / f"{number}", blocks(count), {}, memory=memory)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(made) == count
    assert peaks[1] < peaks[0] + 1_000_000 < peaks[2] - 3_000_000
    examined(len(made), f"pairs written in {peaks[1]:,} bytes", at_least=400_000)


def test_what_a_stopped_attempt_left_is_thrown_away(tmp_path: Path) -> None:
    known = world(3, 100)

    def stopping() -> Iterator[Scored]:
        yield from list(shuffled(known, random.Random(0)))[:12]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pair_scores.write(tmp_path / "s", stopping(), {}, memory=5)
    (tmp_path / "s-runs").mkdir()  # as it is left when the process is killed after the runs were committed
    (tmp_path / "s-runs" / "keys.bin").write_bytes(b"damaged")
    made = pair_scores.write(tmp_path / "s", shuffled(known, random.Random(1)), {}, memory=5)
    expected = pair_scores.write(tmp_path / "other", shuffled(known, random.Random(2)), {})
    assert made.digest == expected.digest
