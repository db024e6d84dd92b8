"""Tables of the leaderboard: the rows that are measured on the same thing, and a recipe in the words of a table.

The baseline of a table is its row of NLL with one positive; of several, the one with the shortest name, a training
system last. Rows that train in stages have a table of their own, whose baseline is the shortest named of NLL; so have
rows of ours that begin with a pretrained encoder, which may have seen what is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpr.publishing._board import Board, BoardRow
from mpr.recipe import model_names, schedule
from mpr.recipe.keys import Recipe

PAPERS, OURS, INVENTED = "The papers' rows", "Measured track", "Invented world"
TRACKS = (PAPERS, OURS, INVENTED)
SETS = ("NQ", "TriviaQA", "WQ", "TREC", "SQuAD", "MS MARCO")  # the order in which the papers have them
MAIN = ("top20", "ndcg10", "mrr10")
SECOND = ("top100", "recall100", "recall20", "recall1000", "success20", "top5", "ndcg10")
_NOT_THE_TASK = ("folder", "candidates", "wrong_positives")  # keys of a corpus that change no question and no passage


@dataclass(frozen=True)
class Table:
    """Rows that are measured on the same thing."""

    track: str
    title: str
    rows: tuple[BoardRow, ...]
    measures: tuple[str, ...]
    """Those that are shown; the first decides."""

    @property
    def baseline(self) -> BoardRow | None:
        plain = [row for row in self.rows if is_plain(row.recipe)]
        plain = plain or [row for row in self.rows if row.recipe.plan and _is_nll(row.recipe)]
        return min(plain, key=_shortest) if plain else None


def _shortest(row: BoardRow) -> tuple[bool, int, str]:
    return not row.name.endswith("_m1"), len(row.name), row.name


def _is_nll(recipe: Recipe) -> bool:
    return [term.name for term in recipe.objective] == ["nll"]


def is_plain(recipe: Recipe) -> bool:
    """NLL over one positive, always the first: what every table starts from."""
    positives = recipe.draw.positives
    one = positives.policy == "first" or (positives.policy == "up_to" and positives.m == 1)
    return one and positives.beyond != "rotate" and _is_nll(recipe)


def tables(board: Board) -> tuple[Table, ...]:
    """Every row that trains something is in exactly one."""
    found: dict[tuple[str, str], list[BoardRow]] = {}
    for row in board.rows:
        if not row.recipe.trains:
            continue
        found.setdefault((_track(row.recipe), _title(row.recipe)), []).append(row)
    made = [Table(track, title, tuple(rows), _measures(rows)) for (track, title), rows in found.items()]
    return tuple(sorted(made, key=_place))


def _place(table: Table) -> tuple[int, int, str]:
    known = SETS.index(table.title) if table.title in SETS else len(SETS)
    return TRACKS.index(table.track), known, table.title


def _track(recipe: Recipe) -> str:
    if recipe.data.corpus.name == "invented_world":
        return INVENTED
    return PAPERS if recipe.paper is not None else OURS


def _title(recipe: Recipe) -> str:
    """A paper's name of the set; otherwise the collection with the keys that make it another, and what is asked."""
    if recipe.paper is not None and recipe.data.corpus.name != "invented_world":
        return recipe.paper.dataset
    corpus = recipe.data.corpus
    set_keys = corpus.model_dump(mode="json", exclude_defaults=True, exclude={"name", *_NOT_THE_TASK})
    dials = [f"{key} {value}" for key, value in sorted(set_keys.items()) if not isinstance(value, dict | list)]
    if corpus.name == "local":  # known by its folder, and told apart by what is in it
        about = corpus.model_dump()
        pinned = (about.get("passages") or {}).get("sha256")
        dials = [Path(str(about.get("folder") or "")).name, f"passages {str(pinned)[:8] if pinned else 'not pinned'}"]
    name = corpus.name + (f" ({', '.join(dials)})" if dials else "")
    begin = ", pretrained" if any(map(_is_pretrained, recipe.stages)) else ""
    return f"{name}, {', '.join(recipe.data.evaluate.values())}{begin}{', in stages' if recipe.plan else ''}"


def _is_pretrained(recipe: Recipe) -> bool:
    return recipe.towers.base is not None or (recipe.start is not None and model_names.is_elsewhere(recipe.start))


def _measures(rows: Sequence[BoardRow]) -> tuple[str, ...]:
    """A deciding measure and a second one: those that most rows have."""
    having = Counter(measure for row in rows for measure in row.recipe.evaluation.measures)

    def first(wanted: Iterable[str]) -> str:
        offered = [measure for measure in wanted if measure in having]
        return max(offered or having, key=lambda measure: having[measure])

    main = first(MAIN)
    if len(having) == 1:
        return (main,)
    having.pop(main)
    return main, first(SECOND)


# Words for a recipe


def objective(recipe: Recipe) -> str:
    """The terms of the loss, with those parameters that are not the default and not only a scale."""
    return " + ".join(_term(term) for term in recipe.objective)


def _term(term: Any) -> str:
    given = term.model_dump(mode="json", by_alias=True, exclude={"name"}, exclude_defaults=True)
    divisor = term.divisor(1)
    words = [
        str(value) if isinstance(value, str) else name
        for name, value in given.items()
        if not isinstance(value, float) or term.model_copy(update={name: 2 * value}).divisor(1) == divisor
    ]
    return " ".join([term.name, *words]) + (f" τ {divisor:g}" if divisor != 1.0 else "")


def positives(recipe: Recipe) -> str:
    """m, and how they are drawn where that is not obvious."""
    drawn = recipe.draw.positives
    limit = "all" if drawn.cap is None else str(drawn.cap)
    words = {"first": "1", "random1": f"1 of {limit} in turn", "all": limit, "one_row_per_positive": "1 a row"}
    return words.get(drawn.policy) or f"{drawn.m}{' in turn' if drawn.beyond == 'rotate' else ''}"


def labels(recipe: Recipe) -> str:
    """What training is told: the split, the tiers of its positives, and the share that a dial replaces."""
    wrong = getattr(recipe.data.corpus, "wrong_positives", 0.0)
    return f"{recipe.data.train}, {' + '.join(recipe.tiers)}" + (f", {wrong:.0%} wrong" if wrong else "")


def batch(recipe: Recipe) -> str:
    questions, accumulation = schedule.questions_per_step(recipe), schedule.accumulation_steps(recipe) or 1
    return f"{questions}" + (f" × {accumulation} steps" if accumulation > 1 else "")


def encoder(recipe: Recipe) -> str:
    """The base model."""
    towers = recipe.towers
    lora = "" if towers.lora is None else f", LoRA {towers.lora.rank}"
    if towers.new is not None:
        return f"random weights, {towers.new.layers} × {towers.new.width}{lora}"
    return f"{towers.base}{lora}"
