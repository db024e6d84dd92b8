"""What a collection costs the processor: seconds and memory of its stores, its tokens, its BM25 index and searches.

    python benchmarks/host.py psgs_w100.tsv.gz --tokenizer tokenizer.json --questions questions.txt

`mpr plan` predicts these numbers (`mpr/recipe/_host_costs.py`); the page that this writes has both, side by side, and
how far they are apart. The passages are the first ones of a file of DPR's form (id, text, title), in two numbers. Each
part is measured in a process of its own. Seconds are those of the processor, since others may use it too. Memory is
what the part adds to what the process has of its own (RssAnon); pages of mapped files are not in it, because the system
takes them back.
Writes a table and the numbers to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results"
sys.path[:0] = [str(ROOT)]
PARTS = ("passages", "tokens", "bm25", "mining", "search")
WIDTH, ASKED, DEPTH = 768, 1_000, 100
WORDS = 100  # of a passage of DPR's
BUDGET = 2_000_000_000


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path, help="passages in DPR's form, packed or not")
    parser.add_argument("--header", action="store_true", help="the first line names the columns")
    parser.add_argument("--tokenizer", type=Path, required=True, help="a tokenizer.json, such as bert-base-uncased's")
    parser.add_argument("--questions", type=Path, required=True, help="a question on each line")
    parser.add_argument("--sizes", default="50000,200000", help="numbers of passages, with commas")
    parser.add_argument("--name", default="host", help="stem of the files in benchmarks/results/")
    parser.add_argument("--part", nargs=3, metavar=("PART", "PASSAGES", "FOLDER"), help=argparse.SUPPRESS)
    return parser.parse_args()


# ---- one part, in a process of its own: prints "begin" when it is ready, and then what it found


def passages(given: argparse.Namespace, count: int, folder: Path) -> dict[str, Any]:
    from mpr.data import passages
    from mpr.formats import dpr_tsv

    begin()
    with Cost() as cost:
        read = dpr_tsv.read_passages(given.texts, header=given.header, quoted=given.header)
        store = passages.build(folder / "passages", islice(read, count), {}, expected=count)
    return {**cost.found, "bytes": size(store.folder), "words": sum(len(one.text.split()) for one in store)}


def tokens(given: argparse.Namespace, count: int, folder: Path) -> dict[str, Any]:
    from tokenizers import Tokenizer

    from mpr.data import tokens
    from mpr.data.passages import PassageStore

    tokenizer, store = Tokenizer.from_file(str(given.tokenizer)), PassageStore(folder / "passages")
    texts = tokens.passage_texts(store, "pair", "")
    begin()
    with Cost() as cost:
        made = tokens.build(folder / "tokens", texts, tokenizer, cap=tokens.KEPT, receipt={})
    return {**cost.found, "bytes": size(made.folder), "tokens": int(made.lengths.sum())}


def bm25(given: argparse.Namespace, count: int, folder: Path) -> dict[str, Any]:
    import bm25s  # noqa: F401 - is loaded before it is measured

    from mpr.data.passages import PassageStore
    from mpr.rows.retrieval import BM25
    from mpr.search import bm25

    store = PassageStore(folder / "passages")
    begin()
    with Cost() as cost:
        index = bm25.build(folder / "bm25", store, BM25)
    known = index.manifest.receipt
    return {
        **cost.found,
        "bytes": size(index.folder),
        "postings": known["postings"],
        "vocabulary": known["words"],
    }


def mining(given: argparse.Namespace, count: int, folder: Path) -> dict[str, Any]:
    from mpr.search.bm25 import LexicalIndex

    index = LexicalIndex(folder / "bm25")
    asked = given.questions.read_text("utf-8").splitlines()[:ASKED]
    index.top(asked[0], DEPTH)
    begin()
    with Cost() as cost:
        for question in asked:
            index.top(question, DEPTH)
    return {**cost.found, "questions": len(asked)}


def search(given: argparse.Namespace, count: int, folder: Path) -> dict[str, Any]:
    import numpy as np
    from stores import Shard, Store

    from mpr.search.exact import Exact

    rng, file = np.random.default_rng(0), folder / "vectors.bin"
    with file.open("wb") as writer:
        for _ in range(0, count, 10_000):
            writer.write(rng.standard_normal((10_000, WIDTH), dtype=np.float32).data)
    vectors = np.memmap(file, dtype=np.float32, mode="r", shape=(count, WIDTH))
    asked = rng.standard_normal((ASKED, WIDTH), dtype=np.float32)
    begin()
    with Cost() as opening:
        opened = Exact.open(Store(WIDTH, (Shard(np.arange(count), vectors),)), budget_bytes=BUDGET)
    with Cost() as cost:
        opened.search(asked, DEPTH)
    return {**cost.found, "opening": opening.found["seconds"], "questions": ASKED}


class Cost:
    """Seconds of the processor from begin to end, of all threads."""

    def __enter__(self) -> Cost:
        self._before, self.found = time.process_time(), dict[str, Any]()
        return self

    def __exit__(self, *_: object) -> None:
        self.found = {"seconds": time.process_time() - self._before}


def begin() -> None:
    print("begin", flush=True)
    sys.stdin.readline()  # until memory is watched


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


# ---- all parts


def watched(part: str, count: int, folder: Path) -> dict[str, Any]:
    """Runs a part; another process looks at its memory, every few milliseconds."""
    command = [sys.executable, __file__, *sys.argv[1:], "--part", part, str(count), str(folder)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    if child.stdout.readline() != "begin\n":
        raise SystemExit(f"{part} did not begin")
    before = highest = anonymous(child.pid)
    child.stdin.write("\n")
    child.stdin.close()
    while child.poll() is None:
        highest = max(highest, anonymous(child.pid))
        time.sleep(0.004)
    if child.returncode:
        raise SystemExit(f"{part} failed")
    return {"part": part, "passages": count, **json.loads(child.stdout.read()), "memory": highest - before}


def anonymous(process: int) -> int:
    """Bytes that a process has of its own."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:")), 0)


def predicted(point: dict[str, Any]) -> dict[str, float]:
    """The same by the formulas of `mpr plan`, for passages of DPR's length."""
    from mpr.recipe import _costs
    from mpr.recipe import _host_costs as costs

    count = point["passages"]
    words = count * WORDS
    postings = words * costs.POSTINGS_PER_WORD["english"]
    found: dict[str, dict[str, float]] = {
        "passages": {
            "seconds": words * costs.SECONDS_PER_WORD,
            "memory": count * costs.BYTES_PER_PASSAGE_BUILDING + costs.BYTES_AT_ONCE,
            "bytes": count * (WORDS * _costs.BYTES_PER_WORD + _costs.BYTES_PER_PASSAGE),
        },
        "tokens": {
            "seconds": words * _costs.TOKENS_PER_WORD * costs.SECONDS_PER_TOKEN,
            "memory": count * costs.BYTES_PER_PASSAGE_BUILDING + costs.BYTES_AT_ONCE,
            "bytes": count * (WORDS * _costs.TOKENS_PER_WORD * 4 + _costs.BYTES_PER_TOKEN_ROW),
        },
        "bm25": {
            "seconds": postings * costs.SECONDS_PER_POSTING,
            "memory": min(postings * costs.BYTES_PER_POSTING_BUILDING, costs.SEARCH_BYTES)
            + count * costs.BYTES_PER_PASSAGE_INDEXED
            + costs.BYTES_BUILDING,
            "bytes": postings * costs.BYTES_PER_POSTING,
            "postings": postings,
        },
        "mining": {"seconds": count * point.get("questions", 0) * costs.SECONDS_PER_PAIR},
        "search": {"memory": costs.SEARCH_BYTES},
    }
    return found[point["part"]]


def table(points: list[dict[str, Any]], snapshot: dict[str, Any], given: argparse.Namespace) -> str:
    packages = ", ".join(f"{name} {snapshot['packages'][name]}" for name in ("bm25s", "tokenizers", "numpy"))
    asked = f"{ASKED:,} questions of {given.questions.name}, {DEPTH} passages each"
    lines = [
        "# What a collection costs the processor",
        "",
        f"Written by benchmarks/host.py. {snapshot['cpu']['model']}, {snapshot['cpu']['usable']} cores, shared with "
        f"others; {packages}. The first passages of {given.texts.name}; {asked}; exact search in vectors of {WIDTH} "
        "random numbers, with 2 GB of memory allowed. Predictions are those of `mpr plan` for passages of 100 words.",
        "",
        "| part | passages | what | measured | predicted | predicted / measured |",
        "|---|--:|---|--:|--:|--:|",
    ]
    units = {"seconds": ("s of a core", 1.0), "memory": ("MB of memory", 1e6), "bytes": ("MB on disk", 1e6)}
    for point in points:
        said = predicted(point)
        for what, (name, unit) in {**units, "postings": ("postings", 1.0)}.items():
            if what in point:
                guess = said.get(what)
                cells = [f"{point[what] / unit:,.1f}"]
                cells += ["", ""] if guess is None else [f"{guess / unit:,.1f}", f"{guess / point[what]:.2f}"]
                lines.append(f"| {point['part']} | {point['passages']:,} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    given = options()
    if given.part:
        part, count, folder = given.part
        print(json.dumps(globals()[part](given, int(count), Path(folder))))
        return
    from mpr.runtime import environment

    found = []
    for count in map(int, given.sizes.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            for part in PARTS:
                found.append(watched(part, count, Path(folder)))
                print(found[-1], flush=True)
    snapshot = environment.snapshot()
    RESULTS.mkdir(exist_ok=True)
    text = table(found, snapshot, given)
    (RESULTS / f"{given.name}.md").write_text(text, "utf-8")
    content = {"points": found, "snapshot": snapshot}
    (RESULTS / f"{given.name}.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    print(text)


if __name__ == "__main__":
    main()
