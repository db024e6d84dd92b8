"""`mpr fuse` by the commands of a user, against a fusion and a count of answers that share nothing with mpr."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from mpr import cli, storage
from mpr.corpora.invented_world import Collection, Params
from mpr.evaluation.scores import Scores
from tests.conftest import Examined
from tests.e2e import collection
from tests.unit.invented import SMALL

ROOT = Path(__file__).parents[2]
NEW = {"layers": 1, "width": 32, "heads": 2, "feed_forward": 32, "vocabulary": 1500}
SETS = (
    *(f"data.corpus.{name}={value}" for name, value in SMALL.items()),
    *(f"towers.new.{name}={value}" for name, value in NEW.items()),
)
Lists = dict[str, dict[str, float]]


def called(*words: object, code: int = 0) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([str(word) for word in words])
    assert ended.value.code == code, words


def read(path: Path) -> Lists:
    """Question -> passage -> score, by the columns of the file."""
    found: Lists = {}
    for line in path.read_text("utf-8").splitlines():
        question, _, passage, _, score, _ = line.split(" ")
        found.setdefault(question, {})[passage] = float(score)
    return found


def fused(runs: list[Lists], weights: Iterable[float], rule: str, row: dict[str, int], depth: int) -> Lists:
    """The formulas over dictionaries. `row` is a passage's place in the collection."""
    weights, made = list(weights), {}
    for question in sorted(set().union(*runs)):
        lists = [run.get(question, {}) for run in runs]
        total: dict[str, float] = {}
        for passage in set().union(*lists):
            value = 0.0
            for scores, weight in zip(lists, weights, strict=True):
                if rule == "reciprocal":
                    order = sorted(scores, key=lambda other, scores=scores: (-scores[other], row[other]))
                    value += weight / (60.0 + order.index(passage) + 1) if passage in scores else 0.0
                else:
                    lowest = min(scores.values()) if rule == "minimum" and scores else 0.0
                    value += weight * scores.get(passage, lowest)
            total[passage] = float(np.float32(value))
        best = sorted(total, key=lambda passage, total=total: (-total[passage], row[passage]))[:depth]
        made[question] = {passage: total[passage] for passage in best}
    return made


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs of BM25 and of an untrained encoder on a small invented world."""
    folder = tmp_path_factory.mktemp("fuse")
    for verb, name in (("search", "bm25"), ("encode", "untrained"), ("search", "untrained")):
        called(verb, *recipe(folder), "--folder", folder / name, f"--{name}", "--quiet")
    return folder


def recipe(folder: Path) -> list[object]:
    sets = [word for each in SETS for word in ("--set", each)]
    return [ROOT / "recipes/quickstart.yaml", "--home", folder / "home", *sets]


def run(folder: Path, name: str) -> Path:
    return folder / name / "rankings" / "test" / "run.trec"


def test_dprs_hybrid_from_two_runs_to_its_scores(
    world: Path, capsys: pytest.CaptureFixture[str], examined: Examined
) -> None:
    """1 x BM25 + 1.1 x dense, scored by the very command that `mpr fuse` prints."""
    runs, to = [run(world, "bm25"), run(world, "untrained")], world / "hybrid"
    called("fuse", *recipe(world), *runs, "--weights", "1,1.1", "--missing", "minimum", "--to", to, "--quiet")
    shown = capsys.readouterr().out
    told = Collection(Params(**SMALL))
    passages = {passage.id: passage for passage in told.passages()}
    rows = {identifier: place for place, identifier in enumerate(passages)}
    expected = fused([read(path) for path in runs], (1.0, 1.1), "minimum", rows, 100)
    found = read(to / "run.trec")
    assert {question: list(scores.items()) for question, scores in found.items()} == {
        question: list(scores.items()) for question, scores in expected.items()
    }, "the same passages with the same scores in the same order"
    command = next(line.removeprefix("score it: ") for line in shown.splitlines() if line.startswith("score it: "))
    called(*shlex.split(command)[1:], "--quiet")
    scores = Scores.open(world / "hybrid-scored" / "scores" / "test-run")
    for k in (1, 5, 20, 100):
        right = 0
        for group in told.groups("test"):
            texts = [passages[one].text.lower() for one in list(expected[group.question.id])[:k]]
            words = [rf"(?<!\w){re.escape(answer.lower())}(?!\w)" for answer in group.question.answers]
            right += any(re.search(word, text) for word in words for text in texts)
        assert scores.mean(f"top{k}") == (right / SMALL["test_questions"], SMALL["test_questions"])
    assert 0 < scores.mean("top5")[0] < 1  # type: ignore[operator]
    examined(sum(map(len, found.values())), "fused scores equal those of dictionaries", at_least=4_000)


def test_the_receipt_names_each_run(world: Path, examined: Examined) -> None:
    import hashlib

    runs, to = [run(world, "untrained"), run(world, "bm25")], world / "reciprocal"
    called("fuse", *recipe(world), *runs, "--reciprocal", "--depth", "30", "--split", "test", "--to", to, "--quiet")
    receipt = storage.verify(to, "fusion").receipt
    assert [one["sha256"] for one in receipt["runs"]] == [
        hashlib.sha256(path.read_bytes()).hexdigest() for path in runs
    ]
    assert [one["weight"] for one in receipt["runs"]] == [1.0, 1.0]
    assert receipt["rule"] == {"name": "reciprocal_rank", "constant": 60.0}
    assert (receipt["depth"], receipt["split"]["name"]) == (30, "test")
    rows = {passage.id: row for row, passage in enumerate(Collection(Params(**SMALL)).passages())}
    expected = fused([read(path) for path in runs], (1.0, 1.0), "reciprocal", rows, 30)
    found = read(to / "run.trec")
    assert [(q, list(scores.items())) for q, scores in found.items() if scores != expected[q]] == []
    examined(len(found), "questions", at_least=40)


# On the collection of twelve passages: what is counted, said and refused


@pytest.fixture
def small(tmp_path: Path) -> Path:
    collection.write(tmp_path)
    trec(tmp_path / "deep.trec", {"e0": "p0 p1 p2 p3", "e1": "p3 p4", "e9": "p1"})
    trec(tmp_path / "flat.trec", {"e0": "p1 p5", "e2": "p6 p1"})
    return tmp_path


def trec(path: Path, lists: dict[str, str]) -> None:
    lines = [
        f"{question} Q0 {passage} {rank} {9 - rank} hand"
        for question, listed in lists.items()
        for rank, passage in enumerate(listed.split(), 1)
    ]
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def words(folder: Path, *more: object) -> list[object]:
    return ["fuse", folder / "small.yaml", "--home", folder / "home", "--quiet", "--to", folder / "to", *more]


def test_what_only_some_runs_have_is_counted_and_said(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = (small / "deep.trec", small / "flat.trec")
    called(*words(small, *files, "--weights", "1,1", "--missing", "zero", "--depth", "3"))
    shown = capsys.readouterr().out
    assert "flat.trec: weight 1, 2 questions, up to 2 passages; shallower than 4" in shown
    assert "deep.trec: weight 1, 2 questions, up to 4 passages\n" in shown
    assert "1 in every run" in shown
    assert "2 in some runs only (first: e1, e2)" in shown
    assert "1 in no run (first: e3)" in shown
    assert "1 of no question of the split and left out (first: e9)" in shown
    # e0: p1 7+8, p0 8, p5 7, p2 6, p3 5
    assert [line.split()[:5:2] for line in (small / "to" / "run.trec").read_text("utf-8").splitlines()] == [
        ["e0", "p1", "15.0"], ["e0", "p0", "8.0"], ["e0", "p5", "7.0"], ["e1", "p3", "8.0"], ["e1", "p4", "7.0"],
        ["e2", "p6", "8.0"], ["e2", "p1", "7.0"],
    ]  # fmt: skip
    assert storage.read_manifest(small / "to").receipt["questions"] == {
        "in_every_run": 1,
        "in_some_runs_only": 2,
        "in_no_run": 1,
        "of_no_question_of_the_split_and_left_out": 1,
    }


def test_refusals_name_what_and_the_way_out(
    small: Path, capsys: pytest.CaptureFixture[str], examined: Examined
) -> None:
    deep, flat, lost, other = (small / f"{name}.trec" for name in ("deep", "flat", "lost", "other"))
    trec(lost, {"e0": "p1 p77"})
    trec(other, {"x0": "p1"})
    sums = ("--weights", "1,1.1", "--missing", "zero")
    cases: list[tuple[tuple[object, ...], int, str]] = [
        ((deep, *sums), 2, "one run cannot be fused (name two or more run files)"),
        ((deep, flat), 2, "--weights: how is not said"),
        ((deep, flat, "--weights", "1,1.1"), 2, "--missing: what is the score of a passage in a list without it?"),
        ((deep, flat, "--weights", "1,1.1", "--missing", "mean"), 2, "no rule 'mean'"),
        ((deep, flat, "--weights", "1", "--missing", "zero"), 2, "1 weights for 2 runs"),
        ((deep, flat, "--weights", "1,x", "--missing", "zero"), 2, "'1,x' is no list of numbers"),
        ((deep, flat, "--weights", "1,inf", "--missing", "zero"), 2, "one finite weight"),
        ((deep, flat, *sums, "--constant", "60"), 2, "a sum of scores has no constant"),
        ((deep, flat, "--reciprocal", "--missing", "zero"), 2, "a list without a passage adds nothing"),
        ((deep, flat, "--reciprocal", "--constant", "-1"), 2, "the constant is -1.0"),
        ((deep, flat, *sums, "--depth", "0"), 2, "cannot keep the 0 best"),
        ((deep, flat, *sums, "--split", "tset"), 2, "no evaluation split 'tset' (name it: test)"),
        ((deep, lost, *sums), 2, "lost.trec: 1 ranked passages are not in the corpus, first: p77"),
        ((deep, other, *sums), 2, "other.trec: no question of the run is in 'test', first: x0"),
        ((deep, small / "absent.trec", *sums), 4, "absent.trec: cannot be read"),
        ((deep, flat, "--weights", "1,1e40", "--missing", "zero"), 3, "a fused score does not fit 32 bits"),
    ]
    for more, code, says in cases:
        called(*words(small, *more), code=code)
        assert says in capsys.readouterr().err, more
        assert not (small / "to").exists()
    called(*words(small, deep, flat, *sums))
    called(*words(small, deep, flat, *sums), code=4)
    assert "already exists" in capsys.readouterr().err
    examined(len(cases) + 1, "refusals", at_least=17)


def test_fusing_twice_gives_the_same_bytes(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digests = []
    for name in ("one", "two"):
        files = (small / "deep.trec", small / "flat.trec")
        called(*words(small, *files, "--reciprocal", "--to", small / name))
        digests.append(storage.verify(small / name).digest)
    assert digests[0] == digests[1]
    assert json.loads((small / "one" / "manifest.json").read_text("utf-8"))["kind"] == "fusion"
