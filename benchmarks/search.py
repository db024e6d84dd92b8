"""Exact search against faiss IndexFlatIP with all threads: time in turns, results, memory within a budget, growth.

    python benchmarks/search.py                      # 1M x 384 and 200k x 768: about ten minutes on two cores
    python benchmarks/search.py --sizes 150000x384 --growth 20000,40000 --repeats 3

Vectors are invented: unit vectors around a thousand centres, as 32-bit numbers in a memory-mapped file. Both are given
the same batches in turns, so a ratio holds whatever else the machine does. A search of ours may keep a copy of the
vectors in the type of its first pass if its budget has room; the table has both, and says what is kept and what making
ready took. Writes a table and the numbers to benchmarks/results/.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin keep others from working

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results"
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

from stores import Shard, Store  # noqa: E402 - found beside this file

MEBIBYTE = 2**20
CENTRES = 1000
CHECKED = 8  # questions of a batch that are also searched by brute force in 64 bits


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000000x384,200000x768", help="passages x width, several with commas")
    parser.add_argument("--growth", default="100000,200000,400000", help="passages of width 384")
    parser.add_argument("--batches", default="1,32,1000")
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--folder", help="where the vectors may lie; default: the system's place for temporary files")
    parser.add_argument("--name", default="search", help="stem of the files in benchmarks/results/")
    parser.add_argument("--peak", nargs=5, help=argparse.SUPPRESS)
    return parser.parse_args()


# ---- invented vectors


def unit_vectors(count: int, width: int, seed: int) -> Any:
    centres = np.random.default_rng(0).standard_normal((CENTRES, width), dtype=np.float32)
    rng = np.random.default_rng(seed)
    made = rng.standard_normal((count, width), dtype=np.float32)
    made += centres[rng.integers(0, CENTRES, count)]
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def write_vectors(path: Path, count: int, width: int) -> None:
    with path.open("wb") as file:
        for number, start in enumerate(range(0, count, 50_000)):
            file.write(unit_vectors(min(50_000, count - start), width, 1 + number).tobytes())


def mapped(path: Path, count: int, width: int) -> Store:
    vectors = np.memmap(path, dtype="<f4", mode="r", shape=(count, width))
    return Store(width, (Shard(np.arange(count, dtype=np.int64), vectors),))


# ---- time, in turns


def seconds(action: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    result = action()
    return time.perf_counter() - begun, result


def compared(store: Store, given: argparse.Namespace, batches: list[int], tight: bool) -> list[dict[str, Any]]:
    """With a budget that has room for everything, and if `tight` with one of a quarter of the matrix."""
    import faiss

    from mpr.search.exact import Exact

    faiss.omp_set_num_threads(given.threads)
    flat = faiss.IndexFlatIP(store.width)
    adding, _ = seconds(lambda: flat.add(np.ascontiguousarray(store.shards[0].vectors)))
    size = store.shards[0].vectors.nbytes
    points = []
    for kept, budget in (("ample", 2 * size + (512 << 20)), ("quarter", size // 4))[: 2 if tight else 1]:
        opening, ready = seconds(lambda budget=budget: Exact.open(store, budget_bytes=budget))
        for batch in batches:
            queries_QD = unit_vectors(batch, store.width, 10_000 + batch)
            point = {"passages": len(store), "width": store.width, "batch": batch, "budget": kept}
            point |= in_turns(ready, flat, queries_QD, given.k, given.repeats)
            point |= {"faiss_add_s": adding, "open_s": opening, "budget_bytes": budget}
            point |= {"kept_bytes": sum(tensor.nbytes for tensor in ready.first.kept)}
            points.append(point | {"first_pass": str(ready.first.dtype).removeprefix("torch.")})
            print(*(f"{key}={value}" for key, value in point.items()), flush=True)
    return points


def in_turns(ready: Any, flat: Any, queries_QD: Any, k: int, repeats: int) -> dict[str, Any]:
    from mpr.search._survivors import Work

    ready.search(queries_QD, k), flat.search(queries_QD, k)
    ours, theirs = [], []
    for number in range(max(repeats, 3)):
        ready.work = Work()
        turns = [(ours, lambda: ready.search(queries_QD, k)), (theirs, lambda: flat.search(queries_QD, k))]
        for times, action in turns if number % 2 else reversed(turns):
            taken, result = seconds(action)
            times.append(taken)
            if times is ours:
                hits = result
            else:
                rows_QK = result[1]
    checked = min(CHECKED, len(queries_QD))
    true = brute_force(ready.first.store, queries_QD[:checked], k)
    return {
        "ours_s": statistics.median(ours),
        "faiss_s": statistics.median(theirs),
        "ratio": statistics.median(them / us for us, them in zip(ours, theirs, strict=True)),
        "ratios": [them / us for us, them in zip(ours, theirs, strict=True)],
        "checked": checked,
        "equal_to_brute_force": int((hits.rows_QK[:checked] == true).all(axis=1).sum()),
        "same_order_as_faiss": int((hits.rows_QK == rows_QK).all(axis=1).sum()),
        "same_set_as_faiss": int((np.sort(hits.rows_QK) == np.sort(rows_QK)).all(axis=1).sum()),
        **asdict(ready.work),
    }


def brute_force(store: Store, queries_QD: Any, k: int) -> Any:
    """Every score in 64 bits, rounded once, ordered by (score down, row up)."""
    parts = []
    for start in range(0, len(store), 50_000):
        vectors_BD = store.shards[0].vectors[start : start + 50_000].astype(np.float64)
        parts.append((queries_QD.astype(np.float64) @ vectors_BD.T).astype(np.float32))
    scores_QN = np.concatenate(parts, axis=1)
    return np.stack([np.lexsort((np.arange(len(line)), -line))[:k] for line in scores_QN])


# ---- memory, in a process of its own


def peak(given: argparse.Namespace) -> dict[str, Any]:
    import torch

    from mpr.search.exact import Exact

    path, count, width, batch, budget = Path(given.peak[0]), *map(int, given.peak[1:])
    torch.set_num_threads(given.threads)
    queries_QD = unit_vectors(batch, width, 10_000 + batch)
    few = Store(width, (Shard(np.arange(4096), unit_vectors(4096, width, 1)),))
    Exact.open(few, budget_bytes=budget).search(queries_QD, given.k)  # libraries set up what they keep
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    Exact.open(mapped(path, count, width), budget_bytes=budget).search(queries_QD, given.k)
    grown = _status("VmHWM") - before
    return {"passages": count, "width": width, "batch": batch, "budget_bytes": budget, "grown_bytes": grown}


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc/self/status has no {name}; memory is measured on Linux only")


def peaks(path: Path, count: int, width: int, batches: list[int]) -> list[dict[str, Any]]:
    found = []
    for batch in batches:
        numbers = [str(number) for number in (count, width, batch, count * width)]  # a quarter of 4 bytes each
        command = [sys.executable, __file__, *sys.argv[1:], "--peak", str(path), *numbers]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        found.append(json.loads(done.stdout.splitlines()[-1]))
        print(*(f"{key}={value}" for key, value in found[-1].items()), flush=True)
    return found


# ---- the tables


def tables(content: dict[str, Any]) -> str:
    snapshot, given = content["snapshot"], content["options"]
    lines = [
        "# Exact search against faiss IndexFlatIP",
        "",
        f"Written by benchmarks/search.py. {snapshot['cpu']['model']}, {given['threads']} threads for both; torch "
        f"{snapshot['torch']['version']}, faiss {content['faiss']}. k = {given['k']}; invented unit vectors around "
        f"{CENTRES:,} centres, 32 bits, memory-mapped; OMP_WAIT_POLICY={os.environ['OMP_WAIT_POLICY']}; median of "
        f"{max(given['repeats'], 3)} turns, the ratio being the median of each turn's (above 1: ours is faster).",
        "",
        "| passages | width | batch | budget | kept | first pass | faiss, ms | ours, ms | ratio | as in 64 bits "
        "| order as faiss | scored again per question |",
        "|--:|--:|--:|--:|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    for p in content["speed"]:
        lines.append(
            f"| {p['passages']:,} | {p['width']} | {p['batch']:,} | {p['budget_bytes'] / MEBIBYTE:,.0f} MiB "
            f"| {p['kept_bytes'] / MEBIBYTE:,.0f} MiB | {p['first_pass']} | {1e3 * p['faiss_s']:,.1f} "
            f"| {1e3 * p['ours_s']:,.1f} | {p['ratio']:.2f} | {p['equal_to_brute_force']} of {p['checked']} "
            f"| {p['same_order_as_faiss']:,} of {p['batch']:,} | {p['rescored'] / p['questions']:,.0f} |"
        )
    opened = {(p["passages"], p["width"]): p for p in content["speed"] if p["budget"] == "ample"}
    ready = "; ".join(
        f"{n:,} x {w}: faiss {p['faiss_add_s']:.1f} s, ours {p['open_s']:.1f} s" for (n, w), p in opened.items()
    )
    lines += [
        "",
        f'Before the first search, once (faiss: adding; ours: measuring and keeping a copy): {ready}. "Kept" is '
        "a copy of vectors in the type of the first pass, part of the budget. A list can differ from faiss's where "
        "faiss's 32-bit sums put near ties in another order; ours is compared with brute force in 64 bits.",
        "",
        "## Memory: a budget of a quarter of the matrix",
        "",
        "| passages | width | batch | matrix, MiB | budget, MiB | grew by at the peak, MiB | within |",
        "|--:|--:|--:|--:|--:|--:|---|",
    ]
    for p in content["memory"]:
        sizes = (4 * p["budget_bytes"], p["budget_bytes"], p["grown_bytes"])
        matrix, budget, grown = (f"{size / MEBIBYTE:,.0f}" for size in sizes)
        within = "yes" if sizes[2] <= sizes[1] else "**no**"
        lines.append(
            f"| {p['passages']:,} | {p['width']} | {p['batch']:,} | {matrix} | {budget} | {grown} | {within} |"
        )
    lines += ["", "## Growth", "", "| passages | width | batch | ours, ms | ms per 100,000 |", "|--:|--:|--:|--:|--:|"]
    for p in content["growth"]:
        each = 1e8 * p["ours_s"] / p["passages"]
        lines.append(f"| {p['passages']:,} | {p['width']} | {p['batch']:,} | {1e3 * p['ours_s']:,.1f} | {each:,.1f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    given = options()
    if given.peak:
        print(json.dumps(peak(given)))
        return
    import faiss
    import torch

    from mpr.runtime import environment

    torch.set_num_threads(given.threads)
    batches = [int(batch) for batch in given.batches.split(",")]
    content: dict[str, Any] = {
        "options": {key: value for key, value in vars(given).items() if key not in ("peak", "folder")}
    }
    content |= {"faiss": faiss.__version__, "speed": [], "memory": [], "growth": []}
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        path = Path(folder) / "vectors.bin"
        for size in given.sizes.split(","):
            count, width = map(int, size.split("x"))
            write_vectors(path, count, width)
            content["speed"] += compared(mapped(path, count, width), given, batches, tight=True)
            content["memory"] += peaks(path, count, width, batches)
        for count in map(int, given.growth.split(",")):
            write_vectors(path, count, 384)
            content["growth"] += compared(mapped(path, count, 384), given, batches, tight=False)
    content["snapshot"] = environment.snapshot()
    RESULTS.mkdir(exist_ok=True)
    text = tables(content)
    (RESULTS / f"{given.name}.md").write_text(text, "utf-8")
    (RESULTS / f"{given.name}.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    print(text)


if __name__ == "__main__":
    main()
