"""What collections of somebody's own data share: texts without ids, a corpus of all texts, questions held out.

Records may bring their texts. Where the recipe names no corpus, the corpus is all texts that occur in its splits.
Where it names one, a text of a record is the passage of the corpus that says the same (with its title in front or
without it), and texts that the corpus lacks are added to it; how many is logged.

A share of a split's questions can be held out as the split `test`. Who is held out depends on the words of a question
and on a seed, and on nothing else: not on ids, nor on the order of the file. Questions of equal words go together.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any

from pydantic import Field

from mpr.catalogue import Parameters
from mpr.corpora import Collection as Base
from mpr.corpora import Split
from mpr.errors import DataError
from mpr.metrics.answers import normalised
from mpr.records import Candidate, Group, Judgement, Passage, Positive, stable_hash, text_hash

log = logging.getLogger("mpr.corpora")
HELD = "test"  # the split of the questions that are held out


class Held(Parameters):
    """Keys of a split."""

    holdout: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """This share of its questions is not part of it but makes the split `test`; null: none."""
    holdout_seed: int = 0
    """Another seed holds out other questions."""


def problem(passages: Any, splits: Mapping[str, Held], brings_texts: Mapping[str, bool]) -> str:
    """What contradicts itself in the keys of a collection, or the empty string."""
    held = [name for name, one in splits.items() if one.holdout is not None]
    if len(held) > 1:
        return f"questions are held out of one split, not of {' and '.join(held)}"
    if held and HELD in splits:
        return f"a split is called {HELD}, as the questions that are held out of {held[0]} are"
    without = [name for name, brings in brings_texts.items() if not brings]
    if passages is None and without:
        return f"without `passages` there is no corpus: the records of {', '.join(without)} bring no texts"
    return ""


class Collection(Base):
    """Base of the collections that are described in a recipe, with `passages` and `splits` among their keys."""

    @abstractmethod
    def facts(self, split: str) -> Split:
        """What is known of a split as its file has it."""

    @abstractmethod
    def corpus(self) -> Iterator[Passage]:
        """The passages that the recipe names."""

    @abstractmethod
    def records(self, split: str) -> Iterator[Group]:
        """The questions of a split as its file has them."""

    @abstractmethod
    def brings_texts(self, split: str) -> bool:
        """Whether its records have texts that make passages."""

    @property
    def splits(self) -> Mapping[str, Split]:
        found = {name: self.facts(name) for name in self.params.splits}
        if (name := self._parted) is not None:
            found |= {part: replace(found[name], questions=None) for part in (name, HELD)}
        return found

    def passages(self) -> Iterator[Passage]:
        splits = [name for name in self.params.splits if self._is_read_for_texts(name)]
        named = self.params.passages is not None
        return self._with_texts_of(splits, named) if splits or not named else self.corpus()

    def _with_texts_of(self, splits: list[str], named: bool) -> Iterator[Passage]:
        if named:
            yield from self.corpus()
        contents, of = dict[str, int](), ", ".join(splits)
        for name in splits:
            for group in self.records(name):
                for passage in group.passages:
                    content = text_hash(f"{passage.title}\n{passage.text}")
                    if text_hash(passage.text) in self._ids or content == contents.get(passage.id):
                        continue
                    if passage.id in contents:
                        known = f"see question {group.question.id}"
                        raise DataError("the same passage id comes with two texts", key=passage.id, fix=known)
                    contents[passage.id] = content
                    yield passage
        if not named:
            log.warning("no corpus is named: it is the %s texts that occur in %s", f"{len(contents):,}", of)
        elif contents:
            log.warning(
                "texts of %s that the corpus lacks were added to it: %s", ", ".join(splits), f"{len(contents):,}"
            )

    def groups(self, split: str) -> Iterator[Group]:
        name = self.source_of(split)
        for group in self.records(name):
            if name != self._parted or self._is_held(group.question.text) == (split == HELD):
                yield self._renamed(group) if self._is_read_for_texts(name) else group

    def source_of(self, split: str) -> str:
        """The split of the recipe that this one is, or is held out of."""
        self.split(split)
        return split if self._parted is None or split != HELD else self._parted

    def unjudged(self, split: str) -> Iterator[Judgement]:
        """The refusal of a split that answers decide."""
        return super().judgements(split)

    def judgements(self, split: str) -> Iterator[Judgement]:
        """Where nobody judged, the positives of a question are what is relevant to it."""
        for group in self.groups(split):
            for passage in dict.fromkeys(positive.passage for positive in group.positives):
                yield Judgement(group.question.id, passage, 1)

    @cached_property
    def _parted(self) -> str | None:
        """The split that questions are held out of."""
        return next((name for name, one in self.params.splits.items() if one.holdout is not None), None)

    def _is_held(self, text: str) -> bool:
        return self._order(text) in self._held

    def _order(self, text: str) -> int:
        return stable_hash(f"{self.params.splits[self._parted].holdout_seed} {normalised(text)}")

    @cached_property
    def _held(self) -> frozenset[int]:
        """Of the questions that are held out: exactly the share, where hashes are as good as a lottery."""
        name = str(self._parted)
        numbers = sorted({self._order(group.question.text) for group in self.records(name)})
        if len(numbers) < 2:
            what = "has one question: none can be held out of it"
            raise DataError(what, key=f"data.corpus.splits.{name}.holdout", fix="name a split to evaluate instead")
        count = round(self.params.splits[name].holdout * len(numbers))
        return frozenset(numbers[: min(max(count, 1), len(numbers) - 1)])

    def _is_read_for_texts(self, split: str) -> bool:
        """Splits with a corpus and passage ids of their own are left to it."""
        return self.brings_texts(split) and not (self.params.passages is not None and self.facts(split).inline)

    @cached_property
    def _ids(self) -> dict[int, str]:
        """Hash of a text of the records -> the passage of the corpus with that text."""
        if self.params.passages is None:
            return {}
        splits = [name for name in self.params.splits if self._is_read_for_texts(name)]
        wanted = {
            text_hash(passage.text) for name in splits for group in self.records(name) for passage in group.passages
        }
        found: dict[int, str] = {}
        for passage in self.corpus() if wanted else ():
            for text in (passage.text, f"{passage.title} {passage.text}"):
                if (number := text_hash(text)) in wanted:
                    found.setdefault(number, passage.id)
        return found

    def _renamed(self, group: Group) -> Group:
        """With the ids of the corpus."""
        ids = {passage.id: self._ids.get(text_hash(passage.text), passage.id) for passage in group.passages}
        return Group(
            group.question,
            tuple(Positive(ids[one.passage], one.tier, one.grade) for one in group.positives),
            tuple(Candidate(ids[one.passage], one.source, one.rank, one.score) for one in group.candidates),
            group.passages,
        )
