"""Tevatron's files, in every form that its programs have written, read by `json` alone and by ours.

Forms: rows with their passages inline, of the first generation, also with answers and with numbers as ids; rows that
name passages of a corpus, under the question's newer and older name; the corpus, also under the names and with the
empty and filled media of the documentation's example line.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mpr.formats import tevatron
from mpr.records import Group, Passage
from tests.conftest import Parity
from tests.parity.test_dpr import text_of

Row = dict[str, Any]
LINES = 60


def passage(dice: random.Random, number: int) -> Row:
    titled = dice.random() < 0.7
    return {
        "docid": f"d{number}",
        "title": text_of(dice, 2).strip() if titled else "",
        "text": text_of(dice, 9).strip(),
    }


def inline(dice: random.Random, number: int) -> Row:
    picked = [passage(dice, 100 * number + place) for place in range(dice.randint(2, 9))]
    right = dice.randint(1, len(picked) - 1)
    return {
        "query_id": f"q{number}",
        "query": text_of(dice, 4).strip(),
        "positive_passages": picked[:right],
        "negative_passages": picked[right:],
    }


def with_answers(dice: random.Random, number: int) -> Row:
    return inline(dice, number) | {"answers": [text_of(dice, 1).strip() for _ in range(dice.randint(1, 3))]}


def numbered(dice: random.Random, number: int) -> Row:
    row = inline(dice, number) | {"query_id": number}
    for name in ("positive_passages", "negative_passages"):
        row[name] = [one | {"docid": int(one["docid"][1:])} for one in row[name]]
    return row


def referring(dice: random.Random, number: int) -> Row:
    ids = [f"d{one}" for one in dice.sample(range(500), 7)]
    return {
        "query_id": f"q{number}",
        "query_text": text_of(dice, 4).strip(),
        "query_image": None,
        "positive_document_ids": ids[: number % 3 + 1],
        "negative_document_ids": ids[number % 3 + 1 :],
        "answer": None,
        "source": "msmarco",
    }


def referring_by_the_older_name(dice: random.Random, number: int) -> Row:
    row = referring(dice, number)
    return {"query" if name == "query_text" else name: value for name, value in row.items()}


def documented(dice: random.Random, number: int) -> Row:
    made = passage(dice, number)
    media = {f"document_{kind}": None for kind in ("image", "video", "audio")}
    return {"docid": made["docid"], "document_text": made["text"], **media}


def with_pictures(dice: random.Random, number: int) -> Row:
    return documented(dice, number) | {"document_image": f"pictures/{number}.png"}


def group_of(row: Row) -> tuple[Any, ...]:
    """By the names in the file alone."""
    sides = []
    for side in ("positive", "negative"):
        inlined = row.get(f"{side}_passages")
        sides.append([str(one["docid"]) for one in inlined] if inlined is not None else row[f"{side}_document_ids"])
    texts = [(str(one["docid"]), one["title"], one["text"]) for side in ("positive", "negative")
             for one in row.get(f"{side}_passages", [])]  # fmt: skip
    question = row["query_text"] if "query_text" in row else row["query"]
    return str(row["query_id"]), question, row.get("answers") or row.get("answer") or [], *sides, texts


def group_as_read(group: Group) -> tuple[Any, ...]:
    texts = [(one.id, one.title, one.text) for one in group.passages]
    sides = [one.passage for one in group.positives], [one.passage for one in group.candidates]
    return group.question.id, group.question.text, list(group.question.answers), *sides, texts


def passage_of(row: Row) -> tuple[str, str, str]:
    return row["docid"], row.get("title", ""), row["document_text"] if "document_text" in row else row["text"]


def passage_as_read(found: Passage) -> tuple[str, str, str]:
    return found.id, found.title, found.text


GROUPS = (inline, with_answers, numbered, referring, referring_by_the_older_name)
PASSAGES: tuple[tuple[Callable[..., Row], list[str]], ...] = (
    (passage, []), (documented, []), (with_pictures, ["document_image"])
)  # fmt: skip


def test_files(tmp_path: Path, parity: Parity) -> None:
    """Titles, texts and ids to the last character, in the order of the file."""
    dice, differing, cases = random.Random(3), 0, 0
    for number, make in enumerate((*GROUPS, *(make for make, _ in PASSAGES))):
        path = tmp_path / f"{number}.jsonl"
        rows = [make(dice, line) for line in range(LINES)]
        path.write_text("".join(json.dumps(row, ensure_ascii=number % 2 == 0) + "\n" for row in rows), encoding="utf-8")
        back = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        if make in GROUPS:
            ours, theirs = [*map(group_as_read, tevatron.read_groups(path))], [*map(group_of, back)]
        else:
            found = tevatron.read_passages(path, ignore=dict(PASSAGES)[make])
            ours, theirs = [*map(passage_as_read, found)], [*map(passage_of, back)]
        assert len(ours) == len(theirs) == LINES
        differing += sum(one != other for one, other in zip(ours, theirs, strict=True))
        cases += LINES
    parity("reader of groups and corpora, 8 forms (lines that differ)", "texttron/tevatron: its JSON lines", cases,
           differing, 0)  # fmt: skip


@pytest.mark.parametrize("field", ["query", "positive", "title"])
def test_the_comparison_can_fail(field: str, tmp_path: Path) -> None:
    row = inline(random.Random(1), 1)
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    (found,) = tevatron.read_groups(path)
    if field == "query":
        row["query"] += "x"
    elif field == "positive":
        row["positive_passages"].pop()
    else:
        row["negative_passages"][0]["title"] += "x"
    assert group_as_read(found) != group_of(row)
