"""BM25 agrees with the formula computed by hand in float64, word for word and score for score."""

from __future__ import annotations

import math
import random
from collections import Counter
from pathlib import Path

import bm25s
import numpy as np
import pytest
import Stemmer

from mpr.data import passages
from mpr.data.passages import PassageStore
from mpr.errors import DataError, StorageError
from mpr.records import Passage, stable_hash
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
        assert index.scores_of(question, some).tolist() == found[some].tolist()
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


@pytest.mark.parametrize("settings", [Settings(0.9, 0.4, True, ENGLISH), Settings(1.5, 0.75, False, PLAIN)])
def test_the_bytes_are_those_of_bm25s(
    world: tuple[PassageStore, list[str]], tmp_path: Path, settings: Settings, examined: Examined
) -> None:
    """Its own index of the same words, numbered by their hashes; and its scores of every passage, bit for bit."""
    store, questions = world
    index = bm25.build(tmp_path / "index", store, settings)
    documents = [settings.analysis(f"{one.title} {one.text}" if settings.title else one.text) for one in store]
    words = sorted({word for document in documents for word in document}, key=stable_hash)
    number = {word: place for place, word in enumerate(words)}
    theirs = bm25s.BM25(k1=settings.k1, b=settings.b, method="lucene", backend="numpy")
    numbered = [[number[word] for word in document] for document in documents]
    built = theirs.build_index_from_ids(range(len(words)), numbered, show_progress=False)
    for name, kind, values in (
        ("weights", "<f4", built["data"]), ("passages", "<i4", built["indices"]), ("starts", "<i8", built["indptr"]),
        ("words", "<u8", np.array([stable_hash(word) for word in words], dtype=np.uint64)),
    ):  # fmt: skip
        assert (index.folder / f"{name}.bin").read_bytes() == np.asarray(values).astype(kind).tobytes(), name
    theirs.scores = built
    for question in questions:
        asked = [number[word] for word in settings.analysis(question) if word in number]
        assert index.scores(question).tobytes() == theirs.get_scores_from_ids(asked).tobytes()
    examined(len(built["data"]), "weights", at_least=5_000)


def test_building_depends_neither_on_blocks_nor_on_memory(
    world: tuple[PassageStore, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, digests = Settings(0.9, 0.4, True, ENGLISH), set()
    for block, budget in ((1 << 16, bm25.BUDGET), (100, 50_000), (333, 1)):
        monkeypatch.setattr(bm25, "_BLOCK", block)
        monkeypatch.setattr(bm25, "_SLICE", min(block, 1_024))
        index = bm25.build(tmp_path / str(block), world[0], settings, budget_bytes=budget)
        digests.add(index.manifest.digest)
        assert {path.name for path in index.folder.iterdir()} == {
            "weights.bin", "passages.bin", "starts.bin", "words.bin", "manifest.json"
        }  # fmt: skip
    assert len(digests) == 1


def test_the_best_are_those_of_all_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Examined) -> None:
    """Words of every frequency, repeated ones, ties at the cut, every depth, and groups of every size."""
    rng = random.Random(3)
    words = [f"w{place}" for place in range(300)]
    falling = [1 / (place + 1) for place in range(300)]
    texts = [" ".join(rng.choices(words, falling, k=rng.randint(1, 30))) for _ in range(2_000)]
    index = bm25.build(tmp_path / "index", _store(tmp_path, texts), Settings(0.9, 0.4, False, PLAIN))
    bounded = 0
    for _ in range(400):
        asked = " ".join(rng.choices(words, [weight**0.5 for weight in falling], k=rng.randint(1, 7)))
        depth, scores = rng.choice([1, 3, 10, 100, 1_999, 2_000, 5_000]), index.scores(asked)
        monkeypatch.setattr(bm25, "_GROUP", rng.choice([1, 2, 7, 256]))
        best = np.lexsort((np.arange(len(scores)), -scores))[: min(depth, np.count_nonzero(scores))]
        rows, found = index.top(asked, depth)
        assert (rows.tolist(), found.tobytes()) == (best.tolist(), scores[best].tobytes()), (asked, depth)
        least = bm25._least(scores, depth)
        assert np.count_nonzero(scores >= least) >= min(depth, len(scores))
        bounded += least > 0
    examined(bounded, "questions with a bound", at_least=100)


def test_a_piece_with_several_words_is_taken_apart(tmp_path: Path) -> None:
    """Only ASCII cuts a text into pieces: a dash or a quotation mark beyond it stands inside of one."""
    texts = [
        "the war of 1914\u20131918 and 1914\u20131918",
        "\u201cquoted words\u201d",
        "ΣΊΣΥΦΟΣ x\u00a0y caf\u00e9\u2026Bar 日本-語",
    ]
    for analysis in (ENGLISH, PLAIN):
        folder = tmp_path / analysis.stemmer
        index = bm25.build(folder / "index", _store(folder, texts), Settings(0.9, 0.4, False, analysis))
        expected = [analysis(text) for text in texts]
        assert index.manifest.receipt["words"] == len({word for words in expected for word in words})
        assert index.manifest.receipt["postings"] == sum(len(set(words)) for words in expected)
        assert index.top("1918", 3)[0].tolist() == [0]
        assert index.top("bar", 3)[0].tolist() == [2]


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
