"""What the data of a recipe really is: positives per question, overlap, duplicates, truncation, unmatched answers.

`audit` computes, `mpr/data/audit_report.py` shows. Everything is counted over the stores that training will read.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpr.data.dataset import Dataset
from mpr.data.passages import PassageStore
from mpr.data.questions import SplitStore
from mpr.data.tokens import TokenStore
from mpr.metrics.answers import AnswerMatcher, normalised, tokens
from mpr.models.templates import Template
from mpr.records import TIERS, Question

DELTAS = (1, 2, 3, 4, 5, 10)
QUANTILES = (0.5, 0.95, 1.0)
SCAN_LIMIT = 500_000  # passages up to which every answer is looked for in the whole corpus


@dataclass(frozen=True)
class Lengths:
    """Tokens of the texts of one side, special tokens included, against the length that the recipe gives them."""

    texts: int
    limit: int
    quantiles: dict[float, int]
    truncated: int

    @classmethod
    def of(cls, store: TokenStore, template: Template, limit: int) -> Lengths:
        titles = store.title.lengths()
        full = np.asarray(store.lengths, dtype=np.int64) + titles + len(template.prefix) + len(template.suffix)
        full = full + np.where((titles > 0) & (np.asarray(store.lengths) > 0), len(template.between), 0)
        quantiles = {share: int(np.quantile(full, share)) for share in QUANTILES}
        return cls(len(full), limit, quantiles, int((full > limit).sum()))


@dataclass
class SplitAudit:
    """Facts about one split."""

    role: str
    name: str
    read: int
    kept: int
    dropped: dict[str, int]
    positives: NDArray[np.int64]
    tiers: dict[str, int]
    lengths: Lengths
    repeated_questions: int = 0
    overlap: list[tuple[str, str]] = field(default_factory=list)
    learned: int | None = None
    """Questions with a positive that training has for others; None: none are listed, or of other texts."""
    answers: dict[str, int] = field(default_factory=dict)
    missing: int | None = None
    """Positives of an inline split that are not in the corpus by id; None: not inline, or no corpus on this disk."""

    def share_with(self, least: int) -> float:
        """delta_k: share of all questions read that have at least this many known positives."""
        return float((self.positives >= least).sum()) / self.read


@dataclass
class Audit:
    """Facts about the whole recipe."""

    recipe: str
    corpus: str
    passages: int
    repeated_texts: int
    passage_lengths: Lengths
    splits: list[SplitAudit]


def audit(dataset: Dataset, *, scan: bool | None = None) -> Audit:
    """Reads everything. `scan`: look for every answer in the whole corpus; None: if it has at most SCAN_LIMIT texts."""
    store = dataset.passages_of("train")
    template = Template.of(dataset.tokenizer())
    tokenised = dataset.tokens_of_passages("train")
    splits = [_split(dataset, role, template, scan) for role in dataset.splits.names]
    for one in splits:  # of which any may have built the corpus
        if dataset.corpus.collection.split(one.name).inline and (dataset.corpus.folder / "passages").exists():
            used = np.unique(dataset.split(one.role).positives.rows.columns["passage"])
            one.missing = int((dataset.corpus().rows_of(dataset.passages_of(one.role).ids(used)) < 0).sum())
    return Audit(
        recipe=dataset.recipe.name,
        corpus=dataset.recipe.data.corpus.name,
        passages=len(store),
        repeated_texts=len(store) - len(np.unique(store.text_hashes)),
        passage_lengths=Lengths.of(tokenised, template, dataset.recipe.towers.passage_length),
        splits=splits,
    )


def _split(dataset: Dataset, role: str, template: Template, scan: bool | None) -> SplitAudit:
    store, passages = dataset.split(role), dataset.passages_of(role)
    tier_counts = Counter(np.asarray(store.positives.rows.columns["tier"]).tolist())
    texts = [normalised(text) for text in store.texts]
    found = SplitAudit(
        role=role,
        name=dataset.splits.names[role],
        read=int(store.manifest.receipt["read"]),
        kept=len(store),
        dropped=store.dropped,
        positives=store.positives.rows.lengths(),
        tiers={TIERS[code]: count for code, count in sorted(tier_counts.items())},
        lengths=Lengths.of(dataset.tokens_of_questions(role), template, dataset.recipe.towers.question_length),
        repeated_questions=len(texts) - len(set(texts)),
        answers=_answers(store, passages, scan),
    )
    if role != "train":
        found.overlap = dataset.split("train").shared_with(store)
        if (known_Q := learned(dataset, role)) is not None:
            found.learned = int(known_Q.sum())
    return found


def learned(dataset: Dataset, role: str) -> NDArray[np.bool_] | None:
    """Questions of a split with a positive that training has too: an encoder may know their passages as answers,
    whatever it knows of questions. Of positives that stand in the records; None where the split lists none, or of texts
    of its own."""
    train, tested = dataset.split("train").positives, dataset.split(role).positives
    same_passages = dataset.passages_of(role).folder == dataset.splits.proposable("train").folder
    if not len(tested.rows.columns["passage"]) or not same_passages:
        return None
    counting = train.counting(dataset.recipe.tiers)
    is_learned_N = np.isin(tested.rows.columns["passage"], counting.columns["passage"])
    return np.isin(np.arange(len(tested)), tested.rows.owners()[is_learned_N])


def _answers(split: SplitStore, store: PassageStore, scan: bool | None) -> dict[str, int]:
    """How many questions have answers, patterns that are no patterns, and answers that occur nowhere."""
    questions = list(split)
    counts = {"with answers": sum(bool(question.answers) for question in questions)}
    if not counts["with answers"]:
        return counts
    matchers = [AnswerMatcher(question.answers, question.regex, question.id) for question in questions]
    counts["that can match nothing"] = sum(len(matcher.invalid) for matcher in matchers)
    if len(split.positives.rows.columns["passage"]):
        counts |= _in_positives(split, store, matchers)
    wanted = scan if scan is not None else len(store) <= SCAN_LIMIT and not any(q.regex for q in questions)
    if wanted:
        counts["match no passage of the corpus"] = _in_corpus(questions, store)
    return counts


def _in_positives(split: SplitStore, store: PassageStore, matchers: list[AnswerMatcher]) -> dict[str, int]:
    """Questions none of whose positives contains an answer, and positives without an answer."""
    prepared: dict[int, str] = {}
    questions_without = positives_without = 0
    for row, matcher in enumerate(matchers):
        passages = split.positives.rows.row(row, "passage").tolist()
        for passage in passages:
            if passage not in prepared:
                prepared[passage] = matcher.prepare(store[passage].text)
        found = sum(matcher.found_in_prepared(prepared[passage]) for passage in passages)
        questions_without += bool(passages) and not found
        positives_without += len(passages) - found
    return {"positives without an answer": positives_without, "match none of their positives": questions_without}


def _in_corpus(questions: list[Question], store: PassageStore) -> int:
    """Questions whose answers occur in no passage: one pass over the corpus."""
    unmatched = {row for row, question in enumerate(questions) if question.answers}
    strings = [(row, question.answers) for row, question in enumerate(questions) if not question.regex]
    patterns = {row: AnswerMatcher(q.answers, True, q.id) for row, q in enumerate(questions) if q.answers and q.regex}
    tree = _AnswerTree(strings)
    for passage in store:
        unmatched -= tree.rows_in(tokens(passage.text))
        found = [row for row, matcher in patterns.items() if matcher.found_in(passage.text)]
        for row in found:
            del patterns[row]  # one match is enough, and patterns are slow
        unmatched.difference_update(found)
    return len(unmatched)


class _AnswerTree:
    """Answers as paths of tokens in a tree of dictionaries: all of them are looked for in one walk of a text."""

    _ROWS = ""  # no token is empty, so this key of a node holds the questions whose answer ends there

    def __init__(self, answers: list[tuple[int, tuple[str, ...]]]) -> None:
        self._root: dict[str, Any] = {}
        for row, strings in answers:
            for string in strings:
                node = self._root
                for word in tokens(string):
                    node = node.setdefault(word, {})
                if node is not self._root:
                    node.setdefault(self._ROWS, []).append(row)

    def rows_in(self, words: list[str]) -> set[int]:
        found: set[int] = set()
        for start, first in enumerate(words):
            node = self._root.get(first)
            place = start + 1
            while node is not None:
                if self._ROWS in node:
                    found.update(node[self._ROWS])
                node = node.get(words[place]) if place < len(words) else None
                place += 1
        return found
