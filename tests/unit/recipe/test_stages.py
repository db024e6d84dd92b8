"""A plan becomes recipes: merged key by key, each checked as a recipe, mistakes told at the line that has them."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonschema
import pytest

from mpr import corpora
from mpr.errors import RecipeError
from mpr.publishing import _board
from mpr.recipe import _costs, plan, reference, strict_yaml
from mpr.recipe import read as recipe_file
from mpr.recipe import stages as recipe_plan
from mpr.recipe.keys import Recipe
from tests import shipped
from tests.conftest import Examined

ABOVE = shipped.text("quickstart")
PLAN = """
plan:
  - name: warmup
    draw: {negatives: []}
    objective: [{name: joint_lh, copositives: keep, reduce: sum}]
    training: {max_steps: 30}
  - name: hard
    sources: [{name: dense, as: hard, model: "stage:warmup", depth: 9, dtype: float32, compute: float32}]
    draw:
      positives: {m: 2}
      negatives: [{from: hard, k: 2, weight: uniform, short: fewer}]
    training: {learning_rate: 5.0e-4}
  - name: last
    start: base
    scale: {groups: 2}
    labels: [{name: known_positives, tiers: [gold],
              siblings: ignore, shared: ignore, duplicates: ignore, doubtful: ignore}]
"""


def read(text: str, *overrides: str) -> Recipe:
    return recipe_file.from_document(strict_yaml.parse(text.encode(), "r.yaml"), "r", overrides)


def refused(text: str, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        read(text, *overrides)
    return [str(problem) for problem in caught.value.problems]


def changed(old: str, new: str) -> str:
    assert PLAN.count(old) == 1, old
    return ABOVE + PLAN.replace(old, new)


def line(text: str, part: str) -> int:
    return text[: text.rindex(part)].count("\n") + 1


def merged_by_hand(above: Any, own: Any) -> Any:
    """Written without a look at the code: set every leaf of the entry in a copy of what stands above."""
    made = copy.deepcopy(above)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(made.get(key), dict)
        made[key] = merged_by_hand(made[key], value) if both else copy.deepcopy(value)
    return made


def test_a_stage_is_the_recipe_that_one_would_have_written(examined: Examined) -> None:
    """Of each stage the file that has all of it, read by itself, is the same recipe but for where it starts."""
    row, count = read(ABOVE + PLAN), 0
    value = strict_yaml.parse((ABOVE + PLAN).encode(), "r.yaml").value
    above = {key: part for key, part in value.items() if key != "plan"}
    for stage, entry in zip(row.stages, value["plan"], strict=True):
        alone = merged_by_hand(above, {key: part for key, part in entry.items() if key not in ("name", "start")})
        own = Recipe.model_validate_json(json.dumps(alone)).model_dump()
        assert stage.model_dump(exclude={"start"}) == {key: part for key, part in own.items() if key != "start"}
        count += len(own)
    examined(count, "keys of stages", at_least=60)


def test_what_is_merged_and_what_replaced() -> None:
    warmup, hard, last = read(ABOVE + PLAN).stages
    assert (warmup.training["max_steps"], hard.training["max_steps"], hard.training["seed"]) == (30, 160, 42)
    assert warmup.draw.negatives == ()
    assert (hard.draw.positives.policy, hard.draw.positives.m, hard.draw.positives.beyond) == ("up_to", 2, "rotate")
    assert [source.name for source in hard.sources] == ["dense"], "lists replace"
    assert [source.name for source in last.sources] == ["bm25"], "and nothing comes from the stage before"
    assert [stage.start for stage in (warmup, hard, last)] == [None, "stage:warmup", None]
    assert [list(stage.earlier) for stage in (warmup, hard, last)] == [[], ["warmup"], ["warmup", "hard"]]


def test_the_row_is_its_last_stage_and_starts_with_the_first_that_leads_to_it() -> None:
    row = read(ABOVE + PLAN)
    assert row.labels == row.stages[-1].labels
    assert (row.stage, len(row.plan)) == ("", 3)
    assert recipe_plan.head_of(row).stage == "last"
    chained = read(changed("start: base", "start: hard"))
    assert chained.stages[-1].start == "stage:hard"
    assert recipe_plan.head_of(chained).stage == "warmup"
    begun = read("start: here/model\ndraft: true\n" + changed("start: base", "start: previous"))
    assert [stage.start for stage in begun.stages] == ["here/model", "stage:warmup", "stage:hard"]


def test_without_a_plan_the_recipe_is_its_only_stage() -> None:
    row = read(ABOVE + "\nplan: []\n")
    assert row.stages == (row,)
    assert recipe_plan.head_of(row) is row
    assert plan.digest(row) == plan.digest(read(ABOVE)), "a key at its default changes no digest"


BELOW = "    sources: [{name: dense, as: hard"
MISTAKES = [  # (what is written, what instead, where the problem is: a part of that line, key, part of the message)
    ("max_steps: 30", "max_step: 30", "max_step: 30", "plan[0].training.max_step", "stage warmup: unknown key (did"),
    ("max_steps: 30", "max_steps: x", "max_steps: x", "plan[0].training.max_steps", "stage warmup: must be a whole"),
    ("    objective: [", "    objectiv: [", "objectiv: [", "plan[0].objectiv", "stage warmup: unknown key (did"),
    ("name: joint_lh", "name: joint", "name: joint", "plan[0].objective[0].name", "'joint' is not one of"),
    ("depth: 9", "depth: -9", "depth: -9", "plan[1].sources[0].depth", "stage hard: must be greater than"),
    ("depth: 9, ", "", BELOW, "plan[1].sources[0].depth", "stage hard: is missing"),
    ("m: 2", "m: 2, beyond: null, policy: all", "m: 2, b", "plan[1].draw.positives.m", "stage hard: belongs to"),
    ("m: 2", "policy: all", "m: 4, beyond", "draw.positives.m", "stage hard: belongs to policy up_to"),
    ("from: hard", "from: herd", "from: herd", "plan[1].draw.negatives[0].from", "no source is called 'herd'"),
    ("stage:warmup", "stage:warmpu", BELOW, "plan[1].sources[0].model", "called 'warmpu' (did you mean 'warmup'?)"),
    ("stage:warmup", "stage:last", BELOW, "plan[1].sources[0].model", "no earlier stage is called 'last'"),
    ("stage:warmup", "stage:hard", BELOW, "plan[1].sources[0].model", "'hard' is this very stage"),
    ("start: base", "start: lost", "start: lost", "plan[2].start", "no earlier stage is called 'lost'"),
    ("start: base", "start: last", "start: last", "plan[2].start", "no earlier stage is called 'last'"),
    ("start: base", "start: 3", "start: 3", "plan[2].start", "must be text"),
    ("name: last", "name: hard", "name: hard\n    start", "plan[2].name", "a second stage is called 'hard'"),
    ("name: last", "name: ../last", "name: ../last", "plan[2].name", "is no plain name"),
    ("name: last", "name: previous", "name: previous", "plan[2].name", "'previous' means something else"),
    ("name: last\n    start", "start", "start: base", "plan[2].name", "is missing"),
    ("scale: {groups: 2}", "data: {evaluate: {test: test}}", "data: {ev", "plan[2].data.evaluate", "cannot differ"),
    ("scale: {groups: 2}", "data: {corpus: {name: x}}", "data: {corpus", "plan[2].data.corpus", "cannot differ"),
    ("scale: {groups: 2}", "search: {depth: 200}", "search: {depth: 200", "plan[2].search", "cannot differ"),
    ("scale: {groups: 2}", "evaluation: {match: regex}", "evaluation: {m", "plan[2].evaluation", "cannot differ"),
    ("scale: {groups: 2}", "published: null", "published: null", "plan[2].published", "cannot differ"),
    ("scale: {groups: 2}", "paper: null", "    paper: null", "plan[2].paper", "cannot differ"),
    ("scale: {groups: 2}", "varies: []", "    varies: []", "plan[2].varies", "cannot differ"),
    ("scale: {groups: 2}", "plan: []", "    plan: []", "plan[2].plan", "cannot differ"),
    ("scale: {groups: 2}", "training: {seed: 4}", "training: {seed: 4", "plan[2].training.seed", "cannot differ"),
    ("scale: {groups: 2}", "towers: {base: x}", "towers: {base", "plan[2].towers.base", "exactly one of base and new"),
    ("start: base", "towers: {pooling: cls}", "towers: {pooling", "plan[2].towers.pooling", "is 'cls' here and 'mean'"),
    ("scale: {groups: 2}", "validation: no", "validation: no", "plan[2].validation", "'no' is neither a plain"),
    ("start: base", "start: base\n    encoding: {x: &y 1}", "encoding: {x: &y", "plan[2].encoding.x", "anchors are"),
]  # fmt: skip


@pytest.mark.parametrize("old, new, place, key, message", MISTAKES)
def test_a_mistake_is_told_where_it_is_written(old: str, new: str, place: str, key: str, message: str) -> None:
    text = changed(old, new)
    found = refused(text)
    where = f"r.yaml:{line(text, place)} {key}: "
    assert [problem for problem in found if problem.startswith(where) and message in problem], found
    assert {problem.split()[0] for problem in found} == {where.split()[0]}, "and nothing is wrong elsewhere"


def test_what_stands_above_is_told_once(examined: Examined) -> None:
    """A mistake of all stages, or of the types of what they share, is none of a stage."""
    tried = 0
    for old, new in (
        ("pooling: mean", "poolin: mean"),
        ("warmup_steps: 0.1", "warmup_steps: x"),
        ("\nscale:", "\nscal:"),
        ("weight_decay: 0.01", "weight_decay: -1.0"),
        ("siblings: ignore", "sibling: ignore"),
    ):
        assert ABOVE.count(old) == 1
        found = refused(ABOVE.replace(old, new) + PLAN)
        assert not [problem for problem in found if "stage" in problem], found
        assert len(found) == len(set(found)) <= 2
        tried += 1
    examined(tried, "mistakes above a plan", at_least=5)


def test_a_mistake_above_that_only_some_stages_inherit_names_them() -> None:
    text = changed("learning_rate: 5.0e-4", "learning_rate: 5.0e-4, warmup_steps: 10")
    (found,) = refused(text.replace("warmup_steps: 0.1", "warmup_steps: 100"))
    assert found.startswith(f"r.yaml:{line(ABOVE, 'warmup_steps: 0.1')} training.warmup_steps: stage warmup: 100 steps")
    (found,) = refused(text.replace("warmup_steps: 0.1", "warmup_steps: -1"))
    assert "training.warmup_steps: stages warmup, last: must be at least 0" in found


@pytest.mark.parametrize("written", ["3", "text", "{name: a}", "[3]", "[null]", "null"])
def test_a_plan_that_is_no_list_of_stages(written: str) -> None:
    text = f"{ABOVE}\nplan: {written}\n"
    (found,) = refused(text)
    assert found.startswith(f"r.yaml:{line(text, 'plan:')} plan")


def test_overrides_reach_into_stages(examined: Examined) -> None:
    text, tried = ABOVE + PLAN, 0
    for key, stage in (("plan.0.", 0), ("plan[0].", 0), ("plan.hard.", 1), ("plan.last.", 2), ("plan.2.", 2)):
        stages = read(text, f"{key}training.max_steps=7", f"{key}scale.gather=true").stages
        assert [each.training["max_steps"] == 7 for each in stages] == [number == stage for number in range(3)]
        assert [each.scale.gather for each in stages] == [number == stage for number in range(3)]
        tried += 1
    whole = read(text, "training.max_steps=7").stages
    assert [stage.training["max_steps"] for stage in whole] == [30, 7, 7], "what a stage says itself stays"
    examined(tried, "ways to name a stage", at_least=5)


@pytest.mark.parametrize(
    "override, message",
    [
        ("plan.warmpu.training.max_steps=1", "'plan.warmpu' is not in the recipe"),
        ("plan.9.training.max_steps=1", "'plan[9]' is not in the recipe"),
        ("plan.hard.trainin.max_steps=1", "'plan[1].trainin' is not in the recipe (did you mean 'training'?)"),
        ("plan.hard.training.max_stepz=1", "--set plan[1].training.max_stepz: stage hard: unknown key"),
        ("plan.last.training.max_steps=x", "--set plan[2].training.max_steps: stage last: must be a whole number"),
        ("plan.last.search.depth=9", "plan[2].search: cannot differ from stage to stage"),
    ],
)
def test_bad_overrides(override: str, message: str) -> None:
    found = refused(ABOVE + PLAN, override)
    assert any(message in problem for problem in found), found


def test_the_digest_is_that_of_all_stages(examined: Examined) -> None:
    text = ABOVE + PLAN
    row = read(text)
    changes = ["plan.0.training.max_steps=31", "plan.1.draw.positives.m=3", "plan.2.training.max_steps=9",
               "training.seed=43", "plan.2.start=hard", "plan.2.name=final", "towers.question_length=31"]  # fmt: skip
    digests = {plan.digest(read(text, change)) for change in changes}
    assert len(digests | {plan.digest(row)}) == len(changes) + 1
    other = [[plan.digest(stage) for stage in read(text, changes[1]).stages]]
    own = [plan.digest(stage) for stage in row.stages]
    assert [one == two for one, two in zip(own, other[0], strict=True)] == [True, False, True]
    assert _board.digest_with(row, 43) == plan.digest(read(text, "training.seed=43")) != plan.digest(row)
    examined(len(changes), "changes", at_least=7)


def test_the_plan_adds_trainings_up() -> None:
    row = read(ABOVE + PLAN)
    made, stages = plan.resolve(row), [plan.resolve(stage) for stage in row.stages]
    assert made.steps == 30 + 160 + 160 == sum(stage.steps or 0 for stage in stages)
    assert made.hours is not None
    assert made.memory == max((stage.memory for stage in stages), key=lambda memory: memory.total if memory else 0)
    mined = {what: hours for what, hours in made.hours.items() if what.startswith("mine")}
    assert mined == _costs.mining_hours(row, corpora.of(row.data.corpus))
    assert {what.partition(" on ")[0] for what in mined} == {"mine with stage:warmup"}
    for what, hours in made.hours.items():
        if what in mined:  # of the row alone: no stage by itself has the model of another
            continue
        of_stages = [stage.hours[what] for stage in stages if stage.hours]
        assert hours == (pytest.approx(sum(of_stages)) if what.startswith("train") else of_stages[-1])
    text = str(made)
    assert [row.split()[1] for row in text.splitlines() if row.startswith("stage ")] == ["warmup", "hard", "last"]
    assert text.count("\nsearch ") == text.count("\ncorpus ") == 1


def test_the_schema_takes_a_plan_and_refuses_what_the_reader_refuses(examined: Examined) -> None:
    validator = jsonschema.Draft202012Validator(reference.recipe_schema())
    value = strict_yaml.parse((ABOVE + PLAN).encode(), "r.yaml").value
    validator.validate(value)
    tried = 0
    for old, new, *_ in MISTAKES:
        if (
            old.startswith(("max_steps: 30", "    objective: [", "name: joint_lh", "depth: 9"))
            or "cannot differ" in _[-1]
        ):
            mutant = strict_yaml.parse(changed(old, new).encode(), "r.yaml").value
            assert not validator.is_valid(mutant), (old, new)
            tried += 1
    examined(tried, "mistakes in stages", at_least=14)
