"""Data sets on the Hugging Face Hub, or saved like them in a local folder, through the `datasets` library.

A pinned revision is demanded: a branch name can mean other rows tomorrow. Columns are mapped to our names by the
caller. Ids may be whole numbers and become text. A missing column, a loading script, an unknown split or no network
is one `DataError` with a way out; a faulty row is named by its number, counted from 0.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

from mpr.errors import DataError, excerpt, nearest
from mpr.formats import tevatron
from mpr.formats.tables import row_line
from mpr.formats.trec import SeenPairs
from mpr.records import Group, Judgement, Passage, Question
from mpr.storage.json_fields import Fields, IdOrNumber, Text
from mpr.storage.lines import Ids, Line

log = logging.getLogger(__name__)
_COMMIT = re.compile(r"[0-9a-f]{40}")


class _Passage(Fields):
    id: IdOrNumber
    text: Text
    title: Text | None = None


class _Question(Fields):
    id: IdOrNumber
    text: Text
    answers: list[Text] | None = None
    regex: bool = False


class _Judgement(Fields):
    question: IdOrNumber
    passage: IdOrNumber
    grade: int


class Location(TypedDict, total=False):
    """Where the rows are. `draft` allows a revision that is not a commit, and local folders."""

    config: str | None
    split: str
    revision: str | None
    streaming: bool
    draft: bool


def read_rows(
    repo_or_path: str,
    *,
    config: str | None = None,
    split: str = "train",
    revision: str | None = None,
    columns: Mapping[str, str] | None = None,
    streaming: bool = False,
    draft: bool = False,
) -> Iterator[tuple[Line, dict[str, Any]]]:
    """Each row with its place. `columns` maps our names to those of the data set; without it every column is kept.

    `streaming` reads over the network row by row and stores nothing.
    """
    if not draft and not _COMMIT.fullmatch(revision or ""):
        what = f"revision {excerpt(str(revision))} is not a commit"
        raise DataError(what, where=repo_or_path, key="revision", fix="give the 40 digits of a commit, or draft: true")
    place = f"{repo_or_path}{f'@{revision}' if revision else ''} {config or ''}".strip() + f" [{split}]"
    rows = _loaded(repo_or_path, place, config, split, revision, streaming)
    present = list(rows.column_names or rows.features or ())
    if columns is not None:
        missing = {theirs: ours for ours, theirs in columns.items() if theirs not in present}
        if missing:
            named = (f"{theirs} (for {ours}) {nearest(theirs, present)}".strip() for theirs, ours in missing.items())
            what, fix = f"has no column {'; '.join(named)}", f"columns present: {', '.join(present)}"
            raise DataError(what, where=place, key="columns", fix=fix)
        rows = rows.select_columns(sorted(set(columns.values())))
    number = 0
    try:
        for number, row in enumerate(rows):
            found = row if columns is None else {ours: row[theirs] for ours, theirs in columns.items()}
            yield row_line(place, number, found), found
    except OSError as error:
        raise DataError(f"row cannot be read: {error}", where=f"{place}:{number}", fix="check the network") from error


def _loaded(repo: str, place: str, config: str | None, split: str, revision: str | None, streaming: bool) -> Any:
    import datasets
    from datasets.exceptions import DatasetsError

    has_bars = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()  # ours counts the rows as they are read
    if not Path(repo).exists():
        log.info("%s: what is not on this machine yet is downloaded", place)
    try:
        if is_saved(repo):
            saved = datasets.load_from_disk(repo)
            return saved[split] if isinstance(saved, datasets.DatasetDict) else saved
        return datasets.load_dataset(repo, config, split=split, revision=revision, streaming=streaming)
    except RuntimeError as error:
        if "script" not in str(error):
            raise
        fix = "name the raw files (a data set folder with JSONL or Parquet), or the commit of refs/convert/parquet"
        raise DataError("is made by a loading script, which is not run", where=place, fix=fix) from error
    except ConnectionError as error:
        fix = "connect, or put the data set into the local cache first"
        raise DataError(f"cannot be reached: {_first_line(error)}", where=place, fix=fix) from error
    except StopIteration:
        raise DataError("has a file without rows", where=place, fix="remove the file, or get it again") from None
    except KeyError:
        fix = f"{nearest(split, saved)} splits: {', '.join(saved)}".strip()
        raise DataError(f"has no split '{split}'", where=repo, key="split", fix=fix) from None
    except (DatasetsError, OSError, ValueError) as error:
        fix = "check name, config, split and revision"
        raise DataError(f"cannot be loaded: {_first_line(error)}", where=place, fix=fix) from error
    finally:
        if has_bars:
            datasets.enable_progress_bars()


def is_saved(folder: str | os.PathLike[str]) -> bool:
    """Whether `save_to_disk` wrote it, as one data set or as several splits."""
    return any((Path(folder) / name).is_file() for name in ("state.json", "dataset_dict.json"))


def first_rows(folder: str | os.PathLike[str], split: str, count: int) -> list[tuple[Line, dict[str, Any]]]:
    """Of a saved data set, without the `datasets` library: as many as there are in its first batch, one at least."""
    import pyarrow as pa

    place = Path(folder) if (Path(folder) / "state.json").is_file() else Path(folder) / split
    try:
        files = json.loads((place / "state.json").read_bytes())["_data_files"]
        with pa.memory_map(str(place / files[0]["filename"])) as file:
            rows = pa.ipc.open_stream(file).read_next_batch().slice(0, count).to_pylist()
        rows[0]
    except (OSError, ValueError, LookupError, TypeError, StopIteration, pa.ArrowException) as error:
        what = f"cannot be read as a saved data set: {_first_line(error)}"
        raise DataError(what, where=str(place), fix="save it again with save_to_disk, and check the split") from error
    return [(row_line(str(place), number, row), row) for number, row in enumerate(rows)]


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def read_passages(
    repo_or_path: str, columns: Mapping[str, str] | None = None, **place: Unpack[Location]
) -> Iterator[Passage]:
    """`columns`: `id`, `text` and, if there is one, `title`. Duplicate ids are left to the store."""
    columns = {"id": "id", "text": "text", "title": "title"} if columns is None else columns
    for line, row in read_rows(repo_or_path, columns=columns, **place):
        found = _Passage.of(row, line)
        yield Passage(found.id, found.text, found.title or "")


def read_questions(
    repo_or_path: str, columns: Mapping[str, str] | None = None, regex: bool = False, **place: Unpack[Location]
) -> Iterator[Question]:
    """`columns`: `id`, `text` and, if there are any, `answers`. `regex`: the answers are patterns."""
    columns = {"id": "id", "text": "question", "answers": "answers"} if columns is None else columns
    ids = Ids()
    for line, row in read_rows(repo_or_path, columns=columns, **place):
        found = _Question.of(row, line)
        ids.add(line, found.id)
        yield Question(found.id, found.text, tuple(found.answers or ()), regex)


def read_judgements(
    repo_or_path: str, columns: Mapping[str, str] | None = None, **place: Unpack[Location]
) -> Iterator[Judgement]:
    """`columns`: `question`, `passage`, `grade`; by default those of BEIR's qrels."""
    columns = {"question": "query-id", "passage": "corpus-id", "grade": "score"} if columns is None else columns
    pairs = SeenPairs()
    for line, row in read_rows(repo_or_path, columns=columns, **place):
        found = _Judgement.of(row, line)
        pairs.add(line, found.question, found.passage)
        yield Judgement(found.question, found.passage, found.grade)


def read_groups(
    repo_or_path: str, labels: tevatron.Labels | None = None, ignore: Sequence[str] = (), **place: Unpack[Location]
) -> Iterator[Group]:
    """Rows in either of Tevatron's forms, which most data sets with several positives follow."""
    ids = Ids()
    for line, row in read_rows(repo_or_path, **place):
        made = tevatron.group(line, row, "positive_passages" in row, labels or tevatron.Labels(), ignore)
        ids.add(line, made.question.id, "query_id")
        yield made
