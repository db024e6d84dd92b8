"""The token store and the frame of special tokens, against the tokenizers themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from mpr.data import tokens
from mpr.data.tokens import TokenStore
from mpr.errors import DataError, StorageError
from mpr.models import templates
from mpr.models.templates import Template
from mpr.records import Passage
from tests.conftest import Examined
from tests.unit.framings import FRAMINGS, bare, bert, ending, roberta, texts
from tests.unit.grounds import asked, ground, silent
from tests.unit.tiny_models import settings


def test_the_frame_is_read_off_the_tokenizer() -> None:
    assert Template.of(bert().backend_tokenizer) == Template((2,), (3,), (3,), 0)
    assert Template.of(roberta().backend_tokenizer) == Template((0,), (2, 2), (2,), 1)
    assert Template.of(bare().backend_tokenizer) == Template((), (), (), 0)
    assert Template.of(ending().backend_tokenizer) == Template((), (1,), (1,), 0)


@pytest.mark.parametrize("name", FRAMINGS)
def test_padding_and_truncation_of_a_published_tokenizer_do_not_count(name: str) -> None:
    """Many a tokenizer.json asks for padding to 128 tokens; that is no part of the frame."""
    plain, busy = (FRAMINGS[name]().backend_tokenizer for _ in range(2))
    pad = Template.of(plain).pad
    busy.enable_padding(length=64, pad_id=pad, pad_token=plain.id_to_token(pad))
    busy.enable_truncation(max_length=7)
    assert Template.of(busy) == Template.of(plain)
    assert templates.digest(busy) == templates.digest(plain)
    assert len({templates.digest(make().backend_tokenizer) for make in FRAMINGS.values()}) == len(FRAMINGS)


def test_the_stated_padding_token_wins() -> None:
    backend = bert().backend_tokenizer
    backend.enable_padding(pad_id=4, pad_token="[MASK]")
    assert Template.of(backend).pad == 4


def test_pairs_that_are_framed_in_another_way_are_told() -> None:
    backend = bare().backend_tokenizer
    end = backend.token_to_id("<|endoftext|>")
    backend.post_processor = processors.TemplateProcessing("$A <|endoftext|>", "$A $B", [("<|endoftext|>", end)])
    assert Template.of(backend) == Template((), (), (end,), end, pairs=False)


def test_a_tokenizer_without_words_is_refused() -> None:
    silent = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    silent.pre_tokenizer = pre_tokenizers.Split("a", "removed")
    with pytest.raises(DataError, match="makes no token of the word 'a'"):
        Template.of(silent)


def build(folder: Path, pairs: list[tuple[str, str]], tokenizer: Any, cap: int = 512) -> TokenStore:
    return tokens.build(folder / "tokens", pairs, tokenizer, cap=cap, receipt={"from": "test"})


@pytest.mark.parametrize("name", FRAMINGS)
@pytest.mark.parametrize("cap", [5, 512])
def test_the_store_keeps_the_first_tokens_and_every_full_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, cap: int
) -> None:
    monkeypatch.setattr(tokens, "_BATCH", 7)
    tokenizer, pairs = FRAMINGS[name](), texts(1)
    store = build(tmp_path, pairs, tokenizer.backend_tokenizer, cap)
    assert len(store) == len(pairs)
    assert store.cap == cap
    for row, (title, text) in enumerate(pairs):
        ids = {key: tokenizer(part, add_special_tokens=False)["input_ids"] for key, part in (("a", title), ("b", text))}
        assert store.title.row(row, "id").tolist() == ids["a"][:cap]
        assert store.text.row(row, "id").tolist() == ids["b"][:cap]
        assert store.lengths[row] == len(ids["b"])
    assert store.manifest.receipt["tokenizer"] == templates.digest(tokenizer.backend_tokenizer)


def test_padding_and_truncation_of_the_tokenizer_do_not_reach_the_store(tmp_path: Path) -> None:
    busy = bert().backend_tokenizer
    busy.enable_padding(length=64)
    busy.enable_truncation(max_length=3)
    store = build(tmp_path, [("", "ka lo mi ren tu")], busy)
    assert store.lengths.tolist() == [5]
    assert len(store.text.row(0, "id")) == 5


def test_a_gigantic_text_is_bounded_before_tokenising_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MAX_CHARACTERS", 10)
    pairs = [("", "ka lo mi ren tu vas"), ("ka lo mi ren tu vas", ""), ("ka lo mi x", "ka lo mi x")]
    store = build(tmp_path, pairs, bert().backend_tokenizer)
    assert store.manifest.receipt["characters_cut"] == 2
    assert store.lengths.tolist() == [4, 0, 4]


def test_nothing_is_left_of_a_store_that_was_broken_off(tmp_path: Path) -> None:
    def broken() -> Any:
        yield "", "ka lo"
        raise DataError("the source ended early")

    with pytest.raises(DataError, match="ended early"):
        tokens.build(tmp_path / "tokens", broken(), bert().backend_tokenizer, cap=8, receipt={})
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
    with pytest.raises(StorageError, match="does not exist"):
        TokenStore(tmp_path / "tokens")


def test_the_same_texts_give_the_same_bytes(tmp_path: Path) -> None:
    digests = {build(tmp_path / name, texts(2), bert().backend_tokenizer).manifest.digest for name in "abc"}
    assert len(digests) == 1
    assert json.loads((tmp_path / "a/tokens/manifest.json").read_text())["kind"] == "tokens"


# ---- the one place of a store


def test_a_store_lies_beside_its_texts_under_what_it_depends_on(tmp_path: Path, examined: Examined) -> None:
    """Equal towers share a store; whatever changes a token makes another; a bar is shown while one is made."""
    here = ground(tmp_path, [Passage("p0", "kalo miren", "sutu"), Passage("p1", "taro")], [asked("q0", "p0", "miren")])
    tokenizer, shown, folders = bert().backend_tokenizer, list[str](), set[Path]()

    def bar(what: str, total: int) -> Any:
        shown.append(f"{what} {total}")
        return silent(what, total)

    changes: list[dict[str, Any]] = [
        {}, {"passage_length": 512, "question_length": 512}, {"title": "join"}, {"title": "none"},
        {"passage_prompt": "a ", "question_prompt": "b "}, {"passage_length": 513, "question_length": 600},
    ]  # fmt: skip
    for change in (*changes, *changes):
        wanted = settings(**change)
        stores = {
            "passage": tokens.of_passages(here.passages, wanted, tokenizer, bar),
            "question": tokens.of_questions(here.questions, wanted, tokenizer, bar),
        }
        for role, store in stores.items():
            assert store.folder.parent == tmp_path
            assert store.cap == max(512, getattr(wanted, f"{role}_length"))
            assert store.manifest.receipt["prompt"] == getattr(wanted, f"{role}_prompt")
        source = here.passages.manifest.digest
        assert (stores["passage"].manifest.receipt["source"], len(stores["passage"])) == (source, 2)
        assert stores["passage"].manifest.receipt["title"] == wanted.title
        assert stores["question"].manifest.receipt["source"] == here.questions.manifest.digest
        folders |= {store.folder for store in stores.values()}
    other = bert().backend_tokenizer
    other.add_tokens(["strange"])
    folders.add(tokens.of_passages(here.passages, settings(), other, bar).folder)
    assert len(folders) == len(shown) == 5 + 3 + 1  # a length up to 512 changes nothing, a title no question
    assert set(shown) == {"tokens of passages 2", "tokens of split 1"}
    examined(len(folders), "stores", at_least=9)
