"""Supervision: the labels that a distant-supervision pipeline would come up with, made like DPR's training files.

Positives are one gold passage and whatever contains an answer among the best lexical matches; hard negatives are the
best matches without an answer. What is right among the positives only the truth of the world knows.
"""

from __future__ import annotations

from collections.abc import Iterator

from mpr.corpora._world.dice import Dice
from mpr.corpora._world.questions import Asked
from mpr.corpora._world.world import World
from mpr.records import Candidate, Group, Positive

DEPTH = 100  # lexical matches looked at
MOST_POSITIVES, MOST_NEGATIVES = 30, 20


def distant_groups(world: World, split: str, seed: int, wrong_positives: float = 0.0) -> Iterator[Group]:
    """Labels by answer match. `wrong_positives` is the share of positives that are exchanged at random."""
    for asked in world.asked[split]:
        matching = {world.passages[row].id for row in world.lexical.containing(asked.question.answers)}
        ranked = _ranked(world, asked)
        gold = gold_of(world, asked, seed)
        found = [passage for passage, _ in ranked if passage in matching and passage != gold]
        positives = [Positive(gold, "gold", 3.0)]
        positives += [Positive(passage, "answer_match") for passage in found[: MOST_POSITIVES - 1]]
        candidates = _candidates(ranked, matching)
        if wrong_positives:
            positives = _spoiled(world, asked, positives, candidates, wrong_positives, seed)
        yield Group(asked.question, tuple(positives), candidates)


def true_groups(world: World, split: str, seed: int) -> Iterator[Group]:
    """Labels by truth: the gold passage, then every other support, best grade first. Candidates as above."""
    for asked in world.asked[split]:
        matching = {world.passages[row].id for row in world.lexical.containing(asked.question.answers)}
        grades = world.support(asked)
        gold = gold_of(world, asked, seed)
        order = sorted(grades, key=lambda passage: (passage != gold, -grades[passage], passage))
        positives = tuple(Positive(passage, "gold", float(grades[passage])) for passage in order)
        yield Group(asked.question, positives, _candidates(_ranked(world, asked), matching))


def _ranked(world: World, asked: Asked) -> list[tuple[str, int]]:
    return [(world.passages[row].id, score) for row, score in world.lexical.best(asked.question.text, DEPTH)]


def _candidates(ranked: list[tuple[str, int]], matching: set[str]) -> tuple[Candidate, ...]:
    missed = [pair for pair in ranked if pair[0] not in matching][:MOST_NEGATIVES]
    return tuple(
        Candidate(passage, "bm25", rank, float(score)) for rank, (passage, score) in enumerate(missed, start=1)
    )


def gold_of(world: World, asked: Asked, seed: int) -> str:
    """The passage an annotator would have marked: one of grade 3."""
    full = [passage for passage, grade in world.support(asked).items() if grade == 3]
    return Dice(seed, "gold", asked.fact.index).pick(full)


def _spoiled(
    world: World,
    asked: Asked,
    positives: list[Positive],
    candidates: tuple[Candidate, ...],
    share: float,
    seed: int,
) -> list[Positive]:
    """Each positive keeps its tier and, with probability `share`, gets a passage that does not support the answer.

    What is wrong at one share is wrong, with the same passage, at every larger share.
    """
    used = {positive.passage for positive in positives} | {candidate.passage for candidate in candidates}
    used |= set(world.support(asked))
    spoiled = []
    for place, positive in enumerate(positives):
        dice = Dice(seed, "wrong positive", asked.fact.index, place)
        wrong = dice.chance(share)
        start, size = dice.below(len(world.passages)), len(world.passages)
        walk = (world.passages[(start + step) % size].id for step in range(size))
        passage = next(passage for passage in walk if passage not in used)
        used.add(passage)
        spoiled.append(Positive(passage, positive.tier, positive.grade) if wrong else positive)
    return spoiled
