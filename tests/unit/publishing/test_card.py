"""The card says what the result says: every number is looked up in result.json, by another way than it was written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from mpr.errors import DataError
from mpr.models import contract
from mpr.models.contract import Base, Contract
from mpr.publishing import _card
from mpr.publishing._card import Facts
from mpr.publishing.publication import PushOptions, of_run, refuse_bad_bases
from mpr.recipe import read as recipe_file
from mpr.rows.result import Result
from tests import published
from tests.conftest import Examined
from tests.hub_repos import metadata_problems
from tests.unit.tiny_models import LORA, settings

REPO = "tester/small"
SHA = "5e" * 32
COMMIT = "ab" * 20


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return published.copied(tmp_path)


def card_of(run: Path, **wish: Any) -> str:
    return of_run(PushOptions(run, REPO, **wish)).card


def metadata(card: str) -> dict[str, Any]:
    found = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    assert found
    content: dict[str, Any] = yaml.safe_load(found[1])
    return content


def tables(card: str) -> dict[str, list[list[str]]]:
    """First cell of the head -> rows of cells."""
    found: dict[str, list[list[str]]] = {}
    for block in re.findall(r"(?:^\|.*\|\n)+", card, re.MULTILINE):
        head, _, *rows = ([cell.strip(" `") for cell in line.strip("| \n").split(" | ")] for line in block.splitlines())
        found[head[0]] = [head, *rows]
    return found


def test_every_number_of_the_results(run: Path, examined: Examined) -> None:
    """The tables against the values of every question, not against the means that they were rendered from."""
    others = [run.with_name("small-bm25"), run.with_name("small-seed42-untrained")]
    card = card_of(run, baselines=tuple(others))
    documents = [json.loads((folder / "result.json").read_bytes()) for folder in (run, *others)]
    rows, tried = tables(card)["measure"], 0
    assert rows[0] == ["measure", "this model", "bm25", "untrained-seed42", "questions"]
    for measure, *shown, over in rows[1:]:
        values = [[v for v in d["scores"]["test"]["values"][measure] if v is not None] for d in documents]
        assert shown == [f"{100 * sum(found) / len(found):.2f}" for found in values]
        assert int(over) == len(values[0])
        tried += len(shown)
    assert {row[0] for row in rows[1:]} == set(documents[0]["scores"]["test"]["values"])
    groups = tables(card)["positives"]
    for group, questions, *shown in groups[1:]:
        told = documents[0]["scores"]["test"]["by_known_positives"][group]
        assert int(questions) == told["questions"]
        for measure, value in zip(groups[0][2:], shown, strict=True):
            mean = told[measure]
            assert value == ("-" if mean is None else f"{100 * mean:.2f}")
            tried += 1
    assert sum(int(row[1]) for row in groups[1:]) == 20
    examined(tried, "numbers", at_least=30)


def test_structured_results(run: Path, examined: Examined) -> None:
    """Read by the Hub's own library; values in full."""
    card = card_of(run)
    found = ModelCard(card).data.eval_results
    document = json.loads((run / "result.json").read_bytes())
    told = {entry.metric_type: entry.metric_value for entry in found}
    assert told == {name: each["mean"] for name, each in document["scores"]["test"]["measures"].items()}
    assert {(entry.dataset_split, entry.task_type) for entry in found} == {("test", "text-retrieval")}
    assert metadata_problems(metadata(card)) == []
    assert metadata(card)["model-index"][0]["name"] == "small"
    examined(len(told), "measures", at_least=8)


def test_metadata(run: Path) -> None:
    found = metadata(card_of(run))
    assert found["library_name"] == "sentence-transformers"
    assert found["pipeline_tag"] == "feature-extraction"
    assert "license" not in found
    assert "base_model" not in found
    assert "datasets" not in found
    assert metadata(card_of(run, licence="apache-2.0"))["license"] == "apache-2.0"


def test_cost_and_receipts(run: Path, examined: Examined) -> None:
    card = card_of(run)
    document = json.loads((run / "result.json").read_bytes())
    rows = tables(card)["stage"][1:]
    assert [row[0] for row in rows] == ["data", "mine", "train", "encode", "search", "evaluate"]
    for name, hardware, time, memory, gpu in rows:
        stage = document["stages"][name]
        assert hardware == stage["hardware"]
        assert time == f"{stage['cost']['seconds']:,.1f} s"
        assert memory == f"{stage['cost']['peak_bytes'] / 1e9:.2f} GB"
        assert gpu == "-"
    for told in (document["digest"], document["recipe"]["digest"], document["model"]["digest"], published.COMMIT):
        assert f"`{told}`" in card
    assert f"torch {document['environment']['packages']['torch']}" in card
    assert "One run with one seed (42)" in card
    examined(4 * len(rows), "cells", at_least=24)


def test_changed_code_and_attempts_are_said(run: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        document["environment"]["code"] = {}
        document["stages"]["train"]["attempts"] = 3
        document["stages"]["train"]["cost"]["gpu_peak_bytes"] = 5_250_000_000
        document["scores"]["test"]["counts"]["also_trained_on"] = 7

    published.resealed(run, change)
    card = card_of(run)
    assert "| code | unknown (installed package) |" in card
    assert "(the last of 3 attempts)" in card
    assert "| 5.25 GB |" in card
    assert "7 of these questions were also trained on" in card


def facts(run: Path, made: Contract, recipe: Path | None = None) -> Facts:
    read = recipe_file.load(recipe or run / "recipe" / "small.yaml")
    return Facts(REPO, Result.of_run(run), made, read)


def on(name: str | None, *, local: bool = False, revision: str | None = COMMIT, **changes: Any) -> Contract:
    base = None if name is None else Base(name=name, local=local, revision=None if local else revision, sha256=SHA)
    towers = settings(**({} if name is None else {"base": name}), **changes)
    weights = "adapter" if towers.lora else "full"
    return Contract.of(towers, (base, base), width=32, tokenizer="00", weights=weights)  # type: ignore[arg-type]


def test_a_pretrained_base_is_named_and_what_it_read_is_unknown(run: Path) -> None:
    card = _card.render(facts(run, on("someone/encoder")))
    found = metadata(card)
    assert found["base_model"] == ["someone/encoder"]
    assert found["base_model_relation"] == "finetune"
    assert f"someone/encoder at {COMMIT}" in card
    assert "What those have read is not recorded here" in card
    local = _card.render(facts(run, on("my-folder", local=True)))
    assert "base_model" not in metadata(local)
    assert "It started from weights that others trained: my-folder." in local
    adapted = _card.render(facts(run, on("someone/encoder", lora=LORA)))
    assert metadata(adapted)["base_model_relation"] == "adapter"
    assert "takes the newest revision of the base" in adapted


def test_data_sets_of_the_hub(run: Path, tmp_path: Path) -> None:
    text = (run / "recipe" / "small.yaml").read_text("utf-8")
    rows = f"repo: someone/passages, revision: '{COMMIT}'"
    train = f"train: {{repo: someone/questions, revision: '{COMMIT}', form: referring}}"
    dev = train.replace("train: {", "dev: {split: dev, ")
    test = f"test: {{repo: someone/questions, revision: '{COMMIT}', split: test, form: questions}}"
    corpus = f"{{name: hub, passages: {{{rows}}}, splits: {{{train}, {dev}, {test}}}}}"
    other = tmp_path / "small.yaml"
    other.write_text(re.sub(r"\{name: invented_world[^}]*\}", corpus, text), "utf-8")
    card = _card.render(facts(run, contract.read(run / "model"), other))
    assert metadata(card)["datasets"] == ["someone/passages", "someone/questions"]
    assert metadata(card)["model-index"][0]["results"][0]["dataset"]["revision"] == COMMIT


@pytest.mark.parametrize(
    "made, says",
    [
        (on("someone/encoder", lora=LORA), ""),
        (on("someone/encoder"), ""),
        (on("my-folder", local=True), ""),
        (on(None), ""),
        (on("my-folder", local=True, lora=LORA), "which is no commit on the Hub"),
        (on("someone/encoder", revision="main", lora=LORA), "which is no commit on the Hub"),
        (on("someone/encoder", revision=None, lora=LORA), "which is no commit on the Hub"),
        (on('x"); import os; ("'), "is no name of a repository"),
        (on("line\nbreak/x"), "is no name of a repository"),
    ],
)
def test_bases(made: Contract, says: str) -> None:
    if not says:
        refuse_bad_bases(made, Path("model"))
        return
    with pytest.raises(DataError) as caught:
        refuse_bad_bases(made, Path("model"))
    assert says in str(caught.value)
    assert ("--merged" in str(caught.value)) == (made.weights == "adapter")
