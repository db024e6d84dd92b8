"""The table of published encoders on the leaderboard: rows that train nothing, a line for each of their evaluations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mpr.publishing import _board_verdicts
from mpr.publishing._board import BoardRow, Entry
from mpr.rows import published
from mpr.runtime import markdown

TITLE = "Published checkpoints, scored by this kit"
_INTRODUCTION = """\
Nothing is trained in these rows. The encoders, and the values in the column "published", are other people's; data,
encoding, search and scores are this kit's. So a row tests the whole chain.
[docs/checkpoints.md](../docs/checkpoints.md) says which part each published value tests.

`exact`: the published value, to a hundredth of a percent. `within`: no further from it than the recipe's tolerance.
`off`: further. `unknown`: no published value is known to us."""
_HEAD = ("recipe", "question encoder", "passage encoder", "measured on", "measures", "published", "ours", "BM25")
_TAIL = ("verdict", "tolerance", "hardware", "time", "memory", "commit", "receipts")
_UNKNOWN, _DASH = "unknown", "-"


def lines(
    rows: Sequence[BoardRow],
    costs: Callable[[Sequence[Entry]], Iterator[str]],
    receipts: Callable[[Sequence[Entry]], str],
) -> Iterator[str]:
    """The section; `costs` and `receipts` make cells as the other tables have them."""
    if not rows:
        return
    yield f"\n## {TITLE}\n"
    yield f"{_INTRODUCTION}\n"
    sources = list(dict.fromkeys(row.recipe.published.source for row in rows if row.recipe.published.source))
    cells = []
    for row in rows:
        for role in row.recipe.data.evaluate:
            entries = _board_verdicts.shown(row)
            end = (*costs(entries), receipts((*entries, *row.of("bm25"), *row.again)))
            cells.append((*_about(row, role), *_numbers(row, role, sources, entries), *end))
    yield markdown.table((*_HEAD, *_TAIL), cells)
    if sources:
        yield "\n" + "  \n".join(f"[{number}] {markdown.cell(source)}" for number, source in enumerate(sources, 1))


def _about(row: BoardRow, role: str) -> Iterator[str]:
    towers, recipe = row.recipe.towers, row.recipe
    corpus = recipe.data.corpus.model_dump(mode="json")
    which = corpus.get("dataset") or (Path(corpus["folder"]).name if corpus["name"] == "local" else "")
    yield f"[{row.name}](../{row.path})"
    yield recipe.start or str(towers.base)
    yield recipe.start or towers.passage_base or str(towers.base)
    yield f"{' '.join(filter(None, (corpus['name'], which)))}, {recipe.data.evaluate[role]}"
    yield " / ".join(recipe.evaluation.measures)


def _numbers(row: BoardRow, role: str, sources: Sequence[str], entries: Sequence[Entry]) -> Iterator[str]:
    recipe, measures = row.recipe, row.recipe.evaluation.measures
    known = published.values(recipe, role)
    values = " / ".join(f"{known[name]:.2f}" if name in known else _UNKNOWN for name in measures)
    quoted = f" [{sources.index(recipe.published.source) + 1}]" if known and recipe.published.source else ""
    yield (values if known else _UNKNOWN) + quoted
    for found in (entries, row.of("bm25")):
        means = [entry.means(role) for entry in found if role in entry.result.document["scores"]]
        yield " / ".join(_percent(means[0].get(name)) for name in measures) if means else _DASH
    yield _verdict(row, role)
    tolerance = recipe.published.tolerance
    yield _DASH if tolerance is None else f"± {tolerance:g}"


def _percent(value: float | None) -> str:
    return _DASH if value is None else f"{100 * value:.2f}"


def _verdict(row: BoardRow, role: str) -> str:
    """By measure where they differ; then what may be claimed."""
    found = row.of("published")
    if not found:
        draft = " (draft: inputs that nobody has pinned)" if row.recipe.draft else ""
        return _board_verdicts.verdict(row) + draft
    verdicts = published.verdicts(row.recipe, role, found[0].means(role))
    words = list(dict.fromkeys(verdicts.values()))
    said = words[0] if len(words) == 1 else ", ".join(f"{name} {word}" for name, word in verdicts.items())
    return f"{said}; {_board_verdicts.word(row)}"
