"""One training run: builds model, collator and trainer from a recipe and its data, trains, and writes the result."""

from __future__ import annotations

import json
import logging
import math
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import EvalPrediction, TrainerState, TrainingArguments

from mpr import storage
from mpr.batches.collate import Collator, PairCollator
from mpr.batches.draw import Drawer
from mpr.batches.targets import Names, Targets
from mpr.data.dataset import Dataset
from mpr.data.pair_labels import Knowledge
from mpr.data.token_batches import PairTexts, Side
from mpr.errors import RecipeError
from mpr.metrics import ranks as rank_measures
from mpr.mining import clusters, mine, refresh
from mpr.mining.clusters import QuestionClusters
from mpr.mining.refresh import Refresh
from mpr.models import out_of_memory
from mpr.models.templates import PairTemplate, Template
from mpr.models.towers import DualEncoder
from mpr.recipe.keys import Recipe
from mpr.recipe.rules import launch
from mpr.recipe.schedule import RefreshSchedule
from mpr.runtime.processes import ALONE, Group
from mpr.search import encode
from mpr.search.inference import Model
from mpr.search.vectors import VectorStore
from mpr.training import _block, _fixed_passages, _learner, _step_search, starts
from mpr.training._callbacks import Advice, EpochEnds, OnSave, Patience, StopOnSignal, be_brief, stoppable, waited
from mpr.training._fixed_passages import FrozenPassages
from mpr.training._step_search import LiveSearch
from mpr.training._trainer import MultiPositiveTrainer
from mpr.training._validation import DevPool
from mpr.training.run_folder import CHECKPOINT, RunFolder
from mpr.training.step_teacher import LiveTeacher

log = logging.getLogger("mpr.train")


@dataclass
class TrainingRun:
    """Everything between a checked recipe and a trained directory."""

    recipe: Recipe
    dataset: Dataset
    folder: RunFolder
    share: tuple[int, int]
    arguments: TrainingArguments
    vectors: str = ""
    """Where those of passages that do not learn are: what `freeze` answered on the first process."""
    clusters: str = ""
    """Where those of questions are: what `cluster` answered on the first process."""
    group: Group = field(default_factory=lambda: ALONE)

    def run(self) -> bool:
        """True when training is over; False when it was stopped on request after a checkpoint."""
        if self.arguments.max_steps <= 0:
            self.arguments.max_steps = self._updates()
        is_sharded = launch.is_sharded(os.environ)
        with out_of_memory.becomes(lambda: out_of_memory.in_training(self.recipe, is_sharded)), stoppable() as stopper:
            resumed = self.folder.newest()
            if resumed is not None:
                self.arguments.eval_on_start = False  # it was: the curve of the checkpoint has it
            if resumed is not None and self.refresh is not None:
                named = storage.read_manifest(resumed, CHECKPOINT).receipt.get("candidates", {})
                self.refresh.resume(named, resumed)
            trainer = self.trainer()
            self._say(resumed)
            trainer.add_callback(StopOnSignal(stopper))
            trainer.add_callback(OnSave(lambda: self._write_metrics(trainer)))
            if resumed is not None and self._stopped_early(state := _state(resumed)):
                trainer.state = state  # killed after it stopped and before its model was written
                self._write_metrics(trainer)
            else:
                self._train(trainer, resumed)
        is_over = trainer.state.global_step >= trainer.state.max_steps or self._stopped_early(trainer.state)
        if stopper.signals and not is_over:
            return False
        self._write_model(trainer)
        return True

    def _train(self, trainer: MultiPositiveTrainer, resumed: Any) -> None:
        """The log is written whatever ends the training: it is what explains an error."""
        try:
            trainer.train(resume_from_checkpoint=None if resumed is None else str(_inner(resumed)))
        finally:
            trainer.stretches.close()
            self._write_metrics(trainer)

    @property
    def _patience(self) -> int | None:
        return None if self.recipe.validation is None else self.recipe.validation.patience

    def _stopped_early(self, state: TrainerState) -> bool:
        return self._patience is not None and waited(state) >= self._patience

    def _updates(self) -> int:
        """Optimizer steps, now that the number of rows is known."""
        accumulation = self.arguments.gradient_accumulation_steps
        steps = self.drawer.steps(float(self.recipe.training["num_train_epochs"]))
        return -(-steps // accumulation)

    @cached_property
    def knowledge(self) -> Knowledge:
        """What sources and labels make of the split."""
        return mine.knowledge(self.dataset)

    @cached_property
    def drawer(self) -> Drawer:
        draw = self.recipe.draw
        if self.recipe.step_search is not None:
            draw = draw.model_copy(update={"negatives": ()})
        return Drawer(
            draw,
            self.knowledge.positives,
            self.recipe.tiers,
            self.knowledge.candidates,
            len(self.dataset.splits.proposable("train")),
            self.recipe.questions_per_step,
            int(self.recipe.training["seed"]),
            mine.evidence(self.dataset, self.knowledge),
            QuestionClusters(Path(self.clusters)).cluster_Q if self.clusters else None,
            awaited="" if self.recipe.own is None else self.recipe.own.as_,
        )

    @cached_property
    def template(self) -> Template:
        return Template.of(self.dataset.tokenizer())

    def sides(self, role: str) -> tuple[Side, Side]:
        """How questions and passages of a split become token ids."""
        sizes = self.recipe.towers
        questions = Side(self.dataset.tokens_of_questions(role), self.template, sizes.question_length)
        return questions, Side(self.dataset.tokens_of_passages(role), self.template, sizes.passage_length)

    @cached_property
    def targets(self) -> Targets:
        """What objectives want to know of a block besides scores."""
        names = Names(self.dataset.split("train").folder, self.dataset.passages_of("train").folder)
        return Targets.of(self.recipe.objective, self.knowledge, names)

    @property
    def pair_collator(self) -> PairCollator:
        """Of a cross-encoder."""
        questions, passages = self.dataset.tokens_of_questions("train"), self.dataset.tokens_of_passages("train")
        template, sizes = PairTemplate.of(self.dataset.tokenizer()), self.recipe.towers
        return PairCollator(
            drawer=self.drawer,
            texts=PairTexts(questions, passages, template, sizes.question_length, sizes.passage_length),
            text_hashes=self.dataset.passages_of("train").text_hashes,
            tiers=self.recipe.tiers,
            policy=self.recipe.known,
            share=self.share,
            targets=self.targets,
        )

    @cached_property
    def collator(self) -> Collator:
        questions, passages = self.sides("train")
        store = self.dataset.passages_of("train")
        return Collator(
            drawer=self.drawer,
            questions=questions,
            passages=None if self.recipe.towers.train == "question" else passages,
            text_hashes=store.text_hashes,
            tiers=self.recipe.tiers,
            policy=self.recipe.known,
            share=self.share,
            gather=self.recipe.scale.gather,
            targets=self.targets,
            questions_only=self.recipe.step_search is not None,
        )

    # Passages that do not learn

    def freeze(self) -> str:
        """Encodes the passages with the weights that training starts from, where these are never encoded again.

        For the first process, before any of them trains. Where the vectors are; empty where passages learn.
        """
        if self.recipe.towers.train == "both":
            return ""
        wanted, passages = self.recipe.encoding, self.dataset.passages_of("train")
        options = encode.Options(wanted.dtype, wanted.compute, str(self.arguments.device), quiet=self.dataset.quiet)
        store = _fixed_passages.kept(self._start(), passages, self.dataset.tokens_of_passages("train"), options)
        if self.recipe.step_search is not None:
            _step_search.prepare(self.recipe.step_search, store)
        return str(store.folder)

    def _start(self) -> Model:
        """The towers that training starts from."""
        return Model.of(self._towers(), self.dataset.tokenizer(), self.recipe.towers.base or "random weights")

    def cluster(self) -> str:
        """Clusters the questions, for the first process. Where the clusters are; empty where none are asked for."""
        if self.recipe.draw.clusters is None:
            return ""
        return str(clusters.kept(self.dataset, self._start, str(self.arguments.device)).folder)

    def _completed(self) -> _block.Completed | None:
        """What a step needs and the collator cannot know: passages that are not encoded in it, a teacher's scores."""
        passages, teacher = self._passages(), LiveTeacher.of(self.dataset, self.share[0], self.arguments.device)
        if passages is None or teacher is None:
            return passages or teacher
        return lambda own_OD, batch: teacher(own_OD, passages(own_OD, batch))

    def _passages(self) -> FrozenPassages | LiveSearch | None:
        """What brings the passages of a step where they are not encoded in it."""
        if not self.vectors:
            return None
        store, device = VectorStore(Path(self.vectors)), self.arguments.device
        if self.recipe.step_search is None:
            return FrozenPassages(store, device)
        return LiveSearch.of(self.recipe, store, self.collator, device)

    @cached_property
    def refresh(self) -> Refresh | None:
        """What brings candidates that the model under training finds between steps."""
        if self.recipe.own is None or self.recipe.step_search is not None:
            return None
        clock = RefreshSchedule.of(self.recipe, self.arguments.max_steps)
        proposable = self.dataset.splits.proposable("train").folder
        stay = self.vectors and proposable == self.dataset.passages_of("train").folder
        vectors = VectorStore(Path(self.vectors)) if stay else None
        folder, device = self.folder.folder / refresh.FOLDER, str(self.arguments.device)
        return Refresh(self.dataset, folder, self.drawer, clock, device, self.group, vectors)

    def trainer(self) -> MultiPositiveTrainer:
        updates, rows = self.arguments.max_steps, self.recipe.questions_per_step
        accumulation, evaluator = self.arguments.gradient_accumulation_steps, self._evaluator()
        if evaluator is not None:
            self._refuse_measure_of_nothing(len(evaluator.passage_P))
        callbacks: list[Any] = [Advice(), EpochEnds(rows * accumulation, self.drawer.rows_per_epoch)]
        if self._patience is not None:
            callbacks.append(Patience(self._patience))
        trainer = MultiPositiveTrainer(
            self._model(),
            self.arguments,
            recipe=self.recipe,
            collator=self.pair_collator if self._reads_pairs else self.collator,
            draws=updates * accumulation,
            run=self.folder,
            evaluator=evaluator,
            compute_metrics=None if evaluator is None else Measures(len(evaluator.passage_P)),
            callbacks=callbacks,
            completed=self._completed(),
            refresh=self.refresh,
        )
        be_brief(trainer)
        return trainer

    @property
    def _reads_pairs(self) -> bool:
        return self.recipe.is_cross_encoder

    def _model(self) -> _learner.Learner:
        """What learns, as it starts."""
        return _learner.built(self.dataset)

    def _towers(self) -> DualEncoder:
        return starts.built(self.dataset, self.recipe.scale.groups)

    def _evaluator(self) -> DevPool | None:
        wanted = self.recipe.validation
        if wanted is None:
            return None
        split = self.dataset.split("validation")
        return DevPool.of(
            *self.sides("validation"),
            split.positives.counting(self.recipe.tiers),
            [split.candidates(name) for name in split.sources],
            at_most=wanted.questions,
            each=wanted.candidates,
            batch=self.arguments.per_device_eval_batch_size,
            share=self.share,
            quiet=self.arguments.disable_tqdm or self.share[0] > 0,
        )

    def _refuse_measure_of_nothing(self, pool: int) -> None:
        """Top-k of a pool of k passages is always 1 and would choose the first checkpoint."""
        name = (self.arguments.metric_for_best_model or "mrr").removeprefix("eval_")
        if name not in Measures(pool).names:
            what = f"'{name}' cannot tell checkpoints apart: the pool has {pool} passages"
            fix = "raise validation.questions or validation.candidates, or choose by mrr"
            raise RecipeError(what, key="training.metric_for_best_model", fix=fix)

    def _say(self, resumed: Any) -> None:
        if self.share[0]:
            return
        positives = self.drawer.drawable.lengths(self.drawer.questions)
        log.info(
            "%d rows an epoch, %d positives that count, %d updates%s",
            self.drawer.rows_per_epoch,
            int(positives.sum()),
            self.arguments.max_steps,
            f"; continuing after update {resumed.name}" if resumed else "",
        )
        if self.drawer.dropped:
            log.info("%d questions have fewer than two pairs to draw: not trained on", self.drawer.dropped)
        if self.clusters and not self.recipe.draw.in_batch:
            log.info("clusters do nothing without in-batch negatives: questions of a step do not see one another")
        if self.arguments.gradient_accumulation_steps > 1 and self.recipe.draw.in_batch:
            log.info("in-batch negatives do not grow with accumulation: use scale.cache for a larger block")

    def _write_metrics(self, trainer: MultiPositiveTrainer) -> None:
        if self.share[0] == 0:
            entries = [
                {
                    name: None if isinstance(value, float) and not math.isfinite(value) else value
                    for name, value in each.items()
                }
                for each in trainer.state.log_history
            ]
            lines = [json.dumps(entry, sort_keys=True, allow_nan=False) for entry in entries]
            storage.write_file(self.folder.metrics, ("\n".join(lines) + "\n").encode())

    def _write_model(self, trainer: MultiPositiveTrainer) -> None:
        best = trainer.state.best_global_step
        if self.arguments.load_best_model_at_end and best:
            storage.verify(self.folder.checkpoint(best), CHECKPOINT)
            trainer._load_from_checkpoint(str(_inner(self.folder.checkpoint(best))))
        model = trainer.finished(self._model)  # all processes: sharded weights are gathered
        if model is not None:
            receipt = {"updates": trainer.state.global_step, "best": best, "recipe": self.recipe.name}
            _learner.write(self.folder.model, model, self.dataset, receipt)
        trainer.accelerator.wait_for_everyone()


def _inner(checkpoint: Any) -> Any:
    """transformers puts its files into a folder of its own naming."""
    return checkpoint / f"checkpoint-{checkpoint.name}"


def _state(checkpoint: Any) -> TrainerState:
    """What transformers noted about the run up to a checkpoint."""
    return TrainerState.load_from_json(str(_inner(checkpoint) / "trainer_state.json"))


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
