"""Model folders: what was saved is what is loaded, every program reads the same ids, nothing private is in them."""

from __future__ import annotations

import json
import os
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from mpr import storage
from mpr.errors import DataError, StorageError
from mpr.models import templates, towers, towers_folder
from mpr.models.towers import DualEncoder
from tests.conftest import Examined
from tests.unit.framings import FRAMINGS, bert, texts
from tests.unit.tiny_models import (
    LORA,
    batch,
    difference,
    dpr_pair,
    published,
    random_rows,
    random_states,
    settings,
    tokenizer_of,
)

BERT = bert().backend_tokenizer


def moved(built: DualEncoder) -> DualEncoder:
    """As after some training: everything that learns is elsewhere than at the start."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        for _, parameter in built.trainable():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return built.eval()


def both(built: DualEncoder, rows: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat(built(question=rows, passage=rows))


def replace(folder: Path, name: str, data: bytes) -> None:
    """Puts other bytes into a committed folder and makes its manifest true again."""
    old = storage.read_manifest(folder)
    target = folder.with_name(f"{folder.name} changed")
    with storage.stage(target, old.kind, old.receipt) as stage:
        for each in old.files:
            stage.write(each, data if each == name else (folder / each).read_bytes())
    shutil.rmtree(folder)
    target.rename(folder)


# ---- there and back


@pytest.mark.parametrize("share", [True, False])
def test_what_was_saved_is_loaded(tmp_path: Path, share: bool, examined: Examined) -> None:
    rows, cases = batch(random_rows(40)), 0
    base = str(published(tmp_path / "base"))
    for pooling, normalize, projection in product(("cls", "mean", "last"), (False, True), (None, 8)):
        start = {"base": base} if cases % 3 else {}
        wanted = settings(share=share, pooling=pooling, normalize=normalize, projection=projection, **start)
        built = moved(towers.build(wanted, BERT, 1))
        folder = tmp_path / f"model{cases}"
        towers_folder.write(folder, built, BERT, {"updates": 3})
        before = random_states()
        loaded, tokenizer, contract = towers_folder.load(folder)
        assert random_states() == before
        assert torch.equal(both(built, rows), both(loaded, rows))
        assert not loaded.training
        assert loaded.shared == share
        assert loaded.width == contract.width == (projection or 32)
        assert templates.digest(tokenizer) == templates.digest(BERT)
        assert contract.similarity == ("cosine" if normalize else "dot")
        assert contract.weights == "full"
        assert loaded.settings == wanted.model_copy(update={"base": "base"} if start else {})
        assert storage.read_manifest(folder, "model").receipt == {"updates": 3}
        cases += 1
    examined(cases, "kinds of models", at_least=12)


def test_saving_what_was_loaded_gives_the_same_bytes(tmp_path: Path) -> None:
    for share in (True, False):
        built = moved(towers.build(settings(share=share, projection=8), BERT, 1))
        one, other = tmp_path / f"one{share}", tmp_path / f"other{share}"
        towers_folder.write(one, built, BERT)
        loaded, tokenizer, _ = towers_folder.load(one)
        towers_folder.write(other, loaded, tokenizer)
        assert storage.read_manifest(one).digest == storage.read_manifest(other).digest


def test_dpr_towers_are_saved_as_plain_encoders(tmp_path: Path) -> None:
    question, context = map(str, dpr_pair(tmp_path, 16))
    wanted = settings(base=question, passage_base=context, share=False, pooling="cls", projection=16)
    built, rows = towers.build(wanted, BERT, 1).eval(), batch(random_rows(40))
    towers_folder.write(tmp_path / "model", built, BERT)
    loaded, _, contract = towers_folder.load(tmp_path / "model")
    assert torch.equal(both(built, rows), both(loaded, rows))
    assert [base.name for base in contract.bases if base] == ["DPRQuestionEncoder", "DPRContextEncoder"]
    for name in ("query_0_Transformer", "document_0_Transformer"):
        config = json.loads((tmp_path / "model" / name / "config.json").read_text())
        assert (config["model_type"], config["architectures"]) == ("bert", ["BertModel"])


# ---- adapters


@pytest.mark.parametrize("which", ["both", "question", "passage"])
@pytest.mark.parametrize("merged", [False, True])
def test_adapters_there_and_back(tmp_path: Path, which: str, merged: bool, examined: Examined) -> None:
    base, rows, cases = published(tmp_path / "base", dtype=torch.float16), batch(random_rows(40)), 0
    for share, projection in product((True, False), (None, 8)):
        if which != "both" and (share or projection):
            continue
        lora = LORA | {"towers": which, "dropout": 0.1}
        built = moved(towers.build(settings(base=str(base), share=share, lora=lora, projection=projection), BERT, 1))
        start = towers.build(settings(base=str(base), share=share, projection=projection), BERT, 1).eval()
        expected = both(built, rows)
        assert difference(expected, both(start, rows)) > 0.1
        folder = tmp_path / f"model{cases}"
        towers_folder.write(folder, built, BERT, merged=merged)
        loaded, _, contract = towers_folder.load(folder, base=None if merged else base)
        assert contract.weights == ("merged" if merged else "adapter")
        assert difference(expected, both(loaded, rows)) < 1e-5
        if not merged:
            assert torch.equal(expected, both(loaded, rows))
        assert torch.equal(expected, both(built, rows))  # what goes on learning is as it was
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*.safetensors")]
        adapters = [name for name in names if name.endswith("adapter_model.safetensors")]
        whole = [name for name in names if name.endswith("/model.safetensors") or name == "model.safetensors"]
        whole = [name for name in whole if "Dense" not in name]
        assert len(adapters) == (1 if share or which != "both" else 2)
        assert len(whole) == (1 if share else 2) - (0 if merged else len(adapters))
        assert all(("adapter/" in name) == merged for name in adapters)
        cases += 1
    examined(cases, "kinds of adapters")


def test_adapters_go_on_their_own_base_only(tmp_path: Path) -> None:
    base, other = published(tmp_path / "base"), published(tmp_path / "other", seed=1)
    built = moved(towers.build(settings(base=str(base), lora=LORA), BERT, 1))
    folder = tmp_path / "model"
    towers_folder.write(folder, built, BERT)
    with pytest.raises(DataError, match="holds adapters for 'base', which was a folder when they were trained"):
        towers_folder.load(folder)
    with pytest.raises(DataError, match="holds adapters for other weights than those of 'other'"):
        towers_folder.load(folder, base=other)
    weights = load_file(folder / "adapter_model.safetensors")
    save_file(dict(list(weights.items())[1:]), tmp_path / "short.safetensors")
    replace(folder, "adapter_model.safetensors", (tmp_path / "short.safetensors").read_bytes())
    with pytest.raises(DataError, match="does not hold the adapters of rank 4 on query, value of this encoder"):
        towers_folder.load(folder, base=base)


# ---- what others read


def test_the_files_of_shared_towers(tmp_path: Path) -> None:
    towers_folder.write(tmp_path / "model", towers.build(settings(projection=8, normalize=True), BERT, 1), BERT)
    assert sorted(storage.read_manifest(tmp_path / "model").files) == [
        "1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors", "config.json",
        "config_sentence_transformers.json", "model.safetensors", "modules.json", "mpr.json",
        "sentence_bert_config.json", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip

    def content(name: str) -> Any:
        return json.loads((tmp_path / "model" / name).read_text())

    types = ["Transformer", "Pooling", "Dense", "Normalize"]
    assert [entry["type"] for entry in content("modules.json")] == [f"sentence_transformers.models.{t}" for t in types]
    assert [entry["path"] for entry in content("modules.json")] == ["", "1_Pooling", "2_Dense", "3_Normalize"]
    assert content("1_Pooling/config.json") == {  # text-embeddings-inference needs the first three
        "word_embedding_dimension": 32, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True,
        "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False,
        "pooling_mode_weightedmean_tokens": False, "pooling_mode_lasttoken": False, "include_prompt": True,
    }  # fmt: skip
    assert content("config_sentence_transformers.json")["similarity_fn_name"] == "cosine"
    assert content("tokenizer_config.json")["model_input_names"] == ["input_ids", "attention_mask"]  # no segment ids
    lengths = {"max_seq_length": 40, "do_lower_case": False, "query_length": 24, "document_length": 40}
    assert content("sentence_bert_config.json") == lengths
    towers_folder.write(tmp_path / "equal", towers.build(settings(question_length=40), BERT, 1), BERT)
    equal = json.loads((tmp_path / "equal" / "sentence_bert_config.json").read_text())
    assert equal == {"max_seq_length": 40, "do_lower_case": False}  # nothing that older readers stumble over


def test_the_files_of_separate_towers(tmp_path: Path) -> None:
    wanted = settings(share=False, pooling="cls", question_prompt="ask: ", passage_prompt="say: ")
    towers_folder.write(tmp_path / "model", towers.build(wanted, BERT, 1), BERT)
    inner = [
        "1_Pooling/config.json", "config.json", "config_sentence_transformers.json", "model.safetensors",
        "modules.json", "sentence_bert_config.json", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    expected = [f"{name}_0_Transformer/{file}" for name in ("query", "document") for file in inner]
    expected += ["query_1_Pooling/config.json", "document_1_Pooling/config.json", "modules.json", "mpr.json"]
    expected += ["router_config.json", "config_sentence_transformers.json"]
    assert sorted(storage.read_manifest(tmp_path / "model").files) == sorted(expected)
    for name, prompt, length in (("query", "ask: ", 24), ("document", "say: ", 40)):
        folder = tmp_path / "model" / f"{name}_0_Transformer"
        said = json.loads((folder / "config_sentence_transformers.json").read_text())
        assert said["prompts"][said["default_prompt_name"]] == prompt
        assert json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"] == length
        assert json.loads((folder / "tokenizer_config.json").read_text())["model_max_length"] == length
        pooling = json.loads((tmp_path / "model" / f"{name}_1_Pooling" / "config.json").read_text())
        assert [key for key, value in pooling.items() if value is True] == ["pooling_mode_cls_token", "include_prompt"]


def test_transformers_opens_every_transformer(tmp_path: Path, examined: Examined) -> None:
    rows, opened = batch(random_rows(40)), 0
    for share in (True, False):
        built = moved(towers.build(settings(share=share), BERT, 1))
        folder = tmp_path / f"model{share}"
        towers_folder.write(folder, built, BERT)
        places = {"": built.question} if share else {
            "query_0_Transformer": built.question, "document_0_Transformer": built.passage
        }  # fmt: skip
        for place, encoder in places.items():
            model = transformers.AutoModel.from_pretrained(folder / place).eval()
            with torch.no_grad():
                found = model(**rows).last_hidden_state
                assert torch.equal(found, encoder.transformer(**rows).last_hidden_state)
            opened += 1
    examined(opened, "transformers", at_least=3)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_transformers_makes_the_same_ids(tmp_path: Path, framing: str, examined: Examined) -> None:
    """Of single texts and pairs, hard ones included; without segment ids, so that both texts are segment 0."""
    backend = FRAMINGS[framing]().backend_tokenizer
    towers_folder.write(tmp_path / "model", towers.build(settings(), backend, 1), backend)
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    compared = 0
    for title, text in texts(8):
        for given in (text, (title, text)):
            found = loaded([given])
            assert list(found) == ["input_ids", "attention_mask"]
            assert found["input_ids"] == [encoding.ids for encoding in backend.encode_batch([given])]
            compared += 1
    assert loaded.padding_side == "right"
    assert loaded(["kalo", "kalo mi ren tu"], padding=True)["attention_mask"][0][-1] == 0
    examined(compared, "texts and pairs", at_least=200)


def test_a_tokenizer_without_a_special_token_is_refused(tmp_path: Path) -> None:
    definition = json.loads(FRAMINGS["bare"]().backend_tokenizer.to_str()) | {"added_tokens": []}
    tokenizer = type(BERT).from_str(json.dumps(definition))
    built = towers.build(settings(), tokenizer, 1)
    with pytest.raises(DataError, match="the tokenizer has no special token"):
        towers_folder.write(tmp_path / "model", built, tokenizer)
    assert not (tmp_path / "model").exists()


def test_a_base_that_pads_and_cuts_by_itself(tmp_path: Path) -> None:
    """As sentence-transformers' published tokenizers do: none of it may come along."""
    tokenizer = type(BERT).from_str(BERT.to_str())
    tokenizer.enable_padding(length=16, pad_id=0, pad_token="[PAD]")
    tokenizer.enable_truncation(8)
    towers_folder.write(tmp_path / "model", towers.build(settings(), tokenizer, 1), tokenizer)
    definition = json.loads((tmp_path / "model" / "tokenizer.json").read_text())
    assert definition["padding"] is definition["truncation"] is None


# ---- nothing private, nothing damaged


@pytest.mark.parametrize("form", ["full", "adapter", "merged"])
@pytest.mark.parametrize("share", [True, False])
def test_no_path_of_this_machine_is_in_any_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, share: bool, examined: Examined
) -> None:
    home = tmp_path / "home-of-somebody"
    base = published(home / "small-base")
    lora = None if form == "full" else LORA
    searched = 0
    monkeypatch.chdir(home)
    for name in (str(base), "small-base", "../home-of-somebody/small-base/"):
        built = towers.build(settings(base=name, share=share, lora=lora), BERT, 1)
        folder = tmp_path / f"model{searched}"
        towers_folder.write(folder, built, BERT, merged=form == "merged")
        for path in folder.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                assert str(tmp_path).encode() not in data, path
                assert b"home-of-somebody" not in data, path
                searched += 1
        if form == "adapter":
            config = next(folder.rglob("adapter_config.json"))
            assert json.loads(config.read_text())["base_model_name_or_path"] == "small-base"
    assert os.getcwd() == str(home)
    examined(searched, "files", at_least=20)


def test_damage_is_refused_before_anything_is_read(tmp_path: Path, examined: Examined) -> None:
    towers_folder.write(tmp_path / "model", towers.build(settings(share=False, projection=8), BERT, 1), BERT)
    names = list(storage.read_manifest(tmp_path / "model").files)
    for name in names:
        path = tmp_path / "model" / name
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(StorageError, match="checksum mismatch"):
            towers_folder.load(tmp_path / "model")
        path.write_bytes(data)
    towers_folder.load(tmp_path / "model")
    examined(len(names), "files", at_least=25)


def test_parts_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    towers_folder.write(folder, towers.build(settings(projection=8), BERT, 1), BERT)
    contract = (folder / "mpr.json").read_bytes()
    replace(folder, "mpr.json", contract.replace(b'"width": 8', b'"width": 9'))
    with pytest.raises(DataError, match="says 9, the encoders make vectors of 8 and 8 numbers"):
        towers_folder.load(folder)
    replace(folder, "mpr.json", contract)
    other = tokenizer_of("roberta").to_str().encode()
    whole = (folder / "tokenizer.json").read_bytes()
    replace(folder, "tokenizer.json", other)
    with pytest.raises(DataError, match=r"is not the digest of tokenizer\.json"):
        towers_folder.load(folder)
    replace(folder, "tokenizer.json", whole)
    save_file({"linear.weight": torch.zeros(8, 31), "linear.bias": torch.zeros(8)}, tmp_path / "dense")
    replace(folder, "2_Dense/model.safetensors", (tmp_path / "dense").read_bytes())
    with pytest.raises(DataError, match="is not the projection of this model"):
        towers_folder.load(folder)
    with storage.stage(tmp_path / "other", "split") as stage:
        stage.write("a", b"")
    with pytest.raises(StorageError, match="is of kind 'split', not 'model'"):
        towers_folder.load(tmp_path / "other")


def test_nothing_is_left_of_a_save_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = towers.build(settings(), BERT, 1)

    def fail(*arguments: Any, **named: Any) -> None:
        raise OSError("full")

    with monkeypatch.context() as patch:
        patch.setattr(transformers.BertModel, "save_pretrained", fail)
        with pytest.raises(OSError, match="full"):
            towers_folder.write(tmp_path / "model", built, BERT)
    assert list(tmp_path.iterdir()) == []
    towers_folder.write(tmp_path / "model", built, BERT)
    with pytest.raises(StorageError, match="already exists"):
        towers_folder.write(tmp_path / "model", built, BERT)
