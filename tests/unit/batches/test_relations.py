"""The two matrices against the five rules of `mpr/batches/relations.py`, read once more, cell by cell, with Python
sets."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpr.batches import relations
from mpr.batches.relations import Block, Policy, Relations
from mpr.data.positives import PositiveIndex
from mpr.data.tokens import PADDING
from mpr.labels import known_positives
from mpr.records import TIERS as TIERS_OF_RECORDS
from tests.conftest import Examined
from tests.unit.policies import policy_of

KINDS = ("siblings", "shared", "duplicates", "doubtful")
WORDS = ("positive", "ignore", "negative")
POLICIES = [policy_of(*words) for words in itertools.product(WORDS, repeat=4)]
SETTINGS = [(policy, in_batch) for policy in POLICIES for in_batch in (True, False)]
TIERS = ("gold", "answer_match")  # those that count
EVERY_TIER = (*TIERS, "llm", "generated")


@dataclass(frozen=True)
class Case:
    """A step in the words of the rules: who each row asks for, what stands in the columns, what was drawn."""

    known: Mapping[int, Sequence[tuple[int, str]]]
    texts: Sequence[int]
    questions: tuple[int, ...]
    passages: tuple[int, ...]
    positives: tuple[tuple[int, int], ...]
    negatives: tuple[tuple[int, int], ...]

    def build(self, policy: Policy, in_batch: bool) -> Relations:
        index = PositiveIndex.of([self.known[question] for question in range(len(self.known))])
        pairs = (*_columns(self.positives), *_columns(self.negatives))
        block = Block(_array(self.questions), _array(self.passages), *pairs)
        hashes = np.array([10**18 + text for text in self.texts], dtype=np.uint64)
        return relations.build(block, index, hashes, TIERS, policy, in_batch=in_batch)


def _array(values: Iterable[int]) -> np.ndarray:
    return np.array(list(values), dtype=np.int64)


def _columns(pairs: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    return _array(row for row, _ in pairs), _array(passage for _, passage in pairs)


def name_of(case: Case, row: int, passage: int) -> str:
    """What the first three rules call a cell; the empty string where they say nothing."""
    question = case.questions[row]
    if (row, passage) in case.positives:
        return "drawn"
    counting = {one for one, tier in case.known[question] if tier in TIERS}
    doubtful = {one for one, tier in case.known[question]} - counting
    if passage in counting:
        others = {case.questions[other] for other, drawn in case.positives if drawn == passage} - {question, PADDING}
        return "shared" if others else "siblings"
    if passage in doubtful:
        return "doubtful"
    if case.texts[passage] in {case.texts[one] for one in counting}:
        return "duplicates"
    return "doubtful" if case.texts[passage] in {case.texts[one] for one in doubtful} else ""


def named(case: Case) -> dict[tuple[int, int], str]:
    """The names of all cells that are not padding, by row and passage."""
    rows = [row for row, question in enumerate(case.questions) if question != PADDING]
    passages = [passage for passage in case.passages if passage != PADDING]
    return {(row, passage): name_of(case, row, passage) for row in rows for passage in passages}


def slow(
    case: Case, names: dict[tuple[int, int], str], policy: Policy, in_batch: bool
) -> tuple[list[str], Counter[str]]:
    """The matrix as one string a row: `+` positive, `-` negative, `.` ignored, space for padding; and the counts."""
    counts: Counter[str] = Counter(dict.fromkeys((*KINDS, "positive", "negative", "ignored"), 0))
    matrix = []
    for row, question in enumerate(case.questions):
        line = ""
        for passage in case.passages:
            if PADDING in (question, passage):
                line += " "
                continue
            name = names[row, passage]
            word = "positive" if name == "drawn" else getattr(policy, name) if name else "negative"
            if word == "negative" and not in_batch and (row, passage) not in case.negatives:
                word = "ignore"
            line += {"positive": "+", "ignore": ".", "negative": "-"}[word]
            counts[name] += name in KINDS
            counts[{"ignore": "ignored"}.get(word, word)] += 1
        matrix.append(line)
    return matrix, Counter({name: count for name, count in counts.items() if name not in ("", "drawn")})


def shown(case: Case, related: Relations) -> list[str]:
    """What was built, in the same notation."""
    lines = []
    for row, question in enumerate(case.questions):
        line = ""
        for column, passage in enumerate(case.passages):
            pair = bool(related.positives_QP[row, column]), bool(related.negatives_QP[row, column])
            empty = " " if PADDING in (question, passage) else "."
            line += {(True, False): "+", (False, True): "-", (False, False): empty, (True, True): "!"}[pair]
        lines.append(line)
    return lines


class Dice:
    """Small choices out of bytes that hypothesis made up, so that it can make a failing case smaller."""

    def __init__(self, drawn: bytes) -> None:
        self._bytes = iter(drawn)

    def below(self, limit: int) -> int:
        return next(self._bytes, 0) % limit

    def some(self, values: Sequence[int], most: int) -> list[int]:
        return [values[self.below(len(values))] for _ in range(self.below(most + 1))] if values else []

    def shuffled(self, values: Iterable[int]) -> list[int]:
        left = list(values)
        return [left.pop(self.below(len(left))) for _ in range(len(left))]


def rolled(drawn: bytes) -> Case:
    """A small step with everything that can happen: questions in several rows, copies, doubt, padding, no negatives."""
    dice = Dice(drawn)
    size, asked = 3 + dice.below(8), 1 + dice.below(4)
    texts = [dice.below(size) if dice.below(3) == 0 else 100 + passage for passage in range(size)]
    known = {}
    for question in range(asked):
        listed = dict.fromkeys(dice.some(range(size), 5))
        known[question] = [(passage, EVERY_TIER[dice.below(4)]) for passage in listed]
    rows = [dice.below(asked) for _ in range(1 + dice.below(6))]
    positives, negatives = set(), set()
    against = 2 if dice.below(5) else 0  # negatives of a row at most
    for row, question in enumerate(rows):
        counting = [passage for passage, tier in known[question] if tier in TIERS]
        positives |= {(row, passage) for passage in dice.some(counting, 3)}
        negatives |= {(row, passage) for passage in dice.some(range(size), against)}
    inside = {passage for _, passage in positives | negatives} | set(dice.some(range(size), 4))
    empty = range(len(rows), len(rows) + dice.below(3))
    for row in empty:  # whatever is said of padding, it means nothing
        positives |= {(row, passage) for passage in dice.some(list(inside), 2)}
        negatives |= {(dice.below(row), PADDING)} if against else set()
    columns = dice.shuffled([*inside, *[PADDING] * dice.below(3)])
    rows += [PADDING for _ in empty]
    return Case(known, texts, tuple(rows), tuple(columns), tuple(sorted(positives)), tuple(sorted(negatives)))


cases = st.binary(min_size=120, max_size=120).map(rolled)


@pytest.mark.long
def test_every_cell_of_thousands_of_blocks_is_what_the_rules_say(examined: Examined) -> None:
    seen: Counter[str] = Counter()
    tried: Counter[tuple[Policy, bool]] = Counter()

    @settings(max_examples=560, deadline=None, derandomize=True, database=None)
    @given(cases, st.integers(0, 26))
    def compare(case: Case, share: int) -> None:
        names = named(case)
        for policy, in_batch in SETTINGS[share::27]:
            tried[policy, in_batch] += 1
            related = case.build(policy, in_batch)
            matrix, counts = slow(case, names, policy, in_batch)
            assert shown(case, related) == matrix
            assert related.counts == counts
            seen.update({name: count for name, count in counts.items() if count})
            seen["blocks with a padded row"] += PADDING in case.questions
            seen["blocks with a padded column"] += PADDING in case.passages
            seen["blocks with a question in several rows"] += len(set(case.questions)) < len(case.questions)
            seen["blocks without drawn negatives"] += not case.negatives

    compare()
    print(dict(seen))
    examined(tried.total(), f"blocks under {len(tried)} of {len(SETTINGS)} settings", at_least=3360)
    assert len(tried) == 162
    assert len(seen) == 11
    assert min(seen.values()) > 150


def test_invariants(examined: Examined) -> None:
    blocks = 0

    @settings(max_examples=400, deadline=None, derandomize=True, database=None)
    @given(cases, st.sampled_from(SETTINGS))
    def hold(case: Case, setting: tuple[Policy, bool]) -> None:
        nonlocal blocks
        blocks += 1
        policy, in_batch = setting
        related = case.build(policy, in_batch)
        positives, negatives = related.positives_QP, related.negatives_QP
        assert not (positives & negatives).any()
        real_pairs = [(row, passage) for row, passage in case.positives if case.questions[row] != PADDING]
        for row, passage in real_pairs:
            assert positives[row, case.passages.index(passage)]
        padded_Q, padded_P = _array(case.questions) == PADDING, _array(case.passages) == PADDING
        for matrix in (positives, negatives):
            assert not matrix[padded_Q].any()
            assert not matrix[:, padded_P].any()
        real = int((~padded_Q).sum() * (~padded_P).sum())
        assert related.counts["positive"] + related.counts["negative"] + related.counts["ignored"] == real
        spared = case.build(policy_of("ignore", "ignore", "ignore", "ignore"), in_batch)
        drawn = np.zeros_like(positives)
        for row, passage in real_pairs:
            drawn[row, case.passages.index(passage)] = True
        assert np.array_equal(spared.positives_QP, drawn)
        for row, question in enumerate(case.questions):
            for passage, _ in case.known.get(question, ()):
                if passage in case.passages:
                    assert not spared.negatives_QP[row, case.passages.index(passage)]

    hold()
    examined(blocks, "blocks", at_least=400)


def test_the_order_of_rows_and_columns_changes_nothing_else(examined: Examined) -> None:
    blocks = 0

    @settings(max_examples=300, deadline=None, derandomize=True, database=None)
    @given(cases, st.sampled_from(SETTINGS), st.randoms(use_true_random=False))
    def permute(case: Case, setting: tuple[Policy, bool], random) -> None:  # type: ignore[no-untyped-def]
        nonlocal blocks
        blocks += 1
        rows, columns = list(range(len(case.questions))), list(range(len(case.passages)))
        random.shuffle(rows)
        random.shuffle(columns)
        moved = replace(
            case,
            questions=tuple(case.questions[row] for row in rows),
            passages=tuple(case.passages[column] for column in columns),
            positives=tuple((rows.index(row), passage) for row, passage in case.positives),
            negatives=tuple((rows.index(row), passage) for row, passage in case.negatives),
        )
        before, after = case.build(*setting), moved.build(*setting)
        assert np.array_equal(before.positives_QP[np.ix_(rows, columns)], after.positives_QP)
        assert np.array_equal(before.negatives_QP[np.ix_(rows, columns)], after.negatives_QP)
        assert before.counts == after.counts

    permute()
    examined(blocks, "blocks", at_least=300)


# Named cases. Passages are words; a row is "question: its drawn positives", `|` sets its drawn negatives apart.
AS_DPR = policy_of("negative", "negative", "negative", "negative")
IMPROVED = policy_of(siblings="ignore", shared="positive", duplicates="ignore", doubtful="ignore")


def matrix(known: dict[str, str], rows: Sequence[str], columns: str, policy: Policy, **options: object) -> list[str]:
    """Builds a step from words. `known` maps a question to `passage` or `passage:tier`; `a~b` is a copy of b's text."""
    names: dict[str, int] = defaultdict(lambda: len(names))
    texts: dict[str, str] = {}
    for word in columns.split():
        name, _, original = word.partition("~")
        texts[name] = original or name
        names[name]
    questions = list(known)
    listed = {}
    for number, question in enumerate(questions):
        pairs = [word.partition(":") for word in known[question].split()]
        listed[number] = [(names[passage], tier or "gold") for passage, _, tier in pairs]
    positives, negatives = [], []
    for row, line in enumerate(rows):
        drawn, _, against = line.partition(":")[2].partition("|")
        positives += [(row, names[passage]) for passage in drawn.split()]
        negatives += [(row, names[passage]) for passage in against.split()]
    labels = sorted({texts.get(name, name) for name in names})
    case = Case(
        listed,
        [labels.index(texts.get(name, name)) for name in names],
        tuple(questions.index(line.partition(":")[0]) for line in rows),
        tuple(names[word.partition("~")[0]] for word in columns.split()),
        tuple(positives),
        tuple(negatives),
    )
    return shown(case, case.build(policy, bool(options.get("in_batch", True))))


def test_dpr_every_passage_of_the_others_is_a_negative() -> None:
    """The original code: the own positive is positive, every other column negative, even a second positive of mine."""
    known = {"seine": "paris rouen", "louvre": "paris museum"}
    rows = ["seine: rouen | lyon", "louvre: paris | nice"]
    assert matrix(known, rows, "rouen paris lyon nice", AS_DPR) == ["+---", "-+--"]


def test_improved_a_positive_of_both_questions_is_positive_for_both() -> None:
    known = {"seine": "paris rouen", "louvre": "paris museum"}
    rows = ["seine: rouen | lyon", "louvre: paris | nice"]
    assert matrix(known, rows, "rouen paris lyon nice", IMPROVED) == ["++--", "-+--"]


def test_a_passage_that_both_questions_drew_is_one_column_and_positive_for_both_under_every_policy() -> None:
    known = {"seine": "paris", "louvre": "paris"}
    tried = [matrix(known, ["seine: paris", "louvre: paris | nice"], "paris nice", policy) for policy in POLICIES]
    assert tried == [["+-", "+-"]] * 81


@pytest.mark.parametrize("word, cell", [("negative", "-"), ("ignore", "."), ("positive", "+")])
def test_sibling_in_another_row_of_the_same_question(word: str, cell: str) -> None:
    """one_row_per_positive: the rows of a question bring its other positives along; no other question did."""
    known = {"seine": "paris rouen", "louvre": "museum"}
    policy = policy_of(siblings=word, shared="negative", duplicates="negative", doubtful="negative")
    rows = ["seine: paris", "seine: rouen", "louvre: museum"]
    assert matrix(known, rows, "paris rouen museum", policy) == [f"+{cell}-", f"{cell}+-", "--+"]


def test_a_sibling_that_another_question_also_drew_is_shared() -> None:
    known = {"seine": "paris rouen", "louvre": "rouen"}
    policy = policy_of(siblings="negative", shared="positive", duplicates="negative", doubtful="negative")
    rows = ["seine: paris", "seine: rouen", "louvre: rouen"]
    assert matrix(known, rows, "paris rouen", policy) == ["++", "-+", "-+"]


def test_a_known_positive_that_came_as_somebodys_negative_is_a_sibling() -> None:
    known = {"seine": "paris rouen", "louvre": "museum"}
    rows = ["seine: paris", "louvre: museum | rouen"]
    assert matrix(known, rows, "paris museum rouen", IMPROVED) == ["+-.", "-+-"]


@pytest.mark.parametrize("word, cell", [("negative", "-"), ("ignore", "."), ("positive", "+")])
def test_near_duplicate_under_another_id(word: str, cell: str) -> None:
    """The copy says what my positive says; for the other question, whose negative it is, it stays a negative."""
    known = {"seine": "paris rouen", "louvre": "museum"}
    policy = policy_of(siblings="ignore", shared="ignore", duplicates=word, doubtful="ignore")
    rows = ["seine: paris", "louvre: museum | copy"]
    assert matrix(known, rows, "paris museum copy~paris", policy) == [f"+-{cell}", "-+-"]
    assert matrix(known, rows, "paris museum copy~rouen", policy) == [f"+-{cell}", "-+-"]  # of an undrawn positive too


def test_doubtful_tier_and_a_copy_of_it() -> None:
    """A passage that only a language model called relevant, where only gold counts, is no evidence either way."""
    known = {"seine": "paris rouen:llm", "louvre": "museum"}
    rows = ["seine: paris", "louvre: museum | rouen copy"]
    assert matrix(known, rows, "paris museum rouen copy~rouen", IMPROVED) == ["+-..", "-+--"]
    assert matrix(known, rows, "paris museum rouen copy~rouen", AS_DPR) == ["+---", "-+--"]


def test_a_copy_of_both_a_counting_and_a_doubtful_positive_is_a_duplicate() -> None:
    known = {"seine": "paris rouen:llm"}
    policy = policy_of(siblings="ignore", shared="ignore", duplicates="positive", doubtful="negative")
    assert matrix(known, ["seine: paris | copy"], "paris copy~paris rouen~paris", policy) == ["++-"]


def test_without_in_batch_only_the_own_drawn_negatives_count() -> None:
    known = {"seine": "paris rouen", "louvre": "museum"}
    rows = ["seine: paris | lyon", "louvre: museum | nice"]
    assert matrix(known, rows, "paris museum lyon nice", AS_DPR, in_batch=False) == ["+.-.", ".+.-"]


def test_a_question_without_negatives_has_none() -> None:
    known = {"seine": "paris rouen"}
    rows = ["seine: paris rouen"]
    assert matrix(known, rows, "paris rouen", IMPROVED) == ["++"]
    assert matrix(known, rows, "paris rouen", IMPROVED, in_batch=False) == ["++"]


def test_drawn_pairs_outside_the_block_are_left_out() -> None:
    """A share of a step may be built alone; what it does not hold cannot be a cell of it."""
    case = Case({0: [(0, "gold"), (1, "gold")]}, [0, 1, 2], (0,), (1,), ((0, 0),), ((0, 2),))
    assert shown(case, case.build(IMPROVED, True)) == ["."]
    empty = replace(case, passages=())
    assert empty.build(IMPROVED, True).counts == dict.fromkeys((*KINDS, "positive", "negative", "ignored"), 0)


def test_the_tiers_of_a_recipe_are_those_of_the_records() -> None:
    assert get_args(known_positives.Tier) == TIERS_OF_RECORDS
    policy: Policy = known_positives.Params(
        tiers=("gold",), siblings="ignore", shared="positive", duplicates="negative", doubtful="ignore"
    )
    words = [policy.siblings, policy.shared, policy.duplicates, policy.doubtful]
    assert words == ["ignore", "positive", "negative", "ignore"]
