"""Data sets read through the `datasets` library, from local folders; nothing here reaches the network."""

import json
from pathlib import Path
from typing import Any

import pytest

from mpr.errors import DataError
from mpr.formats import hub
from mpr.formats.tevatron import Labels
from mpr.records import Candidate, Judgement, Passage, Positive, Question

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def folder(path: Path, rows: list[dict[str, Any]], name: str = "train.jsonl") -> str:
    path.mkdir(exist_ok=True)
    if name.endswith(".parquet"):
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path / name)
    else:
        (path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize("name", ["train.jsonl", "train.parquet"])
@pytest.mark.parametrize("streaming", [False, True])
def test_passages_with_mapped_columns(tmp_path: Path, name: str, streaming: bool) -> None:
    rows = [{"_id": 1, "body": "one", "head": "T", "more": 0}, {"_id": 2, "body": "two", "head": None, "more": 1}]
    source = folder(tmp_path / "set", rows, name)
    columns = {"id": "_id", "text": "body", "title": "head"}
    found = list(hub.read_passages(source, columns, streaming=streaming, draft=True))
    assert found == [Passage("1", "one", "T"), Passage("2", "two", "")]
    assert [row for _, row in hub.read_rows(source, columns={"n": "more"}, draft=True)] == [{"n": 0}, {"n": 1}]


def test_the_library_shows_no_bar_of_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import datasets

    datasets.enable_progress_bars()
    assert len(list(hub.read_rows(folder(tmp_path / "set", [{"a": 1}]), draft=True))) == 1
    assert capfd.readouterr() == ("", "")
    assert not datasets.are_progress_bars_disabled(), "whoever uses it beside us keeps its bars"


def test_questions_judgements_and_splits(tmp_path: Path) -> None:
    source = folder(tmp_path / "set", [{"id": 5, "question": "?", "answers": ["a", "b"]}], "test.jsonl")
    assert list(hub.read_questions(source, regex=True, split="test", draft=True)) == [
        Question("5", "?", ("a", "b"), True)
    ]
    judged = folder(tmp_path / "qrels", [{"query-id": 1, "corpus-id": "x", "score": 2}])
    assert list(hub.read_judgements(judged, draft=True)) == [Judgement("1", "x", 2)]
    with pytest.raises(DataError, match=r"\[valid\]: cannot be loaded: .*split"):
        list(hub.read_questions(source, split="valid", draft=True))


def test_groups_in_either_form(tmp_path: Path) -> None:
    inline = {
        "query_id": "q",
        "query": "?",
        "positive_passages": [{"docid": "1", "title": "T", "text": "one"}],
        "negative_passages": [{"docid": "2", "title": "T", "text": "two"}],
    }
    (group,) = hub.read_groups(folder(tmp_path / "inline", [inline]), Labels(source="bm25"), draft=True)
    assert group.positives == (Positive("1"),)
    assert group.candidates == (Candidate("2", "bm25", 1),)
    assert group.passages == (Passage("1", "one", "T"), Passage("2", "two", "T"))
    referring = {"query_id": 3, "query_text": "?", "positive_document_ids": ["1"], "negative_document_ids": ["2", "4"]}
    (group,) = hub.read_groups(folder(tmp_path / "ids", [referring]), Labels(negatives=1), draft=True)
    assert group.question == Question("3", "?")
    assert [one.passage for one in group.candidates] == ["2"]
    with pytest.raises(DataError, match="'extra': unknown field"):
        list(hub.read_groups(folder(tmp_path / "more", [referring | {"extra": 1}]), draft=True))
    assert len(list(hub.read_groups(str(tmp_path / "more"), ignore=["extra"], draft=True))) == 1


@pytest.mark.parametrize("revision", [None, "main", "0123456", COMMIT.upper(), COMMIT + "0", "refs/convert/parquet"])
def test_only_a_commit_is_a_pin(revision: str | None) -> None:
    with pytest.raises(DataError, match=r"some/set revision: revision .* is not a commit.*draft: true"):
        next(hub.read_rows("some/set", revision=revision))


def test_a_commit_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked = {}

    def load(repo: str, config: str | None, **options: Any) -> Any:
        asked.update(options, repo=repo, config=config)
        return datasets.Dataset.from_list([{"id": "a", "text": "t", "title": ""}])

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert list(hub.read_passages("some/set", config="c", split="s", revision=COMMIT)) == [Passage("a", "t")]
    assert asked == {"repo": "some/set", "config": "c", "split": "s", "revision": COMMIT, "streaming": False}


@pytest.mark.parametrize("streaming", [False, True])
def test_missing_columns_name_those_present(tmp_path: Path, streaming: bool) -> None:
    source = folder(tmp_path / "set", [{"docid": "1", "txt": "one"}])
    with pytest.raises(DataError) as caught:
        list(hub.read_passages(source, {"id": "docid", "text": "text"}, streaming=streaming, draft=True))
    message = str(caught.value)
    assert "columns: has no column text (for text) did you mean 'txt'?" in message
    assert "columns present: docid, txt" in message


@pytest.mark.parametrize(
    "rows, words",
    [
        (
            [{"id": "a", "text": "t"}, {"id": "b c", "text": "t"}],
            r"\[train\]:1 id: id contains white space.*in this row",
        ),
        ([{"id": "a", "text": None}, {"id": "b", "text": "t"}], r"\[train\]:0 text: is null"),
        ([{"id": 1.5, "text": "t"}], r"\[train\]:0 id: id must be text, not float"),
        ([{"id": "a", "text": "t"}, {"id": "a", "text": "u"}], r"\[train\]:1 id: id 'a' is already on line 0"),
    ],
)
def test_faulty_rows_have_their_number(tmp_path: Path, rows: list[dict[str, Any]], words: str) -> None:
    source = folder(tmp_path / "set", rows)
    with pytest.raises(DataError, match=words):
        list(hub.read_questions(source, {"id": "id", "text": "text"}, draft=True))


def test_repeated_judgements_are_refused(tmp_path: Path) -> None:
    row = {"query-id": 1, "corpus-id": "x", "score": 2}
    with pytest.raises(DataError, match=r"\[train\]:1: question '1' and passage 'x' were paired"):
        list(hub.read_judgements(folder(tmp_path / "set", [row, row]), draft=True))


@pytest.mark.parametrize("kind", ["script", "offline", "unknown", "other"])
def test_what_the_library_raises_becomes_one_refusal(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    import datasets
    from huggingface_hub.errors import OfflineModeIsEnabled

    error, words = {
        "script": (
            RuntimeError("Dataset scripts are no longer supported, but found set.py"),
            "loading script.*raw files",
        ),
        "offline": (OfflineModeIsEnabled("offline\nmore"), r"cannot be reached: offline \(connect"),
        "unknown": (datasets.exceptions.DatasetNotFoundError("no such set"), "cannot be loaded: no such set"),
        "other": (RuntimeError("a bug"), None),
    }[kind]

    def load(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load)
    if words is None:
        with pytest.raises(RuntimeError, match="a bug"):
            next(hub.read_rows("some/set", revision=COMMIT))
        return
    with pytest.raises(DataError, match=f"some/set@{COMMIT} \\[train\\]: .*{words}"):
        next(hub.read_rows("some/set", revision=COMMIT))


def test_a_real_loading_script_and_a_real_missing_folder(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "set.py").write_text("raise SystemExit('the script was run')\n")
    with pytest.raises(DataError, match="loading script, which is not run"):
        next(hub.read_rows(str(tmp_path / "set"), draft=True))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="cannot be loaded"):
        next(hub.read_rows(str(tmp_path / "empty"), draft=True))
    (tmp_path / "hollow").mkdir()
    (tmp_path / "hollow" / "train.jsonl").write_text("")
    with pytest.raises(DataError, match="has a file without rows"):
        list(hub.read_rows(str(tmp_path / "hollow"), draft=True))


def test_the_library_is_imported_only_when_used() -> None:
    import subprocess
    import sys

    code = "import sys, mpr.formats.hub; print('datasets' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
