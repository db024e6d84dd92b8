"""Anchors: scores of positives by the source that candidates come from, for weights that compare the two."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpr import sources, storage
from mpr.data.candidates import CandidateTable
from mpr.data.dataset import Dataset
from mpr.mining import mine
from mpr.mining.mine import Mining
from mpr.recipe import read as recipe_file
from mpr.records import Passage
from mpr.rows._stages_training import Training
from mpr.rows.receipts import Receipt
from tests.conftest import Examined
from tests.e2e import collection
from tests.unit.encodings import model_folder
from tests.unit.framings import words
from tests.unit.grounds import asked, ground, mining, source

BM25 = {"k1": 0.9, "b": 0.4, "title": True, "stopwords": "english", "stemmer": "english"}
DENSE = {"dtype": "float32", "compute": "float32"}
WORDS = "{name: bm25, as: words, depth: 6, k1: 0.9, b: 0.4, title: true, stopwords: english, stemmer: english}"
DATA = Receipt(stage="data", inputs={}, outputs={"home/data/x": "0" * 64}, code="", environment={}, cost={}, attempts=1)
SIMANS = "{from: words, k: 1, weight: simans, simans: {a: 0.5, b: 0.0, anchor: max}, short: fewer}"


@pytest.fixture(scope="module")
def stood(tmp_path_factory: pytest.TempPathFactory) -> sources.Ground:
    folder, dice = tmp_path_factory.mktemp("ground"), random.Random(4)
    texts = [Passage(f"p{row}", words(dice, dice.randint(2, 6)), words(dice, 1)) for row in range(120)]
    known = [" ".join(f"p{row}" for row in dice.sample(range(120), 4)) for _ in range(40)]
    groups = [asked(f"q{row}", listed, words(dice, 4)) for row, listed in enumerate(known)]
    made = ground(folder, texts, groups)
    model_folder(folder / "model")
    return made


def anchored(work: Mining, chunk: int) -> CandidateTable:
    work = replace(work, receipt={**work.receipt, "anchors": True})
    work.propose(chunk)
    work.commit(chunk)
    storage.verify(work.target)
    return CandidateTable(work.target)


@pytest.mark.parametrize("name, depth", [("bm25", 20), ("dense", 30), ("random", 40)])
def test_every_known_positive_has_the_score_of_the_source(
    stood: sources.Ground, name: str, depth: int, tmp_path: Path, examined: Examined
) -> None:
    """That of the proposal where it was proposed; otherwise what the same source says when it proposes everything."""
    assert stood.folder is not None
    params: dict[str, Any] = {
        "bm25": BM25,
        "dense": DENSE | {"model": str(stood.folder / "model")},
        "random": {"seed": 4},
    }[name]
    made = source(stood, name, depth=depth, **params)
    table = anchored(mining(made, tmp_path / "table"), 7)
    other = anchored(mining(source(stood, name, depth=depth, **params), tmp_path / "other"), 1_000)
    assert table.manifest.digest == other.manifest.digest  # whatever the chunks
    everything = source(stood, name, depth=min(len(stood.passages), 10_000), **params)(np.arange(len(stood.questions)))
    found = table.anchors(stood.questions.positives)
    proposed = table.removed
    missed = hit = 0
    for question in range(len(stood.questions)):
        whole = dict(
            zip(everything.row(question, "passage").tolist(), everything.row(question, "score").tolist(), strict=True)
        )
        near = dict(
            zip(proposed.row(question, "passage").tolist(), proposed.row(question, "score").tolist(), strict=True)
        )
        for passage in stood.questions.positives.rows.row(question, "passage").tolist():
            score = float(found.lookup([question], [passage])[0])
            if name == "random":
                assert np.isnan(score)
            elif passage in near:
                assert score == near[passage]
            else:
                assert score == pytest.approx(whole.get(passage, 0.0), rel=1e-6, abs=1e-6)
            hit, missed = hit + (passage in near), missed + (passage not in near)
    examined(hit, "positives that were proposed", at_least=15)
    examined(missed, "positives that were not", at_least=20)


def test_a_table_without_anchors_stays_what_it_is(stood: sources.Ground, tmp_path: Path) -> None:
    plain = mining(source(stood, "bm25", depth=5, **BM25), tmp_path / "plain")
    plain.propose(1_000)
    plain.commit(1_000)
    opened = CandidateTable(plain.target)
    assert opened.labelled.anchors is None
    assert "anchors.passage.bin" not in {path.name for path in plain.target.iterdir()}
    known = opened.anchors(stood.questions.positives)  # those that were proposed have scores all the same
    assert 0 < len(known) == int(np.isfinite(opened.removed.columns["score"]).sum())


def _dataset(folder: Path, *sets: str) -> Dataset:
    recipe = collection.write(folder / "files")
    sets = (f"sources=[{WORDS}, {{name: random, as: chance, depth: 4, seed: 7}}]", *sets)
    return Dataset(recipe_file.load(recipe, sets), folder / "home", quiet=True)


def test_only_tables_that_are_compared_have_anchors_and_another_name(tmp_path: Path) -> None:
    plain = _dataset(tmp_path, "draw.negatives=[{from: words, k: 1, weight: top, short: fewer}]")
    before = {name: table.folder for name, table in mine.Mined(plain).make().tables.items()}
    asked = _dataset(tmp_path, f"draw.negatives=[{SIMANS}, {{from: chance, k: 1, weight: top, short: fewer}}]")
    after = mine.Mined(asked).make().tables
    assert after["words"].folder != before["words"]
    assert after["chance"].folder == before["chance"]
    assert after["words"].labelled.anchors is not None
    known = mine.Mined(asked).knowledge
    evidence = mine.Mined(asked).evidence
    assert [*evidence.anchors] == ["words"]
    assert evidence.teacher is None
    rows = known.positives.rows
    assert np.isfinite(evidence.anchors["words"](rows.owners(), rows.columns["passage"])).all()


def test_a_positive_that_a_label_found_has_its_score_of_the_proposal(tmp_path: Path) -> None:
    """`answer_match` makes positives of what mining took out."""
    label = "{name: known_positives, tiers: [gold, answer_match], "
    label += "siblings: ignore, shared: ignore, duplicates: ignore, doubtful: ignore}"
    labels = f"labels=[{label}, {{name: answer_match, source: words, depth: 6}}]"
    dataset = _dataset(tmp_path, f"draw.negatives=[{SIMANS}]", labels)
    mine.Mined(dataset).make()
    known = mine.Mined(dataset).knowledge
    scores = mine.Mined(dataset).evidence.anchors["words"]
    rows = known.positives.rows
    assert len(rows.columns["passage"]) > len(dataset.split("train").positives.rows.columns["passage"])
    assert np.isfinite(scores(rows.owners(), rows.columns["passage"])).all()


def test_a_positive_that_a_label_found_elsewhere_has_a_score_too(tmp_path: Path) -> None:
    """What another source proposed and a label promoted, the source of the candidates scores when training begins:
    as it would have done while mining, had the positive stood in the records."""
    label = "{name: known_positives, tiers: [gold, cross_encoder], "
    label += "siblings: ignore, shared: ignore, duplicates: ignore, doubtful: ignore}"
    found = [("t0", "p8"), ("t1", "p9"), ("t3", "p5")]
    scores = tmp_path / "files" / "scores.tsv"
    scores.parent.mkdir()
    pairs = [(f"t{question}", f"p{passage}") for question in range(5) for passage in range(12)]
    scores.write_text("".join(f"{pair[0]}\t{pair[1]}\t{0.9 if pair in found else 0.1}\n" for pair in pairs))
    labels = f"labels=[{label}, {{name: ce_above, source: chance, window: 12, promote: 0.5, up_to: null, "
    labels += "questions: all, scores: {file: scores.tsv, format: tsv}}]"
    dataset = _dataset(tmp_path, f"draw.negatives=[{SIMANS}]", labels, "sources[1].depth=12")
    mine.Mined(dataset).make()
    known = mine.Mined(dataset).knowledge
    rows, stored = known.positives.rows, mine.Mined(dataset).tables["words"].anchors(known.positives)
    without = np.isnan(stored.lookup(rows.owners(), rows.columns["passage"])) & known.counting
    assert without.any(), "else nothing is left to find"
    lookup = mine.Mined(dataset).evidence.anchors["words"]
    own = sources.of(dataset.recipe.sources[0], mine.ground_of(dataset, "train"))
    expected = own.scored(rows.owners()[known.counting], rows.columns["passage"][known.counting])
    assert lookup(rows.owners()[known.counting], rows.columns["passage"][known.counting]).tolist() == expected.tolist()


def test_a_draw_that_asks_for_anchors_makes_the_mining_of_a_row_new(tmp_path: Path) -> None:
    """And no other change of the draw does."""
    read = []
    plain = "{from: words, k: 1, weight: top, short: fewer}"
    for drawn in (plain, plain.replace("top", "uniform"), SIMANS):
        recipe = _dataset(tmp_path, f"draw.negatives=[{drawn}]").recipe
        training = Training(recipe, recipe, tmp_path / "r.yaml", tmp_path / "home", tmp_path / "run", True)
        mining = next(training.stages())
        assert mining.name == "mine"
        read.append(mining.reads({"data": DATA}))
    assert read[0] == read[1] != read[2]
