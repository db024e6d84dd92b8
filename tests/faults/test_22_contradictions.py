"""Fault 22: a recipe that contradicts itself is refused before anything is read, at the key that is to be changed.

The table of rules is what this file goes through: a rule without a case fails.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mpr.errors import RecipeError
from mpr.recipe import read, rules, strict_yaml
from mpr.recipe.rules import RULES, Rule
from tests import shipped
from tests.conftest import Examined
from tests.faults.contradictory_draws import CASES as DRAWS
from tests.faults.contradictory_labels import ASKED, CACHE, LABEL, TEACHER
from tests.faults.contradictory_labels import CASES as LABELS
from tests.faults.contradictory_questions import CASES as QUESTIONS
from tests.faults.contradictory_questions import JUDGED as JUDGED_BY_LLM
from tests.faults.contradictory_searches import CASES as SEARCHES
from tests.faults.contradictory_searches import FROZEN, JUDGED, LIVE, LLM, LORA, NQ, SELF, TREC, WORLD
from tests.faults.contradictory_starts import CASES as STARTS
from tests.faults.contradictory_starts import recipes
from tests.faults.contradictory_tasks import CASES as TASKS
from tests.faults.contradictory_tasks import TOKENS
from tests.faults.contradictory_terms import CASES as TERMS

ABSENT = "<absent>"  # takes a key away instead of setting it
OWN_FILES = (
    "draft=true",
    "data.corpus.variant=dpr",
)  # DPR's files of TREC: nobody has pinned them, their size is known
POOL, EPOCH = "{split: trec_dev, questions: 100, candidates: 30}", "training.eval_strategy=epoch"
BEST = [f"validation={POOL}", EPOCH, "training.save_strategy=epoch", "training.load_best_model_at_end=true",
        "training.metric_for_best_model=mrr"]  # fmt: skip
STEPS = ["training.eval_strategy=steps", "training.save_strategy=steps"]
PACKED = "scale.groups=packed"
SHAPE = "{layers: 1, width: 8, heads: 1, feed_forward: 8, vocabulary: 300}"
BAND = "{mean: 80.0, low: 79.0, high: 81.0, seeds: 3}"
ALL_BUT_TOP20 = ", ".join(f"{name}: {BAND}" for name in ("top1", "top5", "top100"))

# rule -> (recipe, what is set in it, key that is refused, part of the message)
CASES: dict[str, list[tuple[str, list[str], str, str]]] = {
    "splits exist": [
        (TREC, ["data.train=trec_trian"], "data.train", "no split 'trec_trian'"),
        (TREC, ["data.evaluate.dev=nq_dev"], "data.evaluate.dev", "no split 'nq_dev'"),
        (TREC, ["data.train=trec_test", "data.evaluate={dev: trec_dev}"], "data.train", "lists no positives"),
    ],
    "names are plain": [
        (TREC, ["data.evaluate={../out: trec_test}"], "data.evaluate.../out", "'../out' is no plain name"),
    ],
    "no training on evaluation": [
        (TREC, ["data.evaluate.again=trec_train"], "data.evaluate.again", "is also trained on"),
        (TREC, ["data.evaluate.again=trec_test"], "data.evaluate.again", "is evaluated twice, also as 'test'"),
    ],
    **QUESTIONS,
    "validation fits": [
        (TREC, ["training.eval_strategy=epoch"], "training.eval_strategy", "nothing to evaluate during training"),
        (TREC, [f"validation={POOL}"], "validation", "does nothing without training.eval_strategy"),
        (TREC, [f"validation={POOL.replace('dev', 'def')}", EPOCH], "validation.split", "no split 'trec_def'"),
        (TREC, [f"validation={POOL.replace('dev', 'train')}", EPOCH], "validation.split", "is also trained on"),
        (TREC, [f"validation={POOL.replace('dev', 'test')}", EPOCH], "validation.split", "lists no positives"),
        (TREC, [f"validation={POOL}", EPOCH, "data.evaluate.dev=trec_dev"], "validation.split", "is also evaluated"),
    ],
    "match fits": [
        (TREC, ["evaluation.match=string"], "evaluation.match", "does not fit split 'trec_test'"),
        (NQ, ["evaluation.match=regex"], "evaluation.match", "does not fit split 'nq_test'"),
        (JUDGED, ["evaluation.match=string"], "evaluation.match", "does not fit split 'test'"),
        (NQ, ["evaluation.measures=[top20, mrr10]"], "evaluation.measures[1]", "'mrr10' needs judgements"),
        (JUDGED, ["evaluation.measures=[top20]"], "evaluation.measures[0]", "'top20' needs answers"),
        (NQ, ["evaluation.measures=[top20, top100, top20]"], "evaluation.measures[2]", "asked for twice"),
    ],
    "depth reaches": [
        (NQ, ["search.depth=50"], "evaluation.measures[3]", "'top100' looks at 100 passages, the search keeps 50"),
        (WORLD, ["search.depth=100000"], "search.depth", "is beyond the corpus of"),
    ],
    **SEARCHES,
    "positives fit policy": [
        (TREC, ["draw.positives={policy: up_to, beyond: first}"], "draw.positives.m", "is needed by policy up_to"),
        (TREC, ["draw.positives={policy: up_to, m: 3}"], "draw.positives.beyond", "is needed by policy up_to"),
        (TREC, ["draw.positives={policy: all, m: 3}"], "draw.positives.m", "belongs to policy up_to"),
        (TREC, ["draw.positives.cap=2"], "draw.positives.m", "is more than the cap of 2"),
        (NQ, ["draw.positives.cap=2"], "draw.positives.cap", "does nothing with policy first"),
    ],
    "objective fits positives": [
        (TREC, ["objective=[{name: nll}]"], "objective[0].name", "takes one positive a row"),
        (TREC, ["objective=[{name: nll}]", "draw.positives={policy: all}"], "objective[0].name", "takes one positive"),
        (NQ, ["objective=[{name: rand1_lh}]"], "objective[0].name", "is the draw policy random1 with nll"),
        (NQ, ["objective=[{name: nll}, {name: nll}]"], "objective[1].name", "is the same term as before"),
    ],
    "objective is fed": [
        (TREC, ["objective=[{name: kl, target: teacher}]"], "objective[0]", "needs teacher_QP"),
        (TREC, ["objective=[{name: kl, target: live}]"], "objective[0]", "needs live_QP"),
        (TREC, [f"labels=[{LABEL}, {TEACHER}]", "objective=[{name: pairwise, phi: square, target: live}]"],
         "objective[0]", "needs live_QP"),
        (TREC, ["objective=[{name: pairwise, phi: logistic, weight: drr, ranks: given}]"],
         "objective[0]", "needs ranks_QP"),
        (NQ, ["objective[0].coefficient=0"], "objective[0].coefficient", "must be more than 0"),
        (NQ, ["objective[0].coefficient=-1"], "objective[0].coefficient", "must be more than 0"),
    ],
    "something to contrast": [
        (TREC, ["draw.in_batch=false", "draw.negatives=[]"], "draw.negatives", "no negatives at all"),
        (TREC, ["draw.negatives=[]", "training.per_device_train_batch_size=1"],
         "training.per_device_train_batch_size", "one question a step"),
    ],
    **LABELS,
    "negatives have sources": [
        (TREC, ["draw.negatives[0].from=bm26"], "draw.negatives[0].from", "no source is called 'bm26'"),
        (TREC, ["sources=[]"], "draw.negatives[0].from", "no source is called 'bm25'"),
        (TREC, ["draw.negatives[0].fallback=rand"], "draw.negatives[0].fallback", "no source is called 'rand'"),
        (TREC, ["sources=[{name: file, as: bm25}, {name: file, as: bm25}]"], "sources[1].as", "a second source"),
        (LLM, ["sources[0].as=bm25", "draw.negatives[0].from=bm25"], "sources[0].as", "no candidates called 'bm25'"),
    ],
    **DRAWS,
    **TASKS,
    "encoder is named once": [
        (TREC, ["towers.base=null", "towers.revision=null"], "towers.base", "exactly one of base and new"),
        (TREC, [f"towers.new={SHAPE}"], "towers.base", "exactly one of base and new"),
        (WORLD, ['towers.revision="86b5e0934494bd15c9632b12f734a8a67f723594"'], "towers.revision", "pretrained base"),
        (WORLD, ["towers.new.heads=3"], "towers.new.heads", "does not divide the width of 256"),
        (WORLD, [f"towers.lora={LORA}"], "towers.lora", "random weights cannot be adapted"),
    ],
    "lora fits": [
        (LLM, [f"towers.lora={LORA[:-1]}, towers: question}}"], "towers.lora.towers", "there is only one tower"),
        (TREC, ["towers.lora={rank: 8, alpha: 16, dropout: 0.1, modules: [query, q_proj]}"],
         "towers.lora.modules[1]", "no linear layer called 'q_proj'"),
    ],
    "precision fits": [
        (LLM, [f"towers.lora={LORA}", "towers.weights=bfloat16", "training.fp16=true"], "training.fp16", "overflows"),
        (WORLD, ["towers.attention=flash_attention_2"], "towers.attention", "computes in 16 bits"),
        (TREC, [*SELF, "refresh={every: 2}", "towers.attention=flash_attention_2"], "towers.attention", "in 32 bits"),
        (TREC, [*SELF, "refresh={every: 2}", f"towers.lora={LORA}", "towers.weights=bfloat16", "training.fp16=false",
                "training.bf16=true"], "towers.weights", "as it is held"),
    ],
    "packing fits": [
        (TREC, [PACKED, "towers.last_slot=sep"], "scale.groups", "fills every text up"),
        (WORLD, [PACKED, "towers.attention=eager"], "scale.groups", "cannot tell the texts of one row apart"),
        (WORLD, [PACKED, "training.torch_compile=true"], "training.torch_compile", "would compile every packed step"),
        (TREC, [*TOKENS, PACKED], "scale.groups", "one vector each"),
    ],
    **TERMS,
    "lengths fit": [
        (TREC, ["towers.passage_length=513"], "towers.passage_length", "reads at most 512 tokens"),
        (TREC, ["towers.question_length=600"], "towers.question_length", "reads at most 512 tokens"),
    ],
    "towers agree": [
        (TREC, ["towers.passage_base=x/y", "towers.share=true"], "towers.passage_base", "belongs to separate towers"),
        (WORLD, ["towers.passage_base=x/y", "towers.share=false"], "towers.passage_base", "belongs to separate towers"),
        (TREC, [f'towers.passage_revision="{"0" * 40}"'], "towers.passage_revision", "belongs to passage_base"),
        (TREC, [f"towers.lora={LORA[:-1]}, towers: question}}", "towers.projection=64"], "towers.projection", "frozen"),
        (TREC, ["towers.pair_cut=longest_first", "towers.title=join"], "towers.pair_cut", "no pair of title and text"),
        (TREC, ["towers.weights=bfloat16"], "towers.weights", "small steps would be rounded away"),
        (TREC, [FROZEN, "towers.share=true"], "towers.train", "there is only one tower"),
        (TREC, [FROZEN, f"towers.lora={LORA}"], "towers.lora.towers", "the passage tower does not learn"),
    ],
    **STARTS,
    "negative cache fits": [
        (NQ, [CACHE, "objective.0.name=bce", "objective.0.scaling=probability"], "objective[0].name", "as one sum"),
        (NQ, [CACHE, "objective.0.view=positive"], "objective[0].view", "no rows of their own"),
        (LLM, [CACHE, "objective=[{name: joint_lh}, {name: sum_marg_lh, temperature: 2.0}]"],
         "objective", "one temperature"),
        (NQ, [CACHE, "scale.cache={questions: 8, passages: 8}"], "scale.negative_cache", "not go with scale.cache"),
        (NQ, [CACHE, "scale.processes=2"], "scale.negative_cache", "kept by one process"),
        (NQ, [CACHE, FROZEN, "scale.processes=1"], "scale.negative_cache", "of passages that are encoded in training"),
    ],
    "corpus pins fit": [
        (TREC, [f"data.corpus.pins={{psgs_w100.txt: {'a' * 64}}}"], "data.corpus.pins.psgs_w100.txt",
         "is no file of this collection"),
        (TREC, [f"data.corpus.pins={{psgs_w100.tsv.gz: {'a' * 64}}}"], "data.corpus.pins.psgs_w100.tsv.gz",
         "to be another file: sha256 c39b020c855a"),
    ],
    "pinned": [
        (WORLD, ["towers.new=null", "towers.base=a/b", 'towers.revision="86b5e0934494bd15c9632b12f734a8a67f723594"',
                 "towers.share=false", "towers.passage_base=a/c"], "towers.passage_revision", "is not pinned to"),
        (TREC, ["data.corpus.variant=dpr"], "data.corpus", "has no checksum or revision"),
        (WORLD, ["sources=[{name: file, as: bm25, file: run.trec, format: trec}]"], "sources[0].sha256", "not pinned"),
        (TREC, [f"labels=[{LABEL}, {TEACHER}]"], "labels[1].scores.sha256", "is not pinned"),
        (WORLD, [f"labels=[{LABEL}, {JUDGED_BY_LLM}]"], "labels[1].judgements.sha256", "judgements is not pinned"),
        (WORLD, ["data.augment={file: a}", "labels[0].tiers=[gold, augmented]"], "data.augment.sha256", "not pinned"),
        (TREC, [f"labels=[{LABEL}, {{name: teacher, missing: drop, scores: {{cross_encoder: a/b}}}}]"],
         "labels[1].scores.cross_encoder", "is not pinned to a commit"),
        (WORLD, [f"labels=[{LABEL}, {ASKED}]", "objective=[{name: kl, target: live}]"],
         "labels[1].model", "teacher is not pinned to a commit"),
        (WORLD, ["towers.new=null", "towers.base=somebody/some-model"], "towers.revision", "not pinned to a commit"),
        (WORLD, ["towers.new=null", "towers.base=.", 'towers.revision="86b5e0934494bd15c9632b12f734a8a67f723594"'],
         "towers.base", "is a local folder"),
    ],
    "batch fits": [
        (TREC, [*OWN_FILES, "training.per_device_train_batch_size=1126"], "training.per_device_train_batch_size",
         "1,126"),
        (TREC, [*OWN_FILES, "scale.processes=71"], "training.per_device_train_batch_size", "the split has 1,125"),
    ],
    "training is complete": [
        *[(TREC, [f"training.{name}={ABSENT}"], f"training.{name}", "is missing")
          for name in ("seed", "per_device_train_batch_size", "learning_rate", "lr_scheduler_type", "warmup_steps",
                       "optim", "weight_decay", "max_grad_norm")],
        (TREC, [f"training.num_train_epochs={ABSENT}"], "training.num_train_epochs", "or max_steps is missing"),
        (TREC, [f"training.fp16={ABSENT}"], "training.fp16", "fp16 or bf16 is missing"),
        (TREC, ["training.max_steps=100"], "training.max_steps", "stands next to num_train_epochs"),
    ],
    "training is ours to set": [
        (TREC, ["training.output_dir=runs"], "training.output_dir", "is decided by mpr"),
        (TREC, ["training.hub_token=hf_x"], "training.hub_token", "is decided by mpr"),
        (TREC, ["training.dataloader_drop_last=true"], "training.dataloader_drop_last", "is decided by mpr"),
        (TREC, ["training.fsdp=full_shard"], "training.fsdp", "is decided by mpr"),
        (TREC, ["training.neftune_noise_alpha=5.0"], "training.neftune_noise_alpha", "is decided by mpr"),
    ],
    "training numbers make sense": [
        (TREC, ["training.per_device_train_batch_size=0"], "training.per_device_train_batch_size", "at least 1, not 0"),
        (TREC, ["training.per_device_train_batch_size=-16"], "training.per_device_train_batch_size", "at least 1"),
        (TREC, ["training.num_train_epochs=0"], "training.num_train_epochs", "must be more than 0"),
        (WORLD, ["training.max_steps=-1"], "training.max_steps", "must be at least 1, not -1"),
        (TREC, ["training.learning_rate=0.0"], "training.learning_rate", "must be more than 0"),
        (TREC, ["training.learning_rate=-1.0e-5"], "training.learning_rate", "must be more than 0"),
        (TREC, ["training.warmup_steps=-1"], "training.warmup_steps", "must be at least 0"),
        (TREC, ["training.warmup_steps=10.5"], "training.warmup_steps", "neither a share nor a number of steps"),
        (TREC, ["training.seed=-1"], "training.seed", "must be at least 0"),
        (TREC, ["training.seed=4294967296"], "training.seed", "must be less than 4294967296"),
        (TREC, ["training.adam_beta2=1.0"], "training.adam_beta2", "must be less than 1"),
        (TREC, ["training.adam_epsilon=0"], "training.adam_epsilon", "must be more than 0"),
        (TREC, ["training.weight_decay=-0.1"], "training.weight_decay", "must be at least 0"),
        (TREC, ["training.max_grad_norm=-1"], "training.max_grad_norm", "must be at least 0"),
        (TREC, ["training.gradient_accumulation_steps=0"], "training.gradient_accumulation_steps", "at least 1"),
    ],
    "training keys agree": [
        (TREC, ["training.bf16=true"], "training.bf16", "fp16 and bf16 cannot both be on"),
        (TREC, ["training.use_cpu=true"], "training.fp16", "fp16 needs a GPU"),
        (TREC, ["training.lr_scheduler_type=constant"], "training.warmup_steps", "'constant' has no warm-up"),
        (TREC, ["training.report_to=null"], "training.report_to", "null is not a tracker"),
        (TREC, ["training.save_strategy=best"], "training.save_strategy", "nothing to continue from"),
        (TREC, ["training.dataloader_prefetch_factor=2"], "training.dataloader_prefetch_factor", "needs dataloader"),
    ],
    "best is known": [
        (TREC, [*BEST, f"validation={POOL[:-1]}, patience: 3}}", "training.load_best_model_at_end=false"],
         "validation.patience", "needs the best checkpoint to be kept"),
        (TREC, ["training.load_best_model_at_end=true", "training.metric_for_best_model=mrr"],
         "training.load_best_model_at_end", "nothing is measured"),
        (TREC, [*BEST, "training.save_strategy=steps"], "training.load_best_model_at_end", "needs eval_strategy equal"),
        (TREC, [*BEST, *STEPS, "training.eval_steps=2", "training.save_steps=4"],
         "training.load_best_model_at_end", "needs eval_steps and save_steps to be written and equal"),
        (TREC, [*BEST, *STEPS, "training.save_steps=4"], "training.load_best_model_at_end", "written and equal"),
        (TREC, BEST[:-1], "training.metric_for_best_model", "is missing"),
        (TREC, [*BEST[:2], "training.save_strategy=best"], "training.metric_for_best_model", "is missing"),
        (TREC, [*BEST, "training.metric_for_best_model=loss"], "training.metric_for_best_model", "'loss' is not"),
        (TREC, [*BEST, "training.metric_for_best_model=eval_top10"], "training.metric_for_best_model", "'top10' is"),
        (TREC, [*BEST, "training.metric_for_best_model=average_rank"], "training.greater_is_better", "a lower"),
        (TREC, [*BEST, "training.metric_for_best_model=eval_average_rank", "training.greater_is_better=true"],
         "training.greater_is_better", "a lower average_rank is better"),
        (TREC, [*BEST, "training.greater_is_better=false"], "training.greater_is_better", "a higher mrr is better"),
    ],
    "warmup ends": [
        (TREC, [*OWN_FILES, "training.warmup_steps=7033"], "training.warmup_steps", "beyond the end after 7,032"),
        ("trec_nll_m1_released", ["training.warmup_steps=1237"], "training.warmup_steps", "beyond the end after 800"),
        (WORLD, ["training.warmup_steps=161"], "training.warmup_steps", "beyond the end after 160"),
        (NQ, ["training.gradient_accumulation_steps=16"], "training.warmup_steps", "beyond the end after 1,150"),
    ],
    "paper is named": [
        (NQ, ["paper=null"], "published.values.top20", "a row of our own has no published number"),
        (TREC, ["paper.arxiv='2508.9534'"], "paper.arxiv", "is not an arXiv number"),
    ],
    "varies exist": [
        (TREC, ["varies=[draw.positives.n]"], "varies[0]", "'draw.positives.n' is not a key of this recipe"),
        (TREC, ["varies=[objective, objectives]"], "varies[1]", "'objectives' is not a key of this recipe"),
        (TREC, ["varies=[published.values]"], "varies[0]", "describes a row"),
        (TREC, ["varies=[objective, objective]"], "varies[1]", "listed twice"),
    ],
    "published fits": [
        (TREC, ["published.values.top10=null"], "published.values.top10", "is not a measure of this recipe"),
        (TREC, ["published.values.top20=80.1"], "published.source", "a published number needs its source"),
        (NQ, ["published.values.top20=784"], "published.values.top20", "784.0 is not a percentage"),
    ],
    "bands fit": [
        (TREC, [f"expected={{{ALL_BUT_TOP20}, top20: {BAND}, top10: {BAND}}}"], "expected.top10", "is not a measure"),
        (TREC, [f"expected={{{ALL_BUT_TOP20}, top20: {BAND.replace('79.0', '80.5')}}}"], "expected.top20",
         "low <= mean <= high"),
        (TREC, [f"expected={{{ALL_BUT_TOP20}}}"], "expected", "has no band of top20"),
        (TREC, ["expected={}"], "expected", "has no band of top1, top5, top20, top100"),
    ],
}  # fmt: skip
ALL = [(rule, *case) for rule, cases in CASES.items() for case in cases]


def document(name: str, overrides: list[str]) -> strict_yaml.Document:
    """A shipped recipe without the keys that are to be absent."""
    made = strict_yaml.parse(shipped.text(name).encode(), "r.yaml")
    for override in overrides:
        key, _, value = override.partition("=")
        if value == ABSENT:
            part, _, last = key.partition(".")
            del made.value[part][last]
    return made


def sets(overrides: list[str]) -> list[str]:
    return [override for override in overrides if not override.endswith(ABSENT)]


@pytest.mark.parametrize("rule, name, overrides, key, message", ALL)
def test_contradiction(rule: str, name: str, overrides: list[str], key: str, message: str, tmp_path: Path) -> None:
    made = document(name, overrides)
    with pytest.raises(RecipeError) as caught:
        read.from_document(made, "r", sets(overrides))
    found = [problem for problem in caught.value.problems if problem.key == key and message in problem.what]
    assert len(found) == 1, str(caught.value)
    path = tuple(int(part) if part.isdigit() else part for part in key.replace("[", ".").replace("]", "").split("."))
    assert found[0].where == made.where(path)
    assert caught.value.exit_code == 2
    of_rule = next(one for one in RULES if one.name == rule)
    found_by_it = [(shown(where), what) for recipe, shown in recipes(made) for where, what, _ in of_rule.check(recipe)]
    assert any(where == key and message in what for where, what in found_by_it)


def test_every_rule_has_a_case(examined: Examined) -> None:
    assert [rule.name for rule in RULES] == list(CASES)
    examined(len(RULES), "rules", at_least=26)
    examined(len(ALL), "contradictions", at_least=110)


def test_shipped_recipes_break_no_rule(examined: Examined) -> None:
    """The other direction: no rule objects to a good recipe."""
    count = 0
    for recipe in (stage for row in shipped.recipes().values() for stage in row.stages):
        if not recipe.trains:
            assert rules.broken(recipe) == []
            continue
        for rule in RULES:
            assert list(rule.check(recipe)) == []
            count += 1
    examined(count, "rule and recipe pairs", at_least=1_000)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_no_rule_stumbles_over_missing_or_odd_training_values(rule: Rule, examined: Examined) -> None:
    """Rules run while `training` is incomplete: what was refused already is left out, what is there may be odd."""
    tried = 0
    for name in (TREC, LLM, WORLD):
        recipe = shipped.recipes()[name]
        for key in recipe.training:
            without = {other: value for other, value in recipe.training.items() if other != key}
            for training in (without, without | {key: None}, without | {key: "x"}, without | {key: [1]}, {}):
                list(rule.check(recipe.model_copy(update={"training": training})))
                tried += 1
    examined(tried, "incomplete trainings", at_least=150)


def test_good_searches_in_every_step(examined: Examined) -> None:
    drr = "objective=[{name: pairwise, phi: logistic, weight: drr, ranks: given, cut: 200, reduce: query_mean}]"
    tried = 0
    for more in (
        [],
        [drr],
        ["sources[0].index='OPQ16,PQ16'"],
        ["draw.negatives[0].all=false", "draw.negatives[0].k=9"],
    ):
        recipe = read.from_document(document(TREC, []), "r", [*LIVE, *more])
        assert recipe.step_search is recipe.sources[0]
        tried += 1
    examined(tried, "ways to search in every step", at_least=4)


def test_good_searches_between_steps(examined: Examined) -> None:
    """Of the model under training: every so many updates, or once before the first."""
    negatives = "draw.negatives=[{from: self, k: 4, weight: uniform, window: 100, short: random}]"
    ways = ([], ["refresh={every: 100}"], ["refresh={every: 100, questions: 0.2}"], ["refresh={every: 2, stale: true}"])
    for more in ways:
        for frozen in ([], [FROZEN]):
            recipe = read.from_document(document(TREC, []), "r", [SELF[0], negatives, *more, *frozen])
            assert recipe.own is recipe.sources[0]
            assert recipe.step_search is None
    examined(2 * len(ways), "ways to search between steps", at_least=8)


def test_all_contradictions_of_a_recipe_are_told_together(examined: Examined) -> None:
    overrides = [sets(case[2])[0] for case in ALL if case[1] == TREC and sets(case[2]) and "=[{" not in case[2][0]]
    together = [one for one in overrides if one.startswith(("training.", "search.", "labels[0]", "towers.q", "paper."))]
    keys = {one.partition("=")[0] for one in together}
    with pytest.raises(RecipeError) as caught:
        read.from_document(document(TREC, []), "r", together)
    assert len(caught.value.problems) >= len(keys) - 2
    examined(len(caught.value.problems), "problems told together", at_least=15)


def test_good_ways_to_keep_the_best(examined: Examined) -> None:
    """The other direction of `best is known`, in which no shipped recipe goes."""
    ways = [
        [],
        [f"validation={POOL[:-1]}, patience: 3}}"],
        [*STEPS, "training.eval_steps=4", "training.save_steps=4"],
        ["training.metric_for_best_model=eval_average_rank", "training.greater_is_better=false"],
        ["training.metric_for_best_model=eval_top20", "training.greater_is_better=true"],
    ]
    for way in ways:
        read.from_document(document(TREC, []), "r", [*BEST, *way])
    examined(len(ways), "ways to keep the best checkpoint", at_least=5)


def test_nothing_is_read_or_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules see the recipe and known counts: files and network are never touched."""

    def forbidden(*arguments: object, **options: object) -> None:
        raise AssertionError(f"opened {arguments}")

    recipe = shipped.recipes()[TREC]
    monkeypatch.setattr("builtins.open", forbidden)
    monkeypatch.setattr("socket.socket", forbidden)
    monkeypatch.setattr("urllib.request.urlopen", forbidden)
    assert rules.broken(recipe) == []
