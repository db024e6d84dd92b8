"""Who a process is, and what one says for all. Whole groups are in tests/e2e/test_launch.py."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from mpr.errors import Interrupted, RecipeError, StorageError
from mpr.runtime.processes import EndedElsewhere, Group, Place, joined, refuse_other_disk
from tests.conftest import Examined

pytestmark = pytest.mark.small

LAUNCHERS = [
    ({}, Place(0, 1, 0, 1)),
    ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, Place(3, 4, 1, 2)),
    ({"RANK": "1", "WORLD_SIZE": "2"}, Place(1, 2, 1, 2)),
]


class Store:
    """Keys in memory, as several groups of one test see them."""

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}

    def check(self, keys: list[str]) -> bool:
        return all(key in self.keys for key in keys)

    def set(self, key: str, value: str) -> None:
        self.keys[key] = value

    def get(self, key: str) -> bytes:
        return self.keys[key].encode()

    def compare_set(self, key: str, expected: str, value: str) -> bytes:
        return self.keys.setdefault(key, value).encode()


def test_a_process_is_who_the_launcher_says(monkeypatch: pytest.MonkeyPatch, examined: Examined) -> None:
    for environment, expected in LAUNCHERS:
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert Place.here() == expected
    examined(len(LAUNCHERS), "launchers")


def test_what_every_process_finds_out_is_said_once_a_machine() -> None:
    with pytest.raises(RecipeError, match="wrong"), Place(2, 4, 0, 2).speaking_once():
        raise RecipeError("wrong")
    with pytest.raises(EndedElsewhere) as ended, Place(3, 4, 1, 2).speaking_once():
        raise RecipeError("wrong")
    assert ended.value.exit_code == 2


def test_the_first_error_is_blamed_and_the_others_take_its_code() -> None:
    store = Store()
    groups = [Group(Place(rank, 3, rank, 3), store) for rank in range(3)]
    first, second = StorageError("full"), RecipeError("another")
    assert groups[1].blamed(first) is first
    for group in (groups[0], groups[2]):
        blamed = group.blamed(second)
        assert isinstance(blamed, EndedElsewhere)
        assert blamed.exit_code == StorageError.exit_code


def test_those_who_wait_for_the_first_are_told_of_its_answer_or_its_end() -> None:
    store = Store()
    first, second = (Group(Place(rank, 2, rank, 2), store) for rank in range(2))
    assert first.first(lambda: {"answer": 42}) == {"answer": 42}
    assert second.first(lambda: pytest.fail("only the first process acts")) == {"answer": 42}
    first.blamed(StorageError("locked"))
    with pytest.raises(EndedElsewhere) as ended:
        second.first(lambda: None)
    assert ended.value.exit_code == 4


def test_a_broken_connection_and_a_second_request_are_put_in_words() -> None:
    torn = RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1")
    for error, words in ((torn, "was killed, or its machine is lost"), (KeyboardInterrupt(), "ended at once")):
        blamed = Group(Place(0, 2, 0, 2), Store()).blamed(error)
        assert isinstance(blamed, Interrupted)
        assert words in str(blamed)
    bug = RuntimeError("size mismatch")
    assert Group(Place(0, 2, 0, 2), Store()).blamed(bug) is bug


def test_one_process_needs_nobody(tmp_path: Path) -> None:
    with joined(Place(0, 1, 0, 1)) as group:
        assert group.first(lambda: 7) == 7
    with pytest.raises(RecipeError, match="wrong"), joined(Place(0, 1, 0, 1)):
        raise RecipeError("wrong")
    refuse_other_disk(Place(1, 2, 1, 2), tmp_path, True)
    with pytest.raises(StorageError, match="process 1 does not see what process 0 wrote"):
        refuse_other_disk(Place(1, 2, 1, 2), tmp_path / "elsewhere", False)


def test_all_wait_for_all_by_the_store() -> None:
    """No collective, so no clock of one: the last to come frees the others, or its error ends them."""
    store = Store()
    first, second = (Group(Place(rank, 2, rank, 2), store) for rank in range(2))
    here: list[int] = []
    waiting = threading.Thread(target=lambda: (first.wait(), here.append(0)))
    waiting.start()
    assert here == []
    second.wait()
    waiting.join(timeout=60)
    assert here == [0]
    second.blamed(StorageError("full"))
    with pytest.raises(EndedElsewhere) as ended:
        first.wait()
    assert ended.value.exit_code == 4
    Group(Place()).wait()
