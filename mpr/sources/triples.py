"""The negatives of a file of triples: question, positive, negative, as the official ones of MS MARCO (RepBERT, TAS-B).

A question's candidates are the different negatives that its triples name, in the order in which they first come. They
have no scores: those of `format: scored` are a teacher's, not the retriever's, and are read from the same file by the
label `teacher` (`scores: {file: ..., format: triples}`). Which negative stood with which positive is not kept: a draw
by margins (`weight: margin_bins`) takes every scored positive with every scored candidate, of which triples are some.

Questions that the split does not have are counted and left out. A triple whose positive the split does not know to be
one is refused, or counted and left out, as `unknown` says.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cached_property
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from mpr import sources
from mpr.catalogue import Parameters
from mpr.errors import DataError
from mpr.recipe.file_keys import MD5, SHA256, Address, known

if TYPE_CHECKING:
    from mpr.formats.triples import Triple
    from mpr.storage.ragged import Ragged

log = logging.getLogger("mpr.mining.mine")
_CHUNK = 65_536  # triples at once


class Params(Parameters):
    """Which file, and how it is written."""

    as_: Annotated[str, Field(alias="as", min_length=1)]
    """Name of this source in `draw`."""
    file: Annotated[str, Field(min_length=1)]
    """A file of triples, inside data.corpus.folder if there is one; packed or not."""
    format: Literal["ids", "scored"]
    """`ids`: question id, positive id, negative id. `scored`: a teacher's two scores before them."""
    sha256: SHA256 | None = None
    """Of `file`."""
    md5: MD5 | None = None
    """The same, where only an MD5 was published."""
    url: Address | None = None
    """Where `file` is downloaded from, if there is no data.corpus.folder."""
    unknown: Literal["refuse", "drop"]
    """Triples whose positive the split does not list as one of the question's."""
    depth: Annotated[int, Field(ge=1)] | None = None
    """Only the first so many negatives of each question; null: all."""

    @property
    def pins(self) -> dict[str, str]:
        """What a plan says of the file."""
        return known(self)


class Source(sources.Filed):
    @property
    def origin(self) -> dict[str, Any]:
        from mpr import storage

        return {"file": self._path.name, "sha256": storage.remembered_sha256(self._path)}

    @cached_property
    def _whole(self) -> Ragged:
        """Candidates of all questions; while they are put in order, about 50 bytes for each triple."""
        import numpy as np

        from mpr.data.candidates import proposals
        from mpr.data.pair_scores import pairs_of

        parts = list(self._keys())
        if not sum(map(len, parts)):
            what = "has no triple of a question of the split with a positive that it knows"
            raise DataError(what, where=str(self._path), key="sources", fix="check that the ids are those of the split")
        key_K, first_K = np.unique(np.concatenate(parts), return_index=True)
        question_K, passage_K = pairs_of(key_K)
        order = np.lexsort((first_K, question_K))
        ends = np.searchsorted(question_K, np.arange(len(self.ground.questions) + 1))
        listed = [(passage_K[order[first:last][: self.params.depth]], None) for first, last in pairwise(ends)]
        return proposals(listed)

    def _keys(self) -> Iterator[Any]:
        """(question, negative) of the triples in the order of the file, as numbers; what is left out is logged."""
        from mpr.formats.triples import READERS

        triples, strange, dropped = READERS[self.params.format](self._path), set[str](), 0
        known = {name: row for row, name in enumerate(self.ground.questions.ids)}
        with self.ground.bar(f"triples of {self._path.name}", 0) as progress:
            while chunk := list(islice(triples, _CHUNK)):
                strange |= {triple.question for triple in chunk if triple.question not in known}
                ours = [triple for triple in chunk if triple.question in known]
                keys = self._known_keys(ours, [known[triple.question] for triple in ours])
                dropped += len(ours) - len(keys)
                yield keys
                progress(len(chunk))
        if strange:
            log.warning("%s: %d questions are not in the split and were left out", self._path.name, len(strange))
        if dropped:
            log.warning("%s: %d triples have a positive that the split does not know", self._path.name, dropped)

    def _known_keys(self, triples: list[Triple], questions: list[int]) -> Any:
        """Of those triples whose positive is one."""
        import numpy as np

        from mpr.data.pair_scores import keys_of

        question_N = np.array(questions, dtype=np.int64)
        positive_N, negative_N = (
            self._rows(triples, [getattr(triple, name) for triple in triples]) for name in ("positive", "negative")
        )
        known_N = np.isin(keys_of(question_N, positive_N), self._positives)
        if self.params.unknown == "refuse" and not known_N.all():
            triple = triples[int(np.argmin(known_N))]
            what = f"passage {triple.positive} is not known to be a positive of question {triple.question}"
            fix = "use the split that the triples were made of, or set sources.unknown: drop"
            raise triple.line.refuse(what, key="sources", fix=fix)
        return keys_of(question_N, negative_N)[known_N]

    @cached_property
    def _positives(self) -> Any:
        return self.ground.questions.positives.keys()

    def _rows(self, triples: list[Triple], names: list[str]) -> Any:
        found = self.ground.passages.rows_of(names)
        if (found < 0).any():
            place = int((found < 0).argmax())
            what = f"passage {names[place]} is not in the collection"
            raise triples[place].line.refuse(what, key="sources", fix="triples must be of this collection")
        return found
