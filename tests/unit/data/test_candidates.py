"""A candidate table gives back what was written, told apart; and the sifter finds every positive there is to find."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from mpr.batches.draw import Drawer
from mpr.data import candidates
from mpr.data.candidates import ANSWER_MATCH, KNOWN, LABELS, SAME_TEXT, CandidateTable, Labelled, proposals
from mpr.errors import StorageError
from mpr.metrics.answers import AnswerMatcher
from mpr.mining.mine import KnownPositives
from mpr.recipe.keys_draw import Draw, Negatives
from mpr.records import Passage, text_hash
from mpr.storage.ragged import Ragged
from tests.conftest import Examined
from tests.unit.grounds import asked, ground, invented, lists

TEXTS = [
    Passage("p0", "Velmora is the capital.", "Velmora"),
    Passage("p1", "Velmora  is the\ncapital.", "another title"),  # the text of p0, white space aside
    Passage("p2", "The SÃO TOMÉ islands."),
    Passage("p3", "Nothing of the kind.", "São Tomé"),  # an answer in the title does not count
    Passage("p4", "It was in 1911 or in 1912."),
    Passage("p5", "Rivers run downhill."),
]


def _labels(folder: Path, *groups: object) -> list[list[str]]:
    """Labels of all passages for each question, in the order of the collection."""
    stood = ground(folder, TEXTS, list(groups))  # type: ignore[arg-type]
    rows = np.arange(len(groups))
    found = proposals([(np.arange(len(TEXTS)), None)] * len(groups))
    sifted = KnownPositives(stood.questions, stood.passages)(rows, found)
    labels = []
    for row in rows:
        negative = dict.fromkeys(lists(sifted.negatives)[row], 0)
        removed = dict(zip(lists(sifted.removed)[row], lists(sifted.removed, "label")[row], strict=True))
        assert not negative.keys() & removed.keys()
        labels.append([LABELS[(negative | removed)[passage]] for passage in range(len(TEXTS))])
    return labels


def test_positives_are_known_by_id_by_text_and_by_answer(tmp_path: Path) -> None:
    no = "negative"
    assert _labels(
        tmp_path,
        asked("judged", "p0"),
        asked("strings", "p5", answers=("sao", "São Tomé")),
        asked("patterns", answers=(r"19\d1",), regex=True),
        asked("both", "p0", answers=("velmora",)),
        asked("unknown"),
    ) == [
        ["known_positive", "same_text", no, no, no, no],
        [no, no, "answer_match", no, no, "known_positive"],
        [no, no, no, no, "answer_match", no],
        ["known_positive", "same_text", no, no, no, no],
        [no] * 6,
    ]


def test_sifting_equals_looking_at_every_pair(tmp_path: Path, examined: Examined) -> None:
    stood = invented(tmp_path)
    dice, store, split = random.Random(3), stood.passages, stood.questions
    listed = [dice.sample(range(len(store)), 40) for _ in range(len(split))]
    for row, passages in enumerate(listed):  # make sure that there is something to find
        wanted = [len(store) - len(split) + row, *split.positives.rows.row(row, "passage")[:2].tolist()]
        passages[:3] = [passage for passage in wanted if passage not in passages[3:]]
    sifted = KnownPositives(split, store)(np.arange(len(split)), proposals([(np.array(one), None) for one in listed]))
    counts = dict.fromkeys(LABELS, 0)
    for row, passages in enumerate(listed):
        known = set(split.positives.rows.row(row, "passage").tolist())
        texts = {text_hash(store[passage].text) for passage in known}
        matcher = AnswerMatcher(split[row].answers, False)
        kept, removed = [], []
        for passage in passages:
            by_text, by_answer = text_hash(store[passage].text) in texts, matcher.found_in(store[passage].text)
            label = KNOWN if passage in known else SAME_TEXT if by_text else ANSWER_MATCH if by_answer else 0
            counts[LABELS[label]] += 1
            (removed if label else kept).append((passage, label))
        assert sifted.negatives.row(row, "passage").tolist() == [passage for passage, _ in kept]
        assert sifted.removed.row(row, "passage").tolist() == [passage for passage, _ in removed]
        assert sifted.removed.row(row, "label").tolist() == [label for _, label in removed]
        hashes = sifted.negatives.row(row, "text_hash").tolist()
        assert hashes == [text_hash(store[passage].text) for passage, _ in kept]
    assert all(counts.values()), counts
    examined(sum(counts.values()), f"pairs: {counts}", at_least=4_000)


def _table(folder: Path, receipt: dict[str, object]) -> CandidateTable:
    found = proposals([(np.array([4, 2, 7]), np.array([3.0, 2.0, 1.0])), (np.array([], dtype=int), None)])
    other = proposals([(np.array([1, 0]), None)])
    blocks = [
        Labelled.of(found, np.array([0, 3, 0], np.uint8), np.array([40, 20, 70], np.uint64)),
        Labelled.of(other, np.array([1, 2], np.uint8), np.array([10, 0], np.uint64)),
    ]
    return candidates.write(folder / "table", blocks, receipt)


def test_a_table_comes_back(tmp_path: Path) -> None:
    table = _table(tmp_path, {"source": {"name": "bm25"}, "origin": {"passages": "abc"}})
    table = CandidateTable(table.folder)
    assert lists(table.negatives) == [[4, 7], [], []]
    assert lists(table.negatives, "rank") == [[1, 3], [], []]  # as the source ranked them
    assert lists(table.negatives, "score")[0] == [3.0, 1.0]
    assert lists(table.removed, "label") == [[3], [], [1, 2]]
    assert np.isnan(table.removed.columns["score"][1:]).all()  # unknown, not zero
    assert [(row.passage, row.label, row.text_hash) for row in table.rows(0)] == [
        (4, "negative", 40),
        (2, "answer_match", 20),
        (7, "negative", 70),
    ]
    assert {row.source for row in table.rows(2)} == {"bm25"}
    assert table.counts == {"negative": 2, "known_positive": 1, "same_text": 1, "answer_match": 1}
    assert table.manifest.receipt["without_candidates"] == 2
    assert table.manifest.receipt["origin"] == {"passages": "abc"}
    assert "3 questions, 2 candidates" in table.summary()
    assert "2 questions without a candidate" in table.summary()


def test_a_table_is_mapped_and_what_the_drawer_takes(tmp_path: Path) -> None:
    table = _table(tmp_path, {"source": {"name": "bm25"}})
    assert all(isinstance(values, np.memmap) for values in table.negatives.columns.values())
    stood = ground(tmp_path, [Passage(f"p{row}", f"text {row}") for row in range(9)], [asked("a", "p0")] * 1)
    negatives = Negatives(**{"from": "bm25", "k": 2, "weight": "softmax", "temperature": 1.0, "short": "fewer"})
    config = Draw(questions="sequential", positives={"policy": "first"}, negatives=(negatives,), in_batch=False)  # type: ignore[arg-type]
    first = candidates.write(tmp_path / "one", [Labelled(*(_first(part) for part in _parts(table)))], {"source": {}})
    drawer = Drawer(config, stood.questions.positives, ("gold",), {"bm25": first.negatives}, 9, 1, seed=1)
    assert sorted(drawer(0).block.passage_P.tolist()) == [0, 4, 7]


def _parts(table: CandidateTable) -> tuple[Ragged, Ragged]:
    return table.negatives, table.removed


def _first(table: Ragged) -> Ragged:
    end = table.offsets[1]
    return Ragged(table.offsets[:2], {name: values[:end] for name, values in table.columns.items()})


def test_a_damaged_table_is_refused(tmp_path: Path) -> None:
    table = _table(tmp_path, {"source": {"name": "bm25"}})
    (table.folder / "negatives.passage.bin").unlink()
    with pytest.raises(StorageError, match="file is missing"):
        CandidateTable(table.folder)


def test_merged_by_another_hand(examined: Examined) -> None:
    """Rows of a table, some of which are found anew: every column, rows without candidates too."""
    dice, count = np.random.default_rng(8), 40

    def labelled(rows: int) -> Labelled:
        found = proposals([(dice.integers(0, 99, n), dice.random(n)) for n in dice.integers(0, 6, rows)])
        places = len(found.columns["passage"])
        return Labelled.of(found, dice.integers(0, 3, places).astype(np.uint8), dice.integers(0, 99, places, np.uint64))

    kept, rows, fresh_N = labelled(60), np.arange(10, 10 + count), dice.random(count) < 0.4
    found = labelled(int(fresh_N.sum()))
    merged, compared = Labelled.merged(found, kept, rows, fresh_N), 0
    for name in ("negatives", "removed"):
        got, new, old = getattr(merged, name), getattr(found, name), getattr(kept, name)
        fresh = iter(range(count))
        for number, row in enumerate(rows):
            table, place = (new, next(fresh)) if fresh_N[number] else (old, int(row))
            for column in got.columns:
                assert got.row(number, column).tolist() == table.row(place, column).tolist()
                compared += len(got.row(number, column))
    examined(compared, "values", at_least=400)
