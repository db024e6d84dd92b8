"""Our BM25 against published BM25 on two small collections of BEIR, and what the differences are made of.

    python benchmarks/baselines.py --scifact FOLDER --nfcorpus FOLDER

The folders are in BEIR's form (corpus.jsonl, queries, qrels; packed or not). Ours is what `mpr evaluate --bm25` says.
Beside it stand the same run file scored by pytrec_eval, and a BM25 of this script (nothing of mpr's, nothing of bm25s')
that takes one rule of Lucene's text analysis after the other. Writes what it prints to benchmarks/results/baselines.md.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytrec_eval
import Stemmer
from bm25s.stopwords import STOPWORDS_EN
from scipy.sparse import csc_matrix

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results" / "baselines.md"
K1, B, DEPTH = 0.9, 0.4, 100
RECIPES = {"scifact": "scifact_joint_lh_all", "nfcorpus": "nfcorpus_lse_pair_m4"}
MEASURES = {"ndcg10": "ndcg_cut_10", "recall100": "recall_100"}
PAGE = "castorini/anserini docs/regressions/regressions-beir-v1.0.0-{name}.{form}.md at commit {commit}"
SIZES = {"scifact": 5_183, "nfcorpus": 3_633}  # passages of BEIR's collections
PUBLISHED = {  # nDCG@10, R@100; k1 0.9, b 0.4; title and text as one field ("flat") or as two fields of equal weight
    ("scifact", "flat"): (0.6789, 0.9253, "8403c4840fce43ca3ebec1e552ed1ae811d7ad8a"),
    ("scifact", "multifield"): (0.6647, 0.9076, "4c248722d6cc143bf40295a97af8dae2a43d2b39"),
    ("nfcorpus", "flat"): (0.3218, 0.2457, "6c648f7de287705d00a6378397e173989a26e9e9"),
    ("nfcorpus", "multifield"): (0.3254, 0.2500, "4c248722d6cc143bf40295a97af8dae2a43d2b39"),
}

READING = """Ours is to be compared with `flat`, which also indexes title and text as one field.
pytrec_eval puts equal scores in the order of falling ids, mpr in that of the collection, which can move the last
digits."""

# ---- the collection, read without mpr


@dataclass(frozen=True)
class Collection:
    texts: dict[str, tuple[str, str]]
    """Title and text of each passage."""
    asked: dict[str, str]
    grades: dict[str, dict[str, int]]

    @classmethod
    def read(cls, folder: Path) -> Collection:
        rows = [line.split("\t") for line in lines(folder, "qrels/test.tsv", "qrels.test.tsv")]
        grades: dict[str, dict[str, int]] = {}
        for question, passage, grade in (row for row in rows if row[2].lstrip("-").isdigit()):
            grades.setdefault(question, {})[passage] = int(grade)
        documents = map(json.loads, lines(folder, "corpus.jsonl"))
        questions = map(json.loads, lines(folder, "queries.test.jsonl", "queries.jsonl"))
        texts = {one["_id"]: (one.get("title") or "", one["text"]) for one in documents}
        return cls(texts, {one["_id"]: one["text"] for one in questions if one["_id"] in grades}, grades)

    def scored(self, run: dict[str, dict[str, float]]) -> dict[str, float]:
        """Means over all judged questions; one that the run lacks counts 0, as `trec_eval -c` counts it."""
        judge = pytrec_eval.RelevanceEvaluator(self.grades, {"ndcg_cut.10", "recall.100"})
        found = judge.evaluate(run).values()
        return {ours: math.fsum(one[its] for one in found) / len(self.grades) for ours, its in MEASURES.items()}


def lines(folder: Path, *names: str) -> Iterator[str]:
    for path in (folder / (name + ending) for name in names for ending in ("", ".gz")):
        if path.is_file():
            with (
                gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file
            ):
                yield from (line.rstrip("\n") for line in file)
            return
    raise SystemExit(f"{folder} has none of {', '.join(names)}")


# ---- mpr's own number


def ours(name: str, folder: Path, home: Path) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """What `mpr evaluate --bm25` says, and the run file that it scored."""
    command = [sys.executable, "-m", "mpr.cli", "evaluate", str(ROOT / "recipes/mini" / f"{RECIPES[name]}.yaml")]
    command += ["--bm25", "--set", "draft=true", "--set", f"data.corpus.folder={json.dumps(str(folder.resolve()))}"]
    command += ["--home", str(home / "home"), "--folder", str(home / name), "--quiet", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    measures = {measure: one["mean"] for measure, one in json.loads(done.stdout)["test"]["measures"].items()}
    run: dict[str, dict[str, float]] = {}
    for line in (home / name / "rankings" / "test" / "run.trec").read_text("utf-8").splitlines():
        question, _, passage, _, score, _ = line.split()
        run.setdefault(question, {})[passage] = float(score)
    return measures, run


# ---- BM25 by the formula, with the rules of one analysis or the other

TWO, ONE = re.compile(r"\b\w\w+\b"), re.compile(r"\b\w+\b")
# Unicode's word breaks (UAX 29) as far as English needs them: 0.05 and it's are one word.
BREAKS = re.compile(r"\w+(?:(?:(?<=[^\W\d_])['’.:](?=[^\W\d_])|(?<=\d)[.,;'’](?=\d))\w+)*")
LUCENE_STOPS = frozenset(
    ["a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not", "of",
     "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was", "will", "with"]
)  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """One way of making words of a text and numbers of words."""

    what: str
    word: re.Pattern[str] = TWO
    possessives: bool = False
    stops: frozenset[str] = frozenset(STOPWORDS_EN)
    stemmer: str = "english"
    byte_lengths: bool = False
    """A passage's length is kept in one byte, as Lucene keeps it: what is above 24 is rounded down."""
    fields: bool = False
    """Title and text are indexed apart, and their scores added."""

    def words(self) -> Callable[[str], list[str]]:
        stem = Stemmer.Stemmer(self.stemmer).stemWords

        def words_of(text: str) -> list[str]:
            found = self.word.findall(text.lower())
            if self.possessives:
                found = [re.sub(r"['’]s$", "", word) for word in found]
            return list(stem([word for word in found if word not in self.stops]))

        return words_of


LUCENE: dict[str, Any] = {"word": BREAKS, "possessives": True, "stops": LUCENE_STOPS, "stemmer": "porter"}
VARIANTS = (
    Variant("mpr's rules"),
    Variant("... words of one character count too", word=ONE),
    Variant("... words break as Unicode says", word=BREAKS),
    Variant("... Lucene's 33 stop words", stops=LUCENE_STOPS),
    Variant("... no stop words", stops=frozenset()),
    Variant("... Porter's first stemmer", stemmer="porter"),
    Variant("... lengths kept in a byte", byte_lengths=True),
    Variant("Lucene's rules: words, possessives, stop words, stemmer", **LUCENE),
    Variant("Lucene's rules, and lengths kept in a byte: what flat stands for", **LUCENE, byte_lengths=True),
    Variant("the same with two fields: what multifield stands for", **LUCENE, byte_lengths=True, fields=True),
)


def in_a_byte(length: int) -> int:
    """What is left of a length: three bits after the leading one, above 24."""
    rest = max(length - 24, 0)
    shift = max(rest.bit_length() - 4, 0)
    return min(length, 24) + (rest >> shift << shift)


class Field:
    """The weights of words in texts, by the formula."""

    def __init__(self, texts: list[str], variant: Variant) -> None:
        self.words_of, self.numbers = variant.words(), dict[str, int]()
        entries, lengths = [], []
        for row, text in enumerate(texts):
            words = self.words_of(text)
            lengths.append(len(words))
            counts = Counter(words).items()
            entries += [(row, self.numbers.setdefault(word, len(self.numbers)), often) for word, often in counts]
        row_E, word_E, often_E = np.array(entries, dtype=np.int64).T
        length_P = np.array([in_a_byte(length) if variant.byte_lengths else length for length in lengths])
        having_W, there = np.bincount(word_E), np.count_nonzero(lengths)
        rarity_W = np.log(1 + (there - having_W + 0.5) / (having_W + 0.5))
        shortened_P = K1 * (1 - B + B * length_P * there / np.sum(lengths))
        weight_E = rarity_W[word_E] * often_E / (often_E + shortened_P[row_E])
        self.weights = csc_matrix((weight_E, (row_E, word_E)), shape=(len(texts), len(self.numbers)))

    def scores(self, text: str) -> Any:
        wanted_W = np.zeros(len(self.numbers))
        for word in self.words_of(text):
            if word in self.numbers:
                wanted_W[self.numbers[word]] += 1
        return self.weights @ wanted_W


def ranked(collection: Collection, variant: Variant) -> dict[str, dict[str, float]]:
    """The best passages of each question: score down, then in the order of the collection."""
    titles, bodies = zip(*collection.texts.values(), strict=True)
    joined = [f"{title} {body}" for title, body in collection.texts.values()]
    indexed = (titles, bodies) if variant.fields else (joined,)
    fields = [Field(list(texts), variant) for texts in indexed if any(texts)]
    ids, run = list(collection.texts), {}
    for question, text in collection.asked.items():
        score_P = sum(field.scores(text) for field in fields).astype(np.float32)
        found = np.flatnonzero(score_P)
        best = found[np.lexsort((found, -score_P[found]))[:DEPTH]]
        run[question] = {ids[row]: float(DEPTH - rank) for rank, row in enumerate(best)}
    return {question: found for question, found in run.items() if found}


# ---- what is said


def report(name: str, folder: Path, home: Path) -> Iterator[str]:
    collection = Collection.read(folder)
    yield f"\n## {name}\n"
    yield about(collection, SIZES[name])
    measured, run = ours(name, folder, home)
    again = collection.scored(run)
    yield "\n| BM25 | nDCG@10 | ours is | Recall@100 | ours is |\n|---|--:|--:|--:|--:|"
    yield f"| ours, `mpr evaluate --bm25` | {measured['ndcg10']:.4f} | | {measured['recall100']:.4f} | |"
    yield f"| the same run file by pytrec_eval | {again['ndcg10']:.4f} | | {again['recall100']:.4f} | |"
    for form in ("flat", "multifield"):
        ndcg, recall, _ = PUBLISHED[name, form]
        apart = measured["ndcg10"] - ndcg, measured["recall100"] - recall
        yield f"| published, {form} | {ndcg:.4f} | {apart[0]:+.4f} | {recall:.4f} | {apart[1]:+.4f} |"
    yield "\nRule by rule, by a BM25 of this script; each line with `...` changes one thing of the first:\n"
    yield "| | nDCG@10 | Recall@100 |\n|---|--:|--:|"
    titled = any(title for title, _ in collection.texts.values())
    for variant in (variant for variant in VARIANTS if titled or not variant.fields):
        found = collection.scored(ranked(collection, variant))
        yield f"| {variant.what} | {found['ndcg10']:.4f} | {found['recall100']:.4f} |"
    commits = {form: PUBLISHED[name, form][2] for form in ("flat", "multifield")}
    yield "\nPublished: " + "; ".join(PAGE.format(name=name, form=form, commit=commits[form]) for form in commits) + "."


def about(collection: Collection, size: int) -> str:
    """Whether these are the texts that the published runs read."""
    words = [word for parts in collection.texts.values() for part in parts for word in ONE.findall(part.lower())]
    stops = sum(word in LUCENE_STOPS for word in words) / len(words)
    said = f"{len(collection.texts):,} passages, {len(collection.grades):,} judged questions. {stops:.1%} of the words"
    said += " of the passages are stop words of Lucene's."
    said += "" if any(title for title, _ in collection.texts.values()) else " No passage has a title of its own."
    if len(collection.texts) != size or stops < 0.05:
        said += f" Not the texts that the published runs read: BEIR's has {size:,} passages, and all their words."
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in RECIPES:
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="FOLDER")
    given = parser.parse_args()
    libraries = ", ".join(f"{name} {version(name)}" for name in ("bm25s", "PyStemmer", "pytrec-eval-terrier"))
    said = [
        f"# BM25 beside published BM25\n\nWritten by benchmarks/baselines.py; k1 {K1}, b {B}, {libraries}.\n\n{READING}"
    ]
    with tempfile.TemporaryDirectory() as home:
        for name in RECIPES:
            said += report(name, getattr(given, name), Path(home))
    text = "\n".join(said) + "\n"
    print(text, end="")
    RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
