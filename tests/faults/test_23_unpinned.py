"""Fault 23: an input that nobody pinned. It is refused unless the recipe says `draft: true`, and a draft never becomes
a row, by whatever door it tries to come in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mpr import storage
from mpr.errors import DataError, RecipeError
from mpr.publishing import _board, board_entries, board_lock
from mpr.recipe import lock, read
from mpr.rows.result import FILE, Result
from tests import boards, shipped
from tests.conftest import Examined

DRAFTS = [name for name, recipe in shipped.recipes().items() if recipe.draft]
SHA256 = "0123456789abcdef" * 4

# What replaces the quickstart's own encoder or collection, and what is then not pinned.
_TOWERS = "  new: {layers: 1, width: 256, heads: 4, feed_forward: 512, vocabulary: 4000}\n"
_CORPUS = (
    "  corpus: {name: invented_world} # places, people, works and events; each fact stated in one to six passages\n"
)
_LOCAL = (
    "  corpus: {{name: local, folder: data, passages: {{file: passages.tsv, format: dpr_tsv{passages}}}, splits: {{"
    "train: {{file: train.json, format: dpr_json{train}}}, test: {{file: test.tsv, format: dpr_qa{test}}}, "
    "dev: {{file: dev.json, format: dpr_json{dev}}}}}}}\n"
)
_SUM = f', sha256: "{SHA256}"'
UNPINNED = {
    "no revision": (_TOWERS, "  base: google-bert/bert-base-uncased\n"),
    "a folder": (_TOWERS, "  base: {folder}\n  revision: null\n"),
    "passages without a checksum": (_CORPUS, _LOCAL.format(passages="", train=_SUM, test=_SUM, dev=_SUM)),
    "a split without a checksum": (_CORPUS, _LOCAL.format(passages=_SUM, train=_SUM, test="", dev=_SUM)),
}
NEVER = {  # not even in a draft
    "a branch": (_TOWERS, '  base: google-bert/bert-base-uncased\n  revision: "main"\n'),
    "a short commit": (_TOWERS, '  base: google-bert/bert-base-uncased\n  revision: "86b5e09"\n'),
}


def text(name: str, folder: Path, draft: bool) -> str:
    old, new = {**UNPINNED, **NEVER}[name]
    made = shipped.text("quickstart")
    assert made.count(old) == 1
    made = made.replace(old, new.replace("{folder}", json.dumps(str(folder))))
    return made.replace("varies: []\n", "varies: []\ndraft: true\n") if draft else made


def attempt(root: Path, path: Path, name: str, **changes: Any) -> DataError:
    """Publishing a run of the recipe, which must leave nothing."""
    system = read.load(path).system
    folder = boards.run(root.parent / name.replace(" ", "-").replace("/", "-"), path, system, 42, 0.5, **changes)
    with pytest.raises(DataError) as refused:
        board_entries.add(root, folder)
    assert not list(_board.files(root))
    return refused.value


@pytest.mark.parametrize("name", UNPINNED)
def test_allowed_only_in_a_draft_which_never_becomes_a_row(tmp_path: Path, name: str) -> None:
    root = tmp_path / "tree"
    path = root / "recipes" / "row.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text(name, tmp_path, draft=False))
    with pytest.raises(RecipeError, match="set draft: true"):
        read.load(path)
    path.write_text(text(name, tmp_path, draft=True))
    assert read.load(path).draft
    assert "is a draft" in str(attempt(root, path, "run"))


@pytest.mark.parametrize("name", NEVER)
def test_refused_even_in_a_draft(tmp_path: Path, name: str) -> None:
    path = tmp_path / "row.yaml"
    path.write_text(text(name, tmp_path, draft=True))
    with pytest.raises(RecipeError, match=r"row\.yaml:\d+ towers\.revision: must match"):
        read.load(path)


def test_no_shipped_draft_becomes_a_row(tmp_path: Path, examined: Examined) -> None:
    root = tmp_path / "tree"
    for number, name in enumerate(DRAFTS):
        path = boards.recipe(root, name, name)
        role = next(iter(shipped.recipes()[name].data.evaluate))
        if role == "test":  # the run of a board has one evaluation of that name
            assert "is a draft" in str(attempt(root, path, f"run{number}"))
        refused = list(board_entries.objections(_result(tmp_path / f"other{number}", path), path))
        assert any(problem.key == "draft" for problem in refused)
        with pytest.raises(RecipeError, match="draft"):
            read.load(path, ["draft=false"])
    examined(len(DRAFTS), "shipped drafts", at_least=15)


def _result(folder: Path, path: Path) -> Result:
    return Result.of_run(boards.run(folder, path, read.load(path).system, 42, 0.5))


def test_other_doors(tmp_path: Path, examined: Examined) -> None:
    """Each system; a draft that was pinned after the run; a run that lies about it; `--replace` and `--again`."""
    root, tried = tmp_path / "tree", 0
    path = boards.recipe(root, "row", "quickstart", old="varies: []\n", new="varies: []\ndraft: true\n")
    runs = [boards.run(tmp_path / system, path, system, 42, 0.5) for system in ("trained", "untrained", "bm25")]
    pinned = path.read_text().replace("draft: true\n", "")
    for recipe in (path.read_text(), pinned):  # dropping the word later does not pin what ran
        path.write_text(recipe)
        for run in (*runs, *_lies(tmp_path, runs)):
            for ways in ({}, {"replace": True}, {"again": "authors"}):
                with pytest.raises(DataError, match="was edited" if run.name == "lie0" else "is a draft"):
                    board_entries.add(root, run, **ways)  # type: ignore[arg-type]
                tried += 1
    assert not list(_board.files(root))
    examined(tried, "attempts", at_least=30)


def test_a_recipe_that_becomes_a_draft_loses_its_place(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    path = boards.recipe(root, "row", "quickstart")
    runs = [boards.run(tmp_path / str(seed), path, "trained", seed, 0.5) for seed in (42, 43)]
    board_entries.add(root, runs[0])
    _board.read(root)
    path.write_text(path.read_text().replace("varies: []\n", "varies: []\ndraft: true\n"))
    with pytest.raises(DataError, match="is a draft"):
        board_entries.add(root, runs[1])
    with pytest.raises(DataError, match="is the result of a draft"):
        board_lock.build(root)


def _lies(folder: Path, runs: list[Path]) -> Iterator[Path]:
    """Results whose flag was turned without their digest, with a word that is not false, or taken out."""
    for number, flag in enumerate((False, 0, "")):
        document = json.loads((runs[0] / FILE).read_bytes())
        document["recipe"]["draft"] = flag
        if flag is not False:
            content = {name: value for name, value in document.items() if name != "digest"}
            document["digest"] = storage.json_digest(content)
        lie = folder / f"lie{number}"
        lie.mkdir(exist_ok=True)
        (lie / FILE).write_text(json.dumps(document))
        if not (lie / "scores").exists():
            (lie / "scores").symlink_to(runs[0] / "scores", target_is_directory=True)
        yield lie


# A lock, in which the maker of the recipe pins what nobody else does


def locked(root: Path, value: str = "1" * 40) -> Path:
    """A recipe in the tree whose base nobody but its lock pins."""
    path = root / "recipes" / "row.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text("no revision", root, draft=False))
    base = "google-bert/bert-base-uncased"
    content: dict[str, Any] = {"key": "towers.revision", "of": base, "commit": value, "from": f"https://hub/{base}"}
    path.with_suffix(".lock").write_bytes(lock.written([lock.LockedPin(**content)], "row"))
    return path


def test_a_locked_recipe_makes_rows_that_say_so(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    path = locked(root)
    run = boards.run(tmp_path / "run", path, "trained", 42, 0.5)
    said = Result.of_run(run).document["recipe"]
    assert (said["draft"], said["pinned by its maker"]) == (False, ["google-bert/bert-base-uncased"])
    board_entries.add(root, run)
    board_lock.build(root)
    board_lock.check(root)
    (line,) = [line for line in (root / "leaderboard/README.md").read_text().splitlines() if "row.yaml" in line]
    assert "(inputs pinned by their maker)" in line


def test_a_lock_cannot_change_under_a_row(tmp_path: Path, examined: Examined) -> None:
    """Another commit, a word of the origin, a lock that is gone, that came later, or that says nothing."""
    root = tmp_path / "tree"
    path = locked(root)
    pins = path.with_suffix(".lock")
    run = boards.run(tmp_path / "run", path, "trained", 42, 0.5)
    board_entries.add(root, run)
    board_lock.build(root)
    right = pins.read_bytes()
    edits = [right.replace(b"1" * 40, b"2" * 40), right.replace(b"https://hub/", b"https://elsewhere/"), None]
    for edit in edits:
        pins.unlink()
        if edit is not None:
            pins.write_bytes(edit)
        with pytest.raises(DataError, match=r"recipes/row.lock row row: (was edited|is missing)"):
            board_lock.check(root)
    with pytest.raises(RecipeError, match="is not pinned to a commit"):
        read.load(path)
    pins.write_bytes(edits[0])  # type: ignore[arg-type]
    for again in ({}, {"again": "authors"}):
        with pytest.raises(DataError, match=r"was made by another recipe than row\.yaml is now"):
            board_entries.add(root, run, **again)  # type: ignore[arg-type]
    pins.write_bytes(right)
    board_lock.check(root)
    other = boards.recipe(root, "other", "quickstart")
    board_entries.add(root, boards.run(tmp_path / "other", other, "trained", 42, 0.5))
    board_lock.build(root)
    other.with_suffix(".lock").write_bytes(lock.written([], "other"))
    with pytest.raises(DataError, match=r"recipes/other.lock row other: is new since"):
        board_lock.check(root)
    examined(len(edits) + 3, "changes of a lock", at_least=6)


def test_a_draft_stays_a_draft(tmp_path: Path) -> None:
    """A lock does not speak against the word of the recipe, and a run of before does not become a row by it."""
    root = tmp_path / "tree"
    path = locked(root)
    pins, right = path.with_suffix(".lock"), path.read_text()
    path.write_text(right.replace("varies: []\n", "varies: []\ndraft: true\n"))
    assert read.load(path).draft
    assert "is a draft" in str(attempt(root, path, "with-a-lock"))
    kept = pins.read_bytes()
    pins.unlink()
    run = boards.run(tmp_path / "before", path, "trained", 42, 0.5)
    path.write_text(right)
    pins.write_bytes(kept)
    with pytest.raises(DataError, match="is a draft"):
        board_entries.add(root, run)
