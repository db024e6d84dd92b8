"""Every recipe of `recipes/options/` runs whole, by the commands that it names: the committed file, at a small size."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from mpr import storage
from mpr.data.dataset import Dataset
from mpr.mining.mine import Mined
from mpr.models import contract
from mpr.recipe import read
from mpr.rows.receipts import Receipts
from mpr.search.vectors import VectorStore
from tests.chat_server import ChatServer
from tests.conftest import Examined
from tests.house.source import ROOT
from tests.published import SMALL, said
from tests.unit import tiny_models

pytestmark = pytest.mark.long

OPTIONS = sorted((ROOT / "recipes" / "options").glob("*.yaml"))


def small(name: str, folder: Path) -> Path:
    """The committed recipe with a small world, a small encoder and two updates; its other keys are what they are."""
    text = next(path for path in OPTIONS if path.stem == name).read_text("utf-8")
    for before, after in SMALL.items():
        text = text.replace(before, after)
    assert "max_steps: 2 #" in text
    path = folder / f"{name}.yaml"
    path.write_text(text, "utf-8")
    return path


def reproduced(path: Path, *sets: str) -> tuple[Path, Receipts]:
    more = [word for one in sets for word in ("--set", one)]
    said("reproduce", path, "--home", path.parent / "home", "--runs", path.parent / "runs", "--quiet", *more,
         "--no-baselines")  # fmt: skip
    run = path.parent / "runs" / f"{path.stem}-seed42"
    assert json.loads((run / "result.json").read_bytes())["row"]
    return run, Receipts(run, path.parent / "home")


@pytest.mark.parametrize("name", ["near_duplicates", "rank_window", "simans_laplace"])
def test_labels_and_weights(name: str, tmp_path: Path, examined: Examined) -> None:
    path = small(name, tmp_path)
    run, _ = reproduced(path)
    storage.verify(run / "model", contract.KIND)
    mined = Mined(Dataset(read.load(path, ()), tmp_path / "home", quiet=True))
    if name == "simans_laplace":
        rows = mined.knowledge.positives.rows
        score_N = mined.evidence.anchors["bm25"](rows.owners(), rows.columns["passage"])
        examined(int(np.isfinite(score_N).sum()), "positives with a score to compare with", at_least=40)
    else:
        counts = mined.knowledge.counts[f"1 {name}"]
        assert all(counts.values()), counts
        examined(sum(counts.values()), f"pairs: {counts}", at_least=2)


def trained(path: Path, *sets: str) -> tuple[Path, list[dict[str, Any]]]:
    """The run of a recipe that is trained alone, and what it logged."""
    more = [word for one in sets for word in ("--set", one)]
    run = path.parent / "run"
    said("mine", path, "--home", path.parent / "home", "--quiet", *more)
    said("train", path, "--home", path.parent / "home", "--folder", run, "--quiet", *more)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    return run, [line for line in lines if "loss" in line]


def test_margin(tmp_path: Path, examined: Examined) -> None:
    path = small("margin", tmp_path)
    run, _ = trained(path)
    storage.verify(run / "model", contract.KIND)
    known = Mined(Dataset(read.load(path, ()), tmp_path / "home", quiet=True)).knowledge
    rows, counts = known.positives.rows, known.counts["1 margin"]
    gold_K = known.counting
    score_K = known.anchors["bm25"].lookup(rows.owners(), rows.columns["passage"])[gold_K]
    assert np.isfinite(score_K).all(), "the source scores positives that it did not propose, too"
    table = known.of("bm25")
    for owner, score in zip(table.owners(), table.columns["score"], strict=True):
        assert score <= 0.95 * score_K[rows.owners()[gold_K] == owner].min() + 1e-4
    assert counts["grey"] > 0
    examined(counts["stay"], f"negatives that stay: {counts}", at_least=10)


def test_against(tmp_path: Path, examined: Examined) -> None:
    """The same first step has another loss, because it looks at more."""
    path = small("against", tmp_path)
    run, logged = trained(path)
    storage.verify(run / "model", contract.KIND)
    (tmp_path / "plain").mkdir()
    plain = "{name: lse_pair, positives: all, negatives: all, divide_by_positives: true, temperature: 0.05}"
    _, without = trained(small("against", tmp_path / "plain"), f"objective=[{plain}]")
    assert logged[0]["loss"] > without[0]["loss"] + 0.1, "more negatives, and harder ones"
    assert logged[0]["cells_negative"] == without[0]["cells_negative"]
    examined(len(logged), "updates", at_least=2)


def test_widths(tmp_path: Path, examined: Examined, capsys: pytest.CaptureFixture[str]) -> None:
    """Trained, searched at three widths from one encoding, and opened by sentence-transformers with `truncate_dim`."""
    path = small("widths", tmp_path)
    path.write_text(path.read_text("utf-8").replace("widths: [256, 64, 16]", "widths: [32, 16, 4]"), "utf-8")
    run, _ = reproduced(path)
    storage.verify(run / "model", contract.KIND)
    assert {"loss_lse_pair_32", "loss_lse_pair_4"} <= set(logged_keys(run))
    home, ask = ("--home", tmp_path / "home", "--quiet"), ("--widths", "4,32,16")
    capsys.readouterr()
    said("evaluate", path, *home, "--folder", run, *ask, "--json")
    table = json.loads(capsys.readouterr().out)["test"]
    assert list(table) == ["32", "16", "4"]
    assert table["32"] != table["4"]
    whole = json.loads((run / "result.json").read_bytes())["scores"]["test"]["measures"]
    assert table["32"] == {name: measured["mean"] for name, measured in whole.items()}
    said("evaluate", path, *home, "--folder", run, *ask)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == ["32", "16", "4"]

    said(
        "search",
        path,
        *home,
        "--folder",
        run,
        "--set",
        "encoding={compute: float32, dtype: float32, width: 16}",
        code=2,
    )
    assert "encoding.width" in capsys.readouterr().err

    said("encode", path, *home, "--folder", tmp_path / "cut", "--model", run / "model",
         "--set", "encoding={compute: float32, dtype: float32, width: 16}")  # fmt: skip
    encoded_NW = VectorStore(tmp_path / "cut" / "vectors" / "test").by_row()
    cut_NW = VectorStore(run / "widths" / f"{run.name}-16" / "vectors" / "test").by_row()
    assert encoded_NW.shape[1] == 16
    assert np.abs(encoded_NW - cut_NW).max() == 0.0
    questions = Dataset(read.load(path, ()), tmp_path / "home", quiet=True).split("test").texts
    theirs = SentenceTransformer(str(run / "model"), truncate_dim=16, device="cpu")
    theirs_NW = theirs.encode_query(questions, normalize_embeddings=True)
    assert np.abs(theirs_NW - cut_NW).max() < 1e-5
    examined(len(cut_NW), "questions at 16 of 32 numbers, as sentence-transformers has them", at_least=20)


def logged_keys(run: Path) -> set[str]:
    lines = (run / "metrics.jsonl").read_text("utf-8").splitlines()
    return {key for line in lines for key in json.loads(line)}


@pytest.mark.slow
def test_guard(tmp_path: Path, examined: Examined) -> None:
    _, logged = trained(small("guard", tmp_path), "labels.1.absolute=-0.2")
    assert all(line["cells_guarded"] > 0 for line in logged)
    assert all(line["cells_negative"] >= 0 for line in logged)
    examined(int(sum(line["cells_guarded"] for line in logged)), "cells that the model itself took out", at_least=2)


def test_bce_learned(tmp_path: Path) -> None:
    """Both numbers move by Adam's first steps at their own rate, and the model's receipt has them as they ended."""
    run, logged = trained(small("bce_learned", tmp_path), "training.lr_scheduler_type=constant",
                          "training.warmup_steps=0")  # fmt: skip
    assert [line["bce_bias"] for line in logged] == pytest.approx([-4.0, -4.0 - 1e-2], abs=2e-3)
    found = storage.read_manifest(run / "model", contract.KIND).receipt["learned"]
    assert found["bce_bias"] == pytest.approx(-4.0, abs=0.03)
    assert found["bce_bias"] != logged[-1]["bce_bias"]
    assert abs(found["bce_temperature"] - 0.1) > 1e-4


@pytest.mark.slow
def test_wasserstein(tmp_path: Path) -> None:
    _, logged = trained(small("wasserstein", tmp_path))
    assert all(0 < line["loss_wasserstein"] < 2 for line in logged)


def _listed(prompt: str) -> int:
    """Passages that a prompt asks about."""
    return len(
        re.findall(r"^\[\d+\] ", prompt.rpartition("andidates:\n" if "Known" in prompt else "Passages:\n")[2], re.M)
    )


def test_relabelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Examined) -> None:
    monkeypatch.chdir(tmp_path)
    path = small("relabelled", tmp_path)
    with ChatServer(lambda prompt: f"I compared.\nBetter: {_listed(prompt)}\nWorse: none") as server:
        _written(path, server, "judge", "--prompt", "judge-relabel-1", "--to", "relabelled")
        assert all("Known passages:\n[1] " in prompt for prompt in server.prompts)
        asked = len(server.prompts)
    trained(path)
    counts = Mined(Dataset(read.load(path, ()), tmp_path / "home", quiet=True)).knowledge.counts["1 rlhn"]
    assert counts["relabelled"] == counts["false negatives"] == asked
    examined(asked, f"lists: {counts}", at_least=20)


@pytest.mark.slow
def test_ordered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Examined) -> None:
    monkeypatch.chdir(tmp_path)
    path = small("ordered", tmp_path)
    with ChatServer(lambda prompt: f"Order: {' > '.join(map(str, range(1, _listed(prompt) // 2 + 2)))}") as server:
        _written(path, server, "judge", "--prompt", "judge-order-1", "--to", "ordered")
        asked = len(server.prompts)
    trained(path)
    counts = Mined(Dataset(read.load(path, ()), tmp_path / "home", quiet=True)).knowledge.counts["1 arhn"]
    assert counts["above"]
    assert counts["below with an answer"]
    assert not counts["unread"]
    examined(asked, f"lists: {counts}", at_least=20)


def test_faiss_index(tmp_path: Path) -> None:
    run, receipts = reproduced(small("faiss_index", tmp_path), "search.index='IVF4,Flat'", "search.settings='nprobe=2'")
    found = receipts.read("search")
    assert found is not None
    recall = found.facts["recall test"]
    assert 0 < recall["questions"] <= recall["of"]
    assert any("IVF4" in name for name in found.outputs), found.outputs
    assert (run / "vectors").is_dir()


def test_lora(tmp_path: Path) -> None:
    """With a small base in place of the pretrained one, which cannot be downloaded in a test."""
    base = tiny_models.published(tmp_path / "base")
    path = small("lora", tmp_path)
    run, _ = reproduced(path, f"towers.base={base}", "towers.revision=null", "draft=true",
                        "towers.passage_length=48")  # fmt: skip
    assert contract.read(run / "model").weights == "adapter"
    said("merge", run / "model", tmp_path / "merged", "--base", base)
    assert contract.read(tmp_path / "merged").weights != "adapter"


@pytest.mark.slow  # tests/e2e/test_decoder.py has what is particular about it
def test_decoder(tmp_path: Path) -> None:
    """The same with a small decoder, published in the precision in which it is held."""
    base = tiny_models.published(tmp_path / "base", "qwen3", dtype=torch.bfloat16)
    run, _ = reproduced(small("decoder", tmp_path), f"towers.base={base}", "towers.revision=null", "draft=true",
                        "towers.passage_length=60", "towers.question_length=60")  # fmt: skip
    made = contract.read(run / "model")
    assert (made.weights, made.towers.weights, made.towers.pooling) == ("adapter", "bfloat16", "last")


def _writer(folder: Path, server: ChatServer) -> Path:
    path = folder / "writer.yaml"
    path.write_text("".join(f"{name}: {value}\n" for name, value in server.settings().items()), "utf-8")
    return path


def _written(path: Path, server: ChatServer, command: str, *more: str) -> None:
    """The command that the recipe's comment names, run where the recipe is."""
    assert f"mpr {command} recipes/options/{path.name} --writer writer.yaml {' '.join(more)}" in path.read_text("utf-8")
    said(command, path, "--writer", _writer(path.parent, server), "--home", path.parent / "home", "--quiet", *more)


def test_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Examined) -> None:
    monkeypatch.chdir(tmp_path)
    path = small("judged", tmp_path)
    with ChatServer(lambda prompt: "yes" if len(prompt) % 3 else "no") as server:
        _written(path, server, "judge", "--source", "bm25", "--window", "20", "--relevant", "1", "--to", "judged")
        examined(len(server.prompts), "judged pairs", at_least=20)
    reproduced(path)


def test_augmented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Examined) -> None:
    monkeypatch.chdir(tmp_path)
    path = small("augmented", tmp_path)
    with ChatServer(lambda prompt: " ".join(reversed(prompt.split()[-30:]))) as server:
        _written(path, server, "augment", "--least", "3", "--to", "augmented")
        examined(len(server.prompts), "passages asked for", at_least=5)
    reproduced(path)


def test_generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Examined) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "collection").mkdir()
    rows = [
        f"p{number}\tThe river number {number} is {number + 200} kilometres long.\tRiver {number}"
        for number in range(30)
    ]
    (tmp_path / "collection" / "passages.tsv").write_text("id\ttext\ttitle\n" + "\n".join(rows) + "\n", "utf-8")
    asked = [
        {"id": f"t{n}", "question": f"How long is river {n}?", "answers": [str(n + 200)], "pos": [f"p{n}"], "neg": []}
        for n in range(5)
    ]
    (tmp_path / "collection" / "test.jsonl").write_text("".join(json.dumps(one) + "\n" for one in asked), "utf-8")
    path = small("generated", tmp_path)
    with ChatServer(lambda prompt: f"1. What of {prompt.split()[-3]}?\n2. How long is {prompt.split()[-7]}?") as server:
        _written(path, server, "generate", "--each", "2", "--to", "collection/generated")
        examined(len(server.prompts), "passages asked about", at_least=20)
    reproduced(path, "sources.0.depth=3")


def test_every_option_has_a_test() -> None:
    tested = {
        "against",
        "widths",
        "near_duplicates",
        "rank_window",
        "simans_laplace",
        "faiss_index",
        "lora",
        "decoder",
        "margin",
        "guard",
        "bce_learned",
        "wasserstein",
        "relabelled",
        "ordered",
        "judged",
        "augmented",
        "generated",
    }
    assert {path.stem for path in OPTIONS} == tested
