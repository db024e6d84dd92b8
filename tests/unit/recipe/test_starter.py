"""`mpr init` and `mpr recipes`: what is said of a file, and that what is written is read again."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from mpr.cli import main
from mpr.errors import DataError, MprError
from mpr.recipe import read, starter
from tests.conftest import Examined
from tests.published import said

ROWS = [(f"what is thing {number}", f"thing {number} is {word}") for number in range(9) for word in ("red", "round")]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written_lines(file: Path) -> list[str]:
    return [line for line in file.read_text("utf-8").splitlines() if not line.lstrip().startswith("#")]


def test_a_table_of_pairs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (place / "faq.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("question", "answer"), *ROWS])
    said("init", "my.yaml", "--data", "faq.csv")
    shown = capsys.readouterr().out
    for line in (
        "faq.csv: columns (question in question, positives in answer)",
        "9 questions, 18 positives: 2 to 2 a question, 9 questions have several",
        "words of a passage: median 4, 95 % have 4 or fewer, the longest 4",
        "no corpus is named: it is the 18 texts that occur",
    ):
        assert line in shown
    recipe = read.load(place / "my.yaml")
    assert (recipe.draw.positives.m, recipe.objective[0].name) == (2, "joint_lh")
    assert (recipe.towers.question_length, recipe.towers.passage_length) == (16, 16)
    assert len(written_lines(place / "my.yaml")) <= 10
    before = (place / "my.yaml").read_bytes()
    said("init", "my.yaml", "--data", "faq.csv", code=2)
    assert (place / "my.yaml").read_bytes() == before
    assert "my.yaml: is there already" in capsys.readouterr().err


def test_the_recipes_of_the_page_are_good(place: Path, examined: Examined) -> None:
    page = (Path(__file__).parents[3] / "docs" / "own_data.md").read_text("utf-8")
    blocks = re.findall(r"^```(text|yaml)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    row = json.loads(next(text for kind, text in blocks if kind == "text"))
    scored = {**row, "pos_scores": [1, 2], "neg": ["no"], "neg_scores": [0]}
    (place / "my.jsonl").write_text(json.dumps(scored) + "\n", "utf-8")
    recipes = [text for kind, text in blocks if kind == "yaml"]
    for text in recipes:
        (place / "my.yaml").write_text(text if text.startswith("data:") else f"data: my.jsonl\n{text}", "utf-8")
        assert read.load(place / "my.yaml").draft
    examined(len(recipes), "recipes of the page", at_least=2)


def test_negatives_a_corpus_and_an_encoder(place: Path) -> None:
    rows = [{"anchor": question, "positive": positive, "negative": "no"} for question, positive in ROWS[::2]]
    (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    texts = [{"id": f"d{number}", "text": text} for number, (_, text) in enumerate(ROWS)]
    (place / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts), "utf-8")
    commit = "0" * 40
    said("init", "my.yaml", "--data", "rows.jsonl", "--corpus", "corpus.jsonl", "--base", f"some/encoder@{commit}")
    recipe = read.load(place / "my.yaml")
    assert (recipe.towers.base, recipe.towers.revision) == ("some/encoder", commit)
    assert recipe.objective[0].name == "nll"  # no question has several positives
    assert [entry.from_ for entry in recipe.draw.negatives] == ["negatives"]
    assert recipe.data.corpus.passages.format == "columns"  # type: ignore[attr-defined]
    assert len(written_lines(place / "my.yaml")) <= 10


@pytest.mark.parametrize(
    "first, rest",
    [
        ({"query": "a", "pos": ["x"]}, {"query": "b", "pos": ["y"], "neg": ["z"]}),
        ({"query": "a", "pos": ["x"], "neg": None}, {"query": "b", "pos": ["y"], "neg": ["z"]}),
        ({"anchor": "a", "positive": "x"}, {"anchor": "b", "positive": "y", "negative": "z"}),
        ({"question": "a", "doc": "1", "document": "x"}, {"question": "b", "document": "y", "neg": ["z"]}),
        ({"query": "a", "pos": ["x"], "neg": []}, "{"),
    ],
)
def test_a_first_row_without_negatives_does_not_mislead(place: Path, first: object, rest: object) -> None:
    """Beside what is wrong further on, of which reading the data tells."""
    from mpr.formats import recognised

    rows = [first] * 3 + [rest]
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    (place / "my.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    found = recognised.training_file(place / "my.jsonl")
    assert found.negatives == ("" if isinstance(rest, str) else "negatives")


def test_a_saved_data_set(place: Path) -> None:
    import datasets

    rows = [{"query": question, "pos": [positive]} for question, positive in ROWS[::2]]
    datasets.Dataset.from_list(rows).save_to_disk(place / "saved")
    said("init", "my.yaml", "--data", "saved")
    assert read.load(place / "my.yaml").data.corpus.name == "hub"


@pytest.mark.parametrize(
    "content, message",
    [
        ('{"query": "a", "pos": ["x"]}\n{"query": "b", "pos": []}\n', r"my\.jsonl:2 pos: the question has no positive"),
        ('{"query": "a", "pos": ["x"], "negs": []}\n', r"my\.jsonl:1 negs: unknown field.*did you mean 'neg'"),
        ('{"text": "a"}\n', r"my\.jsonl:1: which columns are question and positives\? There are text"),
        ('{"query_id": "1", "query_text": "a", "positive_document_ids": ["1"], "negative_document_ids": []}\n',
         "tevatron names passages by their ids.*--corpus|--corpus.*tevatron names passages by their ids"),
    ],
)  # fmt: skip
def test_nothing_is_written_for_data_that_is_wrong(place: Path, content: str, message: str) -> None:
    (place / "my.jsonl").write_text(content, "utf-8")
    with pytest.raises(DataError, match=message):
        starter.recipe(Path("my.yaml"), Path("my.jsonl"), None, None, lambda line: None)
    assert not (place / "my.yaml").exists()


def test_a_file_that_is_not_there_is_named_with_its_neighbour(place: Path) -> None:
    (place / "my.jsonl").write_text("{}\n", "utf-8")
    with pytest.raises(MprError, match=r"--data: there is no file .*/mi\.jsonl \(did you mean 'my\.jsonl'\?\)"):
        starter.recipe(Path("my.yaml"), Path("mi.jsonl"), None, None, lambda line: None)


def test_a_shipped_recipe_is_copied_and_listed(
    place: Path, capsys: pytest.CaptureFixture[str], examined: Examined
) -> None:
    said("recipes")
    listed = capsys.readouterr().out.splitlines()
    assert any(line.startswith("trec_bce_m3 ") and "DPR+3 on CuratedTREC" in line for line in listed)
    assert all(len(line.split(maxsplit=1)) == 2 for line in listed)
    examined(len(listed) - 1, "recipes with a line", at_least=120)
    said("init", "my.yaml", "--from", "trec_bce_m3")
    copied = read.load(place / "my.yaml")
    assert copied.paper is not None
    (place / "my.jsonl").write_text('{"query": "a", "pos": ["x"]}\n', "utf-8")
    said("init", "own.yaml", "--data", "my.jsonl")
    for name in ("my.yaml", "own.yaml"):
        head, _, path = (place / name).read_text("utf-8").splitlines()[0].partition("$schema=")
        assert head == "# yaml-language-server: "
        assert "if" in json.loads(Path(path).read_bytes())
    with pytest.raises(SystemExit):
        main(["init", "other.yaml", "--from", "trec_bce_m33"])
    assert "did you mean 'trec_bce_m3'" in capsys.readouterr().err
