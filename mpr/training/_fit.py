"""One training run, from top to bottom: what is read, what learns, the trainer, the training, and what is written."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import EvalPrediction, TrainerState, TrainingArguments

from mpr import storage
from mpr.batches.collate import Collator, PairCollator
from mpr.batches.draw import Drawer
from mpr.batches.targets import Names, Targets
from mpr.data.dataset import Dataset
from mpr.data.token_batches import PairTexts, Side
from mpr.errors import RecipeError
from mpr.metrics import ranks as rank_measures
from mpr.mining import clusters, refresh
from mpr.mining.clusters import QuestionClusters
from mpr.mining.mine import Mined
from mpr.mining.refresh import Refresh
from mpr.models import out_of_memory
from mpr.models.templates import PairTemplate, Template
from mpr.recipe.keys import Recipe
from mpr.recipe.schedule import RefreshSchedule
from mpr.runtime import processes
from mpr.runtime.processes import Group, Place
from mpr.runtime.progress import bar
from mpr.search import encode
from mpr.search.inference import Model
from mpr.search.vectors import VectorStore
from mpr.training import _fixed_passages, _step_search, learner
from mpr.training._block import Completed
from mpr.training._callbacks import Advice, OnSave, Patience, Shown, StopOnSignal, stoppable, waited
from mpr.training._checkpoints import read_safely
from mpr.training._fixed_passages import FixedPassages
from mpr.training._step_search import StepSearch
from mpr.training._trainer import MultiPositiveTrainer
from mpr.training._validation import DevPool
from mpr.training.run_folder import CHECKPOINT, RunFolder
from mpr.training.step_teacher import StepTeacher

log = logging.getLogger("mpr.train")


def fit(
    mined: Mined, folder: RunFolder, group: Group, arguments: TrainingArguments, callbacks: Sequence[Any] = ()
) -> bool:
    """True when training is over; False when it was stopped on request after a checkpoint.

    Every process of the group calls it. `callbacks` are somebody else's, beside ours.
    """
    dataset, place = mined.dataset, group.place
    recipe = dataset.recipe

    # What does not change in training: vectors of passages, which all processes make, and clusters of questions.
    passages = _passage_vectors(dataset, str(arguments.device), group)
    clustered = group.first(lambda: _clusters(dataset, str(arguments.device)))

    # Draws
    drawer = drawer_of(mined, QuestionClusters(Path(clustered)) if clustered else None)
    if arguments.max_steps <= 0:  # now that the number of rows is known
        steps = drawer.steps(float(recipe.training["num_train_epochs"]))
        arguments.max_steps = -(-steps // arguments.gradient_accumulation_steps)
    own = refresh_of(dataset, drawer, folder, group, arguments, passages)

    is_sharded = processes.is_sharded(os.environ)
    with out_of_memory.becomes(lambda: out_of_memory.in_training(recipe, is_sharded)), stoppable() as stopper:
        # Where it goes on
        resumed = folder.newest()
        if resumed is not None:
            arguments.eval_on_start = False  # it was: the curve of the checkpoint has it
            if own is not None:
                own.resume(storage.read_manifest(resumed, CHECKPOINT).receipt.get("candidates", {}), resumed)

        # Model, batches, trainer
        trainer = trainer_of(mined, drawer, folder, arguments, place, passages, own, group)
        group.wait()  # one may have opened a search that takes minutes; what follows are collectives
        if place.rank == 0:
            _say(recipe, drawer, arguments, resumed)
        trainer.add_callback(StopOnSignal(stopper))
        for callback in callbacks:
            trainer.add_callback(callback)
        trainer.add_callback(OnSave(lambda: _write_metrics(trainer, folder, place)))

        # Training
        state = None if resumed is None else _state_of(_inner(resumed))
        if state is not None and _stopped_early(recipe, state):
            trainer.state = state  # killed after it stopped and before its model was written
            _write_metrics(trainer, folder, place)
        else:
            with bar("updates", arguments.max_steps, arguments.disable_tqdm or place.rank > 0) as progress:
                Shown.instead(trainer, progress)
                try:
                    trainer.train(resume_from_checkpoint=None if resumed is None else str(_inner(resumed)))
                finally:  # the log is written whatever ends the training: it is what explains an error
                    trainer.refreshed.close()
                    _write_metrics(trainer, folder, place)
    is_over = trainer.state.global_step >= trainer.state.max_steps or _stopped_early(recipe, trainer.state)
    if stopper.signals and not is_over:
        return False

    # The model
    best = trainer.state.best_global_step
    if arguments.load_best_model_at_end and best:
        storage.verify(folder.checkpoint(best), CHECKPOINT)
        trainer._load_from_checkpoint(str(_inner(folder.checkpoint(best))))
    model = trainer.finished(lambda: learner.built(dataset))  # all processes: sharded weights are gathered
    if model is not None:
        receipt = {"updates": trainer.state.global_step, "best": best, "recipe": recipe.name}
        learner.write(folder.model, model, dataset, receipt)
    group.wait()
    return True


def trainer_of(
    mined: Mined,
    drawer: Drawer,
    folder: RunFolder,
    arguments: TrainingArguments,
    place: Place,
    passages: VectorStore | None,
    own: Refresh | None,
    group: Group,
) -> MultiPositiveTrainer:
    """Everything that trains. `passages`: the vectors of those that do not learn; `own`: what mines between steps."""
    dataset, accumulation = mined.dataset, arguments.gradient_accumulation_steps
    recipe = dataset.recipe
    evaluator = evaluator_of(dataset, arguments, place)
    callbacks: list[Any] = [Advice()]
    if recipe.validation is not None and recipe.validation.patience is not None:
        callbacks.append(Patience(recipe.validation.patience))
    model, collator = learner.built(dataset), collator_of(mined, drawer, place)
    completed = completed_of(dataset, collator, passages, place, arguments.device)
    trainer = MultiPositiveTrainer(
        model,
        arguments,
        recipe=recipe,
        loss=learner.loss_of(recipe, model, collator, completed, arguments.device),
        collator=collator,
        draws=arguments.max_steps * accumulation,
        run=folder,
        group=group,
        evaluator=evaluator,
        compute_metrics=None if evaluator is None else Measures(len(evaluator.passage_P)),
        callbacks=callbacks,
        refresh=own,
    )
    return trainer


# What is read


def drawer_of(mined: Mined, clustered: QuestionClusters | None = None) -> Drawer:
    """Which questions and passages each step has. Candidates that a step finds itself are not drawn."""
    dataset, known = mined.dataset, mined.knowledge
    recipe = dataset.recipe
    return Drawer(
        recipe.draw if recipe.step_search is None else recipe.draw.model_copy(update={"negatives": ()}),
        known.positives,
        recipe.tiers,
        known.candidates,
        len(dataset.splits.proposable("train")),
        recipe.questions_per_step,
        int(recipe.training["seed"]),
        mined.evidence,
        None if clustered is None else clustered.cluster_Q,
        awaited="" if recipe.own is None else recipe.own.as_,
    )


def collator_of(mined: Mined, drawer: Drawer, place: Place) -> Collator | PairCollator:
    """How a draw becomes a batch: pairs for a cross-encoder, the two sides of a block for all others."""
    dataset = mined.dataset
    recipe, store = dataset.recipe, dataset.passages_of("train")
    names = Names(dataset.split("train").folder, store.folder)
    about: dict[str, Any] = {
        "drawer": drawer,
        "text_hashes": store.text_hashes,
        "tiers": recipe.tiers,
        "policy": recipe.known,
        "place": place,
        "targets": Targets.of(recipe.objective, mined.knowledge, names),
    }
    if recipe.is_cross_encoder:
        texts = dataset.tokens_of_questions("train"), dataset.tokens_of_passages("train")
        sizes, template = recipe.towers, PairTemplate.of(dataset.tokenizer())
        return PairCollator(texts=PairTexts(*texts, template, sizes.question_length, sizes.passage_length), **about)
    questions, passages = _sides(dataset, "train")
    return Collator(
        questions=questions,
        passages=None if recipe.towers.train == "question" else passages,
        gather=recipe.scale.gather,
        questions_only=recipe.step_search is not None,
        **about,
    )


def _sides(dataset: Dataset, role: str) -> tuple[Side, Side]:
    """How questions and passages of a split become token ids."""
    sizes, template = dataset.recipe.towers, Template.of(dataset.tokenizer())
    questions = Side.of(dataset.tokens_of_questions(role), template, sizes, "question")
    return questions, Side.of(dataset.tokens_of_passages(role), template, sizes, "passage")


def evaluator_of(dataset: Dataset, arguments: TrainingArguments, place: Place) -> DevPool | None:
    """The pool of development questions, where the recipe has a `validation`."""
    wanted = dataset.recipe.validation
    if wanted is None:
        return None
    split = dataset.split("validation")
    found = DevPool.of(
        *_sides(dataset, "validation"),
        split.positives.counting(dataset.recipe.tiers),
        [split.candidates(name) for name in split.sources],
        at_most=wanted.questions,
        each=wanted.candidates,
        batch=arguments.per_device_eval_batch_size,
        place=place,
        quiet=arguments.disable_tqdm or place.rank > 0,
    )
    pool, name = len(found.passage_P), (arguments.metric_for_best_model or "mrr").removeprefix("eval_")
    if name not in Measures(pool).names:  # top-k of a pool of k passages is always 1: it would choose the first
        what = f"'{name}' cannot tell checkpoints apart: the pool has {pool} passages"
        fix = "raise validation.questions or validation.candidates, or choose by mrr"
        raise RecipeError(what, key="training.metric_for_best_model", fix=fix)
    return found


def refresh_of(
    dataset: Dataset,
    drawer: Drawer,
    folder: RunFolder,
    group: Group,
    arguments: TrainingArguments,
    passages: VectorStore | None,
) -> Refresh | None:
    """What brings candidates that the model under training finds between steps."""
    recipe = dataset.recipe
    if recipe.own is None or recipe.step_search is not None:
        return None
    schedule, place = RefreshSchedule.of(recipe, arguments.max_steps), folder.folder / refresh.FOLDER
    if dataset.splits.proposable("train").folder != dataset.passages_of("train").folder:
        passages = None
    return Refresh(dataset, place, drawer, schedule, str(arguments.device), group, passages)


def completed_of(
    dataset: Dataset,
    collator: Collator | PairCollator,
    passages: VectorStore | None,
    place: Place,
    device: torch.device,
) -> Completed | None:
    """What a step needs and its collator cannot know: passages that are not encoded in it, a teacher's scores."""
    fixed: FixedPassages | StepSearch | None = None
    if passages is not None and dataset.recipe.step_search is None:
        fixed = FixedPassages(passages, device)
    elif passages is not None:
        assert isinstance(collator, Collator)
        fixed = StepSearch.of(dataset.recipe, passages, collator, device)
    teacher = StepTeacher.of(dataset, place.rank, device)
    if fixed is None or teacher is None:
        return fixed or teacher
    return lambda own_OD, batch: teacher(own_OD, fixed(own_OD, batch))


# What does not change in training


def _passage_vectors(dataset: Dataset, device: str, group: Group) -> VectorStore | None:
    """Encodes the passages with the weights that training starts from, where these are never encoded again. None where
    passages learn."""
    recipe = dataset.recipe
    if recipe.towers.train == "both":
        return None
    options = encode.Options(recipe.encoding.dtype, recipe.encoding.compute, device, quiet=dataset.quiet)
    texts = dataset.passages_of("train"), dataset.tokens_of_passages("train")
    store = _fixed_passages.kept(_start(dataset), *texts, options, group)
    if recipe.step_search is not None:
        group.first(lambda: _step_search.prepare(recipe.step_search, store))
    return store


def _clusters(dataset: Dataset, device: str) -> str:
    """Clusters the questions; where the clusters are. Empty where none are asked for."""
    if dataset.recipe.draw.clusters is None:
        return ""
    return str(clusters.kept(dataset, lambda: _start(dataset), device).folder)


def _start(dataset: Dataset) -> Model:
    """The towers that training starts from."""
    recipe = dataset.recipe
    begun = learner.start_of(dataset, recipe.scale.groups)
    return Model.of(begun, dataset.tokenizer(), recipe.towers.base or "random weights")


# What is said and written


def _say(recipe: Recipe, drawer: Drawer, arguments: TrainingArguments, resumed: Path | None) -> None:
    log.info(
        "%s updates; an epoch is %s rows, with %s pairs of a question and a positive passage to draw from%s",
        f"{arguments.max_steps:,}",
        f"{drawer.rows_per_epoch:,}",
        f"{int(drawer.drawable.lengths(drawer.questions).sum()):,}",
        f"; continuing after update {int(resumed.name):,}" if resumed else "",
    )
    if drawer.dropped:
        log.info("%d questions have fewer than two pairs to draw: not trained on", drawer.dropped)
    if recipe.draw.clusters is not None and not recipe.draw.in_batch:
        log.info("clusters do nothing without in-batch negatives: questions of a step do not see one another")
    if arguments.gradient_accumulation_steps > 1 and recipe.draw.in_batch:
        log.info("in-batch negatives do not grow with accumulation: use scale.cache for a larger block")


def _write_metrics(trainer: MultiPositiveTrainer, folder: RunFolder, place: Place) -> None:
    if place.rank:
        return
    lines = []
    for entry in trainer.state.log_history:
        known = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in entry.items()
        }
        lines.append(json.dumps(known, sort_keys=True, allow_nan=False))
    storage.write_file(folder.metrics, ("\n".join(lines) + "\n").encode())


def _state_of(checkpoint: Path) -> TrainerState:
    with read_safely(str(checkpoint)):
        return TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))


def _stopped_early(recipe: Recipe, state: TrainerState) -> bool:
    patience = None if recipe.validation is None else recipe.validation.patience
    return patience is not None and waited(state) >= patience


def _inner(checkpoint: Path) -> Path:
    """transformers puts its files into a folder of its own naming."""
    return checkpoint / f"checkpoint-{checkpoint.name}"


@dataclass(frozen=True)
class Measures:
    """Measures of ranks in a pool of so many passages, in the form that the Trainer calls; by the metric module where
    `evaluate` is installed, by the function that it wraps where it is not."""

    pool: int

    @property
    def cuts(self) -> tuple[int, ...]:
        return tuple(cut for cut in rank_measures.CUTS if cut < self.pool)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(rank_measures.of([0], [0], self.cuts))

    def __call__(self, found: EvalPrediction) -> dict[str, float]:
        ranks, owners = found.predictions.tolist(), found.label_ids.tolist()
        try:
            from mpr.metrics.pool_ranks import PoolRanks
        except ImportError as error:
            if (error.name or "").partition(".")[0] not in ("evaluate", "datasets"):
                raise
            return rank_measures.of(ranks, owners, self.cuts)
        measures: dict[str, float] = PoolRanks().compute(predictions=ranks, references=owners, cuts=self.cuts)
        return measures
