"""A committed recipe of a paper, run whole on a stand-in: what may differ from the paper's row, and nothing else.

The base model comes from a Hub on the loopback, under the recipe's own name and commit, in the form of the published
checkpoint: pretraining heads, layer norms under their old names, a pickle that nobody may touch.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save

from mpr import catalogue
from mpr.corpora import Pin, dpr_wikipedia, spellings
from mpr.data import _vocabulary
from mpr.recipe import read
from mpr.recipe.keys import Recipe
from mpr.recipe.keys_towers import NewEncoder
from mpr.rows._stages import Row
from mpr.rows.pipeline import Pipeline
from mpr.rows.result import Result
from tests import shipped
from tests.e2e import standin_files
from tests.e2e.standin_files import Written
from tests.hub_login import reading
from tests.hub_repos import Commit
from tests.hub_server import HubServer
from tests.loopback import Loopback

ROWS = [name for name, recipe in shipped.recipes().items() if recipe.paper is not None and not shipped.is_system(name)]
CHANGED = {  # key -> what it is here: what a CPU and a few questions ask for
    "training.per_device_train_batch_size": "16",
    "training.num_train_epochs": "1",
    "training.warmup_steps": "0.1",  # 1,237 updates are more than there are
    "training.fp16": "false",
    "encoding.compute": "float32",
    "training.logging_steps": "1",
    "scale.processes": "1",  # tests/parity has that several give the gradient of one
    "scale.gather": "false",
}
UPDATES = {"training.max_steps": "3"}  # instead of epochs, where a row counts updates
SIZES = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
OLD_NAMES = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}


# The base model


@cache
def base_files() -> dict[str, bytes]:
    """As google-bert/bert-base-uncased has them, with a vocabulary of the invented world."""
    new = NewEncoder(layers=1, width=64, heads=2, feed_forward=64, vocabulary=1_500)
    tokenizer = _vocabulary.learn(standin_files.texts, new)
    config = transformers.BertConfig(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=512, **SIZES)
    config.architectures = ["BertForMaskedLM"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        weights = transformers.BertForPreTraining(config).state_dict()
    _bag_of_words(weights)
    for name in [name for name in weights if name.endswith(tuple(OLD_NAMES))]:
        new_end = next(end for end in OLD_NAMES if name.endswith(end))
        weights[name.removesuffix(new_end) + OLD_NAMES[new_end]] = weights.pop(name)
    weights.pop("cls.predictions.decoder.weight")  # tied to the embeddings
    weights.pop("cls.predictions.decoder.bias")
    return {
        "config.json": json.dumps(config.to_dict()).encode(),
        "model.safetensors": save({name: weight.contiguous() for name, weight in weights.items()}),
        "tokenizer.json": tokenizer.to_str().encode(),
        "pytorch_model.bin": b"a pickle that nobody asks for",
    }


def _bag_of_words(weights: dict[str, torch.Tensor]) -> None:
    """[CLS] becomes the mean of the words' vectors, so that the scores to be checked are not all zero."""
    layer = "bert.encoder.layer.0"
    for name in (f"{layer}.attention.self.query.weight", "bert.embeddings.position_embeddings.weight"):
        weights[name].zero_()
    for name, size in (("attention.self.value", 1.0), ("attention.output.dense", 20.0)):
        weights[f"{layer}.{name}.weight"].copy_(size * torch.eye(SIZES["hidden_size"]))


@contextmanager
def hub(monkeypatch: pytest.MonkeyPatch, cache_folder: Path) -> Iterator[HubServer]:
    """This process' Hub for a while, with the base models of all rows at the commits that the recipes pin."""
    with reading(monkeypatch, cache_folder) as server:
        for base, revision in sorted({(one.towers.base, one.towers.revision) for one in map(recipe_of, ROWS)}):
            repo = server.create(str(base))
            repo.commits[str(revision)] = Commit(repo.head, "as pinned", base_files())
        yield server


def recipe_of(name: str) -> Recipe:
    return shipped.recipes()[name]


# The data


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch, name: str, written: Written) -> Iterator[None]:
    """The collection's pinned counts and sums are those of the stand-in, and checked as those of the files are."""
    kind = catalogue.find("corpora", recipe_of(name).data.corpus.name).Collection  # type: ignore[attr-defined]
    published, given, asked = kind.splits.fget, kind.given, written.counts()

    def splits(self: Any) -> Mapping[str, Any]:
        train, found = recipe_of(name).data.train, dict(published(self))
        found[train] = replace(found[train], questions=written.records, usable=len(written.positives))
        return found | {split: replace(found[split], questions=count) for split, count in asked.items()}

    with monkeypatch.context() as patched:
        patched.setattr(kind, "splits", property(splits))
        patched.setattr(kind, "size", len(written.passages))
        patched.setattr(kind, "given", lambda self, pin: summed(given(self, pin), written.folder))
        yield


def summed(pin: Pin, folder: Path) -> Pin:
    """The pin of a file, with the sums of its stand-in in a folder where that is packed in the same way."""
    path = next((folder / name for name in spellings(pin) if (folder / name).is_file()), None)
    if path is None or (path.suffix == ".gz") != pin.file.endswith(".gz"):
        return pin
    data = path.read_bytes()
    md5 = None if pin.md5 is None else hashlib.md5(data, usedforsecurity=False).hexdigest()
    return replace(pin, sha256=hashlib.sha256(data).hexdigest(), md5=md5, size=len(data))


def copied(server: HubServer, folder: Path) -> str:
    """Tevatron's copy of NQ on the Hub, with the stand-in's test questions; returns the address of their file."""
    copy, file = dpr_wikipedia._COPIES["nq"], "nq-test.jsonl.gz"
    repo = server.create(f"datasets/{copy.repo}")
    repo.commits[copy.commit] = Commit(repo.head, "as pinned", {file: (folder / file).read_bytes()})
    return f"/datasets/{copy.repo}/resolve/{copy.commit}/{file}"


@contextmanager
def web(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[list[str]]:
    """Serves a folder in the place of DPR's server, by the last part of an address; yields the paths asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            asked.append(path)
            return str(folder / path.rpartition("/")[2])

        def log_message(self, *arguments: object) -> None:
            pass

    with Loopback(Handler) as server, monkeypatch.context() as patched:
        root = dpr_wikipedia._ROOT.replace("https://", f"{server.endpoint}/")
        patched.setattr(dpr_wikipedia, "_ROOT", root)
        yield asked


def files(name: str, folder: Path) -> Written:
    """The stand-in of a row's collection, written into a new folder."""
    corpus: Any = recipe_of(name).data.corpus
    if corpus.name == "dpr_wikipedia":
        whose = {"train": corpus.variant, "test": corpus.test or corpus.variant}
        copies = tuple(part for part, of in whose.items() if of == "tevatron")
        return standin_files.dpr(folder, corpus.questions, copies, recipe_of(name).data.train.endswith("_annotated"))
    return {"msmarco_passage": standin_files.msmarco, "beir": standin_files.beir}[corpus.name](folder)


# The row


@dataclass(frozen=True)
class Made:
    """A row that was run."""

    recipe: Recipe
    written: Written
    home: Path
    folder: Path
    result: Result

    @property
    def scores(self) -> dict[str, Any]:
        found: dict[str, Any] = self.result.document["scores"]
        return found

    def ranked(self, role: str) -> dict[str, list[str]]:
        """Question -> passages, best first, as the run file has them."""
        found: dict[str, list[str]] = {}
        for line in (self.folder / "rankings" / role / "run.trec").read_text("utf-8").splitlines():
            question, _, passage, *_ = line.split()
            found.setdefault(question, []).append(passage)
        return found


def overrides(name: str, written: Written | None) -> list[str]:
    """The `--set` arguments, of keys that the recipe has; without a folder the files are downloaded."""
    place = [] if written is None else [f"data.corpus.folder={json.dumps(str(written.folder))}"]
    changed = CHANGED
    if "max_steps" in recipe_of(name).training:
        changed = {key: value for key, value in CHANGED.items() if key != "training.num_train_epochs"} | UPDATES
    return [*(f"{key}={value}" for key, value in changed.items()), *place]


def made(name: str, written: Written, home: Path, folder: Path, sets: list[str]) -> Made:
    """All stages, as `mpr reproduce` does them."""
    path = shipped.ROOT / "recipes" / f"{name}.yaml"
    recipe = read.load(path, sets)
    result = Pipeline(Row(recipe, path, "trained", home, folder, quiet=True)).run()
    return Made(recipe, written, home, folder, result)


# What the scores must be, by other code


def _words(text: str) -> str:
    """DPR's tokens, lower-cased, with a space on both sides: runs of letters, numbers and marks, or single signs."""
    kinds = ((sign, unicodedata.category(sign)[0]) for sign in unicodedata.normalize("NFD", text))
    spaced = (sign if kind in "LNM" else f" {sign} " if kind in "PS" else " " for sign, kind in kinds)
    return f" {' '.join(''.join(spaced).lower().split())} "


def holds(text: str, answers: list[str], regex: bool) -> bool:
    if regex:
        plain = unicodedata.normalize("NFD", text)
        flags = re.IGNORECASE | re.MULTILINE
        return any(re.search(unicodedata.normalize("NFD", one), plain, flags) for one in answers)
    return any(_words(one) in _words(text) for one in answers)


def accuracy(found: Made, role: str, cut: int) -> float:
    """Share of the questions with an answer among the first passages."""
    split = found.recipe.data.evaluate[role]
    regex, ranked = found.recipe.evaluation.match == "regex", found.ranked(role)
    hits = 0
    for question, passages in ranked.items():
        answers = found.written.answers[split][int(question.rpartition("-")[2])]  # ids end with the question's number
        hits += any(holds(found.written.passages[one], answers, regex) for one in passages[:cut])
    return hits / len(found.written.answers[split])


def judged(found: Made, role: str, measure: str) -> float:
    """MRR, nDCG with linear gains and recall, over the judged questions."""
    name, cut = re.fullmatch(r"([a-z]+)(\d+)", measure).groups()  # type: ignore[union-attr]
    split = found.recipe.data.evaluate[role]
    least, ranked, total = 2 if split.startswith("dl") else 1, found.ranked(role), 0.0
    for question, grades in found.written.grades[split].items():
        gained = [grades.get(one, 0) for one in ranked[question][: int(cut)]]
        right = [place for place, grade in enumerate(gained, 1) if grade >= least]
        if name == "mrr":
            total += 1 / right[0] if right else 0.0
        elif name == "recall":
            total += len(right) / sum(grade >= least for grade in grades.values())
        else:
            total += _gain(gained) / _gain(sorted(grades.values(), reverse=True)[: int(cut)])
    return total / len(found.written.grades[split])


def _gain(grades: list[int]) -> float:
    return sum(grade / math.log2(place + 1) for place, grade in enumerate(grades, 1))
