"""Peak memory of a training step against the number of positives, with and without the gradient cache.

    python benchmarks/memory.py                          # MiniLM's shape, on the CPU: about two minutes on two cores
    python benchmarks/memory.py --layers 12 --width 768 --length 256 --device cuda

Sixteen questions, each with m positives and one hard negative. Every point is measured in a process of its own, after a
first small step that lets libraries set up what they keep. Weights are random: memory does not depend on their values.
Writes a table, the numbers and a picture to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results"
POSITIVES = (1, 2, 4, 8, 16)
BATCH = 16
MEBIBYTE = 2**20


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--length", type=int, default=64, help="tokens of a passage; a question has a quarter")
    parser.add_argument("--chunk", type=int, default=16, help="texts in a chunk of the cache")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--autocast", default="none", choices=("none", "bfloat16", "float16"))
    parser.add_argument("--name", default="memory", help="stem of the files in benchmarks/results/")
    parser.add_argument("--point", nargs=2, metavar=("POSITIVES", "CACHE"), help=argparse.SUPPRESS)
    return parser.parse_args()


# ---- one point, in a process of its own


def measured(given: argparse.Namespace) -> dict[str, Any]:
    import torch
    from blocks import Shape, block, stepping, terms

    from mpr.runtime import environment

    positives, chunk = int(given.point[0]), given.chunk if given.point[1] == "on" else None
    shape = Shape(given.layers, given.width, True, given.device, given.autocast)
    model, objective = shape.towers(given.length), terms("joint_lh", copositives="keep", reduce="sum")
    batch, small = (
        block(BATCH, m, given.length, given.device, question_length=given.length // 4) for m in (positives, 1)
    )
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-30)  # written to, so that its pages exist
    before = _in_use(given.device)
    stepping(shape, model, small, objective, given.chunk)()  # thread pools and kernels
    _reset_peak(given.device)
    wall, cpu = time.perf_counter(), time.process_time()
    stepping(shape, model, batch, objective, chunk)()
    if given.device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - wall
    passages = BATCH * (positives + 1)
    return {
        "positives": positives,
        "cache": chunk is not None,
        "peak_bytes": _peak(given.device),
        "before_bytes": before,
        "vector_bytes": 2 * 4 * (BATCH + passages) * given.width,  # vectors and their gradients
        "seconds": seconds,
        "cpu_seconds": time.process_time() - cpu,
        "snapshot": environment.snapshot(),
    }


def _in_use(device: str) -> int:
    import torch

    return torch.cuda.memory_allocated() if device == "cuda" else _status("VmRSS")


def _reset_peak(device: str) -> None:
    """From here on the peak is counted anew."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def _peak(device: str) -> int:
    import torch

    return torch.cuda.max_memory_allocated() if device == "cuda" else _status("VmHWM")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc/self/status has no {name}; this benchmark of CPU memory needs Linux")


# ---- all points


def all_points(given: argparse.Namespace) -> list[dict[str, Any]]:
    found = []
    for positives in POSITIVES:
        for cache in ("off", "on"):
            command = [sys.executable, __file__, *sys.argv[1:], "--point", str(positives), cache]
            done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(done.stderr)
            point = json.loads(done.stdout.splitlines()[-1])
            found.append(point)
            peak = point["peak_bytes"] / MEBIBYTE
            print(f"m={positives:<2} cache {cache:<3} peak {peak:8,.0f} MiB  {point['seconds']:6.1f} s", flush=True)
    return found


def growth(points: list[dict[str, Any]], cache: bool, of_step: bool) -> float:
    """Peak at most positives against the peak at one, less what more vectors take. `of_step`: of the memory that the
    step adds to weights and gradients, which is the stricter measure."""
    first, last = (next(p for p in points if p["cache"] == cache and p["positives"] == m) for m in (1, POSITIVES[-1]))

    def size(point: dict[str, Any]) -> int:
        return int(point["peak_bytes"]) - (int(point["before_bytes"]) if of_step else 0)

    return (size(last) - last["vector_bytes"]) / (size(first) - first["vector_bytes"]) - 1


def table(points: list[dict[str, Any]], given: argparse.Namespace) -> str:
    snapshot = points[0]["snapshot"]
    gpus = ", ".join(gpu["name"] for gpu in snapshot["torch"]["gpus"])
    where = gpus if given.device == "cuda" else f"{snapshot['cpu']['model']}, {snapshot['cpu']['usable']} cores"
    lines = [
        "# Peak memory of a step against the number of positives",
        "",
        f"Written by benchmarks/memory.py. {where}; torch {snapshot['torch']['version']}, transformers "
        f"{snapshot['packages']['transformers']}. BERT of {given.layers} layers, width {given.width}, one encoder for "
        f"both sides, 32-bit weights, autocast {given.autocast}, dropout on; {BATCH} questions of {given.length // 4} "
        f"tokens, m positives and one negative each of {given.length} tokens; joint_lh; chunks of {given.chunk}.",
        "",
        "| m | passages | plain, MiB | cache, MiB | plain step, MiB | cached step, MiB | memory ratio | time ratio |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for m in POSITIVES:
        plain, cached = (next(p for p in points if p["cache"] == on and p["positives"] == m) for on in (False, True))
        steps = [(point["peak_bytes"] - point["before_bytes"]) / MEBIBYTE for point in (plain, cached)]
        peaks = [point["peak_bytes"] / MEBIBYTE for point in (plain, cached)]
        times = [point["seconds" if given.device == "cuda" else "cpu_seconds"] for point in (plain, cached)]
        lines.append(
            f"| {m} | {BATCH * (m + 1)} | {peaks[0]:,.0f} | {peaks[1]:,.0f} | {steps[0]:,.0f} | {steps[1]:,.0f} "
            f"| {steps[0] / steps[1]:.1f} | {times[1] / times[0]:.2f} |"
        )
    lines += [
        "",
        '"Step" is the peak less what was in use before it: weights, gradients and libraries. The memory ratio is the '
        "plain step's over the cached step's, the time ratio the cached step's over the plain step's (on a CPU, "
        "seconds of the processor, since others may use it too).",
        "",
        f"Growth from m = 1 to m = {POSITIVES[-1]}, beyond the stored vectors and their gradients:",
        "",
        "| | of the whole peak | of the step |",
        "|---|--:|--:|",
    ]
    for name, cache in (("plain", False), ("cache", True)):
        lines.append(f"| {name} | {growth(points, cache, False):+.1%} | {growth(points, cache, True):+.1%} |")
    return "\n".join(lines) + "\n"


def picture(points: list[dict[str, Any]], given: argparse.Namespace, path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "mpr"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.6), layout="constrained")
    for cache, label, mark in ((False, "plain", "o"), (True, f"gradient cache, chunks of {given.chunk}", "s")):
        chosen = [point for point in points if point["cache"] == cache]
        heights = [point["peak_bytes"] / 2**30 for point in chosen]
        axes.plot([point["positives"] for point in chosen], heights, marker=mark, label=label)
    axes.set_xticks(POSITIVES, [str(m) for m in POSITIVES])
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"positives per question (batch of {BATCH})")
    axes.set_ylabel("peak memory, GiB")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    given = options()
    if given.point:
        print(json.dumps(measured(given)))
        return
    points = all_points(given)
    RESULTS.mkdir(exist_ok=True)
    text = table(points, given)
    (RESULTS / f"{given.name}.md").write_text(text, "utf-8")
    picture(points, given, RESULTS / f"{given.name}.svg")
    snapshot = points[0]["snapshot"]
    numbers = [{key: value for key, value in point.items() if key != "snapshot"} for point in points]
    content = {"options": {k: v for k, v in vars(given).items() if k != "point"}, "points": numbers}
    (RESULTS / f"{given.name}.json").write_text(json.dumps({**content, "snapshot": snapshot}, indent=1) + "\n", "utf-8")
    print(text)


if __name__ == "__main__":
    main()
