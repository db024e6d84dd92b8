"""From a run to scores: what is right (an answer in the text, or a judgement), over which questions, under which rules.

Over answers, every question of the split counts; over judgements, every judged question. One that the run does not
have counts 0. What the run has beyond that is counted and named, never averaged. A number without a meaning (no
judgement, no common question, a cut beyond the depth of the run, questions that were trained on) is refused.

Shapes: Q questions that count, N ranked passages of all of them one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mpr.data.passages import PassageStore
from mpr.data.questions import SplitStore
from mpr.errors import DataError
from mpr.evaluation import _matching
from mpr.evaluation.judgements import Judgements
from mpr.evaluation.ranking import Named, Names, Ranking
from mpr.evaluation.scores import Scores
from mpr.metrics import trec_eval
from mpr.metrics.answers import AnswerMatcher
from mpr.runtime.progress import Progress, silent

ANSWER_CUTS = (1, 5, 20, 100)
_NAMED = 5  # ids that are shown of what is missing or left over


@dataclass(frozen=True)
class Rules:
    """What a result says beside its numbers, chosen by the caller and printed with them."""

    run: str
    """What is measured: the name of the system."""
    split: str
    self_hits: Literal["keep", "drop"] = "keep"
    """drop: a passage whose id is the id of its question is taken out of the list, as BEIR does."""
    overlap: Literal["refuse", "allow"] = "refuse"
    """allow: questions that were also trained on are measured; the measures are also given without them."""
    depth: int | None = None
    """Passages that the search was asked for; None: as many as the longest list of the run has."""
    receipt: tuple[tuple[str, str], ...] = ()
    """What produced the run (digests), kept with the scores."""


def by_answers(
    ranking: Ranking,
    split: SplitStore,
    passages: PassageStore,
    rules: Rules,
    *,
    cuts: Sequence[int] = ANSWER_CUTS,
    positives: Judgements | None = None,
    trained: Iterable[tuple[str, str]] = (),
    progress: Progress = silent,
) -> Scores:
    """Top-k accuracy as DPR counts it, over all questions of the split.

    With `positives` (`Judgements.of_positives`) also the share of each question's known positives that was found, and
    scores by their number. `trained`: (training id, id in the split), as `SplitStore.shared_with` finds them.
    """
    questions = list(split)
    matchers = [AnswerMatcher(question.answers, question.regex, question.id) for question in questions]
    if not any(question.answers for question in questions):
        fix = "use its judgements, or its known positives as judgements"
        raise DataError(f"no question of '{rules.split}' has an answer", key="evaluation.match", fix=fix)
    asked = _Asked.of(ranking, split.ids, passages, rules, max(cuts), trained)
    right_N = _matching.contains_answer(asked.ranking, matchers, passages, progress)
    first_Q = _matching.first_right(asked.ranking, right_N)
    values = {f"top{cut}": trec_eval.reached(first_Q, cut) for cut in cuts}
    counts, known = dict(asked.counts), np.full(len(questions), -1, dtype=np.int64)
    counts["questions_without_answers"] = sum(not question.answers for question in questions)
    counts["answers_that_can_match_nothing"] = sum(len(matcher.invalid) for matcher in matchers)
    if positives is not None:
        pairs = positives.aligned(split.ids)
        ranks = _matching.ranks_of(asked.ranking, *pairs)
        values |= {f"found{cut}": trec_eval.share_found(pairs, len(questions), ranks, cut) for cut in cuts}
        known = np.bincount(pairs[0], minlength=len(questions)).astype(np.int64)
        counts |= {"without_positives": int((known == 0).sum()), "positives_outside_the_corpus": positives.outside}
    kind = "pattern" if any(question.regex for question in questions) else "string"
    right = f"its text contains an answer ({kind})"
    return asked.scores(right, counts, split.manifest.digest, known, right_N, values)


def by_judgements(
    ranking: Ranking,
    judgements: Judgements,
    passages: Named,
    rules: Rules,
    *,
    names: Sequence[str],
    least: int = 1,
    questions: Sequence[str] = (),
    trained: Iterable[tuple[str, str]] = (),
) -> Scores:
    """Measures over judged questions. A passage is relevant from grade `least`; nDCG takes the grades themselves.

    `questions`: all ids of the split, to count those that nobody judged. Without a corpus, `passages` are the `Names`
    of the run and of the judgements.
    """
    cuts = [trec_eval.parsed(name, trec_eval.BY_JUDGEMENTS)[1] for name in names]
    owner, passage = judgements.positive_pairs(least)
    if not len(owner):
        what = f"no judgement has grade {least} or more, so nothing could be found"
        raise DataError(what, key="judgements", fix="check the grades, or lower what counts as relevant")
    asked = _Asked.of(ranking, judgements.questions, passages, rules, max(cuts), trained)
    known = np.bincount(owner, minlength=len(judgements)).astype(np.int64)
    listed = [asked.ranking.row(place).tolist() for place in range(len(judgements))]
    parts = [slice(*judgements.offsets[place : place + 2]) for place in range(len(judgements))]
    pairs = ((judgements.passage_N[own].tolist(), judgements.grade_N[own].tolist()) for own in parts)
    grades = [dict(zip(*pair, strict=True)) for pair in pairs]
    values = trec_eval.judged(listed, grades, names, least)
    ranks = _matching.ranks_of(asked.ranking, owner, passage)
    right_N = np.zeros(len(asked.ranking.passage_N), dtype=np.bool_)
    found = ranks > 0
    right_N[asked.ranking.offsets[owner[found]] + ranks[found] - 1] = True
    counts = asked.counts | {
        "questions_of_the_split_without_judgement": len(set(questions) - set(judgements.questions)) or None,
        "without_positives": int((known == 0).sum()),
        "judged_passages_outside_the_corpus": judgements.outside,
    }
    right = f"{judgements.source}, grade {least} or more"
    return asked.scores(right, counts, judgements.digest, known, right_N, values)


@dataclass(frozen=True)
class _Asked:
    """The run in the order of the questions that count, and what was counted on the way."""

    rules: Rules
    ranking: Ranking
    answered_Q: NDArray[np.bool_]
    trained_Q: NDArray[np.bool_]
    counts: dict[str, int | None]
    first: dict[str, list[str]]
    ties: str
    self_hits: str

    @classmethod
    def of(
        cls,
        ranking: Ranking,
        questions: Sequence[str],
        passages: Named,
        rules: Rules,
        cut: int,
        trained: Iterable[tuple[str, str]],
    ) -> _Asked:
        reach, dropped, self_hits = ranking.depth if rules.depth is None else rules.depth, 0, "kept"
        if ranking.depth > reach:
            what = f"a list of the run has {ranking.depth:,} passages, the search is said to keep {reach:,}"
            raise DataError(what, key="depth", fix="check which search made the run")
        if rules.self_hits == "drop":
            ranking, dropped = ranking.without_self(passages)
            self_hits = f"dropped: {dropped:,} passages that bear the id of their question"
        reach -= dropped > 0
        if reach < min(cut, len(passages)):  # a cut beyond the depth of the search would measure the depth
            what = f"a measure looks at {cut:,} passages, the run keeps {reach:,}"
            raise DataError(what, key="measures", fix="search deeper, or measure at a smaller cut")
        has = set(ranking.questions)
        missing = [identifier for identifier in questions if identifier not in has]
        extra = sorted(has - set(questions))
        if len(missing) == len(questions):
            what = f"the run has none of the {len(questions):,} questions that count"
            raise DataError(what, where=rules.run, key=rules.split, fix="the run is of another split")
        ours = {identifier for _, identifier in trained} & set(questions)
        if ours and rules.overlap == "refuse":
            few = ", ".join(sorted(ours)[:_NAMED])
            what = f"{len(ours):,} of {len(questions):,} questions are also trained on, first: {few}"
            fix = "drop them from training (data.overlap: drop), or allow it and show it in the row"
            raise DataError(what, key="data.overlap", fix=fix)
        return cls(
            rules,
            ranking.aligned(questions),
            np.array([identifier in has for identifier in questions], dtype=np.bool_),
            np.array([identifier in ours for identifier in questions], dtype=np.bool_),
            {
                "answered": len(questions) - len(missing),
                "missing_in_the_run_count_0": len(missing),
                "in_the_run_but_not_counted": len(extra),
                "also_trained_on": len(ours) if ours else None,
            },
            {"missing_in_the_run_count_0": missing[:_NAMED], "in_the_run_but_not_counted": extra[:_NAMED]},
            f"score down, passage {'id' if isinstance(passages, Names) else 'row'} up",
            self_hits,
        )

    def scores(
        self,
        right: str,
        counts: dict[str, int | None],
        judged_by: str,
        known_Q: NDArray[np.int64],
        right_N: NDArray[np.bool_],
        values: dict[str, NDArray[np.float64]],
    ) -> Scores:
        """`right` says in words which passages are right, `right_N` for each ranked passage whether it is."""
        ranking, rules = self.ranking, self.rules
        about = {
            "run": rules.run, "split": rules.split, "right": right, "ties": self.ties, "self_hits": self.self_hits,
            "counts": {"questions": len(ranking), **counts}, "first": self.first, "judged_by": judged_by,
            "receipt": dict(rules.receipt),
        }  # fmt: skip
        ranks: list[list[int]] = [[] for _ in ranking.questions]
        for question, rank in zip(ranking.owner_N[right_N].tolist(), ranking.rank_N[right_N].tolist(), strict=True):
            ranks[question].append(rank)
        first_Q, lists = _matching.first_right(ranking, right_N), tuple(map(tuple, ranks))
        return Scores(about, ranking.questions, self.answered_Q, self.trained_Q, known_Q, first_Q, lists, values)
