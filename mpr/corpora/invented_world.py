"""A small encyclopedia of an invented world, generated from a seed: no download, and the truth is known.

Each fact is stated in several passages of different wording and quality, next to passages that only contain the words
of its answer. How many there are of each is a dial, so label noise, duplicates and questions with few positives can be
studied where real data gives no truth to compare with. See docs/invented_world.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from mpr.catalogue import Parameters
from mpr.corpora import Collection as Base
from mpr.corpora import Split
from mpr.records import Group, Judgement, Passage

if TYPE_CHECKING:
    from mpr.corpora._world import World

QUESTIONS_PER_TEN_ARTICLES = 33  # any world has facts enough for this many, however they are split

TEXT_DIALS = ("seed", "articles", "statements", "few_positive", "false_matches", "duplicates")
DEFAULT_SIZE = 2_451  # passages
TRUTH = "_truth"

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Params(Parameters):
    """Dials of the invented world. The first six decide the texts, the others only questions and labels."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 2508
    """Another seed is another world: other names, facts and texts."""
    articles: Annotated[int, Field(ge=60, le=25_000)] = 460
    """Number of articles; there are about five passages per article."""
    statements: Annotated[int, Field(ge=1, le=12)] = 6
    """How many passages state a fact at most; a fact that is not `few_positive` gets 2 to this many."""
    few_positive: Share = 0.3
    """Share of the facts that only one passage states (not counting copies of it)."""
    false_matches: Annotated[float, Field(ge=0.0, le=8.0)] = 1.0
    """Passages per fact that are made to contain its answer without the fact, besides those that do so by chance."""
    duplicates: Annotated[float, Field(ge=0.0, le=0.5)] = 0.03
    """Share of the passages that stand in the collection a second time, half of them with a trivial edit."""
    questions: Annotated[int, Field(ge=1)] = 1_000
    """Training questions."""
    dev_questions: Annotated[int, Field(ge=1)] = 200
    """Questions for choosing a checkpoint; about things that train may ask about too."""
    test_questions: Annotated[int, Field(ge=1)] = 300
    """Questions for the table. Half of them are about things unseen in train and dev."""
    wrong_positives: Share = 0.0
    """Share of the training questions' positives that are replaced by random passages: label noise."""

    @model_validator(mode="after")
    def _enough_facts(self) -> Params:
        wanted = self.questions + self.dev_questions + self.test_questions
        if 10 * wanted > QUESTIONS_PER_TEN_ARTICLES * self.articles:
            enough = -(-10 * wanted // QUESTIONS_PER_TEN_ARTICLES)
            raise ValueError(f"{wanted:,} questions need at least articles: {enough:,}, not {self.articles:,}")
        return self


class Collection(Base):
    """Each split comes twice: labelled as distant supervision would label it, and (`_truth`) by what is true."""

    words = 68

    @property
    def size(self) -> int | None:  # type: ignore[override]
        """Known without generating anything for the texts of the default dials only."""
        fields = Params.model_fields
        usual = all(getattr(self.params, name) == fields[name].default for name in TEXT_DIALS)
        return DEFAULT_SIZE if usual else None

    @property
    def splits(self) -> Mapping[str, Split]:
        counts = {
            "train": self.params.questions,
            "dev": self.params.dev_questions,
            "test": self.params.test_questions,
        }
        labelled = {name: Split(count, trains=True, sources=("bm25",)) for name, count in counts.items()}
        return labelled | {f"{name}{TRUTH}": replace(split, judged=True) for name, split in labelled.items()}

    @cached_property
    def world(self) -> World:
        from mpr.corpora._world import build  # here, because generating needs numpy and checking a recipe does not

        return build(self.params)

    def passages(self) -> Iterator[Passage]:
        yield from self.world.passages

    def groups(self, split: str) -> Iterator[Group]:
        """Questions with one gold passage and answer matches as positives; in a `_truth` split with all that is true.

        Both have the same candidates: the best lexical matches without an answer.
        """
        from mpr.corpora._world import supervision

        name = self._plain(split)
        if split != name:
            return supervision.true_groups(self.world, name, self.params.seed)
        wrong = self.params.wrong_positives if name == "train" else 0.0
        return supervision.distant_groups(self.world, name, self.params.seed, wrong)

    def truth(self, split: str) -> Iterator[Judgement]:
        """Every passage that supports an answer (grades 1 to 3) or only contains its words (grade 0)."""
        for asked in self.world.asked[self._plain(split)]:
            grades = self.world.support(asked) | dict.fromkeys(self.world.only_the_words(asked), 0)
            for passage in sorted(grades):
                yield Judgement(asked.question.id, passage, grades[passage])

    def judgements(self, split: str) -> Iterator[Judgement]:
        return self.truth(split)

    def _plain(self, split: str) -> str:
        self.split(split)
        return split.removesuffix(TRUTH)
