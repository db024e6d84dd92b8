"""The table of a ranking, read by pandas, datasets and pyarrow, against the stores it was made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from mpr import storage
from mpr.corpora import Split
from mpr.data import _split_builder, passages
from mpr.data.passages import PassageStore
from mpr.data.questions import SplitStore
from mpr.errors import DataError
from mpr.evaluation import ranking_table
from mpr.evaluation.ranking import Ranking
from mpr.records import Group, Passage, Question
from tests.conftest import Examined
from tests.unit.labelled import DROP, TIERS

COLUMNS = ["question_id", "question", "passage_id", "title", "text", "rank", "score", "tag"]


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[SplitStore, PassageStore]:
    """Twelve questions and a collection of 100 passages in seven batches; some titles are empty."""
    monkeypatch.setattr(passages, "BATCH", 16)
    texts = [Passage(f"p{row}", f'text {row} über\n"it"\t', "" if row % 3 else f"title {row}") for row in range(100)]
    return made(tmp_path, texts)


def made(folder: Path, texts: list[Passage]) -> tuple[SplitStore, PassageStore]:
    corpus = passages.build(folder / "passages", texts, {})
    groups = [Group(Question(f"q{number}", f"question {number}?", ("x",)), (), ()) for number in range(12)]
    given: dict[str, Any] = {"tiers": TIERS, "train": False, "sources": (), "receipt": {}, "repair": DROP}
    return _split_builder.build(folder / "split", groups, Split(None), corpus, **given), corpus


def ranking(count: int, questions: int = 12, depth: int = 40) -> Ranking:
    """Of questions in another order than the split's; the third has no passage."""
    rng = np.random.default_rng(5)
    rows = np.stack([rng.permutation(count)[:depth] for _ in range(questions)])
    scores = rng.integers(0, 9, rows.shape) / 3
    rows[2] = -1
    return Ranking.of_rows([f"q{number}" for number in reversed(range(questions))], rows, scores)


def test_readers_of_tables_see_every_row(
    stores: tuple[SplitStore, PassageStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Examined
) -> None:
    import datasets
    import pandas

    monkeypatch.setattr(ranking_table, "GROUP", 50)
    split, corpus, ranked = *stores, ranking(100)
    ranking_table.write(tmp_path / "table", ranked, split, corpus, "hand")
    asked = {question.id: question.text for question in split}
    expected = []
    for number, question in enumerate(ranked.questions):
        own = ranked.score_N[ranked.offsets[number] : ranked.offsets[number + 1]].tolist()
        for rank, (row, score) in enumerate(zip(ranked.row(number).tolist(), own, strict=True), 1):
            one = corpus[row]
            expected.append((question, asked[question], one.id, one.title, one.text, rank, score, "hand"))
    file = str(storage.verify(tmp_path / "table", "run table") and tmp_path / "table" / "run.parquet")
    frame = pandas.read_parquet(file)
    assert list(frame.columns) == COLUMNS
    assert list(frame.itertuples(index=False, name=None)) == expected
    loaded = datasets.load_dataset("parquet", data_files=file, split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.column_names == COLUMNS
    assert [tuple(row.values()) for row in loaded] == expected
    assert loaded.features["rank"].dtype == "int32"
    assert loaded.features["score"].dtype == "float64"
    assert parquet.ParquetFile(file).num_row_groups == 9
    examined(2 * len(expected), "rows read by pandas and datasets", at_least=2 * 11 * 40)


def test_memory_is_that_of_one_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Examined) -> None:
    """44 MB of texts are written with a few MB at a time, however they repeat."""
    monkeypatch.setattr(ranking_table, "GROUP", 20)
    rng, held = np.random.default_rng(1), []
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz     "))
    split, corpus = made(tmp_path, [Passage(f"p{row}", "".join(rng.choice(letters, 40_000)), "") for row in range(100)])
    before = pa.total_allocated_bytes()
    monkeypatch.setattr(storage, "hook", lambda *_: held.append(pa.total_allocated_bytes() - before))
    ranked = ranking(100, depth=100)
    ranking_table.write(tmp_path / "table", ranked, split, corpus, "hand")
    written = sum(len(corpus[int(row)].text) for row in ranked.passage_N)
    assert written > 40e6
    assert max(held) < 8e6, f"{max(held):,} bytes held at once"
    examined(len(held), f"looks at the memory, {max(held):,} bytes at most for {written:,}", at_least=20)


def test_an_empty_ranking_has_the_columns(stores: tuple[SplitStore, PassageStore], tmp_path: Path) -> None:
    nothing = Ranking.of_rows(["q1"], np.full((1, 3), -1), np.zeros((1, 3)))
    ranking_table.write(tmp_path / "table", nothing, *stores, "hand")
    assert parquet.read_table(tmp_path / "table" / "run.parquet").schema.names == COLUMNS
    assert storage.read_manifest(tmp_path / "table").receipt["rows"] == 0


def test_what_is_of_another_split_or_collection_is_refused(
    stores: tuple[SplitStore, PassageStore], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="1 questions of the ranking are not in the split, first: q12"):
        ranking_table.write(tmp_path / "table", ranking(100, questions=13), *stores, "hand")
    with pytest.raises(DataError, match=r"names row 1\d\d of 100 passages"):
        ranking_table.write(tmp_path / "table", ranking(200), *stores, "hand")
    assert not (tmp_path / "table").exists()
