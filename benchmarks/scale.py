"""What each step costs for one passage or question at several sizes, at one tree of mpr or at two side by side.

    python benchmarks/scale.py passages.tsv.gz --questions questions.txt --tokenizer tokenizer.json \\
        --trees before=../older after=. --sizes 50000,200000,650000

Passages are those of a file of DPR's form; behind its end they come again with other ids and their words turned round.
Every step runs in a process of its own, the trees in turn, and says processor seconds, wall seconds and how much more
memory it has at its peak than before: all of it (VmHWM), and what is its own (RssAnon, looked at from outside), without
pages of mapped files, which the system takes back. Tokens are made at the smallest size alone, by all cores.
Memory of a BM25 index is looked at in a build (step bm25_budget) with the share of the default budget that its passages
are of DPR's 21 million, so that it is merged in as many parts as those. For larger collections `mpr plan`'s formula is
given: passages that come again have no new words, so growth between the sizes says little.
Writes the numbers to benchmarks/results/, and a table of them, with what they mean for larger collections, between the
marks of docs/scale.md. `--steps bm25` measures this step again and keeps the other numbers.
"""

from __future__ import annotations

import argparse
import gzip
import json
import lzma
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE, RESULTS = ROOT / "docs" / "scale.md", ROOT / "benchmarks" / "results" / "scale.json"
MARKS = "<!-- measured: begin -->", "<!-- measured: end -->"
LARGER = (8_841_823, 21_015_324, 138_364_198)  # MS MARCO's passages, DPR's, and MS MARCO v2's
ASKED, DEPTH = 300, 100
BUDGET = 2 << 30  # of mpr.search.bm25
STEPS = {
    "passages": "read, checked, hashed and stored",
    "tokens": "tokenised, all cores",
    "plan": "plan of encoding",
    "bm25": "BM25 index",
    "bm25_budget": "BM25 index within a budget",
    "mining": f"BM25, one question, {DEPTH} passages",
    "run": f"run of {DEPTH} passages written, one question",
}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path, help="passages: id, text, title between tabs; .gz and .xz too")
    parser.add_argument("--questions", type=Path, required=True, help="a question on each line, or JSON lines; .gz too")
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json; without it tokens are not measured")
    parser.add_argument("--trees", nargs="+", default=[f"after={ROOT}"], metavar="NAME=FOLDER")
    parser.add_argument("--sizes", default="50000,200000,650000")
    parser.add_argument("--steps", default="", help="only these, with commas; numbers of the others are kept")
    parser.add_argument("--folder", type=Path, help="where stores are made; they need 3 KB for each passage")
    parser.add_argument("--print", action="store_true", help="only print the table")
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


# ---- One step, in a process of its own, with the mpr of its tree


def passages(given: argparse.Namespace, folder: Path, texts: Path) -> tuple[Callable[[], Any], int]:
    from mpr.data import passages
    from mpr.formats import dpr_tsv

    return lambda: passages.build(folder / "passages", dpr_tsv.read_passages(texts), {}), 0


def tokens(given: argparse.Namespace, folder: Path, texts: Path) -> tuple[Callable[[], Any], int]:
    from tokenizers import Tokenizer

    from mpr.data import tokens
    from mpr.data.passages import PassageStore

    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    tokenizer, store = Tokenizer.from_file(str(given.tokenizer)), PassageStore(folder / "passages")
    read = tokens.passage_texts(store, "pair", "")

    def made() -> dict[str, int]:
        return {
            "tokens": int(tokens.build(folder / "tokens", read, tokenizer, cap=tokens.KEPT, receipt={}).lengths.sum())
        }

    return made, 0


def plan(given: argparse.Namespace, folder: Path, texts: Path) -> tuple[Callable[[], Any], int]:
    import numpy as np

    from mpr.data.passages import PassageStore
    from mpr.search.padding import Constants, PaddingPlan

    lengths = np.random.default_rng(0).integers(60, 256, len(PassageStore(folder / "passages")))
    return lambda: PaddingPlan.of(lengths, Constants()), 0


def bm25(given: argparse.Namespace, folder: Path, texts: Path) -> tuple[Callable[[], Any], int]:
    return indexing(folder / "bm25"), 0


def bm25_budget(given: argparse.Namespace, folder: Path, texts: Path) -> tuple[Callable[[], Any], int]:
    from mpr.data.passages import PassageStore

    return indexing(folder / "bm25_budget", BUDGET * len(PassageStore(folder / "passages")) // LARGER[1]), 0


def indexing(target: Path, budget: int | None = None) -> Callable[[], dict[str, int]]:
    import bm25s  # noqa: F401 - is loaded before it is measured

    from mpr.data.passages import PassageStore
    from mpr.rows.retrieval import BM25
    from mpr.search import bm25

    store = PassageStore(target.parent / "passages")

    def built() -> dict[str, int]:
        index = bm25.build(target, store, BM25, **({} if budget is None else {"budget_bytes": budget}))
        known = {"words": index.manifest.receipt["words"]}
        return known if budget is None else {**known, "budget": budget}

    return built


def mining(given: argparse.Namespace, folder: Path, texts: Path) -> tuple[Callable[[], Any], int]:
    from mpr.search.bm25 import LexicalIndex

    index, asked = LexicalIndex(folder / "bm25"), questions(given.questions)
    for question in asked:  # so that every page that is read is in memory
        index.top(question, DEPTH)
    return lambda: [index.top(question, DEPTH) for question in asked], len(asked)


def run(given: argparse.Namespace, folder: Path, texts: Path) -> tuple[Callable[[], Any], int]:
    import numpy as np

    from mpr.data.passages import PassageStore
    from mpr.evaluation.ranking import Ranking
    from mpr.formats import trec

    store, rng = PassageStore(folder / "passages"), np.random.default_rng(0)
    rows_QK = np.array([rng.choice(len(store), DEPTH, replace=False) for _ in range(ASKED)])
    scores_QK = np.sort(rng.random(rows_QK.shape))[:, ::-1]

    def written() -> None:
        ranking = Ranking.of_rows([f"q{number}" for number in range(ASKED)], rows_QK, scores_QK)
        with (folder / "run.trec").open("wb") as file:
            trec.write_hits(file, ranking.hits(store.ids, "mpr"))

    return written, ASKED


def questions(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line, _ in zip(file, range(ASKED), strict=False)]
    return [json.loads(line)["question"] if line.startswith("{") else line for line in lines]


def measured(given: argparse.Namespace) -> dict[str, Any]:
    name, folder, texts = given.step
    import pyarrow as pa

    pa.array(["x"])  # imports pandas, once for the process
    work, items = globals()[name](given, Path(folder), Path(texts))
    before, own = memory("VmRSS"), memory("RssAnon")
    wall, used = time.perf_counter(), time.process_time()
    made = work()
    used, wall = time.process_time() - used, time.perf_counter() - wall
    more = made if isinstance(made, dict) else {}
    peak = max(0, memory("VmHWM") - before)
    return {"cpu": used, "wall": wall, "memory": peak, "own": own, "items": items, **more}


def memory(what: str, process: str = "self") -> int:
    lines = Path(f"/proc/{process}/status").read_text("ascii").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(what)), 0)


def watched(command: list[str], paths: dict[str, str]) -> dict[str, Any]:
    """What the process of a step prints; its own memory before becomes what it has more of at the peak."""
    with subprocess.Popen(command, env=paths, stdout=subprocess.PIPE, text=True) as child:
        highest = 0
        while child.poll() is None:
            highest = max(highest, memory("RssAnon", str(child.pid)))
            time.sleep(0.02)
        if child.returncode:
            raise SystemExit(f"failed: {' '.join(command)}")
        assert child.stdout is not None
        point: dict[str, Any] = json.loads(child.stdout.read())
    return {**point, "own": max(0, highest - point["own"])}


# ---- All of them


def write_texts(source: Path, target: Path, count: int) -> None:
    """So many passages in DPR's own form: a header, texts in quotation marks, packed."""
    kinds: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}
    with kinds.get(source.suffix, open)(source, "rt", encoding="utf-8", newline="\n") as file:
        rows = [line.rstrip("\n").split("\t") for line, _ in zip(file, range(count + 1), strict=False)]
    rows = rows[1:] if rows[0][0] == "id" else rows
    with gzip.open(target, "wt", encoding="utf-8", compresslevel=1, newline="\n") as out:
        out.write("id\ttext\ttitle\n")
        for number in range(count):
            turn, (identity, text, title) = number // len(rows), rows[number % len(rows)]
            words = text.strip('"').split(" ")
            place = 17 * turn % len(words)
            text = " ".join(words[place:] + words[:place]).replace('"', '""')
            title = '"' + title.replace('"', '""') + '"' if '"' in title else title
            out.write(f'{identity}{f"-{turn}" if turn else ""}\t"{text}"\t{title}\n')


def points(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    trees = dict(tree.split("=", 1) for tree in given.trees)
    sizes = sorted(map(int, given.sizes.split(",")))
    wanted = given.steps.split(",") if given.steps else [*STEPS]
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=given.folder) as made:
            folder = Path(made)
            write_texts(given.texts, folder / "texts.tsv.gz", size)
            # Every other step reads the store that the first one makes.
            for step in dict.fromkeys(["passages", *wanted]):
                if step == "tokens" and (given.tokenizer is None or size != sizes[0]):
                    continue
                for name, tree in trees.items():
                    if step == "bm25_budget" and not bounded(Path(tree)):
                        continue
                    place = folder / name
                    place.mkdir(exist_ok=True)
                    command = [sys.executable, __file__, *sys.argv[1:], "--step", step, str(place)]
                    paths = {**os.environ, "PYTHONPATH": str(Path(tree).resolve())}
                    point = {"step": step, "size": size, "tree": name}
                    point |= watched([*command, str(folder / "texts.tsv.gz")], paths)
                    print(point, file=sys.stderr, flush=True)
                    if step in wanted:
                        yield point


def bounded(tree: Path) -> bool:
    """Whether a tree of mpr builds an index within a budget."""
    return "budget_bytes" in (tree / "mpr/search/bm25.py").read_text("utf-8")


def table(found: list[dict[str, Any]], snapshot: dict[str, Any], texts: str) -> str:
    trees = list(dict.fromkeys(point["tree"] for point in found))
    sizes = sorted({point["size"] for point in found})
    at = {(point["step"], point["size"], point["tree"]): point for point in found}
    packages = ", ".join(f"{name} {snapshot['packages'][name]}" for name in ("numpy", "pyarrow", "scipy", "tokenizers"))
    lines = [
        MARKS[0],
        f"Written by benchmarks/scale.py. {snapshot['cpu']['model']}, {snapshot['cpu']['usable']} cores; {packages}. "
        f"Passages of {texts}, packed by gzip; behind the end of the file they come again. Each cell: microseconds of "
        "a processor for each passage (or question), and in brackets by the clock. Memory: what grows with the "
        "passages, between the smallest and the largest size.",
        "",
        "### Measured per item",
        "",
        f"| step | tree | {' | '.join(f'{size:,}' for size in sizes)} | bytes of memory a passage |",
        f"|---|---|{'--:|' * len(sizes)}--:|",
    ]
    for step, what in STEPS.items():
        for tree in trees:
            known = [size for size in sizes if (step, size, tree) in at]
            if not known or step == "bm25_budget":
                continue
            cells = []
            for size in sizes:
                point = at.get((step, size, tree))
                each = 1e6 / ((point["items"] or size) if point else 1)
                clock = f" ({point['wall'] * each:,.1f})" if point and not point.get("busy") else ""
                cells.append(f"{point['cpu'] * each:,.1f}{clock}" if point else "")
            ends = [at[step, size, tree]["memory"] for size in (known[0], known[-1])]
            grown = f"{(ends[1] - ends[0]) / (known[-1] - known[0]):,.0f}" if len(known) > 1 else ""
            lines.append(f"| {what} | {tree} | {' | '.join(cells)} | {grown} |")
    if any(point.get("busy") for point in found):
        lines += ["", "Without a time by the clock: measured in turns while others used the machine."]
    within = [point for point in found if point["step"] == "bm25_budget"]
    if within:
        lines += [
            "",
            "A BM25 index needs what its budget (`--memory`) allows for postings; these sizes fit into the default of "
            f"{BUDGET / 1e9:,.1f} GB as a whole. With the share of it that the passages are of {LARGER[1]:,}, they are "
            "merged in as many parts as those would be, and this is the peak of what the process has of its own (pages "
            "of mapped files, which the system takes back, are not counted):",
            "",
            "| passages | words | budget | peak, with the budget | predicted by `mpr plan` |",
            "|--:|--:|--:|--:|--:|",
            *(
                f"| {point['size']:,} | {point['words']:,} | {point['budget'] / 1e6:,.0f} MB | "
                f"{point['own'] / 1e6:,.0f} MB | {predicted(point['size'], point['budget']) / 1e6:,.0f} MB |"
                for point in within
            ),
        ]
    for point in found:
        if point.get("tokens"):
            lines += [
                "",
                f"Tokenising ({point['tree']}), all {snapshot['cpu']['usable']} cores: "
                f"{point['size'] / point['wall']:,.0f} passages and {point['tokens'] / point['wall']:,.0f} tokens a "
                f"second by the clock; {point['tokens'] / point['size']:,.0f} tokens a passage.",
            ]
    lines += [
        "",
        "### Extrapolated",
        "",
        "Not measured: the largest size times the number of passages. Memory is extrapolated by its growth between the "
        f"smallest and the largest size, and where there is a budget it is what `mpr plan` predicts for the default, "
        f"{BUDGET / 1e9:,.1f} GB. Hours are those of one core.",
        "",
        f"| step | tree | {' | '.join(f'{size / 1e6:,.1f}M' for size in LARGER)} |",
        f"|---|---|{'--:|' * len(LARGER)}",
    ]
    for step, what in STEPS.items():
        for tree in trees:
            known = [size for size in sizes if (step, size, tree) in at]
            if not known or step in ("run", "bm25_budget"):
                continue
            last, first = at[step, known[-1], tree], at[step, known[0], tree]
            cells = []
            for size in LARGER:
                seconds = last["cpu"] / (last["items"] or 1) * size / known[-1]
                said = f"{seconds:,.2f} s" if last["items"] else f"{seconds / 3600:,.2f} h"
                if step == "bm25" and any(point["tree"] == tree for point in within):
                    said += f", {predicted(size, BUDGET) / 1e9:,.1f} GB"
                elif step == "bm25" and len(known) > 1:
                    slope = (last["memory"] - first["memory"]) / (known[-1] - known[0])
                    said += f", {(last['memory'] + slope * (size - known[-1])) / 1e9:,.1f} GB"
                cells.append(said)
            lines.append(f"| {what} | {tree} | {' | '.join(cells)} |")
    return "\n".join([*lines, MARKS[1]])


def predicted(passages: int, budget: int) -> float:
    """Bytes that building a BM25 index takes, by the formula of `mpr plan`."""
    from mpr.recipe import _host_costs as costs

    return budget + passages * costs.BYTES_PER_PASSAGE_INDEXED + costs.BYTES_BUILDING


def merged(before: list[dict[str, Any]], found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All points in the order of the steps, those found now in the place of those of before."""
    at = {(point["step"], point["size"], point["tree"]): point for point in (*before, *found)}
    return sorted(at.values(), key=lambda point: (point["size"], [*STEPS].index(point["step"])))


def main() -> None:
    given = options()
    if given.step:
        print(json.dumps(measured(given)))
        return
    before = json.loads(RESULTS.read_text("utf-8"))["points"] if given.steps else []
    sys.path.insert(0, str(ROOT))
    found = merged(before, list(points(given)))
    from mpr.runtime import environment

    snapshot = environment.snapshot()
    text = table(found, snapshot, given.texts.name)
    print(text)
    if not given.print:
        RESULTS.write_text(json.dumps({"points": found, "snapshot": snapshot}, indent=1) + "\n", "utf-8")
        before, _, rest = PAGE.read_text("utf-8").partition(MARKS[0])
        PAGE.write_text(f"{before}{text}{rest.partition(MARKS[1])[2]}", "utf-8")


if __name__ == "__main__":
    main()
