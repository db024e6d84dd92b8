"""Scores that a cross-encoder gives to the pairs of a split that a label asks for, kept beside the split.

The pairs are what was proposed and known before any label acted, so that several labels which look at the same
candidates read one store. They are scored in chunks of questions; each chunk is a small committed store until all of
them become one, so a run that was stopped goes on where it was. Within a chunk the pairs are sorted by length and cut
into blocks that follow from the lengths alone (`mpr/search/padding.py`): the same bytes whatever memory there is. What
decides them besides (model, texts, pairs, precision, device) is in the receipt, and names the store.

Shapes: N pairs of a chunk, Q questions of a chunk.
"""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mpr import __version__, storage
from mpr.data import pair_scores, tokens
from mpr.data.pair_labels import Asked, Knowledge
from mpr.data.pair_scores import PairScores, Scored
from mpr.data.token_batches import PairTexts
from mpr.errors import NumbersError
from mpr.models import cross_encoder, locate
from mpr.models.cross_encoder import CrossEncoder
from mpr.models.templates import PairTemplate
from mpr.runtime.processes import Place
from mpr.runtime.progress import Progress
from mpr.search import encode
from mpr.search.inference import Worker
from mpr.search.padding import Constants, PaddingPlan
from mpr.sources import Ground
from mpr.storage.ragged import Integers

CHUNK = 1_000  # questions; part of the work, because it decides which pairs are scored together


def located(reference: str, ground: Ground) -> Path:
    """The folder of the cross-encoder that a recipe names: an earlier stage's, one here, or one of the Hub."""
    key = "labels.scores.cross_encoder"
    return locate.model_folder(reference, ground.home, ground.models, key=key, quiet=ground.quiet)


def scores_of(
    model: str, asked: Asked, known: Knowledge, ground: Ground, compute: str = "float32", chunk: int = CHUNK
) -> PairScores:
    """The store of the scores that this model gives, made where it is not there yet."""
    work = Scoring.of(located(model, ground), asked, known, ground, compute, chunk)
    group = ground.group
    with storage.missing(work.target) if group.place.rank == 0 else nullcontext():
        if not group.first(work.target.exists):
            work.make()
        group.first(work.tidy)
    return PairScores.open(work.target)


@dataclass(frozen=True)
class Scoring:
    """One model, one split, and the pairs that are asked for."""

    folder: Path
    """Of the model."""
    compute: str
    asked: Asked
    known: Knowledge
    ground: Ground
    target: Path
    receipt: dict[str, Any]

    @classmethod
    def of(
        cls, folder: Path, asked: Asked, known: Knowledge, ground: Ground, compute: str, chunk: int = CHUNK
    ) -> Scoring:
        device = torch.device(encode.device(Place.here())).type
        asked_of = hashlib.sha256()  # identity of all pairs, with those of one chunk in memory
        for start, end in _chunks(len(known.positives), chunk):
            asked_of.update(pair_scores.digest_of(known.asked(asked, start, end)).encode())
        receipt = {
            "model": storage.read_manifest(folder).digest,
            "questions": ground.questions.manifest.digest,
            "passages": ground.passages.manifest.digest,
            "windows": dict(asked.windows),
            "positives": asked.positives,
            "asked": asked_of.hexdigest(),
            "chunk": chunk,
            "compute": compute,
            "device": device,
            "plan": asdict(Constants.of(device)),
            "mpr": __version__,
        }
        split = ground.questions.folder
        target = split.with_name(f"{split.name}-scores-{storage.json_digest(receipt)[:8]}")
        return cls(folder, compute, asked, known, ground, target, receipt)

    def _part(self, first: int, last: int) -> Path:
        return self.target.with_name(f"{self.target.name}-parts") / f"{first}-{last}"

    def make(self) -> None:
        """Has the chunks scored that are not there yet, and puts all of them together."""
        group, chunks = self.ground.group, _chunks(len(self.ground.questions), int(self.receipt["chunk"]))
        missing = group.first(lambda: [chunk for chunk in chunks if not self._part(*chunk).exists()])
        if group.workers > 1:  # texts are tokenised once, not by everybody
            group.first(lambda: bool(replace(self)._opened))
        total = sum(last - first for first, last in group.share(missing))
        with self.ground.bar(f"questions scored by {self.folder.name}", total) as progress:
            for _ in group.map(self, missing, progress):
                pass  # a chunk is committed, and answers nothing
        group.first(lambda: self._merge(chunks))

    def result(self, chunk: tuple[int, int]) -> Path:
        return self._part(*chunk)

    def __call__(self, chunk: tuple[int, int], progress: Progress) -> None:
        first, last = chunk
        pair_scores.write(self._part(first, last), [self._scored(first, last)], self.receipt)
        progress(last - first)

    def _merge(self, chunks: list[tuple[int, int]]) -> None:
        pair_scores.merge(self.target, [PairScores.open(self._part(*chunk)) for chunk in chunks], self.receipt)

    def tidy(self) -> None:
        """Removes the chunks of a finished store."""
        storage.remove(self._part(0, 0).parent)

    def _scored(self, first: int, last: int) -> Scored:
        """The pairs of these questions with their scores."""
        question_N, passage_N = pair_scores.pairs_of(self.known.asked(self.asked, first, last))
        value_N = np.zeros(len(question_N), dtype=np.float32)
        if len(question_N):
            model, texts = self._opened
            pairs = TextPairs(texts, question_N, passage_N)
            device = encode.device(Place.here())
            plan = PaddingPlan.of(pairs.lengths(), Constants.of(torch.device(device).type))
            model.to(device)
            # A worker passes vectors on, and a score is a vector of one number.
            worker = Worker(lambda **given: model.score(**given)[:, None], pairs, device, self.compute)
            with worker.working():
                for number in range(plan.blocks):
                    block = plan.block(number)
                    value_N[block.rows] = worker(block)[:, 0]
        bad = np.flatnonzero(~np.isfinite(value_N))
        if len(bad):
            question = self.ground.questions[int(question_N[bad[0]])].id
            passage = self.ground.passages.ids([int(passage_N[bad[0]])])[0]
            what = f"not-a-number or infinity as the score of {len(bad):,} pairs, the first is passage {passage}"
            fix = "the model is broken, or computes in too few bits for it: look at this pair, or use compute: float32"
            raise NumbersError(f"{what} of question {question}", where=str(self.folder), key="labels.scores", fix=fix)
        return Scored(question_N, passage_N, value_N)

    @cached_property
    def _opened(self) -> tuple[CrossEncoder, PairTexts]:
        """The model; questions and passages as it was trained to read them."""
        model, tokenizer, found = cross_encoder.load(self.folder)
        questions = tokens.of_questions(self.ground.questions, found.towers, tokenizer, self.ground.bar)
        passages = tokens.of_passages(self.ground.passages, found.towers, tokenizer, self.ground.bar)
        template, sizes = PairTemplate.of(tokenizer), found.towers
        return model, PairTexts(questions, passages, template, sizes.question_length, sizes.passage_length)


@dataclass(frozen=True)
class TextPairs:
    """The pairs of a chunk by their numbers, as texts that a worker reads."""

    texts: PairTexts
    question_N: Integers
    passage_N: Integers

    @property
    def pad(self) -> int:
        return self.texts.template.pad

    def lengths(self) -> Integers:
        return self.texts.lengths(self.question_N, self.passage_N)

    def tokens(self, rows: Integers) -> dict[str, torch.Tensor]:
        return self.texts.tokens(self.question_N[rows], self.passage_N[rows])


def _chunks(questions: int, size: int) -> list[tuple[int, int]]:
    """First question of each chunk, and the first behind it."""
    return [(start, min(start + size, questions)) for start in range(0, questions, size)]
