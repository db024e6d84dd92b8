"""What is brought by name counts by content: a receipt notices that somebody exchanged it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel

from mpr import storage
from mpr.data.dataset import Dataset
from mpr.errors import DataError, RecipeError
from mpr.mining.mine import Mined
from mpr.models import towers, towers_folder
from mpr.recipe import read as recipe_file
from mpr.rows._stages import Row
from mpr.rows.receipts import Receipt
from mpr.training import launch
from mpr.training.run_folder import RunFolder
from tests.e2e import collection
from tests.unit.encodings import BERT, PROMPTS
from tests.unit.tiny_models import published, settings

KNOWN = "{name: known_positives, tiers: [gold], siblings: ignore, shared: ignore, duplicates: ignore, doubtful: ignore}"
SCORES = f"labels=[{KNOWN}, {{name: teacher, missing: drop, scores: {{file: extra, format: tsv}}}}]"
DENSE = "depth: 4, dtype: float32, compute: float32"


def _reads(folder: Path, recipe: Path, *sets: str) -> dict[str, dict[str, str]]:
    """What every stage of a training says that it reads, were those before it done."""
    found = recipe_file.load(recipe, sets)
    row = Row(found, recipe, "trained", folder / "home", folder / "run", quiet=True)
    done = {
        name: Receipt(stage=name, inputs={}, outputs={}, code="", environment={}, cost={}, attempts=1)
        for name in ("data", "mine", "label", "train", "encode", "search")
    }
    return {stage.name: stage.reads(done) for stage in row.stages() if stage.name in ("data", "mine", "label", "train")}


def _file(text: str) -> Callable[[Path], None]:
    return lambda place: storage.write_file(place, text.encode())


def _model(seed: int) -> Callable[[Path], None]:
    def write(place: Path) -> None:
        storage.remove(place)
        towers_folder.write(place, towers.build(settings(**PROMPTS), BERT, seed), BERT)

    return write


FILES = [_file("t0\tp8\t1.5\n"), _file("t0\tp8\t2.5\n")]
MODELS = [_model(1), _model(2)]


@pytest.mark.parametrize(
    "sets, stage, writes",
    [
        (["sources=[{name: file, as: bm25, file: extra, format: trec, depth: 4}]"], "mine", FILES),
        ([f"sources=[{{name: dense, as: bm25, model: FOLDER/extra, {DENSE}}}]"], "mine", MODELS),
        ([SCORES], "mine", FILES),
        (["data.augment={file: extra}", "labels[0].tiers=[gold, augmented]"], "data", FILES),
    ],
)
def test_what_is_exchanged_is_noticed(
    sets: list[str], stage: str, writes: list[Callable[[Path], None]], tmp_path: Path
) -> None:
    recipe, extra = collection.write(tmp_path), tmp_path / "extra"
    changes, read = [one.replace("FOLDER", str(tmp_path)) for one in sets], []
    for write in (*writes, writes[0]):
        write(extra)
        read.append(_reads(tmp_path, recipe, *changes))
    first, other, again = read
    assert first == again, "not when or how often it was written, but what it is"
    assert [name for name in first if first[name] != other[name]] == [stage]
    assert not any(str(tmp_path) in key or str(tmp_path) in value for key, value in first[stage].items())


def test_encoders_in_folders_count_by_their_weights(tmp_path: Path) -> None:
    recipe, base = collection.write(tmp_path), tmp_path / "bert"
    read = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=9)).save_pretrained(
            base
        )
        read.append(_reads(tmp_path, recipe, "towers.new=null", f"towers.base={base}")["train"])
    first, other = read
    assert [key for key in first if first[key] != other[key]] == ["weights of towers.base"]


def test_a_run_does_not_go_on_from_another_encoder(tmp_path: Path) -> None:
    """What a training claims when it begins is what its receipt says in the end."""
    recipe, base = collection.write(tmp_path), published(tmp_path / "bert")
    found = recipe_file.load(recipe, ["towers.new=null", f"towers.base={base}"])
    mined, run = Mined(Dataset(found, tmp_path / "home", quiet=True)), RunFolder(tmp_path / "run")
    with ExitStack() as held:
        launch.prepared(mined, run, 1, held)
    published(base, seed=1)
    with ExitStack() as held, pytest.raises(RecipeError, match=r"weights of towers\.base"):
        launch.prepared(mined, run, 1, held)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not there") as error:
        _reads(tmp_path, collection.write(tmp_path), SCORES)
    assert "labels[1].scores.file" in str(error.value)
