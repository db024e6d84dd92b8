"""The card of a model: rendered whole from its result, its contract and its recipe. Nothing in it is typed by hand.

Numbers are those of `result.json`, in percent with two decimals in the tables and in full in the metadata, each with
the number of questions that it goes over. What is not known is said to be unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mpr import corpora
from mpr.models import contract
from mpr.models.contract import Base, Contract
from mpr.publishing import _card_snippets
from mpr.recipe import plan
from mpr.recipe import stages as recipe_plan
from mpr.recipe.keys import Recipe
from mpr.rows.result import Result
from mpr.runtime import markdown

UNKNOWN = "unknown"
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_STAGES = ("data", "mine", "label", "train", "encode", "search", "evaluate")
# lines of a plan that are no fact of this run
_PREDICTED = ("download", "GPU memory", "host memory", "disk", "CPU time", "time", "digest", "recipe", "")
_PACKAGES = ("torch", "transformers", "tokenizers", "accelerate", "peft", "faiss-cpu", "numpy")

_LORA = {
    "full": "",
    "adapter": " These are adapters (LoRA), to be put on the base that is named below.",
    "merged": " Adapters (LoRA) were added to the weights after training; scores are of the model as trained.",
}


@dataclass(frozen=True)
class Facts:
    """What a card is rendered from."""

    repo: str
    result: Result
    contract: Contract
    recipe: Recipe
    baselines: tuple[Result, ...] = ()
    licence: str | None = None
    reasons: tuple[str, ...] = ()
    """Why this is no row of the leaderboard; empty for one that is."""

    @property
    def document(self) -> dict[str, Any]:
        return self.result.document

    @property
    def bases(self) -> list[Base]:
        """The pretrained encoders that it started from, each once."""
        found = (base for base in self.contract.bases if base is not None)
        return list({(base.name, base.revision): base for base in found}.values())


def render(facts: Facts) -> str:
    """All of README.md."""
    parts = [f"---\n{_metadata(facts)}\n---", f"# {facts.repo}"]
    if facts.reasons:
        listed = "\n".join(f"> - {markdown.plain(reason)}" for reason in facts.reasons)
        parts.append(f"> **This is a draft and no row of any table.** Its numbers must not be cited:\n{listed}")
    if mine := facts.document["recipe"].get("pinned by its maker"):
        named = ", ".join(map(markdown.code, mine))
        parts.append(f"> **Pinned by its maker:** {named}. Nobody else says what these inputs are; see `recipe.lock`.")
    parts.append(
        f"A dense retriever that was trained with several positive passages per question by mpr {facts.contract.mpr} "
        f"(`pip install mpr-retrieval`), "
        f"from the recipe `{facts.document['row']}` in this repository.{_LORA[facts.contract.weights]}"
    )
    parts += ["## Results", *_results(facts), "## Use", *_use(facts)]
    parts += ["## What it was trained for is how it must be used", _contract(facts.contract)]
    parts += ["## Training", *_training(facts), "## Cost", _cost(facts.document["stages"])]
    parts += ["## Receipts", _receipts(facts)]
    return "\n\n".join(parts) + "\n"


def percent(mean: float | None) -> str:
    """A measure as the tables show it."""
    return "-" if mean is None else f"{100 * mean:.2f}"


def _metadata(facts: Facts) -> str:
    """The front matter. Structured results are for rows; a draft has none."""
    from huggingface_hub import EvalResult, ModelCardData

    corpus, pins = facts.recipe.data.corpus.name, corpora.of(facts.recipe.data.corpus).inputs
    sets = list({pin.repo: pin.revision for pin in pins if _REPO.fullmatch(pin.repo) and pin.revision}.items())
    results = [
        EvalResult(
            task_type="text-retrieval",
            task_name="Text Retrieval",
            dataset_type=sets[0][0] if sets else corpus,
            dataset_name=f"{corpus}, {scores['split']} ({role})",
            dataset_split=scores["split"],
            dataset_revision=sets[0][1] if sets else None,
            metric_type=measure,
            metric_name=f"{measure}, mean over {found['questions']} questions",
            metric_value=found["mean"],
        )
        for role, scores in facts.document["scores"].items()
        for measure, found in _ordered(scores["measures"])
        if found["mean"] is not None and not facts.reasons
    ]
    hub = [base.name for base in facts.bases if not base.local]
    relation = "adapter" if facts.contract.weights == "adapter" else "finetune"
    more: dict[str, Any] = {"base_model_relation": relation} if hub else {}
    data = ModelCardData(
        base_model=hub or None,
        datasets=[name for name, _ in sets] or None,
        library_name="sentence-transformers",
        license=facts.licence,
        pipeline_tag="feature-extraction",
        tags=["dense-retrieval", "multi-positive", "mpr", "sentence-transformers"],
        model_name=facts.repo.rpartition("/")[2] if results else None,
        eval_results=results or None,
        **more,
    )
    return data.to_yaml(line_break="\n").strip()


def _results(facts: Facts) -> Iterator[str]:
    seed = facts.document["seed"]
    yield f"One run with one seed ({seed}); how much another seed changes, it cannot tell. Measures are in percent."
    for role, scores in facts.document["scores"].items():
        counted = scores["counts"].get("questions")
        over = f", {counted:,} questions count" if isinstance(counted, int) else ""
        split, right = markdown.code(scores["split"]), markdown.plain(scores["right"])
        yield f"### {markdown.plain(role)}: {split}{over}\n\nRight is: {right}"
        others = {other.name: other.document["scores"][role]["measures"] for other in facts.baselines}
        rows = []
        for measure, found in _ordered(scores["measures"]):
            beside = [percent(other[measure]["mean"] if measure in other else None) for other in others.values()]
            rows.append([f"`{measure}`", percent(found["mean"]), *beside, f"{found['questions']:,}"])
        yield _table(["measure", "this model", *others, "questions"], rows)
        if again := scores["counts"].get("also_trained_on"):
            yield f"{again:,} of these questions were also trained on, which the recipe allows."
        if scores["by_known_positives"]:
            yield "By the number of known positives of a question:"
            names = [name for name, _ in _ordered(scores["measures"])]
            groups = [
                [group, f"{found['questions']:,}", *(percent(found.get(name)) for name in names)]
                for group, found in scores["by_known_positives"].items()
            ]
            yield _table(["positives", "questions", *(f"`{name}`" for name in names)], groups)


def _ordered(measures: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """By name and cut: top5 before top20, and what the positives say last."""

    def place(entry: tuple[str, Any]) -> tuple[bool, str, int]:
        name, cut = re.fullmatch(r"(\D*)(\d*)", entry[0]).groups()  # type: ignore[union-attr]
        return name == "found", name, int(cut or 0)

    return sorted(measures.items(), key=place)


def _use(facts: Facts) -> Iterator[str]:
    yield "With sentence-transformers:"
    yield _card_snippets.sentence_transformers(facts.repo, facts.contract)
    if unlike := _card_snippets.unlike_sentence_transformers(facts.contract):
        yield f"{unlike} The code below computes the same vectors."
    if facts.contract.weights == "adapter":
        yield "sentence-transformers takes the newest revision of the base; the code below takes the one of training."
    yield "With transformers alone:"
    yield _card_snippets.transformers(facts.repo, facts.contract)
    yield "Pin the commit of this repository with `revision=` in work that others are to repeat."


def _contract(made: Contract) -> str:
    towers = made.towers
    title = {"pair": "title and text as a pair", "join": "title, a space, text", "none": "text without title"}
    rows = [
        ["vectors", f"{made.width} numbers, compared by {made.similarity}"],
        ["towers", "one for questions and passages" if towers.share else "one for questions, one for passages"],
        ["pooling", towers.pooling + (f", then a linear layer to {towers.projection}" if towers.projection else "")],
        ["question", f"at most {towers.question_length} tokens, prompt {markdown.code(towers.question_prompt)}"],
        ["passage", f"at most {towers.passage_length} tokens, prompt {markdown.code(towers.passage_prompt)}"],
        ["a passage is", title[towers.title]],
        ["tokenizer", f"`{made.tokenizer}`"],
        ["weights", made.weights],
    ]
    return _table(["what", "value"], rows)


def _training(facts: Facts) -> Iterator[str]:
    lines = (line for line in plan.resolve(facts.recipe).lines if line[:12].strip() not in _PREDICTED)
    yield markdown.block("text", (line.rstrip() for line in lines))
    start = recipe_plan.head_of(facts.recipe).start
    names = [] if start is None else [contract.base_name(start)]
    names += [f"{base.name}{f' at {base.revision}' if base.revision else ''}" for base in facts.bases]
    listed = ", ".join(map(markdown.plain, names))
    if not names:
        yield "It started from random weights: it has read no text but those of the collection that is named above."
        return
    yield (
        f"It started from weights that others trained: {listed}. What those have read is not recorded here "
        "and may include texts, questions and answers of the evaluation splits; the scores are no proof of what it "
        "does on texts that it has never seen."
    )


def _cost(stages: Mapping[str, Any]) -> str:
    def place(name: str) -> tuple[int, str]:
        """Kinds in the order of the work; those of a plan (`train warmup`) by name."""
        kind, _, rest = name.partition(" ")
        return _STAGES.index(kind), rest

    rows = []
    for name in sorted(stages, key=place):
        stage, cost = stages[name], stages[name]["cost"]
        again = f" (the last of {stage['attempts']} attempts)" if stage.get("attempts", 1) > 1 else ""
        gpu = f"{cost['gpu_peak_bytes'] / 1e9:.2f} GB" if "gpu_peak_bytes" in cost else "-"
        time, memory = f"{cost['seconds']:,.1f} s{again}", f"{cost['peak_bytes'] / 1e9:.2f} GB"
        rows.append([name, stage.get("hardware", UNKNOWN), time, memory, gpu])
    return _table(["stage", "hardware", "time", "peak memory", "peak GPU memory"], rows)


def _receipts(facts: Facts) -> str:
    document = facts.document
    environment, recipe = document["environment"], document["recipe"]
    code = environment.get("code", {})
    commit = f"`{code['commit']}`" if code.get("commit") else f"{UNKNOWN} (installed package)"
    packages = environment.get("packages", {})
    rows = [
        ["code", commit + (", changed" if code.get("dirty") else "")],
        ["recipe", f"`{recipe['digest']}`"],
        ["overrides", ", ".join(map(markdown.code, recipe["overrides"])) or "none"],
        ["result", f"`{facts.result.digest}`"],
        ["model that was measured", f"`{document['model']['digest']}`"],
        ["Python", str(environment.get("python", UNKNOWN))],
        ["packages", ", ".join(f"{name} {packages[name]}" for name in _PACKAGES if name in packages) or UNKNOWN],
    ]
    return (
        _table(["what", "value"], rows)
        + "\n\n`result.json` has the score of every question, `rankings/` the runs that were scored. Every file of the "
        "model is in `manifest.json` with its SHA-256; `mpr pull` verifies them."
    )


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    return markdown.table(head, rows, [" --- "] * len(head))
