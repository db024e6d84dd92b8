"""What every file of mpr/sources/ owes, whatever it proposes. New files are found by listing the folder.

Each is tried on a small invented world. `CASES` has its parameters; a file without a case fails the first test.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from mpr import catalogue, sources, storage
from mpr.data.candidates import CandidateTable
from mpr.metrics.answers import AnswerMatcher
from mpr.records import Hit, text_hash
from mpr.storage.ragged import Ragged
from tests.conftest import Examined
from tests.unit.encodings import model_folder
from tests.unit.grounds import invented, lists, mining, source

ROOT = Path(__file__).parents[2]
NAMES = catalogue.names("sources")
BM25 = {"depth": 25, "k1": 0.9, "b": 0.4, "title": True, "stopwords": "english", "stemmer": "english"}
CASES: dict[str, list[dict[str, Any]]] = {
    "bm25": [BM25, BM25 | {"title": False, "stopwords": "none", "stemmer": "none", "depth": 3}],
    "context": [{"depth": 25, "by": "title"}, {"depth": 3, "by": "id"}],
    "file": [{"as": "bm25"}, {"file": "run.txt", "format": "trec"}, {"file": "run.txt", "format": "trec", "depth": 3}],
    "random": [{"depth": 25, "seed": 1}, {"depth": 3, "seed": 2}],
    "triples": [
        {"file": "ids.tsv", "format": "ids", "unknown": "refuse"},
        {"file": "scored.tsv", "format": "scored", "unknown": "drop", "depth": 3},
    ],
}
# A model with random weights; `stood` puts it into the folder that the tests run in.
CASES["dense"] = [{"model": "model", "depth": 25, "dtype": "float32", "compute": "float32"}]
each = pytest.mark.parametrize("name, params", [(name, params) for name, cases in CASES.items() for params in cases])


@pytest.fixture(scope="module")
def stood(tmp_path_factory: pytest.TempPathFactory) -> sources.Ground:
    """The ground, with a run in which every question has passages of all kinds, positives among them."""
    made = invented(tmp_path_factory.mktemp("ground"))
    ids = made.passages.ids(range(len(made.passages)))
    lines, triples = list[str](), list[str]()
    for row in range(len(made.questions)):
        known = made.questions.positives.rows.row(row, "passage").tolist()
        named = dict.fromkeys([*known, *range(row, row + 20), len(ids) - len(made.questions) + row])
        hits = (Hit(made.questions[row].id, ids[passage], 1, -float(place)) for place, passage in enumerate(named))
        triples += [f"{made.questions[row].id}\t{ids[known[0]]}\t{ids[passage]}\n" for passage in named]
        lines += [f"{hit.question} Q0 {hit.passage} {hit.rank} {hit.score} made\n" for hit in hits]
    assert made.folder is not None
    model_folder(made.folder / "model")
    (made.folder / "run.txt").write_text("".join(lines))
    (made.folder / "ids.tsv").write_text("".join(triples))
    (made.folder / "scored.tsv").write_text("".join(f"1.5\t-2\t{line}" for line in triples))
    return made


@pytest.fixture(autouse=True)
def _inside(stood: sources.Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stood.folder is not None
    monkeypatch.chdir(stood.folder)


def _all(made: sources.Source) -> Ragged:
    return made(np.arange(len(made.ground.questions)))


def test_every_file_has_a_case(examined: Examined) -> None:
    assert set(NAMES) == set(CASES)
    examined(len(NAMES), f"sources: {', '.join(NAMES)}", at_least=5)


@each
def test_passages_exist_and_none_is_proposed_twice(
    stood: sources.Ground, name: str, params: dict[str, Any], examined: Examined
) -> None:
    found = _all(source(stood, name, **params))
    assert len(found) == len(stood.questions)
    for passages in lists(found):
        assert len(set(passages)) == len(passages) <= params.get("depth", 1_000)
        assert all(0 <= passage < len(stood.passages) for passage in passages)
    assert found.columns["passage"].dtype == np.int64
    assert all(ranks == sorted(ranks) and ranks[:1] in ([], [1]) for ranks in lists(found, "rank"))
    for scores in lists(found, "score"):
        assert scores == sorted(scores, reverse=True) or np.isnan(scores).all()
    examined(len(found.columns["passage"]), "proposals", at_least=300)


@each
def test_proposals_depend_on_the_question_alone(
    stood: sources.Ground, name: str, params: dict[str, Any], examined: Examined
) -> None:
    """Not on which others are asked about, in which order, nor on what the source was asked before."""
    whole = _all(source(stood, name, **params))
    again = source(stood, name, **params)
    order = np.random.default_rng(0).permutation(len(stood.questions))
    for rows in (order[:1], order[1:8], order[8:], order[:0], order[::-1]):
        part = again(rows)
        assert len(part) == len(rows)
        for number, row in enumerate(rows):
            for column in ("passage", "rank", "score"):
                assert np.array_equal(
                    part.row(number, column), whole.row(int(row), column), equal_nan=column == "score"
                )
    assert again.origin == source(stood, name, **params).origin
    assert json.loads(json.dumps(again.origin)) == again.origin
    examined(2 * len(order), "questions asked about again", at_least=200)


@each
def test_no_known_positive_is_left_after_mining(
    stood: sources.Ground, name: str, params: dict[str, Any], tmp_path: Path, examined: Examined
) -> None:
    """Neither by id, nor by text, nor by answer; and what was taken out really is one."""
    work = mining(source(stood, name, **params), tmp_path / "table")
    work.propose(50)
    work.commit(50)
    storage.verify(work.target)
    table, proposed, checked = CandidateTable(work.target), _all(work.source), 0
    for row, question in enumerate(stood.questions):
        known = set(stood.questions.positives.rows.row(row, "passage").tolist())
        texts = {text_hash(stood.passages[passage].text) for passage in known}
        matcher = AnswerMatcher(question.answers, question.regex)
        labelled = list(table.rows(row))
        assert [one.passage for one in labelled] == proposed.row(row, "passage").tolist()
        assert [one.rank for one in labelled] == proposed.row(row, "rank").tolist()
        for one in labelled:
            text = stood.passages[one.passage].text
            positive = one.passage in known or text_hash(text) in texts or matcher.found_in(text)
            assert (one.label != "negative") == positive
            checked += 1
    assert sum(table.counts.values()) == checked
    examined(checked, f"candidates: {table.counts}", at_least=300)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_strict(name: str, examined: Examined) -> None:
    model = catalogue.params("sources", name)
    tried = 0
    for params in CASES.get(name, []):
        given = {"as": name, **params}
        model(**given)
        for key, value in given.items():
            wrong: list[Any] = [None, [value], str(value) if not isinstance(value, str) else 3]
            if key == "depth":
                wrong += [0, -1, 2.5]
            if (name == "file" and key in ("file", "format", "depth")) or (name == "triples" and key == "depth"):
                wrong.remove(None)  # allowed by itself; the pair is refused in tests/unit/sources/test_file.py
            for bad in wrong:
                with pytest.raises(ValidationError):
                    model(**{**given, key: bad})
                tried += 1
        with pytest.raises(ValidationError):
            model(**given, depht=3)
        with pytest.raises(ValidationError):
            model(**{key: value for key, value in given.items() if key != "as"})
    assert model.model_fields["as_"].alias == "as"
    examined(tried, "wrong values", at_least=15)


def test_a_recipe_can_be_checked_without_numpy(examined: Examined) -> None:
    """The files themselves are light; what they need is loaded when they propose."""
    code = (
        "import sys\nfrom mpr import catalogue\nnames = catalogue.names('sources')\n"
        "for name in names: catalogue.params('sources', name)\n"
        "print(len(names), [name for name in ('numpy', 'torch', 'bm25s', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == f"{len(NAMES)} []"
    examined(len(NAMES), "files", at_least=5)
