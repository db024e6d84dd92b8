"""A question and a passage as one text: how a cross-encoder reads both at once.

    prefix question between passage suffix          [CLS] how long is the Teith ? [SEP] Teith The Teith is ... [SEP]

The frame and the segments are those of the base's tokenizer for `(text, text_pair)`, the question first. Texts were
tokenised one by one, before (`mpr/tokens.py`): tokenizers do the same with the two texts of a pair. A title stands in
front of its passage with a space between. What is beyond `length` is cut from the passage and never from the question,
of which at most `question_length` tokens are read.

Shapes: N pairs, L tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mpr import tokens
from mpr.collate import Part, place_tokens
from mpr.errors import DataError, RecipeError
from mpr.tokens import TokenStore

Integers = NDArray[np.int64]


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
        plain = type(tokenizer).from_str(tokens.definition(tokenizer))
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
        return cls(ids[0], ids[2], ids[4], _segments(found.type_ids, parts), tokens.Template.of(tokenizer).pad)

    @property
    def special(self) -> int:
        """How many special tokens a pair has."""
        return len(self.prefix) + len(self.between) + len(self.suffix)

    @property
    def segmented(self) -> bool:
        """Whether the segments tell anything."""
        return len(set(self.segments)) > 1


def _segments(type_ids: list[int], parts: list[slice]) -> tuple[int, int, int, int, int]:
    found = [set(type_ids[part]) for part in parts]
    if any(len(kinds) > 1 for kinds in found):
        what = "the tokenizer gives the special tokens of a pair several segments"
        raise DataError(what, key="towers.base", fix="use another base for a cross-encoder")
    first, second, third, fourth, fifth = (kinds.pop() if kinds else 0 for kinds in found)
    return first, second, third, fourth, fifth


@dataclass(frozen=True)
class PairTexts:
    """The questions of a split and the passages of a collection, and how a pair of them becomes token ids."""

    questions: TokenStore
    passages: TokenStore
    template: PairTemplate
    question_length: int
    length: int

    def __post_init__(self) -> None:
        for store, wanted in ((self.questions, self.question_length), (self.passages, self.length)):
            if wanted > store.cap:
                what = f"texts were tokenised up to {store.cap} tokens, {wanted} are asked for"
                raise RecipeError(what, key="towers", fix="run `mpr data` again with this recipe")
        if self.passages.title.lengths().any():
            what = "a passage of a pair is one text, its title is kept apart"
            raise RecipeError(what, key="towers.title", fix="use title: join or none")
        if self._question_room < 1 or self.length - self.template.special - self._question_room < 1:
            what = f"with {self.template.special} special tokens, the lengths leave no room for question and passage"
            raise RecipeError(what, key="towers.passage_length", fix="raise it, or lower question_length")

    @property
    def _question_room(self) -> int:
        return self.question_length - len(self.template.prefix) - len(self.template.suffix)

    def words(self, question_N: Integers, passage_N: Integers) -> tuple[Integers, Integers]:
        """How many tokens of the question and of the passage each pair reads."""
        own_N = np.minimum(self.questions.text.lengths(question_N), self._question_room)
        room_N = self.length - self.template.special - own_N
        return own_N, np.minimum(self.passages.text.lengths(passage_N), room_N)

    def lengths(self, question_N: Integers, passage_N: Integers) -> Integers:
        """Tokens of each pair, special tokens included."""
        own_N, other_N = self.words(question_N, passage_N)
        return own_N + other_N + self.template.special

    def tokens(self, question_N: Integers, passage_N: Integers) -> dict[str, torch.Tensor]:
        """Ids, mask and, where they tell anything, segments of these pairs, padded on the right."""
        template, count = self.template, len(question_N)
        own_N, other_N = self.words(question_N, passage_N)
        pieces: list[tuple[Part, Integers, Integers]] = [
            (template.prefix, question_N, np.full(count, len(template.prefix))),
            (self.questions.text, question_N, own_N),
            (template.between, question_N, np.full(count, len(template.between))),
            (self.passages.text, passage_N, other_N),
            (template.suffix, passage_N, np.full(count, len(template.suffix))),
        ]
        lengths_5N = np.stack([length_N for _, _, length_N in pieces])
        starts_5N = np.cumsum(lengths_5N, axis=0) - lengths_5N
        total_N = lengths_5N.sum(axis=0)
        shape = (count, int(total_N.max(initial=1)))
        ids_NL, kinds_NL = np.full(shape, template.pad, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        for number, (part, rows_N, length_N) in enumerate(pieces):
            place_tokens(ids_NL, part, rows_N, length_N, starts_5N[number])
            place_L = np.arange(shape[1])[None, :] - starts_5N[number][:, None]
            kinds_NL[(place_L >= 0) & (place_L < length_N[:, None])] = template.segments[number]
        mask_NL = (np.arange(shape[1])[None, :] < total_N[:, None]).astype(np.int64)
        found = {"input_ids": ids_NL, "attention_mask": mask_NL}
        if template.segmented:
            found["token_type_ids"] = kinds_NL
        return {name: torch.from_numpy(values_NL) for name, values_NL in found.items()}
