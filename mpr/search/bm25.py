"""BM25 over a passage store: an index on disk, and the best passages for a text.

`score(q, d) = sum over the words t of q of  ln(1 + (N - n_t + 1/2) / (n_t + 1/2)) * f / (f + k1 (1 - b + b |d| / avg))`

N passages, n_t of them with word t, f times in passage d of |d| words. This is BM25 as Lucene computes it; a word that
the question repeats counts each time. Every weight is computed once, when the index is built (Lu 2024, bm25s; the bytes
are those that bm25s computes), and the index is three flat arrays sorted by word. They and the sorted hashes of the
words are memory-mapped, so that opening an index costs nothing and processes share its memory.

While an index is built, texts are read one Arrow batch at a time, and postings go to disk and come back in parts
(`_postings`). What stays in memory are the words, four bytes a passage, and `budget_bytes` for the parts.

Stop words are left out of passages and questions before anything is counted: they are in no length and in no score.
`english` is the list of bm25s, 33 words that Lucene's English analysis leaves out too.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse._sparsetools import csc_matvec  # what `csc_array @ vector` runs, without making arrays

from mpr import storage
from mpr.data.passages import PassageStore
from mpr.errors import DataError
from mpr.records import stable_hash
from mpr.runtime.progress import Bar, Progress, silent
from mpr.search._postings import Runs, Words
from mpr.storage.ragged import Floats, Integers, memory_map

KIND = "bm25"
_WORD = re.compile(r"(?u)\b\w\w+\b")
# What may stand in a word, of ASCII; the bytes of other characters stay as they are.
_CUT = bytes(byte if byte > 127 or chr(byte).isalnum() or byte == ord("_") else ord(" ") for byte in range(256))
_SLICE = 1 << 10  # passages that are taken apart at once
_BLOCK = 1 << 14  # passages whose postings are sorted at once, about
_ONCE = np.ones(1, dtype=np.float32)
_GROUP = 256  # passages of which the highest score is looked at
BUDGET = 2 << 30  # bytes for the postings that are in memory together
_FILES = {"weights": "<f4", "passages": "<i4", "starts": "<i8", "words": "<u8"}


@dataclass(frozen=True)
class Analysis:
    """How a text becomes words: lower-cased runs of two or more word characters, without stop words, stemmed."""

    stopwords: str
    """`english` or `none`."""
    stemmer: str
    """`english` (Snowball) or `none`."""

    def __call__(self, text: str) -> list[str]:
        words = [word for word in _WORD.findall(text.lower()) if word not in self._stopwords]
        return words if self._stem is None else self._stem(words)

    @staticmethod
    def pieces(text: str) -> list[bytes]:
        """The text cut where ASCII has no word character: each piece has the words that it has in the text."""
        return text.lower().encode().translate(_CUT).split()

    @cached_property
    def _stopwords(self) -> frozenset[str]:
        if self.stopwords == "none":
            return frozenset()
        from bm25s.stopwords import STOPWORDS_EN

        return frozenset(STOPWORDS_EN)

    @cached_property
    def _stem(self) -> Callable[[list[str]], list[str]] | None:
        if self.stemmer == "none":
            return None
        import Stemmer

        stem: Callable[[list[str]], list[str]] = Stemmer.Stemmer(self.stemmer, 0).stemWords
        return stem


@dataclass(frozen=True)
class Settings:
    """Everything that an index depends on besides the passages."""

    k1: float
    b: float
    title: bool
    analysis: Analysis

    def origin(self, store: PassageStore) -> dict[str, Any]:
        """What an index of this store is made of: equal origins are equal indexes."""
        analysis = {"stopwords": self.analysis.stopwords, "stemmer": self.analysis.stemmer}
        libraries = {name: version(name) for name in ("bm25s", "PyStemmer")}
        return {
            "bm25": {"k1": self.k1, "b": self.b, "title": self.title, **analysis},
            "passages": store.manifest.digest,
            **libraries,
        }


def build(
    target: Path,
    store: PassageStore,
    settings: Settings,
    progress: Progress = silent,
    budget_bytes: int = BUDGET,
) -> LexicalIndex:
    """Writes the index of a store and opens it. Its bytes do not depend on the budget."""
    receipt = settings.origin(store)
    with storage.stage(target, KIND, receipt) as stage:
        runs = Runs(stage)
        hash_W = _read(store, settings, runs, progress)
        if not len(hash_W):
            raise DataError("no passage has a word to index", where=str(store.folder), fix="set stopwords: none")
        sorted_W = np.sort(hash_W)
        if (sorted_W[1:] == sorted_W[:-1]).any():
            raise DataError("two words share a 64-bit hash", where=str(store.folder), fix="please report this")
        starts, parts = runs.merged(hash_W, settings.k1, settings.b, budget_bytes)
        with stage.open("weights.bin") as weights, stage.open("passages.bin") as rows:
            for weight_N, passage_N in parts:
                weights.write(weight_N.astype(_FILES["weights"]).data)
                rows.write(passage_N.astype(_FILES["passages"]).data)
        stage.write("starts.bin", starts.astype(_FILES["starts"]).tobytes())
        stage.write("words.bin", sorted_W.astype(_FILES["words"]).tobytes())
        receipt |= {"words": len(hash_W), "indexed": len(store), "postings": int(starts[-1])}
    return LexicalIndex(target)


def _read(store: PassageStore, settings: Settings, runs: Runs, progress: Progress) -> NDArray[np.uint64]:
    """Adds all passages to the runs; gives the hashes of their words by number."""
    analysis, hashes = settings.analysis, np.zeros(0, dtype=np.uint64)
    words, numbers, counts = Words(analysis), array("i"), list[int]()

    def sort() -> None:
        nonlocal hashes
        number_T, owner_T = words.apart(np.frombuffer(numbers, np.int32), np.repeat(np.arange(len(counts)), counts))
        new = islice(words.numbers, len(hashes), None)
        hashes = np.concatenate([hashes, np.array([stable_hash(word) for word in new], dtype=np.uint64)])
        runs.add(len(counts), number_T, owner_T, hashes)

    for batch in store.batches():
        for start in range(0, batch.num_rows, _SLICE):
            some = batch.slice(start, _SLICE)
            titles, texts = some.column("title").to_pylist(), some.column("text").to_pylist()
            for title, text in zip(titles, texts, strict=True):
                found = analysis.pieces(f"{title} {text}" if settings.title else text)
                counts.append(len(found))
                numbers.extend(map(words.__getitem__, found))
            progress(len(texts))
            if len(counts) >= _BLOCK:
                sort()
                numbers, counts = array("i"), []
    if counts:
        sort()
    return hashes


def place(store: PassageStore, settings: Settings) -> Path:
    """Where the index of a store lies, whether or not it is there."""
    digest = storage.json_digest(settings.origin(store))
    return store.folder.with_name(f"{store.folder.name}-bm25-{digest[:8]}")


def beside(store: PassageStore, settings: Settings, bar: Bar, budget_bytes: int = BUDGET) -> LexicalIndex:
    """The index that lies beside a store, built where it is not there yet."""
    target = place(store, settings)
    with storage.missing(target) as is_missing:
        if is_missing:
            with bar("BM25 index", len(store)) as progress:
                build(target, store, settings, progress, budget_bytes)
    storage.verify(target)
    return LexicalIndex(target)


class LexicalIndex:
    """Read access to a committed index."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.manifest = storage.read_manifest(self.folder, KIND)
        maps = {name: np.asarray(memory_map(self.folder / f"{name}.bin", kind)) for name, kind in _FILES.items()}
        self._weights, self._passages = maps["weights"], maps["passages"]
        self._starts, self._words = maps["starts"], maps["words"]
        known = self.manifest.receipt["bm25"]
        self.analysis = Analysis(known["stopwords"], known["stemmer"])
        self._sums = np.empty(0, dtype=np.float32)

    def __len__(self) -> int:
        return int(self.manifest.receipt["indexed"])

    def scores(self, text: str) -> Floats:
        """The score of every passage."""
        return self._summed(text).copy()

    def _summed(self, text: str) -> Floats:
        """The same in an array that the next text takes over. Weights are added word by word, in 32 bits."""
        if len(self._sums) != len(self):
            self._sums = np.empty(len(self), dtype=np.float32)
        self._sums.fill(0.0)
        for word in self._known(text).tolist():
            passages, weights = self._postings(word)
            ends = np.array([0, len(passages)], dtype=np.int32)
            csc_matvec(len(self), 1, ends, passages, weights, _ONCE, self._sums)  # sums[passages] += weights
        return self._sums

    def scores_of(self, text: str, rows: Integers) -> Floats:
        """The scores of some passages, without looking at the others: as `scores(text)[rows]`."""
        found, wanted = np.zeros(len(rows), dtype=np.float32), rows.astype(np.int32)
        for word in self._known(text).tolist():
            passages, weights = self._postings(word)
            places = np.minimum(np.searchsorted(passages, wanted), len(passages) - 1)
            is_here = passages[places] == wanted
            found[is_here] += weights[places[is_here]]
        return found

    def _postings(self, word: int) -> tuple[NDArray[np.int32], Floats]:
        """The passages that have a word, ascending, and its weight in each."""
        first, last = self._starts[word], self._starts[word + 1]
        return self._passages[first:last], self._weights[first:last]

    def _known(self, text: str) -> Integers:
        """Numbers of the words of a text that the index has, each as often as it stands there."""
        wanted = np.array([stable_hash(word) for word in self.analysis(text)], dtype=np.uint64)
        places = np.searchsorted(self._words, wanted)
        places[places == len(self._words)] = 0
        return places[self._words[places] == wanted] if len(wanted) else places

    def top(self, text: str, depth: int) -> tuple[Integers, Floats]:
        """Rows and scores of the best passages that share a word with the text: score down, then row up."""
        scores_P = self._summed(text)
        least = _least(scores_P, depth)
        rows = np.flatnonzero(scores_P >= least if least > 0 else scores_P > 0)
        found = scores_P[rows]
        if depth < len(rows):  # several may have the least score, and the lowest rows of them are wanted
            is_in = found >= np.partition(found, len(rows) - depth)[len(rows) - depth]
            rows, found = rows[is_in], found[is_in]
        best = np.lexsort((rows, -found))[:depth]
        return rows[best].astype(np.int64), found[best]


def _least(scores_P: Floats, depth: int) -> float:
    """A score that at least `depth` passages reach, near that of the last of the best; 0 where none is known.

    Passages are divided into groups: so many of the groups' highest scores reach the lowest of the highest of these.
    """
    size = min(_GROUP, len(scores_P) // (4 * depth))
    if size < 2:
        return 0.0
    groups = len(scores_P) // size
    highest = scores_P[: size * groups].reshape(size, groups).max(axis=0)
    return float(np.partition(highest, groups - depth)[groups - depth])
