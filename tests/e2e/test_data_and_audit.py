"""`mpr data` and `mpr audit` from the command line, on a collection whose facts were counted by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mpr.batches.collate import Collator
from mpr.batches.draw import Drawer
from mpr.data import audit as audits
from mpr.data import audit_report
from mpr.data.audit import Audit
from mpr.data.dataset import Dataset
from mpr.data.token_batches import Side
from mpr.errors import DataError
from mpr.models.templates import Template
from mpr.recipe import read
from tests.e2e import collection


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mpr.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    folder = tmp_path_factory.mktemp("audit")
    dataset = Dataset(read.load(collection.write(folder)), folder / "home", quiet=True)
    return audits.audit(dataset)


def test_positives_per_question(found: Audit) -> None:
    train, test = found.splits
    assert (train.read, train.kept, train.dropped["without_positives"]) == (5, 4, 1)
    assert sorted(train.positives.tolist()) == [1, 1, 2, 3]
    assert [round(train.share_with(k), 3) for k in (1, 2, 3, 4)] == [0.8, 0.4, 0.2, 0.0]
    assert train.tiers == {"gold": 4, "answer_match": 3}
    assert (test.read, test.kept, test.tiers) == (4, 4, {})


def test_overlap_is_found_by_words(found: Audit) -> None:
    assert found.splits[1].overlap == [("t0", "e0")]


def test_duplicates_and_answers(found: Audit) -> None:
    train, test = found.splits
    assert (found.passages, found.repeated_texts) == (12, 1)
    assert train.answers == {
        "with answers": 4,
        "that can match nothing": 0,
        "positives without an answer": 1,
        "match none of their positives": 1,
        "match no passage of the corpus": 1,
    }
    assert test.answers["match no passage of the corpus"] == 1


def test_truncation_agrees_with_the_tokenizer(found: Audit, tmp_path: Path) -> None:
    """The same counts from the tokenizer itself, one text at a time."""
    dataset = Dataset(read.load(collection.write(tmp_path)), tmp_path / "home", quiet=True)
    dataset.prepare()
    tokenizer = dataset.tokenizer()
    lengths = [len(tokenizer.encode(title, text).ids) for title, text in collection.PASSAGES.values()]
    assert found.passage_lengths.truncated == sum(length > 16 for length in lengths)
    assert found.passage_lengths.quantiles[1.0] == max(lengths)


def test_passages_that_training_knows_as_positives(found: Audit, tmp_path: Path) -> None:
    """Two of these three questions have one, one of them an answer match only."""
    assert found.splits[1].learned is None, "nothing is listed for these"
    recipe, asked = collection.write(tmp_path), [("e0", ["p1", "p8"]), ("e1", ["p4", "p3"]), ("e2", ["p10"])]
    rows = [{"id": name, "question": f"What of {name}?", "answers": [], "pos": pos, "neg": []} for name, pos in asked]
    (tmp_path / "more.jsonl").write_text("".join(json.dumps({**row, "gold": row["pos"][0]}) + "\n" for row in rows))
    sets = ["data.corpus.splits.test={file: more.jsonl, format: candidates}"]
    for more, expected in (([], 2), (["labels[0].tiers=[gold]"], 1)):  # e1's p3 is gold of t1; e0's p1 a match of t0
        dataset = Dataset(read.load(recipe, [*sets, *more]), tmp_path / "home", quiet=True)
        audited = audits.audit(dataset)
        assert audited.splits[1].learned == expected
        assert f"learned         {expected} questions have a positive that training" in audit_report.text(audited)


@pytest.mark.long
def test_the_commands_print_and_draw(tmp_path: Path) -> None:
    recipe, home = collection.write(tmp_path), tmp_path / "home"
    first = run("data", recipe, "--home", home, "--quiet")
    assert first.returncode == 0, first.stderr
    assert "dropped 1 without_positives" in first.stdout
    assert "verified 7 stores" in first.stdout
    again = run("data", recipe, "--home", home, "--quiet")
    assert again.stdout.splitlines()[:-1] == first.stdout.splitlines()[:-1]
    picture = tmp_path / "audit.svg"
    shown = run("audit", recipe, "--home", home, "--quiet", "--picture", picture)
    assert shown.returncode == 0, shown.stderr
    assert "also in train   1 questions (t0=e0)" in shown.stdout
    assert picture.read_bytes().startswith(b"<?xml")


def test_overlap_is_refused_dropped_or_allowed(tmp_path: Path) -> None:
    recipe, home = collection.write(tmp_path, overlap="refuse"), tmp_path / "home"
    refused = run("data", recipe, "--home", home, "--quiet")
    assert (refused.returncode, "1 questions of 'test' are also trained on" in refused.stderr) == (2, True)
    assert "t0 = e0" in refused.stderr
    assert "Traceback" not in refused.stderr
    dropped = Dataset(read.load(recipe, ["data.overlap=drop"]), home, quiet=True)
    dropped.prepare()
    assert dropped.split("train").ids == ["t1", "t2", "t3"]
    assert dropped.split("train").dropped["in_evaluation"] == 1


def test_a_wrong_count_is_refused(tmp_path: Path) -> None:
    recipe = collection.write(tmp_path)
    for key, message in (
        ("data.corpus.passages.passages=13", "the corpus has 12 passages, 13 are expected"),
        ("data.corpus.splits.train.questions=6", "the split has 5 questions, 6 are expected"),
    ):
        dataset = Dataset(read.load(recipe, [key]), tmp_path / "home", quiet=True)
        with pytest.raises(DataError, match=message):
            dataset.prepare()


def test_a_batch_comes_out_of_the_prepared_data(tmp_path: Path) -> None:
    """From files to tensors: what training will do, with every id checked against the files."""
    dataset = Dataset(read.load(collection.write(tmp_path)), tmp_path / "home", quiet=True)
    dataset.prepare()
    recipe, split, passages = dataset.recipe, dataset.split("train"), dataset.passages_of("train")
    labels = recipe.labels[0]
    drawer = Drawer(
        recipe.draw,
        split.positives,
        labels.tiers,
        {source.as_: split.candidates(source.as_) for source in recipe.sources},
        len(passages),
        recipe.questions_per_step,
        seed=1,
    )
    template = Template.of(dataset.tokenizer())
    collate = Collator(
        drawer=drawer,
        questions=Side(dataset.tokens_of_questions("train"), template, recipe.towers.question_length),
        passages=Side(dataset.tokens_of_passages("train"), template, recipe.towers.passage_length),
        text_hashes=passages.text_hashes,
        tiers=labels.tiers,
        policy=labels,
    )
    known = {str(row["id"]): row for row in collection.TRAIN}
    rows = 0
    for number in range(6):
        batch = collate([number])
        columns = passages.ids(batch["passage_ids"].tolist())
        for row, question in enumerate(batch["question_ids"].tolist()):
            record = known[split.ids[question]]
            positives = {columns[place] for place in batch["positives_QP"][row].nonzero().flatten().tolist()}
            negatives = {columns[place] for place in batch["negatives_QP"][row].nonzero().flatten().tolist()}
            assert positives == set(record["pos"][:3])
            assert not negatives & set(record["pos"])
            rows += 1
    assert rows == 12
