"""What a GPU must show: precision, memory, speed, exact resume. One command; writes benchmarks/results/gpu.md, .json.

    python benchmarks/gpu.py                     # one CUDA GPU with 16 GB or more, about ten minutes
    python benchmarks/gpu.py --tiny --device cpu # a rehearsal of the script, whose numbers mean nothing

speed    tokens/s and share of the GPU's peak, BERT-base in 16 bits, wide and in groups by length, with and without
         compile; what one more group costs, beside what `scale.groups: auto` takes it to cost
memory   peak of a step of recipes/trec_bce_m3.yaml (two BERT-base, batch 16, m = 3, 256 tokens) against 16 GB
search   exact search over 2M x 768 (5M from 40 GB on) in half precision, k = 100, against a plain matrix product; same
         results? Opened twice: what was measured of the vectors the first time is read the second time
encode   texts/s, share of the peak and hours for 21M passages, BERT-base at 256 tokens, in 16 and 32 bits
parity   50 updates of the quickstart recipe in 32 bits, bf16 and fp16: how far losses are apart
resume   is a resumed run the unbroken one, bit for bit, and are two runs alike?

The page is written after each part, so that what ends the script takes nothing along; a part that fails says why, and
the next one begins. `predicted` is what mpr/recipe/gpus.py leads one to expect, at 35 % of the peak.
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results"
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

import gpu_retrieval  # noqa: E402 - found beside this file

SHOWN = ("torch", "transformers", "accelerate")
ROOM = 15e9  # bytes: of the paper's GPU with 16 GB, what the CUDA context and the display leave


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="small shapes and few updates")
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=list(PARTS))
    return parser.parse_args()


def _run(folder: Path, name: str, *overrides: str) -> Path:
    """A run of the quickstart recipe."""
    from mpr.recipe import read
    from mpr.training.launch import Launch, run

    settings = ("training.logging_steps=1", *overrides)
    recipe = read.load(ROOT / "recipes" / "quickstart.yaml", settings)
    return run(recipe, Launch(folder / "home", folder / name, quiet=True))


def _losses(folder: Path) -> list[float]:
    entries = (json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines())
    return [entry["loss"] for entry in entries if "loss" in entry]


def parity(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The same draws in each precision."""
    updates = 4 if given.tiny else 50
    base = "{layers: 12, width: 768, heads: 12, feed_forward: 3072, vocabulary: 4000}"
    size = () if given.tiny else (f"towers.new={base}", "training.learning_rate=2.0e-5")
    kinds: dict[str, tuple[str, ...]] = {"fp32": ()}
    if gpu_retrieval.half(given.device) == "bfloat16":
        kinds["bf16"] = ("training.bf16=true",)
    if given.device == "cuda":
        kinds["fp16"] = ("training.fp16=true", "training.bf16=false")
    runs = {
        kind: _losses(_run(folder, f"parity-{kind}", f"training.max_steps={updates}", *size, *extra))
        for kind, extra in kinds.items()
    }
    found: dict[str, Any] = {"updates": updates, "losses": runs}
    for kind in list(runs)[1:]:
        apart = [abs(one - other) / other for one, other in zip(runs[kind], runs["fp32"], strict=True)]
        found[kind] = {"largest": max(apart), "mean": statistics.mean(apart)}
    return found


def _limited(device: str, action: Callable[[], object]) -> dict[str, Any]:
    """Runs it with no more memory than the paper's GPU leaves, and says whether it survived and what it took."""
    import torch

    if device == "cpu":
        action()
        return {"survived": True, "peak_bytes": 0, "reserved_bytes": 0}  # benchmarks/memory.py measures CPUs
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.set_per_process_memory_fraction(min(1.0, ROOM / torch.cuda.mem_get_info()[1]))
    survived = True
    try:
        action()
        torch.cuda.synchronize()
    except torch.OutOfMemoryError:
        survived = False
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    return {
        "survived": survived,
        "peak_bytes": torch.cuda.max_memory_allocated(),
        "reserved_bytes": torch.cuda.max_memory_reserved(),
    }


def memory(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Weights, gradients and Adam's moments included; plain, with recomputed activations, and with the cache."""
    import torch
    from blocks import Shape, block, stepping, terms

    layers, width, length = (2, 64, 32) if given.tiny else (12, 768, 256)
    kind = "float16" if given.device == "cuda" else "bfloat16"
    found: dict[str, Any] = {}
    for name, chunk, recompute in (("plain", None, False), ("recomputed", None, True), ("cache of 16", 16, False)):
        shape = Shape(layers, width, False, given.device, kind)
        model = shape.towers(length)
        if recompute:
            model.activation_checkpointing_enable()
        optimiser = torch.optim.AdamW(model.parameters(), fused=True)
        batch = block(16, 3, length, given.device)
        step = stepping(shape, model, batch, terms("bce", scaling="probability", reduce="query_sum"), chunk)

        def update(step: Any = step, optimiser: Any = optimiser) -> None:
            step()
            optimiser.step()
            optimiser.zero_grad()

        found[name] = _limited(given.device, lambda update=update: [update() for _ in range(3)])  # Adam's moments too
        del model, optimiser, step, batch, update
    return found


def speed(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Texts of 64 to 256 tokens, as paragraphs of Wikipedia have; real tokens count, padding does not."""
    import torch
    from blocks import Shape, block, stepping, terms

    layers, width, length, repeats = (2, 64, 64, 2) if given.tiny else (12, 768, 256, 20)
    batch = block(16 if given.tiny else 64, 1, length, given.device, spread=0.75)
    tokens = int(batch["question"]["attention_mask"].sum() + batch["passage"]["attention_mask"].sum())
    kind = gpu_retrieval.half(given.device)
    found: dict[str, Any] = {"tokens": tokens, "computed in": kind}
    found["predicted"] = gpu_retrieval.predicted(6.0 * 12 * layers * width * width * tokens)
    variants: tuple[tuple[str, Any, bool], ...] = (
        ("wide", 1, False), ("groups: 4", 4, False), ("groups: auto", "auto", False), ("auto, compiled", "auto", True)
    )  # fmt: skip
    for name, groups, compiled in variants:
        shape = Shape(layers, width, True, given.device, kind, groups)
        model = shape.towers(length)
        if compiled:
            for encoder in model.encoders():
                encoder.backbone.compile(dynamic=True)
        optimiser = torch.optim.AdamW(model.parameters(), fused=True)
        step = stepping(shape, model, batch, terms("nll"), None)
        for _ in range(3):
            step()
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            step()
            optimiser.step()
            optimiser.zero_grad()
            if given.device == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        seconds = statistics.median(times)
        flops = 6.0 * tokens * 12 * layers * width * width  # two per weight and token, thrice; attention left out
        found[name] = {"seconds": seconds, "tokens_per_second": tokens / seconds, "flops": flops / seconds}
        if name == "wide":
            found["price of a group"] = _price(given, shape, model, found[name]["tokens_per_second"])
        del model, optimiser, step
    return found


def _price(given: argparse.Namespace, shape: Any, model: Any, tokens_per_second: float) -> dict[str, float]:
    """Tokens that are computed in the time of a group of one short text, which is the time to start its kernels."""
    import torch

    from mpr.models import lengths

    ids = torch.full((1, 8), 5, device=given.device)
    times = []
    for _ in range(10):
        began = time.perf_counter()
        with shape.context():
            model.question(ids, torch.ones_like(ids)).sum().backward()
        if given.device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    _, assumed = lengths.budget("auto", ids.device, shape.width)
    seconds = statistics.median(times)
    return {"seconds": seconds, "tokens": seconds * tokens_per_second, "assumed_tokens": assumed}


def resume(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Weights by checksum: two whole runs, and one continued from its middle, in each precision."""
    from mpr.storage.manifest import sha256_file

    updates = 4 if given.tiny else 20
    found: dict[str, Any] = {}
    kinds = {"fp32": (), "bf16": ("training.bf16=true",)}
    if given.device == "cuda":
        kinds |= {
            "fp16": ("training.fp16=true", "training.bf16=false"),
            "fp32, full_determinism": ("training.full_determinism=true",),
        }
    for kind, extra in kinds.items():
        steps = (f"training.max_steps={updates}", "training.save_strategy=steps", f"training.save_steps={updates // 2}")
        whole = _run(folder, f"whole-{kind}", *steps, *extra)
        again = _run(folder, f"again-{kind}", *steps, *extra)
        half = folder / f"half-{kind}"
        shutil.copytree(whole, half)
        shutil.rmtree(half / "model")
        shutil.rmtree(half / "checkpoints" / str(updates))
        _run(folder, half.name, *steps, *extra)
        sums = [sha256_file(each / "model" / "model.safetensors") for each in (whole, again, half)]
        found[kind] = {"two_runs_alike": sums[0] == sums[1], "resumed_alike": sums[0] == sums[2]}
    return found


PARTS: dict[str, Callable[[argparse.Namespace, Path], dict[str, Any]]] = {
    "speed": speed,
    "memory": memory,
    "search": gpu_retrieval.searching,
    "encode": gpu_retrieval.encoding,
    "parity": parity,
    "resume": resume,
}


def text(found: dict[str, Any], snapshot: dict[str, Any], rehearsal: bool) -> str:
    """The numbers as a page."""
    gpus = snapshot["torch"]["gpus"]
    where = gpus[0]["name"] if gpus else f"{snapshot['cpu']['model']} (a rehearsal)"
    packages = ", ".join(f"{name} {snapshot['packages'][name]}" for name in SHOWN)
    lines = ["# On a GPU", "", f"Written by benchmarks/gpu.py on {where}; {packages}.", ""]
    if rehearsal:
        lines += ["**Tiny shapes: these numbers mean nothing.**", ""]
    peak = _peak_flops(where)
    for part, content in found.items():
        lines += [f"## {part}", "", "| | |", "|---|---|"]
        for name, value in content.items():
            if name == "losses":
                continue
            if isinstance(value, dict) and "flops" in value and peak:
                value = {**value, "share_of_peak": value["flops"] / peak}
            lines.append(f"| {name} | {_shown(value)} |")
        lines.append("")
    return "\n".join(lines)


def _peak_flops(name: str) -> float | None:
    """Dense 16-bit peak of a GPU that `mpr plan` knows."""
    from mpr.recipe import gpus

    known = gpus.named(name)
    return None if known is None else known.half * 1e12


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(each)}" for key, each in value.items())
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value).lower()


def main() -> None:
    given = options()
    import torch

    if given.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no GPU is visible: this benchmark needs one (--tiny --device cpu rehearses the script)")
    from mpr.runtime import environment

    found: dict[str, Any] = {}
    for part in (part for part in PARTS if part in given.only):
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as place:
            found[part] = attempted(part, given, Path(place))
        found[part]["took_seconds"] = time.perf_counter() - began
        print(part, json.dumps({k: v for k, v in found[part].items() if k != "losses"}), flush=True)
        write(found, environment.snapshot(), given.tiny, RESULTS)
    print(text(found, environment.snapshot(), given.tiny))


def attempted(part: str, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """What the part found, or why it did not."""
    import torch

    try:
        return PARTS[part](given, folder)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other parts are worth as much as before
        return {"failed": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
    finally:
        gc.collect()
        if given.device == "cuda":
            torch.cuda.empty_cache()


def write(found: dict[str, Any], snapshot: dict[str, Any], rehearsal: bool, folder: Path) -> None:
    """The page and its numbers, as far as they are known; nothing of a rehearsal."""
    if not rehearsal:
        folder.mkdir(exist_ok=True)
        (folder / "gpu.md").write_text(text(found, snapshot, rehearsal), "utf-8")
        (folder / "gpu.json").write_text(json.dumps({**found, "snapshot": snapshot}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
