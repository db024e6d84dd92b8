"""The pictures as numbers: what stands where, by hand, and what may stand in one panel."""

from __future__ import annotations

import shutil
import statistics
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from mpr.publishing import _board, _board_drawing, _board_figures, _board_table, board_lock
from mpr.publishing._board_figures import Curve, Figure, Panel
from tests import boards
from tests.conftest import Examined

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("board")
    return boards.board(folder / "tree", folder / "runs", built=False)


def shown(root: Path) -> dict[str, Figure]:
    return {figure.name: figure for figure in _board_figures.figures(_board_table.tables(_board.read(root)))}


def means(root: Path, row: str, system: str = "trained") -> tuple[float, float]:
    found = [100 * (entry.means("test")["top20"] or 0.0) for entry in _board.read(root).row(row).of(system)]
    return statistics.mean(found), statistics.stdev(found) if len(found) > 1 else 0.0


def test_accuracy_by_m(built: Path) -> None:
    (panel,) = shown(built)["accuracy_by_m"].panels
    curves = {curve.label: curve for curve in panel.curves}
    assert set(curves) == {"joint_lh mask mean τ 0.05", "nll τ 0.05"}
    joint = curves["joint_lh mask mean τ 0.05"]
    assert joint.x == (2, 4), "the row with another batch is not among them"
    expected = [means(built, "trec_joint_m2"), means(built, "trec_joint_m4")]
    assert (joint.y, joint.spread) == (pytest.approx([y for y, _ in expected]), pytest.approx([s for _, s in expected]))
    assert curves["nll τ 0.05"].x == (1,)
    levels = {"BM25": means(built, "trec_nll_m1", "bm25")[0], "untrained": means(built, "trec_nll_m1", "untrained")[0]}
    assert dict(panel.levels) == pytest.approx(levels)


def test_accuracy_by_batch(built: Path) -> None:
    (panel,) = shown(built)["accuracy_by_batch"].panels
    (curve,) = panel.curves
    assert (curve.label, curve.x) == ("joint_lh mask mean τ 0.05, m 4 in turn", (16, 32))
    assert curve.y == pytest.approx([means(built, "trec_joint_m4_b16")[0], means(built, "trec_joint_m4")[0]])


def test_accuracy_by_noise(built: Path) -> None:
    (panel,) = shown(built)["accuracy_by_noise"].panels
    (curve,) = panel.curves
    assert curve.x == (0, 1)
    assert panel.ticks == ("train\ngold\n+ answer_match", "train\ngold\n+ answer_match\n60% wrong")
    assert curve.y == pytest.approx([means(built, "world")[0], means(built, "world_noisy")[0]])


def test_learning_curves(built: Path) -> None:
    figure = shown(built)["learning_curves"]
    world = next(panel for panel in figure.panels if panel.title.startswith("invented_world"))
    assert world.ylabel == "validation mrr, %"
    assert [curve.x for curve in world.curves] == [tuple(range(50, 501, 50))], "the noisy row has a panel of its own"
    last = [70 * (1 - 0.5**5) + 0.1 * (seed % 3) for seed in boards.SEEDS]
    assert (world.curves[0].y[-1], world.curves[0].spread[-1]) == pytest.approx(
        (statistics.mean(last), statistics.stdev(last))
    )


def test_accuracy_by_known_positives(built: Path) -> None:
    figure = shown(built)["accuracy_by_known_positives"]
    panel = next(panel for panel in figure.panels if panel.title.startswith("invented_world"))
    assert panel.ticks == ("0", "1", "2", "3", "4+")
    assert [(curve.label, curve.is_reference) for curve in panel.curves][-2:] == [("BM25", True), ("untrained", True)]
    assert all(curve.x == (1, 2, 3, 4) for curve in panel.curves), "no question has none"
    values = [entry.values("test", "top20")[::6].mean() for entry in _board.read(built).row("world").of("trained")]
    assert panel.curves[0].y[0] == pytest.approx(100 * statistics.mean(map(float, values)))


def test_rows_that_differ_in_one_more_key_never_share_a_panel(tmp_path: Path, examined: Examined) -> None:
    """Each key of the recipe in turn, apart from those of the axis and the series."""
    from mpr.publishing import board_entries

    edits = {
        "learning_rate: 1.0e-3": "learning_rate: 4.0e-4",
        "weight_decay: 0.01": "weight_decay: 0.02",
        "max_steps: 160": "max_steps: 800",
        "siblings: ignore": "siblings: negative",
        "{layers: 1,": "{layers: 3,",
        "depth: 100}": "depth: 200}",
        "k: 1, weight: uniform": "k: 2, weight: uniform",
    }
    root = tmp_path / "tree"
    for name, m in (("trec_joint_m2", 2), ("trec_joint_m4", 4)):
        path = boards.of_m(root, f"mini/{name}", m)
        board_entries.add(root, boards.run(tmp_path / name, path, "trained", 42, 0.5))
    for number, (old, new) in enumerate(edits.items()):
        path = boards.of_m(root, "mini/trec_joint_m8", 8, old=old, new=new)
        board_entries.add(root, boards.run(tmp_path / str(number), path, "trained", 42, 0.5), replace=True)
        assert [[curve.x for curve in panel.curves] for panel in shown(root)["accuracy_by_m"].panels] == [[(2, 4)]], new
    path = boards.of_m(root, "mini/trec_joint_m8", 8)
    board_entries.add(root, boards.run(tmp_path / "same", path, "trained", 42, 0.5), replace=True)
    assert [[curve.x for curve in panel.curves] for panel in shown(root)["accuracy_by_m"].panels] == [[(2, 4, 8)]]
    examined(len(edits), "keys", at_least=7)


def test_a_figure_without_rows_says_so(tmp_path: Path) -> None:
    boards.recipe(tmp_path, "row", "quickstart")
    board_lock.build(tmp_path)
    text = (tmp_path / "leaderboard" / "README.md").read_text()
    assert text.count("No data yet: ") == 5
    assert not (tmp_path / "leaderboard" / "figures").exists()


def test_pictures_are_drawn_anew_only_when_their_numbers_change(built: Path, tmp_path: Path) -> None:
    from mpr.publishing import board_entries

    root = Path(shutil.copytree(built, tmp_path / "tree"))
    board_lock.build(root)
    path = root / "recipes" / "mini" / "world.yaml"
    board_entries.add(root, boards.run(tmp_path / "run", path, "trained", 45, 0.9))
    changed = {place.name for place in board_lock.build(root)}
    pictured = {"accuracy_by_noise.svg", "learning_curves.svg", "accuracy_by_known_positives.svg"}
    assert changed == {"README.md", "rows.json", *pictured}
    shutil.rmtree(root / "leaderboard" / "results" / "world")
    gone = {place.name for place in board_lock.build(root)}
    assert "accuracy_by_noise.svg" in gone
    assert not (root / "leaderboard" / "figures" / "accuracy_by_noise.svg").exists()


def test_drawing() -> None:
    """Every kind of panel becomes a well-formed picture with its labels, the same bytes each time and no date."""
    many = tuple(Curve(f"row {number}", (1.0, 2.0), (10.0, 20.0), (1.0, 0.0)) for number in range(9))
    few = (Curve("one", (1.0,), (10.0,), (0.0,)), Curve("BM25", (0.0, 1.0), (5.0, 6.0), (0.0, 0.0), is_reference=True))
    figure = Figure(
        "f", "Title", "x", "rows", (Panel("a", "y", many, (("BM25", 5.0),)), Panel("b", "y", few, (), ("0", "1")))
    )
    made = _board_drawing.draw(figure)
    assert made == _board_drawing.draw(figure)
    text = made.decode()
    assert ET.fromstring(text).tag.endswith("svg")
    assert all(f"row {number}" in text for number in range(9))
    assert "BM25 5.0" in text
    assert "<dc:date>" not in text
    time = Figure("f", "Title", "x", "rows", (Panel("a", "y", many),), is_time=True)
    assert _board_drawing.draw(time) != made
    assert _board_drawing.draw(time, "png").startswith(b"\x89PNG")
    assert figure.digest != time.digest
