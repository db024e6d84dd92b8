"""Any collection on the Hugging Face Hub: one data set of passages and one per split, with a mapping of columns.

Splits are either training records in one of Tevatron's forms, which most data sets with several positives follow, or
plain questions. Every data set is pinned to a commit; without one the recipe must say `draft: true`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from mpr.catalogue import Parameters
from mpr.corpora import Collection as Base
from mpr.corpora import Pin, Split
from mpr.formats import hub, tevatron
from mpr.records import Group, Passage

Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class Rows(Parameters):
    """A split of a data set."""

    repo: str
    """Id on the Hub, such as `Tevatron/msmarco-passage-corpus`, or a local folder."""
    revision: Commit | None = None
    """Commit, 40 hex digits in quotes."""
    config: str | None = None
    """Configuration of the data set, where it has several."""
    split: str = "train"
    """Split of the data set."""
    columns: dict[str, str] | None = None
    """Our name -> column. Passages: id, text, title; questions: id, text, answers. null: the usual names."""
    streaming: bool = False
    """Read over the network row by row, for data sets that are larger than the disk."""
    count: Annotated[int, Field(ge=1)] | None = None
    """How many rows there must be; null: any number."""

    def place(self) -> dict[str, Any]:
        return {
            "repo_or_path": self.repo,
            "config": self.config,
            "split": self.split,
            "revision": self.revision,
            "streaming": self.streaming,
            "draft": self.revision is None,
        }


class Records(Rows):
    """Rows that are questions or training records."""

    form: Literal["inline", "referring", "questions"]
    """`inline`: records with texts; `referring`: records with passage ids; `questions`: no positives."""
    tier: Literal["gold", "answer_match", "cross_encoder", "llm", "generated", "augmented"] = "gold"
    """Who chose the positives."""
    answers: Literal["string", "regex"] = "string"
    """Whether answers are strings or patterns."""


class Params(Parameters):
    """Which data sets."""

    passages: Rows
    """The corpus."""
    splits: Annotated[dict[str, Records], Field(min_length=1)]
    """Split name -> its rows."""


class Collection(Base):
    @property
    def size(self) -> int | None:  # type: ignore[override]
        found: int | None = self.params.passages.count
        return found

    @property
    def splits(self) -> Mapping[str, Split]:
        return {
            name: Split(
                found.count,
                trains=found.form != "questions",
                regex=found.answers == "regex",
                inline=found.form == "inline",
                sources=() if found.form == "questions" else ("negatives",),
            )
            for name, found in self.params.splits.items()
        }

    @property
    def pins(self) -> tuple[Pin, ...]:
        found = (self.params.passages, *self.params.splits.values())
        named = {f"{rows.repo} {rows.config or ''}[{rows.split}]": rows for rows in found}
        return tuple(Pin(name, repo=rows.repo, revision=rows.revision or "") for name, rows in named.items())

    def passages(self) -> Iterator[Passage]:
        rows: Rows = self.params.passages
        return hub.read_passages(columns=rows.columns, **rows.place())

    def groups(self, split: str) -> Iterator[Group]:
        found: Records = self.params.splits[split]
        if found.form == "questions":
            regex = found.answers == "regex"
            read = hub.read_questions(columns=found.columns, regex=regex, **found.place())
            return (Group(question) for question in read)
        labels = tevatron.Labels(found.tier, found.tier, "negatives", regex=found.answers == "regex")
        return hub.read_groups(labels=labels, **found.place())
