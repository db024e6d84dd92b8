"""Passages of the same article as a known positive: the same topic, and mostly no answer (Lu et al. 2020, context).

Which passages make up an article is read off their titles (`by: title`) or their ids (`by: id`: what stands before the
last hyphen of `4711-3` is the article). Nearest neighbours come first: by their distance from the positive in the order
of the collection, positive after positive as they are listed. A passage without a title, or without a hyphen in its
id, belongs to no article; a question all of whose positives are such gets no candidates.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from mpr import sources
from mpr.catalogue import Parameters
from mpr.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mpr.storage.ragged import Ragged


class Params(Parameters):
    """What an article is, and how many of its passages are proposed."""

    as_: Annotated[str, Field(alias="as", min_length=1)]
    """Name of this source in `draw`."""
    depth: Annotated[int, Field(ge=1, le=10_000)]
    """Passages proposed per question."""
    by: Literal["title", "id"]
    """What the passages of an article share."""


class Source(sources.Source):
    @property
    def origin(self) -> dict[str, Any]:
        return {"context": self.params.by, "passages": self.ground.passages.manifest.digest}

    def __call__(self, rows: Any) -> Ragged:
        import numpy as np

        from mpr.data.candidates import proposals

        known = self.ground.questions.positives.rows
        found = []
        for question in rows:
            positives = known.row(int(question), "passage")
            near = [self._neighbours(int(positive)) for positive in positives]
            listed = np.concatenate(near) if near else np.zeros(0, dtype=np.int64)
            first = np.sort(np.unique(listed, return_index=True)[1])
            others = listed[first][~np.isin(listed[first], positives)]
            found.append((others[: self.params.depth], None))
        return proposals(found)

    def _neighbours(self, passage: int) -> NDArray[Any]:
        """The other passages of the article, the nearest first, the earlier of two at the same distance first."""
        import numpy as np

        articles_P, order_P = self._articles
        article = articles_P[passage]
        if not article:
            return np.zeros(0, dtype=np.int64)
        first, last = (np.searchsorted(articles_P, article, side=side, sorter=order_P) for side in ("left", "right"))
        members = np.sort(order_P[first:last])
        members = members[members != passage]
        nearest: NDArray[Any] = members[np.argsort(np.abs(members - passage), kind="stable")]
        return nearest

    @cached_property
    def _articles(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Hash of each passage's article (0: none), and the passages in the order of these hashes."""
        import numpy as np

        from mpr.records import stable_hash

        column = "title" if self.params.by == "title" else "id"
        parts = []
        for batch in self.ground.passages.batches():
            names = batch.column(column).to_pylist()
            if self.params.by == "id":
                names = [name.rpartition("-")[0] for name in names]
            parts.append(np.array([stable_hash(name) if name else 0 for name in names], dtype=np.uint64))
        articles_P = np.concatenate(parts)
        if not articles_P.any():
            what = "no passage has a title" if self.params.by == "title" else "no passage id has a hyphen"
            raise DataError(what, where=str(self.ground.passages.folder), key="sources", fix="set `by` to the other")
        return articles_P, np.argsort(articles_P, kind="stable").astype(np.int64)
