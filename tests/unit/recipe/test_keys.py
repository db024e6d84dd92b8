"""The recipes that ship: complete, named for what they are, different only where they say so, honest about sources."""

from __future__ import annotations

import itertools
import json
import re
from collections import defaultdict
from typing import Any

import pytest

from mpr import corpora
from mpr.recipe import rules, strict_yaml
from mpr.recipe.rules import draw
from tests import shipped
from tests.conftest import Examined
from tests.house.source import ROOT

DESCRIBES_A_ROW = ("paper", "varies", "published", "expected")
DPR_TABLE_2 = {  # of the cells of that table, those that were seen in a source
    "NQ": {"top20": 78.4, "top100": 85.4},
    "TriviaQA": {"top20": 79.4, "top100": 85.0},
    "WQ": {"top20": 73.2, "top100": None},
    "TREC": {"top20": 79.8, "top100": None},
    "SQuAD": {"top20": 63.2, "top100": None},
}
SYSTEMS_SEEN = {  # numbers of the systems' own papers, READMEs or code, or of a paper that compares with them
    "ance": {"mrr10": 33.0, "recall1000": 95.9},
    "cl_drd": {"mrr10": 38.2, "recall1000": 97.9},
    "gradcache": {"top20": 79.3, "top100": 86.0},
    "ltre": {"mrr10": 32.9, "recall1000": 95.5},
    "pair": {"mrr10": 37.9, "recall1000": 98.2},
    "repbert": {"mrr10": 30.4},
    "rocketqa": {"mrr10": 37.0},
    "star_adore": {"mrr10": 34.7},
    "tas_b": {"mrr10": 34.0, "ndcg10": 71.2, "recall1000": 97.5},
}
FIRST = ("paper", "varies", "draft", "data", "towers", "sources", "draw", "refresh", "labels", "objective", "scale")
ORDER = (*FIRST, "encoding", "training", "validation", "plan", "search", "evaluation", "published", "expected")
MAY_BE_LEFT_OUT = {"draft", "validation", "refresh", "encoding", "plan"}
ROWS = [name for name in shipped.NAMES if not shipped.is_system(name) and not shipped.is_checkpoint(name)]


def differing(one: Any, other: Any, path: str = "") -> set[str]:
    """Dotted keys in which two recipes differ; lists are compared as a whole."""
    if isinstance(one, dict) and isinstance(other, dict):
        found: set[str] = set()
        for key in one.keys() | other.keys():
            found |= differing(one.get(key), other.get(key), f"{path}.{key}" if path else key)
        return found
    return set() if one == other else {path}


def within(key: str, listed: tuple[str, ...]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in listed)


def tables() -> dict[tuple[str, ...], list[str]]:
    """Rows that stand in one table: the same place of a paper; or of our own the same collection, split and start."""
    found = defaultdict(list)
    for name in ROWS:
        recipe = shipped.recipes()[name]
        paper = recipe.paper
        if paper is not None:
            found[paper.arxiv, paper.table, paper.dataset].append(name)
        else:
            corpus = json.dumps(recipe.data.corpus.model_dump(mode="json"), sort_keys=True)
            kind = str(bool(recipe.plan)), str(recipe.towers.base)
            found["ours", corpus, recipe.data.train, *kind].append(name)
    return found


def content(name: str) -> dict[str, Any]:
    """What a row is; of one with a plan what is written, since its own keys are those of its last stage."""
    recipe = shipped.recipes()[name]
    whole = recipe.model_dump(mode="json", by_alias=True)
    if recipe.plan:
        whole = strict_yaml.parse(shipped.text(name).encode(), name).value
    return {key: value for key, value in whole.items() if key not in DESCRIBES_A_ROW}


def test_all_are_there(examined: Examined) -> None:
    dpr = {
        f"{questions}_{row}"
        for questions in ("nq", "trivia", "webq", "trec", "squad")
        for row in ("nll_m1_released", "nll_m1_paper", "nll_m1", "bce_m1", "bce_m2", "bce_m3")
    }
    llm = {
        f"{questions}_{row}_llm"
        for questions in ("nq", "msmarco")
        for row in ("nll_m1", "rand1_lh_m4", "joint_lh_m4", "sum_marg_lh_m4", "lse_pair_m4")
    }
    assert dpr | llm | {"quickstart"} <= set(shipped.NAMES)
    assert len([name for name in shipped.NAMES if name.startswith("mini/")]) >= 8
    examined(len(shipped.recipes()), "recipes", at_least=49)


def test_rows_of_a_table_differ_only_in_what_varies(examined: Examined) -> None:
    pairs = 0
    for key, names in tables().items():
        rows = [shipped.recipes()[name] for name in names]
        for (name, one), (other_name, other) in itertools.combinations(zip(names, rows, strict=True), 2):
            pairs += 1
            assert one.varies == other.varies, f"{name} and {other_name} stand in one table, {key}"
            found = differing(content(name), content(other_name))
            assert found, f"{name} and {other_name} are the same row"
            beyond = {one_key for one_key in found if not within(one_key, one.varies)}
            assert not beyond, f"{name} and {other_name} also differ in {beyond}"
            assert one.paper is None or other.paper is None or one.paper.row != other.paper.row
        for listed in rows[0].varies if len(rows) > 1 else ():
            assert any(
                within(found, (listed,))
                for one, other in itertools.combinations(names, 2)
                for found in differing(content(one), content(other))
            ), f"{listed} varies in no pair of {names}"
        assert len(rows) > 1 or not rows[0].varies, f"{names[0]} is alone in its table, so nothing varies"
    examined(pairs, "pairs of rows", at_least=57)


def test_differing_sees_what_differs() -> None:
    assert differing({"a": {"b": 1, "c": [1]}}, {"a": {"b": 2, "c": [1]}}) == {"a.b"}
    assert differing({"a": None}, {"a": {"b": 1}}) == {"a"}
    assert differing({"a": [1]}, {"a": [1, 2], "d": 0}) == {"a", "d"}
    assert within("a.b", ("a",))
    assert not within("ab", ("a",))


@pytest.mark.parametrize("name", ROWS)
def test_the_name_says_what_it_is(name: str) -> None:
    recipe, stem = shipped.recipes()[name], name.rpartition("/")[2]
    if stem == "quickstart":
        return
    if recipe.plan:
        assert stem.rpartition("_after_")[2] in {path.stem for path in (ROOT / "recipes" / "systems").glob("*.yaml")}
        return
    variants = r"released|paper|llm|gold|true|guard|graded|wrong\d+|b\d+|u\d+"
    data = r"[a-z]+(?:_lead\d+|_closed|_nostem|_files|_minilm|_few)?"
    found = re.fullmatch(rf"({data})_([a-z0-9_]+?)_(m\d|all)(?:_({variants}))?", stem)
    assert found is not None
    data, objective, positives, variant = found.groups()
    assert [term.name for term in recipe.objective] == [re.sub("^bce_(softmax|sigmoid)$", "bce", objective)]
    if (variant or "").startswith("b"):
        assert variant == f"b{recipe.training['per_device_train_batch_size']}"
    if (variant or "").startswith("u"):
        assert variant == f"u{recipe.training['max_steps']}"
    if (variant or "").startswith("wrong"):
        assert variant == f"wrong{100 * recipe.data.corpus.wrong_positives:.0f}"  # type: ignore[attr-defined]
    most = {"up_to": recipe.draw.positives.m, "random1": recipe.draw.positives.cap, "first": 1}
    policy = recipe.draw.positives.policy
    assert positives == ("all" if policy == "all" else f"m{most[policy]}")
    assert (variant == "llm") == (recipe.labels[0].tiers == ("llm",))
    corpus = recipe.data.corpus
    known = [
        corpus.name,
        getattr(corpus, "questions", ""),
        getattr(corpus, "dataset", ""),
        getattr(corpus, "folder", ""),
    ]
    known.append(recipe.data.train)
    assert any(data.split("_")[0] in (word or "") for word in known)


@pytest.mark.parametrize("name", shipped.NAMES)
def test_keys_stand_in_one_order(name: str) -> None:
    text = shipped.text(name)
    keys = re.findall(r"^([a-z]+):", text, re.MULTILINE)
    assert keys == [key for key in ORDER if key in keys]
    assert set(ORDER) - set(keys) <= MAY_BE_LEFT_OUT | (OF_TRAINING if shipped.is_checkpoint(name) else set())
    up = "../" * name.count("/")
    assert text.startswith(f"# yaml-language-server: $schema={up}schema.json\n# ")
    assert max(map(len, text.splitlines())) <= 120


def test_draft_only_where_a_pin_is_missing(examined: Examined) -> None:
    drafts = 0
    for name, recipe in shipped.recipes().items():
        pinned = [stage.model_copy(update={"draft": False}) for stage in recipe.stages]
        missing = [what for stage in pinned for _, what, _ in rules.broken(stage)]
        assert recipe.draft == bool(missing), (name, missing)
        drafts += recipe.draft
    examined(drafts, "drafts")
    examined(len(shipped.recipes()) - drafts, "recipes that are fully pinned", at_least=8)


OF_TRAINING = {"sources", "draw", "labels", "objective", "scale", "expected"}
CHECKPOINTS_SEEN = {  # Pyserini's pages, at the commits that the recipes name
    "dpr_single_nq": {"top20": 80.06, "top100": 86.10},
    "dpr_multiset_nq": {"top20": 79.47, "top100": 86.09},
    "dpr_multiset_trivia": {"top5": 69.80, "top20": 78.87, "top100": 84.79, "top500": 88.19, "top1000": 89.30},
    "dpr_multiset_webq": {"top20": 75.05, "top100": 82.97},
    "dpr_multiset_trec": {"top20": 88.76, "top100": 93.37},
    "dpr_multiset_squad": {"top20": 51.99, "top100": 67.73},
    "tas_b_msmarco": {
        "mrr10": 34.44, "recall1000": 97.71, "dl19.ndcg10": 72.10, "dl19.map1000": 45.90, "dl19.recall1000": 84.06,
        "dl20.ndcg10": 68.54, "dl20.map1000": 46.98, "dl20.recall1000": 87.27,
    },
    "ance_msmarco": {
        "mrr10": 33.02, "recall1000": 95.87, "dl19.ndcg10": 64.52, "dl19.map1000": 37.10, "dl20.ndcg10": 64.58,
        "dl20.map1000": 40.76,
    },
}  # fmt: skip


def test_published_numbers_are_those_that_were_seen(examined: Examined) -> None:
    seen = 0
    for name, recipe in shipped.recipes().items():
        values = recipe.published.values
        if recipe.paper is not None and recipe.paper.arxiv == "2004.04906":
            assert values == DPR_TABLE_2[recipe.paper.dataset], name
            assert recipe.published.source is not None
            assert "table 2" in recipe.published.source
            seen += sum(value is not None for value in values.values())
        else:
            known = {measure: value for measure, value in values.items() if value is not None}
            if shipped.is_checkpoint(name):
                assert known == CHECKPOINTS_SEEN.get(name.removeprefix("checkpoints/"), {}), name
                seen += len(known)
                continue
            assert known == SYSTEMS_SEEN.get(name.removeprefix("systems/"), {}), name
        for measure, band in (recipe.expected or {}).items():
            runs = ROOT.glob(f"leaderboard/results/{name.rpartition('/')[2]}/trained-seed*.json")
            assert len(list(runs)) >= band.seeds >= 3, f"{name}: the band of {measure} comes from measured seeds"
    examined(seen, "published cells", at_least=14)


def test_paper_rows_follow_dpr_and_ours_do_not_punish_positives(examined: Examined) -> None:
    for name in ROWS:
        recipe = shipped.recipes()[name]
        label = recipe.labels[0]
        kinds = {label.siblings, label.shared, label.duplicates, label.doubtful}
        assert kinds == ({"ignore"} if recipe.paper is None else {"negative"})
        assert recipe.search.index == "exact"
    examined(len(ROWS), "recipes", at_least=80)


NUMBER = re.compile(r"^  ([a-z_0-9]+): [-0-9.e]+( +# .+)?$")


def test_every_number_of_a_published_row_says_where_it_comes_from(examined: Examined) -> None:
    count = 0
    for name, recipe in shipped.recipes().items():
        lines = shipped.text(name).splitlines()
        for before, line in itertools.pairwise(lines):
            found = NUMBER.match(line)
            if found and recipe.paper is not None:
                count += 1
                assert found.group(2) or before.lstrip().startswith("# "), f"{name}: {line} has no comment"
    examined(count, "numbers with a comment", at_least=400)


def test_splits_and_sources_exist(examined: Examined) -> None:
    for recipe in shipped.recipes().values():
        offered = corpora.of(recipe.data.corpus)
        if not recipe.trains:
            assert set(recipe.data.evaluate.values()) <= set(offered.splits)
            continue
        assert {recipe.data.train, *recipe.data.evaluate.values()} <= set(offered.splits)
        listed = {source.as_ for source in recipe.sources if draw.comes_with_records(source)}
        assert listed <= set(offered.splits[recipe.data.train].sources)
    examined(len(shipped.recipes()), "recipes")
