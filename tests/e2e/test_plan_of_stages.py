"""Rows that are trained in stages: what each stage starts from and reads, what is kept, and what one stage is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mpr import storage
from mpr.data.candidates import CandidateTable
from mpr.data.dataset import Dataset
from mpr.errors import DataError, MprError, RecipeError, StorageError
from mpr.recipe import read
from mpr.rows import pipeline, verification
from mpr.rows._stages import Row
from mpr.rows.pipeline import Pipeline
from mpr.rows.receipts import Receipts
from mpr.runtime.processes import Place
from mpr.search.inference import Model
from mpr.training import launch as training
from mpr.training import learner, run_folder
from tests.conftest import Examined
from tests.faults.rows import PLAN
from tests.published import ROOT, smaller

pytestmark = pytest.mark.long

TEXT = smaller((ROOT / "recipes" / "quickstart.yaml").read_text("utf-8"))
STAGES = ["data", "mine first", "train first", "mine second", "train second", "encode", "search", "evaluate"]


def row(place: Path, *overrides: str, name: str = "two", text: str = TEXT + PLAN, system: str = "trained") -> Row:
    file = place / f"{name}.yaml"
    file.write_text(text, "utf-8")
    return Row(read.load(file, overrides), file, system, place / "home", place / name, quiet=True)


def made(one: Row) -> list[str]:
    """What the pipeline said while it made a row."""
    said: list[str] = []
    Pipeline(one, said.append).run()
    return [" ".join(line.split()) for line in said]


def kept(said: list[str]) -> list[str]:
    return [line.partition(" kept")[0] for line in said if " kept" in line]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the row of two stages, finished."""
    folder = tmp_path_factory.mktemp("plan")
    made(row(folder))
    return folder


@pytest.fixture
def copied(place: Path, tmp_path: Path) -> Path:
    shutil.copytree(place, tmp_path, dirs_exist_ok=True, copy_function=shutil.copyfile)
    return tmp_path


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_the_second_stage_starts_from_and_searches_with_the_first(place: Path, examined: Examined) -> None:
    one = row(place)
    first, second = one.trainings
    begun, expected = (
        learner.towers_of(second.dataset).question.transformer.state_dict(),
        weights(first.folder / "model"),
    )
    assert all(torch.equal(tensor, begun[name]) for name, tensor in expected.items())
    after = weights(second.folder / "model")
    assert not all(torch.equal(tensor, after[name]) for name, tensor in expected.items())
    receipts = Receipts(one.folder, one.home)
    mined = receipts.read("mine second")
    assert mined is not None
    (table,) = (CandidateTable(receipts.artefact(output)) for output in mined.outputs)
    digest = storage.read_manifest(first.folder / "model").digest
    assert table.manifest.receipt["origin"]["model"] == digest
    assert str(place) not in json.dumps(table.manifest.receipt), "the digest of the model, and no path"
    assert storage.read_manifest(one.folder / "model").digest == storage.read_manifest(second.folder / "model").digest
    examined(len(expected), "tensors", at_least=15)


def test_every_stage_has_its_receipts_and_the_run_verifies(place: Path) -> None:
    one = row(place)
    receipts = Receipts(one.folder, one.home)
    assert [stage.name for stage in one.stages()] == STAGES
    assert all(receipts.read(name) for name in STAGES)
    assert {path.stem for path in (one.folder / "receipts").glob("*-*")} == {
        "mine-first", "train-first", "mine-second", "train-second"
    }  # fmt: skip
    assert [line[:12].strip() for line in pipeline.status(one.folder, one.home)] == STAGES
    assert verification.mismatches(verification.opened(one.folder, one.home)) == []
    assert kept(made(one)) == STAGES
    damaged = one.folder / "stages" / "first" / "model" / "model.safetensors"
    whole = damaged.read_bytes()
    damaged.chmod(0o644)
    damaged.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    (found,) = verification.mismatches(verification.opened(one.folder, one.home))
    damaged.write_bytes(whole)
    assert found.key == "train first"


def test_a_changed_second_stage_leaves_the_first(copied: Path) -> None:
    changed = row(copied, "plan.second.training.learning_rate=1.0e-4")
    before = storage.read_manifest(changed.folder / "model").digest
    with pytest.raises(RecipeError) as caught:
        made(changed)
    (problem,) = caught.value.problems
    assert (problem.key, problem.where) == ("train second", str(copied / "two" / "stages" / "second"))
    assert "move this folder of the stage away" in problem.fix
    (copied / "two" / "stages" / "second").rename(copied / "away")
    said = made(changed)
    assert kept(said) == ["data", "mine first", "train first", "mine second"]
    assert storage.read_manifest(changed.folder / "model").digest != before
    assert verification.mismatches(verification.opened(changed.folder, changed.home)) == []


def test_a_changed_first_stage_is_refused_and_then_all_is_made_anew(copied: Path) -> None:
    changed = row(copied, "plan.first.draw.questions=sequential")
    with pytest.raises(RecipeError, match="train first: the trained model was made from other inputs: recipe"):
        made(changed)
    shutil.rmtree(copied / "two" / "stages" / "first")
    with pytest.raises(RecipeError, match="train second: the trained model was made from other inputs: mine second, t"):
        made(changed)
    shutil.rmtree(copied / "two" / "stages" / "second")
    assert kept(made(changed)) == STAGES[:4], "the first is that of the attempt before"


def test_other_data_of_a_later_stage_leaves_the_first(copied: Path) -> None:
    changed = row(copied, "plan.second.towers.train=both", "plan.second.data.repair.without_positives=drop")
    with pytest.raises(RecipeError, match="train second: the trained model was made from other inputs"):
        made(changed)


def test_a_plan_of_one_stage_is_the_recipe_without_a_plan(place: Path, tmp_path: Path) -> None:
    flat = row(tmp_path, name="flat", text=TEXT)
    one = row(tmp_path, name="one", text=TEXT.replace("max_steps: 2", "max_steps: 9") + "\nplan:\n  - {name: only, "
              "training: {max_steps: 2}}\n")  # fmt: skip
    for each in (flat, one):
        shutil.copytree(place / "home", tmp_path / "home", dirs_exist_ok=True, copy_function=shutil.copyfile)
        training.run(read.load(each.file, ()), training.Launch(each.home, each.folder, quiet=True))
    files = [storage.read_manifest(each.folder / "model").files for each in (flat, one)]
    assert files[0] == files[1]
    assert not (flat.folder / "stages").exists()


def test_stages_by_hand(place: Path, tmp_path: Path) -> None:
    """`mpr train --stage`: in their order, into the same folder, with the same weights as all at once."""
    shutil.copytree(place / "home", tmp_path / "home", copy_function=shutil.copyfile)
    one = row(tmp_path)

    def trained(stage: str | None) -> None:
        training.run(read.load(one.file, ()), training.Launch(one.home, one.folder, None, True, stage))

    with pytest.raises(DataError, match=r"the model of 'stage:first' is not there yet"):
        trained("second")
    with pytest.raises(RecipeError, match=r"no stage is called 'secnd' \(did you mean 'second'\?\)"):
        trained("secnd")
    trained("first")
    assert not (one.folder / "model").exists()
    trained("second")
    assert storage.read_manifest(one.folder / "model").digest == storage.read_manifest(place / "two" / "model").digest
    trained(None)  # nothing is left to do
    for stage in one.recipe.stages:  # a row that has a model gets that of another stage in its place
        made_of = storage.read_manifest(one.folder / "stages" / stage.stage / "model")
        assert storage.verify(run_folder.publish_last_stage(one.folder, stage)).digest == made_of.digest
    flat = row(tmp_path, name="flat", text=TEXT)
    with pytest.raises(RecipeError, match="the recipe has no plan"):
        training.run(read.load(flat.file, ()), training.Launch(flat.home, flat.folder, None, True, "first"))


def test_several_processes_train_one_stage_at_a_time(tmp_path: Path) -> None:
    found = row(tmp_path, "scale.processes=2", "plan.first.scale.processes=1").recipe
    for world in (1, 2):
        with pytest.raises(RecipeError) as caught:
            training.chosen(found, None, Place(0, world, 0, world))
        first, second = caught.value.problems[0].fix.removeprefix("in this order: ").split("; ")
        assert first.startswith("python -m mpr.train ")
        assert first.endswith(" --stage first")
        assert second.startswith("torchrun --nproc_per_node 2 -m mpr.train ")
        assert second.endswith(" --stage second")
    alone = row(tmp_path).recipe
    assert len(training.chosen(alone, None, Place(0, 1, 0, 1))) == 2
    with pytest.raises(RecipeError, match="one stage at a time"):
        training.chosen(alone, None, Place(1, 2, 1, 2))
    (stage,) = training.chosen(found, "second", Place(0, 2, 0, 2))
    assert (stage.stage, stage.scale.processes) == ("second", 2)


def test_untrained_is_the_model_as_the_first_stage_found_it(place: Path, tmp_path: Path) -> None:
    one = row(place)
    new = Model.untrained(one.recipe.towers, one.dataset.tokenizer(), 42)
    assert learner.untrained(one.dataset).digest == new.digest
    folder = place / "two" / "model"
    other = row(tmp_path, name="other", text=f"start: {folder}\ndraft: true\n{TEXT}{PLAN}")
    data = Dataset(other.recipe, place / "home", True)
    found = learner.untrained(data)
    assert found.digest != new.digest
    before, after = weights(folder), found.towers.question.transformer.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_a_run_from_a_folder_goes_on_only_from_that_model(place: Path, tmp_path: Path) -> None:
    """With two copies of its shared encoder, which part; another model in its place is another run."""
    shutil.copytree(place / "home", tmp_path / "home", copy_function=shutil.copyfile)
    shutil.copytree(place / "two" / "stages" / "first" / "model", tmp_path / "begun", copy_function=shutil.copyfile)
    text = f"start: {tmp_path / 'begun'}\ndraft: true\n{TEXT}"
    one = row(tmp_path, "towers.share=false", name="parted", text=text)
    launch = read.load(one.file, one.recipe.overrides), training.Launch(one.home, one.folder, quiet=True)
    training.run(*launch)
    question, passage = (load_file(one.folder / "model" / name / "model.safetensors")
                         for name in ("query_0_Transformer", "document_0_Transformer"))  # fmt: skip
    assert not all(torch.equal(tensor, passage[name]) for name, tensor in question.items())
    said = json.loads((one.folder / "run.json").read_bytes())
    assert said["data"]["start"] == storage.read_manifest(tmp_path / "begun").digest
    shutil.rmtree(tmp_path / "begun")
    shutil.copytree(place / "two" / "model", tmp_path / "begun", copy_function=shutil.copyfile)
    with pytest.raises(RecipeError, match=r"data\.start: "):
        training.run(*launch)
    planned = row(tmp_path, name="parted")
    with pytest.raises(StorageError, match="is the run of a recipe without a plan"):
        training.run(read.load(planned.file, ()), training.Launch(one.home, one.folder, quiet=True))


def test_a_start_that_does_not_agree_ends_before_training(place: Path, tmp_path: Path) -> None:
    text = f"start: {place / 'two' / 'model'}\ndraft: true\n{TEXT}".replace("pooling: mean", "pooling: cls")
    one = row(tmp_path, name="other", text=text)
    with pytest.raises(MprError, match=r"towers\.pooling: the model was trained with 'mean', the recipe says 'cls'"):
        training.run(read.load(one.file, ()), training.Launch(place / "home", one.folder, quiet=True))
    assert one.recipe.stages == (one.recipe,)
