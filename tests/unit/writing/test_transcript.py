"""Transcripts: nothing that was answered is asked again, whatever breaks, and in whatever stores it lies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mpr import storage
from mpr.errors import DataError, StorageError
from mpr.writing import _transcript
from mpr.writing._transcript import Answered, Reply
from tests.conftest import Examined
from tests.unit.grounds import silent


class Small:
    """Answers with the prompt in capitals, `together` at a time, and breaks after so many."""

    def __init__(self, together: int = 1, after: int | None = None, model: str = "small/1") -> None:
        self.together, self.after, self.model, self.asked = together, after, model, list[str]()

    @property
    def origin(self) -> dict[str, Any]:
        return {"model": self.model}

    def __call__(self, prompts: Sequence[str]) -> Iterator[list[Answered]]:
        for start in range(0, len(prompts), self.together):
            if self.after is not None and len(self.asked) >= self.after:
                raise DataError("broken")
            some = prompts[start : start + self.together]
            self.asked += some
            yield [(start + place, Reply(prompt.upper(), "m", len(prompt) > 3)) for place, prompt in enumerate(some)]


def asked(writer: Small, prompts: Sequence[str], home: Path) -> list[Reply]:
    with closing(_transcript.answers(writer, prompts, len(prompts), home, silent)) as replies:
        return list(replies)


@pytest.mark.parametrize("together", [1, 3])
def test_broken_at_any_point_and_run_again(tmp_path: Path, together: int, examined: Examined) -> None:
    prompts = ["a", "b", "a", "long", "c", "b", "d"]
    expected = [Reply(prompt.upper(), "m", prompt == "long") for prompt in prompts]
    broke = 0
    for after in range(6):
        home = tmp_path / str(after)
        first, second, third = Small(together, after), Small(together), Small(together)
        try:
            asked(first, prompts, home)
        except DataError:
            assert len(first.asked) < len(set(prompts))
            broke += 1
        assert asked(second, prompts, home) == expected
        assert sorted(first.asked + second.asked) == sorted(set(prompts))  # each once
        assert asked(third, prompts, home) == expected
        assert third.asked == []
    examined(broke, "points at which it broke", at_least=4)


def test_another_model_is_asked_anew(tmp_path: Path) -> None:
    asked(Small(), ["a"], tmp_path)
    other = Small(model="small/2")
    asked(other, ["a", "b"], tmp_path)
    assert other.asked == ["a", "b"]
    assert _transcript.key_of({"model": "x"}, "a") != _transcript.key_of({"model": "y"}, "a")


def test_many_answers_lie_in_few_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_transcript, "WIDTH", 4)
    monkeypatch.setattr(_transcript, "_CHUNK", 10)
    prompts = [f"prompt {number}" for number in range(39)]
    writer = Small()
    expected = asked(writer, prompts, tmp_path)
    folder = _transcript.place(tmp_path, writer.origin)
    levels = sorted(part.name.partition("-")[0] for part in folder.iterdir() if part.is_dir())
    assert levels == ["0", "0", "0", "1", "2", "2"]  # 39 = 2 * 16 + 4 + 3
    again = Small(together=5)
    assert asked(again, prompts, tmp_path) == expected
    assert again.asked == []


@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_broken_at_an_operation_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stride: int, examined: Examined
) -> None:
    """Stores are put together on the way, and what is left of a removal is no damage."""
    monkeypatch.setattr(_transcript, "WIDTH", 2)
    tries, prompts = 0, ["0", "1", "2"]
    for at in range(1, 200, stride):
        home, count = tmp_path / str(at), 0

        def hook(operation: str, path: Path, at: int = at) -> None:
            nonlocal count
            count += 1
            if count == at:
                raise OSError(5, "broken")

        first, second = Small(), Small()
        monkeypatch.setattr(storage, "hook", hook)
        try:
            asked(first, prompts, home)
            whole = True
        except StorageError:
            whole = False
        monkeypatch.setattr(storage, "hook", lambda operation, path: None)
        assert [reply.text for reply in asked(second, prompts, home)] == prompts
        assert len(first.asked) + len(second.asked) <= len(prompts) + 1  # what was not committed when it broke
        tries += 1
        if whole and count < at:  # nothing is left to break
            break
    examined(tries, "operations that broke", at_least=50 // stride)


def test_one_at_a_time_and_damage_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "waits", False)
    writer = Small()
    with closing(_transcript.answers(writer, ["a", "b"], 2, tmp_path, silent)) as replies:
        next(replies)
        with pytest.raises(StorageError, match="is in use"):
            asked(writer, ["a"], tmp_path)
    folder = _transcript.place(tmp_path, writer.origin)
    path = folder / "0-1" / _transcript.FILE
    path.write_bytes(path.read_bytes().replace(b'"A"', b'"B"'))
    with pytest.raises(StorageError, match="0-1"):
        asked(writer, ["a"], tmp_path)


def test_what_is_left_of_a_removal_is_no_damage(tmp_path: Path) -> None:
    """Killed between the manifest and the rest; without a store of a higher level it is damage."""
    writer = Small()
    folder = _transcript.place(tmp_path, writer.origin)
    _transcript.commit(folder / "1-2", {_transcript.key_of(writer.origin, "a"): Reply("A", "m")})
    (folder / "0-1").mkdir()
    (folder / "0-1" / _transcript.FILE).write_bytes(b"")
    assert asked(writer, ["a"], tmp_path) == [Reply("A", "m")]
    assert (writer.asked, (folder / "0-1").exists()) == ([], False)
    (folder / "1-2" / storage.MANIFEST).unlink()
    with pytest.raises(StorageError, match="has no manifest"):
        asked(writer, ["a"], tmp_path)


def test_a_result_that_is_there_must_be_the_same(tmp_path: Path) -> None:
    with storage.stage(tmp_path / "it", "kind", {"prompt": "a", "more": 1}):
        pass
    assert _transcript.same(tmp_path / "it", "kind", {"prompt": "a"})["more"] == 1
    with pytest.raises(DataError, match="was made otherwise: prompt was 'a', now 'b'"):
        _transcript.same(tmp_path / "it", "kind", {"prompt": "b"})
