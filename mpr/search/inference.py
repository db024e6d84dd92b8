"""A trained model at work: blocks of token ids become vectors that were looked at before anyone keeps them.

Shapes: N texts of a block, L tokens, W width of a vector.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from mpr import storage
from mpr.data.token_batches import Side
from mpr.data.tokens import TokenStore, question_form
from mpr.errors import DataError, Problem, RecipeError
from mpr.models import contract, out_of_memory, templates, towers, towers_folder
from mpr.models.contract import Contract
from mpr.models.templates import Template
from mpr.models.towers import DualEncoder, Encoder
from mpr.recipe import keys_towers
from mpr.search.padding import TextBlock
from mpr.storage.ragged import Floats, Integers

ROLES = ("question", "passage")
COMPUTE = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class _TooLarge(RecipeError):
    """A block does not fit into the device's memory."""


@dataclass(frozen=True)
class Model:
    """Towers that are done learning, and what says how to use them."""

    towers: DualEncoder
    template: Template
    tokenizer: str
    """Digest of the tokenizer that its texts must be tokenised with."""
    name: str
    digest: str
    """Of everything that makes the vectors: the manifest of a model folder, or all weights of an untrained base."""
    contract: Contract | None = None
    backend: Any = None
    """The tokenizer itself, for texts that no one has tokenised yet."""

    @classmethod
    def opened(cls, folder: Path, base: Path | None = None, passage_base: Path | None = None) -> Model:
        """A model folder of ours, every byte verified. The bases are those of adapters that are not on the Hub."""
        made, tokenizer, found = towers_folder.load(folder, base, passage_base)
        digest = storage.read_manifest(folder).digest
        return cls(made, Template.of(tokenizer), found.tokenizer, Path(folder).name, digest, found, tokenizer)

    @classmethod
    def trained(cls, place: Path, towers: keys_towers.Towers) -> Model:
        """The model of a recipe; bases of its adapters that are folders are found where the recipe says."""
        bases = (Path(base) if base and Path(base).is_dir() else None for base in (towers.base, towers.passage_base))
        return cls.opened(place, *bases)

    @classmethod
    def untrained(cls, settings: keys_towers.Towers, tokenizer: Any, seed: int, *, published: bool = False) -> Model:
        """The encoders that a recipe starts from, as they are: a folder or Hub id under `base`, or random weights.
        `published`: the recipe is about them, so they are used whole."""
        name = contract.base_name(settings.base) if settings.base is not None else f"random weights of seed {seed}"
        return cls.of(towers.build(settings, tokenizer, seed, published=published).float(), tokenizer, name)

    @classmethod
    def of(cls, made: DualEncoder, tokenizer: Any, name: str) -> Model:
        """Towers as they are now."""
        left_out = {
            "base",
            "passage_base",
            "revision",
            "passage_revision",
            "train",
            "attention",
        }  # they shape no vector
        for key in (
            "pair_cut",
            "last_slot",
            "question_apostrophe",
            "weights",
        ):  # came later: models without keep their digest
            if getattr(made.settings, key) == keys_towers.Towers.model_fields[key].default:
                left_out.add(key)
        settings = made.settings.model_dump(mode="json", exclude=left_out)
        found = hashlib.sha256(storage.json_digest(settings).encode())
        for key, tensor in sorted(made.state_dict().items()):
            found.update(key.encode())
            found.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return cls(made.eval(), Template.of(tokenizer), templates.digest(tokenizer), name, found.hexdigest())

    def encoder(self, role: str) -> Encoder:
        found: Encoder = getattr(self.towers, role)
        return found

    def side(self, role: str, store: TokenStore) -> Side:
        """How texts of that store become its inputs, or every reason why they cannot.

        They must have been tokenised by the model's tokenizer, with its prompt, and titles as it knows them.
        """
        settings, receipt, where = self.towers.settings, store.manifest.receipt, str(store.folder)
        title = settings.title if role == "passage" else question_form(settings)
        expected = {"tokenizer": self.tokenizer, "prompt": getattr(settings, f"{role}_prompt"), "title": title}
        keys = {"tokenizer": "tokenizer", "prompt": f"towers.{role}_prompt", "title": "towers.title"}
        fix = "run `mpr data` with the recipe that the model was trained with"
        problems = [
            Problem(f"texts were tokenised with {receipt.get(name)!r}, the model expects {value!r}", where, key, fix)
            for name, key in keys.items()
            for value in (expected[name],)
            if receipt.get(name) != value
        ]
        length = getattr(settings, f"{role}_length")
        if length > store.cap:
            what = f"texts were tokenised up to {store.cap} tokens, the model reads {length}"
            problems.append(Problem(what, where, f"towers.{role}_length", fix))
        if problems:
            raise RecipeError(problems)
        return Side.of(store, self.template, settings, role)

    def agree(self, settings: keys_towers.Towers) -> None:
        """Refuses a recipe that says anything else than what the model was trained with."""
        if self.contract is not None:
            contract.agree(self.contract, settings, self.tokenizer, self.name)


class Texts(Protocol):
    """What a worker reads: the rows of a side, or pairs."""

    @property
    def pad(self) -> int:
        """The padding token."""

    def tokens(self, rows: Integers) -> dict[str, Tensor]:
        """Ids, mask and whatever else the encoder is given, each as wide as the longest of these rows."""


@dataclass
class Worker:
    """One encoder on one device, in one precision."""

    encoder: Callable[..., Tensor]
    side: Texts
    device: str = "cpu"
    compute: str = "float32"
    fallback: bool = False
    """Too large a block is computed in halves of the same width instead of being refused."""
    split: int = 0
    """How many blocks were."""

    @contextmanager
    def working(self) -> Iterator[None]:
        """Weights are cast to 16 bits once for everything in the body, not once a block."""
        kind, half = torch.device(self.device).type, COMPUTE[self.compute]
        with torch.inference_mode(), torch.autocast(kind, half, enabled=half != torch.float32):
            yield

    def __call__(self, block: TextBlock) -> Floats:
        """The vectors of a block, in its order; not yet looked at."""
        given = self.side.tokens(block.rows)
        missing = block.width - given["input_ids"].shape[1]
        filling = {"input_ids": self.side.pad}
        wide = {
            name: torch.nn.functional.pad(part_NL, (0, missing), value=filling.get(name, 0))
            for name, part_NL in given.items()
        }
        found, todo = [], [(0, len(block.rows))]
        while todo:
            first, last = todo.pop()
            vectors_NW = self._attempt({name: part_NL[first:last] for name, part_NL in wide.items()})
            if vectors_NW is None:
                middle = (first + last) // 2
                todo += [(middle, last), (first, middle)]
            else:
                found.append(vectors_NW)
        self.split += len(found) > 1
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _attempt(self, given: dict[str, Tensor]) -> Floats | None:
        """None where these texts do not fit into memory and may be computed in parts."""
        try:
            with out_of_memory.becomes(lambda: self._too_large(*given["input_ids"].shape)):
                inputs = {name: part_NL.to(self.device) for name, part_NL in given.items()}
                vectors_NW: Floats = self.encoder(**inputs).float().cpu().numpy()
                return vectors_NW
        except _TooLarge:
            if not self.fallback or len(given["input_ids"]) == 1:
                raise
            return None

    def _too_large(self, texts: int, width: int) -> RecipeError:
        fix = "allow fallback, which computes it in parts of the same width and says so in the receipt"
        if texts == 1:
            fix = "one text is too much for this device: use a larger one"
        what = f"out of memory while encoding {texts} texts of {width} tokens; nothing was changed"
        return _TooLarge(what, key="encode", fix=fix)


def unusable(vectors_NW: Floats, rows_N: Integers, width: int, ids: Callable[[Integers], list[str]]) -> str:
    """Why these vectors cannot be kept, with the ids of the texts; empty if they can."""
    if vectors_NW.ndim != 2 or vectors_NW.shape[1] != width:
        shape = "x".join(map(str, vectors_NW.shape[1:]))
        return f"vectors of size {shape or 'none'} where {width} is expected, of {_named(rows_N, ids)}"
    found = []
    for what, bad_N in (
        ("not-a-number or infinity in the vector", ~np.isfinite(vectors_NW).all(axis=1)),
        ("nothing but zeros in the vector", ~vectors_NW.any(axis=1)),
    ):
        if bad_N.any():
            found.append(f"{what} of {_named(rows_N[bad_N], ids)}")
    return "; ".join(found)


def refuse_empty(side: Side, lengths_N: Integers, ids: Callable[[Integers], list[str]]) -> None:
    """A text without any token, special ones included, has no vector: what comes out would be that of padding."""
    if len(lengths_N) == 0:
        raise DataError("there is nothing to encode", where=str(side.store.folder), fix="check the collection")
    empty_N = np.flatnonzero(lengths_N == 0)
    if len(empty_N):
        what = f"no token at all in {_named(empty_N, ids)}"
        raise DataError(what, where=str(side.store.folder), fix="remove them, or mend their text")


def _named(rows_N: Integers, ids: Callable[[Integers], list[str]]) -> str:
    shown = ", ".join(ids(rows_N[:5])) + (", ..." if len(rows_N) > 5 else "")
    return f"{len(rows_N):,} texts: {shown}"
