"""A teacher at work in a step: a frozen model's scores of every question with every passage of the block.

```
ids of the step's questions and passages -> the teacher's own token ids (its tokenizer, its lengths) -> live_QP
```

It comes to the loss by the hook between encoding and scoring (`Completed` in `mpr/training/_block.py`), as passages
that do not learn do, so it is asked about the passages that a step really has. It is in evaluation mode, without a
graph and without dropout: it has no state, a resumed run is the unbroken one, and what it is belongs to the run's
identity by the digest of its folder. With several processes each asks about its own rows; nobody looks at the others,
which are NaN.

Shapes: O own questions of this process, Q questions and P passages of the block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mpr import storage
from mpr.data import tokens
from mpr.data.dataset import Dataset
from mpr.data.token_batches import Side
from mpr.errors import DataError, NumbersError
from mpr.models import contract, late_interaction, lengths, locate
from mpr.models.kinds import KINDS
from mpr.models.lengths import Groups
from mpr.models.templates import Template
from mpr.models.towers import inner_products
from mpr.recipe import keys
from mpr.recipe.keys_towers import Towers
from mpr.search.inference import COMPUTE
from mpr.storage.ragged import Integers

AT_ONCE = 256  # texts encoded at a time: the vectors of all questions are kept, of passages those of one piece


@dataclass(frozen=True)
class Scorer:
    """A model that reads questions and passages apart, whatever it makes of them."""

    settings: Towers
    tokenizer: Any
    module: torch.nn.Module
    encoded: Callable[[str, Mapping[str, Tensor]], Any]
    """(`question` or `passage`, token ids with their mask) -> what these texts become."""
    compared: Callable[[Any, Any], Tensor]
    """Of questions and of passages -> the score of each with each."""

    @classmethod
    def opened(cls, folder: Path, groups: Groups = 1) -> Scorer:
        """A folder of either kind, every byte verified. `groups` as in `scale.groups`."""
        task = contract.task(folder)
        if task == keys.CROSS_ENCODER:
            what = "is a cross-encoder, which would have to read every passage of the step with every question"
            fix = "let a late-interaction model or a dual encoder teach, or store its scores (label `teacher`)"
            raise DataError(what, where=str(folder), key="labels.model", fix=fix)
        model, tokenizer, found = KINDS.get(task, KINDS[keys.DUAL_ENCODER]).load(folder)
        model.groups = groups
        if task == keys.LATE_INTERACTION:
            return cls(
                found.towers,
                tokenizer,
                model,
                lambda role, given: (model.vectors(given), given["attention_mask"].bool()),
                lambda question, passage: late_interaction.best_matches(*question, *passage),
            )
        sides = {"question": 0, "passage": 1}
        return cls(
            found.towers, tokenizer, model, lambda role, given: model(**{role: given})[sides[role]], inner_products
        )


@dataclass(frozen=True)
class StepTeacher:
    """Adds `live_QP` to a batch."""

    name: str
    scorer: Scorer
    questions: Side
    passages: Side
    rank: int
    device: torch.device
    compute: str

    @classmethod
    def of(cls, dataset: Dataset, rank: int, device: torch.device) -> StepTeacher | None:
        """The teacher of the dataset's recipe; None: it has none."""
        label = dataset.recipe.step_teacher
        if label is None:
            return None
        wanted = dataset.recipe.scale.groups
        groups: Groups = "auto" if wanted == keys.PACKED else wanted  # of what learns; a teacher may be of any family
        scorer = Scorer.opened(located(dataset), groups)
        scorer.module.to(device).requires_grad_(False)
        return cls(label.model, scorer, *_sides(dataset, scorer), rank, device, label.compute)

    def __call__(self, own_OD: Tensor, batch: Mapping[str, Any]) -> dict[str, Any]:
        question_Q, passage_P = batch["question_rows"], batch["passage_rows"]
        first = self.rank * len(own_OD) if len(question_Q) > len(own_OD) else 0
        own = slice(first, first + len(own_OD))
        scores_OP = self.scores(question_Q[own], passage_P)
        live_QP = scores_OP.new_full((len(question_Q), len(passage_P)), torch.nan)
        live_QP[own] = scores_OP
        return {**batch, "live_QP": live_QP}

    @torch.no_grad()
    def scores(self, question_N: Integers, passage_N: Integers) -> Tensor:
        """Of rows of the split with rows of its passages; PADDING has a score that means nothing."""
        with torch.autocast(self.device.type, COMPUTE[self.compute], enabled=self.compute != "float32"):
            questions = list(self._encoded("question", self.questions, question_N))
            passages = self._encoded("passage", self.passages, passage_N)  # a piece at a time: tokens have vectors each
            columns = [torch.cat([self.scorer.compared(one, part) for one in questions]) for part in passages]
        found_NN = torch.cat(columns, dim=1)
        if not torch.isfinite(found_NN).all():
            what = f"the live teacher '{self.name}' gives scores that are not-a-number or infinite"
            fix = "it is broken, or computes in too few bits: use compute: float32"
            raise NumbersError(what, key="labels.model", fix=fix)
        return found_NN

    def _encoded(self, role: str, side: Side, row_N: Integers) -> Iterator[Any]:
        """What the texts become, in pieces."""
        for start in range(0, len(row_N), AT_ONCE):
            texts = lengths.moved(side.tokens(row_N[start : start + AT_ONCE]), self.device)
            yield self.scorer.encoded(role, texts)


def _sides(dataset: Dataset, scorer: Scorer) -> tuple[Side, Side]:
    """How the texts of the training split become the teacher's token ids; made where they are not there yet."""
    settings, tokenizer = scorer.settings, scorer.tokenizer
    questions = tokens.of_questions(dataset.split("train"), settings, tokenizer, dataset.bar)
    passages = tokens.of_passages(dataset.passages_of("train"), settings, tokenizer, dataset.bar)
    template = Template.of(tokenizer)
    return Side.of(questions, template, settings, "question"), Side.of(passages, template, settings, "passage")


def located(dataset: Dataset) -> Path:
    """The folder of the teacher that the recipe names."""
    label, key = dataset.recipe.step_teacher, "labels.model"
    return locate.model_folder(label.model, dataset.home, dataset.models.stages, key=key, quiet=dataset.quiet)


def prepare(dataset: Dataset) -> dict[str, str]:
    """For the first process: the teacher can be opened, and its token ids are there. Its digest, if there is one."""
    if dataset.recipe.step_teacher is not None:
        _sides(dataset, Scorer.opened(located(dataset)))
    return model_digest(dataset)


def model_digest(dataset: Dataset) -> dict[str, str]:
    """Which model it is."""
    if dataset.recipe.step_teacher is None:
        return {}
    return {"model of the live teacher": storage.read_manifest(located(dataset)).digest}
