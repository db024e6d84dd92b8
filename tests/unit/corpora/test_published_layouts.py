"""Each public collection from its servers to records: tiny files in the published layouts, served on the loopback.

Wrong sums, cut files, other counts and repositories that are gone each end in one refusal, and nothing is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mpr import corpora
from mpr.corpora import Collection
from mpr.data import _split_builder, passages
from mpr.data._fetcher import Fetcher
from mpr.errors import DataError
from tests.conftest import Examined
from tests.unit.corpora import published
from tests.unit.corpora.published import LAYOUTS, TEXTS, Layout, Offered

LAYOUT = pytest.mark.parametrize("layout", [make() for make in LAYOUTS.values()], ids=list(LAYOUTS))


@pytest.fixture
def place(layout: Layout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Offered]:
    with published.offered(layout, monkeypatch, tmp_path) as found:
        yield found


def opened(layout: Layout, home: Path, folder: Path | None = None) -> Collection:
    """Pins alone decide what may be read: the recipe is no draft."""
    return corpora.of(published.part(layout), Fetcher(home, folder, draft=False, quiet=True))


def read(layout: Layout, collection: Collection) -> dict[str, list[Any]]:
    splits = [split for split in (layout.train, layout.test) if split]
    return {"passages": list(collection.passages())} | {split: list(collection.groups(split)) for split in splits}


def everything(layout: Layout, collection: Collection) -> None:
    """Reads every file."""
    more = ("dl19", "dl20", "dev") if layout.params["name"] == "msmarco_passage" else ()
    for split in more:
        list(collection.groups(split))
    read(layout, collection)


@LAYOUT
def test_it_is_read_as_it_is_published(layout: Layout, place: Offered, tmp_path: Path) -> None:
    collection = opened(layout, tmp_path / "home")
    found = read(layout, collection)
    assert {one.id: one.text for one in found["passages"]} == {name: text for name, (_, text) in TEXTS.items()}
    if layout.params["name"] != "msmarco_passage":  # which has no titles
        assert {one.title for one in found["passages"]} == {title for title, _ in TEXTS.values()}
    if layout.train:
        assert len(found[layout.train]) == layout.trained
        assert tuple(one.passage for one in found[layout.train][0].positives) == layout.positives
    assert len(found[layout.test]) == layout.tested
    split = collection.split(layout.test)
    (group,) = found[layout.test]
    assert bool(split.judged) != bool(group.question.answers)
    assert group.question.regex == split.regex
    before = list(place.asked)
    again = read(layout, opened(layout, tmp_path / "home"))
    assert again == found
    assert place.asked == before  # everything is kept


@LAYOUT
def test_everything_a_recipe_reads_is_known(layout: Layout) -> None:
    """Of the real collection: no draft is needed for these splits."""
    needed = corpora.of(published.part(layout)).needed([split for split in (layout.train, layout.test) if split])
    assert needed
    assert all(pin.is_pinned and pin.licence and (pin.source or pin.archive) for pin in needed)
    assert len({pin.file for pin in needed}) == len(needed)


def _other(data: bytes) -> bytes:
    """Another file of the same length."""
    return data[:-1] + bytes([data[-1] ^ 1])


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


@LAYOUT
@pytest.mark.parametrize(
    "change, words", [(_other, "expected (sha256|md5)"), (_half, "bytes|expected (sha256|md5)")], ids=["other", "cut"]
)
def test_another_file_is_refused(
    layout: Layout,
    place: Offered,
    tmp_path: Path,
    change: Callable[[bytes], bytes],
    words: str,
    examined: Examined,
) -> None:
    """Every file of the web, one after the other."""
    for number, (name, data) in enumerate(layout.web.items()):
        place.web[name] = change(data)
        home = tmp_path / f"home{number}"
        collection = opened(layout, home)
        with pytest.raises(DataError, match=words) as refused:
            everything(layout, collection)
        assert len(refused.value.problems) == 1
        assert not list(home.rglob(name))
        place.web[name] = data
    examined(len(layout.web), "files that were others", at_least=1)


@LAYOUT
def test_another_count_is_refused(layout: Layout, place: Offered, tmp_path: Path) -> None:
    """The files are those of the pins, and hold fewer than the published ones."""
    collection = opened(layout, tmp_path / "home")
    with pytest.raises(DataError, match=rf"8 .*{collection.size:,}|{collection.size:,}.* 8"):
        passages.build(tmp_path / "store", collection.passages(), {}, expected=collection.size)
    assert not (tmp_path / "store").exists()
    counted = {name: collection.splits[name].questions for name in (layout.train, layout.test) if name}
    for name, published_count in counted.items():
        if published_count is not None:
            with pytest.raises(DataError, match=f"{published_count:,} are expected"):
                _split_builder.refuse_count(name, len(list(collection.groups(name))), published_count)
    assert any(counted.values())


HELD = pytest.mark.parametrize("layout", [LAYOUTS["DPR's records"](), LAYOUTS["Tevatron's copy"]()], ids=["one", "all"])


@HELD
@pytest.mark.parametrize("gone", ["repository", "commit", "file", "other"])
def test_what_is_gone_from_the_hub_is_one_refusal(layout: Layout, place: Offered, tmp_path: Path, gone: str) -> None:
    (name,) = layout.hub
    repo = place.hub.repos[f"datasets/{name}"]
    revision = next(pin.revision for pin in corpora.of(published.part(layout)).pins if pin.repo == name)
    if gone == "repository":
        del place.hub.repos[f"datasets/{name}"]
    elif gone == "commit":
        del repo.commits[revision]
    else:
        files = repo.commits[revision].files
        for file in list(files):
            if gone == "file":
                del files[file]
            else:
                files[file] = _other(files[file])
    with pytest.raises(DataError) as refused:
        list(opened(layout, tmp_path / "home").groups(layout.test))
    (problem,) = refused.value.problems
    if gone == "other":
        assert re.search("expected sha256|gzip says", problem.what)  # of NQ's copy the commit alone is known
    else:
        assert "cannot be downloaded: HTTP Error 40" in problem.what
        assert name in problem.where


def test_of_a_folder_archives_and_unpacked_files_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    layout = published.msmarco()
    with published.offered(layout, monkeypatch, tmp_path) as place:
        mine = tmp_path / "mine"
        mine.mkdir()
        for name, data in layout.web.items():
            (mine / name).write_bytes(data)
        found = read(layout, opened(layout, tmp_path / "home", mine))
        assert (len(found["official_train"]), len(found["dl19"])) == (2, 1)
        unjudged = list(opened(layout, tmp_path / "home", mine).groups("unjudged_train"))
        assert [group.question.id for group in unjudged] == ["12"]
        assert [one.passage for one in found["dl19"][0].positives] == ["1"]  # grade 1 is not relevant there
        assert place.asked == []
        (mine / "qrels.train.tsv").unlink()
        with pytest.raises(DataError, match=r"'qrels.train.tsv' is not in .*msmarcoranking/qrels.train.tsv"):
            list(opened(layout, tmp_path / "home", mine).groups("official_train"))


@pytest.mark.parametrize("inside", ["", "fiqa"])
def test_a_folder_in_the_form_of_the_suite(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, inside: str) -> None:
    """As it is unpacked, with or without the folder of the zip: any version, so nothing is known of it."""
    place = tmp_path / "mine" / inside
    for name, data in published._suite().items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    layout = published.beir()
    layout.params["folder"] = str(tmp_path / "mine")
    collection = corpora.of(published.part(layout), Fetcher(tmp_path / "home", tmp_path / "mine"))
    found = read(layout, collection)
    assert [len(found[part]) for part in ("passages", "train", "test")] == [len(TEXTS), 2, 1]
    assert collection.size is None
    needed = collection.needed(["test"])
    files = {f"{inside}/{name}".lstrip("/") for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv")}
    assert {pin.file for pin in needed} == files
    assert not any(pin.is_pinned for pin in needed)
