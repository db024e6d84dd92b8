"""Every dial of the invented world does what its documentation says, and nothing else."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections import Counter
from itertools import pairwise
from statistics import fmean

import pytest
from pydantic import ValidationError

from mpr.corpora._world.population import populate
from mpr.corpora._world.questions import ask
from mpr.corpora.invented_world import QUESTIONS_PER_TEN_ARTICLES, TRUTH, Collection, Params
from mpr.errors import DataError
from tests.conftest import Examined
from tests.unit.invented import PLAIN, SMALL, small

pytestmark = pytest.mark.long


def _supports(collection: Collection) -> list[int]:
    """How many passages state each fact, copies left out."""
    copies = collection.world.copies
    return [sum(name not in copies for name in grades) for grades in collection.world.supported.values()]


def _false(collection: Collection) -> float:
    world = collection.world
    return fmean(len(world.only_the_words(asked)) for split in PLAIN for asked in world.asked[split])


@pytest.mark.parametrize("statements", [1, 2, 3, 6, 12])
def test_statements_bound_the_positives(statements: int) -> None:
    counts = _supports(small(statements=statements, duplicates=0.0))
    assert max(counts) == statements
    assert min(counts) == 1
    if statements > 1:
        chosen = Counter(counts)
        assert set(chosen) == set(range(1, statements + 1))
        assert 0.2 < chosen[1] / len(counts) < 0.4, "few_positive is 0.3"


def test_few_positive_is_a_share(examined: Examined) -> None:
    shares = {}
    for few in (0.0, 0.2, 0.5, 0.8, 1.0):
        counts = _supports(small(few_positive=few))
        shares[few] = sum(count == 1 for count in counts) / len(counts)
        assert abs(shares[few] - few) < 0.07
    assert shares[0.0] == 0.0
    assert shares[1.0] == 1.0
    examined(len(shares), "shares", at_least=5)


def test_few_positive_is_nested() -> None:
    """A fact that has one supporting passage at one share has one at every larger share."""
    before: set[int] = set()
    for few in (0.1, 0.3, 0.7):
        supported = small(few_positive=few, duplicates=0.0).world.supported
        now = {fact for fact, grades in supported.items() if len(grades) == 1}
        assert before <= now
        before = now


def test_statements_are_nested() -> None:
    """With more statements allowed no fact is stated less, and where it was stated it still is."""
    before: dict[int, set[str]] = {}
    for statements in (1, 3, 6, 12):
        supported = small(statements=statements, duplicates=0.0).world.supported
        now = {fact: {passage[:5] for passage in grades} for fact, grades in supported.items()}
        assert all(articles <= now[fact] for fact, articles in before.items())
        before = now


def test_false_matches_add_passages(examined: Examined) -> None:
    found = [_false(small(false_matches=float(wanted))) for wanted in (0, 1, 2, 4, 8)]
    assert all(more > less + 0.5 for less, more in pairwise(found)), found
    examined(len(found), "settings", at_least=5)


def test_false_matches_do_not_state_the_fact() -> None:
    """Without a single statement more, the same facts have the same number of supports."""
    assert sorted(_supports(small(false_matches=0.0))) == sorted(_supports(small(false_matches=4.0)))


def test_duplicates_are_a_share() -> None:
    for share in (0.0, 0.1, 0.3, 0.5):
        world = small(duplicates=share).world
        originals = len(world.passages) - len(world.copies)
        assert abs(len(world.copies) / originals - share) < 0.06
    copied = small(duplicates=0.5)
    originals = [passage for passage in copied.passages() if passage.id not in copied.world.copies]
    assert originals == list(small(duplicates=0.0).passages()), "copies change nothing else"


def test_wrong_positives_spoil_only_training_labels(examined: Examined) -> None:
    clean = small()
    support = {asked.question.id: set(clean.world.support(asked)) for asked in clean.world.asked["train"]}
    spoiled_before: set[tuple[str, int, str]] = set()
    looked = 0
    for share in (0.1, 0.4, 1.0):
        noisy = small(wrong_positives=share)
        assert list(noisy.passages()) == list(clean.passages())
        for split in ("dev", "test", *(f"{name}{TRUTH}" for name in PLAIN)):
            assert list(noisy.groups(split)) == list(clean.groups(split))
        for split in PLAIN:
            assert list(noisy.truth(split)) == list(clean.truth(split))
        spoiled = set()
        for old, new in zip(clean.groups("train"), noisy.groups("train"), strict=True):
            assert new.candidates == old.candidates
            assert [one.tier for one in new.positives] == [one.tier for one in old.positives]
            names = [one.passage for one in new.positives]
            assert len(set(names)) == len(names)
            for place, (before, after) in enumerate(zip(old.positives, new.positives, strict=True)):
                looked += 1
                if before != after:
                    spoiled.add((new.question.id, place, after.passage))
                    assert after.passage not in support[new.question.id]
                    assert after.passage not in {one.passage for one in old.candidates}
        total = sum(len(group.positives) for group in clean.groups("train"))
        assert abs(len(spoiled) / total - share) < 0.05
        assert spoiled_before <= spoiled, "noise is nested"
        spoiled_before = spoiled
    examined(looked, "positives", at_least=500)


def test_seeds_are_different_worlds() -> None:
    one, other = small(seed=1), small(seed=2)
    titles = [{passage.title for passage in collection.passages()} for collection in (one, other)]
    assert len(titles[0] & titles[1]) <= 2
    assert not {p.text for p in one.passages()} & {p.text for p in other.passages()}


def test_any_allowed_number_of_questions_can_be_asked(examined: Examined) -> None:
    """However many articles there are, and however the questions are split."""
    tried = 0
    for articles in (60, 61, 77, 100, 119, 120, 121, 250):
        for seed in range(2):
            population = populate(seed, articles)
            most = QUESTIONS_PER_TEN_ARTICLES * articles // 10
            for test in (1, most // 10, most // 3, most // 2, most - 2):
                dials = Params(
                    seed=seed, articles=articles, questions=most - test - 1, dev_questions=1, test_questions=test
                )
                asked = ask(population, dials)
                assert [len(asked[split]) for split in PLAIN] == [most - test - 1, 1, test]
                tried += 1
    examined(tried, "wishes", at_least=80)


def test_impossible_wishes_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"1,500 questions need at least articles: 455, not 454"):
        Params(articles=454)
    assert Params(articles=455).articles == 455
    population = populate(1, 60)
    wish = Params.model_construct(**{**SMALL, "seed": 1, "articles": 60, "questions": 5_000})
    with pytest.raises(DataError, match=r"too few facts.*raise `articles`"):
        ask(population, wish)


@pytest.mark.parametrize(
    "wrong",
    [
        {"articles": 59},
        {"articles": 25_001},
        {"statements": 0},
        {"statements": 13},
        {"few_positive": -0.1},
        {"few_positive": 1.1},
        {"false_matches": -1.0},
        {"false_matches": 8.5},
        {"duplicates": 0.6},
        {"wrong_positives": 1.5},
        {"questions": 0},
        {"dev_questions": 0},
        {"test_questions": 0},
        {"seed": -1},
        {"seed": 2**63},
        {"seed": "2508"},
        {"statement": 3},
    ],
)
def test_dials_have_bounds(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Params(**wrong)


def test_every_dial_is_documented(examined: Examined) -> None:
    (shape,) = ast.parse(textwrap.dedent(inspect.getsource(Params))).body
    assert isinstance(shape, ast.ClassDef)
    documented = {
        line.target.id
        for line, following in pairwise(shape.body)
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and isinstance(following, ast.Expr)
    }
    assert documented == set(Params.model_fields)
    examined(len(Params.model_fields), "dials", at_least=10)


def test_unknown_split_is_refused() -> None:
    with pytest.raises(DataError, match="did you mean 'train'"):
        list(small().groups("trian"))
    with pytest.raises(DataError, match="no split"):
        list(small().truth("validation"))
