"""From a recipe to a verdict by the commands of a user: train, encode, search, evaluate, compare."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpr import cli
from mpr.evaluation.scores import Scores
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

    def refused(self, verb: str, run: str, *more: str, code: int, home: str = "home") -> None:
        arguments = [verb, str(self.recipe), "--home", str(self.folder / home), "--folder", str(self.folder / run)]
        with pytest.raises(SystemExit) as ended:
            cli.main([*arguments, "--quiet", *MODEL, *more])
        assert ended.value.code == code


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


def test_a_foreign_run_is_scored_as_deep_as_it_is(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (place.folder / "ours" / "rankings" / "test" / "run.trec").read_text("utf-8").splitlines()
    whole, short = place.folder / "whole.trec", place.folder / "short.trec"
    whole.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    short.write_text("".join(f"{line}\n" for line in lines if line.split()[3] == "1"), "utf-8")
    place.do("evaluate", "foreign", "--run", str(whole), "--json")
    assert "top5" in json.dumps(json.loads(capsys.readouterr().out)["test"])
    kept, own = (Scores.open(place.folder / name / "scores" / run) for name, run in
                 (("foreign", "test-whole"), ("ours", "test")))  # fmt: skip
    assert kept.mean("top5") == own.mean("top5")
    place.refused("evaluate", "foreign", "--run", str(short), code=2)
    assert "a measure looks at 5 passages, the run keeps 1" in capsys.readouterr().err


def test_a_foreign_run_needs_no_training_split_and_no_model(tmp_path: Path) -> None:
    """Corpus, questions and answers are enough: the training file is not even there."""
    alone, run = Place(tmp_path), tmp_path / "theirs.trec"
    (tmp_path / "train.jsonl").unlink()
    ranked = {"e0": "p8 p0 p1 p2 p3", "e1": "p3 p4 p5 p6 p7", "e2": "p9 p10 p11 p8 p0", "e3": "p1 p2 p3 p4 p5"}
    lines = (
        f"{question} Q0 {passage} {place} {9 - place} theirs\n"
        for question, passages in ranked.items()
        for place, passage in enumerate(passages.split(), 1)
    )
    run.write_text("".join(lines), "utf-8")
    alone.do("evaluate", "foreign", "--run", str(run))
    kept = Scores.open(tmp_path / "foreign" / "scores" / "test-theirs")
    assert {name: kept.mean(name)[0] for name in ("top1", "top5")} == by_hand(run) == {"top1": 0.25, "top5": 0.75}
    assert not kept.trained_Q.any()
    made = {path.name for path in (tmp_path / "foreign").iterdir()}
    assert made == {"scores"}
    stores = [path.name for path in (tmp_path / "home").rglob("*") if path.is_dir()]
    assert not any(name.startswith(("train", "vocabulary")) or "tokens" in name for name in stores), stores


def test_a_trained_model_is_scored_without_its_training(place: Place) -> None:
    """`training: none` with `start`: the model's folder says how it is used, and the ranking is the same."""
    text = place.recipe.read_text("utf-8")
    model = json.dumps(str(place.folder / "ours" / "model"))
    text = text[: text.index("sources: ")] + f"start: {model}\ntraining: none\n" + text[text.index("search: ") :]
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(("  train:", "  repair:", "  overlap:"))]
    assert len(lines) - len(kept) == 3
    bare = place.folder / "bare.yaml"
    bare.write_text("".join(kept), "utf-8")
    home, runs = str(place.folder / "home"), str(place.folder / "runs")
    with pytest.raises(SystemExit) as ended:
        cli.main(["reproduce", str(bare), "--home", home, "--runs", runs, "--no-baselines", "--quiet"])
    assert ended.value.code == 0
    ours, again = (
        (folder / "rankings" / "test" / "run.trec").read_text("utf-8").splitlines()
        for folder in (place.folder / "ours", place.folder / "runs" / "bare-published")
    )
    assert [line.split()[:5] for line in again] == [line.split()[:5] for line in ours]
    for verb in ("train", "mine", "audit"):
        with pytest.raises(SystemExit) as ended:
            cli.main([verb, str(bare), "--home", home, "--quiet"])
        assert ended.value.code == 2


def test_another_depth_is_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.refused("search", "ours", "--set", "search.depth=9", code=2)
    assert "was made with depth 10 -> 9" in capsys.readouterr().err


def test_without_a_model_the_way_out_is_named(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.refused("encode", "nothing", code=2)
    assert "there is no trained model (run `mpr train` first" in capsys.readouterr().err
    assert not (place.folder / "nothing").exists()


@pytest.mark.parametrize("verb", ["search", "evaluate"])
@pytest.mark.parametrize("system", ["", "--untrained"])
def test_without_vectors_the_command_that_makes_them_is_named(
    place: Place, verb: str, system: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place.refused(verb, "none", *([system] if system else []), code=2)
    command = f"`mpr encode RECIPE {system}".rstrip()
    assert f"there are no vectors yet (make them first: {command}`, with the same --set" in capsys.readouterr().err


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


def test_vectors_of_other_texts_are_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """The same passages in another order: rows of the old corpus would be printed as ids of the new one."""
    place.do("encode", "reordered", "--untrained")
    file = place.folder / "passages.tsv"
    text = file.read_text("utf-8")
    try:
        file.write_text("".join(reversed(text.splitlines(keepends=True))), "utf-8")
        place.refused("search", "reordered", code=2)
        assert "was encoded from other texts" in capsys.readouterr().err
    finally:
        file.write_text(text, "utf-8")
    place.do("search", "reordered")


def test_a_flipped_bit_is_not_searched(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.do("encode", "rotten", "--untrained")
    file = next((place.folder / "rotten" / "vectors" / "corpus").rglob("vectors.bin"))
    content = bytearray(file.read_bytes())
    content[3] ^= 0x80
    file.write_bytes(bytes(content))
    place.refused("search", "rotten", code=4)
    assert "checksum mismatch" in capsys.readouterr().err
    assert not (place.folder / "rotten" / "rankings").exists()


def test_equal_data_has_equal_digests_whatever_was_read_before(place: Place, examined: Examined) -> None:
    from mpr.data.dataset import Dataset
    from mpr.recipe import read

    loaded = read.load(place.recipe, tuple(MODEL[1::2]))
    digests = []
    for number, order in enumerate((("test", "train"), ("train", "test"))):
        dataset = Dataset(loaded, place.folder / f"home-{number}", quiet=True)
        digests.append({role: dataset.split(role).manifest.digest for role in order})
    assert digests[0] == digests[1]
    assert digests[0]["test"] == Dataset(loaded, place.folder / "home", True).split("test").manifest.digest
    examined(len(digests) + 1, "homes filled in different orders", at_least=3)
