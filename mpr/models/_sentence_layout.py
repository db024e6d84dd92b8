"""The small files that make a folder of weights a model for sentence-transformers, and for the servers that read them.

Written in the style before sentence-transformers 5.4: short module names and pooling spelled out as one switch per
kind. Newer releases read it as well, text-embeddings-inference reads nothing else, and a vLLM that does not know the
new style pools in its own way without a word.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mpr.models.contract import ROLES
from mpr.recipe.keys_towers import Towers

_TYPE = "sentence_transformers.models."
SWITCHES = {  # every kind of pooling there is -> ours
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": None,
    "pooling_mode_mean_sqrt_len_tokens": None,
    "pooling_mode_weightedmean_tokens": None,
    "pooling_mode_lasttoken": "last",
}
Files = Iterator[tuple[str, bytes]]


@dataclass(frozen=True)
class Layout:
    """Where things lie, and the files that say so."""

    settings: Towers
    hidden: int
    """Size of the transformer's vectors, before any projection."""

    def place(self, role: str) -> str:
        """Folder of a tower's transformer, with a slash at its end; shared towers lie at the top."""
        return "" if self.settings.share else f"{ROLES[role]}_0_Transformer/"

    def chain(self) -> list[str]:
        """What follows the transformer."""
        projection = ["Dense"] if self.settings.projection is not None else []
        return ["Pooling", *projection, *(["Normalize"] if self.settings.normalize else [])]

    def projections(self, role: str) -> list[str]:
        """Every folder that needs the projection's weights: that of the tower alone, and that of the pair."""
        if self.settings.projection is None:
            return []
        alone = f"{self.place(role)}2_Dense/"
        return [alone] if self.settings.share else [alone, f"{ROLES[role]}_2_Dense/"]

    def files(self) -> Files:
        """All of them."""
        if self.settings.share:
            yield from self._alone("", None)
            return
        for role, name in ROLES.items():
            yield from self._alone(self.place(role), role)
            for number, kind in enumerate(self.chain(), 1):
                yield from self._module(f"{name}_{number}_{kind}/", kind)
        yield "modules.json", _json([_entry(0, "Router", "")])
        yield "router_config.json", _json(self._router())
        yield from self._prompts("", None)

    def _alone(self, place: str, role: str | None) -> Files:
        """A transformer with what follows it: a model in itself."""
        chain = self.chain()
        entries = [_entry(0, "Transformer", "")]
        entries += [_entry(number, kind, f"{number}_{kind}") for number, kind in enumerate(chain, 1)]
        yield f"{place}modules.json", _json(entries)
        yield f"{place}sentence_bert_config.json", _json(self._lengths(role))
        yield from self._prompts(place, role)
        for number, kind in enumerate(chain, 1):
            yield from self._module(f"{place}{number}_{kind}/", kind)

    def _lengths(self, role: str | None) -> dict[str, Any]:
        """Its one length, or the longer of both; the key for each is known from sentence-transformers 6.0 on."""
        question, passage = self.settings.question_length, self.settings.passage_length
        lengths = {"question": question, "passage": passage, None: max(question, passage)}
        found: dict[str, Any] = {"max_seq_length": lengths[role], "do_lower_case": False}
        if role is None and question != passage:
            found |= {"query_length": question, "document_length": passage}
        return found

    def _prompts(self, place: str, role: str | None) -> Files:
        """A tower that is opened alone puts its own prompt before everything."""
        prompts = {"query": self.settings.question_prompt, "document": self.settings.passage_prompt}
        content = {
            "prompts": prompts,
            "default_prompt_name": None if role is None else ROLES[role],
            "similarity_fn_name": "cosine" if self.settings.normalize else "dot",
        }
        yield f"{place}config_sentence_transformers.json", _json(content)

    def _module(self, place: str, kind: str) -> Files:
        if kind == "Pooling":
            switches = {name: ours == self.settings.pooling for name, ours in SWITCHES.items()}
            content = {"word_embedding_dimension": self.hidden, **switches, "include_prompt": True}
            yield f"{place}config.json", _json(content)
        elif kind == "Dense":
            identity = "torch.nn.modules.linear.Identity"
            sizes = {"in_features": self.hidden, "out_features": self.settings.projection, "bias": True}
            yield f"{place}config.json", _json({**sizes, "activation_function": identity})

    def _router(self) -> dict[str, Any]:
        structure = {
            name: [f"{name}_{number}_{kind}" for number, kind in enumerate(["Transformer", *self.chain()])]
            for name in ROLES.values()
        }
        types = {module: _TYPE + module.rpartition("_")[2] for modules in structure.values() for module in modules}
        return {"types": types, "structure": structure, "parameters": {"default_route": "document"}}


def _entry(number: int, kind: str, path: str) -> dict[str, Any]:
    return {"idx": number, "name": str(number), "path": path, "type": _TYPE + kind}


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
