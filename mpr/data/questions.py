"""A split on disk: its questions, their known positives, and the candidates that came with them.

Texts are an Arrow file; positives and candidates are ragged arrays of passage rows, so that drawing a step touches
only numbers. `inline` splits carry their own passage store, because their texts came with the records.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from mpr import storage
from mpr.data.positives import PositiveIndex
from mpr.errors import DataError
from mpr.metrics.answers import normalised
from mpr.records import Question
from mpr.storage.ragged import Ragged

KIND = "split"
CANDIDATE_COLUMNS = {"passage": "<i8", "rank": "<i4", "score": "<f4"}  # of each question, the best rank first
SCHEMA = pa.schema(
    [("id", pa.string()), ("text", pa.string()), ("answers", pa.list_(pa.string())), ("regex", pa.bool_())]
)


class SplitStore(storage.Opened):
    """Read access to a committed split."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.manifest = storage.read_manifest(self.folder, KIND)
        self._table = pa.ipc.open_file(pa.memory_map(str(self.folder / "questions.arrow"))).read_all()
        self.positives = PositiveIndex.open(self.folder)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, row: int) -> Question:
        values = {name: self._table.column(name)[row].as_py() for name in SCHEMA.names}
        return Question(values["id"], values["text"], tuple(values["answers"]), values["regex"])

    def __iter__(self) -> Iterator[Question]:
        columns = [self._table.column(name).to_pylist() for name in SCHEMA.names]
        for identifier, text, answers, regex in zip(*columns, strict=True):
            yield Question(identifier, text, tuple(answers), regex)

    @property
    def texts(self) -> list[str]:
        return list(self._table.column("text").to_pylist())

    @property
    def ids(self) -> list[str]:
        return list(self._table.column("id").to_pylist())

    def ids_of(self, rows: Any) -> list[str]:
        """Ids of some rows, for what must be said about them."""
        ids = self._table.column("id")
        return [ids[int(row)].as_py() for row in rows]

    def shared_with(self, other: SplitStore) -> list[tuple[str, str]]:
        """(id here, id there) of every question of `other` that is here too, by its words. Learning on what is measured
        is the quietest way to a wrong number."""
        known = {normalised(text): identifier for text, identifier in zip(self.texts, self.ids, strict=True)}
        pairs = zip(other.texts, other.ids, strict=True)
        return [(known[words], identifier) for text, identifier in pairs if (words := normalised(text)) in known]

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the candidate lists that came with the records."""
        return tuple(self.manifest.receipt["sources"])

    def candidates(self, source: str) -> Ragged:
        if source not in self.sources:
            fix = f"the records have: {', '.join(self.sources) or 'none'}"
            raise DataError(f"no candidates called '{source}'", where=str(self.folder), key="sources", fix=fix)
        return Ragged.open(self.folder, f"candidates-{self.sources.index(source)}", CANDIDATE_COLUMNS)

    @property
    def dropped(self) -> dict[str, Any]:
        """What was left out when the split was built, by reason."""
        return dict(self.manifest.receipt["dropped"])
