"""Transcripts: what a writer has answered, kept so that nothing is asked twice.

An answer is found by its key: the digest of who is asked and of the whole prompt, hence of the model, the version of the
prompt, the question and the passage. Answers are committed as they come in, each arrival a small store; 64 of a level
become one of the next, so that a million answers lie in a few dozen stores. A process that is killed loses the requests
that were under way. A transcript is memory, not a result: results are written in the order of what was asked
(`mpr/judge.py` and others), the same whenever and in how many attempts the answers came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mpr import storage
from mpr.errors import DataError
from mpr.fields import Fields, flag, json_text, read_objects
from mpr.lines import write_lines
from mpr.records import text_problem

KIND = "answers"
FILE = "answers.jsonl"
WIDTH = 64  # stores of a level that become one of the next
_PART = re.compile(r"(\d+)-(\d+)")
_ANSWER = Fields({"key": text_problem, "text": text_problem, "model": text_problem, "cut": flag})


@dataclass(frozen=True, slots=True)
class Reply:
    """What was said; by whom, as far as the server tells; and whether the longest answer was reached."""

    text: str
    model: str = ""
    cut: bool = False


Answered = tuple[int, Reply]  # the place of the prompt


class Writer(Protocol):
    """Something that answers prompts: `mpr/chat.py`, `mpr/text_model.py`."""

    @property
    def origin(self) -> dict[str, Any]:
        """What the answers depend on."""

    def __call__(self, prompts: Sequence[str]) -> Iterator[list[Answered]]:
        """The answers in the order in which they come, as many at a time as come together."""


class Transcript:
    """The answers of one writer under a folder, for its one holder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._replies = folder, dict[str, Reply]()
        for part in self._parts():
            storage.verify(part, KIND)
            self._replies |= _read(part)

    @classmethod
    def of(cls, home: Path, origin: dict[str, Any]) -> Transcript:
        """Where a writer's answers are."""
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", str(origin["model"])).strip(".-")[:60] or "writer"
        return cls(home / "answers" / f"{name}-{storage.json_digest(origin)[:12]}")

    def __len__(self) -> int:
        return len(self._replies)

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
        lines = (
            json_text({"key": key, "text": reply.text, "model": reply.model, "cut": reply.cut})
            for key, reply in replies.items()
        )
        target = self.folder / f"{level}-{number}"
        with storage.stage(target, KIND, {"answers": len(replies)}) as stage, stage.open(FILE) as file:
            write_lines(file, lines)

    def _parts(self) -> list[Path]:
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted((part for part in found if _PART.fullmatch(part.name)), key=_place)


def _place(part: Path) -> tuple[int, int]:
    level, number = part.name.split("-")
    return int(level), int(number)


def _read(part: Path) -> dict[str, Reply]:
    found = (entry for _, entry in read_objects(part / FILE, _ANSWER))
    return {entry["key"]: Reply(entry["text"], entry["model"], entry["cut"]) for entry in found}


def key_of(origin: dict[str, Any], prompt: str) -> str:
    """Under which an answer is kept."""
    return storage.json_digest({"writer": origin, "prompt": prompt})


Bar = Callable[[str, int], AbstractContextManager[Callable[[int], object]]]


def answers(writer: Writer, prompts: Sequence[str], home: Path, bar: Bar) -> list[Reply]:
    """An answer to each prompt, in their order; asked is what was never answered, each prompt once."""
    origin = writer.origin
    keys = [key_of(origin, prompt) for prompt in prompts]
    folder = Transcript.of(home, origin).folder
    with storage.lock(folder.with_name(f".{folder.name}.asking")), bar("asking", len(prompts)) as progress:
        known = Transcript(folder)  # only now is nobody else adding to it
        open_ = list({key: place for place, key in reversed([*enumerate(keys)]) if known.get(key) is None}.values())
        open_.sort()
        progress(len(prompts) - len(open_))
        for arrived in writer([prompts[place] for place in open_]):
            known.keep({keys[open_[place]]: reply for place, reply in arrived})
            progress(len(arrived))
        found = [known.get(key) for key in keys]
    replies = [reply for reply in found if reply is not None]
    if len(replies) != len(prompts):
        what = f"left {len(prompts) - len(replies):,} of {len(prompts):,} prompts without an answer"
        raise DataError(what, key=str(origin["model"]), fix="run the same command again")
    return replies
