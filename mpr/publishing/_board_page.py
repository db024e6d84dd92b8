"""leaderboard/README.md: every row of every table, measured or not. Nothing on it was written by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mpr.publishing import _board_checkpoints, _board_verdicts
from mpr.publishing._board import Board, BoardRow, Entry
from mpr.publishing._board_figures import Figure
from mpr.publishing._board_table import TRACKS, Table, batch, encoder, labels, objective, positives, tables
from mpr.publishing._board_verdicts import Number
from mpr.rows import band
from mpr.runtime import markdown

UNKNOWN, NONE, DASH = "unknown", "none", "-"
_MINUTE, _HOUR, _GIGA = 60.0, 3600.0, 1e9
_CHECK, _OWN_CHECK = (f"`mpr leaderboard build --check{where}`" for where in ("", " --board FOLDER"))
_AUTHORS, _OWNERS = "by the authors, from this repository.", "by whoever keeps this board; a draft has unpinned inputs."
_WORDS = """\
## How to read it

`measured`: by the authors, from this repository. `repeated`: by the authors on a second machine. `reproduced`: by
somebody else, with name, date and commit. Nothing else may be claimed.

| verdict | meaning |
|---|---|
| exact | somebody ran it again and got the very same value for every question |
| within | every run lies in the band that the recipe's `expected` gives for one more run |
| above, below | a run lies outside of the band; both are failures: it is not this recipe that was run |
| no band yet | measured with fewer than three seeds, or `mpr leaderboard expect` was not run |
| stale | measured with the recipe as it was before somebody changed it |
| failed | it was tried and gave no number; the reason stands beside it |
| unmeasured | nobody has run it |

Numbers are percent. Published ones are quoted from the source that is named and are never a target. Ours are the mean
over n seeds ± their standard deviation; a single seed has none. "Against the baseline" is the difference of the
deciding measure, the first one, with p of a paired randomisation test (sign flips over questions, seeds averaged),
corrected for the number of rows compared (Holm). Time is that of all stages of a run, data and mining included, and
memory the highest of any stage. A receipt holds the value of every question, the environment, the digests of all
inputs and outputs, and what each stage cost.

The base of a table called "pretrained" may have seen its questions or passages before: read it beside its untrained
row, which shows what it brought along."""


def text(board: Board, against: Mapping[str, Mapping[str, Any]], figures: Sequence[Figure]) -> str:
    """The whole page. `against`: row -> how it compares with the baseline of its table, as in the lock."""
    return "\n".join(_lines(board, against, figures)) + "\n"


def _lines(board: Board, against: Mapping[str, Mapping[str, Any]], figures: Sequence[Figure]) -> Iterator[str]:
    measured = sum(1 for row in board.rows if row.of(row.recipe.system))
    yield "# Leaderboard\n"
    yield f"{len(board.rows)} rows, {measured} of them measured. Written by `mpr leaderboard build` from `results/`;"
    yield f"{_OWN_CHECK if board.own else _CHECK} finds any number, recipe or receipt that was edited since."
    published = [row for row in board.rows if not row.recipe.trains]
    yield from _board_checkpoints.lines(published, _costs, _receipts)
    for track in TRACKS:
        own = [table for table in tables(board) if table.track == track]
        if own:
            yield f"\n## {track}"
        for table in own:
            yield from _table(table, against)
    yield "\n## Pictures\n"
    yield "Bars and shades are one standard deviation over seeds. Rows of one panel are equal in every key of their"
    yield "recipes but those of the axis and of the lines."
    for figure in figures:
        shown = f"![{figure.title}](figures/{figure.name}.svg)" if figure.panels else f"No data yet: {figure.needs}."
        yield f"\n### {figure.title}\n\n{shown}"
    yield f"\n{_WORDS.replace(_AUTHORS, _OWNERS) if board.own else _WORDS}"


def _table(table: Table, against: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    measures, published = " / ".join(table.measures), [row.recipe.published for row in table.rows]
    quoted = [one.source for one in published if one.source and any(one.values.get(name) for name in table.measures)]
    sources = list(dict.fromkeys(quoted))
    yield f"\n### {table.title}\n"
    head = ("recipe", "objective", "m", "labels", "batch", "base model", f"published {measures}", f"ours {measures}")
    tail = ("verdict", "against the baseline", "hardware", "time", "memory", "commit", "receipts", "checkpoint")
    rows = [_row(row, table, against.get(row.name), sources) for row in table.rows]
    yield markdown.table((*head, *tail), [*rows, *_references(table)])
    yield f"\n{_baseline(table, against)}"
    if sources:
        lines = (f"[{number}] {markdown.cell(source)}" for number, source in enumerate(sources, start=1))
        yield "\n" + "  \n".join(lines)
    more = list(table.rows[0].recipe.data.evaluate)
    if len(more) > 1:
        yield f"\nShown is `{more[0]}`; the receipts have {', '.join(more[1:])} as well."


def _row(row: BoardRow, table: Table, against: Mapping[str, Any] | None, sources: Sequence[str]) -> Iterator[str]:
    entries, checkpoint = _board_verdicts.shown(row), row.checkpoint
    yield f"[{row.name}](../{row.path})"
    yield objective(row.recipe)
    yield from (positives(row.recipe), labels(row.recipe), batch(row.recipe), encoder(row.recipe))
    yield _published(row, table, sources)
    yield _numbers(entries, row.role, table.measures)
    yield _verdict(row)
    yield "baseline" if row is table.baseline else against_cell(against)
    yield from _costs(entries)
    yield _receipts(entries + row.again)
    if checkpoint is not None:
        yield f"[{checkpoint['repo']}](https://huggingface.co/{checkpoint['repo']}/tree/{checkpoint['revision']})"
    else:
        yield NONE


def _verdict(row: BoardRow) -> str:
    found, word = _board_verdicts.verdict(row), _board_verdicts.word(row)
    is_draft = row.recipe.draft and (found == band.UNMEASURED or row.entries)
    draft = " (draft: inputs that nobody has pinned)" if is_draft else ""
    draft = " (inputs pinned by their maker)" if row.recipe.pinned_by_maker else draft
    old = len(row.stale) if row.of("trained") and row.stale else 0
    return found + draft + (f", {word}" if word else "") + (f", {old} stale receipts not counted" if old else "")


def _published(row: BoardRow, table: Table, sources: Sequence[str]) -> str:
    if row.recipe.paper is None:
        return f"{NONE}: a row of our own"
    values = [row.recipe.published.values.get(measure) for measure in table.measures]
    if all(value is None for value in values):
        return UNKNOWN
    source = row.recipe.published.source
    shown = " / ".join(UNKNOWN if value is None else f"{value:g}" for value in values)
    return f"{shown} [{sources.index(source) + 1}]" if source in sources else shown


def _numbers(entries: Iterable[Entry], role: str, measures: Sequence[str]) -> str:
    found = [_board_verdicts.number(entries, role, measure) for measure in measures]
    seeds = {number.seeds for number in found if number is not None}
    return " / ".join(map(number_cell, found)) + f", n = {max(seeds)}" if seeds else DASH


def number_cell(number: Number | None) -> str:
    """Mean and deviation, as every page of the kit has them."""
    if number is None:
        return DASH
    return f"{number.mean:.2f}" + ("" if number.deviation is None else f" ± {number.deviation:.2f}")


def against_cell(found: Mapping[str, Any] | None) -> str:
    """A difference to the baseline and its p."""
    if found is None:
        return DASH
    p = "< 0.0001" if found["p_holm"] < 0.0001 else f"{found['p_holm']:.2g}"
    return f"{100 * found['difference']:+.2f}, p {p}"


def _baseline(table: Table, against: Mapping[str, Mapping[str, Any]]) -> str:
    base = table.baseline
    if base is None:
        return "Baseline: none of these rows is NLL with one positive."
    found = [against[row.name] for row in table.rows if row.name in against]
    if not found:
        return f"Baseline: `{base.name}`, compared with no row yet."
    questions = ", ".join(f"{count:,}" for count in sorted({one["questions"] for one in found}))
    corrected = f"{found[0]['compared']} rows" if found[0]["compared"] > 1 else "one row"
    return f"Baseline: `{base.name}`. {table.measures[0]} over {questions} questions, p corrected for {corrected}."


# What stands beside the trained rows


def _references(table: Table) -> Iterator[Iterable[str]]:
    """BM25 once for each collection it was run on, the untrained model once for each encoder."""
    for label, system in (("BM25", "bm25"), ("untrained", "untrained")):
        found: dict[tuple[str, ...], list[Entry]] = {}
        for row in table.rows:
            name = encoder(row.recipe) if system == "untrained" else DASH
            for entry in row.of(system):
                scores = entry.scores(row.role)
                found.setdefault((name, row.role, scores["questions"], scores["right"]), []).append(entry)
        for (name, role, *_), entries in found.items():
            # runs that gave the same values count once
            values = {(entry.seed, str(entry.scores(role)["values"])): entry for entry in reversed(entries)}
            kept = list(reversed(values.values()))
            unset = [DASH] * 4  # objective, m, labels, batch
            numbers = (DASH, _numbers(kept, role, table.measures))
            yield [label, *unset, name, *numbers, "measured", DASH, *_costs(kept), _receipts(kept), DASH]


# Costs and links


def _costs(entries: Sequence[Entry]) -> Iterator[str]:
    """Hardware, time, memory, commit."""
    if not entries:
        yield from (DASH, DASH, DASH, DASH)
        return
    stages = [list(entry.result.document["stages"].values()) for entry in entries]
    yield ", ".join(dict.fromkeys(stage["hardware"] for run in stages for stage in run))
    stopped = any(stage["attempts"] > 1 for run in stages for stage in run)
    seconds = sum(stage["cost"]["seconds"] for run in stages for stage in run) / len(stages)
    yield ("at least " if stopped else "") + _duration(seconds)
    costs = [stage["cost"] for run in stages for stage in run]
    peak, gpu = (max(cost.get(name, 0) for cost in costs) / _GIGA for name in ("peak_bytes", "gpu_peak_bytes"))
    yield f"{peak:.1f} GB" + (f", GPU {gpu:.1f} GB" if gpu else "")
    older = any(len({stage["code"] for stage in run}) > 1 for run in stages)  # kept from before, with --older-code
    commits = dict.fromkeys(
        f"`{_board_verdicts.commit(entry)[:9]}`" + (" changed" if _board_verdicts.is_dirty(entry) else "")
        for entry in entries
    )
    yield ", ".join(commits) + (", and stages of other code" if older else "")


def _duration(seconds: float) -> str:
    if seconds >= 2 * _HOUR:
        return f"{seconds / _HOUR:.1f} h"
    return f"{seconds / _MINUTE:.1f} min" if seconds >= 2 * _MINUTE else f"{seconds:.0f} s"


def _receipts(entries: Iterable[Entry]) -> str:
    return " ".join(f"[{_receipt(entry)}]({entry.place})" for entry in entries) or DASH


def _receipt(entry: Entry) -> str:
    seed = "" if entry.seed is None else str(entry.seed)
    if entry.who:
        return " ".join(filter(None, (entry.who, entry.system, seed)))
    return seed or entry.system
