"""The generated pages are what the code says; a change of either is noticed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mpr import catalogue
from mpr.cli import app
from mpr.errors import StorageError
from mpr.recipe import reference
from tests import shipped
from tests.conftest import Examined

README = (shipped.ROOT / "recipes" / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source tree with three recipes and freshly written pages."""
    root = tmp_path_factory.mktemp("tree")
    for name in ("quickstart", "trec_bce_m3", "mini/trec_lead3_nll_m1"):
        target = root / "recipes" / f"{name}.yaml"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(shipped.ROOT / "recipes" / f"{name}.yaml", target)
    (root / "recipes" / "accelerate").mkdir()
    (root / "recipes" / "accelerate" / "gpu.yaml").write_text("compute_environment: LOCAL_MACHINE\n")
    assert len(reference.write(root)) == 5
    return root


def test_committed_pages_are_what_the_code_says(examined: Examined) -> None:
    examined(reference.check(shipped.ROOT), "pages", at_least=51)


def test_writing_again_changes_nothing(tree: Path) -> None:
    assert reference.write(tree) == []
    assert reference.check(tree) == 5


@pytest.mark.parametrize("page", ["recipes/README.md", "recipes/schema.json", "tests/golden/plans/quickstart.txt"])
def test_a_page_that_differs_is_named(tree: Path, page: str) -> None:
    path = tree / page
    before = path.read_bytes()
    try:
        for data in (before.replace(b"0", b"1", 1), None):
            path.unlink()
            if data is not None:
                path.write_bytes(data)
            with pytest.raises(StorageError, match="is not what the code says") as caught:
                reference.check(tree)
            assert [problem.where for problem in caught.value.problems] == [page]
            assert [str(changed) for changed in reference.write(tree)] == [page]
            assert path.read_bytes() == before
    finally:
        path.write_bytes(before)


def test_a_plan_without_a_recipe_is_named(tree: Path) -> None:
    stray = tree / "tests/golden/plans/gone.txt"
    stray.write_text("recipe      gone\n")
    with pytest.raises(StorageError, match=r"plans/gone\.txt: is the plan of no recipe"):
        reference.check(tree)
    stray.unlink()


def test_command(tree: Path) -> None:
    checked = CliRunner().invoke(app, ["reference", "--root", str(tree)])
    assert (checked.exit_code, checked.output) == (0, "5 pages are what the code says\n")
    written = CliRunner().invoke(app, ["reference", "--write", "--root", str(tree)])
    assert (written.exit_code, written.output) == (0, "0 pages changed\n")


def test_every_key_and_entry_is_on_the_page(examined: Examined) -> None:
    whole = reference.recipe_schema()
    rows = set(re.findall(r"^\| `([a-z_0-9]+)` \|", README, re.MULTILINE))
    count = 0
    for place in (whole, *whole["$defs"].values()):
        for name in place["properties"]:
            if name != "name":
                assert name in rows, f"{name} is not explained"
                count += 1
    for folder in catalogue.FOLDERS:
        for name in catalogue.names(folder):
            assert f"### {folder}: {name}\n\n{catalogue.summary(folder, name)}\n" in README
            count += 1
    examined(count, "keys and entries", at_least=150)


def test_tables_are_well_formed(examined: Examined) -> None:
    """Bars in cells are escaped: every row of a table has as many cells as its head."""
    width, rows = 0, 0
    for line in README.splitlines():
        if not line.startswith("|"):
            width = 0
            continue
        cells = len(re.findall(r"(?<!\\)\|", line)) - 1
        width = width or cells
        assert cells == width, line
        rows += 1
    examined(rows, "rows of tables", at_least=250)


def test_links_lead_somewhere(examined: Examined) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert {link for link in links if not (shipped.ROOT / "recipes" / link).is_file()} == set()
    headings = {
        re.sub(r"[^a-z0-9_ -]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^#+ (.+)$", README, re.M)
    }
    anchors = set(re.findall(r"\]\(#([^)]+)\)", README))
    assert anchors <= headings
    examined(len(links) + len(anchors), "links", at_least=53)
