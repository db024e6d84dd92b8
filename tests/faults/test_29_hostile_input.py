"""Fault 29: input that wants to run or to write somewhere else. Nothing runs or is written; all is refused.

Each payload touches a canary when it is executed. mpr is given each in every way in which such a thing is read, and the
canary must not be there afterwards; then a careless reader of the same payload must bring the canary to life, or the
payload proves nothing.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import pickle
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mpr import storage
from mpr.errors import MprError
from mpr.models import locate, pretrained, towers_folder
from mpr.publishing import publication
from mpr.publishing.publication import PushOptions
from mpr.recipe import read
from mpr.recipe.read import load
from mpr.rows.result import Result
from mpr.storage import unpack
from tests import published
from tests.conftest import Examined
from tests.unit.encodings import model_folder
from tests.unit.models.test_pretrained import Trap, trap
from tests.unit.tiny_models import published as encoder

CODE = """
from pathlib import Path
from transformers import BertConfig, BertModel
Path({canary!r}).touch()
class Config(BertConfig):
    model_type = "hostile"
class Model(BertModel):
    config_class = Config
"""
AUTO = {"AutoConfig": "modeling_hostile.Config", "AutoModel": "modeling_hostile.Model"}


@dataclass(frozen=True)
class Payload:
    """Something hostile on disk, the ways in which mpr meets it, and a reader that falls for it."""

    make: Callable[[Path, Path], Path]
    """(where, the canary) -> what is read."""
    ways: tuple[Callable[[Path], object], ...]
    careless: Callable[[Path], object]


def _base(path: Path) -> object:
    return pretrained.load(str(path), None)


def _model(path: Path) -> object:
    return towers_folder.load(path)


def _recommitted(folder: Path, change: Callable[[Path], object]) -> Path:
    """A model folder with a change in it and a manifest that is true of it."""
    manifest = storage.read_manifest(folder)
    with storage.stage(folder.with_name("hostile"), "model", manifest.receipt) as stage:
        shutil.copytree(folder, stage.folder, dirs_exist_ok=True)
        (stage.folder / storage.MANIFEST).unlink()
        change(stage.folder)
    return folder.with_name("hostile")


# Pickles


def _pickled_base(folder: Path, canary: Path) -> Path:
    base = encoder(folder / "base")
    (base / "model.safetensors").unlink()
    torch.save({"weights": Trap(canary)}, base / "pytorch_model.bin")
    return base


def _pickle_named_safetensors(folder: Path, canary: Path) -> Path:
    base = encoder(folder / "base")
    (base / "model.safetensors").write_bytes(trap(canary))
    return base


def _pickled_model(folder: Path, canary: Path) -> Path:
    def change(place: Path) -> None:
        (place / "model.safetensors").write_bytes(trap(canary))

    return _recommitted(model_folder(folder / "model"), change)


def _pickle_beside(folder: Path, canary: Path) -> Path:
    def change(place: Path) -> None:
        (place / "training_args.bin").write_bytes(trap(canary))

    return _recommitted(model_folder(folder / "model"), change)


def _pushed(path: Path) -> object:
    """The list of files to publish."""
    return list(publication._model_files(path))


def _unpickled(name: str) -> Callable[[Path], object]:
    return lambda path: pickle.loads((path / name).read_bytes())


def _loaded_by_torch(path: Path) -> object:
    return torch.load(path / "pytorch_model.bin", weights_only=False)


# Code that comes with a model


def _with_code(base: Path, canary: Path) -> None:
    config = json.loads((base / "config.json").read_text("utf-8")) | {"auto_map": AUTO, "model_type": "hostile"}
    (base / "config.json").write_text(json.dumps(config), "utf-8")
    (base / "modeling_hostile.py").write_text(CODE.format(canary=str(canary)), "utf-8")


def _coded_base(folder: Path, canary: Path) -> Path:
    base = encoder(folder / "base")
    _with_code(base, canary)
    return base


def _coded_model(folder: Path, canary: Path) -> Path:
    return _recommitted(model_folder(folder / "model"), lambda place: _with_code(place, canary))


def _trusting(path: Path) -> object:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(str(path), trust_remote_code=True)


# YAML


def _tagged(tag: str) -> Callable[[Path, Path], Path]:
    def make(folder: Path, canary: Path) -> Path:
        text = (published.ROOT / "recipes" / "quickstart.yaml").read_text("utf-8")
        assert "paper: null" in text
        path = folder / "hostile.yaml"
        path.write_text(text.replace("paper: null", f"paper: {tag.format(canary=canary)}"), "utf-8")
        return path

    return make


def _unsafe_yaml(path: Path) -> object:
    return yaml.unsafe_load(path.read_text("utf-8"))


# Archives


def _escaping(folder: Path, canary: Path) -> Path:
    """A tar that leads out of its folder, packed with gzip."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        member = tarfile.TarInfo(os.path.relpath(canary, folder / "out"))
        archive.addfile(member)
    path = folder / "passages.tsv.gz"
    path.write_bytes(gzip.compress(plain.getvalue()))
    return path


def _read_lines(path: Path) -> object:
    """As every reader of a collection does; what comes out is no line of a table."""
    from mpr.formats import dpr_tsv

    with unpack.open_bytes(path) as file:
        assert file.read(1 << 20)
    return list(dpr_tsv.read_passages(path))


def _extracted(path: Path) -> None:
    (path.parent / "out").mkdir()
    with tarfile.open(path) as archive:
        archive.extractall(path.parent / "out", filter="fully_trusted")


PAYLOADS = {
    "weights in a pickle": Payload(_pickled_base, (_base,), _loaded_by_torch),
    "a pickle named safetensors": Payload(_pickle_named_safetensors, (_base,), _unpickled("model.safetensors")),
    "a model whose weights are a pickle": Payload(_pickled_model, (_model,), _unpickled("model.safetensors")),
    "a pickle beside the weights": Payload(_pickle_beside, (_pushed,), _unpickled("training_args.bin")),
    "an encoder with code": Payload(_coded_base, (_base,), _trusting),
    "a model with code": Payload(_coded_model, (_model, _pushed), _trusting),
    "a YAML tag that calls": Payload(_tagged("!!python/object/apply:os.mknod ['{canary}']"), (load,), _unsafe_yaml),
    "a YAML tag that makes": Payload(
        _tagged("!!python/object/new:os.system ['touch {canary}']"), (load,), _unsafe_yaml
    ),
    "an archive that leads out": Payload(_escaping, (_read_lines,), _extracted),
}


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.mark.parametrize("name", PAYLOADS)
def test_nothing_runs(tmp_path: Path, canary: Path, name: str, examined: Examined) -> None:
    payload = PAYLOADS[name]
    (tmp_path / "in").mkdir()
    path = payload.make(tmp_path / "in", canary)
    before = _everything(tmp_path)
    for way in payload.ways:
        with pytest.raises(MprError) as caught:
            way(path)
        assert caught.value.exit_code in (2, 4)
        assert not canary.exists()
    assert _everything(tmp_path) == before, "nothing was written"
    examined(len(payload.ways), f"ways to read {name}")


@pytest.mark.parametrize("name", PAYLOADS)
def test_the_payloads_do_fire(
    tmp_path: Path, canary: Path, name: str, monkeypatch: pytest.MonkeyPatch, examined: Examined
) -> None:
    """Loaded carelessly, each touches the canary: so it was mpr that kept it from doing so."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    (tmp_path / "in").mkdir()
    path = PAYLOADS[name].make(tmp_path / "in", canary)
    assert not canary.exists()
    with contextlib.suppress(Exception):  # what comes after the payload does not matter
        PAYLOADS[name].careless(path)
    assert canary.exists()
    examined(1, "payload fired")


def _everything(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): os.lstat(path).st_size for path in sorted(folder.rglob("*"))}


# The same from the Hub: tests/unit/models/test_locate.py sees that what is no data is not even fetched


def test_a_repository_that_lists_a_pickle(tmp_path: Path, canary: Path) -> None:
    path = _pickle_beside(tmp_path, canary)
    with pytest.raises(MprError, match=r"training_args\.bin"):
        locate._listed(path / storage.MANIFEST, "tester/x", "model")
    assert not canary.exists()


# Names and links that lead elsewhere


def test_links_out_of_the_run_folder(tmp_path: Path, examined: Examined) -> None:
    """What a link leads to is neither published nor overwritten."""
    secret = tmp_path / "secret.yaml"
    secret.write_bytes(b"secret: 1\n")
    run, tried = published.copied(tmp_path / "in"), 0
    for place in ("recipe/small.yaml", "model/config.json", "rankings/test/run.trec", "result.json"):
        kept = (run / place).read_bytes()
        (run / place).unlink()
        os.symlink(secret, run / place)
        with pytest.raises(MprError):
            publication.of_run(PushOptions(run, "tester/small"))
        (run / place).unlink()
        (run / place).write_bytes(kept)
        tried += 1
    publication.of_run(PushOptions(run, "tester/small"))
    for name in ("metrics.jsonl", "result.json"):
        document = Result.of_run(run)
        (run / name).unlink()
        os.symlink(secret, run / name)
        storage.write_file(run / name, document.to_bytes())
        assert not (run / name).is_symlink()
        tried += 1
    assert secret.read_bytes() == b"secret: 1\n"
    examined(tried, "links", at_least=6)


@pytest.mark.parametrize("name", ["../../outside", "a/b", "..", "/outside", "a\\b", "", "new\nline", "x" * 300])
def test_names_that_are_paths(tmp_path: Path, name: str, examined: Examined) -> None:
    """Of rows, of the splits of a result, and of the splits that a recipe evaluates."""
    run, tried = published.copied(tmp_path), 0

    def row(document: dict[str, Any]) -> None:
        document["row"] = name

    def role(document: dict[str, Any]) -> None:
        document["scores"] = {name: document["scores"]["test"]}

    for change in (row, role):
        kept = (run / "result.json").read_bytes()
        published.resealed(run, change)
        with pytest.raises(MprError):
            publication.of_run(PushOptions(run, "tester/small"))
        (run / "result.json").write_bytes(kept)
        tried += 1
    text = (run / "recipe" / "small.yaml").read_text("utf-8")
    assert "evaluate: {test: test}" in text
    hostile = tmp_path / "hostile.yaml"
    hostile.write_text(text.replace("evaluate: {test: test}", f"evaluate: {{{json.dumps(name)}: test}}"), "utf-8")
    with pytest.raises(MprError, match=r"data\.evaluate"):
        read.load(hostile)
    examined(tried + 1, "places for the name", at_least=3)
