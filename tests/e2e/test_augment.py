"""Augmented positives, from a writer to a step of training: for training alone, as a tier of their own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mpr import storage
from mpr.batches.draw import Drawer
from mpr.data.dataset import Dataset
from mpr.errors import DataError
from mpr.formats.rewritten import read_rewritten
from mpr.mining import mine
from mpr.recipe import read
from mpr.records import TIERS
from mpr.writing import augmentation, prompts
from tests.chat_server import ChatServer
from tests.conftest import Examined
from tests.e2e import collection
from tests.e2e.test_generate import command
from tests.e2e.test_unlabelled import WORDS
from tests.unit.labelling import listed

KNOWN = (
    "labels=[{name: known_positives, tiers: [gold, answer_match, augmented], siblings: ignore, shared: ignore, "
    "duplicates: ignore, doubtful: ignore}]"
)
PLAIN = KNOWN.replace(", augmented]", "]")


def says(prompt: str) -> str:
    """Backwards; nothing of Ana Brel, and the walls as they are."""
    text = prompt.partition("\nPassage: ")[2].partition("\n")[0]
    return "" if "Salt Road" in text else text if "walls" in text else " ".join(reversed(text.split()))


def made(folder: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> Path:
    path = collection.write(folder)
    with ChatServer(says) as server:
        settings = "".join(f"{name}: {value}\n" for name, value in server.settings().items())
        (folder / "writer.yaml").write_text(settings, "utf-8")
        given = ["augment", "small.yaml", "--writer", "writer.yaml", "--to", "more", "--set", PLAIN, *more]
        assert command(folder, monkeypatch, *given) == 0
    return path


def test_for_training_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Examined) -> None:
    path = made(tmp_path, monkeypatch, "--least", "3")
    told = storage.verify(tmp_path / "more").receipt
    found = list(read_rewritten(tmp_path / "more" / "passages.jsonl"))
    assert [(one.of, one.questions) for one in found] == [("p3", ("t1",))]  # made of p6 and p11 was nothing
    assert found[0].text == "kilometres. 214 of river a is Teith The"
    assert [told[name] for name in ("written", "unread", "repeats", "questions with few")] == [1, 1, 1, 3]

    pin = storage.sha256_file(tmp_path / "more" / "passages.jsonl")
    augment = f"data.augment={{file: more/passages.jsonl, sha256: {pin}}}"
    random = "draw.negatives=[{from: words, k: 8, weight: top, short: random}]"
    sets = [KNOWN, f"sources=[{WORDS.replace('depth: 8', 'depth: 12')}]", random, "draw.positives.policy=all"]
    sets += ["draw.positives.m=null", "draw.positives.beyond=null", "objective=[{name: lse_pair}]"]
    with_, without = (
        Dataset(read.load(path, [*sets, *more]), tmp_path / "home", quiet=True) for more in ([augment], [])
    )
    base, store = with_.corpus(), with_.passages_of("train")
    assert with_.splits.proposable("train").folder == base.folder == without.passages_of("train").folder
    assert [store[row] for row in range(len(base))] == list(base)
    assert store[len(base)].id == "augmented-3"
    assert with_.split("train").manifest.receipt["augmented"] == {"questions": 1, "positives": 1}
    mine.Mined(with_).make().tables, mine.Mined(without).make().tables
    known, plain = mine.Mined(with_).knowledge, mine.Mined(without).knowledge
    assert listed(known.of("words")) == listed(plain.of("words"))  # the source knows nothing of it
    rows, row = known.positives.rows, with_.split("train").ids.index("t1")
    assert rows.row(row, "passage")[-1] == len(base)
    assert rows.row(row, "tier")[-1] == TIERS.index("augmented")
    recipe = with_.recipe
    drawer = Drawer(
        recipe.draw, known.positives, known.tiers, known.candidates, len(with_.splits.proposable("train")), 4, 1
    )  # fmt: skip
    negatives, positives = set[int](), set[int]()
    for number in range(60):
        block = drawer(number).block
        negatives |= set(block.negative_N.tolist())
        positives |= set(block.positive_N.tolist())
    assert len(base) in positives
    assert max(negatives) < len(base)
    assert len(with_.tokens_of_passages("train")) == len(base) + 1
    assert len(with_.tokens_of_passages(None)) == len(base)
    shortages = sum(sum(drawer(number).shortages.values()) for number in range(60))
    examined(shortages, "negatives drawn at random", at_least=100)
    examined(len(negatives), "passages that were negatives", at_least=9)


def test_what_was_rewritten_has_no_anchor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source scores what it searches; rewritten passages lie beside that."""
    path = made(tmp_path, monkeypatch, "--least", "3")
    pin = storage.sha256_file(tmp_path / "more" / "passages.jsonl")
    simans = "{from: words, k: 1, weight: simans, simans: {a: 0.5, b: 0.0, anchor: mean}, short: fewer}"
    sets = [KNOWN, f"sources=[{WORDS}]", f"draw.negatives=[{simans}]",
            f"data.augment={{file: more/passages.jsonl, sha256: {pin}}}"]  # fmt: skip
    dataset = Dataset(read.load(path, sets), tmp_path / "home", quiet=True)
    mine.Mined(dataset).make()
    known = mine.Mined(dataset).knowledge
    rows, corpus = known.positives.rows, len(dataset.splits.proposable("train"))
    score_N = mine.Mined(dataset).evidence.anchors["words"](rows.owners(), rows.columns["passage"])
    beside_N = rows.columns["passage"] >= corpus
    assert beside_N.sum() == 1
    assert np.isnan(score_N[beside_N]).all()
    assert np.isfinite(score_N[~beside_N]).all()


def test_into_a_language_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ["--least", "3", "--prompt", "rewrite-bare-1", "--then", "to-english-1"]
    path = collection.write(tmp_path)
    with ChatServer(lambda prompt: "again " + prompt.splitlines()[2] if "English" in prompt else "once") as server:
        (tmp_path / "writer.yaml").write_text(
            "".join(f"{name}: {value}\n" for name, value in server.settings().items()), "utf-8"
        )
        arguments = ["augment", "small.yaml", "--writer", "writer.yaml", "--to", "more", "--set", PLAIN, *given]
        assert command(tmp_path, monkeypatch, *arguments) == 0
    assert path.exists()
    found = list(read_rewritten(tmp_path / "more" / "passages.jsonl"))
    assert {one.text for one in found} == {"again once"}
    assert {one.prompt for one in found} == {"rewrite-bare-1>to-english-1"}
    assert len(found) == 3


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path, monkeypatch, "--least", "3")
    file = tmp_path / "more" / "passages.jsonl"
    line = json.loads(file.read_text("utf-8"))

    def refused(message: str, **change: object) -> None:
        (tmp_path / "other.jsonl").write_text(json.dumps({**line, **change}) + "\n", "utf-8")
        sets = [KNOWN, "data.augment={file: other.jsonl}"]
        dataset = Dataset(read.load(path, sets), tmp_path / "home", quiet=True)
        with pytest.raises(DataError, match=message):
            dataset.split("train")

    refused("passage p77, of which augmented-3 was made, is not among the passages", of="p77")
    refused("1 passage ids are given twice", id="p5")
    refused("has nothing for any question of the split", questions=["t77"])
    refused("must name questions, each once", questions=[])
    refused("must name questions, each once", questions=["t1", "t1"])
    plain = Dataset(read.load(path, [PLAIN]), tmp_path / "home", quiet=True)
    with pytest.raises(DataError, match="no question has fewer than 1 positives"):
        augmentation.augment(plain, 1, [(prompts.of("paraphrase-1", "rewrite"), _Nobody())], tmp_path / "none")


class _Nobody:
    origin = {"model": "nobody"}  # noqa: RUF012

    def __call__(self, texts: object) -> object:
        raise AssertionError("nobody was to be asked")
