"""A ranking as a table: one Parquet file with a row for each ranked passage, texts included, for readers of tables.

`datasets.load_dataset("parquet", data_files="<folder>/run.parquet")` and `pandas.read_parquet` open it. A run file has
ids only; here a person, or a program without the collection, sees what was asked and what was found. Rows are in the
order of the ranking: question by question, the best passage first.

Written a group of rows at a time, so that memory is that of one group's texts, however long the ranking is.

Shapes: Q questions of the ranking, N passages of all questions one after the other, B batches of the collection.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from mpr import storage
from mpr.data.passages import PassageStore
from mpr.data.questions import SplitStore
from mpr.errors import DataError
from mpr.evaluation.ranking import Ranking

KIND = "run table"
FILE = "run.parquet"
GROUP = 8_192  # rows written at once
SCHEMA = pa.schema(
    [
        ("question_id", pa.string()),
        ("question", pa.large_string()),
        ("passage_id", pa.string()),
        ("title", pa.string()),
        ("text", pa.large_string()),
        ("rank", pa.int32()),
        ("score", pa.float64()),
        ("tag", pa.string()),
    ]
)


def write(target: Path, ranking: Ranking, questions: SplitStore, corpus: PassageStore, tag: str) -> None:
    """Commits the folder `target` with `run.parquet`; `tag` names what ranked. A question without passages has no row.

    Questions that the split does not have, and rows that the collection does not have, are refused.
    """
    places = {identifier: place for place, identifier in enumerate(questions.ids)}
    others = [identifier for identifier in ranking.questions if identifier not in places]
    if others:
        what = f"{len(others):,} questions of the ranking are not in the split, first: {', '.join(others[:5])}"
        raise DataError(what, fix="give the split that was searched for")
    asked_Q = np.array([places[identifier] for identifier in ranking.questions], dtype=np.int64)
    batches = list(corpus.batches())  # views of the memory map, so that holding all of them costs no texts
    starts_B = np.concatenate([[0], np.cumsum([batch.num_rows for batch in batches])]).astype(np.int64)
    if len(ranking.passage_N) and int(ranking.passage_N.max()) >= starts_B[-1]:
        what = f"the ranking names row {int(ranking.passage_N.max()):,} of {int(starts_B[-1]):,} passages"
        raise DataError(what, where=str(target), fix="give the collection that was searched")
    ids, texts = pa.array(questions.ids, pa.string()), pa.array(questions.texts, pa.large_string())
    owner_N, rank_N = ranking.owner_N, ranking.rank_N.astype(np.int32)
    receipt = {
        "questions": questions.manifest.digest,
        "passages": corpus.manifest.digest,
        "lists": len(ranking),
        "rows": len(owner_N),
        "tag": tag,
    }
    with (
        storage.stage(target, KIND, receipt) as stage,
        stage.open(FILE) as file,
        parquet.ParquetWriter(file, SCHEMA, compression="zstd") as writer,
    ):
        for start in range(0, len(owner_N), GROUP):
            own = slice(start, start + GROUP)
            asked = pa.array(asked_Q[owner_N[own]])
            found = _taken(batches, starts_B, ranking.passage_N[own])
            columns = [ids.take(asked), texts.take(asked), *map(found.column, ("id", "title", "text"))]
            columns += [pa.array(rank_N[own]), pa.array(ranking.score_N[own]), pa.repeat(tag, len(asked))]
            writer.write_batch(pa.record_batch(columns, schema=SCHEMA))


def _taken(batches: list[pa.RecordBatch], starts_B: NDArray[np.int64], rows_N: NDArray[np.int64]) -> pa.RecordBatch:
    """These rows of the collection in their order; each batch is looked into once."""
    order_N = np.argsort(rows_N, kind="stable")
    sorted_N = rows_N[order_N]
    ends_B = np.searchsorted(sorted_N, starts_B)
    parts = [
        batches[number].take(pa.array(sorted_N[ends_B[number] : ends_B[number + 1]] - start))
        for number, start in enumerate(starts_B[:-1])
        if ends_B[number] < ends_B[number + 1]
    ]
    back_N = np.empty_like(order_N)
    back_N[order_N] = np.arange(len(order_N))
    return pa.concat_batches(parts).take(pa.array(back_N))
