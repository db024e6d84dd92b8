"""TREC's development part: a tenth of the training questions, apart from the rest, equal questions together."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from mpr.corpora import wiki_core
from tests.conftest import Examined


def test_the_development_part_and_the_rest_are_the_training_questions(tmp_path: Path, examined: Examined) -> None:
    texts = [f"Who built house {number // 2}{'?' * (number % 2)}" for number in range(600)]  # each one twice
    with gzip.open(tmp_path / "factoid-large2470-train.jsonl.gz", "wt") as questions:
        questions.writelines(
            json.dumps({"id": f"q{number}", "question": text, "answers": ["x"]}) + "\n"
            for number, text in enumerate(texts)
        )
    with gzip.open(tmp_path / "lead3.trec-train.jsonl.gz", "wt") as candidates:
        candidates.writelines(
            json.dumps({"id": f"q{number}", "pos": ["7"], "neg": ["8"]}) + "\n" for number in range(600)
        )
    found = wiki_core.Collection(wiki_core.Params(cut="lead3"), lambda pin: tmp_path / Path(pin.file).name)
    whole, fit, dev = (
        {group.question.id: group for group in found.groups(name)} for name in ("trec_train", "trec_fit", "trec_dev")
    )
    assert {**fit, **dev} == whole
    assert not fit.keys() & dev.keys()
    assert all((f"q{number}" in dev) == (f"q{number + 1}" in dev) for number in range(0, 600, 2))
    examined(len(dev), "questions held out", at_least=30)
    assert len(dev) <= 90
    counts = {name: split.questions or 0 for name, split in found.splits.items()}
    assert counts["trec_fit"] + counts["trec_dev"] == counts["trec_train"]
    assert found.split("trec_dev").regex
