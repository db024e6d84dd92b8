"""Each foreign thing has one door: writing, uploading, each library, and nothing that runs what it reads."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import Examined
from tests.house import doors
from tests.house.doors import Found
from tests.house.source import Source, package

Guard = Callable[[tuple[Source, ...]], Found]

FLOORS = {doors.writers: 5_000, doors.imports: 300, doors.uploads: 5_000, doors.unsafe: 5_000}


@pytest.mark.parametrize("guard", FLOORS, ids=lambda guard: guard.__name__)
def test_house_is_clean(guard: Guard, examined: Examined) -> None:
    found = guard(package())
    assert not found.violations, "\n".join(found.violations)
    examined(found.examined, f"names, calls or imports in {len(package())} files", at_least=FLOORS[guard])


# Tests of the tests. Each line breaks one rule and must be caught, once, in a module that is not the door.

WRITES = """
open("f", "w")
open("f", "ab")
open("f", mode="x")
open("f", "r+b")
open("f", mode)
open("f", mode=mode)
io.open("f", "w")
gzip.open("f", "wt")
lzma.open("f", kind)
zipfile.ZipFile("f", "a")
tarfile.open("f", "w:gz")
gzip.GzipFile("f", "wb")
pa.memory_map("f", "r+")
Path("f").open("w")
path.open(mode="a")
path.write_text("x")
path.write_bytes(b"x")
path.touch()
path.mkdir(parents=True)
path.unlink()
path.rmdir()
path.rename(other)
path.replace(other)
path.symlink_to(other)
archive.extractall("d")
os.replace(a, b)
os.makedirs("d")
os.open("f", os.O_RDONLY)
remove = os.remove
from os import rename; rename(a, b)
import os as system; system.unlink("f")
shutil.rmtree("d")
map(shutil.copy, a, b)
from shutil import move; move(a, b)
tempfile.mkdtemp()
from tempfile import TemporaryDirectory; TemporaryDirectory()
logging.FileHandler("f")
np.save("f", x)
numpy.savez(path, x)
np.memmap("f", dtype="u1")
np.memmap("f", dtype="u1", mode="w+")
np.load("f", mmap_mode="r+")
np.lib.format.open_memmap("f")
x.tofile("f")
frame.to_csv("f")
dataset.save_to_disk("d")
model.save_pretrained(folder)
model.save_pretrained(str(folder / "model"))
figure.savefig("f.png")
tokenizer.save("f")
pa.OSFile("f", "wb")
pa.ipc.new_file("f", schema)
pq.write_table(table, "f")
safetensors.torch.save_file(tensors, "f")
""".strip().splitlines()

READS = """
open("f")
open("f", "rb")
open("x")
open("f", encoding="utf-8", mode="r")
Path("f").open("rb")
path.read_text()
gzip.open("f", "rt")
tarfile.open("f", "r:gz")
stage.open("a.bin")
Ragged.open(folder, name, columns)
os.path.join("a", "b")
"a".replace("a", "b")
dataclasses.replace(x, a=1)
items.remove(x)
table.copy()
shutil.disk_usage("d")
np.memmap("f", dtype="u1", mode="r")
np.load("f", mmap_mode="r")
storage.write_file(path, b"x")
tokenizer.save(str(stage.folder / "tokenizer.json"))
model.save_pretrained(stage.folder)
safetensors.torch.save_model(model, str(staging / "model.safetensors"))
np.save(stage.open("f"), x)
with stage.open("f") as out: np.save(out, x)
texts = files.enter_context(stage.open("f")); pa.ipc.new_file(texts, schema)
buffer = io.BytesIO(); figure.savefig(buffer, format="png")
def f(file: IO[bytes]): np.save(file, x)
pa.memory_map("f", "r")
""".strip().splitlines()

IMPORTS = """
import faiss
from faiss import IndexFlatIP
def f(): import faiss
import ir_measures
from pytrec_eval import RelevanceEvaluator
import datasets as ds
from datasets import load_dataset
importlib.import_module("faiss")
import subprocess
""".strip().splitlines()

UPLOADS = """
api.upload_file(path_or_fileobj=a, path_in_repo=b)
HfApi().create_commit("r", [])
model.push_to_hub("r")
from huggingface_hub import upload_folder; upload_folder(folder_path="d")
send = api.create_repo
""".strip().splitlines()

UNSAFE = """
import pickle
from dill import loads
import yaml
import joblib
torch.load("f")
torch.load("f", weights_only=True)
import torch as t; t.load("f")
from torch import load
torch.hub.load("r", "m")
eval("1")
exec(code)
run = exec
__import__("os")
compile("1", "f", "eval")
os.system("ls")
os.popen("ls")
AutoModel.from_pretrained("m", trust_remote_code=True)
AutoModel.from_pretrained("m", trust_remote_code=flag)
np.load("f", allow_pickle=True)
load("f", weights_only=False)
subprocess.run("ls", shell=True)
YAML(typ="unsafe")
importlib.import_module(name)
import marshal
runpy.run_path("f")
""".strip().splitlines()

HARMLESS = """
model.eval()
re.compile("a")
np.load("f", allow_pickle=False)
YAML(typ="safe")
importlib.import_module("json")
json.loads("{}")
safetensors.torch.load_file("f")
from transformers import AutoModel; AutoModel.from_pretrained("m", trust_remote_code=False)
import evaluate
import numpy as np
""".strip().splitlines()

# The usual imports, so that short names in the lines above mean what they would mean in a file.
PREAMBLE = (
    "import bz2, gzip, importlib, io, json, logging, lzma, os, re, runpy, shutil, tarfile, tempfile, zipfile\n"
    "import numpy, torch, safetensors\nimport numpy as np\nimport pyarrow as pa\nfrom pathlib import Path\n"
)


def _caught(guard: Guard, line: str, module: str = "planted") -> list[str]:
    before = guard((Source.of(PREAMBLE, module),)).violations
    assert not before, before
    return guard((Source.of(PREAMBLE + line + "\n", module),)).violations


@pytest.mark.parametrize(
    "guard, lines",
    [(doors.writers, WRITES), (doors.imports, IMPORTS), (doors.uploads, UPLOADS), (doors.unsafe, UNSAFE)],
    ids=["writers", "imports", "uploads", "unsafe"],
)
def test_planted_violations_are_caught(guard: Guard, lines: list[str], examined: Examined) -> None:
    missed = [line for line in lines if not _caught(guard, line)]
    assert not missed
    examined(len(lines), "planted violations", at_least=5)


@pytest.mark.parametrize(
    "guard, lines",
    [(doors.writers, READS), (doors.imports, HARMLESS), (doors.uploads, HARMLESS), (doors.unsafe, HARMLESS)],
    ids=["writers", "imports", "uploads", "unsafe"],
)
def test_innocent_lines_pass(guard: Guard, lines: list[str], examined: Examined) -> None:
    accused = {line: found for line in lines if (found := _caught(guard, line))}
    assert not accused
    examined(len(lines), "innocent lines", at_least=5)


def test_doors_themselves_are_open() -> None:
    """Otherwise a guard could be clean because it objects to nothing."""
    assert not _caught(doors.writers, 'open("f", "w")', "storage")
    assert not _caught(doors.uploads, UPLOADS[0], "publishing.hub")
    assert _caught(doors.uploads, UPLOADS[0], "formats.hub"), "another file of that name is not the door"
    for name, modules in doors.IMPORT_DOORS.items():
        assert not any(_caught(doors.imports, f"import {name}", module) for module in modules)
    assert not _caught(doors.unsafe, "importlib.import_module(name)", "catalogue")
    assert not _caught(doors.unsafe, 'torch.load("f", weights_only=True)', doors.TENSORS)
    for line in ('torch.load("f")', 'torch.load("f", weights_only=flag)', 'torch.hub.load("r", "m")', "import pickle"):
        assert _caught(doors.unsafe, line, doors.TENSORS), line


def test_door_of_the_disk_is_used(examined: Examined) -> None:
    """Storage must be what the guard would object to anywhere else."""
    (storage,) = (source for source in package() if source.module == doors.WRITER)
    found = doors.writers((Source.of(storage.text, "elsewhere"),))
    examined(len(found.violations), "disk operations in mpr/storage/__init__.py", at_least=8)
