"""The tokenizer of a recipe: learned the same way every time, or the encoder's own."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from transformers import BertTokenizerFast

import mpr
from mpr.data import _vocabulary, passages
from mpr.data.passages import PassageStore
from mpr.errors import DataError, StorageError
from mpr.recipe.keys_towers import Towers
from mpr.records import Passage
from tests.unit.framings import bert, words
from tests.unit.learning import SIZE, corpus, digest, learned, new

ROOT = Path(__file__).parents[3]


def towers(**options: Any) -> Towers:
    common = {"share": True, "pooling": "cls", "normalize": False, "title": "pair"}
    return Towers(**common, question_length=16, passage_length=16, **options)


def test_learning_twice_gives_the_same_tokenizer() -> None:
    assert len({digest(learned(corpus())) for _ in range(5)}) == 1


@pytest.mark.long
def test_learning_does_not_depend_on_process_hash_seed_or_threads() -> None:
    found = set()
    for seed, threads in (("0", "1"), ("1", "2"), ("2", "2")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(Path(mpr.__file__).parents[1])])
        command = [sys.executable, "-m", "tests.unit.learning"]
        found.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip())
    assert found == {digest(learned(corpus()))}


def test_the_vocabulary_has_the_asked_size_and_special_tokens_come_first() -> None:
    tokenizer = learned(corpus())
    assert tokenizer.get_vocab_size() == SIZE
    assert [tokenizer.id_to_token(number) for number in range(5)] == list(_vocabulary.SPECIAL)
    assert {token.content for token in tokenizer.get_added_tokens_decoder().values()} == set(_vocabulary.SPECIAL)
    every = tokenizer.encode(" ".join(corpus())).tokens
    assert "[UNK]" not in every
    assert len(every) < sum(map(len, corpus()))  # pieces, not letters


def test_a_learned_tokenizer_is_berts() -> None:
    """The same vocabulary in transformers' own BertTokenizerFast cuts every text into the same pieces."""
    dice = random.Random(8)
    tokenizer = learned([words(dice, 30) for _ in range(200)])
    theirs = BertTokenizerFast(vocab=tokenizer.get_vocab())
    for text in ("Kälo, mi-REN (tu)?", "", "  ka\tlo ", "日本 ka", "[CLS] ka", *(words(dice, 9) for _ in range(50))):
        assert tokenizer.encode(text).ids == theirs(text)["input_ids"]
        assert tokenizer.encode(text, "mi").ids == theirs(text, "mi")["input_ids"]
        assert tokenizer.decode(tokenizer.encode(text).ids) == theirs.decode(theirs(text)["input_ids"], True)


def test_a_corpus_with_more_characters_than_pieces_is_refused() -> None:
    texts = ["".join(chr(0x4E00 + number) for number in range(400))] * 2
    with pytest.raises(DataError, match="400 different characters, which leaves no room"):
        learned(texts)
    assert learned(texts, 406).get_vocab_size() <= 406


# ---- where a recipe's tokenizer comes from


@contextmanager
def no_bar(what: str, total: int | None) -> Iterator[Callable[[int], object]]:
    assert (what, total) == ("vocabulary", 2 * 300)  # the corpus is read twice
    counts: list[int] = []
    yield counts.append
    assert sum(counts) == total


def store(folder: Path) -> PassageStore:
    listed = (Passage(f"p{row}", text, "Title") for row, text in enumerate(corpus()))
    return passages.build(folder / "passages", listed, {})


def never() -> PassageStore:
    raise AssertionError("the corpus was read again")


def test_a_learned_vocabulary_is_kept_and_verified(tmp_path: Path) -> None:
    recipe = towers(new=new())
    first = _vocabulary.load(recipe, tmp_path, lambda: store(tmp_path), no_bar)
    assert first.token_to_id("title") is not None  # titles are learned from too
    again = _vocabulary.load(recipe, tmp_path, never, no_bar)
    assert digest(first) == digest(again)
    other = _vocabulary.load(towers(new=new(300)), tmp_path, lambda: PassageStore(tmp_path / "passages"), no_bar)
    assert other.get_vocab_size() == 300
    kept = tmp_path / f"vocabulary-{SIZE}" / "tokenizer.json"
    kept.write_bytes(kept.read_bytes().replace(b"[MASK]", b"[mask]"))
    with pytest.raises(StorageError, match=r"tokenizer\.json: checksum mismatch"):
        _vocabulary.load(recipe, tmp_path, never, no_bar)


def test_a_folder_brings_its_own(tmp_path: Path) -> None:
    theirs = bert()
    theirs.save_pretrained(tmp_path / "encoder")
    found = _vocabulary.load(towers(base=str(tmp_path / "encoder")), tmp_path, never, no_bar)
    assert found.encode("kalo", "mi").ids == theirs("kalo", "mi")["input_ids"]
    (tmp_path / "encoder" / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"has no tokenizer\.json .save the model with its fast tokenizer"):
        _vocabulary.load(towers(base=str(tmp_path / "encoder")), tmp_path, never, no_bar)


@pytest.mark.parametrize(
    "error, message",
    [
        (LocalEntryNotFoundError("offline"), f"at {'a' * 40} is not on this machine and the Hub is out of reach"),
        (EntryNotFoundError("no such file"), r"has no tokenizer\.json"),
    ],
)
def test_what_the_hub_cannot_give_is_said(monkeypatch: pytest.MonkeyPatch, error: Exception, message: str) -> None:
    asked = []

    def download(repo: str, file: str, revision: str | None, local_files_only: bool = False) -> str:
        asked.append((repo, file, revision))
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(DataError, match=message):
        _vocabulary.load(towers(base="who/what", revision="a" * 40), Path(), never, no_bar)
    assert asked[0] == ("who/what", "tokenizer.json", "a" * 40)
    assert {(repo, revision) for repo, _, revision in asked} == {("who/what", "a" * 40)}
