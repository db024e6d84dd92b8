"""From a finished run to the Hub and back by the commands, on a loopback Hub: what comes back is what was made."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mpr import storage
from mpr.data.candidates import CandidateTable
from mpr.models import towers as towers_module
from mpr.models import towers_folder
from mpr.recipe import plan
from mpr.recipe import read as recipe_file
from mpr.search.inference import Model
from mpr.search.vectors import VectorStore
from tests import published
from tests.conftest import Examined
from tests.hub_login import logged_in
from tests.hub_server import HubServer
from tests.unit.framings import bert
from tests.unit.publishing.test_hub import theirs
from tests.unit.tiny_models import difference, vectors
from tests.unit.tiny_models import published as encoder

BERT = bert().backend_tokenizer
REPO = "tester/small"
CLOSE = 1e-5
# Pulls, then runs the code of the card as it is on the Hub.
STRANGER = """
import json, sys, re
from mpr import cli
for arguments in json.loads(sys.argv[1]):
    try:
        cli.main(arguments)
    except SystemExit as ended:
        assert not ended.code, arguments
from huggingface_hub import hf_hub_download
import torch
card = open(hf_hub_download(sys.argv[2], "README.md"), encoding="utf-8").read()
for code in re.findall(r"```python\\n(.*?)```", card, re.DOTALL):
    space = {}
    exec(code, space)
    print("vectors", json.dumps([torch.as_tensor(space[role]).tolist() for role in ("questions", "passages")]))
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with logged_in(monkeypatch) as found:
        yield found


@pytest.mark.long
def test_there_and_back(
    server: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], examined: Examined
) -> None:
    run = published.copied(tmp_path / "here")
    published.said("push", run, REPO, "--dry-run")
    listed = dict(re.findall(r"bytes  ([0-9a-f]{64})  (\S+)", capsys.readouterr().out))
    assert server.requests == []
    published.said("push", run, REPO)
    commit = server.repos[REPO].head
    assert f"pushed: {REPO}@{commit}  {server.endpoint}/{REPO}/commit/{commit}" in capsys.readouterr().out
    assert {hashlib.sha256(data).hexdigest(): name for name, data in theirs(server).items()} == listed
    published.said("push", run, REPO)
    assert "it is all there already" in capsys.readouterr().out
    assert len(server.repos[REPO].history()) == 2

    home, to = tmp_path / "there", tmp_path / "there" / "mine"
    pulls = [["pull", f"{REPO}@{commit}", "--home", str(home), "--quiet", "--to", str(to)],
             ["pull", REPO, "--home", str(home), "--quiet"]]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", STRANGER, json.dumps(pulls), REPO], capture_output=True, text=True,
                          cwd=published.ROOT, env=server.environment(tmp_path / "cache", OMP_NUM_THREADS="1"),
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"model: {to}" in done.stdout
    assert f"took the newest commit; to get the same model again, say {REPO}@{commit}" in done.stderr
    original = storage.verify(run / "model", "model")
    assert storage.verify(to, "model") == original
    assert storage.verify(next((home / "models").glob("tester--small-*")), "model") == original
    assert Model.opened(to).digest == json.loads((run / "result.json").read_bytes())["model"]["digest"]

    from tokenizers import Tokenizer

    towers = Model.opened(to).towers
    passages = [("The Salt Road", "A novel that Ana Brel wrote in the north.")]
    tokenizer = Tokenizer.from_file(str(to / "tokenizer.json"))
    ours = vectors(towers, tokenizer, tmp_path / "tokens", ["who wrote the salt road"], passages)
    found = [
        json.loads(line.removeprefix("vectors ")) for line in done.stdout.splitlines() if line.startswith("vectors ")
    ]
    assert len(found) == 2
    worst = max(difference(one, two) for pair in found for one, two in zip(pair, ours, strict=True))
    assert worst < CLOSE
    examined(2 * len(found), f"sets of vectors by the card's code, largest difference {worst:.1e}", at_least=4)


def test_candidates_and_vectors(server: HubServer, tmp_path: Path, examined: Examined) -> None:
    run = published.copied(tmp_path / "here")
    published.said("push", run, REPO, "--candidates", "--vectors", "--home", tmp_path / "here" / "home", "--quiet")
    assert sorted(server.repos) == [f"datasets/{REPO}-candidates", f"datasets/{REPO}-vectors", REPO]
    stages = json.loads((run / "result.json").read_bytes())["stages"]
    opened = 0
    for kind, stage, reader in (("candidates", "mine", CandidateTable), ("vectors", "encode", VectorStore)):
        files = theirs(server, f"datasets/{REPO}-{kind}")
        card = files.pop("README.md").decode()
        for name, data in files.items():
            place = tmp_path / "there" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        folders = list((tmp_path / "there" / kind).iterdir())
        assert {storage.verify(folder, kind).digest for folder in folders} == set(stages[stage]["outputs"].values())
        for folder in folders:
            assert len(reader(folder)) > 0
            assert f"`{storage.verify(folder, kind).digest}`" in card
            opened += 1
    corpus = VectorStore(tmp_path / "there" / "vectors" / "corpus")
    assert np.array_equal(corpus.by_row(), VectorStore(run / "vectors" / "corpus").by_row())
    examined(opened, "artefacts read again", at_least=3)


def test_refusals(server: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = published.copied(tmp_path)
    home = ("--home", tmp_path / "home")
    for words, code, says in (
        (("push", run, "small"), 2, "is neither a folder here nor the name of a Hub repository"),
        (("push", run, f"{REPO}@{'0' * 40}"), 2, "one cannot push to a commit"),
        (("push", run, REPO, "--merged"), 2, "has no adapters to merge"),
        (("push", tmp_path / "nothing", REPO), 2, "there is no result"),
        (("push", run.with_name("small-bm25"), REPO), 2, "which has no model of its own"),
        (("pull", "small", *home, "--root", tmp_path), 2, "there is no leaderboard here"),
        (("pull", f"{REPO}@main", *home), 2, "is no commit"),
    ):
        published.said(*words, code=code)
        assert says in capsys.readouterr().err
    other = "0" * 64
    published.resealed(run, lambda found: found["stages"]["encode"]["outputs"].__setitem__("run/vectors/test", other))
    published.said("push", run, REPO, "--vectors", *home, code=2)
    assert "is another artefact than the result names" in capsys.readouterr().err
    (tmp_path / "home" / "data").rename(tmp_path / "elsewhere")
    published.said("push", run, REPO, "--candidates", *home, code=4)
    assert "does not exist" in capsys.readouterr().err
    assert server.repos == {}


def test_drafts_are_private(server: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = published.copied(tmp_path)
    published.resealed(run, lambda document: document["recipe"].__setitem__("draft", True))
    published.said("push", run, REPO, code=2)
    published.said("push", run, REPO, "--draft", code=2)
    assert "drafts are not for everybody" in capsys.readouterr().err
    assert server.repos == {}
    published.said("push", run, REPO, "--draft", "--private")
    assert server.repos[REPO].private
    assert b"This is a draft" in theirs(server)["README.md"]


def on_adapters(run: Path, base: Path) -> None:
    """Makes the run one of a draft that trained adapters on a folder."""
    recipe = run / "recipe" / "small.yaml"
    text = recipe.read_text("utf-8")
    lora = "lora: {rank: 4, alpha: 8, dropout: 0.0, modules: [query, value]}"
    towers = re.sub(r"new: \{layers[^}]*\}", f"base: {json.dumps(str(base))}\n  {lora}", text)
    recipe.write_text(
        towers.replace("varies: []", "varies: []\ndraft: true").replace("passage_length: 96", "passage_length: 48"),
        "utf-8",
    )
    read = recipe_file.load(recipe)
    model = towers_module.build(read.towers, BERT, 1)
    for _, parameter in model.trainable():
        parameter.data += 0.1
    shutil.rmtree(run / "model")
    towers_folder.write(run / "model", model, BERT, {"updates": 2})
    digest = storage.read_manifest(run / "model").digest

    def change(document: dict[str, Any]) -> None:
        document["model"]["digest"] = digest
        document["recipe"] = {"digest": plan.digest(read), "overrides": [], "draft": True}

    published.resealed(run, change)


def test_adapters_on_a_folder_are_pushed_merged(
    server: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], examined: Examined
) -> None:
    run, base = published.copied(tmp_path / "here"), encoder(tmp_path / "small-base")
    on_adapters(run, base)
    published.said("push", run, REPO, "--draft", "--private", code=2)
    said = capsys.readouterr().err
    assert "adapters of the question tower on 'small-base', which is no commit on the Hub" in said
    assert "--merged" in said
    assert server.repos == {}
    published.said("push", run, REPO, "--draft", "--private", "--merged")
    files = theirs(server)
    assert {"model.safetensors", "config.json", "adapter/adapter_model.safetensors"} <= set(files)
    assert "adapter_config.json" not in files
    assert b"were added to the weights after training" in files["README.md"]
    for name, data in files.items():
        (tmp_path / "there" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "there" / name).write_bytes(data)
    for name in set(files) - set(storage.read_manifest(run / "model-merged").files) - {"manifest.json"}:
        (tmp_path / "there" / name).unlink()
    merged, trained = Model.opened(_without_empty(tmp_path / "there")), Model.opened(run / "model", base)
    ids = {"input_ids": torch.arange(5, 25)[None], "attention_mask": torch.ones(1, 20, dtype=torch.long)}
    with torch.no_grad():
        apart = difference(merged.encoder("passage")(**ids), trained.encoder("passage")(**ids))
    assert apart < CLOSE
    published.said("push", run, REPO, "--draft", "--private", "--merged")
    assert "it is all there already" in capsys.readouterr().out
    examined(len(files), f"files of a merged model, largest difference {apart:.1e}", at_least=12)


def _without_empty(folder: Path) -> Path:
    shutil.rmtree(folder / "rankings")
    return folder
