"""Rows of token stores become padded batches: texts of one side, and pairs of a question and a passage.

A pair is how a cross-encoder reads both at once:

    prefix question between passage suffix          [CLS] how long is the Teith ? [SEP] Teith The Teith is ... [SEP]

The special tokens and segments are those of the base's tokenizer for `(text, text_pair)`, the question first. Texts
were tokenised one by one, before (`mpr/data/tokens.py`): tokenizers do the same with the two texts of a pair. A title
stands in front of its passage with a space between. What is beyond `length` is cut from the passage and never from the
question, of which at most `question_length` tokens are read.

Shapes: N pairs, Q texts, L tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mpr.data.tokens import PADDING, TokenStore
from mpr.errors import RecipeError
from mpr.models.templates import PairTemplate, Template
from mpr.recipe.keys_towers import Towers
from mpr.storage.ragged import Integers, Ragged

Part = Ragged | tuple[int, ...]


@dataclass(frozen=True)
class Side:
    """How the texts of one side, questions or passages, become token ids."""

    store: TokenStore
    template: Template
    length: int
    pair_cut: str = "end"
    last_slot: str = "pad"

    @classmethod
    def of(cls, store: TokenStore, template: Template, towers: Towers, role: str) -> Side:
        """As these towers read the texts of a role, `question` or `passage`."""
        return cls(store, template, getattr(towers, f"{role}_length"), towers.pair_cut, towers.last_slot)

    def __post_init__(self) -> None:
        if self.length > self.store.cap:
            what = f"texts were tokenised up to {self.store.cap} tokens, {self.length} are asked for"
            raise RecipeError(what, key="towers", fix="run `mpr data` again with this recipe")
        if not self.template.pairs and self.store.title.lengths().any():
            what = "the tokenizer frames pairs and single texts differently"
            raise RecipeError(what, key="towers.title", fix="use title: join or none")
        special = len(self.template.prefix) + len(self.template.suffix)
        if self.length <= special:
            what = f"the tokenizer adds {special} special tokens to a text, {self.length} leave no room for words"
            raise RecipeError(what, key="towers", fix="raise question_length or passage_length")
        if self.last_slot == "sep" and not self.template.suffix:
            what = "the tokenizer puts no special token at the end of a text"
            raise RecipeError(what, key="towers.last_slot", fix="use pad")

    @property
    def pad(self) -> int:
        """The padding token."""
        return self.template.pad

    def tokens(self, rows: Integers) -> dict[str, torch.Tensor]:
        """Padded ids and mask of these rows of the store; a row of PADDING has no text."""
        ids_QL, mask_QL = assemble(self.store, rows, self.template, self.length, self.pair_cut)
        if self.last_slot == "sep":
            ids_QL, mask_QL = _with_last_slot(ids_QL, mask_QL, rows != PADDING, self.template, self.length)
        return {"input_ids": torch.from_numpy(ids_QL), "attention_mask": torch.from_numpy(mask_QL)}


def _with_last_slot(
    ids_QL: Integers, mask_QL: Integers, real_Q: NDArray[np.bool_], template: Template, length: int
) -> tuple[Integers, Integers]:
    """Padded to the full length, whose last place has the last special token. A text that fills it has it already."""
    missing = ((0, 0), (0, length - ids_QL.shape[1]))
    ids_QL, mask_QL = np.pad(ids_QL, missing, constant_values=template.pad), np.pad(mask_QL, missing)
    ids_QL[real_Q, -1], mask_QL[real_Q, -1] = template.suffix[-1], 1
    return ids_QL, mask_QL


def assemble(
    store: TokenStore, rows: Integers, template: Template, length: int, pair_cut: str = "end"
) -> tuple[Integers, Integers]:
    """prefix [title between] text suffix; what is beyond `length` is cut from the end, but the suffix is kept.

    With `longest_first` a pair loses tokens of its longer text, one by one, and of two of a size those of the second.

    A text without a title, and a title without a text, is framed as a single text. A row without any token (one of
    PADDING, or an empty text where the tokenizer adds nothing) shows one padding token: an encoder that may look at
    nothing answers with NaN.
    """
    real_Q = rows != PADDING
    safe_Q = np.where(real_Q, rows, 0)
    title_Q, text_Q = store.title.lengths(safe_Q), store.text.lengths(safe_Q)
    room_Q = np.full(len(rows), length - len(template.prefix) - len(template.suffix))
    between_Q = np.where((title_Q > 0) & (text_Q > 0), len(template.between), 0)
    if pair_cut == "longest_first":
        words_Q = np.maximum(room_Q - between_Q, 0)
        is_pair_Q = (title_Q > 0) & (text_Q > 0)
        title_Q = np.where(is_pair_Q, np.minimum(title_Q, np.maximum(words_Q - text_Q, -(-words_Q // 2))), title_Q)
    title_Q = np.minimum(title_Q, room_Q)
    between_Q = np.minimum(between_Q, room_Q - title_Q)
    text_Q = np.minimum(text_Q, room_Q - title_Q - between_Q)
    prefix_Q = np.full(len(rows), len(template.prefix))
    suffix_Q = np.full(len(rows), len(template.suffix))
    lengths_Q = np.stack([prefix_Q, title_Q, between_Q, text_Q, suffix_Q]) * real_Q
    starts_Q = np.cumsum(lengths_Q, axis=0) - lengths_Q
    total_Q = np.maximum(lengths_Q.sum(axis=0), 1)
    ids_QL = np.full((len(rows), int(total_Q.max(initial=1))), template.pad, dtype=np.int64)
    parts: list[Part] = [template.prefix, store.title, template.between, store.text, template.suffix]
    for part, part_lengths_Q, start_Q in zip(parts, lengths_Q, starts_Q, strict=True):
        place_tokens(ids_QL, part, safe_Q, part_lengths_Q, start_Q)
    mask_QL = (np.arange(ids_QL.shape[1])[None, :] < total_Q[:, None]).astype(np.int64)
    return ids_QL, mask_QL


def place_tokens(ids_QL: Integers, part: Part, rows: Integers, lengths_Q: Integers, start_Q: Integers) -> None:
    """Writes the first `length` tokens of the part into each row: a row of the store, or the same special tokens."""
    owner_N = np.repeat(np.arange(len(rows)), lengths_Q)
    within_N = np.arange(len(owner_N)) - np.repeat(np.cumsum(lengths_Q) - lengths_Q, lengths_Q)
    if isinstance(part, Ragged):
        tokens_N = part.columns["id"][part.offsets[rows][owner_N] + within_N]
    else:
        tokens_N = np.array(part, dtype=np.int64)[within_N]
    ids_QL[owner_N, start_Q[owner_N] + within_N] = tokens_N


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
