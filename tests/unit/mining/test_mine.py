"""Mining gives the same bytes however it is cut up, stopped and shared, and the draw and the labels can read it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpr import storage
from mpr.batches.draw import Drawer
from mpr.data.dataset import Dataset
from mpr.data.pair_labels import Knowledge
from mpr.data.positives import PositiveIndex
from mpr.errors import DataError, RecipeError
from mpr.labels import answer_match
from mpr.mining import mine
from mpr.recipe import read
from mpr.runtime.processes import Group, Place
from mpr.storage.ragged import Ragged
from tests.conftest import Examined
from tests.e2e import collection
from tests.unit.grounds import invented, lists, mining, source

NOWHERE: Any = None  # the ground of a label that does not look at it
BM25 = {"depth": 30, "k1": 0.9, "b": 0.4, "title": True, "stopwords": "english", "stemmer": "english"}
MINED = (
    "{name: bm25, as: words, depth: 6, k1: 0.9, b: 0.4, title: true, stopwords: english, stemmer: english}",
    "{name: random, as: chance, depth: 4, seed: 7}",
    "{name: context, as: near, depth: 3, by: title}",
)
SOURCES = f"sources=[{{name: file, as: bm25}}, {', '.join(MINED)}]"
LABEL = (
    "labels=[{name: known_positives, tiers: [gold, answer_match], siblings: ignore, shared: ignore, duplicates: ignore,"
    " doubtful: ignore}, {name: answer_match, source: SOURCE, depth: 6}]"
)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return _dataset(tmp_path)


def _dataset(folder: Path, *overrides: str) -> Dataset:
    recipe = collection.write(folder / "files")
    return Dataset(read.load(recipe, [SOURCES, *overrides]), folder / "home", quiet=True)


@pytest.mark.parametrize("name, params", [("bm25", BM25), ("random", {"depth": 30, "seed": 3})])
def test_any_chunks_and_any_processes_give_the_same_table(
    tmp_path: Path, name: str, params: dict[str, Any], examined: Examined
) -> None:
    stood, digests = invented(tmp_path), []
    for chunk, world in ((1_000, 1), (19, 1), (40, 1), (17, 3), (50, 2)):
        work = mining(source(stood, name, **params), tmp_path / f"{chunk}-{world}")
        for process in reversed(range(world)):
            assert not work.target.exists()
            replace(work, ground=replace(work.ground, group=Group(Place(process, world)))).propose(chunk)
            work.commit(chunk)
        digests.append(storage.verify(work.target).digest)
    assert len(set(digests)) == 1
    examined(len(digests), "ways of cutting the work up", at_least=5)


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stood = invented(tmp_path)
    whole = mining(source(stood, "random", depth=20, seed=1), tmp_path / "whole")
    whole.propose(1_000)
    whole.commit(1_000)
    stopped = mining(source(stood, "random", depth=20, seed=1), tmp_path / "stopped")
    asked_for: list[int] = []
    original = type(stopped.source).__call__

    def watched(self: Any, rows: Any) -> Ragged:
        if len(asked_for) == 3:
            raise KeyboardInterrupt
        asked_for.append(int(rows[0]))
        return original(self, rows)

    def noted(self: Any, rows: Any) -> Ragged:
        asked_for.append(int(rows[0]))
        return original(self, rows)

    monkeypatch.setattr(type(stopped.source), "__call__", watched)
    with pytest.raises(KeyboardInterrupt):
        stopped.propose(25)
    stopped.commit(25)
    assert not stopped.target.exists()  # chunks are missing, so there is no table
    asked_for, finished = [], asked_for
    monkeypatch.setattr(type(stopped.source), "__call__", noted)
    stopped.propose(25)
    assert (finished, asked_for) == ([0, 25, 50], [75, 100])  # each chunk once
    stopped.commit(25)
    stopped.tidy()
    assert storage.verify(stopped.target).digest == storage.verify(whole.target).digest
    assert not list(tmp_path.glob("stopped-parts*"))


def test_a_recipe_is_mined_source_by_source(dataset: Dataset) -> None:
    made = mine.Mined(dataset).make(2).tables
    assert list(made) == ["words", "chance", "near"]
    assert [table.source for table in made.values()] == ["bm25", "random", "context"]
    assert {len(table) for table in made.values()} == {4}  # one of the five questions has no positive
    positives = [set(row) for row in lists(dataset.split("train").positives.rows)]
    for table in made.values():
        assert not any(known & set(row) for known, row in zip(positives, lists(table.negatives), strict=True))
    labels = {row.passage: row.label for row in made["words"].rows(2)}
    assert (labels[6], labels[7], labels[5]) == ("known_positive", "same_text", "answer_match")  # p7 is a copy of p6
    again = mine.Mined(dataset).make(3).tables
    assert [table.manifest.digest for table in again.values()] == [table.manifest.digest for table in made.values()]


def test_the_name_of_a_table_is_what_it_was_made_of(dataset: Dataset, tmp_path: Path) -> None:
    before = {name: table.folder for name, table in mine.Mined(dataset).make().tables.items()}
    other = _dataset(tmp_path, SOURCES.replace("depth: 6", "depth: 5").replace("as: chance", "as: luck"))
    after = {name: table.folder for name, table in mine.Mined(other).make().tables.items()}
    assert after["words"] != before["words"]
    assert after["near"] == before["near"]
    assert after["luck"] == before["chance"]  # what a source is called changes nothing


def test_the_draw_takes_mined_candidates_and_those_of_the_records(dataset: Dataset) -> None:
    with pytest.raises(DataError, match="source 'words' were not mined"):
        assert mine.Mined(dataset).knowledge
    mine.Mined(dataset).make()
    tables = mine.Mined(dataset).knowledge.candidates
    assert list(tables) == ["bm25", "words", "chance", "near"]
    split = dataset.split("train")
    assert lists(tables["bm25"]) == lists(split.candidates("bm25"))
    entry = {"k": 2, "weight": "top", "short": "fewer"}
    draw = dataset.recipe.draw.model_copy(
        update={
            "negatives": tuple(type(dataset.recipe.draw.negatives[0])(**{"from": name, **entry}) for name in tables)
        }
    )
    step = Drawer(draw, split.positives, ("gold",), tables, len(dataset.corpus()), 4, seed=1)(0)
    assert len(step.block.negative_N) > 12


def test_a_source_without_tables_to_mine_is_left_to_its_records(dataset: Dataset) -> None:
    records = _dataset(dataset.home.parent, "sources=[{name: file, as: bm25}]")
    assert mine.Mined(records).make().tables == {}
    assert list(mine.Mined(records).knowledge.candidates) == ["bm25"]


def test_answer_matches_become_positives_of_their_tier(tmp_path: Path) -> None:
    plain = _dataset(tmp_path)
    mine.Mined(plain).make()
    labelled = _dataset(tmp_path, LABEL.replace("SOURCE", "words"))
    mine.Mined(labelled).make()  # its split keeps the questions for which only mining may find a positive
    before, after = labelled.split("train").positives.rows, mine.Mined(labelled).knowledge.positives.rows
    assert lists(mine.Mined(plain).knowledge.positives.rows) == lists(plain.split("train").positives.rows)
    assert len(before) > len(plain.split("train"))
    removed = mine.Mined(labelled).tables["words"].removed
    for row in range(len(before)):
        matches = [p for p, label in zip(lists(removed)[row], lists(removed, "label")[row], strict=True) if label == 3]
        assert lists(after)[row] == lists(before)[row] + matches
        assert lists(after, "tier")[row] == lists(before, "tier")[row] + [1] * len(matches)
    for name in ("bm25", "nothing"):
        with pytest.raises(RecipeError, match=f"no mined source is called '{name}'"):
            assert mine.Mined(_dataset(tmp_path, LABEL.replace("SOURCE", name))).knowledge


def test_depth_and_number_of_distant_positives() -> None:
    known = PositiveIndex.of([[(5, "gold")], [], [(8, "gold")]])
    columns = {
        "passage": np.array([1, 2, 3, 4, 6, 7]),
        "rank": np.array([1, 2, 9, 2, 3, 4]),
        "label": np.array([3, 1, 3, 3, 3, 3], np.uint8),
    }
    removed = Ragged(np.array([0, 3, 6, 6]), columns)
    for depth, at_most, expected in (
        (9, None, [[5, 1, 3], [4, 6, 7], [8]]),
        (3, None, [[5, 1], [4, 6], [8]]),
        (9, 1, [[5, 1], [4], [8]]),
        (1, 5, [[5, 1], [], [8]]),
    ):
        params = answer_match.Params(source="words", depth=depth, at_most=at_most)
        found = answer_match.applied(params, Knowledge(known, {}, ("gold",), {"words": removed}), NOWHERE)
        assert lists(found.positives.rows) == expected
        assert lists(found.positives.counting(["gold"])) == [[5], [], [8]]
        assert found.counts == {"1 answer_match": {"positives": sum(map(len, expected)) - 2}}


def test_an_index_is_built_once_for_a_collection(dataset: Dataset) -> None:
    assert len(mine.Mined(dataset).make().tables["words"]) == 4
    assert len(mine.Mined(dataset, "test").make().tables["words"]) == 4
    assert len(list(dataset.corpus.folder.glob("passages-bm25-*/manifest.json"))) == 1
