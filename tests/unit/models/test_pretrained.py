"""What may stand in a model folder: complete safetensors of a known text encoder, and nothing that could run."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from mpr.errors import DataError, MprError, RecipeError
from mpr.models import pretrained, weight_files
from tests.conftest import Examined
from tests.unit.framings import bert
from tests.unit.tiny_models import SMALL, bert_config, difference, dpr_pair, published


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.canary,)


def trap(canary: Path) -> bytes:
    return pickle.dumps(Trap(canary))


def refusal(folder: Path, kind: type[MprError] = DataError) -> str:
    with pytest.raises(kind) as caught:
        pretrained.load(str(folder), None)
    assert caught.value.exit_code == 2
    return str(caught.value)


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rename(folder: Path, change: Any) -> None:
    """Files the weights under other names; those whose new name is empty go."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file({change(name): tensor for name, tensor in tensors.items() if change(name)}, path, {"format": "pt"})


def test_what_is_known_of_a_base(tmp_path: Path) -> None:
    folder = published(tmp_path / "user" / "small")
    found = pretrained.load(str(folder), None)
    assert found.base.name == "small"
    assert found.base.local
    assert found.base.revision is None
    assert found.base.sha256 == weight_files.digest(folder)
    assert str(tmp_path) not in found.base.model_dump_json()
    other = published(tmp_path / "other", seed=1)
    assert weight_files.digest(other) != found.base.sha256
    with pytest.raises(RecipeError, match=r"towers\.base: a folder has no revision"):
        pretrained.load(str(folder), "0" * 40)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_weights_become_32_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    model = pretrained.load(str(published(tmp_path / "half", dtype=dtype)), None).model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_heads_of_other_tasks_stay_behind(tmp_path: Path) -> None:
    config = bert_config(bert())
    for name in ("BertForMaskedLM", "BertForPreTraining", "BertForSequenceClassification"):
        whole = getattr(transformers, name)(config).eval()
        whole.save_pretrained(tmp_path / name)
        model = pretrained.load(str(tmp_path / name), None).model
        ids = torch.tensor([[5, 6, 7]])
        expected = whole.bert(input_ids=ids).last_hidden_state
        assert difference(model(input_ids=ids).last_hidden_state, expected) == 0
        assert model.pooler is None


def test_sharded_weights(tmp_path: Path) -> None:
    whole = published(tmp_path / "whole")
    model = transformers.AutoModel.from_pretrained(whole)
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    names = [path.name for path in weight_files.of(tmp_path / "shards")]
    assert len(names) > 2
    found = pretrained.load(str(tmp_path / "shards"), None)
    expected = pretrained.load(str(whole), None).model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.model.state_dict().items())
    (tmp_path / "shards" / names[1]).unlink()
    assert names[1] in refusal(tmp_path / "shards")
    index = tmp_path / "shards" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../whole/model.safetensors"}}))
    assert "is not a file beside it" in refusal(tmp_path / "shards")


def test_every_weight_must_be_there(tmp_path: Path, examined: Examined) -> None:
    """transformers would fill what is missing with random numbers and only print a table."""
    whole = published(tmp_path / "whole")
    names = [name for name in load_file(whole / "model.safetensors") if not name.startswith("pooler.")]
    for number, name in enumerate(names):
        folder = Path(shutil.copytree(whole, tmp_path / str(number)))
        rename(folder, lambda each, gone=name: "" if each == gone else each)
        message = refusal(folder)
        assert (
            f"lacks weights of the encoder, which would be random: 1 (the encoder has {len(names)}): {name}" in message
        )
    examined(len(names), "missing weights", at_least=30)


def test_layers_must_not_be_left_over(tmp_path: Path) -> None:
    folder = published(tmp_path / "deep")
    edit(folder, num_hidden_layers=1)
    assert "that its config.json has no place for: 16 (the encoder has 21): encoder.layer.1." in refusal(folder)
    whole = transformers.BertForMaskedLM(bert_config(bert()))
    whole.save_pretrained(tmp_path / "head")
    edit(tmp_path / "head", num_hidden_layers=1)  # here the same layers are filed under `bert.`
    assert "has no place for: 16" in refusal(tmp_path / "head")


def test_counters_of_old_checkpoints_are_no_weights(tmp_path: Path) -> None:
    folder = published(tmp_path / "old")
    path = folder / "model.safetensors"
    save_file(load_file(path) | {"embeddings.position_ids": torch.arange(64)[None]}, path, {"format": "pt"})
    pretrained.load(str(folder), None)


def test_sizes_must_fit(tmp_path: Path) -> None:
    folder = published(tmp_path / "narrow")
    edit(folder, hidden_size=64)
    assert "cannot be loaded as BertModel" in refusal(folder)


def test_a_dpr_encoder_under_the_wrong_name_is_refused(tmp_path: Path) -> None:
    _, context = dpr_pair(tmp_path)
    edit(context, architectures=["DPRQuestionEncoder"])
    assert "lacks weights of the encoder, which would be random: 37" in refusal(context)
    edit(context, architectures=["DPRReader"])
    assert "readers are no encoders" in refusal(context)


# ---- nothing runs


def test_pickles_are_refused_by_kind(tmp_path: Path, examined: Examined) -> None:
    canary, whole = tmp_path / "canary", published(tmp_path / "whole")
    names = ("adapter.bin", "model.pt", "weights.pth", "last.ckpt", "model.pkl")
    for name in names:
        folder = Path(shutil.copytree(whole, tmp_path / name))
        (folder / "model.safetensors").unlink()
        (folder / name).write_bytes(trap(canary))
        assert f"has its weights in a pickle ({name}), which can run code when it is read" in refusal(folder)
    folder = Path(shutil.copytree(whole, tmp_path / "old"))
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(trap(canary))
    assert "pytorch_model.bin: cannot be read as a file of tensors and nothing else" in refusal(folder)
    folder = Path(shutil.copytree(whole, tmp_path / "posing"))
    (folder / "model.safetensors").write_bytes(trap(canary))
    assert "is not a safetensors file" in refusal(folder)
    folder = Path(shutil.copytree(whole, tmp_path / "both"))
    (folder / "pytorch_model.bin").write_bytes(trap(canary))
    pretrained.load(str(folder), None)  # beside safetensors a pickle is never looked at
    assert not canary.exists()
    pickle.loads(trap(canary))
    assert canary.exists(), "the trap does not fire"
    examined(len(names) + 3, "traps")


def test_code_that_comes_with_a_model_is_refused(tmp_path: Path) -> None:
    canary, folder = tmp_path / "canary", published(tmp_path / "base")
    (folder / "code.py").write_text(f"open({str(canary)!r}, 'w')\n")
    edit(folder, auto_map={"AutoModel": "code.Model"})
    assert "needs code of its own (AutoModel), and mpr runs no code that comes with a model" in refusal(folder)
    edit(folder, auto_map={"AutoConfig": "code.Config"}, model_type="own")
    assert "(AutoConfig)" in refusal(folder)
    edit(folder, auto_map={"AutoTokenizer": "code.Tokenizer"}, model_type="bert")
    pretrained.load(str(folder), None)  # tokenizers are read from tokenizer.json alone
    assert not canary.exists()


# ---- what else a folder may be


def test_folders_that_hold_no_text_encoder(tmp_path: Path, examined: Examined) -> None:
    tokenizer, base = bert(), published(tmp_path / "base")
    tries = 0

    def copy(name: str) -> Path:
        nonlocal tries
        tries += 1
        return Path(shutil.copytree(base, tmp_path / name))

    folder = copy("unweighted")
    (folder / "model.safetensors").unlink()
    assert "has no model.safetensors" in refusal(folder)
    (folder / "adapter_config.json").write_text("{}")
    assert "holds an adapter, not an encoder" in refusal(folder)
    folder = copy("unknown")
    edit(folder, model_type="no_such_model")
    assert "is no configuration that this version of transformers knows" in refusal(folder)
    for number, text in enumerate(("{", "[]", "\xff")):
        folder = copy(f"broken {number}")
        (folder / "config.json").write_bytes(text.encode("latin-1"))
        assert "config.json" in refusal(folder)
    folder = copy("without")
    (folder / "config.json").unlink()
    assert "cannot be read: No such file" in refusal(folder)
    t5 = transformers.T5Config(vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    transformers.T5Model(t5).save_pretrained(tmp_path / "t5")
    assert "'t5' is an encoder with a decoder" in refusal(tmp_path / "t5")
    examined(tries + 1, "folders", at_least=6)


def test_images_are_no_texts(tmp_path: Path) -> None:
    from mpr.models import towers
    from tests.unit.tiny_models import settings

    vision = transformers.ViTConfig(**SMALL, image_size=16, patch_size=8)
    transformers.ViTModel(vision, add_pooling_layer=False).save_pretrained(tmp_path / "vit")
    with pytest.raises(DataError, match="ViTModel is not an encoder of texts"):
        towers.build(settings(base=str(tmp_path / "vit")), bert().backend_tokenizer, 1)


# ---- the Hub


def test_names_that_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError, match=r"towers\.base: there is no folder '.*/no/such/folder' \(check the path"):
        pretrained.load(str(tmp_path / "no" / "such" / "folder"), None)
    with pytest.raises(DataError, match=r"'some/model' at its newest revision is not on this machine"):
        pretrained.load("some/model", None)


def test_a_snapshot_brings_only_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download with the patterns that are asked for, of a repository full of other things."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    source, snapshot = published(tmp_path / "source"), tmp_path / "snapshots" / commit
    for name in ("pytorch_model.bin", "modeling.py", "tf_model.h5", "vocab.txt", "onnx/model.onnx"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes(b"x")

    def download(name: str, *, revision: str | None, allow_patterns: list[str], local_files_only: bool = False) -> str:
        assert name == "some/model"
        assert revision in (None, commit)
        names = [path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()]
        snapshot.mkdir(parents=True, exist_ok=True)
        for each in huggingface_hub.utils.filter_repo_objects(names, allow_patterns=allow_patterns):
            shutil.copy(source / each, snapshot / each)
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    for revision in (None, commit):
        found = pretrained.load("some/model", revision)
        assert found.base.name == "some/model"
        assert not found.base.local
        assert found.base.revision == commit  # also when the newest was asked for
    assert sorted(path.name for path in snapshot.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
