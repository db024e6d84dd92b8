"""Fields that files of one's own have too many: the advice of the readers is a key that a recipe has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mpr.corpora import local
from mpr.errors import DataError

PASSAGE = {"docid": "d1", "document_text": "a text", "document_image": "d1.png", "prompt": "p"}
RECORD = {"query_id": "q1", "query_text": "who?", "positive_document_ids": ["d1"], "negative_document_ids": ["d2"]}
IGNORED = {"passages": ["document_image", "prompt"], "train": ["prompt"], "dev": ["more"]}


def collection(folder: Path, ignored: dict[str, list[str]]) -> local.Collection:
    (folder / "corpus.jsonl").write_text(json.dumps(PASSAGE) + "\n")
    (folder / "train.jsonl").write_text(json.dumps(RECORD | {"prompt": "p"}) + "\n")
    (folder / "dev.jsonl").write_text(json.dumps({"id": "q2", "question": "what?", "answers": ["x"], "more": 1}) + "\n")
    given: dict[str, Any] = {
        "folder": str(folder),
        "passages": {"file": "corpus.jsonl", "format": "tevatron", "ignore": ignored.get("passages", [])},
        "splits": {
            "train": {"file": "train.jsonl", "format": "tevatron", "ignore": ignored.get("train", [])},
            "dev": {"file": "dev.jsonl", "format": "questions", "ignore": ignored.get("dev", [])},
        },
    }
    return local.Collection(local.Params.model_validate_json(json.dumps(given)), lambda pin: folder / pin.file)


def test_the_advice_is_a_key_that_there_is(tmp_path: Path) -> None:
    """Every refusal names what to write; with all of it written the files are read."""
    bare = collection(tmp_path, {})
    for place, read in (("passages", bare.passages), ("train", lambda: bare.groups("train")),
                        ("dev", lambda: bare.groups("dev"))):  # fmt: skip
        with pytest.raises(DataError) as caught:
            list(read())
        advised = [problem.fix for problem in caught.value.problems]
        assert all(any(f"ignore: ['{field}'] beside its file" in fix for fix in advised) for field in IGNORED[place])
    found = collection(tmp_path, IGNORED)
    assert [(one.id, one.text) for one in found.passages()] == [("d1", "a text")]
    assert [group.question.text for group in found.groups("train")] == ["who?"]
    assert [group.question.answers for group in found.groups("dev")] == [("x",)]


def test_a_file_without_fields_has_none_to_ignore(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="a file of format plain_tsv has no fields"):
        local.Corpus(file="c.tsv", format="plain_tsv", ignore=("x",))
