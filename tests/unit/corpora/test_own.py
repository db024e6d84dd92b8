"""Collections of one's own data: which passages there are, and which questions are held out."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpr import corpora
from mpr.errors import DataError
from mpr.metrics.answers import normalised
from mpr.recipe.keys import corpus_of

ROWS = [
    {"query": "how deep is it", "pos": ["It is deep.", "Lake: It is 212 m deep."], "neg": ["Trout live here."]},
    {"query": "who lives here", "pos": ["Trout live here."], "neg": ["It is  deep."]},
]
PARTED = {"file": "x", "format": "pos_neg", "holdout": 0.1}


def collection(folder: Path, rows: list[dict[str, Any]], passages: Any = None, **keys: Any) -> corpora.Collection:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "train.jsonl").write_text(text, "utf-8")
    split = {"file": "train.jsonl", "format": "pos_neg", **keys}
    entry = {"name": "local", "folder": str(folder), "passages": passages, "splits": {"train": split}}
    return corpora.of(corpus_of(entry), lambda pin: folder / pin.file)


def test_without_a_corpus_it_is_all_texts_that_occur(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        texts = [passage.text for passage in collection(tmp_path, ROWS).passages()]
    assert texts == ["It is deep.", "Lake: It is 212 m deep.", "Trout live here."]
    assert "no corpus is named: it is the 3 texts that occur in train" in caplog.text


def test_a_text_is_the_passage_of_the_corpus_that_says_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    corpus = [("a", "", "It is deep."), ("b", "Lake:", "It is 212 m deep."), ("c", "", "Nobody asks about me.")]
    lines = (json.dumps({"_id": name, "title": title, "text": text}) for name, title, text in corpus)
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    made = collection(tmp_path, ROWS, {"file": "corpus.jsonl", "format": "beir"})
    passages = [passage.id for passage in made.passages()]
    assert passages[:3] == ["a", "b", "c"]
    assert len(passages) == 4
    assert "texts of train that the corpus lacks were added to it: 1" in caplog.text
    first, second = made.groups("train")
    assert [one.passage for one in first.positives] == ["a", "b"]
    assert [one.passage for one in second.positives] == [passages[3]]
    assert [one.passage for one in second.candidates] == ["a"]  # white space is folded


@given(
    st.lists(st.sampled_from([f"{word}{end}" for word in "abcdefghij" for end in ("", "?", " ")]), min_size=2),
    st.floats(0.05, 0.9),
    st.integers(0, 3),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_held_out_questions_share_no_words_with_the_others(
    tmp_path_factory: pytest.TempPathFactory, asked: list[str], share: float, seed: int, random: Any
) -> None:
    folder = tmp_path_factory.mktemp("held")
    rows = [{"query": f"what is {word}", "pos": [f"it is {word} {place}"]} for place, word in enumerate(asked)]
    distinct = {normalised(str(row["query"])) for row in rows}
    made = collection(folder, rows, holdout=share, holdout_seed=seed)
    if len(distinct) == 1:
        with pytest.raises(DataError, match="has one question"):
            list(made.groups("train"))
        return
    kept, held = ({normalised(group.question.text) for group in made.groups(name)} for name in ("train", "test"))
    assert kept | held == distinct
    assert not kept & held
    assert len(held) == min(max(round(share * len(distinct)), 1), len(distinct) - 1)
    random.shuffle(rows)
    again = collection(folder, rows, holdout=share, holdout_seed=seed)
    assert {normalised(group.question.text) for group in again.groups("test")} == held


def test_another_seed_holds_out_others(tmp_path: Path) -> None:
    rows = [{"query": f"question {number}", "pos": ["x"]} for number in range(60)]
    held = []
    for seed in (0, 1):
        made = collection(tmp_path, rows, holdout=0.1, holdout_seed=seed)
        held.append({group.question.text for group in made.groups("test")})
    assert [len(each) for each in held] == [6, 6]
    assert held[0] != held[1]


def test_positives_are_what_is_right_for_a_question(tmp_path: Path) -> None:
    made = collection(tmp_path, ROWS, holdout=0.5)
    judged = {(one.question, one.passage, one.grade) for one in made.judgements("test")}
    assert judged == {(group.question.id, one.passage, 1) for group in made.groups("test") for one in group.positives}
    assert made.split("test").judged
    assert made.split("train").trains


@pytest.mark.parametrize(
    "entry, message",
    [
        ({"splits": {"train": {"file": "x", "format": "candidates"}}}, "the records of train bring no texts"),
        ({"splits": {"a": PARTED, "b": PARTED}}, "held out of one split"),
        ({"splits": {"a": PARTED, "test": {"file": "y", "format": "pos_neg"}}}, "a split is called test"),
        ({"splits": {"a": {"file": "x", "format": "columns"}}}, "`format: columns` and `columns` go together"),
        ({"splits": {"a": {"file": "x", "format": "dpr_qa", "ignore": ["y"]}}}, "has no fields to be left out"),
    ],
)  # fmt: skip
def test_keys_that_contradict_each_other_are_refused(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        corpus_of({"name": "local", "folder": ".", **entry})


def test_a_saved_data_set_is_known_by_its_files(tmp_path: Path) -> None:
    import datasets

    folder = tmp_path / "saved"
    rows = [{"q": "a", "d": ["x", "y"]}, {"q": "b", "d": ["z"]}]
    datasets.DatasetDict({"train": datasets.Dataset.from_list(rows)}).save_to_disk(folder)
    columns = {"question": "q", "positives": "d"}
    entry = {"name": "hub", "splits": {"train": {"repo": str(folder), "form": "columns", "columns": columns}}}
    made = corpora.of(corpus_of(entry))
    assert [len(group.positives) for group in made.groups("train")] == [2, 1]
    assert len(list(made.passages())) == 3
    before = made.pins[0].url
    datasets.DatasetDict({"train": datasets.Dataset.from_list(rows[:1])}).save_to_disk(folder)
    assert corpora.of(corpus_of(entry)).pins[0].url != before
    entry["splits"]["train"]["split"] = "trian"  # type: ignore[index]
    with pytest.raises(DataError, match=r"has no split 'trian' \(did you mean 'train'\?"):
        list(corpora.of(corpus_of(entry)).groups("train"))
