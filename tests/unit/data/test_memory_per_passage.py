"""Nothing holds a Python object for each passage: memory grows by numbers in arrays, step after step.

A Python string takes 50 bytes and more, an object with three of them 300, a number in a list 40.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from mpr.data import passages, tokens
from mpr.data.passages import PassageStore
from mpr.evaluation.ranking import Ranking
from mpr.formats import msmarco, trec
from mpr.search import bm25
from mpr.search.bm25 import Analysis, LexicalIndex, Settings
from mpr.search.padding import Constants, PaddingPlan
from mpr.storage import passage_lines
from tests.conftest import Examined

WORDS = ["alpha", "beta", "gamma", "delta", "omega", "sigma"]
QUESTIONS = 20
# Bytes for each passage: hashes, offsets and lengths of 8 bytes, and the copies that are alive when they are sorted.
LIMITS = {"passages": 80.0, "tokens": 80.0, "plan of encoding": 100.0, "BM25 index": 60.0, "search": 60.0, "run": 1.0}


def _file(path: Path, count: int) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for row in range(count):
            words = (WORDS[(row >> shift) % 6] for shift in range(6))
            file.write(f"{row}\t{' '.join(words)} w{row % 997}\n")
    return path


def _steps(folder: Path, count: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    file, made = _file(folder / "collection.tsv", count), dict[str, Any]()

    def plan() -> None:
        made["plan"] = PaddingPlan.of(tokens.TokenStore(folder / "tokens").lengths.astype(np.int64), Constants())

    def searched() -> None:
        index = LexicalIndex(folder / "bm25")
        made["hits"] = [index.top(f"alpha beta w{number}", 50) for number in range(QUESTIONS)]

    def run() -> None:
        rows_QK, scores_QK = (np.array([hit[part] for hit in made["hits"]]) for part in (0, 1))
        ranking = Ranking.of_rows([f"q{number}" for number in range(QUESTIONS)], rows_QK, scores_QK)
        with (folder / "run.trec").open("wb") as out:
            trec.write_hits(out, ranking.hits(PassageStore(folder / "passages").ids, "x"))

    yield "passages", lambda: passages.build(folder / "passages", msmarco.read_passages(file), {}, expected=count)
    tokenizer = Tokenizer(WordLevel({word: place for place, word in enumerate([*WORDS, "[UNK]"])}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    texts = tokens.passage_texts(PassageStore(folder / "passages"), "none", "")
    yield "tokens", lambda: tokens.build(folder / "tokens", texts, tokenizer, cap=16, receipt={})
    yield "plan of encoding", plan
    store = PassageStore(folder / "passages")
    settings = Settings(0.9, 0.4, False, Analysis("none", "none"))
    yield "BM25 index", lambda: bm25.build(folder / "bm25", store, settings, budget_bytes=1 << 20)
    yield "search", searched
    yield "run", run


def _peaks(folder: Path, count: int) -> dict[str, int]:
    """The most bytes that each step takes at once, as Python and numpy ask for them."""
    folder.mkdir()
    found = {}
    for name, step in _steps(folder, count):
        tracemalloc.start()
        try:
            step()
            found[name] = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    return found


def _look(folder: Path, count: int, examined: Examined) -> None:
    _peaks(folder / "first", 100)  # loads what is loaded once
    half, whole = (_peaks(folder / str(size), size) for size in (count // 2, count))
    for name, limit in LIMITS.items():
        slope = (whole[name] - half[name]) / (count - count // 2)
        print(f"{name}: {slope:.1f} bytes for each passage more")
        assert slope < limit, name
    examined(len(whole), "steps measured at two sizes", at_least=len(LIMITS))


@pytest.mark.long
def test_memory_grows_by_numbers_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Examined) -> None:
    """What is in work at once is made small, because it does not grow with the collection."""
    for module, name, value in (
        (passages, "BATCH", 1_024), (passage_lines, "BLOCK", 1 << 14), (tokens, "_BATCH", 512),
        (bm25, "_BLOCK", 1_024), (bm25, "_SLICE", 256),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    _look(tmp_path, 20_000, examined)


@pytest.mark.slow
def test_memory_grows_by_numbers_alone_up_to_two_million(tmp_path: Path, examined: Examined) -> None:
    _look(tmp_path, 2_000_000, examined)
