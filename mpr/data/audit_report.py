"""Shows an audit: a text for the terminal, and a picture of positives per question."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np

from mpr.data.audit import DELTAS, Audit, Lengths, SplitAudit

_BAR = 40
_LAST = 10  # questions with this many positives or more share one bar
_PLACES = [*map(str, range(_LAST)), f"{_LAST}+"]


def text(audit: Audit) -> str:
    """One screen a split. The table has the share of questions with at least k positives, delta in paper 2508.09534."""
    lines = [
        f"recipe {audit.recipe}, corpus {audit.corpus}",
        f"passages          {audit.passages:,}, of which {audit.repeated_texts:,} repeat the text of another",
        f"passage tokens    {_lengths(audit.passage_lengths)}",
        "",
        f"{'split':<16}{'questions':>10}  " + "".join(f"{f'>= {k}':>8}" for k in DELTAS),
    ]
    for split in audit.splits:
        shares = "".join(f"{split.share_with(k):>8.1%}" if split.tiers else f"{'-':>8}" for k in DELTAS)
        lines.append(f"{split.name:<16}{split.read:>10,}  {shares}")
    for split in audit.splits:
        lines += ["", *_split_lines(split)]
    return "\n".join(lines) + "\n"


def _split_lines(split: SplitAudit) -> Iterator[str]:
    yield f"{split.role} ({split.name}): {split.kept:,} of {split.read:,} questions kept"
    for reason, count in split.dropped.items():
        if count:
            yield f"  dropped         {count:,} {reason.replace('_', ' ')}"
    if split.tiers:
        yield "  positives       " + ", ".join(f"{count:,} {tier}" for tier, count in split.tiers.items())
    if split.missing is not None:
        yield f"  not in corpus   {split.missing:,} positives"
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
    found = counts(split)
    if sum(found[1:]) == 0:
        yield "  positives       none listed: relevance is decided by answers"
        return
    for label, count in zip(_PLACES, found, strict=True):
        yield f"  {label:>4} positives {count:>9,} {'#' * round(_BAR * count / max(found))}"


def _lengths(lengths: Lengths) -> str:
    median, most, longest = lengths.quantiles.values()
    share = lengths.truncated / lengths.texts
    return f"median {median}, 95 % {most}, longest {longest:,}; {share:.2%} are cut at {lengths.limit}"


def counts(split: SplitAudit) -> list[int]:
    """Number of questions with 0, 1, ... positives; the last place is `that many or more`. Dropped ones count as 0."""
    found = np.bincount(np.minimum(split.positives, _LAST), minlength=_LAST + 1)
    found[0] += split.read - split.kept
    return [int(count) for count in found]


def picture(audit: Audit, kind: str = "svg") -> bytes:
    """The same histograms side by side, and delta over k, as `svg` or `png`."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "mpr"  # the same audit gives the same bytes
    from matplotlib import pyplot

    shown = [split for split in audit.splits if split.tiers]
    figure, axes = pyplot.subplots(1, len(shown) + 1, figsize=(4.2 * (len(shown) + 1), 3.4), squeeze=False)
    *histograms, deltas = axes[0]
    for axis, split in zip(histograms, shown, strict=True):
        axis.bar(_PLACES, counts(split), color="#3b6ea5")
        axis.set_title(f"{split.name} ({split.read:,} questions)", fontsize=10)
        axis.set_xlabel("positives")
        axis.set_ylabel("questions")
    for split in shown:
        deltas.plot(range(1, 11), [100 * split.share_with(k) for k in range(1, 11)], marker="o", ms=3, label=split.name)
    deltas.axvline(3, color="#999999", lw=0.8, ls=":")
    deltas.set_ylim(0, 100)
    deltas.set_xlabel("k")
    deltas.set_ylabel("% with at least k positives")
    deltas.set_title("delta", fontsize=10)
    if shown:
        deltas.legend(fontsize=8)
    figure.suptitle(f"{audit.recipe}: known positives per question")
    figure.tight_layout()
    file = io.BytesIO()
    figure.savefig(file, format=kind, metadata={"Date": None} if kind == "svg" else None)
    pyplot.close(figure)
    return file.getvalue()
