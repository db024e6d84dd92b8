"""A candidate table: what one source proposed for every question of a split, on disk and memory-mapped.

The table has two ragged arrays with a row for each question. `negatives` is what the draw reads: passage, rank and
score as a split's own candidate lists have them, and the hash of the passage's text. `removed` holds what was taken out
because it is, or may be, a positive, with a label that says why. Ranks are those that the source gave, so that both
together are the whole proposal. The receipt says what made the table and how many candidates have which label.

A table that a weight of `draw` compares with positives has a third: `anchors`, every known positive of each question
with the score that the source gives it, proposed or not, NaN where it gives none. Its receipt says so, and hence its
name: a table that was made without them stays what it is.

Shapes: N candidates or rows of several questions, M candidates of those, L labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpr import storage
from mpr.data.pair_scores import PairScores, Scored, keys_of
from mpr.data.positives import PositiveIndex
from mpr.data.questions import CANDIDATE_COLUMNS
from mpr.storage.ragged import Ragged, RaggedWriter

KIND = "candidates"
LABELS = ("negative", "known_positive", "same_text", "answer_match")  # the place of each is its number on disk
NEGATIVE, KNOWN, SAME_TEXT, ANSWER_MATCH = range(len(LABELS))
COLUMNS = {**CANDIDATE_COLUMNS, "text_hash": "<u8"}
_LISTS = {"negatives": COLUMNS, "removed": {**COLUMNS, "label": "u1"}}
_ANCHORS = {"anchors": {"passage": "<i8", "score": "<f4"}}

Listed = tuple[NDArray[Any], NDArray[Any] | None]


def proposals(listed: Sequence[Listed]) -> Ragged:
    """From the passages and scores of each question, best first; without scores they are unknown, not zero."""
    lengths = [len(passages) for passages, _ in listed]
    scores = [np.full(len(passages), np.nan) if given is None else given for passages, given in listed]
    nothing: list[NDArray[Any]] = [np.zeros(0)]
    columns: dict[str, NDArray[Any]] = {
        "passage": np.concatenate([np.zeros(0, dtype=np.int64), *(passages for passages, _ in listed)]),
        "rank": np.concatenate([np.zeros(0, dtype=np.int32), *(np.arange(1, length + 1) for length in lengths)]),
        "score": np.concatenate(nothing + scores),
    }
    kinds = {name: values.astype(CANDIDATE_COLUMNS[name]) for name, values in columns.items()}
    return Ragged(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), kinds)


def scored(tables: Sequence[Ragged]) -> PairScores:
    """The scores of all these lists that have one, by question and passage."""
    kept = [table.kept(np.isfinite(table.columns["score"])) for table in tables]
    owners = np.concatenate([table.owners() for table in kept])
    passages, scores = (np.concatenate([table.columns[name] for table in kept]) for name in ("passage", "score"))
    return PairScores.of(Scored(owners, passages, scores), "same")


@dataclass(frozen=True)
class Entry:
    """One entry of a table, as a person reads it."""

    question: int
    passage: int
    source: str
    rank: int
    score: float
    label: str
    text_hash: int


@dataclass(frozen=True)
class Labelled:
    """Proposals for some questions: what may be a negative, and what was taken out and why."""

    negatives: Ragged
    removed: Ragged
    anchors: Ragged | None = None
    """Known positives with the source's score, where they were asked for."""

    @classmethod
    def of(cls, found: Ragged, label_N: NDArray[np.uint8], hash_N: NDArray[np.uint64]) -> Labelled:
        _, place_N = found.places(np.arange(len(found)))
        columns = {name: values[place_N] for name, values in found.columns.items()}
        offsets = np.concatenate([[0], np.cumsum(found.lengths())]).astype(np.int64)
        whole = Ragged(offsets, columns | {"text_hash": hash_N, "label": label_N})
        kept_N = label_N == NEGATIVE
        return cls(whole.kept(kept_N), whole.kept(~kept_N))

    @classmethod
    def merged(cls, found: Labelled, kept: Labelled, rows: NDArray[Any], fresh_N: NDArray[np.bool_]) -> Labelled:
        """These rows of a table: the fresh ones from `found`, which has no others, the rest from `kept`."""
        lists = [(found.negatives, kept.negatives), (found.removed, kept.removed)]
        if found.anchors is not None and kept.anchors is not None:
            lists.append((found.anchors, kept.anchors))
        made = []
        for new, old in lists:
            lengths = np.empty(len(rows), dtype=np.int64)
            lengths[fresh_N], lengths[~fresh_N] = new.lengths(), old.lengths(rows[~fresh_N])
            is_new_M = np.repeat(fresh_N, lengths)
            columns = {}
            for name, values in old.columns.items():
                columns[name] = np.empty(len(is_new_M), dtype=values.dtype)
                columns[name][is_new_M] = new.columns[name]
                columns[name][~is_new_M] = values[old.places(rows[~fresh_N])[1]]
            made.append(Ragged(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), columns))
        return cls(*made)


def write(target: Path, blocks: Iterable[Labelled], receipt: Mapping[str, Any]) -> CandidateTable:
    """Writes the blocks one after the other as one table; only one of them is in memory at a time."""
    receipt = dict(receipt)
    count_L, without = np.zeros(len(LABELS), dtype=np.int64), 0
    lists = _lists(receipt)
    with storage.stage(target, KIND, receipt) as stage, ExitStack() as files:
        writers = {name: files.enter_context(RaggedWriter(stage, name, columns)) for name, columns in lists.items()}
        for block in blocks:
            for name, writer in writers.items():
                table: Ragged = getattr(block, name)
                writer.append(table.lengths(), **{column: table.columns[column] for column in lists[name]})
            count_L += np.bincount(block.removed.columns["label"], minlength=len(LABELS))
            count_L[NEGATIVE] += len(block.negatives.columns["passage"])
            without += int(np.count_nonzero(block.negatives.lengths() == 0))
        receipt |= {"counts": dict(zip(LABELS, count_L.tolist(), strict=True)), "without_candidates": without}
    return CandidateTable(target)


def _lists(receipt: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The lists of a table with their columns."""
    return {**_LISTS, **_ANCHORS} if receipt.get("anchors") else _LISTS


class CandidateTable(storage.Opened):
    """Read access to a committed table."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.manifest = storage.read_manifest(self.folder, KIND)
        lists = (Ragged.open(self.folder, name, columns) for name, columns in _lists(self.manifest.receipt).items())
        self.labelled = Labelled(*lists)

    def __len__(self) -> int:
        return len(self.negatives)

    @property
    def negatives(self) -> Ragged:
        """What a draw may take."""
        return self.labelled.negatives

    @property
    def has_anchors(self) -> bool:
        """Whether it knows the scores of positives that were not proposed."""
        return self.labelled.anchors is not None

    @property
    def removed(self) -> Ragged:
        """What was taken out, with its `label`."""
        return self.labelled.removed

    def anchors(self, positives: PositiveIndex) -> PairScores:
        """Scores that the source gave to these positives, which labels may have found among what it proposed."""
        negatives, known = self.negatives, positives.keys()
        promoted = negatives.kept(np.isin(keys_of(negatives.owners(), negatives.columns["passage"]), known))
        return scored([table for table in (promoted, self.removed, self.labelled.anchors) if table is not None])

    @property
    def source(self) -> str:
        """Name of what made it: a file of `mpr/sources/`."""
        return str(self.manifest.receipt["source"]["name"])

    @property
    def counts(self) -> dict[str, int]:
        """Number of candidates of each label."""
        return dict(self.manifest.receipt["counts"])

    def rows(self, question: int) -> Iterator[Entry]:
        """Everything that was proposed for a question, in the order of the source."""
        found = []
        for table in (self.negatives, self.removed):
            values = {name: table.row(question, name).tolist() for name in table.columns}
            labels = values.pop("label", [NEGATIVE] * len(values["rank"]))
            for number, label in enumerate(labels):
                one = {name: column[number] for name, column in values.items()}
                found.append(Entry(question, source=self.source, label=LABELS[label], **one))
        yield from sorted(found, key=lambda row: row.rank)

    def summary(self) -> str:
        """One line for the terminal, counts of everything taken out included."""
        counts, without = self.counts, self.manifest.receipt["without_candidates"]
        text = f"{len(self):,} questions, {counts['negative']:,} candidates; taken out: {counts['known_positive']:,}"
        text += f" known positives by id, {counts['same_text']:,} by text, {counts['answer_match']:,} by answer"
        return f"{text}; {without:,} questions without a candidate" if without else text
