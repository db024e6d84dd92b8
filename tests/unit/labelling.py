"""Ground for labels: questions with candidates and scores from a few words, a file of scores, and one label at work."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mpr import catalogue, sources
from mpr.data.pair_labels import Knowledge
from mpr.data.positives import GREY, PositiveIndex
from mpr.formats import scored_pairs
from mpr.records import TIERS, PairScore, Passage
from mpr.storage.ragged import Ragged
from tests.unit.draws import Listed, ragged
from tests.unit.grounds import asked, ground

Lists = Sequence[Sequence[int]]
COUNTING = ("gold", "cross_encoder")


def stand(folder: Path, questions: int, passages: int, texts: Sequence[str] = ()) -> sources.Ground:
    """Questions q0, q1, ... and passages p0, p1, ...; questions ask for `question q0` and so on."""
    listed = [Passage(f"p{row}", texts[row] if texts else f"text {row}") for row in range(passages)]
    return ground(folder, listed, [asked(f"q{row}") for row in range(questions)])


def knowing(known: Sequence[Listed], **candidates: Lists) -> Knowledge:
    """Positives with their tiers, and the candidates of each source in rank order."""
    return Knowledge(PositiveIndex.of(known), {name: ragged(rows) for name, rows in candidates.items()}, COUNTING)


def scores_file(folder: Path, scores: Mapping[tuple[int, int], float], name: str = "scores.tsv") -> dict[str, Any]:
    """The key `scores` of a label for a file with these scores of (question, passage)."""
    with (folder / name).open("wb") as file:
        pairs = (PairScore(f"q{question}", f"p{passage}", value) for (question, passage), value in scores.items())
        scored_pairs.write_scores(file, pairs)
    return {"file": name, "format": "tsv"}


def label(name: str, known: Knowledge, ground: sources.Ground, **params: Any) -> Knowledge:
    """What a label makes of it, its keys checked as a recipe's are."""
    found: Any = catalogue.find("labels", name)
    made: Knowledge = found.applied(found.Params(**params), known, ground)
    return made


def listed(table: Ragged, column: str = "passage") -> list[list[Any]]:
    return [table.row(row, column).tolist() for row in range(len(table))]


def tiers(known: Knowledge) -> list[list[tuple[int, str]]]:
    """Everything that is known of each question, grey by that name."""
    rows = known.positives.rows
    names = {GREY: "grey", **dict(enumerate(TIERS))}
    return [
        [(passage, names[tier]) for passage, tier in zip(*pair, strict=True)]
        for pair in zip(listed(rows), listed(rows, "tier"), strict=True)
    ]


def content(known: Knowledge) -> Any:
    """All of it, comparable with ==."""
    tables = {name: {c: listed(table, c) for c in sorted(table.columns)} for name, table in known.candidates.items()}
    scores = {name: (each.keys.tolist(), each.values.tolist()) for name, each in known.scores.items()}
    return str((tables, tiers(known), listed(known.positives.rows, "grade"), scores, dict(known.counts)))


def random_world(
    folder: Path, seed: int, questions: int = 12, passages: int = 60
) -> tuple[sources.Ground, Knowledge, dict[tuple[int, int], float]]:
    """Positives of several tiers (some questions have none), one source of up to thirty candidates, and a score between
    0 and 1 of every pair, a few of which are equal."""
    dice = random.Random(seed)
    folder.mkdir(exist_ok=True)
    known: list[list[tuple[int, str]]] = []
    candidates: list[list[int]] = []
    for _ in range(questions):
        some = dice.sample(range(passages), dice.randrange(4))
        known.append([(passage, dice.choice(("gold", "llm"))) for passage in some])
        rest = [passage for passage in range(passages) if passage not in some]
        candidates.append(dice.sample(rest, dice.randrange(31)))
    scores = {
        (question, passage): round(dice.random(), 2) for question in range(questions) for passage in range(passages)
    }
    return stand(folder, questions, passages), knowing(known, a=candidates), scores
