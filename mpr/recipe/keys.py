"""A recipe: one row of a table, complete in one YAML file, read strictly.

This file says what the keys are, section by section, and last the whole `Recipe`; those of `draw` and `towers` stand
in `keys_draw.py` and `keys_towers.py`. `mpr/recipe/read.py` reads a file into it, `mpr/recipe/rules/` refuses
contradictions. A key that changes a result has no default: the file reads like the experiment section of a paper.
What a recipe without the key `paper` may leave out is in `mpr/recipe/_defaults.py`, which writes it in before reading.
"""

from __future__ import annotations

import functools
import json
import operator
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Field, PrivateAttr, TypeAdapter, create_model

from mpr import catalogue
from mpr.catalogue import Parameters
from mpr.errors import RecipeError
from mpr.recipe._keys_objective import TERM
from mpr.recipe.keys_draw import Count, Draw
from mpr.recipe.keys_towers import Towers


class Part(Parameters):
    """An entry that names a file of a catalogue and gives its parameters."""

    name: str


def _part_of(folder: str, **extra: Any) -> Any:
    """The union of everything a catalogue folder offers, told apart by `name`."""
    models: list[Any] = []
    for name in catalogue.names(folder):
        base = catalogue.params(folder, name)
        field: Any = (Literal[name], Field(description=catalogue.summary(folder, name)))
        models.append(create_model(f"{folder}_{name}", __base__=base, __doc__=base.__doc__, name=field, **extra))
    return Annotated[functools.reduce(operator.or_, models), Field(discriminator="name")]


if TYPE_CHECKING:
    CorpusPart: TypeAlias = Part
    SourcePart: TypeAlias = Part
    LabelPart: TypeAlias = Part
    ObjectivePart: TypeAlias = Part
else:
    CorpusPart = _part_of(
        "corpora",
        pins=(
            dict[str, Annotated[str, Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")]],
            Field(
                {},
                description="Name of a file -> its SHA-256, or of a data set of the Hub -> its commit, for those that "
                "the kit does not know. `mpr pin` finds them.",
            ),
        ),
    )
    SourcePart = _part_of("sources")
    LabelPart = _part_of("labels")
    ObjectivePart = _part_of("objectives", **TERM)


def corpus_of(content: Any) -> Any:
    """The entry `data.corpus` from plain values; ValueError where it is none."""
    return TypeAdapter(CorpusPart).validate_json(json.dumps(content))


def declared(label: LabelPart, constant: str) -> Any:
    """What the file of a label declares under this name; nothing where it does not."""
    return getattr(catalogue.find("labels", label.name), constant, ())


DUAL_ENCODER, CROSS_ENCODER, LATE_INTERACTION = "dual_encoder", "cross_encoder", "late_interaction"
PACKED = "packed"  # of `scale.groups`: no padding at all
QUESTIONS, COPASSAGES, OF_OTHERS = "questions", "copassages", "copassages_of_others"  # of `objective[].against`
SCORERS = {CROSS_ENCODER: "a cross-encoder", LATE_INTERACTION: "a late-interaction model"}
"""Tasks of models that give a pair a score and cannot search, as messages call these."""
DESCRIBING = ("paper", "varies", "published", "expected", "draft")  # keys that cannot change what a row gives
STEP_SCORES = "live_QP"  # a target that is known of every cell, in the step
Share = Annotated[float, Field(gt=0.0, le=1.0)]
Measure = Annotated[str, Field(pattern=r"^(top|recall|ndcg|mrr|map|success)[1-9][0-9]*$")]


class Paper(Parameters):
    """Which published row this reproduces."""

    arxiv: str
    """Number of the paper, in quotes: "2508.09534"."""
    table: str
    """Table of the paper, or `unknown`."""
    row: str
    """Name of the row in that table."""
    dataset: str
    """Name of the data set in that table."""


class Repair(Parameters):
    """What happens to questions and labels that cannot be used. Everything dropped is counted and printed."""

    without_positives: Literal["refuse", "drop"]
    """Training questions that have no positive of a counting tier."""
    passages_missing: Literal["refuse", "drop"]
    """Positives and candidates whose passage is neither in the corpus nor inline in the records."""
    positive_as_negative: Literal["refuse", "drop_negative"]
    """Candidates of a question that are also among its known positives."""


class Augment(Parameters):
    """Passages that a writer made of known positives (`mpr augment`), for training alone."""

    file: str
    """What `mpr augment` wrote, inside data.corpus.folder if there is one; packed or not."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Of that file."""

    @property
    def pins(self) -> dict[str, str]:
        """What a plan says of it."""
        return {self.file.rpartition("/")[2]: f"sha256 {self.sha256}" if self.sha256 else "not pinned"}


class Data(Parameters):
    """What is learned from and what is measured on."""

    corpus: CorpusPart
    """The collection: a file of mpr/corpora/."""
    train: str
    """Split of the collection whose questions are trained on."""
    evaluate: Annotated[dict[str, str], Field(min_length=1)]
    """Name in the results table -> split of the collection."""
    repair: Repair
    """What to do with unusable labels."""
    overlap: Literal["refuse", "drop", "allow"] = "refuse"
    """Training questions that an evaluation split asks too: stop, drop them from training, or allow and show it."""
    unlabelled: str | None = None
    """Split whose questions are trained on too once a label finds them positives; null: none. Positives that its
    records list are not looked at."""
    augment: Augment | None = None
    """More positives of tier `augmented`; null: none."""


class Validation(Parameters):
    """Retrieval among the passages of held-out questions, during training; chooses the checkpoint."""

    split: str
    """Split with positives that is neither trained on nor evaluated."""
    questions: Count
    """At most this many of its questions, from the front."""
    candidates: Annotated[int, Field(ge=0)]
    """The first candidates of each source of each question, added to the pool of their positives."""
    patience: Count | None = None
    """Training stops after this many evaluations in a row without a new best one; null: it never stops early."""


class Refresh(Parameters):
    """When the model under training searches anew for candidates."""

    every: Count
    """Updates from one search to the next, the first before training. 1, with `towers.train: question`: in every step,
    with the vectors of that very step, and for its questions alone."""
    questions: Share = 1.0
    """Share of the training questions that a search after the first is for, in turn; the others keep what they have."""
    stale: bool = False
    """true: candidates are used one interval later, as where another machine looks for them while training goes on."""
    device_share: Share = 0.4
    """With a search in every step: how much of a GPU's free memory it may take before the model is there. What does not
    fit is read from the disk in every step; the result is the same."""


class Cache(Parameters):
    """Gradient cache: encode in chunks, exact gradient of the whole step."""

    questions: Count
    """Questions per chunk."""
    passages: Count
    """Passages per chunk."""


class NegativeCache(Parameters):
    """Passages of earlier steps as negatives: scored by remembered vectors, one a question encoded anew."""

    size: Count
    """Passages remembered; each costs one vector of memory, and of every checkpoint."""
    policy: Literal["lru", "fifo"]
    """Which passage makes room for a new one: `lru`, that of the oldest vector; `fifo`, the first that came."""


class Scale(Parameters):
    """How the block of scores is computed when it is larger than one device."""

    processes: Count
    """Number of processes (GPUs) of the row; a step has this many times `per_device_train_batch_size` questions."""
    gather: bool
    """Negatives are shared across processes, with exact gradients."""
    cache: Cache | None = None
    """Gradient cache; null: off."""
    negative_cache: NegativeCache | None = None
    """Negatives from earlier steps; null: none."""
    groups: Literal["auto", "packed"] | Count = "auto"
    """Texts of a side are encoded in groups of similar length, each padded to its longest: at most this many, and only
    where a group saves more than it costs on the device. `auto`: at most 4 on a processor, 8 on a GPU. 1: one wide
    forward. `packed`: all texts of a side in one row without padding, which not every encoder can. Loss and gradient
    are those of one wide forward up to rounding; only the draws of dropout differ."""


class Encoding(Parameters):
    """How vectors are computed and kept: for the evaluation, and those of passages that training leaves as they are."""

    compute: Literal["float32", "float16", "bfloat16"] = "float32"
    """Precision of the encoders; the ranking of a model may differ a little between them."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Precision in which vectors are stored and searched."""
    width: Annotated[int, Field(ge=1)] | None = None
    """Vectors are cut to their first so many numbers before they are stored, and scaled to length one again where
    `towers.normalize`. For models that were trained with `widths`. null: whole."""


class Feedback(Parameters):
    """Pseudo-relevance feedback: a second search with the question's vector moved towards what the first one found."""

    documents: Count
    """How many of the first passages are taken to be relevant."""
    weight: Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
    """Factor of the mean of their vectors, which is added to the question's."""


class Search(Parameters):
    """How passages are found for the evaluation."""

    index: str
    """`exact`, or a faiss factory string such as `HNSW32` (never for a paper's row)."""
    depth: Count
    """Passages kept per question."""
    settings: str | None = None
    """How far a faiss index looks, in faiss's words: `nprobe=32`, `efSearch=128`; null: as faiss does by itself."""
    fetch: Count | None = None
    """Candidates that a faiss index proposes per question before their written scores decide; null: `depth`."""
    feedback: Feedback | None = None
    """A second search with moved questions; null: none."""


class Evaluation(Parameters):
    """What is measured."""

    measures: Annotated[tuple[Measure, ...], Field(min_length=1)]
    """`topK`: share of questions with an answer in the first K passages. `recallK`, `ndcgK`, `mrrK`, `mapK`,
    `successK`: against judgements."""
    match: Literal["string", "regex", "judgements"]
    """What makes a passage right: it contains an answer string, matches an answer pattern, or is judged relevant."""


class Published(Parameters):
    """The row's published numbers; null where they are not known to us. Never filled from memory."""

    source: str | None
    """Where the numbers were read."""
    values: dict[str, float | None]
    """Measure -> value in percent, of the first evaluation; `<evaluation>.<measure>` for another one."""
    tolerance: Annotated[float, Field(gt=0.0, le=5.0)] | None = None
    """Without training: how far, in percentage points, our value may be from a published one to be `within` it."""

    def of(self, evaluation: str, first: str) -> dict[str, float]:
        """The known values of an evaluation, by measure; `first` is the name of the first one."""
        known = ((name.rpartition("."), value) for name, value in self.values.items() if value is not None)
        return {measure: value for (of, _, measure), value in known if (of or first) == evaluation}


class Band(Parameters):
    """Our own measured band of one measure, written by the kit."""

    mean: float
    """Mean over the seeds, in percent."""
    low: float
    """A run below it is refused."""
    high: float
    """A run above it is refused too: it is not this recipe."""
    seeds: Annotated[int, Field(ge=3)]
    """How many runs it was computed from."""


class Recipe(Parameters):
    """One row: data, model, training, search and evaluation."""

    paper: Paper | None = None
    """The published row; null for rows of our own."""
    varies: tuple[str, ...]
    """The only keys in which the rows of this table differ; a test proves it."""
    draft: bool = False
    """true: inputs may be unpinned (a local path, a missing checksum or revision); the row cannot be published."""
    data: Data
    """What is learned from and measured on."""
    task: Literal["dual_encoder", "cross_encoder", "late_interaction"] = "dual_encoder"
    """What learns. `dual_encoder`: towers, whose vectors are compared. `cross_encoder`: one transformer that reads
    question and passage together and gives the pair a score; it cannot search, labels use it. `late_interaction`: one
    encoder with a vector for every token (ColBERT), whose best matches are added up; a teacher, not an index."""
    towers: Towers
    """The encoders."""
    start: Annotated[str, Field(min_length=1)] | None = None
    """Weights to start from instead of those of `towers`, which then says what they are: a model folder,
    `org/name@<commit>` on the Hub, or in a plan `stage:<name>`. Null: `towers.base` or `towers.new`."""
    sources: Annotated[tuple[SourcePart, ...], Field()]
    """Where candidates for negatives come from."""
    draw: Draw
    """What enters a step."""
    refresh: Refresh | None = None
    """When candidates of `model: self` are searched for anew; null: once, before training."""
    labels: Annotated[tuple[LabelPart, ...], Field(min_length=1)]
    """What is positive, negative or ignored for whom."""
    objective: Annotated[tuple[ObjectivePart, ...], Field(min_length=1)]
    """Terms of the loss."""
    scale: Scale
    """Processes and memory."""
    training: dict[str, Any]
    """transformers' TrainingArguments by their own names, checked for name and type. `none`: nothing is trained, the
    encoders of `towers` are measured as others published them; all keys about training are left out."""
    validation: Validation | None = None
    """Measured at every evaluation of `training.eval_strategy`; null: nothing is measured during training."""
    encoding: Encoding = Encoding()
    """How vectors are computed and kept for the evaluation; without it: in 32 bits."""
    search: Search
    """How passages are found."""
    evaluation: Evaluation
    """What is measured."""
    published: Published
    """Published numbers."""
    expected: dict[str, Band] | None = None
    """Our own measured band; null until measured with at least three seeds."""
    plan: tuple[dict[str, Any], ...] = ()
    """Stages of training, one after the other: `name`, `start` (previous, base, or the name of an earlier stage), and
    the keys in which the stage differs from what stands above. None: the recipe is its only stage."""

    _name: str = PrivateAttr(default="recipe")
    _trains: bool = PrivateAttr(default=True)
    _overrides: tuple[str, ...] = PrivateAttr(default=())
    _pinned: tuple[str, ...] = PrivateAttr(default=())
    _text: bytes = PrivateAttr(default=b"")
    _lock_text: bytes = PrivateAttr(default=b"")
    _stage: str = PrivateAttr(default="")
    _stages: tuple[Recipe, ...] = PrivateAttr(default=())  # of a row with a plan; see mpr/recipe/stages.py
    _earlier: tuple[tuple[str, Recipe | None], ...] = PrivateAttr(default=())  # None: has mistakes of its own
    _defaults: tuple[str, ...] = PrivateAttr(default=())
    _written: str = PrivateAttr(default="")

    @property
    def name(self) -> str:
        """Stem of the file."""
        return self._name

    @property
    def overrides(self) -> tuple[str, ...]:
        """The `--set` arguments it was read with."""
        return self._overrides

    @property
    def defaults(self) -> tuple[str, ...]:
        """What its file leaves to `mpr/recipe/_defaults.py`, a line for each section; nothing for a complete recipe."""
        return self._defaults

    @property
    def pinned_by_maker(self) -> tuple[str, ...]:
        """Inputs that nobody but the maker of the recipe has pinned: in its lock (mpr/recipe/lock.py), or in
        `data.corpus.pins`."""
        return tuple(dict.fromkeys((*self._pinned, *getattr(self.data.corpus, "pins", ()))))

    @property
    def text(self) -> bytes:
        """The file as it was when it was read: it may be edited while the row is made."""
        return self._text

    @property
    def written(self) -> str:
        """A file with every value, those of `--set` included; empty where the recipe is complete as its file is."""
        return self._written

    @property
    def lock_text(self) -> bytes:
        """The lock as it was when it was read; empty: there was none."""
        return self._lock_text

    @property
    def stage(self) -> str:
        """Its name in the plan that it is a stage of; empty for a whole row."""
        return self._stage

    @property
    def earlier(self) -> dict[str, Recipe | None]:
        """The stages before it, in order; None for one that cannot be read."""
        return dict(self._earlier)

    @property
    def stages(self) -> tuple[Recipe, ...]:
        """The stages of a row in order, each a recipe without a plan; a recipe without a plan is its only stage."""
        return self._stages or (self,)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that it reads, each once."""
        validation = None if self.validation is None else self.validation.split
        named = (self.data.train, self.data.unlabelled, validation, *self.data.evaluate.values())
        return tuple(dict.fromkeys(name for name in named if name))

    @property
    def trains(self) -> bool:
        """Whether something is trained; otherwise published encoders are measured (`training: none`)."""
        return self._trains

    def must_train(self) -> None:
        """Refuses a recipe that trains nothing."""
        if not self.trains:
            fix = "write the keys of a training, as recipes/quickstart.yaml has them, or use a recipe that has them"
            raise RecipeError("the recipe trains nothing (training: none)", key="training", fix=fix)

    @property
    def system(self) -> str:
        """What the row is about, in words of its results."""
        return "trained" if self.trains else "published"

    @property
    def is_cross_encoder(self) -> bool:
        """Whether it trains one; also of what its model folder is."""
        return self.task == CROSS_ENCODER

    @property
    def is_late_interaction(self) -> bool:
        """The same of a late-interaction model."""
        return self.task == LATE_INTERACTION

    @property
    def known(self) -> Any:
        """The label `known_positives`, which every recipe has once, before the others: the rules see to it."""
        return self.labels[0]

    @property
    def tiers(self) -> tuple[str, ...]:
        """Tiers of known positives that count as positive."""
        return tuple(self.known.tiers)

    @property
    def cross_encoders(self) -> list[str]:
        """Those that labels run, each once."""
        scores = (getattr(label, "scores", None) for label in self.labels)
        return list(dict.fromkeys(str(one.cross_encoder) for one in scores if one is not None and one.cross_encoder))

    @property
    def step_teacher(self) -> Any:
        """The label whose model scores every step; None: there is none."""
        return next((label for label in self.labels if STEP_SCORES in declared(label, "PROVIDES")), None)

    @property
    def own(self) -> Any:
        """The source whose candidates the model under training finds; None: there is none."""
        return next((source for source in self.sources if getattr(source, "model", None) == "self"), None)

    @property
    def step_search(self) -> Any:
        """The source that every step searches with its own questions; None: candidates are there before a step."""
        if self.towers.train != "question" or self.refresh is None or self.refresh.every != 1:
            return None
        return self.own

    @property
    def questions_per_step(self) -> int:
        """Questions of one forward step over all processes."""
        return int(self.training["per_device_train_batch_size"]) * self.scale.processes
