"""From a recipe to a verdict by the commands of a user: train, encode, search, evaluate, compare."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpr import cli
from mpr.scores import Scores
from tests.conftest import Examined
from tests.e2e import collection

MODEL = ("--set", "training.max_steps=4", "--set", "draw.negatives[0].short=random", "--set", "data.overlap=allow")


class Place:
    """A folder with the collection and what the commands made in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        text = collection.write(folder).read_text("utf-8").replace("  num_train_epochs: 1\n", "  max_steps: 4\n")
        self.recipe = folder / "small.yaml"
        self.recipe.write_text(text, "utf-8")

    def do(self, verb: str, run: str, *more: str) -> None:
        arguments = [verb, str(self.recipe), "--home", str(self.folder / "home"), "--folder", str(self.folder / run)]
        with pytest.raises(SystemExit) as ended:
            cli.main([*arguments, "--quiet", *MODEL, *more])
        assert ended.value.code == 0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    found = Place(tmp_path_factory.mktemp("retrieval"))
    for verb in ("train", "encode", "search", "evaluate"):
        found.do(verb, "ours")
    for verb in ("encode", "evaluate"):
        found.do(verb, "start", "--untrained")
    found.do("evaluate", "words", "--bm25")
    return found


def by_hand(run: Path) -> dict[str, float]:
    """Top-k accuracy from the lines of a run and the texts of the collection."""
    ranked: dict[str, list[str]] = {}
    for line in run.read_text("utf-8").splitlines():
        question, _, passage, *_ = line.split()
        ranked.setdefault(question, []).append(passage)
    right = {}
    for asked in collection.TEST:
        texts = [" ".join(collection.PASSAGES[passage]).lower() for passage in ranked.get(str(asked["id"]), [])]
        bodies = [collection.PASSAGES[passage][1].lower() for passage in ranked.get(str(asked["id"]), [])]
        assert len(texts) == len(bodies)
        answers = [str(answer).lower() for answer in asked["answers"]]  # type: ignore[attr-defined]
        right[asked["id"]] = [any(answer in body for answer in answers) for body in bodies]
    return {f"top{k}": sum(any(found[:k]) for found in right.values()) / len(right) for k in (1, 5)}


@pytest.mark.parametrize("run", ["ours", "start", "words"])
def test_scores_are_those_of_the_run_file(place: Place, run: str, examined: Examined) -> None:
    folder = place.folder / run
    scores, expected = Scores.open(folder / "scores" / "test"), by_hand(folder / "rankings" / "test" / "run.trec")
    assert {name: scores.mean(name)[0] for name in expected} == expected
    assert expected["top5"] > 0
    examined(len(expected) * len(collection.TEST), "scores counted by hand from the run file", at_least=8)


def test_doing_it_again_changes_nothing(place: Place) -> None:
    files = {path: path.read_bytes() for path in (place.folder / "ours").rglob("*") if path.is_file()}
    for verb in ("train", "encode", "search", "evaluate"):
        place.do(verb, "ours")
    assert {path: path.read_bytes() for path in (place.folder / "ours").rglob("*") if path.is_file()} == files


def test_a_foreign_run_is_scored(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    run = place.folder / "ours" / "rankings" / "test" / "run.trec"
    place.do("evaluate", "ours", "--run", str(run), "--json")
    shown = json.loads(capsys.readouterr().out)
    assert "top5" in json.dumps(shown)


def test_another_depth_is_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["search", str(place.recipe), "--home", str(place.folder / "home"), "--folder",
                  str(place.folder / "ours"), "--quiet", *MODEL, "--set", "search.depth=9"])  # fmt: skip
    assert ended.value.code == 2
    assert "was made with depth: 10, not 9" in capsys.readouterr().err


def test_without_a_model_the_way_out_is_named(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["encode", str(place.recipe), "--home", str(place.folder / "home"), "--folder",
                  str(place.folder / "nothing"), "--quiet", *MODEL])  # fmt: skip
    assert ended.value.code == 2
    assert "there is no trained model (run `mpr train` first" in capsys.readouterr().err
    assert not (place.folder / "nothing").exists()


def test_systems_are_compared(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"{name}={place.folder / name / 'scores' / 'test'}" for name in ("words", "start", "ours")]
    with pytest.raises(SystemExit) as ended:
        cli.main(["compare", *words, "--measure", "top5"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "words" in shown
    assert "ours" in shown
    with pytest.raises(SystemExit) as ended:
        cli.main(["compare", words[0], "--measure", "top5"])
    assert ended.value.code == 2


def test_faiss_finds_what_exact_search_finds(place: Place) -> None:
    exact = (place.folder / "ours" / "rankings" / "test" / "run.trec").read_bytes()
    place.do("encode", "faiss", "--model", str(place.folder / "ours" / "model"))
    place.do("search", "faiss", "--set", "search.index=Flat", "--set", "draft=true")
    assert (place.folder / "faiss" / "rankings" / "test" / "run.trec").read_bytes() == exact
