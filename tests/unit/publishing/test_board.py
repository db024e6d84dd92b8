"""The leaderboard's page: every row in one table, numbers by hand, significance as `mpr compare` finds it."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mpr.errors import DataError
from mpr.evaluation import comparison
from mpr.evaluation.scores import Scores
from mpr.publishing import _board, _board_page, _board_table, _board_verdicts, board_lock
from mpr.publishing._board import Board, BoardRow
from mpr.publishing._board_table import INVENTED, OURS, PAPERS, Table
from mpr.recipe.keys import Band
from tests import boards, shipped
from tests.conftest import Examined


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built board; tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("board")
    return boards.board(folder / "tree", folder / "runs")


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "tree"))


def page(root: Path) -> str:
    return (root / "leaderboard" / "README.md").read_text("utf-8")


def cells(root: Path, row: str) -> dict[str, str]:
    """The cells of a row of the page, by the head of its table."""
    head: list[str] = []
    for line in page(root).splitlines():
        if line.startswith("| recipe |"):
            head = line.strip("| ").split(" | ")
        if line.startswith(f"| [{row}]("):
            return dict(zip(head, line.removeprefix("| ").removesuffix(" |").split(" | "), strict=True))
    raise AssertionError(row)


# Tables


def test_every_shipped_recipe_is_in_one_table(examined: Examined) -> None:
    rows = tuple(BoardRow(name, recipe) for name, recipe in shipped.recipes().items())
    made = _board_table.tables(Board(shipped.ROOT, rows))
    names = [row.name for table in made for row in table.rows]
    alone = [row.name for row in rows if not row.recipe.trains]  # in a table of their own
    assert sorted(names + alone) == sorted(row.name for row in rows)
    for table in made:
        if table.track == OURS:
            pretrained = {row.recipe.towers.base is not None for row in table.rows}
            assert len(pretrained) == 1, "what may have seen the test never stands beside random weights"
        tracks = {(row.recipe.paper is not None, row.recipe.data.corpus.name == "invented_world") for row in table.rows}
        assert len(tracks) == 1, "a paper's row never stands beside one of our own"
    papers = [table.title for table in made if table.track == PAPERS]
    assert papers[:6] == ["NQ", "TriviaQA", "WQ", "TREC", "SQuAD", "MS MARCO"]
    shown = _board_page.text(Board(shipped.ROOT, rows), {}, ())
    assert all(f"| [{name}](" in shown for name in names + alone), "rows that nobody measured stay visible"
    examined(len(rows), "rows", at_least=40)


def test_baselines_and_measures() -> None:
    rows = tuple(BoardRow(name, recipe) for name, recipe in shipped.recipes().items())
    made = {table.title: table for table in _board_table.tables(Board(shipped.ROOT, rows))}
    wanted = {"NQ": "nq_nll_m1", "TREC": "trec_nll_m1", "SQuAD": "squad_nll_m1"}
    judged = "local (scifact, passages 5c4e938a), test"
    wanted |= {judged: "scifact_files_nll_m1", f"{judged}, pretrained": "scifact_minilm_nll_m1"}
    assert {title: made[title].baseline.name for title in wanted} == wanted  # type: ignore[union-attr]
    assert made["TREC"].measures == ("top20", "top100")
    assert made["MS MARCO"].measures[0] in ("ndcg10", "mrr10")


def tables(root: Path) -> dict[str, Table]:
    return {table.track: table for table in _board_table.tables(_board.read(root))}


def test_tables_of_the_small_board(built: Path) -> None:
    found = tables(built)
    assert {track: sorted(row.name for row in table.rows) for track, table in found.items()} == {
        PAPERS: ["nq_bce_m3", "nq_nll_m1_paper"],
        OURS: ["trec_joint_m2", "trec_joint_m4", "trec_joint_m4_b16", "trec_nll_m1"],
        INVENTED: ["world", "world_noisy"],
    }
    assert found[OURS].baseline == found[OURS].rows[-1]
    assert found[INVENTED].baseline is None


# Numbers


def test_numbers_are_mean_and_deviation_over_seeds(built: Path) -> None:
    runs = built.parent / "runs"
    scores = [Scores.open(runs / f"trec_joint_m4-{seed}" / "scores" / "test") for seed in boards.SEEDS]
    shown = []
    for measure in ("top20", "top100"):
        means = [100 * (one.mean(measure)[0] or 0.0) for one in scores]
        shown.append(f"{statistics.mean(means):.2f} ± {statistics.stdev(means):.2f}")
    found = cells(built, "trec_joint_m4")
    assert found["ours top20 / top100"] == f"{shown[0]} / {shown[1]}, n = 3"
    assert found["objective"] == "joint_lh mask mean τ 0.05"
    assert (found["m"], found["batch"]) == ("4 in turn", "32")
    assert found["base model"] == "random weights, 1 × 256"
    assert found["verdict"] == "no band yet, measured"
    assert found["hardware"] == "2 cores of Imagined CPU"
    assert (found["time"], found["memory"]) == ("5.1 min", "1.5 GB")
    assert found["commit"] == "`012345678`"
    assert "[43](results/trec_joint_m4/trained-seed43.json)" in found["receipts"]
    assert found["checkpoint"] == "none"
    assert cells(built, "world")["labels"] == "train, gold + answer_match"
    assert cells(built, "world_noisy")["labels"] == "train, gold + answer_match, 60% wrong"


def test_published_numbers_and_their_source(built: Path) -> None:
    assert cells(built, "nq_nll_m1_paper")["published top20 / top100"] == "78.4 / 85.4 [1]"
    assert "[1] Karpukhin et al. 2020" in page(built)
    assert cells(built, "nq_bce_m3")["published top20 / top100"] == "unknown"
    assert cells(built, "nq_bce_m3")["verdict"] == "unmeasured", "pinned, so no draft"
    assert cells(built, "world")["published top20 / top100"] == "none: a row of our own"


def test_baselines_stand_beside_once(built: Path) -> None:
    text = page(built)
    assert text.count("| BM25 |") == 2, "once for each collection"
    assert text.count("| untrained |") == 2


def test_significance_is_that_of_compare(built: Path, examined: Examined) -> None:
    """Another way to the same numbers: from the scores of the runs instead of the committed results."""
    names = ("trec_joint_m2", "trec_joint_m4", "trec_joint_m4_b16")
    runs = built.parent / "runs"
    systems = {
        name: [Scores.open(runs / f"{name}-{seed}" / "scores" / "test") for seed in boards.SEEDS]
        for name in (*names, "trec_nll_m1")
    }
    compared = comparison.compare(systems, "top20", against="trec_nll_m1")
    found = _board_verdicts.against_baseline(tables(built)[OURS])
    assert set(found) == set(names)
    for pair in compared.pairs:
        one = found[pair.first]
        assert (one.difference, one.p, one.p_holm) == pytest.approx((pair.difference, pair.p, pair.p_holm), abs=1e-15)
        assert (one.questions, one.compared, one.method) == (60, 3, pair.method)
        assert cells(built, pair.first)["against the baseline"].startswith(f"{100 * pair.difference:+.2f}, p ")
    assert cells(built, "trec_nll_m1")["against the baseline"] == "baseline"
    assert cells(built, "world")["against the baseline"] == "-"
    examined(len(compared.pairs), "rows against the baseline", at_least=3)


def test_other_questions_are_not_compared(copy: Path) -> None:
    from mpr.publishing import board_entries

    path = copy / "recipes" / "mini" / "trec_joint_m2.yaml"
    for seed in boards.SEEDS:
        run = boards.run(copy.parent / f"run{seed}", path, "trained", seed, 0.6, questions=boards.QUESTIONS[1:])
        board_entries.add(copy, run, replace=True)
    board_lock.build(copy)
    assert set(_board_verdicts.against_baseline(tables(copy)[OURS])) == {"trec_joint_m4", "trec_joint_m4_b16"}
    assert cells(copy, "trec_joint_m2")["against the baseline"] == "-"


# Verdicts


def test_verdicts_of_the_band(built: Path) -> None:
    row = _board.read(built).row("trec_joint_m4")
    means = [100 * (entry.means("test")["top20"] or 0.0) for entry in row.of("trained")]
    cases = [
        ((min(means), max(means)), "within"),
        ((min(means) + 0.01, 100.0), "below"),
        ((0.0, max(means) - 0.01), "above"),
        ((min(means) + 0.01, max(means) - 0.01), "below"),
    ]
    for (low, high), verdict in cases:
        expected = {"top20": Band(mean=statistics.mean(means), low=low, high=high, seeds=3)}
        recipe = row.recipe.model_copy(update={"expected": expected})
        assert _board_verdicts.verdict(BoardRow(row.path, recipe, row.entries)) == verdict
    assert _board_verdicts.verdict(row) == _board_verdicts.NO_BAND


def test_a_changed_recipe_makes_its_results_stale(copy: Path) -> None:
    path = copy / "recipes" / "mini" / "trec_joint_m4.yaml"
    path.write_text(path.read_text().replace("learning_rate: 1.0e-3", "learning_rate: 2.0e-3"))
    board_lock.build(copy)
    found = cells(copy, "trec_joint_m4")
    assert found["verdict"] == "stale, measured"
    assert found["against the baseline"] == "-"
    assert cells(copy, "trec_joint_m2")["verdict"] == "no band yet, measured"
    path.write_text(path.read_text().replace("learning_rate: 2.0e-3", "learning_rate: 1.0e-3 # as before"))
    board_lock.build(copy)
    assert cells(copy, "trec_joint_m4")["verdict"] == "no band yet, measured", "a comment changes no result"


# Building


def test_building_again_changes_nothing(copy: Path) -> None:
    before = {path: path.read_bytes() for path in _board.files(copy)}
    assert board_lock.build(copy) == []
    assert {path: path.read_bytes() for path in _board.files(copy)} == before
    assert board_lock.build(copy, redraw=True) == [], "drawn anew, the same bytes"
    assert board_lock.check(copy).rows == 8


def test_the_place_of_the_tree_does_not_matter(copy: Path, tmp_path: Path) -> None:
    moved = copy.rename(tmp_path / "elsewhere")
    os.utime(moved / "recipes" / "mini" / "world.yaml", (0, 0))
    board_lock.check(moved)


def test_links_of_the_page_lead_somewhere(built: Path, examined: Examined) -> None:
    links = [part.partition(")")[0] for part in page(built).split("](")[1:]]
    local = [link for link in links if not link.startswith("https:")]
    assert not [link for link in local if not (built / "leaderboard" / link).is_file()]
    examined(len(local), "links", at_least=30)


def test_checking_is_quick_and_light(built: Path) -> None:
    code = (
        "import sys; from mpr.cli import main\n"
        f"try:\n main(['leaderboard', 'build', '--check', '--root', {str(built)!r}])\nexcept SystemExit as end:\n"
        " assert not end.code\n"
        "print([name for name in ('torch', 'transformers', 'matplotlib', 'scipy', 'pandas') if name in sys.modules])"
    )
    started = time.process_time(), os.times().children_user
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=shipped.ROOT)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "8 rows and" in done.stdout
    assert os.times().children_user - started[1] < 3.0, "seconds of a processor"


def test_the_command_line_says_what_to_do(copy: Path) -> None:
    path = copy / "recipes" / "mini" / "world.yaml"
    path.write_text(path.read_text().replace("seed: 42", "seed: 41"))
    command = [sys.executable, "-m", "mpr.cli", "leaderboard", "build", "--check", "--root", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=shipped.ROOT)
    assert done.returncode == 2
    assert "row world" in done.stderr
    assert "mpr leaderboard build" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_board_without_a_lock_is_refused(copy: Path) -> None:
    (copy / "leaderboard" / "rows.json").unlink()
    with pytest.raises(DataError, match="is missing"):
        board_lock.check(copy)


def test_the_lock_binds_each_row(built: Path) -> None:
    lock = json.loads((built / "leaderboard" / "rows.json").read_bytes())
    assert len(lock["rows"]) == 8
    assert len({row["digest"] for row in lock["rows"].values()}) == 8
    assert len(lock["rows"]["trec_nll_m1"]["files"]) == 6  # three seeds, untrained, BM25, questions
