"""Generated questions, from passages to a trained model: written by the command line, read as a split, never mixed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpr import cli, storage
from mpr.data.dataset import Dataset
from mpr.errors import DataError
from mpr.mining import mine
from mpr.recipe import read
from mpr.writing import _transcript, judge, prompts
from tests.chat_server import ChatServer
from tests.e2e import collection
from tests.unit.labelling import tiers
from tests.unit.writing.test_text_model import small
from tests.unit.writing.test_transcript import Small

KNOWN = (
    "labels=[{name: known_positives, tiers: [generated], siblings: ignore, shared: ignore, "
    "duplicates: ignore, doubtful: ignore}]"
)


def command(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as ended:
        cli.main([*arguments, "--home", "home", "--quiet"])
    return int(str(ended.value.code))


def asks(prompt: str) -> str:
    """Two questions of every passage, but none of the hills."""
    said = prompt.partition("\nPassage: ")[2].partition("\n")[0]
    return "..." if "Hills are" in said else f"1. What of {said.split()[0]}?\n2. Why {said.split()[-1]}\n3. And more?"


def test_from_passages_to_a_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = collection.write(tmp_path)
    with ChatServer(asks) as server:
        settings = "".join(f"{name}: {value}\n" for name, value in server.settings().items())
        (tmp_path / "writer.yaml").write_text(settings, "utf-8")
        given = ["generate", "small.yaml", "--writer", "writer.yaml", "--each", "2"]
        assert command(tmp_path, monkeypatch, *given, "--to", "generated") == 0
        assert len(server.asked) == 11  # two of the twelve passages say the same
        assert command(tmp_path, monkeypatch, *given, "--to", "some", "--passages", "5", "--seed", "3") == 0
        assert command(tmp_path, monkeypatch, *given, "--to", "other", "--passages", "5", "--seed", "4") == 0
        assert command(tmp_path, monkeypatch, *given, "--to", "generated") == 0
        assert command(tmp_path, monkeypatch, *given, "--to", "none", "--passages", "13") == 2
        assert len(server.asked) == 11
    shown = capfd.readouterr()
    assert "22 questions of 12 passages; 1 answers without a question" in shown.out
    assert "the corpus has 12 passages" in shown.err
    some, other = (
        {json.loads(line)["pos"][0] for line in (tmp_path / name / "questions.jsonl").read_text("utf-8").splitlines()}
        for name in ("some", "other")
    )
    assert some != other
    pin = storage.sha256_file(tmp_path / "generated" / "questions.jsonl")
    split = f"{{file: generated/questions.jsonl, format: candidates, sha256: {pin}}}"
    sets = [f"data.corpus.splits.generated={split}", "data.train=generated", KNOWN, "draw.negatives=[]", "sources=[]"]
    dataset = Dataset(read.load(path, sets), tmp_path / "home", quiet=True)
    split_store = dataset.split("train")
    assert split_store[0].text == "What of Velmora?"
    mine.Mined(dataset).make()
    known = mine.Mined(dataset).knowledge
    assert [[tier for _, tier in pairs] for pairs in tiers(known)] == [["generated"]] * 22
    rows = known.positives.rows.columns["passage"].tolist()
    assert dataset.corpus().ids(rows[:2]) == ["p0", "p0"]
    plain = Dataset(read.load(path, [*sets, KNOWN.replace("[generated]", "[gold]")]), tmp_path / "home", True)
    with pytest.raises(DataError, match="nothing to train on"):
        plain.split("train")


def test_by_a_model_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collection.write(tmp_path)
    folder = small(tmp_path / "model", "t5")
    settings = f"kind: model\nmodel: {folder}\nlength: 64\ntokens: 5\nbatch: 4\nchat: false\n"
    (tmp_path / "writer.yaml").write_text(settings, "utf-8")
    given = ["generate", "small.yaml", "--writer", "writer.yaml", "--prompt", "questions-bare-1"]
    assert command(tmp_path, monkeypatch, *given, "--to", "one") == 0
    storage.remove(tmp_path / "home" / "answers")
    assert command(tmp_path, monkeypatch, *given, "--to", "two") == 0
    one, two = (storage.verify(tmp_path / name) for name in ("one", "two"))
    assert one.digest == two.digest
    assert one.receipt["questions"] + one.receipt["unread"] >= 12
    assert str(tmp_path) not in str(one.receipt)


def test_agreement_with_the_judgements_of_a_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pairs are judged, figures are over those alone: known negatives count, unknown candidates do not."""
    path = collection.write(tmp_path)
    rows = [{"id": str(row["id"]), "question": str(row["question"])} for row in collection.TRAIN]
    (tmp_path / "asked.tsv").write_text("".join(f"{row['id']}\t{row['question']}\n" for row in rows), "utf-8")
    judged = {("t0", "p0"): 1, ("t0", "p8"): 0, ("t0", "p9"): 0, ("t1", "p3"): 1, ("t1", "p4"): 1, ("t2", "p10"): 0}
    lines = "".join(f"{question} 0 {passage} {grade}\n" for (question, passage), grade in judged.items())
    (tmp_path / "asked.qrels").write_text(lines, "utf-8")
    split = "{file: asked.tsv, format: msmarco, judgements: asked.qrels}"
    words = "{name: bm25, as: words, depth: 12, k1: 0.9, b: 0.4, title: true, stopwords: none, stemmer: none}"
    sets = [f"data.corpus.splits.asked={split}", "data.train=asked", f"sources=[{words}]", "draw.negatives=[]"]
    dataset = Dataset(read.load(path, sets), tmp_path / "home", quiet=True)
    mine.Mined(dataset).make()
    prompt = prompts.of("judge-yes-no-1", "judge")
    wanted = judge.Wanted("words", 12, False, prompt, 1, planted=9)

    class Yes(Small):
        """Says yes where the passage has the word `the`, and no otherwise."""

        def __call__(self, prompts):  # type: ignore[no-untyped-def]
            for place, text in enumerate(prompts):
                said = "yes" if " the " in text.partition("\nPassage: ")[2].partition("\n")[0] else "no"
                yield [(place, _transcript.Reply(said))]

    found = judge.judge(dataset, wanted, Yes(), tmp_path / "judged").receipt
    texts = {name: f" {text} " for name, (_, text) in collection.PASSAGES.items()}
    verdicts = [json.loads(line) for line in (tmp_path / "judged" / judge.FILE).read_text("utf-8").splitlines()]
    asked = {(one["question"], one["passage"]) for one in verdicts}
    pairs = [(grade > 0, " the " in texts[pair[1]]) for pair, grade in judged.items() if pair in asked]
    assert found["known by"] == "judgements of the split"
    assert found["agreement"] == judge.Agreement.of(pairs).facts
    assert 3 <= len(pairs) < len(verdicts)
