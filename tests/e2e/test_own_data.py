"""A stranger's day: a file of questions, a recipe of at most ten lines, a model, scores that verify."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpr.metrics.answers import normalised
from mpr.recipe import _defaults, read
from mpr.storage.json_fields import json_text
from tests import documented
from tests.published import said
from tests.unit import tiny_models

THINGS = ("lake", "tower", "mill", "bridge", "market")
FACTS = ("is {n} years old", "was built by family {n}", "has {n} steps")


def test_from_a_file_to_a_verified_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], one_thread: None
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [
        {
            "query": f"what is known of the {THINGS[number % 5]} of place {number}",
            "pos": [f"The {THINGS[number % 5]} of place {number} {fact.format(n=number)}." for fact in FACTS],
        }
        for number in range(200)
    ]
    (tmp_path / "my.jsonl").write_text("".join(json_text(row) + "\n" for row in rows), "utf-8")
    tiny_models.published(tmp_path / "encoder")

    page = [command.words[1:] for command in documented.fenced() if command.place.startswith("docs/own_data.md")]
    init, plan, reproduce = page
    said(*init, "--base", "encoder")
    assert "200 questions, 600 positives: 3 to 3 a question" in capsys.readouterr().out
    lines = (tmp_path / "my.yaml").read_text("utf-8").splitlines()
    assert len([line for line in lines if not line.startswith("#")]) <= 10
    said("check", "my.yaml")
    said(*plan)
    assert "\ndefaults    draft: true\n" in capsys.readouterr().out
    said(*reproduce, "--quiet", "--set", "training.num_train_epochs=1")
    shown = capsys.readouterr().out
    assert "my on test: percent over 20 questions" in shown
    assert all(f"\n{system} " in shown for system in ("trained", "bm25", "untrained"))
    assert not [word for word in ("published", "band:", "recipes/README.md") if word in shown], "of rows of tables"
    assert "mpr reproduce my.yaml --seeds 3" in shown

    run = tmp_path / "runs" / "my-seed42"
    kept = read.load(run / "recipe" / "my.yaml")
    assert kept.training["num_train_epochs"] == 1
    identity = json.loads((run / "run.json").read_text("utf-8"))["recipe"]
    assert identity["training"] == kept.training
    monkeypatch.setitem(_defaults.DEFAULTS["training"], "learning_rate", 1.0)  # a later version has other defaults
    monkeypatch.setitem(_defaults.DEFAULTS["search"], "depth", 7)
    said("verify", run)

    asked = {normalised(str(row["query"])): row["pos"] for row in rows}
    scored = json.loads((run / "result.json").read_text("utf-8"))["scores"]["test"]
    assert scored["measures"]["ndcg10"]["mean"] is not None
    held = {line.split()[0] for line in (run / "rankings" / "test" / "run.trec").read_text("utf-8").splitlines()}
    assert len(held) == 20
    assert len(asked) == 200
    said("compare", f"a={run}/scores/test", "b=runs/my-bm25/scores/test", "--measure", "ndcg10")


def test_bad_data_is_one_error_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.jsonl").write_text('{"query": "a", "pos": ["x"]}\n{"query": "b", "pos": []}\n', "utf-8")
    (tmp_path / "my.yaml").write_text("data: my.jsonl\n", "utf-8")
    said("data", "my.yaml", "--quiet", code=2)
    assert capsys.readouterr().err.startswith("mpr: my.jsonl:2 pos: the question has no positive")
