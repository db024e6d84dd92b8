"""BM25 agrees with the formula computed by hand in float64, word for word and score for score."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import bm25s
import numpy as np
import pytest
import Stemmer

from mpr.data import passages
from mpr.data.passages import PassageStore
from mpr.errors import DataError, StorageError
from mpr.records import Passage
from mpr.search import bm25
from mpr.search.bm25 import Analysis, LexicalIndex, Settings
from tests.conftest import Examined
from tests.unit.invented import small

ENGLISH = Analysis("english", "english")
PLAIN = Analysis("none", "none")


def _store(folder: Path, texts: list[str] | list[Passage]) -> PassageStore:
    made = [text if isinstance(text, Passage) else Passage(f"p{row}", text) for row, text in enumerate(texts)]
    return passages.build(folder / "passages", made, {})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[PassageStore, list[str]]:
    invented = small()
    store = _store(tmp_path_factory.mktemp("world"), list(invented.passages()))
    return store, [group.question.text for group in invented.groups("test")]


def reference(documents: list[list[str]], asked: list[str], k1: float, b: float) -> list[float]:
    """Lucene's BM25 in plain Python: sum of idf * f / (f + k1 (1 - b + b |d| / avg))."""
    average = sum(map(len, documents)) / len(documents)
    holding = Counter(word for document in documents for word in set(document))
    scores = []
    for document in documents:
        counts, score = Counter(document), 0.0
        for word in asked:
            frequency, have = counts[word], holding[word]
            if frequency:
                idf = math.log(1 + (len(documents) - have + 0.5) / (have + 0.5))
                score += idf * frequency / (frequency + k1 * (1 - b + b * len(document) / average))
        scores.append(score)
    return scores


@pytest.mark.parametrize("k1, b, title", [(0.9, 0.4, True), (1.5, 0.75, False), (0.0, 0.0, True)])
def test_scores_are_those_of_the_formula(
    world: tuple[PassageStore, list[str]], tmp_path: Path, k1: float, b: float, title: bool, examined: Examined
) -> None:
    store, questions = world
    index = bm25.build(tmp_path / "index", store, Settings(k1, b, title, ENGLISH))
    documents = [ENGLISH(f"{passage.title} {passage.text}" if title else passage.text) for passage in store]
    compared = 0
    for question in questions:
        expected = np.array(reference(documents, ENGLISH(question), k1, b))
        found = index.scores(question)
        assert np.allclose(found, expected, rtol=2e-6, atol=1e-6)
        some = np.random.default_rng(compared).permutation(len(store))[:40]
        np.testing.assert_allclose(index.scores_of(question, some), found[some], rtol=1e-6)
        rows, scores = index.top(question, 10)
        best = sorted(np.flatnonzero(found), key=lambda row: (-found[row], row))[:10]
        assert rows.tolist() == best
        assert scores.tolist() == found[best].tolist()
        compared += np.count_nonzero(expected)
    examined(compared, "scores that are not zero", at_least=1_000)


def test_words_are_those_of_bm25s(world: tuple[PassageStore, list[str]], examined: Examined) -> None:
    hostile = [
        "",
        "I x a",
        "don't  ÉCOLE naïve_word 3.14 x2",
        "日本 語 straße",
        "running runs ran",
        "the of and\n\tthis",
    ]
    texts = [passage.text for passage in world[0]][:300] + world[1] + hostile
    compared = 0
    for analysis, stopwords, stemmer in ((ENGLISH, "en", Stemmer.Stemmer("english")), (PLAIN, [], None)):
        theirs = bm25s.tokenize(texts, stopwords=stopwords, stemmer=stemmer, return_ids=False, show_progress=False)
        assert [analysis(text) for text in texts] == theirs
        compared += sum(map(len, theirs))
    examined(compared, "words", at_least=5_000)


def test_equal_scores_are_in_the_order_of_the_collection(tmp_path: Path) -> None:
    """At the cut too, where a partial sort would take whichever it finds."""
    index = bm25.build(tmp_path / "index", _store(tmp_path, ["red fox", "blue"] * 40), Settings(0.9, 0.4, True, PLAIN))
    for depth in (1, 7, 39, 40, 100):
        assert index.top("red", depth)[0].tolist() == list(range(0, 80, 2))[:depth]


def test_only_passages_that_share_a_word_are_found(tmp_path: Path) -> None:
    settings = Settings(0.9, 0.4, False, PLAIN)
    index = bm25.build(tmp_path / "index", _store(tmp_path, ["red fox", "blue fox", "the", "?"]), settings)
    assert sorted(index.top("fox", 9)[0].tolist()) == [0, 1]
    for nothing in ("", "?", "green", "zzz green"):
        assert index.top(nothing, 9)[0].tolist() == []
    doubled, single = index.scores("fox fox"), index.scores("fox")
    assert np.allclose(doubled, 2 * single)  # a repeated word counts each time
    assert len(index) == 4


def test_a_passage_of_stop_words_is_no_obstacle_but_a_collection_of_them_is(tmp_path: Path) -> None:
    settings = Settings(0.9, 0.4, True, ENGLISH)
    index = bm25.build(tmp_path / "a", _store(tmp_path / "1", ["the of", "fox", "is"]), settings)
    assert index.top("foxes", 3)[0].tolist() == [1]
    with pytest.raises(DataError, match="no passage has a word"):
        bm25.build(tmp_path / "b", _store(tmp_path / "2", ["the of", "is"]), settings)
    assert not (tmp_path / "b").exists()


def test_building_is_independent_of_batches(
    world: tuple[PassageStore, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, digests = Settings(0.9, 0.4, True, ENGLISH), set()
    for size in (1, 7, 4_096):
        monkeypatch.setattr(bm25, "_SLICE", size)
        digests.add(bm25.build(tmp_path / str(size), world[0], settings).manifest.digest)
    assert len(digests) == 1


def test_an_index_says_what_it_was_made_of(world: tuple[PassageStore, list[str]], tmp_path: Path) -> None:
    settings = Settings(0.9, 0.4, True, ENGLISH)
    counts: list[int] = []
    receipt = bm25.build(tmp_path / "index", world[0], settings, counts.append).manifest.receipt
    assert settings.origin(world[0]).items() <= receipt.items()
    assert receipt["indexed"] == sum(counts) == len(world[0])
    assert receipt["passages"] == world[0].manifest.digest
    (tmp_path / "index" / "weights.bin").write_bytes(b"short")
    with pytest.raises(StorageError, match="5 bytes instead of"):
        LexicalIndex(tmp_path / "index")
