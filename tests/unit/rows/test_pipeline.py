"""What `mpr reproduce` says of each stage, what it keeps when it is stopped, and what it asks before it replaces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mpr import storage
from mpr.errors import Interrupted, RecipeError, StorageError
from mpr.rows.pipeline import Pipeline
from mpr.rows.receipts import RowStage
from mpr.training import run_folder
from tests import shipped

pytestmark = pytest.mark.small


def _stops() -> Any:
    raise KeyboardInterrupt


@dataclass
class Steps:
    """Stands in for a row: stages that leave a number each."""

    folder: Path
    inputs: dict[str, str]
    last: Callable[[], Any]

    @property
    def home(self) -> Path:
        return self.folder.parent / "home"

    def stages(self) -> Iterator[RowStage]:
        for name in ("data", "train warmup", "search"):
            yield RowStage(name, lambda done, name=name: {"recipe": self.inputs.get(name, "")}, self._work(name))
        yield RowStage("evaluate", lambda done: {}, self.last)

    def _work(self, name: str) -> Callable[[], Any]:
        def work() -> Any:
            target = self.folder / "made" / name.replace(" ", "-")
            with storage.stage(target, "number") as stage:
                stage.write("number", b"1")
            return {name: target}, {}

        return work


def _run(folder: Path, last: Callable[[], Any] = _stops, **inputs: str) -> tuple[list[str], str]:
    """What was said, and the error."""
    said: list[str] = []
    with pytest.raises(Interrupted) as caught:
        Pipeline(Steps(folder, inputs, last), said.append).run()  # type: ignore[arg-type]
    return said, str(caught.value)


def test_stages_are_told_when_they_begin_and_end_and_a_stop_says_what_is_kept(tmp_path: Path) -> None:
    said, error = _run(tmp_path / "run")
    begun = [line for line in said if line.endswith("...")]
    assert begun == ["data         ...", "train warmup ...", "search       ...", "evaluate     ..."]
    assert all(line.endswith(" s") for line in said if line not in begun)
    assert error.startswith(
        f"{tmp_path / 'run'}: stopped in 'evaluate'; kept: data, train warmup, search, and of evaluate what was "
        "committed (to continue, run again: "
    )
    again, _ = _run(tmp_path / "run")
    assert [line for line in again if line.endswith("kept: its receipt verifies")] == again[:3]


def test_what_is_made_anew_says_that_it_replaces_and_how_both_are_kept(tmp_path: Path) -> None:
    _run(tmp_path / "run")
    said, _ = _run(tmp_path / "run", search="another depth")
    expected = "done again: made from other inputs: recipe; what it made is replaced, --fork NAME keeps both"
    assert [line for line in said if "done again" in line] == [f"search       {expected}"]


@pytest.mark.parametrize(
    "system, name",
    [
        ("trained", "quickstart-seed42-try"),
        ("untrained", "quickstart-seed42-untrained-try"),
        ("bm25", "quickstart-bm25-try"),
    ],
)
def test_a_fork_is_a_folder_beside(system: str, name: str) -> None:
    recipe = shipped.recipes()["quickstart"]
    assert run_folder.name(recipe, system, "try") == name
    assert run_folder.name(recipe, system) == name.removesuffix("-try")


@pytest.mark.parametrize("fork", ["", "../away", "a/b", "two words", "\x1b"])
def test_a_fork_stays_below_the_runs(fork: str) -> None:
    with pytest.raises(RecipeError, match=r"--fork: .* cannot be a part of the name of a folder"):
        run_folder.name(shipped.recipes()["quickstart"], "trained", fork)


def test_a_changed_recipe_is_one_refusal_with_two_ways_on(tmp_path: Path) -> None:
    run = run_folder.RunFolder(tmp_path)
    run.claim({"recipe": {"a": 1, "b": 2}})
    with pytest.raises(RecipeError) as caught:
        run.claim({"recipe": {"a": 2, "b": 3}})
    first, second = str(caught.value).splitlines()
    assert first.endswith("recipe.a: 1 -> 2")
    assert second.endswith(
        "recipe.b: 2 -> 3 (restore what it was, and it goes on; or start another run beside it with --fork NAME)"
    )


def test_a_folder_that_is_moved_while_a_row_is_made_is_said(tmp_path: Path) -> None:
    """What a stage writes then makes a second folder of the same name, without what was made before."""
    folder = tmp_path / "row"

    def moved() -> Any:
        folder.rename(tmp_path / "elsewhere")
        return Steps(folder, {}, moved)._work("evaluate")()

    with pytest.raises(StorageError, match="was moved or replaced during 'evaluate', so the row lies in two folders"):
        Pipeline(Steps(folder, {}, moved)).run()  # type: ignore[arg-type]
    assert (tmp_path / "elsewhere" / "made" / "search").is_dir()
