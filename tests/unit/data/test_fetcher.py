"""Files that the user brings: by which names they are found, and what of them can be checked."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from mpr.corpora import BY_MAKER, Pin, spellings
from mpr.data import _download
from mpr.data._fetcher import Fetcher
from mpr.errors import DataError
from tests.hub_server import HubServer

CONTENT = b"id\ttext\ttitle\n" + b"".join(b"%d\ttext %d\ttitle\n" % (row, row) for row in range(200))
GZ = gzip.compress(CONTENT, mtime=0)
FORMS = {"": CONTENT, ".gz": GZ, ".zst": zstandard.compress(CONTENT), ".xz": lzma.compress(CONTENT)}
SHA256, MD5 = (getattr(hashlib, name)(CONTENT).hexdigest() for name in ("sha256", "md5"))
PACKED = Pin("psgs.tsv.gz", sha256=hashlib.sha256(GZ).hexdigest(), size=len(GZ), names=("data/wiki/psgs_w100.tsv.gz",))


def place(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("ending", FORMS)
@pytest.mark.parametrize("known", ["sha256", "md5", "size"])
def test_the_pin_of_an_unpacked_file_checks_it_however_it_is_packed(tmp_path: Path, ending: str, known: str) -> None:
    pin = Pin("a.tsv", **{known: {"sha256": SHA256, "md5": MD5, "size": len(CONTENT)}[known]})  # type: ignore[arg-type]
    path = place(tmp_path, f"a.tsv{ending}", FORMS[ending])
    fetcher = Fetcher(tmp_path / "home", tmp_path, draft=known == "size")
    assert fetcher(pin) == path
    assert fetcher.used == {"a.tsv": hashlib.sha256(FORMS[ending]).hexdigest()}
    if known != "size":
        assert fetcher.identity(pin) == Fetcher(tmp_path / "other", tmp_path / "nothing here").identity(pin)
    place(tmp_path, f"a.tsv{ending}", FORMS[ending][:-20] if ending else CONTENT + b"x")
    with pytest.raises(DataError, match=r"is not the pinned file: (expected|is cut short)"):
        fetcher(pin)


def test_the_pin_of_a_packed_file_says_nothing_of_others(tmp_path: Path) -> None:
    """A draft may read them, and its stores are named by what they are; a row may not."""
    path = place(tmp_path, "psgs.tsv", CONTENT)
    row, draft = Fetcher(tmp_path / "home", tmp_path, draft=False), Fetcher(tmp_path / "home", tmp_path)
    with pytest.raises(
        DataError, match=r"psgs.tsv data.corpus.folder: cannot be checked: .* the packed file 'psgs.tsv.gz'"
    ):
        row(PACKED)
    assert draft(PACKED) == path
    assert draft.identity(PACKED) == SHA256
    whole = place(tmp_path, "psgs.tsv.gz", GZ)  # which is then the one that counts
    assert row(PACKED) == whole
    assert row.identity(PACKED) == PACKED.sha256


@pytest.mark.parametrize(
    "pin", [Pin("a.tsv", repo="o/n", revision="1" * 40), Pin("a.tsv", archive=Pin("all.zip", md5="1" * 32))]
)
def test_a_commit_and_an_archive_say_nothing_of_a_file_outside(tmp_path: Path, pin: Pin) -> None:
    place(tmp_path, "a.tsv", CONTENT)
    with pytest.raises(DataError, match=r"cannot be checked: .* is of (o/n at commit 1|the archive 'all.zip')"):
        Fetcher(tmp_path / "home", tmp_path, draft=False)(pin)
    draft = Fetcher(tmp_path / "home", tmp_path)
    assert draft(pin).read_bytes() == CONTENT
    assert draft.identity(pin) == SHA256
    mine = replace(pin, sha256=SHA256, source=BY_MAKER)
    assert Fetcher(tmp_path / "home", tmp_path, draft=False)(mine).read_bytes() == CONTENT


def test_names(tmp_path: Path) -> None:
    """Those of the pin before all others, however a file is packed; then those of others who offer it."""
    assert [*spellings(Pin("b.json.gz", names=("data/c.json",)))] == [
        "b.json.gz", "data/c.json", "b.json", "b.json.zst", "b.json.xz", "data/c.json.gz", "data/c.json.zst",
        "data/c.json.xz",
    ]  # fmt: skip
    pin = replace(PACKED, sha256=None, size=None)
    for name in reversed([*spellings(pin)]):
        path = place(tmp_path, name, FORMS[Path(name).suffix if Path(name).suffix != ".tsv" else ""])
        assert Fetcher(tmp_path / "home", tmp_path)(pin) == path, name


def test_a_missing_file_is_named_with_its_folder_and_all_that_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    pin = replace(PACKED, url="https://example.org/psgs.tsv.gz", licence="CC0", archive=Pin("all.zip"))
    with pytest.raises(DataError) as refused:
        Fetcher(Path("home"), Path("mine"))(pin)
    for said in (str(tmp_path / "mine"), "psgs.tsv.gz, data/wiki/psgs_w100.tsv.gz, all.zip", ".xz", pin.url, "CC0"):
        assert said in str(refused.value)


def test_what_nobody_pinned_is_for_drafts(tmp_path: Path) -> None:
    place(tmp_path, "a.tsv", CONTENT)
    assert Fetcher(tmp_path / "home", tmp_path)(Pin("a.tsv"))
    with pytest.raises(DataError, match=r"nobody has pinned 'a.tsv' \(`mpr pin RECIPE`"):
        Fetcher(tmp_path / "home", tmp_path, draft=False)(Pin("a.tsv"))


def test_plain_files_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name at the commit, and not by the newest one; the token goes to the Hub."""
    monkeypatch.setattr(_download, "_PAUSE", 0.0)
    with HubServer() as hub:
        for name in [name for name in os.environ if name.startswith("HF_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("HF_ENDPOINT", f"{hub.endpoint}/")
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("HF_TOKEN", hub.token)
        commit = hub.add("datasets/tester/wiki", {"sets/dev.tsv.gz": GZ})
        hub.add("datasets/tester/wiki", {"sets/dev.tsv.gz": b"newer"})
        hub.repos["datasets/tester/wiki"].private = True
        pin = Pin("dev.tsv.gz", repo="tester/wiki", revision=commit, inside="sets/dev.tsv.gz")
        fetcher = Fetcher(tmp_path / "home", draft=False, quiet=True)
        assert fetcher(pin).read_bytes() == GZ
        assert fetcher.identity(pin) == f"tester/wiki@{commit}"
        assert hub.requests == [("resolve", f"/datasets/tester/wiki/resolve/{commit}/sets/dev.tsv.gz")]
        wrong = replace(pin, sha256="0" * 64)
        with pytest.raises(DataError, match="is not the pinned file"):  # of the file that was downloaded before
            fetcher(wrong)
        with pytest.raises(DataError, match="cannot be downloaded: HTTP Error 404"):
            fetcher(replace(pin, inside="sets/gone.tsv"))
        for problem in ("gone/wiki", "tester/gone"):
            with pytest.raises(DataError, match=r"cannot be downloaded: HTTP Error 40[14]"):
                fetcher(replace(pin, repo=problem))
