"""Shows an audit: a text for the terminal, and a picture of positives per question."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from mpr.data.audit import DELTAS, Audit, Lengths, SplitAudit

_BAR = 40
_LAST = 10  # questions with this many positives or more share one bar


def text(audit: Audit) -> str:
    """One screen a split."""
    lines = [
        f"recipe {audit.recipe}, corpus {audit.corpus}",
        f"passages          {audit.passages:,}, of which {audit.repeated_texts:,} repeat the text of another",
        f"passage tokens    {_lengths(audit.passage_lengths)}",
        "",
        _delta_table(audit),
    ]
    for split in audit.splits:
        lines += ["", *_split_lines(audit, split)]
    return "\n".join(lines) + "\n"


def _delta_table(audit: Audit) -> str:
    """Share of questions with at least k positives, as paper 2508.09534 calls delta."""
    head = f"{'split':<16}{'questions':>10}  " + "".join(f"{f'>= {k}':>8}" for k in DELTAS)
    rows = [head]
    for split in audit.splits:
        shares = "".join(f"{split.share_with(k):>8.1%}" if split.tiers else f"{'-':>8}" for k in DELTAS)
        rows.append(f"{split.name:<16}{split.read:>10,}  {shares}")
    return "\n".join(rows)


def _split_lines(audit: Audit, split: SplitAudit) -> Iterator[str]:
    yield f"{split.role} ({split.name}): {split.kept:,} of {split.read:,} questions kept"
    for reason, count in split.dropped.items():
        if count:
            yield f"  dropped         {count:,} {reason.replace('_', ' ')}"
    if split.tiers:
        yield "  positives       " + ", ".join(f"{count:,} {tier}" for tier, count in split.tiers.items())
    missing = audit.inline_missing.get(split.role)
    if missing is not None:
        yield f"  not in corpus   {missing:,} positives"
    yield f"  tokens          {_lengths(split.lengths)}"
    if split.repeated_questions:
        yield f"  repeated        {split.repeated_questions:,} questions ask the same as an earlier one"
    if split.role != "train":
        shown = ", ".join(f"{ours}={theirs}" for ours, theirs in split.overlap[:3])
        yield f"  also in train   {len(split.overlap):,} questions" + (f" ({shown})" if shown else "")
        if split.learned is not None:
            yield f"  learned         {split.learned:,} questions have a positive that training knows too"
    for what, count in split.answers.items():
        yield f"  answers         {count:,} {what}"
    yield from _histogram(split)


def _lengths(lengths: Lengths) -> str:
    median, most, longest = lengths.quantiles.values()
    share = lengths.truncated / lengths.texts
    return f"median {median}, 95 % {most}, longest {longest:,}; {share:.2%} are cut at {lengths.limit}"


def counts(split: SplitAudit) -> list[int]:
    """Number of questions with 0, 1, ... positives; the last place is `that many or more`. Dropped ones count as 0."""
    found = np.bincount(np.minimum(split.positives, _LAST), minlength=_LAST + 1)
    found[0] += split.read - split.kept
    return [int(count) for count in found]


def _histogram(split: SplitAudit) -> Iterator[str]:
    found = counts(split)
    if sum(found[1:]) == 0:
        yield "  positives       none listed: relevance is decided by answers"
        return
    most = max(found)
    for number, count in enumerate(found):
        label = f"{number}+" if number == _LAST else str(number)
        bar = "#" * round(_BAR * count / most)
        yield f"  {label:>4} positives {count:>9,} {bar}"


def picture(audit: Audit, kind: str = "svg") -> bytes:
    """The same histograms side by side, and delta over k, as `svg` or `png`."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "mpr"  # the same audit gives the same bytes
    from matplotlib import pyplot

    shown = [split for split in audit.splits if split.tiers]
    figure, axes = pyplot.subplots(1, len(shown) + 1, figsize=(4.2 * (len(shown) + 1), 3.4), squeeze=False)
    for axis, split in zip(axes[0], shown, strict=False):
        _draw_histogram(axis, split)
    _draw_deltas(axes[0][-1], shown)
    figure.suptitle(f"{audit.recipe}: known positives per question")
    figure.tight_layout()
    file = io.BytesIO()
    figure.savefig(file, format=kind, metadata={"Date": None} if kind == "svg" else None)
    pyplot.close(figure)
    return file.getvalue()


def _draw_histogram(axis: Any, split: SplitAudit) -> None:
    found = counts(split)
    labels = [f"{number}+" if number == _LAST else str(number) for number in range(len(found))]
    axis.bar(labels, found, color="#3b6ea5")
    axis.set_title(f"{split.name} ({split.read:,} questions)", fontsize=10)
    axis.set_xlabel("positives")
    axis.set_ylabel("questions")


def _draw_deltas(axis: Any, splits: list[SplitAudit]) -> None:
    for split in splits:
        axis.plot(range(1, 11), [100 * split.share_with(k) for k in range(1, 11)], marker="o", ms=3, label=split.name)
    axis.axvline(3, color="#999999", lw=0.8, ls=":")
    axis.set_ylim(0, 100)
    axis.set_xlabel("k")
    axis.set_ylabel("% with at least k positives")
    axis.set_title("delta", fontsize=10)
    if splits:
        axis.legend(fontsize=8)
