"""Rows of texts: grouping, ids, scores, and one clear error for each mistake, in all three formats that map columns."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpr.errors import DataError
from mpr.formats import anchors, columns, pos_neg, tables
from mpr.formats.columns import Columns, passage_id
from mpr.records import Group
from mpr.storage.lines import Line

MAPPED = Columns.of({"question": "q", "positives": ["p", "more"], "negatives": "n"})
WORDS = st.sampled_from(["red", "green", "blue", "grey"])


def lines(rows: list[dict[str, Any]]) -> Iterator[tuple[Line, dict[str, Any]]]:
    for number, row in enumerate(rows, 1):
        yield Line("made.jsonl", number, -1, json.dumps(row)), row


def texts(group: Group) -> tuple[str, list[str], list[str]]:
    known = {passage.id: passage.text for passage in group.passages}
    return (
        group.question.text,
        [known[one.passage] for one in group.positives],
        [known[one.passage] for one in group.candidates],
    )


@given(st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=12))
def test_rows_that_repeat_an_anchor_become_one_question(rows: list[tuple[str, str, str]]) -> None:
    made = [{"anchor": a, "positive": f"p {p}", "negative": f"n {n}"} for a, p, n in rows]
    expected: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for a, p, n in rows:
        positives, negatives = expected.setdefault(a, ({}, {}))
        positives[f"p {p}"] = negatives[f"n {n}"] = None
    found = [texts(group) for group in anchors.read_groups(lines(made))]
    assert found == [(a, [*positives], [*negatives]) for a, (positives, negatives) in expected.items()]


def test_negatives_stand_in_the_order_of_their_numbers() -> None:
    row = {"anchor": "a", "positive": "p", "negative_10": "ten", "negative_2": "two", "negative": "none"}
    (group,) = anchors.read_groups(lines([row]))
    assert texts(group)[2] == ["none", "two", "ten"]
    assert [one.rank for one in group.candidates] == [1, 2, 3]


def test_rows_of_anchors_may_have_different_negatives() -> None:
    rows = [{"anchor": "a", "positive": "p"}, {"anchor": "b", "positive": "q", "negative": None, "negative_1": "n"}]
    assert [texts(group)[2] for group in anchors.read_groups(lines(rows))] == [[], ["n"]]


def test_ids_come_from_the_texts() -> None:
    first = {"q": "what  is\tit", "p": "one\n text", "more": None, "n": []}
    rows = [first, {"q": "what is it", "p": "one text", "more": ["x"], "n": "y"}]
    (group,) = columns.read_groups(lines(rows), MAPPED)
    assert [one.passage for one in group.positives] == [passage_id("one text"), passage_id("x")]
    assert group.question.id.startswith("question-")


def test_a_column_of_ids_names_the_questions() -> None:
    mapped = Columns.of({"question": "q", "positives": "p", "id": "key"})
    found = list(columns.read_groups(lines([{"q": "a", "p": "x", "key": 7}, {"q": "a", "p": "y", "key": 8}]), mapped))
    assert [(group.question.id, len(group.positives)) for group in found] == [("7", 1), ("8", 1)]


def test_scores_are_those_of_the_texts_beside_them() -> None:
    rows = [{"query": "a", "pos": ["x", "y"], "neg": ["z"], "pos_scores": [3, 1.5], "neg_scores": ["-2"]},
            {"query": "b", "pos": ["x"]}]  # fmt: skip
    (first, second) = pos_neg.read_groups(lines(rows))
    assert [one.score for one in first.candidates] == [-2.0]
    assert second.candidates == ()
    found = {(one.question, one.passage): one.score for one in pos_neg.read_scores(lines(rows))}
    assert found == {
        (first.question.id, passage_id(text)): score for text, score in {"x": 3, "y": 1.5, "z": -2}.items()
    }


def _pos_neg(rows: list[dict[str, Any]]) -> Iterator[Group]:
    return pos_neg.read_groups(lines(rows))


def _anchors(rows: list[dict[str, Any]]) -> Iterator[Group]:
    return anchors.read_groups(lines(rows))


def _mapped(rows: list[dict[str, Any]]) -> Iterator[Group]:
    return columns.read_groups(lines(rows), MAPPED)


GOOD = {"query": "a", "pos": ["x"]}


@pytest.mark.parametrize(
    "read, rows, message",
    [
        (_pos_neg, [GOOD, {"query": "b", "pos": []}], r":2 pos: the question has no positive.*give it at least one"),
        (_pos_neg, [GOOD, {"query": "b"}], r":2 columns: there is no column 'pos' \(for positives\)"),
        (_pos_neg, [{"query": "b", "pos": ["x"], "negs": []}], r":1 negs: unknown field.*did you mean 'neg'"),
        (_pos_neg, [{"query": "b", "pos": ["x"], "prompt": "find"}], r":1 prompt: .*towers\.question_prompt"),
        (_pos_neg, [{"query": " ", "pos": ["x"]}], r":1 query: question is empty"),
        (_pos_neg, [{"query": "b", "pos": ["x", " "]}], r":1 pos\[1\]: is a blank text"),
        (_pos_neg, [{"query": "b", "pos": ["x", 3]}], r":1 pos\[1\]: must be text, not int"),
        (_pos_neg, [{**GOOD, "pos_scores": [1, 2]}], r":1 pos_scores: has 2 scores for 1 texts"),
        (_pos_neg, [{**GOOD, "pos_scores": ["high"]}], r":1 pos_scores: must be a number, not 'high'"),
        (_pos_neg, [{**GOOD, "pos_scores": [1]}, {**GOOD, "pos_scores": [2]}], r":2 pos_scores: a passage has scores"),
        (_anchors, [{"anchor": "a", "positiv": "x"}], r":1 positiv: is no column of anchors.*did you mean 'positive'"),
        (_anchors, [{"anchor": "a", "positive": "x", "label": 1}], r":1 label: .*ignore: \[label\]"),
        (_mapped, [{"q": "a", "pp": "x", "more": "y", "n": "z"}], r":1 columns: .* no column 'p'.*mean 'pp'"),
        (_mapped, [{"q": "a", "p": "x", "more": "y", "nn": "z"}], r":1 columns: .*'n' \(for negatives\).*mean 'nn'"),
        (_mapped, [{"q": "a", "p": "", "more": None, "n": "z"}], r":1 p, more: the question has no positive"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_error(
    read: Callable[[list[dict[str, Any]]], Iterator[Group]], rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(DataError, match=r"^made\.jsonl" + message) as refused:
        list(read(rows))
    assert len(refused.value.problems) == 1


@pytest.mark.parametrize(
    "names, message",
    [
        ({"question": "q"}, "'positives' is missing"),
        ({"question": "q", "positive": "p"}, "unknown name 'positive' did you mean 'positives'"),
        ({"question": ["q", "r"], "positives": "p"}, "'question' is one column"),
    ],
)
def test_a_mapping_is_checked(names: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Columns.of(names)


def test_a_corpus_without_ids_has_each_text_once(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("title,body\nA,one\nA,one\n,two\n", "utf-8")
    rows = list(columns.read_passages(tables.read_rows(tmp_path / "c.csv"), {"text": "body", "title": "title"}))
    assert [(one.id, one.title, one.text) for one in rows] == [
        (passage_id("A one"), "A", "one"),
        (passage_id("two"), "", "two"),
    ]
