"""Small encoders from random weights, of several families, saved the way published ones are; and towers on them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from mpr.data import tokens
from mpr.data.token_batches import Side
from mpr.data.tokens import passage_texts
from mpr.models.templates import Template
from mpr.models.towers import DualEncoder
from mpr.recipe import keys_towers
from mpr.records import Passage
from tests.unit.framings import FRAMINGS

NEW = {"layers": 2, "width": 32, "heads": 2, "feed_forward": 64, "vocabulary": 300}
SETTINGS: dict[str, Any] = {
    "new": NEW,
    "share": True,
    "pooling": "mean",
    "normalize": False,
    "title": "pair",
    "question_length": 24,
    "passage_length": 40,
}
LORA = {"rank": 4, "alpha": 8, "dropout": 0.0, "modules": ("query", "value")}
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
DROPOUT = 0.1

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()


def settings(**changes: Any) -> keys_towers.Towers:
    """Towers of a recipe; naming a base takes `new` away."""
    content = SETTINGS | ({"new": None} if "base" in changes else {}) | changes
    return keys_towers.Towers.model_validate(content)


def bert_config(tokenizer: Any, **changes: Any) -> Any:
    return transformers.BertConfig(**{"vocab_size": len(tokenizer), **SMALL, "max_position_embeddings": 64, **changes})


def _distilbert(size: int) -> Any:
    return transformers.DistilBertConfig(
        vocab_size=size, dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=64
    )


def _qwen(size: int) -> Any:
    return transformers.Qwen3Config(
        vocab_size=size, **SMALL, num_key_value_heads=2, head_dim=16, max_position_embeddings=64
    )


FAMILIES: dict[str, tuple[str, Any]] = {  # name -> the framing of its tokenizer, its configuration
    "bert": ("bert", lambda size: transformers.BertConfig(vocab_size=size, **SMALL, max_position_embeddings=64)),
    "roberta": (
        "roberta",
        lambda size: transformers.RobertaConfig(vocab_size=size, **SMALL, max_position_embeddings=66, pad_token_id=1),
    ),
    "distilbert": ("bert", _distilbert),
    "mpnet": (
        "roberta",
        lambda size: transformers.MPNetConfig(vocab_size=size, **SMALL, max_position_embeddings=66, pad_token_id=1),
    ),
    "electra": (
        "bert",
        lambda size: transformers.ElectraConfig(
            vocab_size=size, **SMALL, embedding_size=16, max_position_embeddings=64
        ),
    ),
    "modernbert": (
        "bert",
        lambda size: transformers.ModernBertConfig(
            vocab_size=size, **SMALL, max_position_embeddings=64, pad_token_id=0, local_attention=8
        ),
    ),
    "qwen3": ("ending", _qwen),
}


def published(folder: Path, family: str = "bert", seed: int = 0, dtype: torch.dtype = torch.float32) -> Path:
    """A folder as it is found on the Hub: configuration, safetensors, tokenizer."""
    framing, config = FAMILIES[family]
    tokenizer = FRAMINGS[framing]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.AutoModel.from_config(config(len(tokenizer)))
        for parameter in model.parameters():  # random weights of this size hardly move; biases would all be zero
            parameter.data += 0.2 * torch.randn_like(parameter)
    model.to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def without_dropout(folder: Path) -> Path:
    """Switches dropout off in a published folder: its random masks differ between trainers, and in chunks."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return folder


def dpr_pair(folder: Path, projection: int = 0) -> tuple[Path, Path]:
    """DPR's question and context encoder as `facebook/dpr-*` publishes them."""
    tokenizer = FRAMINGS["bert"]()
    config = transformers.DPRConfig(
        vocab_size=len(tokenizer), **SMALL, max_position_embeddings=64, projection_dim=projection
    )
    folders = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        for name in ("DPRQuestionEncoder", "DPRContextEncoder"):
            model = getattr(transformers, name)(config)
            for parameter in model.parameters():
                parameter.data += 0.2 * torch.randn_like(parameter)
            folders.append(folder / name)
            model.save_pretrained(folders[-1])
            tokenizer.save_pretrained(folders[-1])
    return folders[0], folders[1]


def tokenizer_of(family: str) -> Any:
    """What the kit itself works with."""
    return FRAMINGS[FAMILIES[family][0]]().backend_tokenizer


def batch(rows: list[list[int]], left: bool = False, pad: int = 0) -> dict[str, torch.Tensor]:
    """Ids and mask, padded on the right or on the left."""
    width = max(map(len, rows))
    ids, mask = torch.full((len(rows), width), pad), torch.zeros((len(rows), width), dtype=torch.long)
    for number, row in enumerate(rows):
        start = width - len(row) if left else 0
        ids[number, start : start + len(row)] = torch.tensor(row)
        mask[number, start : start + len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def random_rows(size: int, count: int = 8, longest: int = 24, seed: int = 3) -> list[list[int]]:
    """Token ids of texts of many lengths."""
    dice = np.random.default_rng(seed)
    return [dice.integers(5, size, dice.integers(1, longest + 1)).tolist() for _ in range(count)]


def vectors(
    towers: DualEncoder, tokenizer: Any, folder: Path, questions: list[str], passages: list[tuple[str, str]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors by the way that training and encoding go: token store, collator, towers."""
    wanted = towers.settings
    known = [Passage(str(row), text, title) for row, (title, text) in enumerate(passages)]
    sides = {
        "question": [("", wanted.question_prompt + text) for text in questions],
        "passage": list(passage_texts(iter(known), wanted.title, wanted.passage_prompt)),
    }
    found = {}
    for role, pairs in sides.items():
        cap = max(64, wanted.question_length, wanted.passage_length)
        store = tokens.build(folder / role, pairs, tokenizer, cap=cap, receipt={})
        inputs = Side.of(store, Template.of(tokenizer), wanted, role).tokens(np.arange(len(pairs)))
        with torch.no_grad():
            question, passage = towers(**{role: inputs})
        found[role] = question if role == "question" else passage
    return found["question"], found["passage"]


def random_states() -> tuple[Any, ...]:
    """Of every global generator."""
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[union-attr, index]


def difference(one: Any, other: Any) -> float:
    """Largest difference between two arrays of vectors, which must have one shape."""
    one, other = (torch.as_tensor(each, dtype=torch.float64).detach() for each in (one, other))
    assert one.shape == other.shape
    return float((one - other).abs().max())


def moved(built: DualEncoder) -> DualEncoder:
    """Everything that learns elsewhere than at the start, and both towers different from one another, so that a part
    that is left off would be noticed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        for _, parameter in built.trainable():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return built.eval()


def drawn_by_seed(built: Callable[[int], torch.nn.Module]) -> set[str]:
    """Tensors in which models of two seeds differ. Of one seed they are equal, and nobody else's dice are touched."""
    before = random_states()
    one = built(1)
    assert random_states() == before
    torch.manual_seed(99)
    states = [model.state_dict() for model in (one, built(1), built(2))]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    return {name for name in states[0] if not torch.equal(states[0][name], states[2][name])}
