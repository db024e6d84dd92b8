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

from mpr import catalogue, storage
from mpr.data import _split_builder, _vocabulary, tokens
from mpr.data._corpus import Corpus
from mpr.data._training_split import Added
from mpr.data.passages import PassageStore
from mpr.data.questions import SplitStore
from mpr.data.tokens import TokenStore
from mpr.errors import DataError, Problems
from mpr.metrics.answers import normalised
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


class Splits:
    """The splits of a recipe on disk: questions with what is known of them, and the passages that their labels refer
    to, by the role of a split in the recipe: `train`, `validation`, or a name under data.evaluate."""

    def __init__(self, recipe: Recipe, corpus: Corpus) -> None:
        self.recipe, self.corpus = recipe, corpus

    @property
    def names(self) -> dict[str, str]:
        """What a split is for -> its name: `train`, `validation` if there is one, then the evaluation splits."""
        if not self.recipe.trains:
            return dict(self.recipe.data.evaluate)
        validation = {} if self.recipe.validation is None else {"validation": self.recipe.validation.split}
        return {"train": self.recipe.data.train, **validation, **self.recipe.data.evaluate}

    @cached_property
    def _added(self) -> Added:
        return Added.of(self.recipe.data, self.corpus.fetcher.folder)

    def _added_to(self, role: str) -> Added:
        return self._added if role == "train" else Added()

    def split(self, role: str) -> SplitStore:
        """A split with its labels checked."""
        data, is_train = self.recipe.data, role == "train"
        if is_train:
            self.recipe.must_train()
        name, added, collection = self.names[role], self._added_to(role), self.corpus.collection
        facts, drops = added.facts(collection, name), is_train and data.overlap == "drop"
        # Tiers that count decide which training questions are usable. One without a positive is a problem, unless
        # labels may still find it some.
        tiers = self.recipe.tiers if is_train else ()
        labels = [catalogue.find("labels", label.name) for label in self.recipe.labels]
        needs_positives = is_train and not any(getattr(file, "FINDS_POSITIVES", False) for file in labels)
        how: dict[str, Any] = {"repair": data.repair.model_dump(), "tiers": tiers, "train": needs_positives}
        if drops:
            how["without"] = sorted(data.evaluate.values())
        target = self.corpus.folder / f"{name}-{storage.json_digest(how | added.identity)[:8]}"
        if not target.exists():
            store, asked = self.passages_of(role), data.evaluate if drops else ()
            exclude = frozenset(normalised(text) for other in asked for text in self.split(other).texts)
            receipt = self.corpus.receipt()
            with self.corpus.bar(f"questions of {name}", facts.questions) as progress:
                _split_builder.build(
                    target,
                    added.groups(collection, name, receipt),
                    facts,
                    store,
                    repair=data.repair,
                    tiers=tiers,
                    train=needs_positives,
                    sources=facts.sources,
                    receipt=receipt,
                    exclude=exclude,
                    progress=progress,
                )
        return SplitStore(target)

    def passages_of(self, role: str) -> PassageStore:
        """The passages that the labels of a split refer to: those that sources may propose, and augmented ones."""
        base, augmented = self.proposable(role), self._added_to(role).augmented
        return base if augmented is None else augmented.store(base, self.corpus.receipt, self.corpus.bar)

    def proposable(self, role: str) -> PassageStore:
        """The passages that sources may propose for a split: its own inline texts, or the corpus."""
        if role == "train":
            self.recipe.must_train()
        name, collection = self.names[role], self.corpus.collection
        if not collection.split(name).inline:
            return self.corpus()
        added = self._added_to(role)
        both = name if added.unlabelled is None else f"{name}-and-{added.unlabelled}"
        target = self.corpus.folder / f"{both}-passages"
        if not target.exists():
            receipt = self.corpus.receipt()
            with self.corpus.bar(f"texts of {name}", None) as progress:
                _split_builder.inline_passages(target, added.texts(collection, name), receipt, progress=progress)
        return PassageStore(target)

    def refuse_overlap(self) -> None:
        """Training questions that an evaluation split asks too are an error unless the recipe declares them."""
        if self.recipe.data.overlap != "refuse":
            return
        problems = Problems(DataError)
        for role, name in self.recipe.data.evaluate.items():
            found = self.split("train").shared_with(self.split(role))
            if found:
                first = ", ".join(f"{ours} = {theirs}" for ours, theirs in found[:3])
                fix = f"first: {first}; set data.overlap: drop, or allow to show it in the row"
                problems.add(f"{len(found):,} questions of '{name}' are also trained on", key="data.overlap", fix=fix)
        problems.stop_if_any()
