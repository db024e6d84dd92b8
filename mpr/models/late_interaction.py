"""Late interaction: every token of a question looks for its best match among the tokens of a passage (ColBERT).

    score(q, p) = sum over the tokens i of q of max over the tokens j of p of <q_i, p_j>

One encoder reads questions and passages apart; a linear layer without bias may follow (`towers.projection`), and token
vectors may be scaled to length one (`towers.normalize`, ColBERT's cosine). So a step has a score for every question
with every passage of the block, as towers have, and the model can teach what a cross-encoder would take too long for.

All real tokens count, those that the tokenizer puts around a text included; padding never does. Khattab and Zaharia
(2020, arXiv 2004.12832) differ in three ways: they mark questions and passages by a token of their own, fill questions
up with [MASK] tokens that count, and leave out the punctuation of passages. TAS-B's teacher does none of the three.

Vectors and scores are in 32 bits whatever the transformer computes in, and a score does not depend on what else is in
the batch.

The folder has an encoder that transformers opens unchanged, and its projection beside it:

```
config.json, model.safetensors             the encoder
projection.safetensors                     `linear.weight`, the layer behind it, under the name that ColBERT gives it
tokenizer.json, tokenizer_config.json
mpr.json, manifest.json                    the contract: task, lengths, prompts, titles, tokenizer
```

Shapes: Q questions and P passages of the block, N texts, L and M tokens, W size of a token's vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from mpr import storage
from mpr.errors import DataError
from mpr.models import contract, lengths, pretrained, towers, weight_files
from mpr.models.contract import Base, ScorerContract
from mpr.models.lengths import Groups, Tokens
from mpr.models.templates import tokenizer_files
from mpr.models.towers import inner_products
from mpr.recipe import keys_towers, rules
from mpr.recipe.keys import LATE_INTERACTION
from mpr.runtime.progress import ours_alone

PUBLISHED = "linear.weight"  # the projection in ColBERT's own checkpoints, beside the weights of its encoder
PROJECTION = "projection.safetensors"


class TokenContract(ScorerContract):
    """What training fixed of a late-interaction model."""

    task: Literal["late_interaction"] = "late_interaction"


class LateInteraction(towers.Recomputing, torch.nn.Module):
    """`groups`: texts of a side are encoded in at most so many groups of similar length (mpr/models/lengths.py)."""

    def __init__(
        self,
        settings: keys_towers.Towers,
        backbone: Any,
        projection: torch.nn.Linear | None,
        base: Base | None = None,
        groups: Groups = 1,
    ) -> None:
        super().__init__()
        self.settings, self.base, self.groups = settings, base, groups
        self.backbone, self.projection = backbone, projection

    def forward(self, question: Tokens, passage: Tokens) -> Tensor:
        """The score of every question with every passage."""
        sides = [(self.vectors(side), side["attention_mask"].bool()) for side in (question, passage)]
        return best_matches(*sides[0], *sides[1])

    def vectors(self, tokens: Tokens) -> Tensor:
        """A vector of every token, as wide as the batch; those of padding mean nothing."""
        width = tokens["attention_mask"].shape[1]
        most = lengths.budget(self.groups, tokens["input_ids"].device, self.backbone.config.hidden_size)
        return lengths.encode(partial(self._encoded, width), tokens, *most)

    def _encoded(self, width: int, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden_NLD = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        with torch.autocast(hidden_NLD.device.type, enabled=False):
            vectors_NLW = hidden_NLD.to(torch.promote_types(hidden_NLD.dtype, torch.float32))
            if self.projection is not None:
                vectors_NLW = functional.linear(vectors_NLW, self.projection.weight.to(vectors_NLW.dtype))
            if self.settings.normalize:
                vectors_NLW = functional.normalize(vectors_NLW, dim=-1)
            return functional.pad(vectors_NLW, (0, 0, 0, width - vectors_NLW.shape[1]))

    def recomputed(self) -> list[Any]:
        return [self.backbone]


def best_matches(question_QLW: Tensor, real_QL: Tensor, passage_PMW: Tensor, real_PM: Tensor) -> Tensor:
    """The score of every question with every passage; `real` tells tokens from padding.

    One question after the other: the products of all tokens with all tokens would be the largest tensor of a step.
    """
    scores = []
    for question_LW, real_L in zip(question_QLW, real_QL, strict=True):
        products_LN = inner_products(question_LW, passage_PMW.flatten(0, 1))
        products_LPM = products_LN.view(len(real_L), *real_PM.shape).masked_fill(~real_PM, -torch.inf)
        best_LP = products_LPM.max(dim=2).values
        scores.append(best_LP.masked_fill(~real_L[:, None], 0.0).sum(dim=0))
    return torch.stack(scores)


def build(settings: keys_towers.Towers, tokenizer: Any, seed: int, groups: Groups = 1) -> LateInteraction:
    """The model of a recipe, ready to learn. `tokenizer` is the `tokenizers.Tokenizer` of mpr/data/_vocabulary.py.

    The projection is the base's own where that is a published ColBERT, and otherwise a function of the seed alone.
    """
    towers.refuse_first(rules.of_task(settings, LATE_INTERACTION))
    with torch.random.fork_rng(devices=[]):
        base = projection = None
        if settings.new is not None:
            backbone = towers.blank(settings, settings.new, tokenizer, seed)
        else:
            found = pretrained.load(str(settings.base), settings.revision)
            if found.projection is not None:
                what = f"'{found.base.name}' ends with a projection of whole texts"
                raise DataError(what, key="towers.base", fix="use another base")
            towers.refuse_other_tokenizer(found, tokenizer, "towers.base")
            backbone, base, projection = found.model, found.base, _published(found, settings)
        towers.refuse_misfit(settings, backbone, tokenizer)
        if projection is None and settings.projection is not None:
            towers.draw_from(seed, "projection")
            projection = torch.nn.Linear(backbone.config.hidden_size, settings.projection, bias=False)
    return LateInteraction(settings, backbone, projection, base, groups).train()


def _published(found: pretrained.Pretrained, settings: keys_towers.Towers) -> torch.nn.Linear | None:
    """The projection that a ColBERT checkpoint brings along."""
    weight_WD = weight_files.tensors(found.folder, [PUBLISHED]).get(PUBLISHED)
    if weight_WD is None:
        return None
    hidden = found.model.config.hidden_size
    if weight_WD.dim() != 2 or weight_WD.shape[1] != hidden:
        what = f"{PUBLISHED} has the shape {tuple(weight_WD.shape)}, the encoder's vectors have {hidden} numbers"
        raise DataError(what, where=str(found.folder), key="towers.base", fix="use another base")
    if settings.projection != len(weight_WD):
        raise towers.other_projection(len(weight_WD), settings)
    return linear(weight_WD)


def linear(weight_WD: Tensor) -> torch.nn.Linear:
    """A projection of these weights."""
    made = torch.nn.Linear(weight_WD.shape[1], weight_WD.shape[0], bias=False, device="meta")  # nothing is drawn for it
    made.weight = torch.nn.Parameter(weight_WD)
    return made


def write(target: Path, model: LateInteraction, tokenizer: Any, receipt: Mapping[str, Any] | None = None) -> None:
    """Commits a model folder."""
    length = max(model.settings.question_length, model.settings.passage_length)
    with storage.stage(target, contract.KIND, receipt) as stage:
        with ours_alone():
            model.backbone.save_pretrained(stage.folder)
        if model.projection is not None:
            pretrained.save_tensors({PUBLISHED: model.projection.weight}, stage, PROJECTION)
        for name, data in tokenizer_files(tokenizer, length):
            stage.write(name, data)
        stage.write(contract.FILE, TokenContract.of(model.settings, model.base, tokenizer).to_bytes())


def load(folder: Path) -> tuple[LateInteraction, Any, TokenContract]:
    """Model, tokenizer and contract of a folder, every byte verified, for scoring."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    storage.verify(folder, contract.KIND)
    found = contract.parsed(TokenContract, folder, LATE_INTERACTION)
    with torch.random.fork_rng(devices=[]):  # what is about to be filled is drawn first
        backbone = pretrained.opened(folder)
    wanted, projection = found.towers.projection, None
    if wanted is not None:
        where, fix = str(folder / PROJECTION), "restore the folder"
        try:
            projection = linear(load_file(folder / PROJECTION)[PUBLISHED])
        except (SafetensorError, KeyError, OSError) as error:
            raise DataError(f"is not the projection of this model: {error}", where=where, fix=fix) from error
        if projection.weight.shape != (wanted, backbone.config.hidden_size):
            what = f"has the shape {tuple(projection.weight.shape)}, the contract says {wanted} numbers a token"
            raise DataError(what, where=where, fix=fix)
    tokenizer = found.opened_tokenizer(folder)
    return LateInteraction(found.towers, backbone, projection, found.base).eval(), tokenizer, found
