"""Any collection on the Hugging Face Hub: one data set of passages and one per split, with a mapping of columns.

Splits are training records in one of Tevatron's forms, which most data sets with several positives follow, tables of
texts with any names of columns, or plain questions. Every data set is pinned to a commit; without one the recipe must
say `draft: true`. A local folder does as well: one with data files, or what `datasets` wrote with `save_to_disk`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mpr.catalogue import Parameters
from mpr.corpora import Pin, Split, _own
from mpr.formats import columns, hub, rlhn, tevatron
from mpr.records import Group, Judgement, Passage, stable_hash

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
    columns: dict[str, str | tuple[str, ...]] | None = None
    """Our name -> column. Passages: id, text, title; questions: id, text, answers; null: the usual names. For
    `form: columns`: question, positives; also negatives, positive_scores, negative_scores, id."""
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

    @property
    def plain(self) -> dict[str, str] | None:
        """The mapping of columns where each is one."""
        return None if self.columns is None else {ours: str(name) for ours, name in self.columns.items()}

    @model_validator(mode="after")
    def _columns_fit(self) -> Rows:
        if getattr(self, "form", "") == "columns":
            if self.columns is None:
                raise ValueError("`form: columns` needs `columns`")
            columns.Columns.of(self.columns)
        elif any(not isinstance(name, str) for name in (self.columns or {}).values()):
            raise ValueError("several columns for one name belong to `form: columns`")
        return self


_WITH_TEXTS = ("columns", "inline", "rlhn")


class Records(Rows, _own.Held):
    """Rows that are questions or training records."""

    form: Literal["inline", "rlhn", "referring", "columns", "questions"]
    """`inline`: records with texts; `rlhn`: those of RLHN, with a `subset`; `referring`: records with passage ids;
    `columns`: texts in columns that `columns` names; `questions`: no positives."""
    subset: str | None = None
    """For `rlhn`: only the rows of this data set; null: all."""
    tier: Literal["gold", "answer_match", "cross_encoder", "llm", "generated", "augmented"] = "gold"
    """Who chose the positives."""
    answers: Literal["string", "regex"] = "string"
    """Whether answers are strings or patterns."""


class Params(Parameters):
    """Which data sets."""

    passages: Rows | None = None
    """The corpus; null: all texts that occur in the splits."""
    splits: Annotated[dict[str, Records], Field(min_length=1)]
    """Split name -> its rows."""

    @model_validator(mode="after")
    def _fit(self) -> Params:
        texts = {name: one.form in _WITH_TEXTS for name, one in self.splits.items()}
        if problem := _own.problem(self.passages, self.splits, texts):
            raise ValueError(problem)
        return self


class Collection(_own.Collection):
    @property
    def size(self) -> int | None:  # type: ignore[override]
        rows: Rows | None = self.params.passages
        return None if rows is None else rows.count

    def facts(self, split: str) -> Split:
        found: Records = self.params.splits[split]
        return Split(
            found.count,
            trains=found.form != "questions",
            judged=found.form == "columns",
            regex=found.answers == "regex",
            inline=found.form in ("inline", "rlhn"),
            sources=() if found.form == "questions" else (columns.SOURCE,),
        )

    def brings_texts(self, split: str) -> bool:
        return self.params.splits[split].form in _WITH_TEXTS

    @property
    def pins(self) -> tuple[Pin, ...]:
        splits = self.params.splits.values()
        found = splits if self.params.passages is None else (self.params.passages, *splits)
        named = {f"{rows.repo} {rows.config or ''}[{rows.split}]": rows for rows in found}
        return tuple(_pin(name, rows) for name, rows in named.items())

    def corpus(self) -> Iterator[Passage]:
        rows: Rows = self.params.passages
        if rows.columns is not None and "id" not in rows.columns:
            return columns.read_passages(hub.read_rows(**rows.place()), rows.plain or {})
        return hub.read_passages(columns=rows.plain, **rows.place())

    def records(self, split: str) -> Iterator[Group]:
        found: Records = self.params.splits[split]
        if found.form == "columns":
            return columns.read_groups(hub.read_rows(**found.place()), columns.Columns.of(found.columns or {}))
        if found.form == "questions":
            regex = found.answers == "regex"
            read = hub.read_questions(columns=found.plain, regex=regex, **found.place())
            return (Group(question) for question in read)
        labels = tevatron.Labels(found.tier, found.tier, columns.SOURCE, regex=found.answers == "regex")
        if found.form == "rlhn":
            return rlhn.groups(hub.read_rows(**found.place()), found.repo, found.subset, labels)
        return hub.read_groups(labels=labels, **found.place())

    def judgements(self, split: str) -> Iterator[Judgement]:
        return super().judgements(split) if self.split(split).judged else self.unjudged(split)


def _pin(name: str, rows: Rows) -> Pin:
    """Of a data set on the Hub its commit; a local folder is told apart by sizes and times of its files."""
    folder = Path(rows.repo)
    if not folder.is_dir():
        return Pin(name, repo=rows.repo, revision=rows.revision or "")
    facts = ((path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file())
    listed = [f"{path.relative_to(folder)} {fact.st_size} {fact.st_mtime_ns}" for path, fact in facts]
    digest = stable_hash("\n".join(listed))
    return Pin(name, url=f"files:{digest:016x}")
