"""The key `scores` of a label, and the scores of pairs that a file gives.

Scores come from a file that any scorer made, read once and kept beside the split as `mpr/data/pair_scores.py` has it,
or from a cross-encoder (`mpr/labels/_score_models.py`). A label only ever sees pairs with their values. Files of
verdicts (`llm`) are read by the same `by_rows`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from mpr.catalogue import Parameters
from mpr.errors import DataError
from mpr.recipe import model_names
from mpr.recipe.file_keys import MD5, SHA256, Address, known

if TYPE_CHECKING:
    from mpr.data.pair_labels import Asked, Knowledge
    from mpr.data.pair_scores import PairScores, Scored
    from mpr.sources import Ground
    from mpr.storage.ragged import Ragged

log = logging.getLogger("mpr.mining.mine")
_CHUNK = 65_536  # pairs read at once


class Scores(Parameters):
    """Where scores come from: a file, or a cross-encoder."""

    file: str | None = None
    """A file of scores, inside data.corpus.folder if there is one; packed or not."""
    format: Literal["tsv", "triples", "trec", "pos_neg", "columns"] | None = None
    """`tsv`: question id, passage id, score. `triples`: both scores, question id, positive id, negative id. `trec`: a
    run. Ids are those of the split and of its passages. `pos_neg`, `columns`: the training records themselves, where
    these have scores; passages are found by their texts."""
    columns: dict[str, str | tuple[str, ...]] | None = None
    """For `columns`: the mapping that the split has."""
    sha256: SHA256 | None = None
    """Of `file`."""
    md5: MD5 | None = None
    """The same, where only an MD5 was published."""
    url: Address | None = None
    """Where `file` is downloaded from, if there is no data.corpus.folder."""
    cross_encoder: Annotated[str, Field(min_length=1)] | None = None
    """Instead of a file: the folder of a trained cross-encoder, `runs/<run>/model`, one on the Hub,
    `org/name@<commit>`, or that of an earlier stage, `stage:<name>`."""
    compute: Literal["float32", "float16", "bfloat16"] = "float32"
    """What the cross-encoder computes in."""
    probability: bool = False
    """The cross-encoder's scores through the logistic function, between 0 and 1: what the thresholds of papers mean."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Scores:
        if (self.file is None) == (self.cross_encoder is None):
            raise ValueError("give exactly one of `file` and `cross_encoder`")
        if (self.file is None) != (self.format is None):
            raise ValueError("give `file` and `format` together")
        if (self.format == "columns") != (self.columns is not None):
            raise ValueError("`format: columns` and `columns` go together")
        if self.file is None and (self.sha256, self.md5, self.url) != (None, None, None):
            raise ValueError("sha256, md5 and url belong to `file`")
        if self.file is not None and (self.probability or self.compute != "float32"):
            raise ValueError("compute and probability belong to `cross_encoder`")
        return self

    @property
    def pins(self) -> dict[str, str]:
        """What a plan says of them."""
        if self.cross_encoder is not None:
            if model_names.stage(self.cross_encoder) is not None:
                return {}
            name, _, commit = self.cross_encoder.partition("@")
            return {name: f"commit {commit}" if commit else "not pinned"}
        assert self.file is not None
        return known(self)


def of(wanted: Scores, asked: Asked, known: Knowledge, ground: Ground) -> PairScores:
    """The scores of these pairs: all that a file has, or those that a cross-encoder gives.

    Those of a cross-encoder become probabilities if these are wanted; the store keeps them as they were.
    """
    if wanted.file is not None:
        return of_file(wanted, ground)
    import numpy as np

    from mpr.data.pair_scores import PairScores
    from mpr.labels import _score_models

    found = _score_models.scores_of(str(wanted.cross_encoder), asked, known, ground, wanted.compute)
    if not wanted.probability:
        return found
    share_N = 1.0 / (1.0 + np.exp(-found.values.astype(np.float64)))
    return PairScores(found.keys, share_N.astype(np.float32), found.folder, found.digest)


def of_file(wanted: Scores, ground: Ground) -> PairScores:
    """The scores of a file: `triples` repeat the score of a positive, other formats name a pair once."""
    from mpr.data import named_file

    path = named_file.located(wanted, ground, "labels", of="scores", fix="check labels.scores.file")
    blocks, repeated = partial(_blocks, wanted, path, ground), "same" if wanted.format == "triples" else "refuse"
    mapping = {} if wanted.columns is None else {"columns": wanted.columns}
    return store_of(path, "scores", ground, blocks, repeated, format=wanted.format, **mapping)


def store_of(
    path: Path, kind: str, ground: Ground, blocks: Callable[[], Iterator[Scored]], repeated: Any = "refuse", **more: Any
) -> PairScores:
    """The store of a file, beside the split and named by what the file is; made where it is not there yet."""
    from mpr import __version__, storage
    from mpr.data import pair_scores

    receipt = {
        "file": path.name,
        "sha256": storage.remembered_sha256(path),
        **more,
        "questions": ground.questions.manifest.digest,
        "passages": ground.passages.manifest.digest,
        "mpr": __version__,
    }
    return pair_scores.beside(ground.questions.folder, kind, receipt, blocks, repeated)


def _blocks(wanted: Scores, path: Path, ground: Ground) -> Iterator[Scored]:
    from mpr.formats import columns, pos_neg, scored_pairs, tables, trec

    mapping = wanted.columns or {}
    readers: dict[str, Any] = {
        "tsv": scored_pairs.read_scores,
        "triples": scored_pairs.read_triples,
        "trec": trec.read_hits,
        "pos_neg": lambda path: pos_neg.read_scores(tables.read_rows(path)),
        "columns": lambda path: columns.read_scores(tables.read_rows(path), columns.Columns.of(mapping)),
    }
    pairs, kept = readers[str(wanted.format)](path), 0
    by_text = wanted.format in ("pos_neg", "columns")
    fix = "scores must be of this collection"
    for block in by_rows(pairs, path, ground, lambda pair: float(pair.score), fix, by_text):
        kept += len(block.value_N)
        yield block
    if not kept:
        fix = "check that the ids are those of the split"
        raise DataError("has no scores for any question of the split", where=str(path), key="labels", fix=fix)


def by_rows(
    records: Iterable[Any],
    path: Path,
    ground: Ground,
    value: Callable[[Any], float],
    fix: str,
    by_text: bool = False,
) -> Iterator[Scored]:
    """Pairs of the split's questions by rows, from records of a file that name question and passage. Those of other
    questions are counted, not kept; a passage that the collection does not have is refused. `by_text`: a passage may
    be named by what it says, as `columns.passage_id` does, and have another id in the collection."""
    import numpy as np

    from mpr.data.pair_scores import Scored

    rows = {name: row for row, name in enumerate(ground.questions.ids)}
    left, strange = iter(records), set[str]()
    with ground.bar(f"pairs of {path.name}", 0) as progress:
        while chunk := list(islice(left, _CHUNK)):
            strange |= {one.question for one in chunk if one.question not in rows}
            ours = [one for one in chunk if one.question in rows]
            names = [one.passage for one in ours]
            passage_N = ground.passages.rows_of(names)
            if by_text:
                passage_N = np.where(passage_N < 0, _rows_by_text(ground, names), passage_N)
            if (passage_N < 0).any():
                missing = ours[int(np.argmin(passage_N))].passage
                raise DataError(f"passage {missing} is not in the collection", where=str(path), fix=fix)
            question_N = np.array([rows[one.question] for one in ours], dtype=np.int64)
            yield Scored(question_N, passage_N, np.array([value(one) for one in ours], dtype=np.float32))
            progress(len(chunk))
    if strange:
        log.warning("%s: %d questions are not in the split and were left out", path.name, len(strange))


def _rows_by_text(ground: Ground, names: list[str]) -> Any:
    """The first passage with each text, whose hash its name is; -1 where there is none."""
    import numpy as np

    wanted_N = np.array([int(name.removeprefix("text-"), 16) for name in names], dtype=np.uint64)
    hash_P = np.asarray(ground.passages.text_hashes)
    order_P = np.argsort(hash_P, kind="stable")
    place_N = np.minimum(np.searchsorted(hash_P, wanted_N, sorter=order_P), len(hash_P) - 1)
    row_N = order_P[place_N]
    return np.where(hash_P[row_N] == wanted_N, row_N, -1)


def required(scores: PairScores, table: Ragged, chosen: Any, ground: Ground, what: str) -> Any:
    """The score of every value of the table, NaN where it is not chosen; a chosen one without a score is refused."""
    import numpy as np

    owner_N, passage_N = table.owners()[chosen], table.columns["passage"][chosen]
    value_N = scores.lookup(owner_N, passage_N)
    refuse_unknown(value_N, owner_N, passage_N, ground, what)
    all_N = np.full(len(chosen), np.nan, dtype=np.float32)
    all_N[chosen] = value_N
    return all_N


def refuse_unknown(value_N: Any, question_N: Any, passage_N: Any, ground: Ground, what: str) -> None:
    """What a label cannot do without."""
    import numpy as np

    unknown_N = np.isnan(value_N)
    if unknown_N.any():
        place = int(np.argmax(unknown_N))
        question, passage = ground.questions[int(question_N[place])].id, ground.passages.ids([passage_N[place]])[0]
        text = f"{int(unknown_N.sum()):,} of {len(value_N):,} {what} have no score"
        first = f"the first is passage {passage} of question {question}"
        fix = "score them all, or narrow down which are looked at"
        raise DataError(f"{text}, {first}", key="labels", fix=fix)
