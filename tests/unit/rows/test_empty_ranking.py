"""A baseline of words for questions that share no word with the corpus: a ranking that scores 0, not a broken run."""

from __future__ import annotations

import json
import logging
from itertools import permutations
from pathlib import Path

import pytest

from mpr.recipe import read
from mpr.rows._stages import Row
from mpr.rows.pipeline import Pipeline
from tests.e2e import collection


def test_a_ranking_without_a_passage_scores_zero_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = collection.write(tmp_path)
    stopped = [" ".join(words) for words in permutations(("is", "it", "the", "there", "was"))]
    texts = (f"zzz{number} qqq" if number % 2 else stopped[number] for number in range(len(collection.TEST)))
    asked = [{**question, "question": text} for question, text in zip(collection.TEST, texts, strict=True)]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(one) + "\n" for one in asked), "utf-8")
    with caplog.at_level(logging.WARNING, logger="mpr"):
        made = [
            Pipeline(Row(read.load(file), file, "bm25", tmp_path / "home", tmp_path / "run", quiet=True)).run()
            for _ in range(2)  # the second finds the empty ranking of the first
        ]
    assert (tmp_path / "run" / "rankings" / "test" / "run.trec").read_bytes() == b""
    assert "no passage was found for any question, so every score is 0: " in caplog.text
    assert f": {(len(asked) + 1) // 2} of {len(asked)} questions have no word but stop words" in caplog.text
    values = made[0].document["scores"]["test"]["values"]
    assert values
    assert all(of == [0] * len(asked) for of in values.values()), values
    assert made[0].digest == made[1].digest
