"""The data of a recipe on disk: corpus, splits and tokens, each a committed store under a name made of its content.

`prepare` builds what is missing and leaves what is there; `open_` refuses what is not. Names are digests of what goes
in (parameters, checksums of the files, tokenizer), so two recipes share what they have in common and never clash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mpr import __version__, catalogue, corpora, storage
from mpr.corpora import Collection
from mpr.data import _split_builder, _vocabulary, overlap, passages, tokens
from mpr.data import _unlabelled as unlabelled
from mpr.data._augmented import Augmented
from mpr.data._download import Fetcher
from mpr.data.passages import PassageStore
from mpr.data.questions import SplitStore
from mpr.data.tokens import TokenStore
from mpr.errors import DataError, Problems
from mpr.models import locate
from mpr.models.locate import Models
from mpr.recipe.keys import Recipe
from mpr.recipe.model_names import START
from mpr.records import Group


@dataclass
class Dataset:
    """Everything that a recipe reads, under `home`."""

    recipe: Recipe
    home: Path
    quiet: bool = False
    models: Models = field(default_factory=dict)
    """Models of earlier stages, where the recipe is a stage of a plan."""

    @cached_property
    def start(self) -> Path | None:
        """The folder of the model that training starts from; None: it starts from `towers.base` or `towers.new`."""
        if self.recipe.start is None:
            return None
        options: Any = {"key": "start", "quiet": self.quiet, "unpinned": self.recipe.draft}
        return locate.model_folder(self.recipe.start, self.home, self.models, **options)

    def models_for(self, part: Any) -> Models:
        """Where the models are that an entry of a catalogue may name."""
        if getattr(part, "model", None) != START or self.start is None:
            return self.models
        return {**self.models, START: self.start}

    @cached_property
    def fetcher(self) -> Fetcher:
        folder = getattr(self.recipe.data.corpus, "folder", None)
        return Fetcher(self.home, None if folder is None else Path(folder))

    @cached_property
    def collection(self) -> Collection:
        return corpora.of(self.recipe.data.corpus, self.fetcher)

    @cached_property
    def folder(self) -> Path:
        """Named by the parameters and by what the input files are, not by where they lie."""
        params = self.recipe.data.corpus.model_dump(mode="json", by_alias=True, exclude={"folder"})
        digest = storage.json_digest({"corpus": params, "files": self._file_sums(), "mpr": __version__})
        return self.home / "data" / f"{self.recipe.data.corpus.name}-{digest[:12]}"

    def _file_sums(self) -> dict[str, str]:
        """Checksums of the inputs: the pinned ones, or what the user's files are now. A Hub pin is its revision."""
        sums = {}
        for pin in self.collection.pins:
            known = pin.sha256 or (f"{pin.repo}@{pin.revision}" if pin.repo else "")
            path = (self.fetcher.folder or Path()) / pin.file
            if not known and self.fetcher.folder is not None and path.is_file():
                known = storage.remembered_sha256(path)
            sums[pin.file] = known or pin.url
        return sums

    @property
    def splits(self) -> dict[str, str]:
        """What a split is for -> its name: `train`, `validation` if there is one, then the evaluation splits."""
        validation = {} if self.recipe.validation is None else {"validation": self.recipe.validation.split}
        return {"train": self.recipe.data.train, **validation, **self.recipe.data.evaluate}

    def corpus(self) -> PassageStore:
        """All passages of the collection."""
        target = self.folder / "passages"
        if not target.exists():
            self._need_space()
            receipt, expected = self._receipt(), self.collection.size
            with self.bar("passages", expected) as progress:
                passages.build(target, self.collection.passages(), receipt, expected=expected, progress=progress)
        return PassageStore(target)

    def split(self, role: str) -> SplitStore:
        """A split with its labels checked; `role` is `train` or a name under data.evaluate."""
        name, tiers = self.splits[role], self._tiers(role)
        facts, more = self.collection.split(name), self._unlabelled(role)
        if more is not None:
            facts = unlabelled.facts(facts, self.collection.split(more))
        target = self.folder / self._split_name(role)
        if not target.exists():
            store, excluded = self.passages_of(role), self._excluded(role)
            receipt = self._receipt()
            with self.bar(f"questions of {name}", facts.questions) as progress:
                _split_builder.build(
                    target,
                    self._groups(name, more, receipt),
                    facts,
                    store,
                    repair=self.recipe.data.repair,
                    tiers=tiers,
                    train=self._needs_positives(role),
                    sources=facts.sources,
                    receipt=receipt,
                    exclude=excluded,
                    progress=progress,
                )
        return SplitStore(target)

    def _groups(self, name: str, more: str | None, receipt: dict[str, Any]) -> Iterable[Group]:
        """Of a split; of training with the unlabelled questions and the augmented positives that the recipe wants."""
        found: Iterable[Group] = self.collection.groups(name)
        if more is not None:
            found = unlabelled.groups(self.collection, name, more, receipt)
        extra = self._augmented if name == self.recipe.data.train else None
        return found if extra is None else extra.groups(found, receipt)

    @cached_property
    def _augmented(self) -> Augmented | None:
        wanted = self.recipe.data.augment
        return None if wanted is None else Augmented.of(wanted, self.fetcher.folder)

    def _unlabelled(self, role: str) -> str | None:
        """The split of unlabelled questions that are trained on too."""
        return self.recipe.data.unlabelled if role == "train" else None

    def _excluded(self, role: str) -> frozenset[str]:
        """Questions that training must not see because an evaluation split asks them."""
        if role != "train" or self.recipe.data.overlap != "drop":
            return frozenset()
        asked = (self.split(name).texts for name in self.recipe.data.evaluate)
        return frozenset(overlap.normalised(text) for texts in asked for text in texts)

    def refuse_overlap(self) -> None:
        """Training questions that an evaluation split asks too are an error unless the recipe declares them."""
        if self.recipe.data.overlap != "refuse":
            return
        problems = Problems(DataError)
        for role, name in self.recipe.data.evaluate.items():
            found = overlap.shared(self.split("train"), self.split(role))
            if found:
                first = ", ".join(f"{ours} = {theirs}" for ours, theirs in found[:3])
                fix = f"first: {first}; set data.overlap: drop, or allow to show it in the row"
                problems.add(f"{len(found):,} questions of '{name}' are also trained on", key="data.overlap", fix=fix)
        problems.stop_if_any()

    def passages_of(self, role: str) -> PassageStore:
        """The passages that the labels of a split refer to: those that sources may propose, and augmented ones."""
        base = self.proposable(role)
        if role != "train" or self._augmented is None:
            return base
        return self._augmented.store(base, self._receipt, self.bar)

    def proposable(self, role: str) -> PassageStore:
        """The passages that sources may propose for a split: its own inline texts, or the corpus."""
        name, more = self.splits[role], self._unlabelled(role)
        if not self.collection.split(name).inline:
            return self.corpus()
        target = self.folder / (f"{name}-passages" if more is None else f"{name}-and-{more}-passages")
        if not target.exists():
            receipt = self._receipt()
            groups = self.collection.groups(name) if more is None else unlabelled.texts(self.collection, name, more)
            with self.bar(f"texts of {name}", None) as progress:
                _split_builder.inline_passages(target, groups, receipt, progress=progress)
        return PassageStore(target)

    def _split_name(self, role: str) -> str:
        how = {
            "repair": self.recipe.data.repair.model_dump(),
            "tiers": self._tiers(role),
            "train": self._needs_positives(role),
        }
        if role == "train" and self.recipe.data.overlap == "drop":
            how["without"] = sorted(self.recipe.data.evaluate.values())
        if (more := self._unlabelled(role)) is not None:
            how["unlabelled"] = more
        if role == "train" and self._augmented is not None:
            how["augmented"] = self._augmented.sha256
        digest = storage.json_digest(how)
        return f"{self.splits[role]}-{digest[:8]}"

    def _needs_positives(self, role: str) -> bool:
        """Training questions without a positive are a problem, unless labels may still find them some."""
        files = [catalogue.find("labels", label.name) for label in self.recipe.labels]
        return role == "train" and not any(getattr(file, "FINDS_POSITIVES", False) for file in files)

    def _tiers(self, role: str) -> tuple[str, ...]:
        """Tiers that count; they decide which training questions are usable."""
        return tuple(self.recipe.labels[0].tiers) if role == "train" else ()  # type: ignore[attr-defined]

    def tokenizer(self) -> Any:
        """The encoder's own, or one learned from the corpus for an encoder from random weights."""
        return _vocabulary.load(self.recipe.towers, self.folder, self.corpus, self.bar)

    def tokens_of_passages(self, role: str | None) -> TokenStore:
        """Token ids of the passages that a split refers to; None: of the whole corpus."""
        store = self.corpus() if role is None else self.passages_of(role)
        return tokens.of_passages(store, self.recipe.towers, self.tokenizer(), self.bar)

    def tokens_of_questions(self, role: str) -> TokenStore:
        """Token ids of the questions of a split."""
        return tokens.of_questions(self.split(role), self.recipe.towers, self.tokenizer(), self.bar)

    def prepare(self) -> dict[str, Any]:
        """Builds and verifies everything; returns what `mpr data` prints."""
        return self._verified({"corpus": self.corpus(), **self.prepare_training(), **self._asked()})

    def prepare_corpus(self) -> dict[str, Any]:
        """What encoding and searching read, verified."""
        return self._verified(
            {"corpus": self.corpus(), "corpus tokens": self.tokens_of_passages(None), **self._asked()}
        )

    def _asked(self) -> dict[str, Any]:
        """Questions of the evaluation splits."""
        built: dict[str, Any] = {}
        for role in self.recipe.data.evaluate:
            built[role] = self.split(role)
            built[f"{role} tokens"] = self.tokens_of_questions(role)
        return built

    def prepare_training(self) -> dict[str, Any]:
        """The part that training reads; of an inline split that is not the corpus."""
        built: dict[str, Any] = {}
        for role in ("train", "validation"):
            if role in self.splits:
                built[role] = self.split(role)
                built[f"{role} tokens"] = self.tokens_of_questions(role)
                built[f"{role} passages"] = self.passages_of(role)
                built[f"{role} passages tokens"] = self.tokens_of_passages(role)
        self.refuse_overlap()
        return self._verified(built)

    @staticmethod
    def _verified(built: dict[str, Any]) -> dict[str, Any]:
        for store in built.values():
            storage.verify(store.folder)
        return built

    def _receipt(self) -> dict[str, Any]:
        """Of a store that is built next. The files that are fetched from now on are listed in it, and no others: what
        this process read before must not make equal stores differ."""
        self.fetcher.used = {}
        return {"corpus": self.recipe.data.corpus.name, "files": self.fetcher.used, "mpr": __version__}

    def _need_space(self) -> None:
        size, words = self.collection.size, self.collection.words
        if size is not None:
            storage.require_space(self.home, int(size * (words * 6.2 + 60)))

    def bar(self, what: str, total: int | None) -> _Bar:
        return _Bar(what, total, self.quiet)


class _Bar:
    """A progress bar that a builder feeds with counts."""

    def __init__(self, what: str, total: int | None, quiet: bool) -> None:
        self.bar = tqdm(total=total, desc=what, unit="", unit_scale=True, disable=quiet, leave=False)

    def __enter__(self) -> Callable[[int], object]:
        return self.bar.update  # type: ignore[no-any-return]

    def __exit__(self, *error: object) -> None:
        self.bar.close()
