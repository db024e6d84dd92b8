"""What of a run is published: the files on the list, whole, of one run; and what is not a row is refused."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mpr import storage
from mpr.corpora import Pin, invented_world
from mpr.errors import DataError, MprError
from mpr.publishing import publication
from mpr.publishing._secret_scan import Scan
from mpr.publishing.publication import File, Publication, PushOptions, of_run
from mpr.recipe import lock, plan, read
from mpr.rows.result import Result
from tests import published
from tests.conftest import Examined

REPO = "tester/small"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return published.copied(tmp_path)


def names(made: Publication) -> list[str]:
    return [file.name for file in made.files]


def refused(wish: PushOptions) -> str:
    with pytest.raises(MprError) as caught:
        of_run(wish)
    return str(caught.value)


@pytest.mark.long
def test_the_list(run: Path, examined: Examined) -> None:
    """All of the model, the recipe, the result, the runs, the card; each with the bytes that lie there."""
    made = of_run(PushOptions(run, REPO))
    model = [path.relative_to(run / "model").as_posix() for path in (run / "model").rglob("*") if path.is_file()]
    beside = ["README.md", "recipe.yaml", "result.json", "rankings/test/manifest.json", "rankings/test/run.trec"]
    assert names(made) == sorted(model + beside)
    places = {name: run / "model" / name for name in model} | {"result.json": run / "result.json"}
    places |= {"recipe.yaml": run / "recipe" / "small.yaml"}
    places |= {name: run / name for name in beside if name.startswith("rankings/")}
    for file in made.files:
        data = file.open().read()
        if file.name not in ("README.md", "result.json"):  # those are rendered
            assert (file.bytes, file.sha256) == (len(data), storage.sha256_file(places[file.name]))
        assert made.belongs(file.name) == (file.name != "README.md")
    assert json.loads(next(file for file in made.files if file.name == "result.json").open().read()) == json.loads(
        (run / "result.json").read_bytes()
    )
    examined(len(made.files), "files", at_least=14)


def test_nothing_else_ever_goes(run: Path, examined: Examined) -> None:
    """Strangers in the run folder stay; in an artefact they end the push."""
    before = names(of_run(PushOptions(run, REPO)))
    strangers = [
        "optimizer.pt",
        "training_args.bin",
        "notes.md",
        "model.bak/config.json",
        ".env",
        "rankings/x/run.trec",
    ]
    for name in strangers:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes(b"x")
    assert names(of_run(PushOptions(run, REPO))) == before
    kept = {"checkpoints", "metrics.jsonl", "run.json", "vectors", "receipts"}
    assert kept <= {path.name for path in run.iterdir()}
    assert not kept & {name.partition("/")[0] for name in before}
    (run / "model" / "pytorch_model.bin").write_bytes(b"x")
    assert "pytorch_model.bin: file is not in the manifest" in refused(PushOptions(run, REPO))
    examined(len(strangers) + len(kept), "things that stayed", at_least=10)


@pytest.mark.parametrize(
    "name",
    ["training_args.bin", "optimizer.pt", "pytorch_model.bin", "modeling.py", "1_Pooling/x.json", "notes.txt",
     "a/mpr.json", "rng_state.pth", "trainer_state.json", "query_0_Transformer/checkpoint-1/config.json", "vocab.pkl",
     ".env"],
)  # fmt: skip
def test_a_model_with_a_stranger_in_its_manifest(run: Path, tmp_path: Path, name: str) -> None:
    """A manifest can be true and list what nobody should get."""
    manifest = storage.read_manifest(run / "model")
    with storage.stage(tmp_path / "other", "model", manifest.receipt) as stage:
        for file in manifest.files:
            stage.write(file, (run / "model" / file).read_bytes())
        stage.write(name, b"x")
    assert f"holds '{name}', which is no file of a model of mpr" in refused(
        PushOptions(run, REPO, model=tmp_path / "other")
    )


def _draft(document: dict[str, Any]) -> None:
    document["recipe"]["draft"] = True


def _dirty(document: dict[str, Any]) -> None:
    document["environment"]["code"]["dirty"] = True


def _fallback(document: dict[str, Any]) -> None:
    document["stages"]["encode"]["fallback_blocks"] = 3


def _mixed(document: dict[str, Any]) -> None:
    document["stages"]["train"]["code"] = "0" * 64


@pytest.mark.parametrize(
    "change, why",
    [
        (_draft, "its recipe is a draft"),
        (_dirty, "the code that ran differs from its commit"),
        (_fallback, "3 blocks were encoded by the fallback"),
        (_mixed, "its stages were made by several states of the code"),
    ],
)
def test_what_is_no_row(run: Path, change: Callable[[dict[str, Any]], object], why: str) -> None:
    published.resealed(run, change)
    assert why in refused(PushOptions(run, REPO))
    made = of_run(PushOptions(run, REPO, draft=True))
    assert len(made.reasons) == 1
    assert why in made.reasons[0]
    assert f"> - {made.reasons[0]}" in made.card
    assert "must not be cited" in made.card
    assert "model-index" not in made.card


def test_a_row_is_no_draft_even_if_asked(run: Path) -> None:
    made = of_run(PushOptions(run, REPO, draft=True))
    assert made.reasons == ()
    assert "draft" not in made.card


def test_pieces_of_other_runs(run: Path, tmp_path: Path, examined: Examined) -> None:
    """Each artefact is replaced by a sound one of another run; each time it is noticed."""
    tried = 0
    untrained = run.with_name("small-seed42-untrained")
    for place, says in (
        ("scores/test", "are not the scores in result.json"),
        ("rankings/test", "is not the ranking that was scored"),
    ):
        kept = tmp_path / "kept"
        shutil.move(run / place, kept)
        shutil.copytree(untrained / place, run / place)
        assert says in refused(PushOptions(run, REPO))
        shutil.rmtree(run / place)
        shutil.move(kept, run / place)
        tried += 1
    of_run(PushOptions(run, REPO))
    manifest = storage.read_manifest(run / "model")
    with storage.stage(tmp_path / "other", "model", {"updates": 9}) as stage:
        for file in manifest.files:
            stage.write(file, (run / "model" / file).read_bytes())
    assert "is not the model that was measured" in refused(PushOptions(run, REPO, model=tmp_path / "other"))
    recipe = run / "recipe" / "small.yaml"
    recipe.write_text(recipe.read_text("utf-8").replace("learning_rate: 1.0e-3", "learning_rate: 2.0e-3"), "utf-8")
    assert "is not the recipe that ran" in refused(PushOptions(run, REPO))
    examined(tried + 2, "foreign pieces", at_least=4)


def test_overrides_are_part_of_the_recipe(run: Path) -> None:
    recipe = run / "recipe" / "small.yaml"
    recipe.write_text(recipe.read_text("utf-8").replace("max_steps: 2", "max_steps: 5"), "utf-8")
    assert "is not the recipe that ran" in refused(PushOptions(run, REPO))

    def override(document: dict[str, Any]) -> None:
        document["recipe"]["overrides"] = ["training.max_steps=2", "data.corpus.folder=(a folder)"]

    published.resealed(run, override)
    assert "`training.max_steps=2`" in of_run(PushOptions(run, REPO)).card


def test_the_recipe_is_looked_for(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (run / "recipe" / "small.yaml").read_bytes()
    shutil.rmtree(run / "recipe")
    monkeypatch.chdir(tmp_path)
    assert "is neither in the run folder nor below recipes/ (name its file with --recipe)" in refused(
        PushOptions(run, REPO)
    )
    (tmp_path / "recipes" / "mini").mkdir(parents=True)
    (tmp_path / "recipes" / "mini" / "small.yaml").write_bytes(text)
    of_run(PushOptions(run, REPO))
    (tmp_path / "named.yaml").write_bytes(text)
    of_run(PushOptions(run, REPO, recipe=tmp_path / "named.yaml"))


def test_systems_without_a_model_are_baselines(run: Path) -> None:
    words, start = run.with_name("small-bm25"), run.with_name("small-seed42-untrained")
    for other in (words, start):
        assert "which has no model of its own" in refused(PushOptions(other, REPO))
    card = of_run(PushOptions(run, REPO, baselines=(words, start))).card
    assert "| measure | this model | bm25 | untrained-seed42 | questions |" in card

    def other_questions(document: dict[str, Any]) -> None:
        document["scores"]["test"]["questions"] = "0" * 64

    published.resealed(words, other_questions)
    assert "was not measured on the questions of 'test'" in refused(PushOptions(run, REPO, baselines=(words,)))


def test_what_its_maker_pinned_goes_along(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock of the recipe, without which it would be another recipe; the card names what it pins."""
    monkeypatch.setattr(invented_world.Collection, "pins", (Pin("mine.tsv", md5="2" * 32),))
    path = run / "recipe" / "small.yaml"
    content: dict[str, Any] = {"key": "data.corpus.pins", "of": "mine.tsv", "sha256": "1" * 64, "from": "somewhere"}
    path.with_suffix(".lock").write_bytes(lock.written([lock.LockedPin(**content)], "small"))
    assert "is not the recipe that ran" in refused(PushOptions(run, REPO))

    def ran(document: dict[str, Any]) -> None:
        document["recipe"] |= {"digest": plan.digest(read.load(path)), "pinned by its maker": ["mine.tsv"]}

    published.resealed(run, ran)
    made = of_run(PushOptions(run, REPO))
    assert (
        next(file for file in made.files if file.name == "recipe.lock").source == path.with_suffix(".lock").read_bytes()
    )
    assert made.belongs("recipe.lock")
    assert "> **Pinned by its maker:** `mine.tsv`. " in made.card
    path.with_suffix(".lock").unlink()
    assert "is not the recipe that ran" in refused(PushOptions(run, REPO))


def test_links_are_refused(run: Path, tmp_path: Path, examined: Examined) -> None:
    places = [
        "result.json",
        "recipe",
        "recipe/small.yaml",
        "model",
        "scores",
        "scores/test",
        "rankings",
        "rankings/test",
    ]
    for number, place in enumerate(places):
        away = tmp_path / f"away{number}"
        shutil.move(run / place, away)
        os.symlink(away, run / place)
        assert f"{run / place}: is a link" in refused(PushOptions(run, REPO))
        (run / place).unlink()
        shutil.move(away, run / place)
    of_run(PushOptions(run, REPO))
    away = tmp_path / "weights"
    shutil.move(run / "model" / "model.safetensors", away)
    os.symlink(away, run / "model" / "model.safetensors")
    assert "is a link or a device, not a file" in refused(PushOptions(run, REPO))
    examined(len(places) + 1, "links", at_least=9)


def test_a_large_run_is_compressed_the_same_way_each_time(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publication, "LARGE", 100)
    one, two = (of_run(PushOptions(run, REPO)) for _ in range(2))
    found = next(file for file in one.files if file.name == "rankings/test/run.trec.gz")
    assert gzip.decompress(found.open().read()) == (run / "rankings" / "test" / "run.trec").read_bytes()
    assert [file.sha256 for file in one.files] == [file.sha256 for file in two.files]
    assert one.belongs(found.name)
    assert "rankings/test/run.trec" not in names(one)
    question = (run / "rankings" / "test" / "run.trec").read_bytes().split()[0].decode()
    scan = Scan.here(login=question + " Q0")
    assert found.kinds(scan) == ["the token of this machine's login to the Hub"], "what is packed is looked through"
    assert scan.kinds(found.open(), False) == []


def test_results_that_were_edited_or_lead_elsewhere(run: Path, examined: Examined) -> None:
    def role(document: dict[str, Any]) -> None:
        document["scores"]["../../outside"] = document["scores"].pop("test")

    published.resealed(run, role)
    assert "'../../outside' is no plain name" in refused(PushOptions(run, REPO))

    def row(document: dict[str, Any]) -> None:
        document["row"] = "../small"

    published.resealed(run, row)
    assert "names no row and system" in refused(PushOptions(run, REPO))
    path = run / "result.json"
    path.write_text(re.sub(r'"seed": 42', '"seed": 43', path.read_text("utf-8")), "utf-8")
    assert "was edited" in refused(PushOptions(run, REPO))
    examined(3, "results")


def test_what_a_push_may_replace() -> None:
    made = Publication(REPO, "model", "", (File("README.md", b"x"),))
    ours = ["model-00001-of-00002.safetensors", "adapter_model.safetensors", "query_2_Dense/model.safetensors",
            "document_0_Transformer/adapter/adapter_config.json", "rankings/test/run.trec.gz"]  # fmt: skip
    others = ["LICENSE", "picture.png", ".gitattributes", "README.md", "onnx/model.onnx", "notes/config.json"]
    assert [name for name in ours + others if made.belongs(name)] == ours
    data = Publication(REPO, "dataset", "", ())
    assert data.belongs("vectors/corpus/00000/rows.bin")
    assert not data.belongs("README.md")


def test_read_again(run: Path) -> None:
    assert Result.of_run(run).document["environment"]["code"]["commit"] == published.COMMIT
    with pytest.raises(DataError):
        of_run(PushOptions(run / "nowhere", REPO))
