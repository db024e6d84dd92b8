"""mpr.json: written and read strictly, and no difference to a recipe goes unnamed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mpr import __version__
from mpr.errors import DataError, RecipeError
from mpr.models import contract
from mpr.models.contract import Base, Contract
from mpr.recipe.keys_towers import Towers
from tests.conftest import Examined

HUB = Base(name="org/model", local=False, revision="0" * 40, sha256="1" * 64)
LOCAL = Base(name="small", local=True, revision=None, sha256="2" * 64)
TOWERS: dict[str, Any] = {
    "base": "org/model",
    "revision": "0" * 40,
    "passage_base": "org/other",
    "passage_revision": "3" * 40,
    "new": None,
    "share": False,
    "pooling": "cls",
    "normalize": False,
    "projection": None,
    "title": "pair",
    "question_prompt": "frage: ",
    "passage_prompt": "",
    "question_length": 32,
    "passage_length": 128,
    "pair_cut": "end",
    "last_slot": "pad",
    "question_apostrophe": "keep",
    "lora": {"rank": 4, "alpha": 8, "dropout": 0.1, "modules": ("query", "value"), "towers": "both"},
    "weights": "float32",
}
OTHER: dict[str, Any] = {  # for every key something else that is valid
    "base": "org/another",
    "revision": "4" * 40,
    "passage_base": None,
    "passage_revision": None,
    "new": {"layers": 1, "width": 8, "heads": 1, "feed_forward": 8, "vocabulary": 300},
    "share": True,
    "pooling": "mean",
    "normalize": True,
    "projection": 8,
    "title": "join",
    "question_prompt": "",
    "passage_prompt": " ",
    "question_length": 33,
    "passage_length": 127,
    "pair_cut": "longest_first",
    "last_slot": "sep",
    "question_apostrophe": "straight",
    "lora": None,
    "weights": "bfloat16",
}
TOKENIZER = "a" * 64


def towers(**changes: Any) -> Towers:
    return Towers.model_validate(TOWERS | changes)


def made(**changes: Any) -> Contract:
    return Contract.of(towers(**changes), (HUB, HUB), width=768, tokenizer=TOKENIZER, weights="adapter")


def written(folder: Path, content: Any) -> Path:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    (folder / "mpr.json").write_bytes(data)
    return folder


def refusal(folder: Path, content: Any) -> str:
    with pytest.raises(DataError) as caught:
        contract.read(written(folder, content))
    assert str(folder / "mpr.json") in str(caught.value)
    return str(caught.value)


def test_there_and_back(tmp_path: Path) -> None:
    one = made()
    assert contract.read(written(tmp_path, one.to_bytes())) == one
    assert (one.format, one.mpr, one.similarity) == (1, __version__, "dot")
    assert made(normalize=True).similarity == "cosine"
    assert json.loads(one.to_bytes())["towers"]["question_prompt"] == "frage: "
    assert one.to_bytes() == contract.read(tmp_path).to_bytes()


def test_a_folder_is_told_by_its_last_name_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "somebody" / "small"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder.parent)
    for name in (str(folder), "small", "./small/", "../somebody/small"):
        changes = {"base": name, "revision": None, "passage_base": None, "passage_revision": None}
        given = towers(**changes)
        one = Contract.of(given, (LOCAL, LOCAL), width=8, tokenizer=TOKENIZER, weights="full")
        assert b"somebody" not in one.to_bytes()
        assert one.towers.base == "small" == contract.base_name(name)
        contract.agree(one, given, TOKENIZER)
        contract.agree(one, towers(**changes | {"base": "/moved/elsewhere/small"}), TOKENIZER)
        with pytest.raises(
            RecipeError, match=r"towers\.base: the model was trained with 'small', the recipe says 'tall'"
        ):
            contract.agree(one, towers(**changes | {"base": "/moved/elsewhere/tall"}), TOKENIZER)


def test_the_same_recipe_agrees() -> None:
    contract.agree(made(), towers(), TOKENIZER)


def test_every_difference_is_named(examined: Examined) -> None:
    assert TOWERS.keys() == OTHER.keys() == Towers.model_fields.keys() - {"train", "attention"}, (
        "a new key needs a line above"
    )
    lora = TOWERS["lora"]
    inner = {"rank": 5, "alpha": 9, "dropout": 0.0, "modules": ("query",), "towers": "question"}
    assert inner.keys() == lora.keys()
    changes = [(key, {key: value}) for key, value in OTHER.items()]
    changes += [(f"lora.{key}", {"lora": lora | {key: value}}) for key, value in inner.items()]
    for key, change in changes:
        with pytest.raises(RecipeError) as caught:
            contract.agree(made(), towers(**change), TOKENIZER)
        assert [problem.key for problem in caught.value.problems] == [f"towers.{key}"]
        with pytest.raises(RecipeError) as caught:  # and the other way round
            contract.agree(made(**change), towers(), TOKENIZER)
        assert [problem.key for problem in caught.value.problems] == [f"towers.{key}"]
    with pytest.raises(RecipeError) as caught:
        contract.agree(made(), Towers.model_validate(OTHER), "b" * 64, where="runs/x/model")
    assert [problem.key for problem in caught.value.problems] == [*(f"towers.{key}" for key in OTHER), "tokenizer"]
    assert "runs/x/model towers.question_length: the model was trained with 32, the recipe says 33" in str(caught.value)
    examined(2 * len(changes), "differences", at_least=40)


def test_who_learned_and_by_which_kernel_is_no_difference() -> None:
    contract.agree(made(train="question", share=False), towers(share=False), TOKENIZER)
    contract.agree(made(attention="flash_attention_2"), towers(), TOKENIZER)


def test_keys_must_be_there_and_known(tmp_path: Path, examined: Examined) -> None:
    whole = json.loads(made().to_bytes())
    places = [(), ("towers",), ("towers", "lora"), ("question_base",), ("passage_base",)]
    needed = {
        (): whole.keys() - {"format"},
        ("towers",): {"share", "pooling", "normalize", "title", "question_length", "passage_length"},
        ("towers", "lora"): {"rank", "alpha", "dropout", "modules"},
        ("question_base",): whole["question_base"].keys(),
        ("passage_base",): whole["passage_base"].keys(),
    }
    tries = 0
    for place in places:
        for key in [*needed[place], "no_such_key"]:
            content = json.loads(json.dumps(whole))
            inner = content
            for part in place:
                inner = inner[part]
            unknown = key == "no_such_key"
            if unknown:
                inner[key] = 1
            else:
                del inner[key]
            message = refusal(tmp_path, content)
            assert f"{'.'.join([*place, key])}: {'unknown key' if unknown else 'is missing'}" in message
            tries += 1
    content = whole | {"towers": whole["towers"] | {"poolling": "cls"}, "widht": 3}
    message = refusal(tmp_path, content)
    assert "did you mean 'pooling'?" in message
    assert "did you mean 'width'?" in message
    examined(tries, "missing and unknown keys", at_least=25)


def test_values_must_be_of_their_kind(tmp_path: Path, examined: Examined) -> None:
    whole = json.loads(made().to_bytes())
    wrong: list[tuple[str, Any]] = [
        ("width", 0), ("width", "768"), ("width", 768.5), ("width", True), ("width", None), ("mpr", 1),
        ("similarity", "euclid"), ("tokenizer", None), ("weights", "pickle"), ("towers", []), ("towers", None),
        ("question_base", "bert"), ("passage_base", 3),
    ]  # fmt: skip
    for key, value in wrong:
        assert key in refusal(tmp_path, whole | {key: value})
    for key, value in [("share", "yes"), ("pooling", "max"), ("question_length", 3), ("revision", "main")]:
        assert f"towers.{key}" in refusal(tmp_path, whole | {"towers": whole["towers"] | {key: value}})
    assert "does not go with towers.normalize: False" in refusal(tmp_path, whole | {"similarity": "cosine"})
    for version in (0, 2, "1", None):
        assert "this version of mpr reads format 1" in refusal(tmp_path, whole | {"format": version})
    examined(len(wrong) + 9, "wrong values")


def test_bytes_must_be_one_json_object(tmp_path: Path) -> None:
    data = made().to_bytes()
    for content, message in (
        (b"", "is not JSON"),
        (data[:-20], "is not JSON"),
        (data + b"{}", "something follows the object"),
        (b"[1]", "must be one JSON object"),
        (data.replace(b'"width": 768', b'"width": 768, "width": 769'), "field 'width' appears twice"),
        (data.replace(b"768", b"NaN"), "NaN is not a JSON number"),
        (data.replace(b"frage", b"fr\xe4ge"), "is not UTF-8 at byte"),
        (b" " * (1 << 21), "is longer than 1,048,576 bytes"),
        (b"[" * 100_000, "nested too deeply"),
    ):
        assert message in refusal(tmp_path, content)
    (tmp_path / "mpr.json").unlink()
    with pytest.raises(DataError, match=r"mpr\.json: cannot be read: No such file"):
        contract.read(tmp_path)
