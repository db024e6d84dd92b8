"""Fault 21: whatever is wrong in a recipe is refused, at its line. Every key of the shipped recipes is spoilt in
fifteen ways; what a mutation may do without harm is listed below, with the reason, and must really be accepted."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from mpr.errors import RecipeError
from mpr.recipe import read, strict_yaml
from tests import shipped
from tests.conftest import Examined
from tests.faults.mutations import KINDS, Spot, spots

Case = tuple[str, Spot, str]  # recipe, key, kind of mutation

# Recipes without training have other keys; theirs are spoilt in tests/unit/recipe/test_without_training.py.
NAMES = [name for name in shipped.NAMES if not shipped.is_checkpoint(name)]
OUR_OWN = "a row without published numbers may be one of our own"
A_NAME = "the name of a column of the results is free"
ONE_OF_SEVERAL = "the others remain to be evaluated"
DEFAULT = "has a documented default"
ADAM = "the constants of the Adam paper, the default of every version"
AS_LOGGED = "evaluates as often as losses are logged"
UNKNOWN = "a number that is not known may be missing"
DRAFT = "a draft may be unpinned"
COUNTED = "counts what a checksum says already"
SUMS = ("sha256", "judgements_sha256")
HARMLESS = {
    ("paper", "removed"): OUR_OWN,
    ("paper", "null"): OUR_OWN,
    ("data.corpus.candidates", "removed"): DEFAULT,
    ("data.corpus.few_positive", "removed"): DEFAULT,
    **{
        (f"data.corpus.{key}", kind): COUNTED
        for key in ("passages.passages", "splits.train.questions", "splits.test.questions")
        for kind in ("removed", "null")
    },
    ("data.evaluate.test", "misspelt"): A_NAME,
    ("data.evaluate.dev", "misspelt"): A_NAME,
    ("data.evaluate.dl19", "misspelt"): A_NAME,
    ("data.evaluate.dl20", "misspelt"): A_NAME,
    ("data.evaluate.dev", "removed"): ONE_OF_SEVERAL,
    ("data.evaluate.dl19", "removed"): ONE_OF_SEVERAL,
    ("data.evaluate.dl20", "removed"): ONE_OF_SEVERAL,
    ("data.overlap", "removed"): DEFAULT,
    ("towers.revision", "removed"): DRAFT,
    ("towers.revision", "null"): DRAFT,
    **{
        (key, "removed"): DEFAULT
        for key in (
            "towers.last_slot",
            "towers.pair_cut",
            "towers.question_apostrophe",
            "draw.block",
            "draw.negatives.fallback",
            "encoding.compute",
            "encoding.dtype",
            "data.corpus.test",
        )
    },
    ("sources.md5", "other kind"): "hexadecimal digits are text with and without quotes",
    ("draw.positives.cap", "removed"): DEFAULT,
    ("draw.positives.cap", "null"): DEFAULT,
    ("objective.copositives", "removed"): DEFAULT,
    ("objective.reduce", "removed"): DEFAULT,
    ("objective.positives", "removed"): DEFAULT,
    ("objective.negatives", "removed"): DEFAULT,
    ("objective.divide_by_positives", "removed"): DEFAULT,
    ("objective.temperature", "removed"): DEFAULT,
    ("objective.learning_rate", "null"): DEFAULT,
    ("training.adam_beta1", "removed"): ADAM,
    ("training.adam_beta2", "removed"): ADAM,
    ("training.adam_epsilon", "removed"): ADAM,
    ("training.logging_steps", "removed"): "how often losses are logged changes no result",
    ("training.eval_steps", "removed"): AS_LOGGED,
    ("training.eval_steps", "null"): AS_LOGGED,
    ("training.eval_on_start", "removed"): "evaluating changes no bit of training",
    ("published.source", "null"): UNKNOWN,
    ("published.source", "other kind"): "is null, and becomes text: any text may name a source",
    **{
        (f"published.values.{measure}", kind): UNKNOWN
        for measure in ("top20", "top100", "mrr10", "ndcg10", "recall100", "recall1000")
        for kind in ("removed", "null")
    },
    ("expected", "removed"): DEFAULT,
    ("expected", "null"): DEFAULT,
}
ELSEWHERE = {  # the key that has to change is another one than the spoilt one
    **{("training.eval_steps", kind): "training.load_best_model_at_end" for kind in ("removed", "null")},
    ("data.corpus.passages", "null"): "data.corpus.local",  # without one, the corpus is all texts of the records
    **{
        (f"data.corpus.{key}", kind): "data.corpus"
        for key in ("passages.sha256", *(f"splits.{split}.{sum_}" for split in ("train", "test") for sum_ in SUMS))
        for kind in ("removed", "null")
    },
    **{
        (f"data.corpus.splits.{split}", kind): key
        for split, key in (("train", "data.train"), ("test", "data.evaluate.test"))
        for kind in ("misspelt", "removed")
    },
    **{
        (f"data.corpus.splits.{split}.judgements", kind): key
        for split, key in (("train", "data.train"), ("test", "evaluation.match"))
        for kind in ("removed", "null")
    },
    ("draft", "removed"): "data.corpus",
    ("paper", "removed"): "published.values.top20",
    ("paper", "null"): "published.values.top20",
    ("towers.new", "null"): "towers.base",
    ("training.eval_strategy", "removed"): "validation",
    ("validation", "removed"): "training.eval_strategy",
    ("validation", "null"): "training.eval_strategy",
}


def problems(text: str) -> list[tuple[int, str, str]]:
    """(line, key, message) of everything that is refused in a text."""
    try:
        read.from_document(strict_yaml.parse(text.encode(), "r.yaml"), "r")
    except RecipeError as error:
        return [(int(one.where.rpartition(":")[2]), one.key, str(one)) for one in error.problems]
    return []


def all_cases() -> Iterator[Case]:
    """Of what a stage writes nothing is required, as what it leaves out holds from above (its mistakes are in
    tests/unit/recipe/test_stages.py). Systems have keys that nothing else has: they are spoilt, and not taken away."""
    for name in NAMES:
        for spot in spots(shipped.text(name)):
            for kind in KINDS if not spot.pattern.startswith("plan") else ():
                takes_away = kind in ("removed", "null") or spot.pattern.startswith("labels.scores")
                if not (takes_away and shipped.is_system(name)):
                    yield name, spot, kind


def order(case: Case) -> bytes:
    """Neither alphabetical nor random: the same everywhere, and no recipe comes first."""
    name, spot, kind = case
    return hashlib.sha256(f"{name} {spot.path} {kind}".encode()).digest()


def distinct(cases: Iterable[Case]) -> Iterator[Case]:
    """Leaves out keys that stand with the same value, among as many others, in a recipe tried before."""
    known = set()
    for case in cases:
        key = (case[1].pattern, case[1].siblings, case[1].written, case[2])
        if key not in known:
            known.add(key)
            yield case


def sample() -> list[Case]:
    """Every key in eight of the ways, and whatever may be harmless with every value that it has."""
    found, turns = [], Counter[str]()
    for case in distinct(sorted(all_cases(), key=order)):
        pattern, kind = case[1].pattern, case[2]
        if (pattern, kind) in HARMLESS:
            found.append(case)
        elif turns[pattern] < 8 and not turns[f"{pattern} {kind}"]:
            turns.update((pattern, f"{pattern} {kind}"))
            found.append(case)
    return found


def run(cases: Iterable[Case], examined: Examined, at_least: int) -> None:
    refused, accepted, failures = Counter[str](), Counter[tuple[str, str]](), []
    for name, spot, kind in cases:
        mutant, pair = KINDS[kind](spot), (spot.pattern, kind)
        found = problems(mutant.text)
        if not found:
            accepted[pair] += 1
            if pair not in HARMLESS:
                failures.append(f"{name} {spot.pattern} {kind}: accepted")
            continue
        refused[kind] += 1
        elsewhere = any(key == ELSEWHERE.get(pair) for _, key, _ in found)
        if not elsewhere and mutant.line not in [line for line, _, _ in found]:
            failures.append(f"{name} {spot.pattern} {kind}: not refused at line {mutant.line} but {found[0][2]}")
        if mutant.only and len(found) > 1:
            failures.append(f"{name} {spot.pattern} {kind}: {len(found)} problems, {[text for _, _, text in found]}")
    assert not failures, "\n".join(failures)
    met = accepted.keys() | {pair for pair, why in HARMLESS.items() if why == DRAFT}  # few recipes are drafts
    assert met == HARMLESS.keys(), f"not harmless after all: {HARMLESS.keys() - accepted.keys()}"
    for kind, count in refused.items():
        examined(count, f"mutants refused: {kind}", at_least=30)
    examined(refused.total(), "mutants refused at the right line", at_least=at_least)
    examined(accepted.total(), "harmless mutants accepted", at_least=len(HARMLESS))


@pytest.mark.long
def test_every_key_in_eight_ways(examined: Examined) -> None:
    started = time.process_time()
    run(sample(), examined, at_least=850)
    examined(len({spot.pattern for _, spot, _ in all_cases()}), "different keys", at_least=65)
    assert time.process_time() - started < 60


@pytest.mark.slow
def test_every_key_of_every_recipe(examined: Examined) -> None:
    """Every value that a key has anywhere in all ways, and every key of every recipe in six of them."""
    cases = list(distinct(all_cases()))
    kinds = list(KINDS)
    for number, name in enumerate(NAMES):
        for place, spot in enumerate(spots(shipped.text(name))):
            turned = [kinds[(number + place + step) % len(kinds)] for step in range(6)]
            cases.extend((name, spot, kind) for kind in turned)
    run(cases, examined, at_least=20_000)


def test_spots_are_the_keys_of_the_recipe(examined: Examined) -> None:
    """The mutator sees every key that the reader sees, at the same line."""
    count = 0
    for name in shipped.NAMES:
        document = strict_yaml.parse(shipped.text(name).encode(), name)
        keys = {path: line for path, line in document.lines.items() if path and isinstance(path[-1], str)}
        assert {spot.path: spot.line for spot in spots(shipped.text(name))} == keys
        count += len(keys)
    examined(count, "keys", at_least=2_500)


WHOLE_FILES = {
    "an alias bomb": ("a: &a [x, x]\n" + "".join(f"{key}: &{key} [*{last}, *{last}]\n" for last, key in zip(
        "abcdefghijklmnopqrstuvwxy", "bcdefghijklmnopqrstuvwxyz", strict=True)), "aliases are not allowed"),
    "a bomb in one line": ("a: &a [&b [&c [x,x],*c,*c],*b,*b]\nb: [*a,*a,*a,*a]\n", "anchors are not allowed"),
    "deep lists": ("a: " + "[" * 30_000, "nested too deeply"),
    "deep mappings": ("{a: " * 10_000, "nested too deeply"),
    "another document": ("---\na: 1\n---\nb: 2\n", "holds several documents"),
    "nothing": ("", "is empty"),
    "only comments": ("# nothing\n# here\n", "is empty"),
    "a list": ("- a\n- b\n", "must be a mapping of keys"),
    "text": ("just text\n", "must be a mapping of keys"),
    "JSON of something else": ('{"model_type": "bert", "hidden_size": 768}', "unknown key"),
    "a web page": ("<!DOCTYPE html>\n<html><body>404</body></html>\n", "must be a mapping of keys"),
    "an unclosed quote": ('paper: {arxiv: "2508.09534}\n', "is not YAML"),
    "a conflict marker": ("<<<<<<< ours\npaper: null\n=======\npaper: {}\n>>>>>>> theirs\n", "is not YAML"),
    "an older YAML": ("%YAML 1.1\n---\nshare: no\n", "'no' is neither a plain decimal number"),
    "a control sign": ("paper: \x07\n", "is not YAML"),
}  # fmt: skip


@pytest.mark.parametrize("text, message", WHOLE_FILES.values(), ids=WHOLE_FILES)
def test_whole_files(text: str, message: str) -> None:
    started = time.process_time()
    found = problems(text)
    assert any(message in said for _, _, said in found), found
    assert time.process_time() - started < 10


@pytest.mark.parametrize("data", [b"\xff\xfe", b"\x1f\x8b\x08\x00", b"PK\x03\x04\x80", "paper: é".encode("latin-1")])
def test_files_that_are_no_text(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(data)
    with pytest.raises(RecipeError, match=r"r\.yaml:1: is not (UTF-8|YAML)"):
        read.load(path)


def test_a_hundred_megabytes(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    with path.open("wb") as file:
        file.write(shipped.text("quickstart").encode())
        file.truncate(100 * 1024 * 1024)
    started = time.process_time()
    with pytest.raises(RecipeError, match="has 104,857,600 bytes; a recipe has at most"):
        read.load(path)
    assert time.process_time() - started < 1


def test_the_largest_file_that_is_read_takes_seconds_at_most(tmp_path: Path) -> None:
    """Junk up to the limit of size ends soon, whatever its form."""
    forms = ["- a\n", "k: [a, ", "a: 1\n", "x", "? a\n", "!t &a ", "| "]
    for form in forms:
        path = tmp_path / "junk.yaml"
        path.write_text((form * strict_yaml.MAX_BYTES)[: strict_yaml.MAX_BYTES], "utf-8")
        started = time.process_time()
        with pytest.raises(RecipeError):
            read.load(path)
        assert time.process_time() - started < 20, form


def test_all_errors_of_a_recipe_at_once(examined: Examined) -> None:
    """One mutation in each of the big parts: all are reported, each at its line, in the order of the file."""
    text = shipped.text("trec_bce_m3")
    edits = {
        "share: false": "share: maybe",
        "k: 1": "k: one",
        "doubtful: negative": "doubtful: never",
        "gather: false": "gather: 0",
        "seed: 42": "seed: [42]",
        "depth: 100": "depths: 100",
        "match: regex": "match: regexp",
    }
    for old, new in edits.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    found = problems(text)
    lines = [line for line, _, _ in found]
    assert lines == sorted(lines)
    for new in edits.values():
        assert text[: text.index(new)].count("\n") + 1 in lines
    examined(len(edits), "errors in one file, all reported")
