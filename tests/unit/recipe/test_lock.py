"""The lock of a recipe: what it may say, which keys it sets, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mpr.errors import RecipeError
from mpr.recipe import lock, plan, read, strict_yaml
from mpr.recipe.lock import LockedPin
from tests import shipped
from tests.conftest import Examined

COMMIT, SHA256 = "1" * 40, "2" * 64
_TOWERS = "  new: {layers: 1, width: 256, heads: 4, feed_forward: 512, vocabulary: 4000}\n"
_CORPUS = "  corpus: {name: invented_world}"
_LOCAL = (
    "  corpus: {name: local, folder: data, passages: {file: passages.tsv, format: dpr_tsv}, splits: {"
    "train: {file: train.json, format: dpr_json}, test: {file: test.tsv, format: dpr_qa}, "
    "dev: {file: dev.json, format: dpr_json}}}"
)
FILES = {
    "data.corpus.passages.sha256": "passages.tsv",
    "data.corpus.splits.train.sha256": "train.json",
    "data.corpus.splits.test.sha256": "test.tsv",
    "data.corpus.splits.dev.sha256": "dev.json",
}


def pinned(key: str, of: str, **value: Any) -> LockedPin:
    return LockedPin(key=key, of=of, **{"from": "data.corpus.folder", **value})


PINS = [pinned(key, file, sha256=SHA256, bytes=1) for key, file in FILES.items()]
PINS.append(pinned("towers.revision", "org/base", commit=COMMIT))


def written(folder: Path, pins: list[LockedPin], text: str = "", base: str = "org/base") -> Path:
    """A recipe of a local collection and an encoder of the Hub, neither of them pinned, and its lock."""
    made = shipped.text("quickstart").replace(_TOWERS, f"  base: {base}\n").replace(_CORPUS, _LOCAL)
    path = folder / "my.yaml"
    path.write_text(made + text)
    (folder / "my.lock").write_bytes(lock.written(pins, "my"))
    return path


def test_a_lock_says_what_the_recipe_could_say(tmp_path: Path) -> None:
    """The digest of a locked recipe is that of the recipe with the same values in it."""
    path = written(tmp_path, PINS)
    found = read.load(path)
    assert not found.draft
    assert found.towers.revision == COMMIT
    assert {found.data.corpus.passages.sha256, *(one.sha256 for one in found.data.corpus.splits.values())} == {SHA256}  # type: ignore[attr-defined]
    assert set(found.pinned_by_maker) == {*FILES.values(), "org/base"}
    text = path.read_text().replace("base: org/base\n", f'base: org/base\n  revision: "{COMMIT}"\n')
    for file in FILES.values():
        text = text.replace(f"file: {file},", f'file: {file}, sha256: "{SHA256}",')
    (tmp_path / "own.yaml").write_text(text)
    own = read.load(tmp_path / "own.yaml")
    assert own.pinned_by_maker == ()
    assert plan.digest(own) == plan.digest(found)
    lines = str(plan.resolve(found))
    assert f"pin         passages.tsv: checked by sha256 {SHA256}, pinned by its maker\n" in lines
    assert f"pin         org/base: checked by commit {COMMIT}, pinned by its maker\n" in lines


def test_files_that_only_the_collection_knows() -> None:
    document = strict_yaml.parse(b"data: {corpus: {name: squad_closed}}\n", "my.yaml")
    made = lock.Lock(document, (pinned("data.corpus.pins", "train-v1.1.json", sha256=SHA256),))
    assert lock.apply(made, document) == ("train-v1.1.json",)
    assert document.value["data"]["corpus"]["pins"] == {"train-v1.1.json": SHA256}


def test_every_key_that_pins() -> None:
    """Also in the stages of a plan, and where the name of a model holds its commit."""
    text = b"""
start: org/started
towers: {base: org/base, passage_base: org/other, revision: null}
labels:
  - {name: known_positives}
  - {name: a, scores: {file: scores.tsv}, judgements: {file: judged.jsonl, sha256: null}}
  - {name: b, scores: {cross_encoder: org/reader}, model: "stage:x"}
data:
  corpus: {name: hub, passages: {repo: org/texts}, splits: {dev: {file: d, judgements: q.txt}}}
  augment: {file: m}
plan:
  - {name: x, start: base, sources: [{name: dense, model: org/dense}, {name: dense, model: org/own@%s}]}
training: {model: org/no}
published: {file: no}
""" % (b"3" * 40)
    document = strict_yaml.parse(text, "my.yaml")
    open_ = {strict_yaml.dotted(place.path): place for place in lock.places(document.value) if place.value is None}
    assert {key: place.of for key, place in open_.items()} == {
        "start": "org/started",
        "towers.revision": "org/base",
        "towers.passage_revision": "org/other",
        "labels[1].scores.sha256": "scores.tsv",
        "labels[1].judgements.sha256": "judged.jsonl",
        "labels[2].scores.cross_encoder": "org/reader",
        "data.corpus.passages.revision": "org/texts",
        "data.corpus.splits.dev.sha256": "d",
        "data.corpus.splits.dev.judgements_sha256": "q.txt",
        "data.augment.sha256": "m",
        "plan[0].sources[0].model": "org/dense",
    }
    values = {lock.COMMIT: {"commit": COMMIT}, lock.SHA256: {"sha256": SHA256}}
    pins = tuple(pinned(key, place.of, **values[place.kind]) for key, place in open_.items())
    lock.apply(lock.Lock(document, pins), document)
    assert document.value["start"] == f"org/started@{COMMIT}"
    assert document.value["plan"][0]["sources"][0]["model"] == f"org/dense@{COMMIT}"
    assert document.value["labels"][1]["judgements"]["sha256"] == SHA256
    assert all(place.value is not None for place in lock.places(document.value))
    lock.apply(lock.Lock(document, pins), document)  # a second time nothing is left to say, and nothing is wrong


@pytest.mark.parametrize(
    "change,message",
    [
        (
            ("towers.revision", "org/other", COMMIT),
            r"my.lock:\d+ towers.revision: pins 'org/other', and",
        ),
        (("towers.passage_revision", "x/y", COMMIT), "by a key that the recipe does not have"),
        (("labels[0].sha256", "x", SHA256), "by a key that the recipe does not have"),
        (("data.corpus.passages.sha256", "passages.tsv", COMMIT), "by a key that the recipe does not have"),
    ],
)
def test_a_lock_of_another_recipe(tmp_path: Path, change: tuple[str, str, str], message: str) -> None:
    key, of, value = change
    pins = [pin for pin in PINS if pin.key != key]
    pins.append(pinned(key, of, **{"commit" if len(value) == 40 else "sha256": value}))
    with pytest.raises(RecipeError, match=message):
        read.load(written(tmp_path, pins))


def test_two_opinions(tmp_path: Path) -> None:
    """Of the recipe and its lock, and of `--set` and the lock."""
    path = written(tmp_path, PINS)
    with pytest.raises(RecipeError, match=r"my.lock:\d+ towers.revision: pins 'org/base', and .* 'org/x'"):
        read.load(path, ["towers.base=org/x"])
    with pytest.raises(RecipeError, match=r"pins 'org/base' to 1111111111111111..., and the recipe to 4444"):
        read.load(path, [f'towers.revision="{"4" * 40}"'])
    assert read.load(path, [f'towers.revision="{COMMIT}"']).towers.revision == COMMIT


def test_what_is_no_lock(tmp_path: Path, examined: Examined) -> None:
    path = written(tmp_path, PINS)
    right = (tmp_path / "my.lock").read_text()
    assert len(right.splitlines()) == 4 + len(PINS)
    wrong = {
        "empty": ("", "is empty"),
        "another format": (right.replace("format: 1", "format: 2"), r"my.lock:3 format: "),
        "an unknown key": (right.replace("bytes: 1", "size: 1"), r"my.lock:\d+ pins\[0\].size: "),
        "no value": (right.replace(f', sha256: "{SHA256}"', "", 1), "exactly one of commit and sha256"),
        "two values": (right.replace(", bytes: 1", f', commit: "{COMMIT}"', 1), "exactly one of commit and sha256"),
        "a short commit": (right.replace(COMMIT, "1111111"), r"pins\[4\].commit"),
        "a branch": (right.replace(COMMIT, "main"), r"pins\[4\].commit"),
        "a tag": (right.replace("pins:", "pins: !!python/object:os.system"), "tag"),
        "a list": ("- 1\n", "my.lock:1"),
        "text": ("pins", "my.lock:1"),
        "no YAML": ("pins: [", "is not YAML"),
    }
    for case, (text, message) in wrong.items():
        (tmp_path / "my.lock").write_text(text)
        with pytest.raises(RecipeError, match=message) as refused:
            read.load(path)
        assert "my.lock" in str(refused.value), case
    examined(len(wrong), "files that are no lock", at_least=10)
