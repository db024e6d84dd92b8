"""Published encoders by this kit and by sentence-transformers' own evaluator: the same texts, lengths and judgements.

sentence-transformers' InformationRetrievalEvaluator encodes with its own code, searches with its own code and computes
nDCG, recall and the rest with its own code. So all of that is compared at once with a run of `mpr reproduce`:

    mpr reproduce recipes/checkpoints/minilm_scifact_files.yaml --set data.corpus.folder=FOLDER --no-baselines
    python benchmarks/checkpoint_parity.py --recipe recipes/checkpoints/minilm_scifact_files.yaml \
        --run runs/minilm_scifact_files-published --data FOLDER --model MODEL

`MODEL` is what SentenceTransformer opens: a name on the Hub, or a folder. The evaluator knows relevant and not, and no
grades; beside its nDCG stands that of our run with every grade above zero as one, which is what it measures.

`--passages N` is for a slow machine: of the passages one in so many is encoded by both, N in all, and their vectors
are compared; the evaluator then searches in our vectors, with questions that it encodes itself.

Needs sentence-transformers. Prints a table and leaves JSON below benchmarks/results/.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
from collections import defaultdict
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

from mpr.recipe import read
from mpr.search.vectors import VectorStore

RESULTS = Path(__file__).parent / "results"


def lines(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8") as file:
        yield from file


def found(folder: Path, name: str) -> Path:
    return next(path for path in (folder / name, folder / f"{name}.gz") if path.is_file())


def collection(folder: Path) -> tuple[dict[str, str], dict[str, str], dict[str, dict[str, int]]]:
    """Texts as BEIR joins them, questions, and grades above zero, read by json alone."""
    documents = {one["_id"]: one for one in map(json.loads, lines(found(folder, "corpus.jsonl")))}
    texts = {
        name: f"{one['title']} {one['text']}" if one.get("title") else one["text"] for name, one in documents.items()
    }
    grades: dict[str, dict[str, int]] = defaultdict(dict)
    for line in lines(found(folder, "qrels.test.tsv")):
        question, document, grade = line.split("\t")
        if grade.strip().isdigit() and int(grade) > 0:  # a first line may name the columns
            grades[question][document] = int(grade)
    asked = {one["_id"]: one["text"] for one in map(json.loads, lines(found(folder, "queries.test.jsonl")))}
    return texts, {name: asked[name] for name in grades}, dict(grades)


def binary_ndcg(run: Path, grades: dict[str, dict[str, int]], cut: int = 10) -> float:
    """Of a TREC run, every relevant passage worth the same."""
    ranked: dict[str, list[str]] = defaultdict(list)
    for line in run.read_text("utf-8").splitlines():
        question, _, passage, *_ = line.split()
        ranked[question].append(passage)
    total = 0.0
    for question, known in grades.items():
        gained = sum(1 / math.log2(place + 1) for place, one in enumerate(ranked[question][:cut], 1) if one in known)
        total += gained / sum(1 / math.log2(place + 1) for place in range(1, min(cut, len(known)) + 1))
    return total / len(grades)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, what in (
        ("recipe", "recipe of the row"),
        ("run", "its finished run folder"),
        ("data", "folder of the collection in BEIR's form"),
        ("model", "what SentenceTransformer opens"),
    ):
        parser.add_argument(f"--{name}", required=True, type=Path if name != "model" else str, help=what)
    parser.add_argument("--passages", type=int, help="encode this many passages with both, not all")
    arguments = parser.parse_args()
    recipe = read.load(arguments.recipe)
    towers = recipe.towers
    if towers.title != "join" or towers.question_length != towers.passage_length:
        parser.error("the evaluator joins titles with a space and has one length: the recipe must too")
    texts, questions, grades = collection(arguments.data)
    model = SentenceTransformer(arguments.model, device="cpu", local_files_only=Path(arguments.model).is_dir())
    model.max_seq_length = towers.passage_length
    relevant = {question: set(known) for question, known in grades.items()}
    evaluator = InformationRetrievalEvaluator(
        questions, texts, relevant, ndcg_at_k=[10], precision_recall_at_k=[100], mrr_at_k=[10], map_at_k=[100],
        accuracy_at_k=[10], score_functions={"cosine": model.similarity}, write_csv=False, batch_size=32,
    )  # fmt: skip
    sampled: dict[str, Any] = {}
    if arguments.passages:
        vectors = VectorStore(arguments.run / "vectors" / "corpus").by_row()
        chosen = list(range(0, len(texts), max(1, len(texts) // arguments.passages)))
        own = model.encode([list(texts.values())[row] for row in chosen])
        sampled = {
            "passages encoded by both": len(chosen),
            "largest difference": float(abs(own - vectors[chosen]).max()),
        }
        print(sampled)
        given = {"corpus_embeddings": torch.from_numpy(vectors)}
    else:
        given = {}
    theirs = {name.removeprefix("cosine_"): value for name, value in evaluator(model, **given).items()}
    result = json.loads((arguments.run / "result.json").read_bytes())
    ours = {name: one["mean"] for name, one in result["scores"]["test"]["measures"].items()}
    binary = binary_ndcg(arguments.run / "rankings" / "test" / "run.trec", grades)
    rows: list[dict[str, Any]] = [
        {"measure": "ndcg10", "ours": ours["ndcg10"], "theirs": theirs["ndcg@10"]},
        {"measure": "ndcg10, grades as one", "ours": binary, "theirs": theirs["ndcg@10"]},
        {"measure": "recall100", "ours": ours["recall100"], "theirs": theirs["recall@100"]},
    ]
    for row in rows:
        one, other = row["ours"], row["theirs"]
        print(f"{row['measure']:<24} mpr {one:.6f}  theirs {other:.6f}  {one - other:+.1e}")
    packages = {name: metadata.version(name) for name in ("sentence-transformers", "transformers", "torch")}
    graded = sum(len(set(known.values())) > 1 for known in grades.values())
    about = {
        "row": recipe.name,
        "result": result["digest"],
        "questions": len(questions),
        "questions with several grades": graded,
        "passages": len(texts),
        **sampled,
        "packages": packages,
    }
    target = RESULTS / f"checkpoint_parity_{recipe.name}.json"
    target.write_text(json.dumps({**about, "measures": rows}, indent=1) + "\n", "utf-8")
    print(target)


if __name__ == "__main__":
    main()
