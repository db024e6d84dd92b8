"""The data of a recipe on disk: its corpus, its splits and their tokens, each a committed store.

Stores are built where they are missing and left alone where they are there. Their names are digests of what goes in
(parameters, checksums of the files, tokenizer), so two recipes share what they have in common and never clash.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mpr import storage
from mpr.data import _vocabulary, tokens
from mpr.data._corpus import Corpus
from mpr.data._splits import Splits
from mpr.data.passages import PassageStore
from mpr.data.questions import SplitStore
from mpr.data.tokens import TokenStore
from mpr.models.locate import ModelFolders
from mpr.recipe.keys import Recipe
from mpr.runtime.progress import Progress, bar


@dataclass
class Dataset:
    """Everything that a recipe reads, under `home`. A `role` is `train`, `validation` or a name under data.evaluate."""

    recipe: Recipe
    home: Path
    quiet: bool = False
    stages: Mapping[str, Path] = field(default_factory=dict)
    """Models of earlier stages, where the recipe is a stage of a plan."""

    @cached_property
    def models(self) -> ModelFolders:
        """Models that the recipe names: for sources, labels and training, no store here depends on them."""
        return ModelFolders(self.recipe, self.home, self.stages, self.quiet)

    @cached_property
    def corpus(self) -> Corpus:
        """Called, the store of all passages."""
        return Corpus(self.recipe, self.home, self.bar, self.quiet)

    @cached_property
    def splits(self) -> Splits:
        return Splits(self.recipe, self.corpus)

    def split(self, role: str) -> SplitStore:
        """A split with its labels checked."""
        return self.splits.split(role)

    def passages_of(self, role: str) -> PassageStore:
        """The passages that the labels of a split refer to."""
        return self.splits.passages_of(role)

    def tokenizer(self) -> Any:
        """The encoder's own, or one learned from the corpus for an encoder from random weights."""
        return _vocabulary.load(self.recipe.towers, self.corpus.folder, self.corpus, self.bar)

    def tokens_of_passages(self, role: str | None) -> TokenStore:
        """Token ids of the passages that a split refers to; None: of the whole corpus."""
        store = self.corpus() if role is None else self.passages_of(role)
        return tokens.of_passages(store, self.recipe.towers, self.tokenizer(), self.bar)

    def tokens_of_questions(self, role: str) -> TokenStore:
        """Token ids of the questions of a split."""
        return tokens.of_questions(self.split(role), self.recipe.towers, self.tokenizer(), self.bar)

    def prepare(self) -> dict[str, Any]:
        """Builds and verifies everything; returns what `mpr data` prints."""
        if not self.recipe.trains:
            return self.prepare_corpus()
        asked = self.recipe.data.evaluate
        return _verified({"corpus": self.corpus(), **self.prepare_training(), **self._questions(*asked)})

    def prepare_corpus(self) -> dict[str, Any]:
        """What encoding and searching read, verified."""
        corpus = {"corpus": self.corpus(), "corpus tokens": self.tokens_of_passages(None)}
        return _verified({**corpus, **self._questions(*self.recipe.data.evaluate)})

    def prepare_training(self) -> dict[str, Any]:
        """The part that training reads; of an inline split that is not the corpus."""
        built: dict[str, Any] = {}
        for role in ("train", "validation") if self.recipe.validation else ("train",):
            built |= self._questions(role)
            built[f"{role} passages"] = self.passages_of(role)
            built[f"{role} passages tokens"] = self.tokens_of_passages(role)
        self.splits.refuse_overlap()
        return _verified(built)

    def _questions(self, *roles: str) -> dict[str, Any]:
        built: dict[str, Any] = {}
        for role in roles:
            built[role] = self.split(role)
            built[f"{role} tokens"] = self.tokens_of_questions(role)
        return built

    def bar(self, what: str, total: int | None) -> AbstractContextManager[Progress]:
        return bar(what, total, self.quiet)


def _verified(built: dict[str, Any]) -> dict[str, Any]:
    for store in built.values():
        storage.verify(store.folder)
    return built
