"""`mpr pin`: what it finds, where it says that this came from, and the lock that it leaves."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from mpr.corpora import Collection, Pin
from mpr.data import pinning
from mpr.data._fetcher import Fetcher
from mpr.data.dataset import Dataset
from mpr.errors import DataError, RecipeError
from mpr.recipe import lock, plan, read, strict_yaml
from mpr.records import Group, Passage
from tests import shipped
from tests.hub_server import HubServer
from tests.lying_server import LyingServer
from tests.unit.recipe.test_lock import FILES, written

PSGS = "id\ttext\ttitle\n" + "".join(f"{row}\ttext {row} of the answer{row}\ttitle\n" for row in range(1, 9))
RECORD = (
    '[{{"question": "which {0}", "answers": ["answer1"], "positive_ctxs": [{{"passage_id": "1", "title": "title", '
    '"text": "text 1 of the answer1"}}], "hard_negative_ctxs": [], "negative_ctxs": []}}]'
)
TEXTS = {
    "passages.tsv": PSGS,
    "train.json": RECORD.format("train"),
    "dev.json": RECORD.format("dev"),
    "test.tsv": "which test\t['answer1']\n",
}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer() as found:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", found.endpoint)
        monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", found.endpoint)
        monkeypatch.setenv("HF_ENDPOINT", found.endpoint)
        monkeypatch.setenv("HF_TOKEN", found.token)
        yield found


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, [])
    (tmp_path / "my.lock").unlink()
    (tmp_path / "data").mkdir()
    for name, text in TEXTS.items():
        (tmp_path / "data" / name).write_text(text)
    return path


def test_files_and_a_base(recipe: Path, hub: HubServer, tmp_path: Path) -> None:
    commit = hub.add("org/base", {"config.json": b"{}"})
    with pytest.raises(RecipeError, match=r"`mpr pin RECIPE`, or set draft: true"):
        read.load(recipe)
    made = pinning.pin(recipe, tmp_path / "home", quiet=True)
    assert made.file == recipe.with_suffix(".lock")
    assert {found.pin.key: found.pin.value for found in made.found} == {
        "towers.revision": commit,
        **{key: sha256(TEXTS[name]) for key, name in FILES.items()},
    }
    places = {found.pin.of: found.place for found in made.found}
    assert places["org/base"] == f"{hub.endpoint}/org/base"
    assert places["passages.tsv"] == str(tmp_path / "data" / "passages.tsv")
    text = made.file.read_text()
    assert str(tmp_path) not in text, "a folder of the user is private"
    assert read.load(recipe).pinned_by_maker
    again = pinning.pin(recipe, tmp_path / "home", quiet=True)
    assert (again.found, len(again.kept), made.file.read_text()) == ([], 5, text)

    hub.add("org/base", {"config.json": b"{ }"})
    (tmp_path / "data" / "dev.json").write_text(RECORD.format("other"))
    with pytest.raises(DataError, match=r"data/dev.json: is not the pinned file.*`mpr pin RECIPE --renew`"):
        pinning.pin(recipe, tmp_path / "home", quiet=True)
    dataset = Dataset(read.load(recipe), tmp_path / "home", quiet=True)
    with pytest.raises(DataError, match=r"data/dev.json: is not the pinned file"):
        dataset.split("validation")
    assert made.file.read_text() == text
    renewed = {found.pin.of: found.pin.value for found in pinning.pin(recipe, tmp_path / "home", renew=True).found}
    assert renewed["dev.json"] == sha256(RECORD.format("other"))
    assert renewed["org/base"] not in (None, commit)


def test_all_or_nothing(recipe: Path, hub: HubServer, tmp_path: Path) -> None:
    """A file or a repository that is not there, and a change by --set that is not only of the folder."""
    with pytest.raises(DataError, match=r"org/base towers.revision: its newest commit cannot be read.*40"):
        pinning.pin(recipe, tmp_path / "home")
    hub.add("org/base", {"config.json": b"{}"})
    (tmp_path / "data" / "test.tsv").unlink()
    with pytest.raises(DataError, match=r"data/test.tsv data.corpus.splits.test.sha256: is not there"):
        pinning.pin(recipe, tmp_path / "home")
    with pytest.raises(RecipeError, match="another recipe"):
        pinning.pin(recipe, tmp_path / "home", ["towers.base=org/x"])
    assert not recipe.with_suffix(".lock").exists()


def test_a_local_base_cannot_be_pinned(tmp_path: Path, recipe: Path) -> None:
    recipe.write_text(recipe.read_text().replace("base: org/base", "base: data"))
    made = pinning.pin(recipe, tmp_path / "home")
    assert [str(problem) for problem in made.left] == [
        "towers.revision: 'data' is a local folder, which no commit pins (push it to the Hub and name it)"
    ]
    assert len(made.found) == len(FILES)
    with pytest.raises(RecipeError, match="a local folder"):
        read.load(recipe)


def test_files_of_a_collection_that_only_a_split_needs(tmp_path: Path) -> None:
    """Those that the user brings, found by whatever name; a draft stays one until its word is removed."""
    path = tmp_path / "llm.yaml"
    path.write_text(shipped.text("msmarco_nll_m1_llm"))
    folder = tmp_path / "mine"
    folder.mkdir()
    override = [f"data.corpus.folder={folder}"]
    with pytest.raises(DataError, match=rf"is not in {folder}"):
        pinning.pin(path, tmp_path / "home", override)
    names = ["collection.tsv", "annotation.jsonl"]
    names += [f"{kind}.{split}" for kind in ("queries", "qrels") for split in ("dev.small.tsv", "dl19.tsv", "dl20.tsv")]
    for name in [*names, "qrels.dl19.txt", "qrels.dl20.txt"]:
        (folder / name).write_text(name)
    made = pinning.pin(path, tmp_path / "home", override)
    assert made.is_draft
    found = {one.pin.of: one.pin for one in made.found}
    assert found["annotation.jsonl"].value == sha256("annotation.jsonl")
    assert found["annotation.jsonl"].key == "data.corpus.pins"
    assert found["annotation.jsonl"].from_ == "data.corpus.folder"
    assert read.load(path).draft
    path.write_text(path.read_text().replace("draft: true", "draft: false"))
    locked = read.load(path, override)
    assert locked.data.corpus.pins == {name: pin.value for name, pin in found.items()}  # type: ignore[attr-defined]
    dataset = Dataset(locked, tmp_path / "home", quiet=True)
    (folder / "annotation.jsonl").write_text("another one")
    with pytest.raises(DataError, match=r"annotation.jsonl: the recipe's maker pinned another file: expected sha256"):
        dataset.split("train")


def test_a_file_that_the_recipe_has_from_an_address(tmp_path: Path) -> None:
    with LyingServer(b"scores", b"") as server:
        text = f'data: {{corpus: {{name: x}}}}\nlabels: [{{scores: {{file: s.tsv, url: "{server.endpoint}/s"}}}}]\n'
        document = strict_yaml.parse(text.encode(), "my.yaml")
        ((found,), left) = pinning._of_keys(document, (), tmp_path / "home", True)
    assert (found.pin.key, found.pin.value, left) == ("labels[0].scores.sha256", sha256("scores"), [])
    assert found.pin.from_ == f"{server.endpoint}/s"


def test_a_lock_without_a_reason_goes(tmp_path: Path) -> None:
    path = tmp_path / "quick.yaml"
    path.write_text(shipped.text("quickstart"))
    content: dict[str, Any] = {"key": "data.corpus.pins", "of": "gone.tsv", "sha256": "1" * 64, "from": "somewhere"}
    path.with_suffix(".lock").write_bytes(lock.written([lock.LockedPin(**content)], "quick"))
    with pytest.raises(RecipeError, match=r"quick.lock:5 data.corpus.pins.gone.tsv: 'gone.tsv' is no file of this"):
        pinning.pin(path, tmp_path / "home")
    assert pinning.pin(path, tmp_path / "home", renew=True).kept == ()
    assert os.listdir(tmp_path) == ["quick.yaml"]


def test_everything_is_pinned(tmp_path: Path) -> None:
    path = tmp_path / "quick.yaml"
    path.write_text(shipped.text("quickstart"))
    made = pinning.pin(path, tmp_path / "home")
    assert (made.found, made.left, made.kept) == ([], [], ())
    assert os.listdir(tmp_path) == ["quick.yaml"]


@pytest.mark.parametrize("name", ["a.tsv", "data/a.tsv", "a.tsv.xz"])
def test_another_form_than_the_kit_knows(tmp_path: Path, name: str) -> None:
    """A file that cannot be compared with the kit's pin is a file of its own; the address is still good for it."""
    text = b"id\ttext\ttitle\n1\ttext\ttitle\n"
    packed = gzip.compress(text, mtime=0)
    data = lzma.compress(text) if name.endswith(".xz") else text
    with LyingServer(packed, b"") as server:
        kit = Pin("a.tsv.gz", f"{server.endpoint}/a.tsv.gz", md5=hashlib.md5(packed).hexdigest(), names=("data/a.tsv",))
        given = _Given(kit, {name: hashlib.sha256(data).hexdigest()})
        place = tmp_path / "mine" / name
        place.parent.mkdir(parents=True)
        place.write_bytes(data)
        assert Fetcher(tmp_path / "home", tmp_path / "mine", draft=False)(given.inputs[0]) == place
        if name.endswith(".xz"):
            with pytest.raises(DataError, match="cannot be downloaded: the server sent another file"):
                Fetcher(tmp_path / "home", draft=False, quiet=True)(given.inputs[0])
        else:
            assert Fetcher(tmp_path / "home", draft=False, quiet=True)(given.inputs[0]).read_bytes() == packed
        known = replace(kit, sha256="2" * 64)
        assert _Given(known, {"a.tsv.gz": "1" * 64}).inputs == (known,)  # refused by a rule of recipes


class _Given(Collection):
    """A collection of one file, of which a recipe knows something too."""

    splits: ClassVar[Any] = {}

    def __init__(self, pin: Pin, pins: dict[str, str]) -> None:
        super().__init__(SimpleNamespace(pins=pins))
        self.one = pin

    @property
    def pins(self) -> tuple[Pin, ...]:
        return (self.one,)

    def passages(self) -> Iterator[Passage]:
        return iter(())

    def groups(self, split: str) -> Iterator[Group]:
        return iter(())


def test_a_short_recipe_stops_being_a_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lock pins keys that only the recipe with its defaults has; without the lock it is a draft by default."""
    monkeypatch.chdir(tmp_path)
    rows = '{"query": "which river", "pos": ["the river Teith", "a river"], "neg": ["a hill"]}\n'
    (tmp_path / "my.jsonl").write_text(rows * 3)
    path = tmp_path / "my.yaml"
    path.write_text(f"data: my.jsonl\ntowers: {{base: org/base, revision: {'a' * 40}}}\nobjective: nll\n")
    assert read.load(path).draft
    made = pinning.pin(path, tmp_path / "home", quiet=True)
    assert {found.pin.key: found.pin.value for found in made.found} == {
        "data.corpus.splits.train.sha256": sha256(rows * 3)
    }
    pinned = read.load(path)
    assert not pinned.draft
    assert pinned.pinned_by_maker == ("my.jsonl",)
    kept = tmp_path / "kept" / "my.yaml"  # as a run keeps it: complete, with the lock beside it
    kept.parent.mkdir()
    kept.write_text(pinned.written)
    kept.with_suffix(".lock").write_bytes(pinned.lock_text)
    assert plan.digest(read.load(kept, written=True)) == plan.digest(pinned)
