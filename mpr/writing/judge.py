"""Judging: a writer reads candidates of a source with their question and says what is relevant.

Judged are the candidates that a label with `judgements` looks at (`llm`, `rlhn`, `arhn`), and some known positives of
every question, which the judge cannot tell from them: they show how good the judge is. A prompt either asks about one
passage, or about all of a question at once, where known positives may be shown as such; then they are not judged. The
result is a store with one file of verdicts (`mpr/formats/verdicts.py`), in the order of questions and ranks, and a
receipt: who judged with which prompt, how many answers had no grade, and how far the verdicts agree with what is known.
A stopped run asks only what was not answered (`mpr/writing/_transcript.py`).

Where the split has judgements, agreement is over judged pairs. Where only positives are known, all candidates count as
not relevant, although many are relevant: then precision and kappa are lower bounds, and recall is the measure to use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpr import __version__, storage
from mpr.data import pair_scores
from mpr.data.dataset import Dataset
from mpr.data.pair_labels import Knowledge
from mpr.errors import DataError
from mpr.formats import verdicts
from mpr.formats.verdicts import Verdict
from mpr.labels import llm
from mpr.mining import mine
from mpr.recipe.keys import Recipe
from mpr.runtime import randomness
from mpr.writing import _transcript
from mpr.writing._transcript import Writer
from mpr.writing.prompts import Prompt

KIND = "judgements"
FILE = "judgements.jsonl"


@dataclass(frozen=True)
class Wanted:
    """What is to be judged, and how."""

    source: str
    window: int
    answer_matches: bool
    prompt: Prompt
    relevant: int
    planted: int
    """At most so many known positives of a question."""


@dataclass(frozen=True)
class Agreement:
    """Of two judges about the same pairs: pairs by what is known of them and what was judged.

        precision = both / judged relevant      recall = both / known relevant
        kappa = (o - e) / (1 - e)               o: share of pairs on which they agree; e: share expected by chance

    Cohen's kappa (1960) is 1 for full agreement and 0 for that of two judges who call as many pairs relevant, at
    random. What cannot be computed, because nothing is relevant or both judges say the same of all pairs, is None.
    """

    both: int
    """Known and judged relevant."""
    missed: int
    """Known as relevant only."""
    added: int
    """Judged relevant only."""
    neither: int

    @classmethod
    def of(cls, pairs: Iterable[tuple[bool, bool]]) -> Agreement:
        """From (known, judged) of each pair."""
        counts = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
        for known, judged in pairs:
            counts[bool(known), bool(judged)] += 1
        return cls(counts[True, True], counts[True, False], counts[False, True], counts[False, False])

    @property
    def pairs(self) -> int:
        return self.both + self.missed + self.added + self.neither

    @property
    def precision(self) -> float | None:
        return _share(self.both, self.both + self.added)

    @property
    def recall(self) -> float | None:
        return _share(self.both, self.both + self.missed)

    @property
    def kappa(self) -> float | None:
        if not self.pairs:
            return None
        known, judged = self.both + self.missed, self.both + self.added
        chance = known * judged + (self.pairs - known) * (self.pairs - judged)  # times the square of pairs
        return _share((self.both + self.neither) * self.pairs - chance, self.pairs**2 - chance)

    @property
    def _measures(self) -> dict[str, float | None]:
        return {"precision": self.precision, "recall": self.recall, "kappa": self.kappa}

    @property
    def facts(self) -> dict[str, Any]:
        """For a receipt."""
        return {**asdict(self), **self._measures}

    def __str__(self) -> str:
        named = self._measures.items()
        shown = ", ".join(f"{name} {'unknown' if value is None else f'{value:.3f}'}" for name, value in named)
        return f"{shown} ({self.both:,} both, {self.missed:,} missed, {self.added:,} added, {self.neither:,} neither)"


@dataclass(frozen=True)
class Judged:
    """What came of it."""

    path: Path
    receipt: dict[str, Any]

    def __str__(self) -> str:
        said = self.receipt
        counts = [said["agreement"][name] for name in ("both", "missed", "added", "neither")]
        return (
            f"judged: {self.path} ({said['pairs']:,} pairs, {said['planted']:,} of them planted; "
            f"{said['relevant']:,} relevant, {said['unread']:,} without a grade, {said['cut']:,} cut off)\n"
            f"agreement with {said['known by']}: {Agreement(*counts)}\n"
            f"pin it: judgements: {{file: {self.path}, sha256: {storage.remembered_sha256(self.path)}}}"
        )


def judge(dataset: Dataset, wanted: Wanted, writer: Writer, target: Path) -> Judged:
    """Writes the store `target`, or says what is in it if the same was judged before."""
    known = mine.Mined(dataset, until=label_of(dataset.recipe)).knowledge
    owner_N, passage_N, planted_N = _pairs(known, wanted)
    if not len(owner_N):
        raise DataError("there is nothing to judge", key=wanted.source, fix="see `mpr audit`, or widen the window")
    split, store = dataset.split("train"), dataset.passages_of("train")
    receipt: dict[str, Any] = {
        "writer": writer.origin,
        "prompt": wanted.prompt.name,
        "window": wanted.window,
        "source": wanted.source,
        "relevant from": wanted.relevant,
        "of": pair_scores.digest_of(pair_scores.keys_of(owner_N, passage_N)),
        "questions": split.manifest.digest,
        "passages": store.manifest.digest,
        "mpr": __version__,
    }
    if target.exists():
        return Judged(target / FILE, _transcript.same(target, KIND, receipt))
    asked = list(_asked(wanted.prompt, owner_N, planted_N))
    prompts = (_filled(wanted.prompt, split, store, owner_N, passage_N, one) for one in asked)
    answers = list(_transcript.answers(writer, prompts, len(asked), dataset.home, dataset.bar))
    judged, replies = [], []
    grades: list[int | None] = []
    for one, reply in zip(asked, answers, strict=True):
        judged += one.listed
        found = wanted.prompt.read(reply.text, len(one.listed)) if wanted.prompt.is_listed else None
        single = [] if wanted.prompt.is_listed else [wanted.prompt.read(reply.text)]
        grades += single or found or [None] * len(one.listed)
        replies += [reply] * len(one.listed)
    owner_N, passage_N, planted_N = owner_N[judged], passage_N[judged], planted_N[judged]
    model, names, questions = str(receipt["writer"]["model"]), store.ids(passage_N), split.ids
    lines = [
        Verdict(questions[owner], name, grade, reply.text, wanted.prompt.name, model, bool(planted))
        for owner, name, grade, reply, planted in zip(owner_N, names, grades, replies, planted_N, strict=True)
    ]
    by_grade = Counter(grades)
    receipt |= {
        "pairs": len(lines),
        "planted": sum(one.planted for one in lines),
        "relevant": sum(n for grade, n in by_grade.items() if grade is not None and grade >= wanted.relevant),
        "unread": by_grade[None],
        "cut": sum(reply.cut for reply in answers),
        "grades": {str(grade): count for grade, count in sorted(by_grade.items(), key=str)},
        "answered by": dict(sorted(Counter(reply.model for reply in answers).items())),
    }
    receipt |= _agreement(dataset, lines, wanted.relevant)
    with storage.stage(target, KIND, receipt) as stage, stage.open(FILE) as file:
        verdicts.write_verdicts(file, lines)
    return Judged(target / FILE, receipt)


PROMPTS = {"llm": "judge-yes-no-1", "rlhn": "judge-relabel-1", "arhn": "judge-order-1"}
"""What is asked for each label, where nothing else is said."""


def label_of(recipe: Recipe) -> str:
    """The label that will read the verdicts, before which candidates are as they are judged."""
    return next((label.name for label in recipe.labels if hasattr(label, "judgements")), "llm")


@dataclass(frozen=True)
class _Asked:
    """What one prompt asks about: places among the pairs."""

    listed: list[int]
    known: list[int]
    """Shown as known, and not asked about."""


def _asked(prompt: Prompt, owner_N: Any, planted_N: Any) -> Iterator[_Asked]:
    """One passage at a time, or all of a question; where they are not shown apart, known positives stand among the
    others in an order that does not tell."""
    if not prompt.is_listed:
        yield from (_Asked([place], []) for place in range(len(owner_N)))
        return
    for places in np.split(np.arange(len(owner_N)), np.flatnonzero(np.diff(owner_N)) + 1):
        apart = prompt.known_apart & planted_N[places]
        listed = places[~apart]
        if not prompt.known_apart:
            listed = listed[
                np.argsort(randomness.bits(0, "listed", owner_N[listed], listed - places[0]), kind="stable")
            ]
        if len(listed) > verdicts.LARGEST:
            what = f"{len(listed)} passages of a question are too many for one list"
            raise DataError(what, key="--window", fix=f"judge at most {verdicts.LARGEST} of a question")
        if len(listed):
            yield _Asked(listed.tolist(), places[apart].tolist())


def _filled(prompt: Prompt, split: Any, store: Any, owner_N: Any, passage_N: Any, asked: _Asked) -> str:
    def shown(places: list[int]) -> str:
        found = [store[int(passage_N[place])] for place in places]
        return "\n\n".join(f"[{number}] {one.title}\n{one.text}" for number, one in enumerate(found, 1))

    question = split[int(owner_N[asked.listed[0]])].text
    if prompt.is_listed:
        return prompt.filled(question=question, known=shown(asked.known), listed=shown(asked.listed))
    passage = store[int(passage_N[asked.listed[0]])]
    return prompt.filled(question=question, title=passage.title, text=passage.text)


def _pairs(known: Knowledge, wanted: Wanted) -> tuple[Any, Any, Any]:
    """Question, passage, and whether it was planted; of each question first the known positives, then by rank."""
    owner_N, passage_N, _, _ = llm.pool(known, wanted.source, wanted.window, wanted.answer_matches)
    rows, counting = known.positives.rows, known.counting
    owner_K, passage_K = rows.owners()[counting], rows.columns["passage"][counting]
    within = np.arange(len(owner_K)) - np.searchsorted(owner_K, owner_K) < wanted.planted
    owners, passages = np.concatenate([owner_K[within], owner_N]), np.concatenate([passage_K[within], passage_N])
    planted = np.arange(len(owners)) < within.sum()
    order = np.argsort(owners, kind="stable")
    return owners[order], passages[order], planted[order]


def _agreement(dataset: Dataset, lines: list[Verdict], relevant: int) -> dict[str, Any]:
    """With the judgements of the split, or with the known positives against everything else; unread is left out."""
    name = dataset.recipe.data.train
    read = [one for one in lines if one.grade is not None]
    if dataset.corpus.collection.split(name).judged:
        by = "judgements of the split"
        grades = {(one.question, one.passage): one.grade for one in dataset.corpus.collection.judgements(name)}
        pairs = [(grades[one.question, one.passage] > 0, one) for one in read if (one.question, one.passage) in grades]
    else:
        by = "known positives, all other candidates taken as not relevant"
        pairs = [(one.planted, one) for one in read]
    found = Agreement.of((known, (one.grade or 0) >= relevant) for known, one in pairs)
    return {"known by": by, "agreement": found.facts}


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
