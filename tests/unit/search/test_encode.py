"""Encoding: the right vector in the right place, with the same bits however the work was cut and shared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mpr import storage
from mpr.data.token_batches import Side, assemble
from mpr.errors import DataError, RecipeError, StorageError
from mpr.models.templates import Template
from mpr.runtime.progress import silent
from mpr.search import encode, padding
from mpr.search.encode import Options
from mpr.search.inference import Model
from mpr.search.padding import Constants, PaddingPlan
from mpr.search.vectors import VectorStore
from tests.conftest import Examined
from tests.unit.encodings import BERT, PROMPTS, SMALL, ids, model_folder, sums, task, texts, token_store
from tests.unit.framings import bert
from tests.unit.tiny_models import difference, published, settings, tokenizer_of


def all_vectors(store: VectorStore) -> Any:
    """In the order of the texts."""
    found = np.full((len(store), store.width), np.nan, dtype=np.float32)
    for shard in store.shards:
        found[shard.rows] = shard.block(0, len(shard.rows))
    return found


def one_by_one(made: encode.Task) -> Any:
    """Each text alone, without padding, in 64 bits."""
    encoder = made.model.encoder(made.role).double()
    with torch.inference_mode():
        rows = range(len(made.side.store))
        found = [encoder(**made.side.tokens(np.array([row]))).float() for row in rows]
    encoder.float()
    return torch.cat(found)


# ---- the plan


def test_plan_is_a_function_of_the_lengths(examined: Examined) -> None:
    dice, tried = np.random.default_rng(2), 0
    for count in (1, 2, 7, 100, 1_000):
        for multiple in (1, 8):
            constants = Constants(block_tokens=200, multiple=multiple, shards=5, least=400, most=3_000)
            lengths_N = dice.integers(1, 90, count)
            plan = PaddingPlan.of(lengths_N, constants)
            seen, sizes = [], []
            for shard in range(plan.shards):
                blocks = list(plan.blocks_of(shard))
                assert np.array_equal(np.concatenate([block.rows for block in blocks]), plan.rows(shard))
                for block in blocks:
                    longest = lengths_N[block.rows].max()
                    assert longest <= block.width < longest + multiple
                    assert len(block.rows) * block.width <= 200
                    seen += block.rows.tolist()
                sizes.append(plan.tokens(shard))
            assert sorted(seen) == list(range(count)), "every text once"
            assert np.all(np.diff(lengths_N[seen]) <= 0), "the longest first, over shards too"
            assert sum(sizes) == plan.tokens() == plan.facts()["padded_tokens"]
            wanted = min(max(sum(sizes) // 5, 400), 3_000)
            assert all(abs(size - wanted) <= 200 for size in sizes[:-1]), (sizes, wanted)
            again = PaddingPlan.of(lengths_N.copy(), constants)
            assert np.array_equal(again.order_N, plan.order_N)
            tried += plan.blocks
    examined(tried, "blocks", at_least=500)


def test_a_text_longer_than_a_block_is_one() -> None:
    plan = PaddingPlan.of(np.array([5, 300, 7]), Constants(block_tokens=100))
    assert [(block.rows.tolist(), block.width) for block in plan.blocks_of(0)] == [([1], 300), ([2, 0], 7)]


@pytest.mark.parametrize("title", ["pair", "join", "none"])
def test_lengths_are_those_of_the_collator(tmp_path: Path, title: str, examined: Examined) -> None:
    store, template = token_store(tmp_path / "tokens", texts(120), title=title), Template.of(BERT)
    for length in (6, 40, 64):
        found = padding.lengths(Side(store, template, length))
        for row, expected in enumerate(found.tolist()):
            assert assemble(store, np.array([row]), template, length)[0].shape[1] == expected
    examined(3 * 120, "lengths", at_least=360)


# ---- vectors


@pytest.mark.parametrize("dtype, close", [("float32", 2e-5), ("float16", 2e-3), ("bfloat16", 2e-2)])
def test_vectors_are_those_of_each_text_alone(tmp_path: Path, dtype: str, close: float) -> None:
    made = task(tmp_path, dtype=dtype)
    found = all_vectors(encode.run(made, tmp_path / "store"))
    expected = one_by_one(made)
    assert difference(found, expected) < close
    assert difference(found, expected.flip(0)) > 0.1, "the model does tell texts apart"


@pytest.mark.parametrize("compute", ["bfloat16", "float16"])
def test_16_bits_rank_alike(tmp_path: Path, compute: str) -> None:
    exact = all_vectors(encode.run(task(tmp_path), tmp_path / "exact"))
    quick = all_vectors(encode.run(task(tmp_path, compute=compute), tmp_path / "quick"))
    assert 0 < difference(exact, quick) < 0.1
    cosine_N = (exact * quick).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(quick, axis=1)
    assert cosine_N.min() > 0.999


def test_vectors_are_those_of_sentence_transformers(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    for share in (True, False):
        folder = tmp_path / str(share)
        model_folder(folder / "model", share=share)
        found = all_vectors(encode.run(task(folder), folder / "store"))
        theirs = SentenceTransformer(str(folder / "model"), device="cpu", local_files_only=True)
        given: list[Any] = [(each.title, each.text) if each.title else each.text for each in texts()]
        short = [row for row, each in enumerate(texts()) if len(each.title) < 20]
        assert difference(found[short], theirs.encode_document(given)[short]) < 1e-5


def test_questions_go_through_the_question_tower(tmp_path: Path) -> None:
    model_folder(tmp_path / "model", share=False)
    model = Model.opened(tmp_path / "model")
    for parameter in model.towers.question.parameters():
        parameter.data += 0.1
    how = {"title": "question", "prompt": PROMPTS["question_prompt"]}
    side = model.side(
        "question", token_store(tmp_path / "tokens", [replace(each, title="") for each in texts()], **how)
    )
    made = encode.Task.of(model, "question", side, ids, Options(dtype="float32", constants=SMALL, quiet=True))
    assert difference(all_vectors(encode.run(made, tmp_path / "store")), one_by_one(made)) < 2e-5


def test_a_base_without_training(tmp_path: Path) -> None:
    wanted = settings(base=str(published(tmp_path / "base")), **PROMPTS)
    model = Model.untrained(wanted, tokenizer_of("bert"), 1)
    assert model.name == "base"
    assert model.digest == Model.untrained(wanted, tokenizer_of("bert"), 2).digest, "nothing of it is random"
    other = wanted.model_copy(update={"pooling": "cls"})
    assert model.digest != Model.untrained(other, tokenizer_of("bert"), 1).digest
    side = model.side("passage", token_store(tmp_path / "tokens", texts()))
    made = encode.Task.of(model, "passage", side, ids, Options(dtype="float32", constants=SMALL, quiet=True))
    assert difference(all_vectors(encode.run(made, tmp_path / "store")), one_by_one(made)) < 2e-5


# ---- bits


def test_shards_and_continuation_do_not_change_bits(tmp_path: Path, examined: Examined) -> None:
    """The plan is fixed; what varies is where a run stopped, how often, and how the shards are kept."""
    expected = sums(encode.run(task(tmp_path), tmp_path / "whole").folder)
    again = encode.run(task(tmp_path), tmp_path / "again").folder
    assert sums(again) == expected
    for stop in range(1, 6):
        target, made = tmp_path / f"stopped-{stop}", task(tmp_path)
        unfinished = made.unfinished(target)
        with unfinished.held():
            for shard in unfinished.missing()[:stop]:
                encode._Encoding(made, unfinished)(shard, silent)
        assert unfinished.missing() == list(range(stop, 6))
        assert sums(encode.run(task(tmp_path), target).folder) == expected
    cut = task(tmp_path, constants=replace(SMALL, shards=2, least=1_000))
    other = encode.run(cut, tmp_path / "cut")
    assert len(other.shards) == 2
    assert np.array_equal(all_vectors(other), all_vectors(VectorStore(tmp_path / "whole")))
    examined(7, "runs", at_least=7)


# ---- receipts and predictions


def test_receipt(tmp_path: Path) -> None:
    made = task(tmp_path, dtype="float16")
    store = encode.run(made, tmp_path / "store")
    receipt = store.manifest.receipt
    assert receipt["work"] == {
        "model": storage.read_manifest(tmp_path / "model").digest,
        "role": "passage",
        "data": storage.read_manifest(tmp_path / "tokens").digest,
        "length": 40,
        "compute": "float32",
        "device": "cpu",
        "dtype": "float16",
        "plan": made.plan.facts(),
    }
    assert receipt["fallback"] == {"allowed": False, "split_blocks": 0}
    assert receipt["environment"]["torch"]["version"] == torch.__version__
    assert receipt["cost"]["seconds"] > 0
    assert (receipt["vectors"], receipt["width"], receipt["processes"]) == (60, 32, 1)
    assert str(tmp_path) not in str(receipt)


def test_done_work_is_not_done_again_and_other_work_is_refused(tmp_path: Path) -> None:
    store = encode.run(task(tmp_path), tmp_path / "store")
    digest = storage.verify(store.folder).digest
    assert encode.run(task(tmp_path), tmp_path / "store").manifest.digest == digest
    others: list[tuple[dict[str, Any], str]] = [
        ({"dtype": "float16"}, "dtype 'float32' -> 'float16'"),
        ({"compute": "bfloat16"}, "compute 'float32' -> 'bfloat16'"),
        ({"constants": replace(SMALL, block_tokens=121)}, "plan.block_tokens 120 -> 121"),
    ]
    for options, expected in others:
        with pytest.raises(RecipeError, match=f"was made with {expected}"):
            encode.run(task(tmp_path, **options), tmp_path / "store")
    (tmp_path / "model").rename(tmp_path / "earlier")
    model_folder(tmp_path / "model", pooling="cls")
    with pytest.raises(RecipeError, match="was made with model"):
        encode.run(task(tmp_path), tmp_path / "store")
    assert storage.verify(store.folder).digest == digest


def test_prediction(tmp_path: Path) -> None:
    made = task(tmp_path, count=400, dtype="float16")
    predicted = encode.predict(made, sample_seconds=0.3)
    store = encode.run(made, tmp_path / "store")
    size = sum(path.stat().st_size for path in store.folder.rglob("*") if path.is_file())
    assert predicted.vectors == len(store) == 400
    assert predicted.tokens == made.plan.tokens()
    data = 400 * (32 * 2 + 8)
    assert data <= size <= predicted.disk_bytes <= size + len(store.shards) * 2_000
    assert predicted.seconds > 0
    assert encode.predict(made, processes=1_000, sample_seconds=0.1).seconds < predicted.seconds
    assert predicted.ram_bytes > 100 << 20
    assert "400 vectors" in str(predicted)


def test_too_small_a_disk_is_known_before_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = task(tmp_path)
    monkeypatch.setattr(storage, "free_bytes", lambda folder: 5_000)
    monkeypatch.setattr(encode, "_shard", lambda *given: pytest.fail("worked"))
    with pytest.raises(StorageError, match=r"needs about [\d,]+ bytes, 5,000 bytes are free"):
        encode.run(made, tmp_path / "store")


# ---- refusals


def test_contract_mismatches_are_named(tmp_path: Path, examined: Examined) -> None:
    model_folder(tmp_path / "model")
    model = Model.opened(tmp_path / "model")
    other = bert().backend_tokenizer
    other.add_tokens(["strange"])
    cases: list[tuple[str, Any, set[str]]] = [
        ("plain", {"prompt": ""}, {"towers.passage_prompt"}),
        ("join", {"title": "join"}, {"towers.title"}),
        ("short", {"cap": 16}, {"towers.passage_length"}),
        ("other", {"tokenizer": other}, {"tokenizer"}),
        ("all", {"tokenizer": other, "cap": 16, "title": "none", "prompt": "x"},
         {"tokenizer", "towers.title", "towers.passage_prompt", "towers.passage_length"}),
    ]  # fmt: skip
    for name, changes, keys in cases:
        store = token_store(tmp_path / name, texts(5), **changes)
        with pytest.raises(RecipeError) as caught:
            model.side("passage", store)
        assert {problem.key for problem in caught.value.problems} == keys
        with pytest.raises(RecipeError, match=r"towers\.title"):
            model.side("question", store)
    model.agree(settings(**PROMPTS))
    with pytest.raises(RecipeError) as caught:
        model.agree(settings(passage_length=30, pooling="cls"))
    expected = {f"towers.{key}" for key in ("passage_length", "pooling", "passage_prompt", "question_prompt")}
    assert {problem.key for problem in caught.value.problems} == expected
    examined(len(cases) + 1, "mismatches")


def test_options_are_checked_together() -> None:
    with pytest.raises(RecipeError) as caught:
        Options(dtype="int8", compute="float64")
    assert {problem.key for problem in caught.value.problems} == {"encode.dtype", "encode.compute"}


def test_role_is_checked(tmp_path: Path) -> None:
    made = task(tmp_path)
    with pytest.raises(RecipeError, match="'document' is none of question, passage"):
        encode.Task.of(made.model, "document", made.side, ids, made.options)


def test_the_device_is_the_process_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    place = encode.Place(5, 8, 1, 4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert encode.device(place) == "cuda:1"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert encode.device(place) == "cpu"
    assert Options(device="cuda:1").plan_constants.multiple == 8


def test_nothing_to_encode(tmp_path: Path) -> None:
    model_folder(tmp_path / "model")
    model = Model.opened(tmp_path / "model")
    side = model.side("passage", token_store(tmp_path / "tokens", []))
    with pytest.raises(DataError, match="nothing to encode"):
        encode.Task.of(model, "passage", side, ids, Options())
