"""The groups of a split become a store: ids turn into rows, every label is checked, what cannot be used is counted.

Nothing is left out in silence: a question without positives, a positive that is not in the corpus and a candidate that
is a positive are refused with their number and the first ids, unless the recipe says under `data.repair` to drop them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mpr import storage
from mpr.corpora import Split
from mpr.data import passages
from mpr.data.passages import PassageStore
from mpr.data.positives import COLUMNS
from mpr.data.questions import CANDIDATE_COLUMNS, KIND, SCHEMA, SplitStore
from mpr.errors import DataError, Problem, excerpt
from mpr.metrics.answers import normalised
from mpr.recipe.keys import Repair
from mpr.records import TIERS, Candidate, Group, Passage, Positive, id_problem, stable_hash, text_problem
from mpr.runtime.progress import Progress, silent
from mpr.storage.ragged import RaggedWriter

_BATCH = 2_048
_NAMED = 5  # ids shown of each kind of problem
_DROPPABLE = {
    "without_positives": ("questions have no positive of a tier that counts", "drop"),
    "passages_missing": ("positives or candidates are not among the passages", "drop"),
    "positive_as_negative": ("candidates are also known positives of their question", "drop_negative"),
}


@dataclass
class _Tally:
    """How often each unusable thing was met, and the first few of them."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_DROPPABLE, 0))
    first: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in _DROPPABLE})
    repeated: int = 0
    in_evaluation: int = 0

    def note(self, kind: str, name: str) -> None:
        self.counts[kind] += 1
        if len(self.first[kind]) < _NAMED:
            self.first[kind].append(name)

    def refuse(self, repair: Repair, where: str) -> None:
        problems = []
        for kind, (what, remedy) in _DROPPABLE.items():
            if self.counts[kind] and getattr(repair, kind) == "refuse":
                shown = ", ".join(self.first[kind])
                fix = f"first: {shown}; mend the data or set data.repair.{kind}: {remedy}"
                problems.append(Problem(f"{self.counts[kind]:,} {what}", where, f"data.repair.{kind}", fix))
        if problems:
            raise DataError(problems)


def inline_passages(target: Path, groups: Iterable[Group], receipt: dict[str, Any], **options: Any) -> PassageStore:
    """A passage store of all texts that came with the records, each id once.

    An id that comes again must bring the same text; two texts under one id would train on whichever came first.
    """
    seen: dict[int, int] = {}

    def first_of_each() -> Iterator[Passage]:
        for group in groups:
            for passage in group.passages:
                # ascii() stands in for what UTF-8 cannot hold; the store refuses such a passage with its own words
                key, content = stable_hash(ascii(passage.id)), stable_hash(ascii((passage.title, passage.text)))
                if key not in seen:
                    seen[key] = content
                    yield passage
                elif seen[key] != content:
                    what = "the same passage id comes with two different texts"
                    raise DataError(what, key=passage.id, fix=f"see question {group.question.id}")

    return passages.build(target, first_of_each(), receipt, **options)


def build(
    target: Path,
    groups: Iterable[Group],
    split: Split,
    store: PassageStore,
    *,
    repair: Repair,
    tiers: tuple[str, ...],
    train: bool,
    sources: tuple[str, ...],
    receipt: dict[str, Any],
    exclude: frozenset[str] = frozenset(),
    progress: Progress = silent,
) -> SplitStore:
    """Writes a split. `train` says whether questions without positives are a problem; evaluation keeps them.

    `exclude` holds questions (as `normalised` writes them) that evaluation asks and training must not see.
    """
    tally, read, seen = _Tally(), 0, set[int]()
    with storage.stage(target, KIND, receipt) as stage, ExitStack() as files:
        texts = files.enter_context(stage.open("questions.arrow"))
        table = files.enter_context(pa.ipc.new_file(texts, SCHEMA))
        positives = files.enter_context(RaggedWriter(stage, "positives", COLUMNS))
        lists = [
            files.enter_context(RaggedWriter(stage, f"candidates-{number}", CANDIDATE_COLUMNS))
            for number in range(len(sources))
        ]
        stream = iter(groups)
        while batch := list(islice(stream, _BATCH)):
            read += len(batch)
            progress(len(batch))
            _check(batch, seen, sources)
            if exclude:
                allowed = [group for group in batch if normalised(group.question.text) not in exclude]
                tally.in_evaluation += len(batch) - len(allowed)
                batch = allowed
            kept = _resolved(batch, store, set(tiers), train, tally)
            _write_questions(table, [group for group, _, _ in kept])
            _write_positives(positives, [rows for _, rows, _ in kept])
            for name, writer in zip(sources, lists, strict=True):
                _write_candidates(writer, [[pair for pair in pairs if pair[1].source == name] for _, _, pairs in kept])
        _check_counts(target, read, split, tally, repair)
        receipt |= {
            "read": read,
            "sources": list(sources),
            "dropped": {**tally.counts, "repeated": tally.repeated, "in_evaluation": tally.in_evaluation},
            "regex": split.regex,
        }
    return SplitStore(target)


def _check(batch: list[Group], seen: set[int], sources: tuple[str, ...]) -> None:
    for group in batch:
        question = group.question
        problem = (
            id_problem(question.id)
            or text_problem(question.text)
            or next((found for answer in question.answers if (found := text_problem(answer))), "")
        )
        if not problem and not question.text.strip():
            problem = "question is empty"
        if problem:
            raise DataError(problem, key=excerpt(str(question.id), 80), fix="mend the questions file")
        strange = {candidate.source for candidate in group.candidates} - set(sources)
        if strange:
            what = f"candidates of source '{min(strange)}' come with the record, the collection names {list(sources)}"
            raise DataError(what, key=question.id, fix="name every source of the split in its collection")
        labelled = [positive.passage for positive in group.positives]
        labelled += [candidate.passage for candidate in group.candidates]
        # Only what is not ASCII can be more than merely absent from the corpus: something that is no text at all.
        for passage in labelled if not "".join(labelled).isascii() else ():
            if found := id_problem(passage):
                raise DataError(found, key=excerpt(passage, 80), fix=f"see question {question.id}")
        key = stable_hash(question.id)
        if key in seen:
            raise DataError("question id is given twice", key=question.id, fix="ids must be unique within a split")
        seen.add(key)


Resolved = tuple[Group, list[tuple[int, Positive]], list[tuple[int, Candidate]]]


def _resolved(batch: list[Group], store: PassageStore, tiers: set[str], train: bool, tally: _Tally) -> list[Resolved]:
    """Groups with the rows of their passages, without what is dropped."""
    wanted: list[str] = []
    for group in batch:
        wanted += [positive.passage for positive in group.positives]
        wanted += [candidate.passage for candidate in group.candidates]
    rows = iter(store.rows_of(wanted).tolist())
    kept: list[Resolved] = []
    for group in batch:
        name = group.question.id
        positives: dict[int, Positive] = {}
        for positive, row in [(positive, next(rows)) for positive in group.positives]:
            if row < 0:
                tally.note("passages_missing", f"{positive.passage} of {name}")
            elif row in positives:
                tally.repeated += 1
            else:
                positives[row] = positive
        candidates: dict[tuple[str, int], Candidate] = {}
        for candidate, row in [(candidate, next(rows)) for candidate in group.candidates]:
            if row < 0:
                tally.note("passages_missing", f"{candidate.passage} of {name}")
            elif row in positives:
                tally.note("positive_as_negative", f"{candidate.passage} of {name}")
            elif (candidate.source, row) in candidates:
                tally.repeated += 1
            else:
                candidates[candidate.source, row] = candidate
        if train and not any(positive.tier in tiers for positive in positives.values()):
            tally.note("without_positives", name)
            continue
        kept.append((group, [*positives.items()], [(row, found) for (_, row), found in candidates.items()]))
    return kept


def _write_questions(table: Any, groups: list[Group]) -> None:
    questions = [group.question for group in groups]
    columns = [
        [question.id for question in questions],
        [question.text for question in questions],
        [list(question.answers) for question in questions],
        [question.regex for question in questions],
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    table.write_batch(pa.record_batch(arrays, schema=SCHEMA))


def _write_positives(writer: RaggedWriter, listed: list[list[tuple[int, Positive]]]) -> None:
    flat = [pair for pairs in listed for pair in pairs]
    writer.append(
        [len(pairs) for pairs in listed],
        passage=np.array([row for row, _ in flat], dtype=np.int64),
        tier=np.array([TIERS.index(positive.tier) for _, positive in flat], dtype=np.uint8),
        grade=np.array([positive.grade for _, positive in flat], dtype=np.float32),
    )


def _write_candidates(writer: RaggedWriter, listed: list[list[tuple[int, Candidate]]]) -> None:
    """Best rank first, which is what a window of the draw counts on."""
    flat = [pair for pairs in listed for pair in sorted(pairs, key=lambda pair: pair[1].rank)]
    writer.append(
        [len(pairs) for pairs in listed],
        passage=np.array([row for row, _ in flat], dtype=np.int64),
        rank=np.array([candidate.rank for _, candidate in flat], dtype=np.int32),
        score=np.array([np.nan if c.score is None else c.score for _, c in flat], dtype=np.float32),
    )


def refuse_count(where: str, read: int, expected: int | None) -> None:
    """Questions that were read are as many as are known to be there."""
    if expected is not None and read != expected:
        what = f"the split has {read:,} questions, {expected:,} are expected"
        raise DataError(what, where=where, fix="the file is not the one mpr knows, or was cut short")


def _check_counts(target: Path, read: int, split: Split, tally: _Tally, repair: Repair) -> None:
    if not read:
        raise DataError("the split has no questions", where=str(target), fix="check the questions file")
    refuse_count(str(target), read, split.questions)
    tally.refuse(repair, target.name)
    if read == tally.counts["without_positives"] + tally.in_evaluation:
        what = f"nothing to train on: of {read:,} questions {tally.counts['without_positives']:,} have no positive of a"
        what += f" tier that counts and {tally.in_evaluation:,} are asked in evaluation"
        raise DataError(what, where=target.name, key="labels", fix="count more tiers, or mend the data")
