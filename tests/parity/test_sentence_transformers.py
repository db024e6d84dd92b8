"""Model folders opened unchanged in the real sentence-transformers: the same vectors, by its own tokenising.

Ours go the way of training and encoding: token store, collator, towers. Theirs get the raw texts.
"""

from __future__ import annotations

import json
import random
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer

from mpr.models import towers, towers_folder
from mpr.models.towers import DualEncoder
from tests.conftest import Examined, Parity
from tests.unit.framings import bert, words
from tests.unit.tiny_models import (
    FAMILIES,
    LORA,
    difference,
    dpr_pair,
    moved,
    published,
    settings,
    tokenizer_of,
    vectors,
)

BERT = bert().backend_tokenizer
CLOSE = 1e-5
THEIRS = "SentenceTransformer: encode_query, encode_document"
PACKAGE = "sentence-transformers"
INPUTS = ("input_ids", "attention_mask")
PROMPTS = {"question_prompt": "ka-lo: ", "passage_prompt": "mi (ren) "}


def some_texts() -> tuple[list[str], list[tuple[str, str]]]:
    """Questions and (title, text), many of them longer than the towers read; some without a title."""
    dice = random.Random(11)
    questions = [words(dice, dice.randint(1, 30)) for _ in range(16)]
    passages = [(words(dice, dice.randint(0, 3)), words(dice, dice.randint(5, 60))) for _ in range(24)]
    return [*questions, "  kalo  mi ", ""], [*passages, ("", "kalo"), ("kalo", "mi"), ("", " kalo  mi. ")]


QUESTIONS, PASSAGES = some_texts()


def given(title: str, passages: list[tuple[str, str]]) -> list[Any]:
    """What a user passes: a pair where there is a title, or one text."""
    if title == "pair":
        return [(head, text) if head else text for head, text in passages]
    if title == "join":
        return [f"{head} {text}" if head else text for head, text in passages]
    return [text for _, text in passages]


def compared(
    folder: Path, built: DualEncoder, tokenizer: Any, passages: list[tuple[str, str]] = PASSAGES, **saved: Any
) -> float:
    """Largest difference over all vectors of both towers, after looking that there is something to compare."""
    towers_folder.write(folder / "model", built, tokenizer, **saved)
    theirs = SentenceTransformer(str(folder / "model"), device="cpu", local_files_only=True)
    expected = vectors(built, tokenizer, folder, QUESTIONS, passages)
    texts = given(built.settings.title, passages)
    found = theirs.encode_query(QUESTIONS), theirs.encode_document(texts)
    assert theirs.similarity_fn_name == ("cosine" if built.settings.normalize else "dot")
    assert theirs.get_embedding_dimension() == built.width
    for side in expected:  # the towers do tell texts apart
        assert difference(side[:1].expand(4, -1), side[1:5]) > 1e-2
    return max(difference(ours, other) for ours, other in zip(expected, found, strict=True))


def test_random_towers(tmp_path: Path, parity: Parity) -> None:
    cases, worst = 0, 0.0
    for share, (pooling, normalize), (projection, title) in product(
        (True, False),
        (("cls", False), ("mean", True), ("last", False)),
        ((None, "pair"), (12, "join"), (None, "none")),
    ):
        prompts = PROMPTS if cases % 2 else {}
        wanted = settings(
            share=share, pooling=pooling, normalize=normalize, projection=projection, title=title, **prompts
        )
        difference_here = compared(tmp_path / str(cases), moved(towers.build(wanted, BERT, 1)), BERT)
        assert difference_here < CLOSE, (share, pooling, normalize, projection, title, prompts)
        worst, cases = max(worst, difference_here), cases + 1
    assert cases == 18
    vectors_of = cases * (len(QUESTIONS) + len(PASSAGES))
    parity("vectors of 18 saved models with random weights", THEIRS, vectors_of, worst, CLOSE, PACKAGE)


@pytest.mark.parametrize("family", FAMILIES)
def test_families(tmp_path: Path, family: str, examined: Examined) -> None:
    base, tokenizer = str(published(tmp_path / "base", family)), tokenizer_of(family)
    worst = 0.0
    first = "mean" if family == "qwen3" else "cls"  # a causal encoder's first token knows nothing of the others
    for share, pooling in ((True, first), (False, first), (False, "last")):
        wanted = settings(base=base, share=share, pooling=pooling, title="join", **PROMPTS)
        built = moved(towers.build(wanted, tokenizer, 1))
        worst = max(worst, compared(tmp_path / f"{share}{pooling}", built, tokenizer))
    assert worst < CLOSE
    examined(3, f"models of {family}, largest difference {worst:.1e}")


def test_pairs_of_other_framings(tmp_path: Path, examined: Examined) -> None:
    """RoBERTa's two separators; T5's end of text between the two."""
    worst = 0.0
    passages = [(title[:9], text) for title, text in PASSAGES]
    for family in ("roberta", "qwen3"):
        base, tokenizer = str(published(tmp_path / family, family)), tokenizer_of(family)
        built = moved(towers.build(settings(base=base, share=False, pooling="last", **PROMPTS), tokenizer, 1))
        worst = max(worst, compared(tmp_path / f"{family} model", built, tokenizer, passages))
    assert worst < CLOSE
    examined(2, f"models, largest difference {worst:.1e}")


def test_titles_longer_than_half_the_room_are_the_known_exception(tmp_path: Path) -> None:
    """We cut the end of the pair, as DPR does; sentence-transformers cuts whichever of the two is longer."""
    built = moved(towers.build(settings(passage_length=14, pooling="mean"), BERT, 1))
    text = "ka lo mi ren tu vas zel or ni be ka lo"
    fitting, longer = ("mi ren tu vas", text), ("mi ren tu vas zel or ni be", text)
    assert (
        compared(tmp_path / "fitting", built, BERT, [fitting] + [("", f"{word} ka") for word in text.split()]) < CLOSE
    )
    theirs = SentenceTransformer(str(tmp_path / "fitting" / "model"), device="cpu")
    _, ours = vectors(built, BERT, tmp_path, ["ka"], [longer])
    assert difference(ours, theirs.encode_document([longer])) > 1e-3


def test_dpr(tmp_path: Path, parity: Parity) -> None:
    question, context = map(str, dpr_pair(tmp_path, 16))
    wanted = settings(base=question, passage_base=context, share=False, pooling="cls", projection=16)
    worst = compared(tmp_path / "saved", towers.build(wanted, BERT, 1).eval(), BERT)
    texts = len(QUESTIONS) + len(PASSAGES)
    parity("vectors of DPR's two encoders, saved again", THEIRS, texts, worst, CLOSE, PACKAGE)


def test_merged_adapters(tmp_path: Path, parity: Parity) -> None:
    base, worst, cases = str(published(tmp_path / "small-base")), 0.0, 0
    for share, which in ((True, "both"), (False, "both"), (False, "question")):
        wanted = settings(base=base, share=share, lora=LORA | {"towers": which}, normalize=True)
        built = moved(towers.build(wanted, BERT, 1))
        worst, cases = max(worst, compared(tmp_path / str(cases), built, BERT, merged=True)), cases + 1
    vectors_of = cases * (len(QUESTIONS) + len(PASSAGES))
    parity("vectors of 3 models saved with merged adapters", THEIRS, vectors_of, worst, CLOSE, PACKAGE)


def test_adapters_on_their_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Examined) -> None:
    """Adapters name their base as the Hub does; here that name is a folder of the working folder.

    Separate towers are opened one by one: transformers would look for the base's weights in a sub-folder of the base.
    """
    published(tmp_path / "small-base")
    monkeypatch.chdir(tmp_path)
    worst, cases = 0.0, 0
    for share, which in ((True, "both"), (False, "both"), (False, "passage")):
        wanted = settings(base="small-base", share=share, lora=LORA | {"towers": which}, **PROMPTS)
        built = moved(towers.build(wanted, BERT, 1))
        if share:
            worst = max(worst, compared(tmp_path / "shared", built, BERT))
            cases += 1
            continue
        towers_folder.write(tmp_path / which / "model", built, BERT)
        expected = vectors(built, BERT, tmp_path / which, QUESTIONS, PASSAGES)
        for name, texts, ours in zip(
            ("query", "document"), (QUESTIONS, given("pair", PASSAGES)), expected, strict=True
        ):
            alone = SentenceTransformer(str(tmp_path / which / "model" / f"{name}_0_Transformer"), device="cpu")
            worst = max(worst, difference(ours, alone.encode(texts)))
            cases += 1
    assert worst < CLOSE
    examined(cases, f"models, largest difference {worst:.1e}", at_least=5)


def test_each_separate_tower_is_a_model_of_its_own(tmp_path: Path) -> None:
    """For servers that know no router. It puts its own prompt before everything."""
    wanted = settings(share=False, normalize=True, projection=12, title="join", **PROMPTS)
    built = moved(towers.build(wanted, BERT, 1))
    towers_folder.write(tmp_path / "model", built, BERT)
    questions, passages = vectors(built, BERT, tmp_path, QUESTIONS, PASSAGES)
    for name, texts, expected in (
        ("query", QUESTIONS, questions),
        ("document", given("join", PASSAGES), passages),
    ):
        alone = SentenceTransformer(str(tmp_path / "model" / f"{name}_0_Transformer"), device="cpu")
        assert difference(alone.encode(texts), expected) < CLOSE


def test_the_comparison_can_fail(tmp_path: Path) -> None:
    """Each of these would be a mistake of the writer; none may go unnoticed."""
    built = moved(towers.build(settings(share=False, pooling="cls", **PROMPTS), BERT, 1))
    towers_folder.write(tmp_path / "model", built, BERT)
    questions, passages = vectors(built, BERT, tmp_path, QUESTIONS, PASSAGES)
    folder, noticed = tmp_path / "model", 0
    mistakes: list[tuple[str, dict[str, Any]]] = [
        ("document_0_Transformer/tokenizer_config.json", {"model_input_names": [*INPUTS, "token_type_ids"]}),
        ("document_0_Transformer/sentence_bert_config.json", {"max_seq_length": 39}),
        ("document_1_Pooling/config.json", {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}),
        ("config_sentence_transformers.json", {"prompts": {"query": "", "document": ""}}),
    ]  # fmt: skip
    for name, change in [("mpr.json", {}), *mistakes]:
        path = folder / name
        before = path.read_bytes()
        path.write_text(json.dumps(json.loads(before) | change))
        theirs = SentenceTransformer(str(folder), device="cpu")
        apart = max(
            difference(theirs.encode_document(given("pair", PASSAGES)), passages),
            difference(theirs.encode_query(QUESTIONS), questions),
        )
        assert (apart < CLOSE) == (not change), name
        noticed += apart >= 1e-3
        path.write_bytes(before)
    assert noticed == len(mistakes)
