"""Files of a collection: each format's own example, damaged, and read to the end."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import zstandard

from mpr.evaluation.ranking import Ranking
from mpr.formats import (
    beir,
    dpr_json,
    dpr_tsv,
    msmarco,
    questions_jsonl,
    rewritten,
    scored_pairs,
    squad,
    tevatron,
    trec,
    triples,
    verdicts,
)
from mpr.metrics.answers import AnswerMatcher
from mpr.records import Question
from tests.attack.damage import damaged
from tests.attack.outcome import Attack


@dataclass(frozen=True)
class Sample:
    """A small file that its reader accepts."""

    name: str
    data: bytes
    read: Callable[[Path], Iterable[Any]]


def lines(*rows: Any) -> bytes:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows).encode()


_CONTEXTS = [
    {"passage_id": "12", "title": "Teith", "text": "The Teith is a river.", "score": 1000, "title_score": 1},
    {"psg_id": "7", "title": "", "text": "Hills are lower.", "score": 0.5, "title_score": 0},
]
_DPR = [
    {
        "dataset": "nq", "question": f"what is {number}", "answers": ["river", "a river"],
        "positive_ctxs": _CONTEXTS[:1], "negative_ctxs": [], "hard_negative_ctxs": _CONTEXTS[1:],
    }
    for number in range(3)
]  # fmt: skip
_TEVATRON = {
    "query_id": "q1", "query": "what is it", "answers": ["river"],
    "positive_passages": [{"docid": "p1", "title": "T", "text": "A river."}],
    "negative_passages": [{"docid": "p2", "title": "", "text": "A hill."}],
}  # fmt: skip
_SQUAD = {
    "version": "1.1",
    "data": [
        {
            "title": "A_Title",
            "paragraphs": [
                {
                    "context": "first text",
                    "qas": [{"id": "5", "question": "?", "answers": [{"text": "text", "answer_start": 6}]}],
                }
            ],
        }
    ],
}


def patterns(path: Path) -> Iterable[Any]:
    """Answers that are patterns, each tried on a text."""
    for question in dpr_tsv.read_questions(path, regex=True):
        yield AnswerMatcher(question.answers, regex=True, question=question.id).found_in("The year 1911, by the river.")


def run(path: Path) -> Iterable[Any]:
    """A run file as it is scored."""

    class Corpus:
        def rows_of(self, ids: list[str]) -> Any:
            import numpy as np

            return np.array([int(name[1:]) if name[1:].isdigit() and len(name) < 9 else -1 for name in ids])

    return Ranking.read(path, Corpus()).questions  # type: ignore[arg-type]


SAMPLES = (
    Sample(
        "beir.passages.jsonl",
        lines({"_id": "a", "title": "T", "text": "x"}, {"_id": "b", "text": "y"}),
        beir.read_passages,
    ),
    Sample(
        "beir.queries.jsonl",
        lines({"_id": "q", "text": "x?", "metadata": {}}),
        partial(beir.read_questions, ignore=("metadata",)),
    ),
    Sample("beir.qrels.tsv", lines("query-id\tcorpus-id\tscore", "q\ta\t1", "q\tb\t0"), beir.read_judgements),
    Sample("dpr.json", json.dumps(_DPR, indent=1).encode(), dpr_json.read_groups),
    Sample(
        "dpr.passages.tsv", lines("id\ttext\ttitle", '1\t"A ""river"" text"\tT', "2\ttext\tU"), dpr_tsv.read_passages
    ),
    Sample("dpr.questions.csv", lines("what is it\t['river', \"a hill\"]", 'who\t["x"]'), dpr_tsv.read_questions),
    Sample("patterns.csv", lines("what year\t['19\\\\d{2}', '(?:a|b){2,3}c']"), patterns),
    Sample("msmarco.passages.tsv", lines("0\tsome text", "1\tother text"), msmarco.read_passages),
    Sample("msmarco.queries.tsv", lines("7\twhat is it", "9\twho"), msmarco.read_questions),
    Sample("msmarco.qrels.tsv", lines("7\t0\t0\t1", "9\t0\t1\t1"), msmarco.read_judgements),
    Sample("msmarco.top1000.tsv", lines("7\t0\twhat\tsome text", "7\t1\twhat\tother"), msmarco.read_top1000),
    Sample("questions.jsonl", lines({"id": "a", "question": "?", "answers": ["x"]}), questions_jsonl.read_questions),
    Sample(
        "candidates.jsonl",
        lines({"id": "a", "question": "?", "answers": ["x"], "gold": "p", "pos": ["p", "r"], "neg": ["s"]}),
        questions_jsonl.read_groups,
    ),
    Sample(
        "rewritten.jsonl",
        lines({"id": "p1", "of": "p", "questions": ["q"], "title": "T", "text": "x", "writer": "w", "prompt": "a@1"}),
        rewritten.read_rewritten,
    ),
    Sample("scores.tsv", lines("q\tp\t0.5", "q\tr\t-3"), scored_pairs.read_scores),
    Sample("squad.json", json.dumps(_SQUAD, indent=1).encode(), squad.read_groups),
    Sample(
        "squad.jsonl",
        lines({"title": "A", "para": 0, "context": "first", "qas": [{"question": "?", "answers": ["first"]}]}),
        squad.read_passages,
    ),
    Sample("tevatron.jsonl", lines(_TEVATRON, {**_TEVATRON, "query_id": "q2"}), tevatron.read_groups),
    Sample("tevatron.corpus.jsonl", lines({"docid": "1", "title": "T", "text": "x"}), tevatron.read_passages),
    Sample("qrels.txt", lines("q 0 p 1", "q 0 r 0"), trec.read_judgements),
    Sample("run.trec", lines("q Q0 p1 1 2.5 tag", "q Q0 p2 2 1.5 tag"), run),
    Sample("triples.tsv", lines("q\tp\tn", "q\tp\tm"), triples.read_ids),
    Sample("scored.tsv", lines("1.5\t0.5\tq\tp\tn"), triples.read_scored),
    Sample(
        "verdicts.jsonl",
        lines(
            {
                "question": "q",
                "passage": "p",
                "grade": 2,
                "answer": "2",
                "prompt": "a@1",
                "writer": "w",
                "planted": False,
            }
        ),
        verdicts.read_verdicts,
    ),
)
_PACKERS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstandard.compress, ".xz": lzma.compress}


def attack(folder: Path, cases: int, seed: int, start: int = 0) -> Attack:
    """Every sample in turn; one case in eight is a packed file, damaged after or before it was packed."""
    found = Attack()
    for number, dice in found.turns(cases, seed, start):
        sample = SAMPLES[number % len(SAMPLES)]
        data, path = damaged(dice, sample.data), folder / sample.name
        if number % 8 == 7:
            ending, pack = dice.choice(list(_PACKERS.items()))
            path = folder / f"{sample.name}{ending}"
            data = pack(data) if dice.random() < 0.5 else damaged(dice, pack(sample.data))
        path.write_bytes(data)
        found.case(f"{number} {path.name} {data[:200]!r}", partial(_consumed, sample, path))
    return found


def _consumed(sample: Sample, path: Path) -> int:
    """Reads to the end; what is accepted has the types that it says."""
    count = 0
    for record in sample.read(path):
        count += 1
        if isinstance(record, Question):
            assert all(isinstance(answer, str) for answer in record.answers)
    return count
