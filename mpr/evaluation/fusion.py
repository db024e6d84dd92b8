"""One ranking of several: a weighted sum of scores, or a sum of reciprocal ranks.

Weighted sum. DPR's hybrid ranks the union of what BM25 and the dense retriever found (2000 each) by
BM25(q, p) + 1.1 sim(q, p) (Karpukhin et al. 2020, section 5). A passage that one of them did not find has no score
there; the paper does not say what is put in its place. `missing` says it here: `minimum` is the lowest score of that
list for the question, as Pyserini does it (pyserini/search/hybrid/_searcher.py); `zero` is 0, as in CombSUM (Fox and
Shaw 1994). Scores are added as they are, without normalisation.

Reciprocal rank. score(p) = sum over lists of weight / (60 + rank of p), ranks from 1; a list without p adds nothing
(Cormack, Clarke and Buettcher, SIGIR 2009, with their constant 60).

Sums are taken in 64 bits, list by list as given, and rounded once to 32 bits. Equal scores are ordered by row.

`fuse` does it for every question of several rankings; `fuse_files` for run files, whose questions it counts;
`commit` keeps the result as `run.trec` with a receipt.

Shapes: K passages of one list, U passages in the union.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mpr import __version__, storage
from mpr.data.dataset import Dataset
from mpr.errors import DataError, MprError, NumbersError, RecipeError
from mpr.evaluation.ranking import Named, Ranking
from mpr.formats import trec

KIND = "fusion"
RUN_FILE = "run.trec"
DPR_WEIGHTS = (1.0, 1.1)  # BM25, dense
RANK_CONSTANT = 60.0
_NAMED = 5  # ids that are shown of what is only counted otherwise


@dataclass(frozen=True, eq=False)
class Ranked:
    """What one retriever found for one question, the best first; it may be empty."""

    rows_K: NDArray[np.int64]
    scores_K: NDArray[np.float32] | NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.rows_K.shape != self.scores_K.shape or self.rows_K.ndim != 1:
            raise DataError("rows and scores differ in number", key="fusion", fix="give one score for each passage")
        if not np.isfinite(self.scores_K).all():
            raise DataError("a score is not finite", key="fusion", fix="mend the run")
        if len(np.unique(self.rows_K)) != len(self.rows_K):
            raise DataError("a passage is ranked twice", key="fusion", fix="mend the run")
        if not np.array_equal(np.lexsort((self.rows_K, -self.scores_K)), np.arange(len(self.rows_K))):
            what = "a list is not in the canonical order (score down, passage row up)"
            raise DataError(what, key="fusion", fix="sort it; where scores are equal the order of a run means nothing")


@dataclass(frozen=True)
class Rule:
    """How the lists of a question become one, as a command line says it."""

    name: Literal["weighted_sum", "reciprocal_rank"]
    weights: tuple[float, ...]
    option: dict[str, Any]
    """The other argument of the function of that name."""

    @classmethod
    def of(cls, count: int, weights: str | None, missing: str | None, reciprocal: bool, constant: float | None) -> Rule:
        if count < 2:
            raise RecipeError("one run cannot be fused", key="RUN", fix="name two or more run files")
        try:
            numbers = (1.0,) * count if weights is None else tuple(map(float, weights.split(",")))
        except ValueError:
            raise RecipeError(f"'{weights}' is no list of numbers", key="--weights", fix="such as 1,1.1") from None
        if len(numbers) != count:
            what = f"{len(numbers)} weights for {count} runs"
            raise RecipeError(what, key="--weights", fix="give one for each run, in their order")
        if reciprocal:
            if missing is not None:
                what = "a list without a passage adds nothing to a sum of reciprocal ranks"
                raise RecipeError(what, key="--missing", fix="leave it out, or leave --reciprocal out")
            return cls("reciprocal_rank", numbers, {"constant": RANK_CONSTANT if constant is None else constant})
        if weights is None:
            fix = "give --weights, such as 1,1.1 for BM25 and dense, or --reciprocal"
            raise RecipeError("how is not said", key="--weights", fix=fix)
        if constant is not None:
            raise RecipeError("a sum of scores has no constant", key="--constant", fix="leave it out, or --reciprocal")
        if missing not in ("minimum", "zero"):
            what = "what is the score of a passage in a list without it?" if missing is None else f"no rule '{missing}'"
            fix = "minimum: the lowest of that list, as Pyserini; zero: nothing, as CombSUM"
            raise RecipeError(what, key="--missing", fix=fix)
        return cls("weighted_sum", numbers, {"missing": missing})

    def combining(self, depth: int) -> Callable[[Sequence[Ranked]], Ranked]:
        """The function that makes one list of a question's lists."""
        if self.name == "weighted_sum":
            return partial(weighted_sum, weights=self.weights, k=depth, **self.option)
        return partial(reciprocal_rank, weights=self.weights, k=depth, **self.option)

    def __str__(self) -> str:
        return " ".join([f"{self.name.replace('_', ' ')},", *(f"{key} {value}" for key, value in self.option.items())])


@dataclass(frozen=True)
class RunFile:
    """A run file, its lists in the order of the split's questions."""

    path: Path
    sha256: str
    ranking: Ranking
    answered: frozenset[str]
    """Questions of the split for which the run has a passage."""
    others: tuple[str, ...]
    """Questions of the file that the split does not have."""

    @classmethod
    def read(cls, path: Path, dataset: Dataset, role: str) -> RunFile:
        """What is wrong with the file names it."""
        asked = dataset.split(role).ids
        try:
            sha256, found = storage.sha256_file(path), Ranking.read(path, dataset.corpus())
        except MprError as error:
            named = [replace(problem, where=problem.where or str(path)) for problem in error.problems]
            raise type(error)(named) from error
        others = tuple(sorted(set(found.questions) - set(asked)))
        if len(others) == len(found):
            what = f"no question of the run is in '{role}', first: {', '.join(others[:_NAMED])}"
            raise DataError(what, where=str(path), fix="name the split that it is of with --split")
        own = found.aligned(asked)
        answered = frozenset(one for place, one in enumerate(own.questions) if len(own.row(place)))
        return cls(path, sha256, own, answered, others)


def fuse_files(
    paths: Sequence[Path], dataset: Dataset, role: str, rule: Rule, depth: int, target: Path, say: Callable[[str], None]
) -> Ranking:
    """Commits the fusion of these run files of one split; `say` gets what was read and which questions it covers."""
    runs = [RunFile.read(path, dataset, role) for path in paths]
    deepest = max(run.ranking.depth for run in runs)
    for run, weight in zip(runs, rule.weights, strict=True):
        own = run.ranking.depth
        shallow = f"; shallower than {deepest:,}: what it did not keep counts as not found" if own < deepest else ""
        say(f"{run.path}: weight {weight:g}, {len(run.answered):,} questions, up to {own:,} passages{shallow}")
    asked = runs[0].ranking.questions
    having = {question: sum(question in run.answered for run in runs) for question in asked}
    groups = {
        "in_every_run": [one for one in asked if having[one] == len(runs)],
        "in_some_runs_only": [one for one in asked if 0 < having[one] < len(runs)],
        "in_no_run": [one for one in asked if not having[one]],
        "of_no_question_of_the_split_and_left_out": sorted({question for run in runs for question in run.others}),
    }
    say(f"questions of {role}:")
    for name, ids in groups.items():
        first = f" (first: {', '.join(ids[:_NAMED])})" if ids and name != "in_every_run" else ""
        say(f"  {len(ids):>10,} {name.replace('_', ' ')}{first}")
    receipt = {
        "runs": [
            {
                "weight": weight,
                "file": run.path.name,
                "sha256": run.sha256,
                "questions": len(run.answered),
                "depth": run.ranking.depth,
            }
            for run, weight in zip(runs, rule.weights, strict=True)
        ],
        "rule": {"name": rule.name, **rule.option},
        "depth": depth,
        "split": {"name": dataset.splits.names[role], "digest": dataset.split(role).manifest.digest},
        "passages": dataset.corpus().manifest.digest,
        "questions": {name: len(ids) for name, ids in groups.items()},
        "mpr": __version__,
    }
    fused = fuse([run.ranking for run in runs], rule.combining(depth))
    commit(target, fused, dataset.corpus(), receipt)
    return fused


def weighted_sum(
    lists: Sequence[Ranked], weights: Sequence[float], k: int, *, missing: Literal["minimum", "zero"]
) -> Ranked:
    """The k best of the union (all, if there are fewer) by the weighted sum of their scores."""
    _refuse(lists, weights, k)
    if missing not in ("minimum", "zero"):
        raise RecipeError(f"'{missing}' is no score for a missing passage", key="missing", fix="minimum or zero")
    union_U = _union(lists)
    total_U = np.zeros(len(union_U), dtype=np.float64)
    for ranked, weight in zip(lists, weights, strict=True):
        lowest = float(ranked.scores_K.min()) if missing == "minimum" and len(ranked.scores_K) else 0.0
        total_U += weight * _spread(union_U, ranked.rows_K, ranked.scores_K.astype(np.float64), lowest)
    return _first(union_U, total_U, k)


def reciprocal_rank(
    lists: Sequence[Ranked], k: int, *, weights: Sequence[float] | None = None, constant: float = RANK_CONSTANT
) -> Ranked:
    """The k best of the union (all, if there are fewer) by the sum of reciprocal ranks."""
    weights = [1.0] * len(lists) if weights is None else weights
    _refuse(lists, weights, k)
    if not (math.isfinite(constant) and constant >= 0):
        raise RecipeError(f"the constant is {constant}", key="constant", fix="a number of at least 0, usually 60")
    union_U = _union(lists)
    total_U = np.zeros(len(union_U), dtype=np.float64)
    for ranked, weight in zip(lists, weights, strict=True):
        parts_K = weight / (constant + 1.0 + np.arange(len(ranked.rows_K), dtype=np.float64))
        total_U += _spread(union_U, ranked.rows_K, parts_K, 0.0)
    return _first(union_U, total_U, k)


def fuse(runs: Sequence[Ranking], combine: Callable[[Sequence[Ranked]], Ranked]) -> Ranking:
    """One run of several over the same questions in the same order (`Ranking.aligned`), where lists may be empty.

    `combine` makes one list of a question's lists: `weighted_sum` or `reciprocal_rank` with its arguments.
    """
    questions = runs[0].questions
    if any(run.questions != questions for run in runs):
        raise DataError("the runs have other questions, or another order of them", key="fusion", fix="align them first")
    found = [combine([_listed(run, number) for run in runs]) for number in range(len(questions))]
    offsets = np.concatenate([[0], np.cumsum([len(ranked.rows_K) for ranked in found])]).astype(np.int64)
    nothing = Ranked(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float64))
    passage_N = np.concatenate([ranked.rows_K for ranked in (nothing, *found)])
    score_N = np.concatenate([ranked.scores_K.astype(np.float64) for ranked in (nothing, *found)])
    return Ranking(questions, offsets, passage_N, score_N)


def _listed(run: Ranking, question: int) -> Ranked:
    own = slice(int(run.offsets[question]), int(run.offsets[question + 1]))
    return Ranked(run.passage_N[own], run.score_N[own])


def commit(target: Path, ranking: Ranking, passages: Named, receipt: Mapping[str, Any]) -> None:
    """Writes the folder `target` with a run file that any tool reads; `receipt` says of what it was made and how."""
    with storage.stage(target, KIND, receipt) as stage, stage.open(RUN_FILE) as file:
        trec.write_hits(file, ranking.hits(passages.ids, KIND))


def _refuse(lists: Sequence[Ranked], weights: Sequence[float], k: int) -> None:
    if not lists or len(weights) != len(lists) or not all(math.isfinite(weight) for weight in weights):
        what = f"{len(lists)} lists and weights {list(weights)}"
        raise RecipeError(what, key="weights", fix="give one finite weight for each of one or more lists")
    if k < 1:
        raise RecipeError(f"cannot keep the {k} best", key="search.depth", fix="keep at least 1")


def _union(lists: Sequence[Ranked]) -> NDArray[np.int64]:
    return np.unique(np.concatenate([ranked.rows_K for ranked in lists])).astype(np.int64)


def _spread(
    union_U: NDArray[np.int64], rows_K: NDArray[np.int64], values_K: NDArray[np.float64], otherwise: float
) -> NDArray[np.float64]:
    values_U = np.full(len(union_U), otherwise)
    values_U[np.searchsorted(union_U, rows_K)] = values_K
    return values_U


def _first(union_U: NDArray[np.int64], total_U: NDArray[np.float64], k: int) -> Ranked:
    with np.errstate(over="ignore"):  # what does not fit is refused in the next line
        scores_U = total_U.astype(np.float32) + np.float32(0.0)
    if not np.isfinite(scores_U).all():
        raise NumbersError("a fused score does not fit 32 bits", key="fusion", fix="scale the scores of the runs down")
    order_K = np.lexsort((union_U, -scores_U))[:k]
    return Ranked(union_U[order_K], scores_U[order_K])
