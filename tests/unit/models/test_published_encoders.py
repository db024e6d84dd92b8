"""Published encoders, fetched from a Hub in the layouts of the real ones, against the libraries of their publishers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers.sentence_transformer import modules

from mpr.data import _vocabulary
from mpr.errors import MprError
from mpr.models import towers, weight_files
from mpr.models.towers import DualEncoder
from mpr.recipe.keys_towers import Towers
from tests.conftest import Examined
from tests.hub_login import reading
from tests.hub_server import HubServer
from tests.parity.test_sentence_transformers import PASSAGES, QUESTIONS
from tests.unit import published_checkpoints as checkpoints
from tests.unit.framings import bert, roberta
from tests.unit.models.test_pretrained import trap
from tests.unit.tiny_models import difference, published, settings, vectors

CLOSE = 1e-5
SHORT = [(title, " ".join(text.split()[:4])) for title, text in PASSAGES]  # nothing is cut, in any library's way


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    with reading(monkeypatch, tmp_path / "cache") as found:
        yield found


def never(*_: Any) -> Any:
    raise AssertionError("the corpus was read")


def opened(wanted: Towers) -> tuple[DualEncoder, Any]:
    """As a row without training opens them."""
    tokenizer = _vocabulary.load(wanted, Path(), never, never)
    return towers.build(wanted, tokenizer, 0, published=True).eval(), tokenizer


def texts(title: str) -> list[Any]:
    return [f"{head} {text}" if head and title == "join" else text for head, text in SHORT]


@pytest.mark.parametrize("projection", [0, 12])
def test_dpr(hub: HubServer, tmp_path: Path, projection: int, examined: Examined) -> None:
    """Two repositories, each a pickle with a pooler that nobody uses; vectors as of transformers' own classes."""
    plain = bert()
    names, places = ("who/question", "who/context"), ("DPRQuestionEncoder", "DPRContextEncoder")
    commits = [
        hub.add(name, files) for name, files in zip(names, checkpoints.dpr(tmp_path, plain, projection), strict=True)
    ]
    wanted = settings(
        base=names[0], revision=commits[0], passage_base=names[1], passage_revision=commits[1],
        share=False, pooling="cls", title="pair", projection=projection or None,
    )  # fmt: skip
    built, tokenizer = opened(wanted)
    ours = vectors(built, tokenizer, tmp_path, QUESTIONS, SHORT)
    question = checkpoints.by_dpr(tmp_path / places[0], plain, QUESTIONS, None, 24)
    titled = [number for number, (title, _) in enumerate(SHORT) if title]
    context = checkpoints.by_dpr(
        tmp_path / places[1], plain, [SHORT[n][1] for n in titled], [SHORT[n][0] for n in titled], 40
    )
    assert difference(ours[0], question) < CLOSE
    assert difference(ours[1][titled], context) < CLOSE
    assert difference(ours[0][:1].expand(4, -1), ours[0][1:5]) > 1e-2
    asked = {path.rpartition("/")[2] for route, path in hub.requests if route == "resolve"}
    assert asked == {"config.json", "pytorch_model.bin", "tokenizer.json"}
    for encoder, place in zip((built.question, built.passage), ("who--question", "who--context"), strict=True):
        [weights] = (tmp_path / "cache").glob(f"models--{place}/snapshots/*/pytorch_model.bin")
        assert encoder.base is not None
        assert encoder.base.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()  # what a page of the Hub shows
    examined(len(QUESTIONS) + len(titled), "texts", at_least=30)


@pytest.mark.parametrize(
    "layout, pooling, normalize, projection",
    [
        ("tas-b", "cls", False, None),
        ("minilm", "mean", True, None),
        ("dense", "mean", True, 12),
        ("ance", "cls", False, 12),
    ],
)
def test_sentence_transformers(
    hub: HubServer,
    tmp_path: Path,
    layout: str,
    pooling: str,
    normalize: bool,
    projection: int | None,
    examined: Examined,
) -> None:
    """A repository as the library saves it; what its modules say is what the vectors are made by."""
    family = {"tas-b": "distilbert", "ance": "roberta"}.get(layout, "bert")
    more: list[Any] = [] if projection is None else [checkpoints.dense(projection)]
    if layout == "ance":
        norm = modules.LayerNorm(12)
        norm.norm.weight.data += torch.linspace(-0.5, 0.5, 12)
        norm.norm.bias.data += torch.linspace(0.5, -0.5, 12)
        more.append(norm)
    more += [modules.Normalize()] if normalize else []
    source = published(tmp_path / "source", family)
    theirs = checkpoints.sentence(tmp_path / "saved", source, pooling, *more)
    commit = hub.add("who/sentences", checkpoints.files_of(tmp_path / "saved"))
    how: dict[str, Any] = {"pooling": pooling, "normalize": normalize, "projection": projection}
    wanted = settings(base="who/sentences", revision=commit, title="join", question_length=40, **how)
    built, tokenizer = opened(wanted)
    ours = vectors(built, tokenizer, tmp_path, QUESTIONS, SHORT)
    assert difference(ours[0], theirs.encode(QUESTIONS)) < CLOSE
    assert difference(ours[1], theirs.encode(texts("join"))) < CLOSE
    assert (built.question.norm is not None) == (layout == "ance")
    changes = {"pooling": {"cls": "mean", "mean": "cls"}[pooling], "normalize": not normalize}
    changes["projection"] = 8 if projection else 12  # type: ignore[assignment]
    for key, other in changes.items():
        with pytest.raises(MprError, match=rf"towers\.{key}"):
            opened(wanted.model_copy(update={key: other}))
    examined(len(QUESTIONS) + len(SHORT), "texts", at_least=40)


def test_ance(hub: HubServer, tmp_path: Path, examined: Examined) -> None:
    """castorini's layout against its forward written out; the tokenizer is made of vocabulary and merges."""
    plain = roberta()
    model = checkpoints.Ance(len(plain) + 1, 12)
    commit = hub.add("who/ance", model.files(plain.backend_tokenizer))
    wanted = settings(base="who/ance", revision=commit, pooling="cls", title="none", projection=12)
    built, tokenizer = opened(wanted)
    some = [text for _, text in SHORT]
    ours = vectors(built, tokenizer, tmp_path, QUESTIONS, SHORT)
    for found, given, length in ((ours[0], QUESTIONS, 24), (ours[1], some, 40)):
        ids = plain(given, max_length=length, truncation=True, padding="longest", return_tensors="pt")["input_ids"]
        with torch.no_grad():
            assert difference(found, model(ids)) < CLOSE
    assert built.question.norm is not None
    alone = towers.build(wanted, tokenizer, 0).eval()  # a start for training: its head is another model's
    assert alone.question.norm is None
    examined(len(QUESTIONS) + len(some), "texts", at_least=40)


def test_what_is_no_layout_of_ours(tmp_path: Path, examined: Examined) -> None:
    """Each would be a vector that is not the publisher's."""
    source = published(tmp_path / "source")
    checkpoints.sentence(tmp_path / "saved", source, "mean", checkpoints.dense(12), modules.Normalize())
    files = checkpoints.files_of(tmp_path / "saved")
    wanted = {"pooling": "mean", "normalize": True, "projection": 12, "title": "join"}

    def modules_with(change: Any) -> bytes:
        content = json.loads(files["modules.json"])
        change(content)
        return json.dumps(content).encode()

    dense = json.loads(files["2_Dense/config.json"]) | {"activation_function": "torch.nn.modules.activation.Tanh"}
    pooling = {name: name == "pooling_mode_max_tokens" for name in ("pooling_mode_max_tokens",)}
    broken = {
        "a module that we do not know": ("modules.json", modules_with(lambda all: all[1].update(type="x.Other"))),
        "two linear layers": ("modules.json", modules_with(lambda all: all.insert(2, all[2]))),
        "a folder elsewhere": ("modules.json", modules_with(lambda all: all[1].update(path="../1_Pooling"))),
        "a transformer that is not the first": ("modules.json", modules_with(list.reverse)),
        "no list": ("modules.json", b"{}"),
        "an activation": ("2_Dense/config.json", json.dumps(dense).encode()),
        "another pooling": ("1_Pooling/config.json", json.dumps(pooling).encode()),
    }  # fmt: skip
    for number, (what, (name, data)) in enumerate(broken.items()):
        folder = tmp_path / f"broken {number}"
        for path, content in (files | {name: data}).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        with pytest.raises(MprError) as caught:
            opened(settings(base=str(folder), **wanted))
        assert name.rpartition("/")[2] in str(caught.value), what
    weights = {name: data for name, data in files.items() if name != "2_Dense/model.safetensors"}
    folder = tmp_path / "without"
    for path, content in weights.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    with pytest.raises(MprError, match="2_Dense"):
        opened(settings(base=str(folder), **wanted))
    examined(len(broken) + 1, "layouts", at_least=8)


def test_a_pickle_gives_tensors_or_nothing(tmp_path: Path, examined: Examined) -> None:
    canary, tensors = tmp_path / "canary", {"weight": torch.arange(6.0).reshape(2, 3)}
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(checkpoints.pickled(tensors))
    assert difference(weight_files.unpickled(path)["weight"], tensors["weight"]) == 0
    whole = path.read_bytes()
    bad: list[bytes] = [trap(canary), b"", whole[: len(whole) // 2], b"no pickle at all", b"\x80\x04."]
    bad.append(checkpoints.pickled([torch.ones(2)]))  # type: ignore[arg-type]
    bad.append(checkpoints.pickled({"weight": "text"}))  # type: ignore[dict-item]
    for data in bad:
        path.write_bytes(data)
        with pytest.raises(MprError, match=r"pytorch_model\.bin"):
            weight_files.unpickled(path)
    assert not canary.exists()
    examined(len(bad), "pickles", at_least=7)
