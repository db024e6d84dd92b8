"""What the invented world claims to be true is so: supports, false matches, copies, splits, names."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from mpr.corpora._world.entity import Entity
from mpr.corpora._world.names import CULTURES, Namer
from mpr.corpora._world.population import census, populate
from mpr.corpora._world.titles import grammar_words
from mpr.corpora.invented_world import TRUTH, Collection
from mpr.metrics.answers import AnswerMatcher, token_line
from mpr.records import TIERS, id_problem, text_hash, text_problem
from tests.conftest import Examined
from tests.unit.invented import PLAIN, small, usual

WORLDS = (usual, lambda: small(duplicates=0.3, false_matches=3.0, seed=5), lambda: small(statements=12, seed=6))


@pytest.mark.long
@pytest.mark.parametrize("make", WORLDS, ids=["usual", "copied", "much stated"])
def test_truth_agrees_with_the_texts(make: object, examined: Examined) -> None:
    """By brute force: every passage that matches an answer is judged, and nothing else is."""
    collection: Collection = make()
    lines = {passage.id: token_line(passage.text) for passage in collection.passages()}
    judged = 0
    for split in PLAIN if collection is not usual() else ("dev", "test"):
        grades: dict[str, dict[str, int]] = {}
        for one in collection.truth(split):
            assert one.passage not in grades.setdefault(one.question, {})
            grades[one.question][one.passage] = one.grade
        for asked in collection.world.asked[split]:
            mine = grades[asked.question.id]
            matcher = AnswerMatcher(asked.question.answers, asked.question.regex)
            assert set(mine) == {passage for passage, line in lines.items() if matcher.found_in_prepared(line)}
            assert {p for p, grade in mine.items() if grade} == set(collection.world.support(asked))
            assert max(mine.values()) == 3
            assert min(mine.values()) >= 0
            assert not matcher.invalid
            judged += len(mine)
        assert set(grades) == {asked.question.id for asked in collection.world.asked[split]}
    examined(judged, "judgements", at_least=2_000)


@pytest.mark.parametrize("make", WORLDS, ids=["usual", "copied", "much stated"])
def test_groups(make: object, examined: Examined) -> None:
    collection: Collection = make()
    known = {passage.id for passage in collection.passages()}
    lines = {passage.id: token_line(passage.text) for passage in collection.passages()}
    for split in PLAIN:
        groups = list(collection.groups(split))
        assert [group.question for group in groups] == collection.world.questions(split)
        assert len(groups) == collection.splits[split].questions
        for asked, group in zip(collection.world.asked[split], groups, strict=True):
            gold, *others = group.positives
            assert (gold.tier, collection.world.support(asked)[gold.passage]) == ("gold", 3)
            assert {positive.tier for positive in others} <= {"answer_match"}
            assert all(positive.tier in TIERS for positive in group.positives)
            passages = [positive.passage for positive in group.positives]
            negatives = [candidate.passage for candidate in group.candidates]
            assert len(set(passages + negatives)) == len(passages) + len(negatives)
            assert set(passages + negatives) <= known
            assert len(passages) <= 30
            assert len(negatives) <= 20
            matcher = AnswerMatcher(group.question.answers, regex=False)
            assert all(matcher.found_in_prepared(lines[passage]) for passage in passages)
            assert not any(matcher.found_in_prepared(lines[passage]) for passage in negatives)
            assert [candidate.rank for candidate in group.candidates] == list(range(1, len(negatives) + 1))
            assert all(candidate.source == "bm25" for candidate in group.candidates)
            assert all(a.score >= b.score for a, b in pairwise(group.candidates))
        full = sum(len(group.candidates) == 20 for group in groups)
        assert full >= 0.8 * len(groups)
        examined(len(groups), f"groups of {split}", at_least=30)


def test_true_groups(examined: Examined) -> None:
    collection = usual()
    for split in PLAIN:
        pairs = zip(collection.groups(split), collection.groups(split + TRUTH), strict=True)
        for asked, (distant, true) in zip(collection.world.asked[split], pairs, strict=True):
            support = collection.world.support(asked)
            assert true.question == distant.question
            assert true.candidates == distant.candidates
            assert true.positives[0].passage == distant.positives[0].passage
            assert {one.passage: one.grade for one in true.positives} == support
            assert [one.grade for one in true.positives] == sorted(support.values(), reverse=True)
            assert {one.tier for one in true.positives} == {"gold"}
    examined(sum(len(collection.world.asked[split]) for split in PLAIN), "groups", at_least=1_500)


def test_copies_are_what_they_claim(examined: Examined) -> None:
    collection = small(duplicates=0.5)
    world = collection.world
    texts = {passage.id: passage for passage in world.passages}
    exact = 0
    for name, copy in world.copies.items():
        mine, original = texts[name], texts[copy.original]
        assert name != copy.original
        assert copy.original not in world.copies
        assert mine.title == original.title
        assert world.topic_of(name) == world.topic_of(copy.original)
        assert (mine.text == original.text) is copy.exact
        assert (text_hash(mine.text) == text_hash(original.text)) is copy.exact
        words, before = mine.text.split(), original.text.split()
        kept = [word for word in before if word in words]
        assert len(kept) >= len(before) - 3, "an edit changes a few words at most"
        assert len(words) <= len(before) + 6
        exact += copy.exact
        for grades in world.supported.values():
            assert grades.get(name) == grades.get(copy.original)
    distinct = {text_hash(passage.text) for passage in world.passages}
    assert len(distinct) == len(world.passages) - exact
    assert 0.3 < exact / len(world.copies) < 0.7
    examined(len(world.copies), "copies", at_least=100)


def test_passages(examined: Examined) -> None:
    passages = list(usual().passages())
    ids = [passage.id for passage in passages]
    assert len(set(ids)) == len(ids)
    assert len(ids) == usual().size, "mend DEFAULT_SIZE"
    for passage in passages:
        assert not id_problem(passage.id)
        assert not text_problem(passage.text)
        assert re.fullmatch(r"w\d{4}-\d\d", passage.id)
        assert 40 <= len(passage.text.split()) <= 110
    assert ids == sorted(ids)
    per_article = {name: sum(one.startswith(name) for one in ids) for name in {one[:5] for one in ids}}
    assert min(per_article.values()) >= 2
    assert len(per_article) == usual().params.articles
    topics = {usual().world.topic_of(one) for one in ids}
    assert 20 <= len(topics) <= 60
    examined(len(ids), "passages", at_least=2_000)


def test_splits_are_apart(examined: Examined) -> None:
    world = usual().world
    facts = {split: {asked.fact.index for asked in world.asked[split]} for split in PLAIN}
    texts = {split: {token_line(question.text) for question in world.questions(split)} for split in PLAIN}
    ids = [question.id for split in PLAIN for question in world.questions(split)]
    assert len(set(ids)) == len(ids) == 1_500
    for one, other in (("train", "dev"), ("train", "test"), ("dev", "test")):
        assert not facts[one] & facts[other]
        assert not texts[one] & texts[other]
    assert all(len(texts[split]) == len(world.asked[split]) == len(facts[split]) for split in PLAIN)
    seen = {asked.fact.known.index for split in ("train", "dev") for asked in world.asked[split]}
    seen |= {
        asked.fact.answer.index
        for split in ("train", "dev")
        for asked in world.asked[split]
        if isinstance(asked.fact.answer, Entity)
    }
    unseen = [asked for asked in world.asked["test"] if asked.unseen]
    assert not {asked.fact.known.index for asked in unseen} & seen
    assert len(unseen) == 150
    assert not any(asked.unseen for split in ("train", "dev") for asked in world.asked[split])
    met = [asked for asked in world.asked["test"] if not asked.unseen and asked.fact.known.index in seen]
    assert len(met) > 120, "the other half is mostly about things that train or dev know"
    examined(len(unseen), "unseen questions", at_least=150)


def test_more_questions_only_add(examined: Examined) -> None:
    few, many = small(questions=60).world, small(questions=140).world
    assert few.passages == many.passages
    for split in ("dev", "test"):
        assert few.questions(split) == many.questions(split)
    assert few.questions("train") == many.questions("train")[:60]
    examined(60, "training questions", at_least=60)


def test_names(examined: Examined) -> None:
    """No two things share a name or a second name, and invented words are not words of the templates."""
    population = populate(11, 200)
    titles = [title.lower() for entity in population.entities for title in (entity.name, entity.alias) if title]
    assert len(set(titles)) == len(titles)
    assert all(entity.alias.startswith("the ") for entity in population.entities if entity.kind.aliases)
    places = {one.name for one in population.entities if one.kind.name == "region"}
    people = [one for one in population.entities if one.kind.name == "person"]
    words = {word.lower() for one in people for word in one.name.split()} | {place.lower() for place in places}
    assert not words & grammar_words()
    examined(len(titles), "titles", at_least=350)


def test_names_never_run_out() -> None:
    """A culture gives more words than the largest world needs, all different."""
    from mpr.corpora._world.dice import Dice

    namer, dice = Namer(frozenset()), Dice(1, "test")
    words = [namer.word(CULTURES[0], "places", dice) for _ in range(30_000)]
    assert len(set(words)) == len(words)
    assert max(map(len, words)) <= 20


def test_census_has_every_kind(examined: Examined) -> None:
    for size in range(60, 121):
        kinds = census(size)
        assert len(kinds) == size
        assert kinds.count("region") == 1
        assert {"person", "city", "mountain", "lake", "river", "institution", "creature", "survey"} <= set(kinds)
        assert 0.2 < kinds.count("person") / size < 0.3
    examined(61, "sizes", at_least=61)


def test_dates_are_in_order(examined: Examined) -> None:
    """Nobody founds, writes or wins anything before the age of twenty-four, or learns from somebody younger."""
    facts = populate(2508, 460).facts
    creators = [fact for fact in facts if fact.relation.pick == "creator"]
    for fact in creators:
        assert 24 <= fact.subject.year - fact.object.year <= 55
    for fact in facts:
        if fact.relation.pick == "own":
            assert any(str(fact.subject.year) in form for form in fact.answer.answers)
        if fact.relation.pick == "elder":
            assert fact.object.year < fact.subject.year
        if fact.relation.name == "person_birthplace":
            assert fact.object.year < fact.subject.year
    persons = [
        (fact.subject.index, fact.object.index)
        for fact in facts
        if isinstance(fact.object, Entity) and fact.object.kind.name == "person"
    ]
    assert len(set(persons)) == len(persons), "nobody plays two parts for one thing"
    examined(len(facts), "facts", at_least=1_500)


def test_highest_mountain_is_highest() -> None:
    population = populate(2508, 460)
    height = {
        fact.subject.index: int(fact.object.answers[0].replace(",", ""))
        for fact in population.facts
        if fact.relation.name == "mountain_height"
    }
    highest = [fact for fact in population.facts if fact.relation.name == "summit"]
    for fact in highest:
        others = population.local[fact.subject.region.index]["mountain"]
        assert height[fact.object.index] == max(height[one.index] for one in others)
        assert [height[one.index] for one in others].count(height[fact.object.index]) == 1
    assert len(highest) == 7


def test_questions_asked_the_other_way_have_one_answer(examined: Examined) -> None:
    facts = populate(2508, 460).facts
    turned = [fact for fact in facts if fact.inverse]
    for fact in turned:
        same = [one for one in facts if one.relation is fact.relation and one.object is fact.object]
        assert same == [fact]
        assert fact.relation.inverse
    for fact in facts:
        assert sum(one.relation is fact.relation and one.subject is fact.subject for one in facts) == 1
    examined(len(turned), "turned questions", at_least=80)
