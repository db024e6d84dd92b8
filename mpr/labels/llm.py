"""Judgements of a language model: candidates that it calls relevant become positives of tier `llm`.

The verdicts come from a file that `mpr judge` wrote; training asks no model. Of the candidates up to rank `window`, a
grade of `relevant` or more makes a positive, the best grades first and equal ones by rank, behind the positives that
were known; what exceeds `at_most` is grey. A grade of `irrelevant` or less leaves the candidate a negative. What lies
between, and an answer in which no grade could be read, is grey: neither. Passages that contain an answer can be looked
at too: those that mining took out, and those that the data lists with the tier `answer_match`, if it does not count.
Not relevant, they stay what they were: neither positive nor negative.

Source: the several positives a question of Wang et al. 2026 (arXiv 2602.12727), whose passages a language model chose.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from mpr.catalogue import Parameters

if TYPE_CHECKING:
    from mpr.data.pair_labels import Knowledge
    from mpr.data.pair_scores import PairScores, Scored
    from mpr.formats.verdicts import Verdict
    from mpr.sources import Ground

TIER = "llm"
FINDS_POSITIVES = True
MAKES_GREY = True
UNREAD = -1.0  # in place of a grade: there was an answer, and no grade in it


class Judgements(Parameters):
    """The file of verdicts."""

    file: str
    """What `mpr judge` wrote, inside data.corpus.folder if there is one; packed or not."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Of that file."""

    @property
    def pins(self) -> dict[str, str]:
        """What a plan says of it."""
        return {Path(self.file).name: f"sha256 {self.sha256}" if self.sha256 else "not pinned"}


class Judged(Parameters):
    """What every label has that reads verdicts."""

    source: Annotated[str, Field(min_length=1)]
    """The `as` of a source."""
    window: Annotated[int, Field(ge=1)]
    """Candidates up to this rank are looked at; each needs a verdict."""
    judgements: Judgements
    """Where the verdicts are."""


class Params(Judged):
    """Which candidates were judged, and what follows from a grade."""

    answer_matches: bool
    """Also those up to this rank that mining took out because they contain an answer, and known positives of the tier
    `answer_match`, if it does not count."""
    relevant: Annotated[int, Field(ge=1)]
    """Grade from which a passage is a positive: 1 for yes or no."""
    irrelevant: Annotated[int, Field(ge=0)] = 0
    """Grade up to which a candidate stays a negative."""
    at_most: Annotated[int, Field(ge=1)] | None
    """At most so many of a question, the best first; null: all."""
    grade: Literal["one", "judged"] = "one"
    """Grade of a promoted passage, for objectives with graded labels: 1, or the model's."""

    @model_validator(mode="after")
    def _in_order(self) -> Params:
        if self.irrelevant >= self.relevant:
            raise ValueError("`irrelevant` must be below `relevant`")
        return self


def pool(known: Knowledge, source: str, window: int, answer_matches: bool) -> tuple[Any, Any, Any, Any]:
    """What is looked at: question, passage, rank, and place among the source's candidates (-1: it is not there), by
    question and rank; known answer matches have no rank and come first."""
    import numpy as np

    from mpr.data.candidates import ANSWER_MATCH
    from mpr.data.pair_scores import keys_of
    from mpr.data.positives import tier_codes

    table = known.of(source)
    place_N = np.flatnonzero(known.open(source) & (table.columns["rank"] <= window))
    parts = [(table.owners()[place_N], table.columns["passage"][place_N], table.columns["rank"][place_N], place_N)]
    if answer_matches and source in known.removed:
        out = known.removed[source]
        wanted_N = (out.columns["label"] == ANSWER_MATCH) & (out.columns["rank"] <= window)
        wanted_N &= ~np.isin(keys_of(out.owners(), out.columns["passage"]), known.positives.keys())
        columns = (out.owners()[wanted_N], out.columns["passage"][wanted_N], out.columns["rank"][wanted_N])
        parts.append((*columns, np.full(int(wanted_N.sum()), -1)))
    if answer_matches:
        rows = known.positives.rows
        listed_K = (rows.columns["tier"] == tier_codes(["answer_match"])[0]) & ~known.counting
        nothing_K = np.zeros(int(listed_K.sum()), dtype=np.int64)
        parts.append((rows.owners()[listed_K], rows.columns["passage"][listed_K], nothing_K, nothing_K - 1))
    owner_N, passage_N, rank_N, place_N = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((rank_N, owner_N))
    return owner_N[order], passage_N[order], rank_N[order], place_N[order]


def applied(params: Params, known: Knowledge, ground: Ground) -> Knowledge:
    """The positives that were known, then those judged relevant; the source without these and without what is grey."""
    from dataclasses import replace

    import numpy as np

    from mpr.data.pair_scores import keys_of
    from mpr.data.positives import GREY, tier_codes

    verdicts = kept(params.judgements, ground)
    owner_N, passage_N, place_N, value_N = judged(
        verdicts, known, ground, params.source, params.window, params.answer_matches
    )
    good = np.flatnonzero(value_N >= params.relevant)
    good = good[np.lexsort((good, -value_N[good], owner_N[good]))]
    before = np.arange(len(good)) - np.searchsorted(owner_N[good], owner_N[good])
    taken = np.full(len(good), True) if params.at_most is None else before < params.at_most
    first, beyond = good[taken], good[~taken]
    unread_N = value_N == UNREAD
    between_N = unread_N | ((value_N > params.irrelevant) & (value_N < params.relevant))
    grade_N = value_N[first] if params.grade == "judged" else np.ones(len(first), dtype=np.float32)
    tier = int(tier_codes([TIER])[0])
    index = known.positives.changed(keys_of(owner_N[first], passage_N[first]), tier, grade_N)
    index = index.extended(owner_N[first], passage_N[first], tier, grade_N)
    index = index.extended(owner_N[beyond], passage_N[beyond], GREY, 0.0)
    index = index.extended(owner_N[between_N], passage_N[between_N], GREY, 0.0)
    table = known.of(params.source)
    stays_N = np.ones(len(table.columns["passage"]), dtype=bool)
    stays_N[place_N[((value_N >= params.relevant) | between_N) & (place_N >= 0)]] = False
    counts = {
        "judged": len(owner_N),
        "promoted": len(first),
        "questions": len(np.unique(owner_N[first])),
        "grey": len(beyond) + int(between_N.sum()),
        "of these unread": int(unread_N.sum()),
    }
    left = known.with_candidates(params.source, table.kept(stays_N))
    return replace(left, positives=index).noted("llm", counts, verdicts)


def judged(
    verdicts: PairScores, known: Knowledge, ground: Ground, source: str, window: int, answer_matches: bool = False
) -> tuple[Any, Any, Any, Any]:
    """Question, passage, place in the table and grade of every candidate that is looked at; each needs a verdict."""
    from mpr.labels import _score_files

    owner_N, passage_N, _, place_N = pool(known, source, window, answer_matches)
    value_N = verdicts.lookup(owner_N, passage_N)
    what = f"candidates of '{source}' up to the window"
    _score_files.refuse_unknown(value_N, owner_N, passage_N, ground, what)
    return owner_N, passage_N, place_N, value_N


READERS = {"judge-yes-no": "llm", "judge-graded": "llm", "judge-relabel": "rlhn", "judge-order": "arhn"}
"""Beginning of the name of a prompt -> the label that reads its verdicts; other names are for any label."""


def kept(wanted: Judgements, ground: Ground, label: str = "llm") -> PairScores:
    """The grades of the split's questions, in a store beside it that is made where it is not there yet."""
    from mpr import storage
    from mpr.errors import DataError
    from mpr.formats.verdicts import read_verdicts
    from mpr.labels import _score_files

    path = storage.pinned_file(wanted.file, wanted.sha256, ground.folder, "labels.judgements.file")

    def grade(verdict: Verdict) -> float:
        reader = next((READERS[start] for start in READERS if verdict.prompt.startswith(start)), label)
        if reader != label:
            what = f"was judged by the prompt {verdict.prompt}, whose grades mean something else to `{label}`"
            fix = f"use the label `{reader}`, or judge with a prompt of `{label}`"
            raise DataError(what, where=str(path), key="labels.judgements.file", fix=fix)
        return UNREAD if verdict.grade is None else float(verdict.grade)

    def blocks() -> Iterator[Scored]:
        fix = "judge candidates of this collection"
        return _score_files.by_rows(read_verdicts(path), path, ground, grade, fix)

    return _score_files.store_of(path, "judged", ground, blocks)
