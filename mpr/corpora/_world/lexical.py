"""Lexical: a BM25 ranking in whole numbers, so that every platform ranks alike.

The usual formula with k1 = 0.9 and b = 0.4, scaled and rounded down; ties go to the earlier passage. It stands for the
search engine that distant supervision starts from. It is also the inverted index in which answers are looked up.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mpr.metrics.answers import token_line, tokens
from mpr.records import Passage

_STOP_WORDS = frozenset((
    "a", "about", "an", "and", "any", "are", "as", "at", "be", "been", "by", "can", "did", "do", "does", "find",
    "for", "from", "had", "has", "have", "he", "her", "him", "his", "how", "in", "into", "is", "it", "its", "many",
    "much", "name", "of", "on", "one", "or", "s", "she", "that", "the", "their", "there", "they", "this", "to",
    "under", "was", "were", "what", "when", "where", "which", "who", "whom", "whose", "will", "with",
))  # fmt: skip
_LOG_BITS = 8  # idf is in steps of 1/256


def log2_steps(numerator: int, denominator: int) -> int:
    """floor(256 * log2(numerator / denominator)) for numerator >= denominator, without floating point."""
    assert numerator >= denominator > 0, "idf is never negative here"
    whole = (numerator // denominator).bit_length() - 1
    # The fraction in (1, 2] with 62 bits, squared once per bit of the result.
    mantissa = (numerator << 62) // (denominator << whole)
    steps = whole
    for _ in range(_LOG_BITS):
        mantissa = (mantissa * mantissa) >> 62
        carry = mantissa >> 63
        mantissa >>= carry
        steps = 2 * steps + carry
    return steps


class Lexical:
    """An index of passages: title and text for ranking, text alone for answers."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.lines = [token_line(passage.text) for passage in passages]
        numbers: dict[str, int] = {}
        rows: list[int] = []
        columns: list[int] = []
        for row, passage in enumerate(passages):
            for token in [*tokens(passage.title), *self.lines[row].split()]:
                columns.append(numbers.setdefault(token, len(numbers)))
                rows.append(row)
        self._numbers = numbers
        self._weigh(np.asarray(rows, dtype=np.int64), np.asarray(columns, dtype=np.int64), len(passages))

    def _weigh(self, rows: NDArray[np.int64], columns: NDArray[np.int64], size: int) -> None:
        """Postings sorted by token, then passage, each with its share of the score."""
        lengths = np.bincount(rows, minlength=size)
        average = max(1, len(rows) // size)
        pairs, counts = np.unique(columns * size + rows, return_counts=True)
        self._rows = pairs % size
        self._starts = np.searchsorted(pairs // size, np.arange(len(self._numbers) + 1))
        found_in = np.diff(self._starts)
        idf = np.asarray([log2_steps(2 * size + 2, 2 * int(n) + 1) for n in found_in], dtype=np.int64)
        above = np.repeat(idf, found_in) * counts * 190 * average
        below = 100 * average * counts + 54 * average + 36 * lengths[self._rows]
        self._weights = 16 * above // below
        self.size = size

    def _postings(self, token: str) -> slice:
        number = self._numbers.get(token)
        return slice(0, 0) if number is None else slice(int(self._starts[number]), int(self._starts[number + 1]))

    def best(self, question: str, depth: int) -> list[tuple[int, int]]:
        """The `depth` best (passage number, score), best first; passages without a common word are left out."""
        scores = np.zeros(self.size, dtype=np.int64)
        for token in tokens(question):
            if token not in _STOP_WORDS:
                found = self._postings(token)
                scores[self._rows[found]] += self._weights[found]
        keys = scores * self.size + np.arange(self.size - 1, -1, -1)
        depth = min(depth, int(np.count_nonzero(scores)))
        top = np.sort(np.argpartition(-keys, depth - 1)[:depth]) if depth else np.zeros(0, dtype=np.int64)
        order = top[np.argsort(-keys[top], kind="stable")]
        return [(int(row), int(scores[row])) for row in order]

    def containing(self, answers: Sequence[str]) -> list[int]:
        """Numbers of the passages whose text contains one of the answers, in order."""
        found: set[int] = set()
        for answer in answers:
            line = token_line(answer)
            postings = [self._postings(token) for token in line.split()]
            if postings:
                rarest = min(postings, key=lambda part: part.stop - part.start)
                found.update(row for row in self._rows[rarest].tolist() if line in self.lines[row])
        return sorted(found)
