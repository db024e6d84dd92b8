"""Fault 24: a recipe, a band, a receipt or the page is edited after publication. One digit is enough to be found.

The board is a small one of invented numbers; the last test does the same to the leaderboard that ships.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpr.errors import MprError
from mpr.publishing import _board, board_lock
from mpr.recipe import reference
from tests import boards, shipped
from tests.conftest import Examined

MEASURES = ("top1", "top5", "top20", "top100")
EDITS = 5  # digits changed in each file, spread over it


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("board")
    root = boards.board(folder / "tree", folder / "runs")
    bands = ", ".join(f"{name}: {{mean: 62.5, low: 41.5, high: 83.25, seeds: 3}}" for name in MEASURES)
    expected = f"expected: {{{bands}}}"
    path = root / "recipes" / "mini" / "trec_joint_m4.yaml"
    path.write_text(path.read_text().replace("expected: null", expected))
    board_lock.build(root)
    return root


def published(root: Path) -> list[Path]:
    return [*reference.recipe_paths(root), *_board.files(root)]


def edits(data: bytes, count: int = EDITS) -> Iterator[bytes]:
    """The file with one digit changed, at places spread over it."""
    digits = [found.start() for found in re.finditer(rb"[0-9]", data)]
    chosen = sorted({digits[number * (len(digits) - 1) // max(count - 1, 1)] for number in range(count)})
    for place in chosen:
        yield data[:place] + str((int(data[place : place + 1]) + 1) % 10).encode() + data[place + 1 :]


def rows_of(root: Path, path: Path) -> set[str]:
    """Rows of which one must be named when this file was edited; empty: the file belongs to all of them."""
    place = path.relative_to(root)
    if place.parts[0] == "recipes":
        return {path.stem}
    if place.parts[1] == "results":
        return {place.parts[2]}
    if place.parts[1] == "questions":
        return {row.name for row in _board.read(root).rows if row.entries}
    return set()


def refusal(root: Path) -> MprError:
    with pytest.raises(MprError) as refused:
        board_lock.check(root)
    return refused.value


def test_every_edit_of_a_digit_is_caught(built: Path, examined: Examined) -> None:
    tried, kinds = 0, set()
    for path in published(built):
        data, rows = path.read_bytes(), rows_of(built, path)
        for edited in edits(data):
            path.write_bytes(edited)
            error = refusal(built)
            assert error.exit_code == 2
            assert path.name in str(error)
            assert "mpr leaderboard build" in str(error), "how to mend it"
            assert not rows or any(f"row {row}" in str(error) or f", {row}" in str(error) for row in rows)
            tried += 1
        path.write_bytes(data)
        kinds.add(path.suffix)
    board_lock.check(built)
    assert kinds == {".yaml", ".json", ".md", ".txt", ".svg"}
    examined(tried, f"changed digits in {len(published(built))} files", at_least=150)


def test_an_edited_number_of_the_page_names_its_row(built: Path, examined: Examined) -> None:
    page, named = built / "leaderboard" / "README.md", 0
    text = page.read_text()
    for line in text.splitlines():
        if line.startswith("| [") and (number := re.search(r"[0-9]+\.[0-9]{2}", line)):
            wrong = line.replace(number[0], f"{float(number[0]) + 1:.2f}", 1)
            page.write_text(text.replace(line, wrong))
            assert f"row {line.removeprefix('| [').partition(']')[0]}:" in str(refusal(built))
            named += 1
    page.write_text(text)
    board_lock.check(built)
    examined(named, "rows of the page", at_least=6)


@pytest.mark.parametrize(
    "old, new",
    [
        ("mean: 62.5", "mean: 62.6"), ("low: 41.5", "low: 40.5"), ("high: 83.25", "high: 93.25"),
        ("seeds: 3}", "seeds: 5}"), ("m: 4", "m: 3"), ("paper: null", "paper:  null"),
        ("# A row of our own", "# A row of others"),
    ],
)  # fmt: skip
def test_edited_recipe_names_its_row(built: Path, old: str, new: str) -> None:
    path = built / "recipes" / "mini" / "trec_joint_m4.yaml"
    data = path.read_text()
    assert old in data
    path.write_text(data.replace(old, new, 1))
    try:
        assert "row trec_joint_m4: was edited" in str(refusal(built))
    finally:
        path.write_text(data)


def test_whatever_is_added_removed_or_swapped_is_caught(built: Path, tmp_path: Path, examined: Examined) -> None:
    root, tried = Path(shutil.copytree(built, tmp_path / "tree")), 0
    for path in published(root):
        data = path.read_bytes()
        for spoilt in (data + b"\n", data[:-1], b""):
            path.write_bytes(spoilt)
            assert path.name in str(refusal(root))
            tried += 1
        path.unlink()
        assert path.name in str(refusal(root))
        path.write_bytes(data)
    for place in ("leaderboard/results/world/trained-seed45.json", "leaderboard/note.md", "recipes/mini/new.yaml",
                  "leaderboard/figures/more.svg"):  # fmt: skip
        (root / place).write_bytes(b"1")
        assert place.rpartition("/")[2] in (told := str(refusal(root)))
        assert "is new since" in told
        (root / place).unlink()
    one, two = (root / "leaderboard" / "results" / "world" / f"trained-seed{seed}.json" for seed in (42, 43))
    for path, other in ((one, two.read_bytes()), (two, one.read_bytes())):
        path.write_bytes(other)
    assert str(refusal(root)).count("row world") == 2
    examined(tried + len(published(root)), "longer, shorter, empty and missing files", at_least=150)


def test_a_repaired_checksum_does_not_help(built: Path, tmp_path: Path) -> None:
    """The page is compared with what the results say, not only with its own checksum."""
    root = Path(shutil.copytree(built, tmp_path / "tree"))
    page, lock = root / "leaderboard" / "README.md", root / "leaderboard" / "rows.json"
    page.write_text(page.read_text().replace(" ± ", " ± 1", 1))
    content = _board.read_signed(lock)
    content["written"]["README.md"] = board_lock.storage.sha256_file(page)
    lock.write_bytes(_board.document(_board.signed(_without_digest(content))))
    assert "is not what this code makes of rows and results" in str(refusal(root))


def test_an_edited_result_cannot_be_built_from(built: Path, tmp_path: Path) -> None:
    """Not even by whoever rebuilds: a result carries a digest of itself, and so do its questions."""
    root = Path(shutil.copytree(built, tmp_path / "tree"))
    for path in (*root.glob("leaderboard/results/world/trained*"), *root.glob("leaderboard/questions/*")):
        data = path.read_bytes()
        for edited in edits(data, 3):
            path.write_bytes(edited)
            with pytest.raises(MprError, match=r"was edited|cannot be read|values for"):
                board_lock.build(root)
        path.write_bytes(data)
    assert board_lock.build(root) == []


def _without_digest(content: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in content.items() if name != "digest"}


@pytest.mark.long
def test_the_shipped_leaderboard(tmp_path: Path, examined: Examined) -> None:
    """It is what was built, and one changed digit in each of its files and recipes is found."""
    root = tmp_path / "tree"
    for folder in ("recipes", "leaderboard"):
        shutil.copytree(shipped.ROOT / folder, root / folder)
    board_lock.check(root)
    files = published(root)
    for path in files:
        data = path.read_bytes()
        for edited in list(edits(data, 3))[1:2]:
            path.write_bytes(edited)
            assert path.name in str(refusal(root))
        path.write_bytes(data)
    assert json.loads((root / "leaderboard" / "rows.json").read_bytes())["rows"].keys() >= {"quickstart"}
    examined(len(files), "files, one digit each", at_least=50)
