"""`mpr status` of a finished run: what its plan predicted beside what its receipts and its folders say."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from mpr import storage
from mpr.corpora import invented_world
from mpr.recipe import plan
from mpr.rows import forecast, verification
from mpr.rows.receipts import Receipts
from tests import published
from tests.published import said

STAGES = ("data", "mine", "train", "encode", "search", "evaluate")


def shown(text: str) -> dict[str, tuple[str, str]]:
    """Name -> what was predicted, what was measured."""
    _, _, table = text.partition("measured\n")
    assert table
    return {line[:12].strip(): (line[12:46].strip(), line[46:]) for line in table.splitlines()}


def test_predicted_stands_beside_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, home = published.copied(tmp_path), tmp_path / "home"
    said("status", run, "--home", home)
    before = shown(capsys.readouterr().out)
    assert list(before) == [*STAGES, "texts", "tokens", "BM25 index", "vectors"]
    assert {predicted for predicted, _ in before.values()} == {"unknown"}, "nobody counted a world of this size"

    row = verification.opened(run, home)
    monkeypatch.setattr(invented_world.Collection, "size", len(row.dataset.corpus()))
    said("status", run, "--home", home)
    after = shown(capsys.readouterr().out)
    assert [measured for _, measured in after.values()] == [measured for _, measured in before.values()]
    receipts = Receipts(run, home)
    for stage in STAGES:
        receipt = receipts.read(stage)
        assert receipt is not None
        cost = receipt.cost
        assert after[stage][1].startswith(f"{cost['seconds']:,.1f} s, {cost['cpu_seconds']:,.1f} s of a core, peak ")
    for stage in ("data", "mine"):
        assert re.fullmatch(r"\d\.\d s of a core, \S+ [MG]B", after[stage][0]), after[stage]
    vectors = sum(file.stat().st_size for file in (run / "vectors" / "corpus").rglob("*") if file.is_file())
    assert after["vectors"] == (plan.in_bytes(4.0 * 32 * len(row.dataset.corpus())), plan.in_bytes(vectors))


def test_a_gpu_that_the_plan_knows_has_its_hours_and_its_memory(tmp_path: Path) -> None:
    run, home = published.copied(tmp_path), tmp_path / "home"
    row = verification.opened(run, home)
    made, receipt = plan.resolve(row.recipe), Receipts(run, home).read("train")
    assert receipt is not None
    assert made.hours is not None
    assert made.memory is not None
    assert forecast._predicted(row, made, receipt) == "unknown", "a processor"
    gpus = {"torch": {"gpus": [{"name": "Tesla T4"}]}}
    there = replace(receipt, environment=gpus, cost={**receipt.cost, "gpu_peak_bytes": 123_400_000})
    seconds = f"{made.hours['train on 1 x T4'] * 3600:,.0f} s"
    assert forecast._predicted(row, made, there) == f"{seconds}, GPU {plan.in_bytes(made.memory.total)}"
    assert forecast._measured(there).endswith("GPU 0.1 GB")
    other = replace(there, environment={"torch": {"gpus": [{"name": "Another card"}]}})
    assert forecast._predicted(row, made, other) == f"GPU {plan.in_bytes(made.memory.total)}"


def test_the_index_of_the_baseline_is_found(tmp_path: Path) -> None:
    run, home = published.copied(tmp_path), tmp_path / "home"
    row = verification.opened(run, home)
    assert row.retrieval.has_word_index()
    for folder in home.glob("data/*/passages-bm25-*"):
        storage.remove(folder)
    assert not verification.opened(run, home).retrieval.has_word_index()


def test_a_recipe_that_cannot_be_read_any_more_is_no_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = published.copied(tmp_path)
    (run / "recipe" / "small.yaml").write_text("nothing: here\n")
    said("status", run, "--home", tmp_path / "home")
    assert "\nresult    there\npredicted   unknown: " in capsys.readouterr().out
