"""Candidates that ship with the training records (DPR's hard negatives, Tevatron's negative passages), or from a file.

Without `file`: the readers in `mpr/formats/` say which list of the record a candidate came from, and `as` picks one of
these lists. With `file`: a ranking that any program made of the split's questions, as a TREC run, DPR's result JSON or
Tevatron's JSON lines; a run is ordered by its scores, equal ones by the order of the collection.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from mpr import sources
from mpr.catalogue import Parameters
from mpr.errors import DataError, excerpt
from mpr.recipe.file_keys import MD5, SHA256, Address, known

if TYPE_CHECKING:
    from mpr.records import RankedList
    from mpr.storage.ragged import Ragged

log = logging.getLogger("mpr.mining.mine")
_CHUNK = 65_536  # candidates at once


class Params(Parameters):
    """Which list of the record, or which file."""

    as_: Annotated[str, Field(alias="as", min_length=1)]
    """Name of the list in the records (`bm25` for DPR's hard_negative_ctxs) and of this source in `draw`."""
    file: str | None = None
    """A file of candidates, inside data.corpus.folder if there is one; null: the list came with the records."""
    format: Literal["trec", "dpr_results", "tevatron"] | None = None
    """How `file` is written; its ids are those of the split and of its passages."""
    sha256: SHA256 | None = None
    """Of `file`."""
    md5: MD5 | None = None
    """The same, where only an MD5 was published."""
    url: Address | None = None
    """Where `file` is downloaded from, if there is no data.corpus.folder."""
    depth: Annotated[int, Field(ge=1)] | None = None
    """Only the first so many of each question in `file`; null: all."""

    @model_validator(mode="after")
    def _belong_together(self) -> Params:
        if (self.file is None) != (self.format is None):
            raise ValueError("give `file` and `format` together")
        if self.file is None and (self.sha256, self.md5, self.url, self.depth) != (None, None, None, None):
            raise ValueError("sha256, md5, url and depth belong to `file`")
        return self

    @property
    def pins(self) -> dict[str, str]:
        """What a plan says of the file."""
        return {} if self.file is None else known(self)


class Source(sources.Filed):
    @property
    def origin(self) -> dict[str, Any]:
        from mpr import storage

        if self.params.file is None:
            return {"records": self.ground.questions.manifest.digest, "list": self.params.as_}
        return {"file": Path(self.params.file).name, "sha256": storage.remembered_sha256(self._path)}

    @cached_property
    def _whole(self) -> Ragged:
        """Candidates of all questions: 20 bytes for each."""
        import numpy as np

        from mpr.data.candidates import proposals

        if self.params.file is None:
            return self.ground.questions.candidates(self.params.as_)
        question_N, passage_N, score_N = self._columns()
        order = np.lexsort(
            (passage_N, -score_N, question_N) if len(score_N) else (np.arange(len(question_N)), question_N)
        )
        ends = np.searchsorted(question_N[order], np.arange(len(self.ground.questions) + 1))
        listed = []
        for first, last in pairwise(ends):
            best = order[first:last][: self.params.depth]
            listed.append((passage_N[best], score_N[best] if len(score_N) else None))
        return proposals(listed)

    def _columns(self) -> tuple[Any, Any, Any]:
        """Row of the question, row of the passage and score of every candidate; no scores where the format has none."""
        import numpy as np

        questions, passages, scores = [], [], []
        with self.ground.bar(f"candidates of {self._path.name}", 0) as progress:
            for rows, names, given in self._chunks():
                found = self.ground.passages.rows_of(names)
                if (found < 0).any():
                    missing = names[int(np.argmin(found))]
                    what = f"passage {missing} is not in the collection"
                    raise DataError(what, where=str(self._path), fix="candidates must be of this collection")
                questions.append(np.array(rows, dtype=np.int32))
                passages.append(found)
                scores.append(np.array(given, dtype=np.float64))
                progress(len(names))
        if not questions:
            what = "has no candidates for any question of the split"
            raise DataError(what, where=str(self._path), key="sources", fix="check that the ids are those of the split")
        return np.concatenate(questions), np.concatenate(passages), np.concatenate(scores)

    def _chunks(self) -> Iterator[tuple[list[int], list[str], list[float]]]:
        """Rows of the questions, passages and scores, many candidates at a time."""
        rows, names, scores, found = list[int](), list[str](), list[float](), None
        for row, found in self._lists():
            rows += [row] * len(found.passages)
            names += found.passages
            scores += found.scores
            if len(names) >= _CHUNK:
                yield rows, names, scores
                rows, names, scores = [], [], []
        if found is not None:
            yield rows, names, scores

    def _lists(self) -> Iterator[tuple[int, RankedList]]:
        """Each question of the split with a list; how many questions of the file it does not have is logged."""
        from mpr.formats import dpr_results, tevatron, trec

        readers = {"trec": trec.ranked, "dpr_results": dpr_results.ranked, "tevatron": tevatron.ranked}
        known = {name: row for row, name in enumerate(self.ground.questions.ids)}
        by_text: dict[str, list[int]] = {}
        if self.params.format == "dpr_results":
            for row, text in enumerate(self.ground.questions.texts):
                by_text.setdefault(text, []).append(row)
        strange, answered = set(), dict[int, list[str]]()
        for found in readers[self.params.format](self._path):
            named = known.get(found.question or "")
            rows = by_text.get(found.text or "", []) if named is None else [named]
            if not rows:
                strange.add(found.question if found.text is None else found.text)
            for row in rows:
                if found.text is not None:  # a file may repeat a question, which the split may ask more than once
                    before = answered.setdefault(row, found.passages)
                    if before != found.passages:
                        what = f"has two lists for the question {excerpt(str(found.text), 80)}"
                        fix = "name questions by their ids, or keep one list"
                        raise DataError(what, where=str(self._path), fix=fix)
                    if before is not found.passages:
                        continue
                yield row, found
        if strange:
            log.warning("%s: %d questions are not in the split and were left out", self._path.name, len(strange))
