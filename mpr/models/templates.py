"""A tokenizer: its identity, its files, and the special tokens that it puts around one text or a pair of texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from mpr.errors import DataError, MprError, excerpt

_SPECIAL = {  # names under which other programs look for special tokens
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
}


@dataclass(frozen=True)
class Template:
    """Special tokens around one text, and between two. Read off the tokenizer, never assumed."""

    prefix: tuple[int, ...]
    between: tuple[int, ...]
    suffix: tuple[int, ...]
    pad: int
    pairs: bool = True
    """Whether a pair begins and ends as a single text does; otherwise titles cannot be a text of their own."""

    @classmethod
    def of(cls, tokenizer: Any) -> Template:
        """From a `tokenizers.Tokenizer`, by looking at what it adds to one word and to a pair of words."""
        pad = (tokenizer.padding or {}).get("pad_id")
        for name in ("[PAD]", "<pad>", "<|endoftext|>", "</s>"):
            pad = tokenizer.token_to_id(name) if pad is None else pad
        plain = type(tokenizer).from_str(definition(tokenizer))
        with refusing("tokenizer.json", "its tokenizer cannot make tokens of a word"):
            alone, pair = plain.encode("a"), plain.encode("a", "a")
        prefix, _, suffix = _around(alone)
        pair_prefix, between, pair_suffix = _around(pair)
        pairs = (prefix, suffix) == (pair_prefix, pair_suffix)
        return cls(prefix, between if pairs else (), suffix, pad or 0, pairs)


def opened(path: Path) -> Any:
    """The `tokenizers.Tokenizer` of a file that anybody may have written."""
    from tokenizers import Tokenizer

    with refusing(str(path), "is no tokenizer that can be read"):
        return Tokenizer.from_file(str(path))


@contextmanager
def refusing(where: str, what: str) -> Iterator[None]:
    """Turns the errors of the library `tokenizers`, plain exceptions and panics of Rust, into a refusal."""
    try:
        yield
    except (MprError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise DataError(f"{what}: {excerpt(str(error), 200)}", where=where, fix="get the file again") from error


def _around(encoding: Any) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    ids, special = encoding.ids, encoding.special_tokens_mask
    words = [place for place, flag in enumerate(special) if not flag]
    if not words:
        raise DataError("the tokenizer makes no token of the word 'a'", key="towers.base", fix="use another encoder")
    middle = [ids[place] for place in range(words[0], words[-1]) if special[place]]
    return tuple(ids[: words[0]]), tuple(middle), tuple(ids[words[-1] + 1 :])


def definition(tokenizer: Any) -> str:
    """The tokenizer without the padding and truncation that a published `tokenizer.json` may ask for."""
    return json.dumps(json.loads(tokenizer.to_str()) | {"padding": None, "truncation": None})


def digest(tokenizer: Any) -> str:
    """Identity of a `tokenizers.Tokenizer`: its whole definition, vocabulary included."""
    return hashlib.sha256(definition(tokenizer).encode()).hexdigest()


@dataclass(frozen=True)
class PairTemplate:
    """Special tokens around and between the texts of a pair, and the segment of each of the five parts."""

    prefix: tuple[int, ...]
    between: tuple[int, ...]
    suffix: tuple[int, ...]
    segments: tuple[int, int, int, int, int]
    pad: int

    @classmethod
    def of(cls, tokenizer: Any) -> PairTemplate:
        """Read off what a `tokenizers.Tokenizer` makes of two words."""
        plain = type(tokenizer).from_str(definition(tokenizer))
        found = plain.encode("a", "a")
        places: dict[int, list[int]] = {0: [], 1: []}
        for place, text in enumerate(found.sequence_ids):
            if text is not None:
                places[text].append(place)
        if not places[0] or not places[1] or places[0][0] > places[1][0]:
            what = "the tokenizer does not put the texts of a pair one behind the other"
            raise DataError(what, key="towers.base", fix="use another base for a cross-encoder")
        ends = [0, places[0][0], places[0][-1] + 1, places[1][0], places[1][-1] + 1, len(found.ids)]
        parts = [slice(first, last) for first, last in pairwise(ends)]
        ids = [tuple(found.ids[part]) for part in parts]
        kinds = [set(found.type_ids[part]) for part in parts]
        if any(len(kind) > 1 for kind in kinds):
            what = "the tokenizer gives the special tokens of a pair several segments"
            raise DataError(what, key="towers.base", fix="use another base for a cross-encoder")
        first, second, third, fourth, fifth = (kind.pop() if kind else 0 for kind in kinds)
        segments = (first, second, third, fourth, fifth)
        return cls(ids[0], ids[2], ids[4], segments, Template.of(tokenizer).pad)

    @property
    def special(self) -> int:
        """How many special tokens a pair has."""
        return len(self.prefix) + len(self.between) + len(self.suffix)

    @property
    def segmented(self) -> bool:
        """Whether the segments tell anything."""
        return len(set(self.segments)) > 1


def tokenizer_files(
    tokenizer: Any, length: int, inputs: tuple[str, ...] = ("input_ids", "attention_mask")
) -> list[tuple[str, bytes]]:
    """The definition as it is, and what transformers needs beside it to use that very definition.

    `inputs`, what the model is given, keeps it from making segment ids: both texts of a pair are segment 0.
    """
    definition = json.loads(tokenizer.to_str()) | {"padding": None, "truncation": None}
    special = {token["content"] for token in definition["added_tokens"] if token["special"]}
    named = {key: token for key, tokens_ in _SPECIAL.items() for token in tokens_ if token in special}
    pad: str | None = tokenizer.id_to_token(Template.of(tokenizer).pad)
    if pad not in special:  # padding is masked, so any special token will do; a word would become a special token
        if not special:
            what = "the tokenizer has no special token, and programs that read the model need one for padding"
            raise DataError(what, key="towers.base", fix="add a padding token to tokenizer.json")
        pad = min(special, key=lambda each: (tokenizer.token_to_id(each), each))
    content = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": list(inputs),
        "model_max_length": length,
        "padding_side": "right",
        "truncation_side": "right",
        "clean_up_tokenization_spaces": False,
        "pad_token": pad,
        **named,
    }
    return [
        ("tokenizer.json", (json.dumps(definition, indent=1, ensure_ascii=False) + "\n").encode()),
        ("tokenizer_config.json", (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()),
    ]
