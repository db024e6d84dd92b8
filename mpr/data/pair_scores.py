"""Pair scores: a number for pairs of a question and a passage, on disk, sorted, memory-mapped and found by arrays.

Teacher scores, BM25 scores, grades and judgements of a language model are all of this kind. A pair is one number, row
of the question above row of the passage; the store has these keys in ascending order with their values beside them, 12
bytes a pair, so a lookup is a binary search that reads a few pages. What is not in the store is unknown: NaN, never 0.

The writer takes pairs in any order. It sorts as many as memory is given for, keeps each sorted run on the disk, and
merges the runs with a window on each: any number of pairs is written in the same memory. A pair that comes twice is
refused, or, where the source is known to repeat itself, only if it comes with two values.

Shapes: N pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mpr import storage
from mpr.errors import DataError
from mpr.storage.ragged import Floats, Integers, memory_map

KIND = "pair_scores"
MEMORY = 1 << 22  # pairs held at once while a store is written: about 100 MB with what sorting needs
_BITS = 40  # of the passage: a million million of them
_FILES = {"keys": "<i8", "values": "<f4"}

Repeated = Literal["refuse", "same"]


def keys_of(question_N: Any, passage_N: Any) -> Integers:
    """One number for each pair; they sort by question, then by passage."""
    return np.asarray(question_N, dtype=np.int64) << _BITS | np.asarray(passage_N, dtype=np.int64)


def pairs_of(key_N: Integers) -> tuple[Integers, Integers]:
    """Rows of the question and of the passage of each key."""
    return key_N >> _BITS, key_N & ((1 << _BITS) - 1)


def digest_of(key_N: Integers) -> str:
    """Identity of a set of pairs, for the name of what is computed about them."""
    return hashlib.sha256(np.ascontiguousarray(key_N, dtype="<i8").data).hexdigest()


@dataclass(frozen=True)
class Scored:
    """Pairs with their values, as a source of scores yields them."""

    question_N: Integers
    passage_N: Integers
    value_N: Floats


class PairScores:
    """Read access: a committed store, or the same held in memory."""

    def __init__(self, key_N: Integers, value_N: Floats, folder: Path | None = None, digest: str = "") -> None:
        self.keys, self.values, self.folder, self.digest = key_N, value_N, folder, digest

    @classmethod
    def open(cls, folder: Path) -> PairScores:
        digest = storage.read_manifest(folder, KIND).digest
        key_N, value_N = (memory_map(Path(folder) / f"{name}.bin", kind) for name, kind in _FILES.items())
        return cls(key_N, value_N, Path(folder), digest)

    @classmethod
    def of(cls, scored: Scored, repeated: Repeated = "refuse") -> PairScores:
        """In memory, from pairs in any order."""
        return cls(*_sorted(*_columns([scored]), repeated))

    def __len__(self) -> int:
        return len(self.keys)

    def lookup(self, question_N: Any, passage_N: Any) -> Floats:
        """The value of each of these pairs, of any shapes that go together; NaN where it is unknown."""
        key_N = keys_of(question_N, passage_N)
        found_N = np.full(key_N.shape, np.nan, dtype=np.float32)
        if len(self):
            place_N = np.minimum(np.searchsorted(self.keys, key_N), len(self) - 1)
            known_N = self.keys[place_N] == key_N
            found_N[known_N] = self.values[place_N[known_N]]
        return found_N


def write(
    target: Path,
    blocks: Iterable[Scored],
    receipt: Mapping[str, Any],
    *,
    repeated: Repeated = "refuse",
    memory: int = MEMORY,
) -> PairScores:
    """Writes the store `target` from blocks of pairs in any order."""
    receipt = dict(receipt)
    pieces = _gathered(blocks, repeated, memory)
    first, second = next(pieces, None), next(pieces, None)
    with storage.stage(target, KIND, receipt) as stage:
        if first is None or second is None:
            _fill(stage, iter(() if first is None else (first,)), receipt)
        else:
            ends = [0]
            with stage.open("runs_keys.bin") as keys, stage.open("runs_values.bin") as values:
                for key_N, value_N in chain((first, second), pieces):
                    _append(keys, values, key_N, value_N)
                    ends.append(ends[-1] + len(key_N))
            key_N, value_N = (memory_map(stage.folder / f"runs_{name}.bin", kind) for name, kind in _FILES.items())
            runs = [(key_N[a:b], value_N[a:b]) for a, b in pairwise(ends)]
            _fill(stage, merged(runs, repeated, memory), receipt)
            for name in _FILES:
                stage.discard(f"runs_{name}.bin")
    return PairScores.open(target)


def beside(
    split: Path,
    kind: str,
    receipt: Mapping[str, Any],
    blocks: Callable[[], Iterable[Scored]],
    repeated: Repeated = "refuse",
) -> PairScores:
    """The store of that kind that lies beside a split, named by its receipt; made where it is not there yet."""
    target = split.with_name(f"{split.name}-{kind}-{storage.json_digest(receipt)[:8]}")
    with storage.missing(target) as is_missing:
        if is_missing:
            write(target, blocks(), receipt, repeated=repeated)
    return PairScores.open(target)


def merge(target: Path, parts: Sequence[PairScores], receipt: Mapping[str, Any], memory: int = MEMORY) -> PairScores:
    """One store of several that were committed one by one, such as the chunks of a long scoring."""
    receipt = dict(receipt)
    with storage.stage(target, KIND, receipt) as stage:
        _fill(stage, merged([(part.keys, part.values) for part in parts], "refuse", memory), receipt)
    return PairScores.open(target)


Run = tuple[Integers, Floats]


def merged(runs: Sequence[Run], repeated: Repeated, memory: int = MEMORY) -> Iterator[Run]:
    """The pairs of sorted runs in order, piece by piece. A piece ends where the first of the windows does, so that
    equal keys of different runs always meet in one piece."""
    window, at = max(1, memory // max(1, len(runs))), [0] * len(runs)
    while open_ := [number for number, (keys, _) in enumerate(runs) if at[number] < len(keys)]:
        last = min(int(runs[number][0][min(at[number] + window, len(runs[number][0])) - 1]) for number in open_)
        pieces = []
        for number in open_:
            keys, values = runs[number]
            start = at[number]
            at[number] = start + int(np.searchsorted(keys[start : start + window], last, side="right"))
            pieces.append((keys[start : at[number]], values[start : at[number]]))
        key_N, value_N = (np.concatenate(column) for column in zip(*pieces, strict=True))
        yield _sorted(key_N, value_N, repeated)


def _gathered(blocks: Iterable[Scored], repeated: Repeated, memory: int) -> Iterator[Run]:
    """Sorted runs, each of as many blocks as fit."""
    held: list[Scored] = []
    count = 0
    for block in blocks:
        if held and count + len(block.question_N) > memory:
            yield _sorted(*_columns(held), repeated)
            held, count = [], 0
        held.append(block)
        count += len(block.question_N)
    if held:
        yield _sorted(*_columns(held), repeated)


def _columns(held: Sequence[Scored]) -> tuple[Integers, Floats]:
    question_N = np.concatenate([block.question_N for block in held])
    passage_N = np.concatenate([block.passage_N for block in held])
    value_N = np.concatenate([block.value_N for block in held]).astype(np.float32)
    if not np.isfinite(value_N).all():
        place = int(np.argmin(np.isfinite(value_N)))
        what = f"the score of question row {question_N[place]} and passage row {passage_N[place]} is {value_N[place]}"
        raise DataError(what, key="scores", fix="leave out pairs whose score is not known")
    return keys_of(question_N, passage_N), value_N


def _sorted(key_N: Integers, value_N: Floats, repeated: Repeated) -> Run:
    order = np.argsort(key_N, kind="stable")
    key_N, value_N = key_N[order], value_N[order]
    again_N = np.concatenate([[False], key_N[1:] == key_N[:-1]])
    if again_N.any():
        different_N = again_N & (value_N != np.concatenate([value_N[:1], value_N[:-1]]))
        place = int(np.argmax(different_N)) if different_N.any() else int(np.argmax(again_N))
        if repeated == "refuse" or different_N.any():
            question, passage = (int(row) for row in pairs_of(key_N[place]))
            values = f"{value_N[place - 1]:g} and {value_N[place]:g}"
            what = f"the pair of question row {question} and passage row {passage} has two scores, {values}"
            raise DataError(what, key="scores", fix="keep one score for each pair")
        key_N, value_N = key_N[~again_N], value_N[~again_N]
    return key_N, value_N


def _fill(stage: storage.Stage, pieces: Iterator[Run], receipt: dict[str, Any]) -> None:
    count = 0
    with stage.open("keys.bin") as keys, stage.open("values.bin") as values:
        for key_N, value_N in pieces:
            _append(keys, values, key_N, value_N)
            count += len(key_N)
    receipt["pairs"] = count


def _append(keys: Any, values: Any, key_N: Integers, value_N: Floats) -> None:
    keys.write(np.ascontiguousarray(key_N, dtype=_FILES["keys"]).tobytes())
    values.write(np.ascontiguousarray(value_N, dtype=_FILES["values"]).tobytes())
