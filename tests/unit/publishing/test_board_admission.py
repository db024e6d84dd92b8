"""What gets into the leaderboard, and everything that does not. Drafts are fault 23."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mpr.errors import DataError, StorageError
from mpr.publishing import _board, _board_verdicts, board_entries, board_lock
from mpr.rows.result import Result, questions_digest
from tests import boards
from tests.conftest import Examined


@pytest.fixture
def root(tmp_path: Path) -> Path:
    boards.recipe(tmp_path / "tree", "row", "quickstart")
    return tmp_path / "tree"


def run(root: Path, system: str = "trained", seed: int = 42, quality: float = 0.5, **changes: Any) -> Path:
    number = len(list(root.parent.glob("run*")))
    return boards.run(root.parent / f"run{number}", root / "recipes" / "row.yaml", system, seed, quality, **changes)


def files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in _board.files(root)}


def test_a_run_is_copied_byte_for_byte(root: Path) -> None:
    made = {name: run(root, system, seed) for name, system, seed in
            (("trained-seed42", "trained", 42), ("trained-seed43", "trained", 43),
             ("untrained-seed42", "untrained", 42), ("bm25", "bm25", 42))}  # fmt: skip
    for folder in made.values():
        assert board_entries.add(root, folder)
        assert board_entries.add(root, folder) == [], "once more is nothing"
    digest = questions_digest(boards.QUESTIONS)
    assert files(root) == {
        **{f"leaderboard/results/row/{name}.json": (made[name] / "result.json").read_bytes() for name in made},
        f"leaderboard/questions/{digest[:12]}.txt": "".join(f"{name}\n" for name in boards.QUESTIONS).encode(),
    }
    row = _board.read(root).row("row")
    assert [len(row.of(system)) for system in ("trained", "untrained", "bm25")] == [2, 1, 1]
    assert not row.stale


def _environment(**code: Any) -> dict[str, Any]:
    return {**boards.ENVIRONMENT, "code": code}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "dirty code": ({"environment": _environment(commit=boards.COMMIT, dirty=True)}, "uncommitted changes"),
    "unsaid whether dirty": ({"environment": _environment(commit=boards.COMMIT)}, "uncommitted changes"),
    "no repository": ({"environment": _environment()}, "no known commit"),
    "short commit": ({"environment": _environment(commit="0123456", dirty=False)}, "no known commit"),
    "fallback": ({"fallback_blocks": 2}, "fell back to smaller batches 2 times"),
    "another m": ({"overrides": ["draw.positives.m=2"]}, "run with --set draw.positives.m"),
    "another rate": ({"overrides": ["training.learning_rate=0.01", "training.seed=42"]}, "training.learning_rate"),
    "draft by override": ({"overrides": ["draft=true"]}, "is a draft"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(root: Path, name: str) -> None:
    changes, why = REFUSED[name]
    with pytest.raises(DataError) as refused:
        board_entries.add(root, run(root, **changes))
    assert why in str(refused.value)
    assert refused.value.exit_code == 2
    assert not files(root)


def test_everything_that_is_wrong_is_said_at_once(root: Path) -> None:
    changes = {name: value for change, _ in REFUSED.values() for name, value in change.items()}
    with pytest.raises(DataError) as refused:
        board_entries.add(root, run(root, **{**changes, "overrides": ["draft=true"]}))
    assert len(refused.value.problems) == 4  # draft, commit, fallback, override


def _edit_recipe(root: Path, folder: Path) -> None:
    path = root / "recipes" / "row.yaml"
    path.write_text(path.read_text().replace("m: 4,", "m: 3,"))


def _another_split(root: Path, folder: Path) -> None:
    path = root / "recipes" / "row.yaml"
    text = path.read_text().replace("split: dev,", "split: dev_truth,")
    path.write_text(text.replace("evaluate: {test: test}", "evaluate: {test: test, more: dev}"))


def _rename(root: Path, folder: Path) -> None:
    (root / "recipes" / "row.yaml").rename(root / "recipes" / "other.yaml")


def _edit_result(root: Path, folder: Path) -> None:
    path = folder / "result.json"
    path.write_text(path.read_text().replace('"dirty": false', '"dirty": true'))


def _no_result(root: Path, folder: Path) -> None:
    (folder / "result.json").unlink()


def _other_scores(root: Path, folder: Path) -> None:
    other = run(root, quality=0.9)
    (folder / "scores").rename(folder / "old")
    (other / "scores").rename(folder / "scores")


def _edit_scores(root: Path, folder: Path) -> None:
    path = folder / "scores" / "test" / "scores.arrow"
    path.write_bytes(path.read_bytes().replace(b"q1", b"q2", 1))


@pytest.mark.parametrize(
    "spoil, error",
    [
        (_edit_recipe, "another recipe"), (_another_split, "evaluated on"), (_rename, "no recipe"),
        (_edit_result, "was edited"), (_no_result, "there is no result"), (_other_scores, "not what the result"),
        (_edit_scores, "checksum"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together(root: Path, spoil: Callable[[Path, Path], None], error: str) -> None:
    folder = run(root)
    spoil(root, folder)
    with pytest.raises((DataError, StorageError), match=error):
        board_entries.add(root, folder)
    assert not files(root)


def test_two_recipes_of_one_name(root: Path) -> None:
    boards.recipe(root, "mini/row", "quickstart")
    with pytest.raises(DataError, match="the name of 2 recipes"):
        board_entries.add(root, run(root))
    with pytest.raises(DataError, match="has the name of"):
        _board.read(root)


def test_another_result_of_the_same_seed(root: Path) -> None:
    first, second = run(root, quality=0.5), run(root, quality=0.6)
    board_entries.add(root, first)
    before = files(root)
    with pytest.raises(DataError, match="already there"):
        board_entries.add(root, second)
    assert files(root) == before
    assert len(board_entries.add(root, second, replace=True)) == 1
    assert _board.read(root).row("row").of("trained")[0].result.document == Result.of_run(second).document


def test_repeats_and_reproductions(root: Path) -> None:
    same, other = run(root, quality=0.5), run(root, quality=0.6)
    with pytest.raises(DataError, match="not measured yet"):
        board_entries.add(root, same, again="authors")
    board_entries.add(root, same)
    row = _board.read(root).row("row")
    assert (_board_verdicts.word(row), _board_verdicts.verdict(row)) == ("measured", _board_verdicts.NO_BAND)
    board_entries.add(root, same, again="authors")
    row = _board.read(root).row("row")
    assert (_board_verdicts.word(row), _board_verdicts.verdict(row)) == ("repeated", _board_verdicts.EXACT)
    board_entries.add(root, other, again="Jane_Doe")
    row = _board.read(root).row("row")
    assert _board_verdicts.word(row).startswith("reproduced by Jane_Doe (20")
    assert boards.COMMIT[:9] in _board_verdicts.word(row)
    assert _board_verdicts.verdict(row) == _board_verdicts.NO_BAND, "not the same values"
    assert len(row.of("trained")) == 1, "repeats are not counted as seeds"
    for name in ("a b", "../x", "a/b", "-x"):
        with pytest.raises(DataError, match="is no name"):
            board_entries.add(root, same, again=name)
    board_lock.build(root)
    assert "Jane_Doe" in (root / "leaderboard" / "README.md").read_text()


def test_checkpoint(root: Path) -> None:
    folder = run(root)
    for bad in ("owner/name", "owner/name@main", f"name@{boards.COMMIT}", f"../x@{boards.COMMIT}"):
        with pytest.raises(DataError, match="is no checkpoint"):
            board_entries.add(root, folder, checkpoint=bad)
    board_entries.add(root, folder, checkpoint=f"owner/name@{boards.COMMIT}")
    board_lock.build(root)
    link = f"[owner/name](https://huggingface.co/owner/name/tree/{boards.COMMIT})"
    assert link in (root / "leaderboard" / "README.md").read_text()


def test_failures(root: Path) -> None:
    path = root / "recipes" / "row.yaml"
    for bad in ("short", "long " * 50, "see /home/somebody/log.txt"):
        with pytest.raises(DataError, match="is no reason"):
            board_entries.fail(root, path, bad)
    board_entries.fail(root, path, "loss not finite at update 20, on two cores")
    row = _board.read(root).row("row")
    assert _board_verdicts.verdict(row) == "failed: loss not finite at update 20, on two cores"
    board_lock.build(root)
    assert _board_verdicts.verdict(row) in (root / "leaderboard" / "README.md").read_text()
    _edit_recipe(root, path)
    assert _board_verdicts.verdict(_board.read(root).row("row")) == _board_verdicts.STALE


def test_strangers_in_the_folder_are_refused(root: Path, examined: Examined) -> None:
    board_entries.add(root, run(root))
    results = root / "leaderboard" / "results"
    data = (results / "row" / "trained-seed42.json").read_bytes()
    places = ("row/trained-seed43.json", "row/again/trained-seed42.json", "row/again/x/trained-seed42.json",
              "row/note.json", "row/deep/er/trained-seed42.json", "stranger/trained-seed42.json")  # fmt: skip
    for place in places:
        path = results / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        with pytest.raises(DataError):
            _board.read(root)
        path.unlink()
        if not any(path.parent.iterdir()) and path.parent.name == "stranger":
            path.parent.rmdir()
    assert _board.read(root).rows
    examined(len(places), "places where no result belongs", at_least=5)
