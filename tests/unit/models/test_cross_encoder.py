"""The model that scores pairs: what it is built from, what it is saved as, and the loss on the cells that exist."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from pydantic import TypeAdapter

from mpr.errors import DataError, RecipeError, StorageError
from mpr.models import cross_encoder, towers_folder
from mpr.models.cross_encoder import CrossEncoder, Head
from mpr.models.templates import PairTemplate
from mpr.recipe import read, strict_yaml
from mpr.recipe.keys import ObjectivePart
from mpr.runtime.processes import Place
from mpr.training import _block
from mpr.training._block import Found
from mpr.training._loss import Terms
from tests import shipped
from tests.conftest import Examined
from tests.faults.contradictory_searches import TREC
from tests.faults.contradictory_tasks import READER
from tests.unit import tiny_models
from tests.unit.data.test_token_batches import pairs_of
from tests.unit.framings import texts
from tests.unit.scorers import settings, stirred

BOTH = [(one, other) for one, other in texts(5) if one and other][:24]


def built(folder: Path, family: str = "bert", seed: int = 1) -> CrossEncoder:
    base = tiny_models.published(folder / family, family)
    return cross_encoder.build(settings(base=str(base)), tiny_models.tokenizer_of(family), seed).eval()


def scores(model: CrossEncoder, backend: Any, folder: Path) -> torch.Tensor:
    made = pairs_of(folder, backend, BOTH, 14, 40)
    rows = np.arange(len(BOTH))
    with torch.no_grad():
        found: torch.Tensor = model(pair=made.tokens(rows, rows))
    return found


def test_the_written_folder_is_read_again(tmp_path: Path) -> None:
    model, tokenizer = stirred(built(tmp_path)), tiny_models.tokenizer_of("bert")
    cross_encoder.write(tmp_path / "model", model, tokenizer, {"updates": 3})
    again, backend, found = cross_encoder.load(tmp_path / "model")
    assert torch.equal(scores(again, backend, tmp_path / "a"), scores(model, tokenizer, tmp_path / "b"))
    assert (found.task, found.towers.passage_length, found.towers.base) == ("cross_encoder", 40, "bert")
    assert found.frame.segments == PairTemplate.of(tokenizer).segments
    assert str(tmp_path) not in (tmp_path / "model" / "mpr.json").read_text()


def test_each_reader_refuses_the_other_kind(tmp_path: Path) -> None:
    from mpr.models import towers

    tokenizer = tiny_models.tokenizer_of("bert")
    cross_encoder.write(tmp_path / "pairs", built(tmp_path), tokenizer)
    two = towers.build(tiny_models.settings(base=str(tmp_path / "bert")), tokenizer, 1)
    towers_folder.write(tmp_path / "towers", two, tokenizer)
    with pytest.raises(DataError, match=r"mpr\.json.*task.*of a cross-encoder, which scores pairs, and what is wanted"):
        towers_folder.load(tmp_path / "pairs")
    with pytest.raises(DataError, match=r"mpr\.json.*task.*of a dual encoder, which makes vectors, and what is wanted"):
        cross_encoder.load(tmp_path / "towers")
    (tmp_path / "pairs" / "mpr.json").write_text("{}")
    with pytest.raises(StorageError):
        cross_encoder.load(tmp_path / "pairs")


def test_a_contract_that_is_not_that_of_its_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest would say so first, so it is written anew around the changed file."""
    from mpr import storage

    tokenizer = tiny_models.tokenizer_of("bert")
    cross_encoder.write(tmp_path / "model", built(tmp_path), tokenizer)
    content = json.loads((tmp_path / "model" / "mpr.json").read_text())
    for number, (key, value) in enumerate({"tokenizer": "0" * 64, "frame": content["frame"] | {"prefix": []}}.items()):
        with storage.stage(tmp_path / f"other-{number}", "model") as stage:
            for path in sorted((tmp_path / "model").iterdir()):
                changed = json.dumps(content | {key: value}).encode() if path.name == "mpr.json" else path.read_bytes()
                if path.name != "manifest.json":
                    stage.write(path.name, changed)
        with pytest.raises(DataError, match=f"{key}.*is not that of tokenizer.json"):
            cross_encoder.load(tmp_path / f"other-{number}")


def test_what_a_base_lacks_follows_from_the_seed(tmp_path: Path) -> None:
    apart = tiny_models.drawn_by_seed(lambda seed: built(tmp_path, seed=seed))
    assert apart == {"model.classifier.weight"}, "the pooler came with the base"


def test_the_last_layer_is_computed_in_32_bits(tmp_path: Path) -> None:
    model = stirred(built(tmp_path))
    assert isinstance(model.model.classifier, Head)
    inputs = torch.randn(4, 32, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert model.model.classifier(inputs).dtype == torch.float32
        found = scores(model, tiny_models.tokenizer_of("bert"), tmp_path)
    assert found.dtype == torch.float32
    assert not torch.equal(found, found.bfloat16().float())


@pytest.mark.parametrize("change, what", [
    ({"num_labels": 3}, "a head of another size"),
    ({"family": "qwen3"}, "reads its score off the last token"),
    ({"auto_map": {"AutoModel": "x"}}, "runs no code"),
])  # fmt: skip
def test_bases_that_give_no_single_score(change: dict[str, Any], what: str, tmp_path: Path) -> None:
    family = change.get("family", "bert")
    base = tiny_models.published(tmp_path / "base", family)
    if "num_labels" in change:
        other = transformers.AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)
        other.save_pretrained(base)
    if "auto_map" in change:
        config = json.loads((base / "config.json").read_text())
        (base / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(DataError, match=what):
        cross_encoder.build(settings(base=str(base)), tiny_models.tokenizer_of(family), 1)


def test_a_base_with_a_layer_missing(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    base = tiny_models.published(tmp_path / "base")
    weights = load_file(base / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "layer.1.output" not in name}
    save_file(kept, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match="lacks weights of the encoder, which would be random"):
        cross_encoder.build(settings(base=str(base)), tiny_models.tokenizer_of("bert"), 1)


@pytest.mark.parametrize("key, value", [("share", False), ("pooling", "mean"), ("normalize", True), ("title", "pair"),
                                        ("projection", 8), ("passage_length", 14)])  # fmt: skip
def test_towers_that_it_has_no_use_for(key: str, value: Any) -> None:
    with pytest.raises(RecipeError, match=rf"towers\.{key}"):
        cross_encoder.build(settings(**{key: value}), tiny_models.tokenizer_of("bert"), 1)


def test_the_loss_is_that_of_the_cells_that_exist(tmp_path: Path) -> None:
    """Against a loss written out for two rows: log of the softmax over the row's own pairs."""
    model = stirred(built(tmp_path))
    made = pairs_of(tmp_path, tiny_models.tokenizer_of("bert"), BOTH, 14, 40)
    cells = torch.tensor([0, 1, 5, 7])  # of 2 rows and 4 passages
    pair = made.tokens(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 3]))
    positives = torch.tensor([[1, 0, 0, 0], [0, 0, 0, 1]]).bool()
    negatives = torch.tensor([[0, 1, 0, 0], [0, 1, 0, 0]]).bool()
    batch = {"pair": pair, "cell_N": cells, "positives_QP": positives, "negatives_QP": negatives}
    entry: Any = TypeAdapter(ObjectivePart).validate_python({"name": "nll"})
    found: Found = _block.pair_loss(model, batch, Terms([entry]), Place())
    with torch.no_grad():
        one, two, three, four = model(pair=pair)
    expected = -(torch.log_softmax(torch.stack([one, two]), 0)[0] + torch.log_softmax(torch.stack([three, four]), 0)[1])
    assert float(found.loss.detach()) == pytest.approx(float(expected) / 2, rel=1e-6)
    assert found.seen.scores_OP[0].tolist() == [float(one), float(two), 0.0, 0.0]
    found.loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)
    pull = found.pull()
    assert pull[~(positives | negatives)].abs().max() == 0
    assert pull[positives | negatives].abs().min() > 0


def test_recipes_that_contradict_nothing(examined: Examined) -> None:
    document = strict_yaml.parse(shipped.text(TREC).encode(), "r.yaml")
    tried = 0
    for more in ([], ["towers.title=none"], ["objective=[{name: joint_lh, columns: own}]"], ["scale.processes=2"]):
        assert read.from_document(document, "r", [*READER, *more]).task == "cross_encoder"
        tried += 1
    examined(tried, "recipes for a cross-encoder", at_least=4)
