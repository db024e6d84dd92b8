"""BM25 over a passage store, through bm25s: an index on disk, and the best passages for a text.

`score(q, d) = sum over the words t of q of  ln(1 + (N - n_t + 1/2) / (n_t + 1/2)) * f / (f + k1 (1 - b + b |d| / avg))`

N passages, n_t of them with word t, f times in passage d of |d| words. This is BM25 as Lucene computes it; a word that
the question repeats counts each time. Every weight is computed once, when the index is built (Lu 2024, bm25s), and the
index is three flat arrays sorted by word. They and the sorted hashes of the words are memory-mapped, so that opening an
index costs nothing and processes share its memory.

While an index is built, texts are read one Arrow batch at a time and kept as word numbers, four bytes a word. bm25s
itself then needs about 36 bytes for each pair of a passage and a word in it: 2 GB for a million passages of 100 words,
besides the pages of the collection that are mapped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpr import storage
from mpr.data.passages import PassageStore
from mpr.errors import DataError
from mpr.records import stable_hash
from mpr.runtime.progress import Bar, Progress, silent
from mpr.storage.ragged import Floats, Integers, memory_map

KIND = "bm25"
_WORD = re.compile(r"(?u)\b\w\w+\b")
_SLICE = 4_096  # passages whose words are numbered at once
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

        stem: Callable[[list[str]], list[str]] = Stemmer.Stemmer(self.stemmer).stemWords
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
) -> LexicalIndex:
    """Writes the index of a store and opens it."""
    receipt = settings.origin(store)
    with storage.stage(target, KIND, receipt) as stage:
        words, documents = _numbered(store, settings, progress)
        if not words:
            raise DataError("no passage has a word to index", where=str(store.folder), fix="set stopwords: none")
        hashes = np.array([stable_hash(word) for word in words], dtype=np.uint64)
        order = np.argsort(hashes)
        if len(np.unique(hashes)) < len(hashes):
            raise DataError("two words share a 64-bit hash", where=str(store.folder), fix="please report this")
        documents.number = np.argsort(order).astype(np.int32)
        scores = _model(settings).build_index_from_ids(range(len(words)), documents, show_progress=False)
        columns = {"weights": scores["data"], "passages": scores["indices"], "starts": scores["indptr"]}
        for name, values in (columns | {"words": hashes[order]}).items():
            with stage.open(f"{name}.bin") as file:
                file.write(np.ascontiguousarray(values, dtype=_FILES[name]).data)
        receipt |= {"words": len(words), "indexed": len(store), "postings": len(scores["data"])}
    return LexicalIndex(target)


def _model(settings: Settings) -> Any:
    import bm25s

    return bm25s.BM25(k1=settings.k1, b=settings.b, method="lucene", backend="numpy")


def _numbered(store: PassageStore, settings: Settings, progress: Progress) -> tuple[dict[str, int], _Documents]:
    """Every word with a number in the order of first appearance, and each passage as numbers."""
    words: dict[str, int] = {}
    parts, lengths = [], []
    for batch in store.batches():
        for start in range(0, batch.num_rows, _SLICE):
            some = batch.slice(start, _SLICE)
            titles, texts = some.column("title").to_pylist(), some.column("text").to_pylist()
            found = [settings.analysis(f"{a} {b}" if settings.title else b) for a, b in zip(titles, texts, strict=True)]
            lengths.append(np.array([len(one) for one in found], dtype=np.int64))
            parts.append(np.array([words.setdefault(word, len(words)) for one in found for word in one], np.int32))
            progress(len(found))
    return words, _Documents(np.concatenate(parts), np.concatenate([[0], np.cumsum(np.concatenate(lengths))]))


@dataclass
class _Documents:
    """What bm25s takes for a list of lists, without the lists: a passage's words are listed when they are looked at."""

    word: NDArray[np.int32]
    offsets: Integers
    number: NDArray[np.int32] | None = None
    """Final number of each word."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[list[int]]:
        assert self.number is not None
        for start in range(0, len(self), _SLICE):
            ends = self.offsets[start : start + _SLICE + 1]
            some = self.number[self.word[ends[0] : ends[-1]]].tolist()
            for first, last in zip((ends[:-1] - ends[0]).tolist(), (ends[1:] - ends[0]).tolist(), strict=True):
                yield some[first:last]


def place(store: PassageStore, settings: Settings) -> Path:
    """Where the index of a store lies, whether or not it is there."""
    digest = storage.json_digest(settings.origin(store))
    return store.folder.with_name(f"{store.folder.name}-bm25-{digest[:8]}")


def beside(store: PassageStore, settings: Settings, bar: Bar) -> LexicalIndex:
    """The index that lies beside a store, built where it is not there yet."""
    target = place(store, settings)
    with storage.missing(target) as is_missing:
        if is_missing:
            with bar("BM25 index", len(store)) as progress:
                build(target, store, settings, progress)
    storage.verify(target)
    return LexicalIndex(target)


class LexicalIndex:
    """Read access to a committed index."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.manifest = storage.read_manifest(self.folder, KIND)
        maps = {name: memory_map(self.folder / f"{name}.bin", kind) for name, kind in _FILES.items()}
        self._words = maps.pop("words")
        known = self.manifest.receipt["bm25"]
        self.analysis = Analysis(known["stopwords"], known["stemmer"])
        self._bm25 = _model(Settings(known["k1"], known["b"], known["title"], self.analysis))
        self._bm25.nonoccurrence_array = None  # of the variants whose absent words have a weight
        self._bm25.scores = {
            "data": maps["weights"],
            "indices": maps["passages"],
            "indptr": np.asarray(maps["starts"]),
            "num_docs": len(self),
        }

    def __len__(self) -> int:
        return int(self.manifest.receipt["indexed"])

    def scores(self, text: str) -> Floats:
        """The score of every passage."""
        found: Floats = self._bm25.get_scores_from_ids(self._known(text))
        return found

    def scores_of(self, text: str, rows: Integers) -> Floats:
        """The scores of some passages, without looking at the others: as `scores(text)[rows]`, up to rounding."""
        found = np.zeros(len(rows), dtype=np.float32)
        scores = self._bm25.scores
        for word in self._known(text):
            first, last = scores["indptr"][word], scores["indptr"][word + 1]
            passages = scores["indices"][first:last]  # ascending, as they were numbered
            place = np.minimum(np.searchsorted(passages, rows), max(0, len(passages) - 1))
            here = passages[place] == rows
            found[here] += scores["data"][first:last][place[here]]
        return found

    def _known(self, text: str) -> Integers:
        """Numbers of the words of a text that the index has, each as often as it stands there."""
        wanted = np.array([stable_hash(word) for word in self.analysis(text)], dtype=np.uint64)
        places = np.searchsorted(self._words, wanted)
        places[places == len(self._words)] = 0
        return places[self._words[places] == wanted] if len(wanted) else places

    def top(self, text: str, depth: int) -> tuple[Integers, Floats]:
        """Rows and scores of the best passages that share a word with the text: score down, then row up."""
        scores_P = self.scores(text)
        rows = np.flatnonzero(scores_P)
        if depth < len(rows):
            found = scores_P[rows]
            least = np.partition(found, len(rows) - depth)[len(rows) - depth]
            rows = rows[found >= least]  # several may have the least score, and the lowest rows of them are wanted
        best = rows[np.lexsort((rows, -scores_P[rows]))[:depth]]
        return best.astype(np.int64), scores_P[best]
