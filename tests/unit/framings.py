"""Tokenizers that frame texts differently, made of invented words, and texts that are hard on them."""

from __future__ import annotations

import random
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertTokenizerFast, PreTrainedTokenizerFast

SYLLABLES = ("ka", "lo", "mi", "ren", "tu", "vas", "zel", "or", "ni", "be")
MARKS = (".", ",", "?", "(", ")", "'", "-")
HARD = (
    "",
    "   ",
    "kalo",
    "Mi-Ren, tuvas? (zel)",
    "KÄLO mí\u0301ren ĳ ﬁ",  # accents, ligatures
    "日本 kalo 語",
    "a[SEP]b </s> [CLS]",  # special tokens written out in a text
    "kalo\u200bmi\x00ren\u00adtu \ufeffor",
    "x" * 150 + " kalo",  # more characters than WordPiece looks at in one word
    "\U0001f600 ni \u202eeb",
    "\u0301",  # an accent on nothing: the normaliser leaves nothing of it
)


def words(dice: random.Random, count: int) -> str:
    """An invented text; some words are not in any vocabulary."""
    made = []
    for _ in range(count):
        word = "".join(dice.choices(SYLLABLES, k=dice.randint(1, 3)))
        made.append(dice.choice((word, word, word.capitalize(), word + dice.choice(MARKS), f"{word}qx", "ŵ")))
    return " ".join(made)


def texts(seed: int) -> list[tuple[str, str]]:
    """(title, text) pairs of many lengths, and the hard ones in every combination with something plain."""
    dice = random.Random(seed)
    found = [(words(dice, dice.randint(0, 12)), words(dice, dice.randint(0, 30))) for _ in range(60)]
    found += [("", words(dice, count)) for count in range(12)]
    return found + [pair for hard in HARD for pair in (("kalo ren", hard), (hard, "mi vas tu"), ("", hard))]


def bert() -> Any:
    """The real BertTokenizerFast: [CLS] text [SEP], [CLS] title [SEP] text [SEP]."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *MARKS, *"abcdefghijklmnopqrstuvwxyz", *SYLLABLES]
    pieces += [f"##{piece}" for piece in (*"abcdefghijklmnopqrstuvwxyz", *SYLLABLES)]
    pieces += [f"{one}{other}" for one in SYLLABLES for other in SYLLABLES]
    return BertTokenizerFast(vocab={piece: number for number, piece in enumerate(dict.fromkeys(pieces))})


def roberta() -> Any:
    """Byte-level pairs framed as RoBERTa does: <s> title </s></s> text </s>; padding is not number 0."""
    backend = _bytes(["<s>", "<pad>", "</s>", "<unk>"])
    backend.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def bare() -> Any:
    """Adds nothing at all, as GPT-2 does."""
    backend = _bytes(["<|endoftext|>"])
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<|endoftext|>")


def ending() -> Any:
    """Adds one token at the end only, and the same between two texts, as T5 does."""
    backend = _bytes(["<pad>", "</s>"])
    backend.post_processor = processors.TemplateProcessing("$A </s>", "$A </s> $B </s>", [("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", pad_token="<pad>")


def _bytes(special: list[str]) -> Tokenizer:
    """Byte-level BPE with a merge for every pair of letters of a syllable."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = list(dict.fromkeys((syllable[0], syllable[1]) for syllable in SYLLABLES))
    pieces = [*special, *alphabet, *("".join(merge) for merge in merges)]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.add_special_tokens(special)
    return backend


FRAMINGS = {"bert": bert, "roberta": roberta, "bare": bare, "ending": ending}
