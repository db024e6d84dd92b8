"""The figures of an invented world that docs/invented_world.md quotes: size, positives, noise, lexical difficulty.

    python benchmarks/world_portrait.py

Prints them for the default world, as Markdown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean, median

from mpr.corpora._world.questions import Asked
from mpr.corpora._world.supervision import DEPTH, distant_groups
from mpr.corpora._world.world import SPLITS, World
from mpr.corpora.invented_world import Collection, Params
from mpr.runtime import markdown

CUTS = (1, 5, 20, 100)
_SHOWN = 7  # columns of the histogram


def portrait(world: World, seed: int) -> str:
    """Size, positives, noise and lexical difficulty as markdown."""
    asked = [one for split in SPLITS for one in world.asked[split]]
    return "\n".join([*_size(world), "", _positives(world, asked), "", *_noise(world, seed), "", _difficulty(world)])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return markdown.table(head, rows, [" --- ", *[" --: "] * (len(head) - 1)])


def _size(world: World) -> list[str]:
    words = sorted(len(passage.text.split()) for passage in world.passages)
    exact = sum(copy.exact for copy in world.copies.values())
    titles = len({passage.title for passage in world.passages})
    clusters = len(set(world.topics.values()))
    return [
        f"* {len(world.passages):,} passages of {words[0]} to {words[-1]} words (half have {words[len(words) // 2]} or "
        f"more) in {titles:,} articles and {clusters} clusters;",
        f"* {len(world.supported):,} facts; {', '.join(f'{len(world.asked[split]):,} {split}' for split in SPLITS)} "
        f"questions, {sum(one.unseen for one in world.asked['test'])} of the test ones about unseen things;",
        f"* {len(world.copies)} copies, {exact} of them word for word.",
    ]


def _positives(world: World, asked: Sequence[Asked]) -> str:
    counts = [len(world.support(one)) for one in asked]
    head = ["true positives of a question", *(str(n) for n in range(1, _SHOWN)), f"{_SHOWN} or more"]
    exactly = [sum(count == n for count in counts) for n in range(1, _SHOWN)]
    exactly.append(sum(count >= _SHOWN for count in counts))
    reach = [sum(count >= n for count in counts) / len(counts) for n in range(1, _SHOWN + 1)]
    rows = [["questions", *(f"{n:,}" for n in exactly)], ["share with at least", *(f"{part:.3f}" for part in reach)]]
    return _table(head, rows)


def _noise(world: World, seed: int) -> list[str]:
    right: dict[int, list[bool]] = {}
    for asked, group in zip(world.asked["train"], distant_groups(world, "train", seed), strict=True):
        for place, positive in enumerate(group.positives, start=1):
            right.setdefault(place, []).append(positive.passage in world.support(asked))
    distant = [one for place, ones in right.items() if place > 1 for one in ones]
    head = ["positives of the training groups", "1st (gold)", "2nd", "3rd", "4th", "5th", "all after the 1st"]
    places = [right[place] for place in range(1, 6)]
    rows = [
        ["questions that have it", *(f"{len(ones) / len(right[1]):.3f}" for ones in places), ""],
        ["of these, true", *(f"{fmean(ones):.3f}" for ones in places), f"{fmean(distant):.3f}"],
    ]
    only = [len(world.only_the_words(one)) for split in SPLITS for one in world.asked[split]]
    note = f"Passages that contain an answer without supporting it: {median(only):.0f} a question (median), "
    return [_table(head, rows), "", f"{note}{fmean(only):.1f} (mean)."]


def _difficulty(world: World) -> str:
    parts: dict[str, Callable[[Asked], bool]] = {
        "test": lambda one: True,
        "test, unseen half": lambda one: one.unseen,
        "test, other half": lambda one: not one.unseen,
    }
    ranks = {id(one): _first_ranks(world, one) for one in world.asked["test"]}
    rows = []
    for name, belongs in parts.items():
        for number, what in enumerate(("answer", "support")):
            chosen = [ranks[id(one)][number] for one in world.asked["test"] if belongs(one)]
            rows.append([f"{name}: {what}", *(f"{fmean(rank <= cut for rank in chosen):.3f}" for cut in CUTS)])
    return _table(["lexical ranking finds", *(f"top-{cut}" for cut in CUTS)], rows)


def _first_ranks(world: World, asked: Asked) -> tuple[int, int]:
    """Rank of the first passage with an answer, and of the first that supports it; DEPTH + 1 if there is none."""
    ranked = [row for row, _ in world.lexical.best(asked.question.text, DEPTH)]
    matching = set(world.lexical.containing(asked.question.answers))
    support = world.support(asked)
    by_answer = (rank for rank, row in enumerate(ranked, start=1) if row in matching)
    by_truth = (rank for rank, row in enumerate(ranked, start=1) if world.passages[row].id in support)
    return next(by_answer, DEPTH + 1), next(by_truth, DEPTH + 1)


if __name__ == "__main__":
    print(portrait(Collection(Params()).world, Params().seed))
