"""Groups become a split: what is kept, what is refused with which counts and ids, what is dropped and counted."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpr.corpora import Split
from mpr.data import _split_builder
from mpr.errors import DataError
from mpr.metrics.answers import normalised
from mpr.recipe.keys import Repair
from mpr.records import Candidate, Group, Passage, Positive, Question
from tests.conftest import Examined
from tests.unit.labelled import DROP, REFUSE, build, candidates, group, positives, store

NOTHING = {"without_positives": 0, "passages_missing": 0, "positive_as_negative": 0, "repeated": 0, "in_evaluation": 0}


def test_ids_become_rows(tmp_path: Path) -> None:
    groups = [group("a", "p3 p1:llm", bm25="p7 p2", random="p9"), group("b", "p0:answer_match", random="p7 p3")]
    split = build(tmp_path, groups, store=store(tmp_path), sources=("bm25", "random"))
    assert positives(split) == [[3, 1], [0]]
    assert candidates(split) == [[7, 2], []]
    assert candidates(split, "random") == [[9], [7, 3]]
    assert split.candidates("bm25").row(0, "rank").tolist() == [1, 2]
    assert split.candidates("bm25").row(0, "score").tolist() == [1.0, 0.5]
    assert split.positives.rows.columns["tier"].tolist() == [0, 3, 1]
    assert split.dropped == NOTHING


def test_candidates_are_stored_by_rank_whatever_their_order_in_the_record(tmp_path: Path) -> None:
    """A window of the draw is a window of ranks."""
    listed = tuple(Candidate(f"p{rank}", "bm25", rank) for rank in (3, 1, 2))
    listed += (Candidate("p9", "bm25", 2),)  # an equal rank stays where it was listed
    split = build(tmp_path, [Group(Question("a", "x"), (Positive("p0"),), listed)], store=store(tmp_path))
    assert candidates(split) == [[1, 2, 9, 3]]
    assert np.isnan(split.candidates("bm25").columns["score"]).all()  # unknown, not zero


def test_what_is_listed_twice_is_kept_once_and_counted(tmp_path: Path) -> None:
    groups = [group("a", "p1:llm p2 p1:gold p2", bm25="p3 p4 p3", random="p3")]
    split = build(tmp_path, groups, store=store(tmp_path), sources=("bm25", "random"))
    assert positives(split) == [[1, 2]]
    assert split.positives.rows.columns["tier"].tolist() == [3, 0]  # the first of the list holds
    assert candidates(split) == [[3, 4]]
    assert candidates(split, "random") == [[3]]
    assert split.dropped == NOTHING | {"repeated": 3}


# Two questions without a counting positive, three passages nobody knows, four candidates that are positives.
TROUBLED = [
    group("fine", "p0", bm25="p1"),
    group("none", "", bm25="p1"),
    group("doubtful", "p2:llm", bm25="p3"),
    group("lost", "p3 x1", bm25="x2 p4 x2x"),
    group("both", "p5 p6:llm", bm25="p5 p6 p7", random="p5 p8"),
    group("both_again", "p9", bm25="p9"),
]
COUNTS = {"without_positives": 2, "passages_missing": 3, "positive_as_negative": 4}
MESSAGES = {
    "without_positives": "2 questions have no positive of a tier that counts"
    " (first: none, doubtful; mend the data or set data.repair.without_positives: drop)",
    "passages_missing": "3 positives or candidates are not among the passages"
    " (first: x1 of lost, x2 of lost, x2x of lost; mend the data or set data.repair.passages_missing: drop)",
    "positive_as_negative": "4 candidates are also known positives of their question"
    " (first: p5 of both, p6 of both, p5 of both, p9 of both_again;"
    " mend the data or set data.repair.positive_as_negative: drop_negative)",
}


def repairs(*dropping: str) -> Repair:
    return Repair.model_validate({name: getattr(DROP if name in dropping else REFUSE, name) for name in COUNTS})


def test_each_kind_is_refused_with_its_count_and_first_ids(tmp_path: Path, examined: Examined) -> None:
    """All eight ways of refusing some kinds and dropping the others; all refused kinds are reported together."""
    passage_store, tried = store(tmp_path), 0
    for bits in range(8):
        dropping = [name for place, name in enumerate(COUNTS) if bits >> place & 1]
        options: dict[str, Any] = {"store": passage_store, "sources": ("bm25", "random"), "repair": repairs(*dropping)}
        tried += 1
        if len(dropping) == 3:
            split = build(tmp_path, TROUBLED, **options)
            continue
        with pytest.raises(DataError) as caught:
            build(tmp_path, TROUBLED, **options)
        refused = [name for name in COUNTS if name not in dropping]
        assert str(caught.value).splitlines() == [f"split data.repair.{name}: {MESSAGES[name]}" for name in refused]
        assert not (tmp_path / "split").exists()
    assert [question.id for question in split] == ["fine", "lost", "both", "both_again"]
    assert positives(split) == [[0], [3], [5, 6], [9]]
    assert candidates(split) == [[1], [4], [7], []]
    assert candidates(split, "random") == [[], [], [8], []]
    assert split.dropped == NOTHING | COUNTS
    examined(tried, "combinations of repairs", at_least=8)


def test_only_the_first_five_ids_are_shown(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"5,000 questions have .*\(first: q0, q1, q2, q3, q4; mend"):
        build(tmp_path, [group(f"q{number}") for number in range(5_000)], store=store(tmp_path))


def test_evaluation_keeps_questions_without_positives(tmp_path: Path) -> None:
    split = build(tmp_path, [group("a"), group("b", "p1")], store=store(tmp_path), train=False, tiers=())
    assert [question.id for question in split] == ["a", "b"]
    assert positives(split) == [[], [1]]
    assert split.dropped == NOTHING


def test_questions_that_evaluation_asks_are_left_out_and_counted(tmp_path: Path) -> None:
    groups = [group("a", "p0"), group("b", "p1"), group("c", "")]
    exclude = frozenset({normalised("Question  B!"), normalised("question c")})
    split = build(tmp_path, groups, store=store(tmp_path), exclude=exclude)
    assert [question.id for question in split] == ["a"]
    assert split.dropped == NOTHING | {"in_evaluation": 2}  # c has no positives, but is not missed either


def test_nothing_left_to_train_on_is_refused(tmp_path: Path) -> None:
    groups = [group("a"), group("b", "p1:llm"), group("c", "p2")]
    exclude = frozenset({normalised("question c")})
    message = (
        "nothing to train on: of 3 questions 2 have no positive of a tier that counts and 1 are asked in evaluation"
    )
    with pytest.raises(DataError, match=message):
        build(tmp_path, groups, DROP, store=store(tmp_path), exclude=exclude)


@pytest.mark.parametrize(
    "groups, options, message",
    [
        ([], {}, "the split has no questions"),
        ([group("a", "p1")], {"split": Split(2)}, "the split has 1 questions, 2 are expected"),
        ([group("a", "p1")] * 2, {}, "a: question id is given twice"),
        ([group("a b", "p1")], {}, "white space"),
        ([Group(Question("a", " \u2003"), (Positive("p1"),))], {}, "a': question is empty"),
        ([Group(Question("a", "x\ud800"), (Positive("p1"),))], {}, "lone surrogate"),
        ([Group(Question("a", "x", ("good", "\ud800")), (Positive("p1"),))], {}, "lone surrogate"),
        ([group("a", "p1\ud800")], {}, "control character .see question a"),
        ([group("a", "p1", bm25="\ud800")], {}, "control character .see question a"),
        ([group("a", "p1", dense="p2")], {}, "candidates of source 'dense' come with the record"),
    ],
)
def test_what_cannot_be_a_split_is_refused(
    tmp_path: Path, groups: list[Group], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        build(tmp_path, groups, store=store(tmp_path), **options)
    assert not (tmp_path / "split").exists()


def test_repeated_question_ids_are_found_across_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_split_builder, "_BATCH", 2)
    groups = [group(name, "p1") for name in "abcda"]
    with pytest.raises(DataError, match="a: question id is given twice"):
        build(tmp_path, groups, store=store(tmp_path))


def test_random_splits_against_dictionaries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Examined
) -> None:
    """Everything at once, dropped where it must be, compared with a reading by hand."""
    monkeypatch.setattr(_split_builder, "_BATCH", 3)
    passage_store, questions = store(tmp_path), 0
    for seed in range(40):
        dice = random.Random(seed)

        def some(most: int, dice: random.Random = dice) -> list[str]:
            return [f"p{dice.randrange(25)}" for _ in range(dice.randint(0, most))]  # p20 to p24 do not exist

        groups = []
        for number in range(1 + seed % 11):
            tiered = " ".join(f"{name}:{dice.choice(('gold', 'answer_match', 'llm'))}" for name in some(4))
            groups.append(group(f"q{number}", tiered, bm25=" ".join(some(6)), random=" ".join(some(3))))
        groups.append(group("last", "p0"))
        expected, counts = by_hand(groups)
        (tmp_path / str(seed)).mkdir()
        split = build(tmp_path / str(seed), groups, DROP, store=passage_store, sources=("bm25", "random"))
        assert [question.id for question in split] == [name for name, *_ in expected]
        assert positives(split) == [found for _, found, _, _ in expected]
        assert candidates(split) == [found for _, _, found, _ in expected]
        assert candidates(split, "random") == [found for _, _, _, found in expected]
        assert split.dropped == NOTHING | counts
        questions += len(groups)
    examined(questions, "questions", at_least=200)


def by_hand(groups: list[Group]) -> tuple[list[tuple[str, list[int], list[int], list[int]]], Counter[str]]:
    counts: Counter[str] = Counter()
    kept = []
    for one in groups:
        found: dict[str, str] = {}
        for positive in one.positives:
            known = int(positive.passage[1:]) < 20
            counts["passages_missing"] += not known
            counts["repeated"] += known and positive.passage in found
            if known:
                found.setdefault(positive.passage, positive.tier)
        lists: dict[str, list[str]] = {"bm25": [], "random": []}
        for candidate in one.candidates:
            if int(candidate.passage[1:]) >= 20:
                counts["passages_missing"] += 1
            elif candidate.passage in found:
                counts["positive_as_negative"] += 1
            elif candidate.passage in lists[candidate.source]:
                counts["repeated"] += 1
            else:
                lists[candidate.source].append(candidate.passage)
        if {"gold", "answer_match"} & set(found.values()):
            rows = [[int(name[1:]) for name in names] for names in (found, lists["bm25"], lists["random"])]
            kept.append((one.question.id, *rows))
        else:
            counts["without_positives"] += 1
    return kept, Counter({name: count for name, count in counts.items() if count})


# ---- texts that come with the records


def inline(name: str, *texts: tuple[str, str, str]) -> Group:
    return Group(Question(name, "x"), passages=tuple(Passage(identity, text, title) for identity, title, text in texts))


def test_inline_passages_are_kept_once(tmp_path: Path) -> None:
    groups = [inline("a", ("p", "T", "one"), ("q", "", "two")), inline("b", ("p", "T", "one"), ("r", "T", "one"))]
    found = _split_builder.inline_passages(tmp_path / "p", groups, {}, expected=3)
    assert list(found) == [Passage("p", "one", "T"), Passage("q", "two"), Passage("r", "one", "T")]


@pytest.mark.parametrize(
    "title, text",
    [("T", "One"), ("T", "one "), ("t", "one"), ("", "T\none"), ("T\n", "one"), ("T", "o\nne"), ("one", "T")],
)
def test_one_id_with_two_texts_is_refused(tmp_path: Path, title: str, text: str) -> None:
    groups = [inline("a", ("p", "T", "one")), inline("b", ("q", "T", "one")), inline("c", ("p", title, text))]
    with pytest.raises(DataError, match=r"p: the same passage id comes with two different texts \(see question c\)"):
        _split_builder.inline_passages(tmp_path / "p", groups, {})
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("texts", [("p\ud800", "T", "one"), ("p", "\ud800", "one"), ("p", "T", "\ud800")])
def test_inline_passages_that_are_no_text_are_refused(tmp_path: Path, texts: tuple[str, str, str]) -> None:
    with pytest.raises(DataError, match=r"lone surrogate|control character"):
        _split_builder.inline_passages(tmp_path / "p", [inline("a", texts)], {})
