"""A recipe becomes a plan: its pins, the numbers that follow from it, what it will cost, and a digest.

Costs are predictions from formulas (mpr/recipe/_costs.py, mpr/recipe/_host_costs.py), not measurements. Unknown stays
unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mpr import corpora
from mpr.corpora import BY_MAKER, Collection, Pin
from mpr.recipe import _backbones, _costs, _host_costs, _published_encoders, gpus, model_names, schedule
from mpr.recipe._costs import Memory
from mpr.recipe._host_costs import INDEX, WORDS, HostCosts
from mpr.recipe.keys import DESCRIBING, PACKED, Recipe
from mpr.recipe.keys_draw import PAIRED, Negatives
from mpr.storage import json_digest

UNKNOWN = "unknown"
BM25_INDEX, BM25_BASELINE = INDEX, WORDS  # as costs call them
UNPINNED = "not pinned"  # as labels and sources say it
GIGA = 1e9


@dataclass(frozen=True)
class Plan:
    """Everything that is known before work starts. `lines` is what a person reads."""

    name: str
    digest: str
    pins: dict[str, str]
    steps: int | None
    updates: int | None
    passages_per_step: int | None
    refreshed_passages: int | None
    download: int | None
    """Bytes of the files of the collection, as far as they are pinned; None: of one of them the size is unknown."""
    memory: Memory | None
    host: HostCosts
    disk: dict[str, float | None]
    hours: dict[str, float] | None
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines) + "\n"

    @property
    def disk_bytes(self) -> float:
        """What the row and its untrained baseline leave on disk, as far as it is known, downloads included."""
        sizes = [*self.disk.values(), self.disk["vectors"], self.download]
        return sum(size for size in sizes if size is not None)

    def shortages(self, memory: float, free: float) -> dict[str, str]:
        """What does not fit a machine with so many bytes of main memory, and so many that are free on its disk."""
        found = {
            what: f"{what} needs about {in_bytes(needed)} of memory, and this machine has {in_bytes(memory)}"
            for what, needed in self.host.memory.items()
            if needed is not None and needed > memory
        }
        if self.disk_bytes > free:
            found["disk"] = f"the row leaves about {in_bytes(self.disk_bytes)} on disk, and {in_bytes(free)} are free"
        return found


def digest(recipe: Recipe) -> str:
    """Identity of what a recipe computes: equal digests must give equal results.

    Keys at their default do not enter it, so a key that is added later, with a default that changes nothing, leaves
    measured rows what they are. Hence the rule: a default never changes. With a plan it is that of all its stages.
    """
    if recipe.plan:
        return json_digest([[stage.stage, digest(stage)] for stage in recipe.stages])
    content = recipe.model_dump(mode="json", by_alias=True, exclude=set(DESCRIBING), exclude_defaults=True)
    content["data"]["corpus"].pop("folder", None)  # where a pinned file lies does not change what is in it
    if not recipe.trains:  # what nobody reads is no part of it
        content = {key: value for key, value in content.items() if key not in _published_encoders.UNREAD}
        for key in _published_encoders.UNREAD_OF_DATA:
            content["data"].pop(key)
    return json_digest(content)


def resolve(recipe: Recipe) -> Plan:
    """Nothing is read or downloaded. Stages are trained one after the other: time adds up, memory does not, and the
    last model alone encodes."""
    offered, stages = corpora.of(recipe.data.corpus), recipe.stages
    each = [_facts(stage, offered) for stage in stages]
    pins = {name: pin for stage in stages for name, pin in _pins(stage, offered)}
    facts: dict[str, Any] = {**each[-1], "name": recipe.name, "digest": digest(recipe), "pins": pins}
    for name in ("steps", "updates"):
        facts[name] = None if None in (found := [own[name] for own in each]) else sum(found)
    memories = [own["memory"] for own in each]
    facts["memory"] = None if None in memories else max(memories, key=lambda memory: memory.total)
    if recipe.trains:
        checkpoints = [own["disk"]["one checkpoint"] for own in each]
        facts["disk"] = {**facts["disk"], "one checkpoint": None if None in checkpoints else max(checkpoints)}
    hours = [own["hours"] for own in each]
    facts["hours"] = None if None in hours else _added(hours) | _costs.mining_hours(recipe, offered)
    facts["host"] = host = _host_costs.of(recipe, offered)
    if host.indexes != 0.0:
        facts["disk"]["BM25 index"] = host.indexes
    sizes = [pin.size for pin in _downloaded(recipe, offered)]
    facts["download"] = None if None in sizes else sum(sizes)

    lines = [*_data_lines(recipe, offered, facts)]
    for stage, own in zip(stages, each, strict=True):
        if stage.stage:
            lines.append(
                _line("stage", f"{stage.stage}{f', in {stage.data.train}' if stage.data != recipe.data else ''}")
            )
        lines += _work_lines(stage, own)
    lines.append(_line("search", f"{recipe.search.index}, {recipe.search.depth:,} passages a question"))
    lines.append(_line("measures", f"{', '.join(recipe.evaluation.measures)}, by {recipe.evaluation.match}"))
    lines += _cost_lines(recipe, offered, facts)
    for number, line in enumerate(recipe.defaults):
        lines.append(_line("" if number else "defaults", line))
    return Plan(**facts, lines=tuple(lines))


def _facts(recipe: Recipe, offered: Collection) -> dict[str, Any]:
    """Numbers of one training, and of encoding with its model."""
    backbone = _backbones.of(recipe.towers)
    if not recipe.trains:
        return {
            **dict.fromkeys(("steps", "updates", "passages_per_step", "refreshed_passages", "memory")),
            "disk": _costs.disk(recipe, backbone, offered),
            "hours": None if backbone is None else _costs.hours(recipe, backbone, offered),
        }
    return {
        "steps": schedule.steps(recipe),
        "updates": schedule.updates(recipe),
        "passages_per_step": schedule.passages_per_step(recipe),
        "refreshed_passages": _costs.refreshed_passages(recipe, offered),
        "memory": None if backbone is None else _costs.memory(recipe, backbone),
        "disk": _costs.disk(recipe, backbone, offered),
        "hours": None if backbone is None else _costs.hours(recipe, backbone, offered),
    }


def _added(stages: list[dict[str, float]]) -> dict[str, float]:
    """Hours of all trainings on devices on which each of them runs, and of the last one's encoding."""
    found: dict[str, float] = {}
    for what, hours in stages[-1].items():
        if not what.startswith("train"):
            found[what] = hours
        elif all(what in each for each in stages):
            found[what] = sum(each[what] for each in stages)
    return found


def _pins(recipe: Recipe, offered: Collection) -> Iterator[tuple[str, str]]:
    towers = recipe.towers
    if recipe.start is not None and model_names.is_elsewhere(recipe.start):
        name, _, commit = recipe.start.partition("@")
        yield name, f"commit {commit}" if commit else UNPINNED
    if towers.base is not None:
        yield towers.base, f"commit {towers.revision}" if towers.revision else UNPINNED
    if towers.passage_base is not None:
        known = f"commit {towers.passage_revision}" if towers.passage_revision else UNPINNED
        yield towers.passage_base, known
    files = (getattr(label, key, None) for label in recipe.labels for key in ("scores", "judgements"))
    for part in (recipe.data.augment, *recipe.sources, *recipe.labels, *files, recipe.draw.clusters):
        pins = getattr(part, "pins", {}).items()
        yield from ((name, pin) for name, pin in pins if model_names.is_elsewhere(name))
    for pin in offered.needed(recipe.splits):
        source = pin.source or ("" if pin.archive is None else pin.archive.source)
        source = "" if source == BY_MAKER else source
        yield pin.file, f"{pin.known} ({source})" if pin.known and source else pin.known


def _data_lines(recipe: Recipe, offered: Collection, facts: dict[str, Any]) -> Iterator[str]:
    paper = recipe.paper
    yield _line("recipe", recipe.name + (" (draft: cannot be published)" if recipe.draft else ""))
    row = "our own" if recipe.trains else "published encoders"
    if paper is not None:
        row = f"arXiv {paper.arxiv}, table {paper.table}, {paper.row}, {paper.dataset}"
    yield _line("row", row)
    yield _line("digest", facts["digest"])
    for name, pin in facts["pins"].items():
        known = UNKNOWN if pin in ("", UNPINNED) else f"checked by {pin}"
        yield _line("pin", f"{name}: {known}" + (", pinned by its maker" if name in recipe.pinned_by_maker else ""))
    occurring = getattr(recipe.data.corpus, "passages", offered) is None  # of one's own data without a corpus
    size = "all texts that occur in its splits" if occurring else _count(offered.size, "passages")
    yield _line("corpus", f"{recipe.data.corpus.name}, {size}")
    if recipe.trains:
        train = offered.split(recipe.data.train)
        usable = f", {_count(train.usable, 'with a positive')}" if train.usable is not None else ""
        yield _line("train", f"{recipe.data.train}, {_count(train.questions, 'questions')}{usable}")
    if (more := recipe.data.unlabelled) is not None:
        asked = _count(offered.split(more).questions, "questions, as far as labels find them positives")
        yield _line("unlabelled", f"{more}, {asked}")
    if recipe.validation is not None:
        held = f"at most {_count(recipe.validation.questions, 'questions')}, during training"
        yield _line("validate", f"{recipe.validation.split}, {held}")
    for name, split in recipe.data.evaluate.items():
        yield _line("evaluate", f"{name}: {split}, {_count(offered.split(split).questions, 'questions')}")


def _work_lines(recipe: Recipe, facts: dict[str, Any]) -> Iterator[str]:
    """How one training goes."""
    if recipe.start is not None:
        yield _line("start", recipe.start)
    yield _line("encoder", _encoder(recipe))
    if not recipe.trains:
        if recipe.towers.passage_base is not None:
            yield _line("", f"passages: {recipe.towers.passage_base}")
        yield _line("training", "none: the encoders are measured as they were published")
        return
    yield _line("positives", _positives(recipe))
    if (clusters := recipe.draw.clusters) is not None:
        groups = f"{clusters.per_batch:,} of {clusters.k:,} clusters"
        yield _line("questions", f"those of a step from {groups}, {clusters.model}")
    drawn = [_negatives(entry) for entry in recipe.draw.negatives]
    if recipe.step_search is not None:
        drawn = [f"{each}, found anew in every step" for each in drawn]
    if recipe.draw.in_batch:
        copies = ", copies of a passage each for itself" if recipe.draw.block == "as_drawn" else ""
        drawn.append(f"the other passages of the step{copies}")
    if (remembered := recipe.scale.negative_cache) is not None:
        drawn.append(f"the last {remembered.size:,} passages, by their vectors of then")
    yield _line("negatives", ", ".join(drawn))
    if recipe.own is not None and recipe.step_search is None:
        yield _line("refresh", _refresh(recipe, facts["refreshed_passages"]))
    for term in recipe.objective:
        params = term.model_dump(mode="json", by_alias=True, exclude={"name"}, exclude_unset=True)
        yield _line(
            "objective", ", ".join([term.name, *(f"{name} {str(value).lower()}" for name, value in params.items())])
        )
    questions, passages = _count(schedule.questions_per_step(recipe), "questions"), facts["passages_per_step"]
    if recipe.scale.processes > 1:
        questions += f" on {recipe.scale.processes} processes"
    yield _line("step", f"{questions}, {'at most ' if passages is not None else ''}{_count(passages, 'passages')}")
    epochs = recipe.training.get("num_train_epochs")
    length = f"{epochs:g} epochs" if epochs is not None else f"{recipe.training['max_steps']:,} updates"
    length += (
        f", {_count(schedule.steps_per_epoch(recipe), 'steps an epoch')}, {_count(facts['steps'], 'steps')} in all"
    )
    if facts["updates"] != facts["steps"]:
        length += f", {_count(facts['updates'], 'updates')} (in-batch negatives do not grow with accumulation)"
    yield _line("training", length)


def _downloaded(recipe: Recipe, offered: Collection) -> list[Pin]:
    """Files that come over the network, an archive once: those of the collection that the user does not bring."""
    if getattr(recipe.data.corpus, "folder", None) is not None:
        return []
    files = {(pin.archive or pin).file: pin.archive or pin for pin in offered.needed(recipe.splits)}
    return [pin for pin in files.values() if pin.url or pin.repo]


def _cost_lines(recipe: Recipe, offered: Collection, facts: dict[str, Any]) -> Iterator[str]:
    host, sizes = facts["host"], [pin.size for pin in _downloaded(recipe, offered)]
    known = [size for size in sizes if size is not None]
    parts = [f"{in_bytes(sum(known))}"] if known else []
    parts += [f"{len(sizes) - len(known)} of {UNKNOWN} size"] if len(known) < len(sizes) else []
    yield _line("download", f"{_count(len(sizes), 'files')}: {', '.join(parts)}" if sizes else "no files")
    memory: Memory | None = facts["memory"]
    if not recipe.trains:
        yield from _published_lines(recipe)
    elif memory is None:
        yield _line("GPU memory", UNKNOWN)
    else:
        split = f"{in_bytes(memory.states)} weights, gradients, Adam + {in_bytes(memory.activations)} activations"
        yield _line("GPU memory", f"at most about {in_bytes(memory.total)} each ({split})")
    yield _line("host memory", ", ".join(f"{name} {_or_unknown(size, in_bytes)}" for name, size in host.memory.items()))
    named = {"vectors": f"vectors of a run in {recipe.encoding.dtype}"}
    each = (f"{named.get(name, name)} {_or_unknown(size, in_bytes)}" for name, size in facts["disk"].items())
    yield _line("disk", ", ".join(each))
    taken = ", ".join(f"{name} {_or_unknown(hours, _duration)}" for name, hours in host.hours.items())
    yield _line("CPU time", f"on one core: {taken}")
    if facts["hours"] is None:
        yield _line("time", UNKNOWN)
        return
    guess = ""
    if facts["steps"] is None and recipe.trains:
        guess = f" of about {_count(schedule.likely_rows(recipe), 'training questions')}"
    yield _line("time", f"if {gpus.UTILISATION:.0%} of the peak is reached")
    if recipe.trains:
        length = "passages at their typical length" if recipe.scale.groups == PACKED else "texts at full length"
        yield _line("", f"training in {16 if _costs.is_half(recipe) else 32} bits, {length}{guess}")
    read = f"passages of about {_costs.typical_tokens(recipe, offered):.0f} tokens"
    yield _line("", f"encoding in {recipe.encoding.compute}, {read}")
    for what, hours in facts["hours"].items():
        yield _line("", f"{what}: {_duration(hours)}")


def _published_lines(recipe: Recipe) -> Iterator[str]:
    """What the result will be compared with."""
    first = next(iter(recipe.data.evaluate))
    for role in recipe.data.evaluate:
        values = (f"{measure} {value:g}" for measure, value in recipe.published.of(role, first).items())
        yield _line("published", f"{role}: {', '.join(values) or UNKNOWN}")
    if recipe.published.tolerance is not None:
        yield _line("tolerance", f"{recipe.published.tolerance:g} percentage points, by {recipe.published.source}")


def _encoder(recipe: Recipe) -> str:
    towers, backbone = recipe.towers, _backbones.of(recipe.towers)
    name = towers.base or "random weights"
    size = UNKNOWN if backbone is None else f"{backbone.parameters:,}"
    shared = "one tower" if towers.share else "two towers"
    if recipe.is_cross_encoder:
        shared = "a cross-encoder: question and passage are read together, and scored"
    if recipe.is_late_interaction:
        shared = "late interaction: a vector for every token, best matches added up"
    if towers.train == "question":
        shared += ", passages encoded once"
    lora = ""
    if towers.lora is not None:
        learning = UNKNOWN if backbone is None else f"{_costs.lora_parameters(recipe, backbone):,}"
        lora = f", LoRA rank {towers.lora.rank} ({learning} parameters learn)"
    if towers.weights != "float32":
        lora += f", the rest held in {towers.weights}"
    attention = "" if towers.attention == "auto" else f", attention by {towers.attention}"
    lengths = f"lengths {towers.question_length} and {towers.passage_length}"
    if towers.last_slot == "sep":
        lengths += " for every text"
    return f"{name}, {size} parameters, {shared}, {towers.pooling}, {lengths}{lora}{attention}"


def _positives(recipe: Recipe) -> str:
    positives, paired = recipe.draw.positives, any(entry.weight == PAIRED for entry in recipe.draw.negatives)
    if positives.policy == "up_to" and positives.m == 1 and positives.beyond == "first":
        return "the first listed"
    how = {
        "first": "the first listed",
        "random1": "one a question, that of the drawn pair" if paired else "one a question, in turn over the epochs",
        "up_to": f"up to {positives.m} a question, {'in turn' if positives.beyond == 'rotate' else 'the first ones'}",
        "all": "all at once",
        "one_row_per_positive": "one a row, every one in a row of its own",
    }[positives.policy]
    return how + (f", of the first {positives.cap}" if positives.cap is not None else "")


def _negatives(entry: Negatives) -> str:
    count = f"{entry.k} of" if entry.k is not None else f"as many as fill a group of {entry.group} from"
    count = "all of" if entry.all else count
    window = f" among the first {entry.window}" if entry.window is not None else ""
    fallback = f", else of {entry.fallback}" if entry.fallback is not None else ""
    return f"{count} {entry.from_}, {entry.weight}{window}{fallback}"


def _refresh(recipe: Recipe, passages: int | None) -> str:
    made, wanted = schedule.refreshes(recipe), recipe.refresh
    often = "once" if wanted is None else f"every {wanted.every:,} updates"
    times = UNKNOWN if made is None else f"{len(made.versions()):,}"
    share = "" if wanted is None or wanted.questions == 1 else f" for {wanted.questions:.0%} of the questions"
    late = ", read one interval later" if wanted is not None and wanted.stale else ""
    return f"{recipe.own.as_}, {often}{share}{late}, {times} in all, {_count(passages, 'passages')} encoded"


def _line(name: str, text: str) -> str:
    return f"{name:<12}{text}"


def _count(number: int | None, what: str) -> str:
    return f"{UNKNOWN} {what}" if number is None else f"{number:,} {what}"


def in_bytes(size: float) -> str:
    """As a plan writes sizes."""
    return f"{size / GIGA:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _or_unknown(number: float | None, shown: Callable[[float], str]) -> str:
    return UNKNOWN if number is None else shown(number)


def _duration(hours: float) -> str:
    for size, unit in ((24.0, "days"), (1.0, "hours"), (1 / 60.0, "minutes")):
        if hours >= 2.0 * size:
            return f"{hours / size:.1f} {unit}"
    seconds = f"{hours * 3600.0:.0f} seconds" if hours >= 1 / 3600.0 else "under a second"
    return "1 second" if seconds == "1 seconds" else seconds
