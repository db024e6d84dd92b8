"""docs/formats.md is true: its lines are written into files, its recipes are loaded, and the data is read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import pytest

from mpr import corpora
from mpr.corpora import local
from mpr.recipe import read
from tests.conftest import Examined

PAGE = Path(__file__).parents[3] / "docs" / "formats.md"
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"`([\w./-]+\.(?:jsonl|json|csv|tsv|qrels|trec))`")
_READ = re.compile(r"Read as: (.+)\.")


@dataclass
class Example:
    """One recipe of the page with the files and the code before it."""

    recipe: str
    line: int
    files: dict[str, str] = field(default_factory=dict)
    code: list[str] = field(default_factory=list)
    said: str = ""
    """What the page says that is read; empty where the data cannot be at hand."""


def examples() -> list[Example]:
    found, text, end, start = [], PAGE.read_text("utf-8"), 0, 0
    files: dict[str, str] = {}
    code: list[str] = []
    for fence in _FENCE.finditer(text):
        before, content = text[end : fence.start()], fence[2]
        end = fence.end()
        if fence[1] == "text":
            files[_NAME.findall(before)[-1]] = content
        elif fence[1] == "python":
            code.append(content)
        else:
            said = _READ.match(text[end:].lstrip())
            line = text[: fence.start()].count("\n") + 1
            found.append(Example(content, line, files, code, said[1] if said else ""))
            files, code = {}, []
        start = end
    assert start
    return found


def _counts(recipe: Path) -> str:
    made = read.load(recipe)
    folder = Path(getattr(made.data.corpus, "folder", "."))
    collection = corpora.of(made.data.corpus, lambda pin: folder / pin.file)
    passages = [passage.id for passage in collection.passages()]
    assert len(set(passages)) == len(passages)
    asked, positives, negatives = 0, 0, 0
    for name, split in collection.splits.items():
        groups = list(collection.groups(name))
        assert groups, name
        asked += len(groups)
        positives += sum(len(group.positives) for group in groups)
        negatives += sum(len(group.candidates) for group in groups)
        referred = {one.passage for group in groups for one in (*group.positives, *group.candidates)}
        assert referred <= set(passages)
        if split.judged:
            judged = list(collection.judgements(name))
            assert {one.question for one in judged} == {group.question.id for group in groups}
    counts = ((asked, "question"), (positives, "positive"), (negatives, "negative"), (len(passages), "passage"))
    return ", ".join(f"{count} {word}{'s' if count != 1 else ''}" for count, word in counts if count)


@pytest.mark.parametrize("example", examples(), ids=lambda example: f"line {example.line}")
def test_an_example_is_read_as_the_page_says(example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in example.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, "utf-8")
    for code in example.code:
        exec(code, {})  # our own page
    recipe = tmp_path / "my.yaml"
    recipe.write_text(example.recipe, "utf-8")
    if example.said:
        assert _counts(recipe) == example.said
    else:
        assert "@" in example.recipe  # on the Hub
        assert read.load(recipe).data.corpus.name == "hub"


def test_the_page_has_every_format(examined: Examined) -> None:
    shown = {word for example in examples() for word in re.findall(r"format: (\w+)", example.recipe)}
    shown |= {read_as for example in examples() for read_as in re.findall(r"### (\w+)", PAGE.read_text("utf-8"))}
    offered = set(get_args(local.Questions.model_fields["format"].annotation))
    offered |= set(get_args(local.Corpus.model_fields["format"].annotation))
    assert offered - shown <= {"tevatron_inline"}  # recognised by its columns in the section tevatron
    examined(len(offered), "formats", at_least=14)
