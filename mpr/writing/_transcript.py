"""Transcripts: what a writer has answered, kept so that nothing is asked twice.

An answer is found by its key: the digest of the writer and of the whole prompt, hence of the model, the version of the
prompt, the question and the passage. Answers are committed as they arrive, each time as a small store; 64 stores of a
level become one of the next, so that a million answers are in a few dozen stores. A process that is killed loses the
requests that were under way. A transcript is a cache, not a result: results are written in the order of the prompts
(`mpr/writing/judge.py` and others), whenever the answers came.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from mpr import storage
from mpr.errors import DataError, excerpt
from mpr.runtime.progress import Bar
from mpr.storage.json_fields import Fields, Text, json_text, read_objects
from mpr.storage.lines import write_lines

KIND = "answers"
FILE = "answers.jsonl"
_CHUNK = 8_192  # prompts held at once
WIDTH = 64  # stores of a level that become one of the next
_PART = re.compile(r"(\d+)-(\d+)")


class _Answer(Fields):
    key: Text
    text: Text
    model: Text
    cut: bool


@dataclass(frozen=True, slots=True)
class Reply:
    """What was said; by whom, as far as the server tells; and whether the longest answer was reached."""

    text: str
    model: str = ""
    cut: bool = False


Answered = tuple[int, Reply]  # the place of the prompt


class Writer(Protocol):
    """Something that answers prompts: `mpr/writing/_chat.py`, `mpr/writing/_text_model.py`."""

    @property
    def origin(self) -> dict[str, Any]:
        """What the answers depend on."""

    def __call__(self, prompts: Sequence[str]) -> Iterator[list[Answered]]:
        """The answers in the order in which they come, as many at a time as come together."""


class Transcript:
    """The answers of one writer under a folder, for its one holder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._replies = folder, dict[str, Reply]()
        parts = self._parts()
        for part in parts:
            if not (part / storage.MANIFEST).exists() and _place(part)[0] < _place(parts[-1])[0]:
                storage.remove(part)  # killed while it was removed: its answers lie in a store of a higher level
            else:
                storage.verify(part, KIND)
                self._replies |= _read(part)

    def get(self, key: str) -> Reply | None:
        return self._replies.get(key)

    def keep(self, replies: dict[str, Reply]) -> None:
        """Commits what has come in."""
        self._write(0, replies)
        self._replies |= replies
        level = 0
        while len(parts := [part for part in self._parts() if _place(part)[0] == level]) >= WIDTH:
            merged: dict[str, Reply] = {}
            for part in parts:
                merged |= _read(part)
            self._write(level + 1, merged)
            for part in parts:  # killed in between, the same answers lie there twice: no harm
                storage.remove(part)
            level += 1

    def _write(self, level: int, replies: dict[str, Reply]) -> None:
        number = 1 + max((_place(part)[1] for part in self._parts()), default=0)
        commit(self.folder / f"{level}-{number}", replies)

    def _parts(self) -> list[Path]:
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted((part for part in found if _PART.fullmatch(part.name)), key=_place)


def commit(target: Path, replies: Mapping[str, Reply]) -> None:
    """One store of answers, under their keys."""
    lines = (
        json_text({"key": key, "text": reply.text, "model": reply.model, "cut": reply.cut})
        for key, reply in replies.items()
    )
    with storage.stage(target, KIND, {"answers": len(replies)}) as stage, stage.open(FILE) as file:
        write_lines(file, lines)


def _place(part: Path) -> tuple[int, int]:
    level, number = part.name.split("-")
    return int(level), int(number)


def _read(part: Path) -> dict[str, Reply]:
    found = (entry for _, entry in read_objects(part / FILE, _Answer))
    return {entry.key: Reply(entry.text, entry.model, entry.cut) for entry in found}


def place(home: Path, origin: dict[str, Any]) -> Path:
    """Where a writer's answers are."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", str(origin["model"])).strip(".-")[:60] or "writer"
    return home / "answers" / f"{name}-{storage.json_digest(origin)[:12]}"


def key_of(origin: dict[str, Any], prompt: str) -> str:
    """Under which an answer is kept."""
    return storage.json_digest({"writer": origin, "prompt": prompt})


def answers(writer: Writer, prompts: Iterable[str], count: int, home: Path, bar: Bar) -> Generator[Reply]:
    """An answer to each prompt, in their order; asked is what was never answered, each prompt once."""
    origin = writer.origin
    folder = place(home, origin)
    asking = folder.with_name(f".{folder.name}.asking")
    with storage.lock(asking, storage.patience()), bar("asking", count) as progress:
        known = Transcript(folder)  # under the lock: nobody else adds to it now
        stream = iter(prompts)
        while chunk := list(islice(stream, _CHUNK)):
            keys = [key_of(origin, prompt) for prompt in chunk]
            first: dict[str, int] = {}
            for number, key in enumerate(keys):
                if known.get(key) is None:
                    first.setdefault(key, number)
            open_ = list(first.values())
            progress(len(chunk) - len(open_))
            for arrived in writer([chunk[row] for row in open_]):
                known.keep({keys[open_[turn]]: reply for turn, reply in arrived})
                progress(len(arrived))
            replies = [reply for reply in map(known.get, keys) if reply is not None]
            if len(replies) != len(chunk):
                what = f"left {len(chunk) - len(replies):,} of {len(chunk):,} prompts without an answer"
                raise DataError(what, key=str(origin["model"]), fix="run the same command again")
            yield from replies


def same(target: Path, kind: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The receipt of a result that is there already, if it is what would be made."""
    receipt = storage.verify(target, kind).receipt
    for name, value in wanted.items():
        if receipt.get(name) != value:
            what = f"was made otherwise: {name} was {excerpt(str(receipt.get(name)))}, now {excerpt(str(value))}"
            raise DataError(what, where=str(target), fix="name another place with --to")
    return receipt
