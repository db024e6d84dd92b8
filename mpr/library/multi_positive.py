"""Several positives of a question in the trainer of sentence-transformers: a collator and two losses.

```python
collator = MultiPositiveCollator(model.preprocess)
loss = MultiPositiveLoss(model, "lse_pair", temperature=0.05)
SentenceTransformerTrainer(model=model, args=args, train_dataset=rows, loss=loss, data_collator=collator).train()
```

A batch is a block of questions and *distinct* passages. The collator finds the distinct texts, has each of them encoded
once, and sends the relations along as the label: 1 positive, -1 negative, 0 ignored. A text that is a positive of the
question is never its negative, whatever row it came with; texts are compared by a hash that folds white space. Rows of
the same question ignore each other's passages. All other passages of the batch are negatives.

`CachedMultiPositiveLoss` is the same loss with a gradient cache (Gao et al. 2021, arXiv 2101.06983), by
sentence-transformers' own engine: memory is that of one mini-batch. In both, the passages of a batch are those of its
own process.

Shapes: Q questions, P passages of the block, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.losses.gradcache import CachedLossMixin
from sentence_transformers.base.losses.merged_forward import embed_columns
from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator
from torch import Tensor, nn
from torch.nn.functional import normalize

from mpr import objectives
from mpr.errors import RecipeError, nearest
from mpr.library._rows import Columns, Example
from mpr.records import text_hash

POSITIVE, IGNORED, NEGATIVE = 1, 0, -1
_OF_TRAINER = ("dataset_name",)  # a column that the trainer adds where there are several data sets


@dataclass
class MultiPositiveCollator(SentenceTransformerDataCollator):
    """Rows with any number of positives and negatives become one block of questions and distinct passages.

    The question is in a column `anchor`, `query` or `question`, else in the first one. Positives are in `positive`,
    `positive_1` ... or in a list called `positives` (or `pos`), negatives likewise. A cell that is None or empty is no
    passage, so rows may have different numbers. `prompts` go by the names of the data set's columns; that of passages
    is the prompt of the first column of positives.
    """

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        if not features:
            return {}
        columns = Columns.of([name for name in features[0] if name not in _OF_TRAINER])
        rows = [Example.of(feature, columns) for feature in features]
        questions, positives = [row.question for row in rows], [row.positives for row in rows]
        negatives = [row.negatives for row in rows]
        passages: dict[int, str] = {}
        for text in _in_order(positives, negatives):
            passages.setdefault(text_hash(text), text)
        place = {found: column for column, found in enumerate(passages)}
        batch: dict[str, Any] = {name: features[0][name] for name in _OF_TRAINER if name in features[0]}
        router, prompts = self._resolve_router_mapping(batch), self._resolve_prompts(batch) or {}
        sides = (("question", columns.question, questions), ("passage", columns.positives[0], list(passages.values())))
        for number, (side, column, texts) in enumerate(sides):
            task = self._get_task_for_column(column, number, router)
            prompt = self._get_prompt_for_column(prompts, column)
            for name, value in self.preprocess_fn(texts, prompt=prompt, task=task).items():
                batch[f"{side}_{name}"] = value
            if task is not None:
                batch[f"{side}_task"] = task
        owned = ([[place[text_hash(text)] for text in own] for own in side] for side in (positives, negatives))
        batch["label"] = _relations([text_hash(text) for text in questions], len(passages), *owned)
        return batch


def _relations(
    questions: Sequence[int], passages: int, positives: Sequence[Sequence[int]], negatives: Sequence[Sequence[int]]
) -> Tensor:
    """1, 0 or -1 for every question and passage, from the columns of each row's own."""
    relations_QP = torch.full((len(questions), passages), NEGATIVE, dtype=torch.int8)
    rows: dict[int, list[int]] = {}
    for row, question in enumerate(questions):
        rows.setdefault(question, []).append(row)
    for row, question in enumerate(questions):
        for other in rows[question]:
            relations_QP[row, list(positives[other])] = IGNORED
        relations_QP[row, list(negatives[row])] = NEGATIVE  # what the row itself calls a negative is one
        relations_QP[row, list(positives[row])] = POSITIVE
    return relations_QP


def _in_order(positives: Sequence[Sequence[str]], negatives: Sequence[Sequence[str]]) -> Iterator[str]:
    """First positives of all rows, second ones, and so on, then negatives: as columns stand in a batch."""
    for lists in (positives, negatives):
        for number in range(max(map(len, lists))):
            yield from (own[number] for own in lists if number < len(own))


class MultiPositiveLoss(nn.Module):
    """Any objective of mpr as a loss of sentence-transformers; goes with a `MultiPositiveCollator`.

    `objective` is a name of `mpr.objectives`, and `params` are its parameters. A name alone means what it means to
    `fit` and in a recipe of one's own: `lse_pair` is divided by the number of positives. With parameters, the others
    are at their defaults. The temperature is 0.05 for cosine similarity (a scale of 20) and 1 for the inner
    product, if none is given.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        objective: str = "lse_pair",
        *,
        similarity: Literal["cosine", "dot"] = "cosine",
        **params: Any,
    ) -> None:
        super().__init__()
        if similarity not in ("cosine", "dot"):
            hint = nearest(str(similarity), ("cosine", "dot"))
            raise RecipeError(f"'{similarity}' is not one of cosine, dot", key="similarity", fix=hint)
        params = params or objectives.when_named(objective)
        found = objectives.checked(objective, **{"temperature": 0.05 if similarity == "cosine" else 1.0, **params})
        if foreign := [name for name in getattr(found, "needs", ()) if name != "width"]:
            what = f"'{objective}' needs {', '.join(foreign)}, which these batches do not have"
            raise RecipeError(what, key="objective", fix="train it by a recipe, or choose an objective of scores alone")
        self.model, self.similarity, self.name, self.params = model, similarity, objective, found
        self.objective: Callable[..., tuple[Tensor, Tensor]] = objectives.bound(objective, found)

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None) -> Tensor:
        vectors = embed_columns(self.model, list(sentence_features))
        return self.compute_loss_from_embeddings(vectors, labels)

    def compute_loss_from_embeddings(self, embeddings: Sequence[Tensor], labels: Tensor | None) -> Tensor:
        """The loss of the vectors of questions and of passages."""
        shape = tuple(len(vectors) for vectors in embeddings)
        if labels is None or tuple(labels.shape) != shape:
            fix = "give the trainer data_collator=MultiPositiveCollator(model.preprocess)"
            raise RecipeError("the batch is no block of questions and passages", key="data_collator", fix=fix)
        question_QD, passage_PD = (each.float() if each.element_size() < 4 else each for each in embeddings)
        width = question_QD.shape[1]
        if self.similarity == "cosine":
            question_QD, passage_PD = normalize(question_QD), normalize(passage_PD)
        scores_QP = question_QD @ passage_PD.T
        sum_Q, weight_Q = self.objective(scores_QP, labels == POSITIVE, labels == NEGATIVE, width=width)
        return sum_Q.sum() / weight_Q.sum()

    def get_config_dict(self) -> dict[str, Any]:
        """For the model's card."""
        return {"objective": self.name, "similarity": self.similarity, **self.params.model_dump(mode="json")}


class CachedMultiPositiveLoss(CachedLossMixin, MultiPositiveLoss):
    """The same loss and gradients with the memory of `mini_batch_size` texts, at the price of a second forward."""

    def __init__(
        self,
        model: SentenceTransformer,
        objective: str = "lse_pair",
        *,
        similarity: Literal["cosine", "dot"] = "cosine",
        mini_batch_size: int = 32,
        mini_batch_num_tokens: int | None = None,
        show_progress_bar: bool = False,
        **params: Any,
    ) -> None:
        super().__init__(model, objective, similarity=similarity, **params)
        if mini_batch_size < 1:
            raise RecipeError(f"{mini_batch_size} is no number of texts", key="mini_batch_size", fix="1 or more")
        self.mini_batch_size, self.mini_batch_num_tokens = mini_batch_size, mini_batch_num_tokens
        self.show_progress_bar = show_progress_bar

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None) -> Tensor:
        return self.forward_cached(sentence_features, labels)

    def calculate_loss(
        self, reps: list[list[Tensor]], labels: Tensor | None = None, *, with_backward: bool = False
    ) -> Tensor:
        """From the vectors of all mini-batches; `with_backward` leaves their gradients in them."""
        loss = self.compute_loss_from_embeddings([torch.cat(side) for side in reps], labels)
        if with_backward:
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach()
        return loss

    def get_config_dict(self) -> dict[str, Any]:
        size = {"mini_batch_size": self.mini_batch_size, "mini_batch_num_tokens": self.mini_batch_num_tokens}
        return {**super().get_config_dict(), **size}
