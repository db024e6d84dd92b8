"""Parts of benchmarks/gpu.py: what encoding and exact search do on a GPU. Only torch, transformers and mpr are needed.

Shapes: N passages, Q questions, D the width of a vector, K passages found for each.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PASSAGES = 21_015_324  # of the Wikipedia that DPR searches
PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}  # computed in; stored as float16
CHUNK = 1 << 18  # passages that the plain search multiplies at a time
BUS = 12e9  # bytes a second to the device, as a bus of 16 lanes of its third generation brings them
CHECKED = 8  # questions of a batch that are also searched by brute force in 64 bits


def encoding(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """`mpr encode` on texts that fill 256 tokens, random weights; agreement is with 32 bits, by the smallest cosine."""
    import numpy as np

    from mpr.search import encode

    count, settings = _shape(given)
    precisions = {name: compute for name, compute in PRECISIONS.items() if compute != "bfloat16" or _has_bf16(given)}
    model, store = _model(settings, count, folder)
    side = model.side("passage", store)
    found: dict[str, Any] = {"texts": count}
    reference: Any = None
    for name, compute in precisions.items():
        options = encode.Options(dtype="float16", compute=compute, device=given.device, quiet=True)
        task = encode.Task.of(model, "passage", side, lambda rows: [str(row) for row in rows.tolist()], options)
        encode.predict(task)  # sets up what libraries keep
        began = time.perf_counter()
        vectors_ND = encode.run(task, folder / f"vectors-{name}").by_row()
        seconds = time.perf_counter() - began
        reference = vectors_ND if reference is None else reference
        norms = np.linalg.norm(vectors_ND, axis=1) * np.linalg.norm(reference, axis=1)
        found[name] = {
            "texts_per_second": count / seconds,
            "tokens_per_second": task.plan.tokens() / seconds,
            "flops": 24.0 * task.plan.tokens() * settings.new.layers * settings.new.width**2 / seconds,
            "hours_for_21M": PASSAGES / (count / seconds) / 3600,
            "smallest_cosine": float(((vectors_ND * reference).sum(axis=1) / norms).min()),
            "predicted": predicted(
                24.0 * task.plan.tokens() * settings.new.layers * settings.new.width**2, compute == "float32"
            ),
        }
    return found


def half(device: str) -> str:
    """The 16 bits that the device computes in. Where it only emulates bfloat16, that is slower than 32 bits."""
    import torch

    has = device == "cpu" or torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if has else "float16"


def _has_bf16(given: argparse.Namespace) -> bool:
    return half(given.device) == "bfloat16"


def predicted(flops: float, single: bool = False) -> dict[str, float]:
    """Seconds for so many operations at the share of the peak that plans assume; nothing for a GPU nobody knows."""
    import torch

    from mpr.recipe import gpus

    gpu = gpus.named(torch.cuda.get_device_name()) if torch.cuda.is_available() else None
    if gpu is None:
        return {}
    return {"seconds": flops / ((gpu.single if single else gpu.half) * 1e12 * gpus.UTILISATION)}


def predicted_search(cells: float, matrix_bytes: float, questions: int) -> dict[str, float]:
    """A search reads the matrix once a tile of 1,024 questions, or multiplies, whichever takes longer."""
    import torch

    from mpr.recipe import gpus

    gpu = gpus.named(torch.cuda.get_device_name()) if torch.cuda.is_available() else None
    if gpu is None:
        return {}
    reading = matrix_bytes * -(-questions // 1024) / (gpu.bandwidth * 1e12)
    return {"predicted_seconds": max(reading, 2.0 * cells * questions / (gpu.half * 1e12 * gpus.UTILISATION))}


def _shape(given: argparse.Namespace) -> tuple[int, Any]:
    """Number of texts, and BERT-base with random weights."""
    from mpr.recipe import keys_towers

    sizes = (2, 64, 2, 128, 32) if given.tiny else (12, 768, 12, 3072, 256)
    layers, width, heads, feed_forward, length = sizes
    new = keys_towers.NewEncoder(layers=layers, width=width, heads=heads, feed_forward=feed_forward, vocabulary=4_000)
    lengths = {"question_length": 32, "passage_length": length}
    towers = keys_towers.Towers(new=new, share=True, pooling="cls", normalize=False, title="none", **lengths)
    return (256 if given.tiny else 8_192), towers


def _model(settings: Any, count: int, folder: Path) -> tuple[Any, Any]:
    """The model and the tokens of invented texts, long enough to be cut."""
    from mpr.data import _vocabulary, tokens
    from mpr.search.inference import Model

    dice = random.Random(5)
    words = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=dice.randint(3, 9))) for _ in range(3_000)]
    listed = [" ".join(dice.choices(words, k=settings.passage_length)) for _ in range(count)]
    tokenizer = _vocabulary.learn(lambda: iter(listed[:2_000]), settings.new)
    receipt = {"title": "none", "prompt": ""}
    store = tokens.build(folder / "tokens", (("", text) for text in listed), tokenizer, cap=512, receipt=receipt)
    return Model.untrained(settings, tokenizer, 0), store


def searching(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Both are opened once; a search is timed in turns. `same` compares with float64 over all passages."""
    import numpy as np
    import torch

    from mpr.search.exact import DeviceShare, Exact

    count, width, k, repeats = (20_000, 64, 10, 2) if given.tiny else (2_000_000, 768, 100, 5)
    if given.device == "cuda" and torch.cuda.mem_get_info()[1] > 40e9 and not given.tiny:
        count = 5_000_000
    store, matrix = _stored(folder / "vectors", count, width, given.device)
    found = dict[str, Any]()
    _reset_peak(given.device)
    about: dict[str, Any] = {"budget_bytes": (1 << 28) + 4 * matrix.nbytes, "device": given.device, "remembers": True}
    for name in ("opening", "opening again"):
        began = time.perf_counter()
        ours = Exact.open(store, share=DeviceShare(0.5), **about)  # the plain search needs room for the matrix too
        found[name] = {"seconds": time.perf_counter() - began, "matrix_bytes": matrix.nbytes}
        found[name] |= {"predicted_seconds": matrix.nbytes / BUS, "kept_vectors": sum(map(len, ours.first.kept))}
        if name == "opening":
            del ours
    plain = _Plain(matrix, given.device)
    for batch in (1, 32, 1_000):
        queries_QD = np.random.default_rng(batch).standard_normal((batch, width)).astype(np.float32)
        seconds: dict[str, list[float]] = {"ours": [], "plain": []}
        hits = ours.search(queries_QD, k)
        plain(queries_QD, k)
        for _ in range(repeats):
            seconds["ours"].append(_timed(given.device, lambda q=queries_QD: ours.search(q, k)))
            seconds["plain"].append(_timed(given.device, lambda q=queries_QD: plain(q, k)))
        ratio = sorted(one / other for one, other in zip(seconds["plain"], seconds["ours"], strict=True))
        same = _same(matrix, queries_QD[:CHECKED], hits.rows_QK[:CHECKED], k)
        found[f"batch {batch}"] = {"seconds": min(seconds["ours"]), "times_faster": ratio[repeats // 2], "same": same}
        found[f"batch {batch}"] |= predicted_search(count * width, matrix.nbytes, batch)
    found["memory"] = {"peak_bytes": torch.cuda.max_memory_allocated() if given.device == "cuda" else 0}
    return found


def _stored(folder: Path, count: int, width: int, device: str) -> tuple[Any, Any]:
    """A store of random vectors of length one, made where it is quick, and all of them in one array."""
    import numpy as np
    import torch

    from mpr.search.vectors import Unfinished

    shards = -(-count // CHUNK)
    dice = torch.Generator(device).manual_seed(3)
    work = Unfinished(folder, {"model": "random"}, shards, width, "float16")
    matrix = np.empty((count, width), dtype=np.float16)
    with work.held():
        work.missing()
        for number in range(shards):
            rows = np.arange(number * CHUNK, min((number + 1) * CHUNK, count))
            part = torch.nn.functional.normalize(torch.randn(len(rows), width, generator=dice, device=device), dim=1)
            matrix[rows] = part.half().cpu().numpy()
            work.add(number, rows, matrix[rows].astype(np.float32))
        return work.commit({}), matrix


class _Plain:
    """What anybody would write: half-precision products on the device, top-k of each chunk, merged."""

    def __init__(self, matrix: Any, device: str) -> None:
        import torch

        chunks = range(0, len(matrix), CHUNK)
        self.chunks = [torch.from_numpy(matrix[start : start + CHUNK]).to(device) for start in chunks]
        self.device = device

    def __call__(self, queries_QD: Any, k: int) -> Any:
        import torch

        queries = torch.from_numpy(queries_QD).to(self.device, torch.float16)
        best = []
        for number, chunk in enumerate(self.chunks):
            values, rows = (queries @ chunk.T).topk(k, dim=1)
            best.append((values, rows + number * CHUNK))
        values, place = torch.cat([each for each, _ in best], dim=1).topk(k, dim=1)
        return torch.cat([rows for _, rows in best], dim=1).gather(1, place).cpu()


def _same(matrix: Any, queries_QD: Any, rows_QK: Any, k: int) -> bool:
    """Whether these are the best by scores in 64 bits, rounded once to 32, equal ones by row."""
    import numpy as np

    parts = [
        (matrix[start : start + CHUNK].astype(np.float64) @ queries_QD.T.astype(np.float64)).astype(np.float32)
        for start in range(0, len(matrix), CHUNK)
    ]
    scores_NQ = np.concatenate(parts)
    best = [np.lexsort((np.arange(len(matrix)), -scores_NQ[:, place]))[:k] for place in range(len(queries_QD))]
    return bool(np.array_equal(np.array(best), rows_QK))


def _reset_peak(device: str) -> None:
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()


def _timed(device: str, action: Callable[[], object]) -> float:
    import torch

    began = time.perf_counter()
    action()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began
