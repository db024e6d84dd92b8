"""What the tests of all formats share: arbitrary ids, texts and groups, and writing into a file and reading it back."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from mpr.records import Candidate, Group, Passage, Positive, Question, id_problem

AWKWARD = "\t\n\r\"'\\\u2028\x0b\x85\x00\ufeff\u202e a,[]{}é\U0001f600"
TEXTS = st.one_of(st.text(max_size=30), st.text(AWKWARD, max_size=12))
FILLED = TEXTS.filter(bool)
IDS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=("Z", "C")), min_size=1, max_size=12),
    st.sampled_from(
        ["../../etc", "a/b", '"', '"a"', "[1]", "007", "0", "é", "e\u0301", "A", "a", "#", "Q0", "-", "'", "\\"]
    ),
).filter(lambda value: not id_problem(value))
PASSAGES = st.lists(st.builds(Passage, IDS, TEXTS, TEXTS), max_size=6)
ANSWERS = st.lists(TEXTS, max_size=3).map(tuple)


def written(path: Path, write: Callable[..., int], *arguments: Any, **options: Any) -> int:
    """Writes a file with a format's writer; the number it returns."""
    with path.open("wb") as file:
        return write(file, *arguments, **options)


def unique(strategy: st.SearchStrategy[Any], least: int = 1, most: int = 5) -> st.SearchStrategy[Any]:
    """Lists of things with different ids."""
    return st.lists(strategy, min_size=least, max_size=most, unique_by=lambda one: one.id)


@st.composite
def groups(
    draw: st.DrawFn, first_tier: str, rest_tier: str, sources: Iterable[str], inline: bool, scored: bool, answers: bool
) -> Group:
    """A group whose texts are inline or not, candidates ranked within each source, nothing listed twice."""
    names = draw(st.lists(IDS, max_size=6, unique=True))
    cut = draw(st.integers(0, len(names)))
    positives = tuple(Positive(name, rest_tier if index else first_tier) for index, name in enumerate(names[:cut]))
    of = {name: draw(st.sampled_from(sorted(sources))) for name in names[cut:]}
    scores = st.floats(allow_nan=False, allow_infinity=False) if scored else st.none()
    candidates = tuple(
        Candidate(name, source, rank, draw(scores))
        for source in sources
        for rank, name in enumerate((name for name in of if of[name] == source), 1)
    )
    question = Question(draw(IDS), draw(TEXTS), draw(ANSWERS) if answers else ())
    order = [positive.passage for positive in positives] + [candidate.passage for candidate in candidates]
    passages = tuple(Passage(name, draw(FILLED), draw(TEXTS)) for name in order) if inline else ()
    return Group(question, positives, candidates, passages)


def unique_groups(strategy: st.SearchStrategy[Group], least: int = 1) -> st.SearchStrategy[list[Group]]:
    return st.lists(strategy, min_size=least, max_size=3, unique_by=lambda group: group.question.id)
