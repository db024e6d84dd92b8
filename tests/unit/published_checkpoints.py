"""Small checkpoints in the layouts in which the real ones were published, as files for a Hub, and their vectors by the
libraries of their publishers.

`dpr`: facebook/dpr-*, one encoder a repository, a pickle of tensors with the pooler that newer code does not build.
`sentence`: a sentence-transformers repository as that library writes it. `ance`: castorini/ance-msmarco-passage, a
RoBERTa with a head under names of its own, a pickle, and no tokenizer.json.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules
from tokenizers import Tokenizer

from tests.unit.tiny_models import SMALL

Files = dict[str, bytes]


def files_of(folder: Path) -> Files:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pickled(tensors: dict[str, torch.Tensor]) -> bytes:
    out = io.BytesIO()
    torch.save(tensors, out)
    return out.getvalue()


def dpr(folder: Path, tokenizer: Any, projection: int = 0, positions: int = 64) -> tuple[Files, Files]:
    """Question and context encoder, as files; they lie in folders with the names of their classes too."""
    shape = {**SMALL, "max_position_embeddings": positions, "projection_dim": projection}
    made, hidden = [], SMALL["hidden_size"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        for name, prefix in (("DPRQuestionEncoder", "question_encoder"), ("DPRContextEncoder", "ctx_encoder")):
            config = transformers.DPRConfig(vocab_size=len(tokenizer), architectures=[name], **shape)
            model = getattr(transformers, name)(config)
            for parameter in model.parameters():
                parameter.data += 0.2 * torch.randn_like(parameter)
            model.save_pretrained(folder / name)
            weights = dict(model.state_dict())
            weights[f"{prefix}.bert_model.pooler.dense.weight"] = torch.randn(hidden, hidden)
            weights[f"{prefix}.bert_model.pooler.dense.bias"] = torch.randn(hidden)
            weights[f"{prefix}.bert_model.embeddings.position_ids"] = torch.arange(positions)[None]
            files = {"config.json": (folder / name / "config.json").read_bytes(), "README.md": b"# DPR"}
            files["pytorch_model.bin"] = pickled(weights)
            files["tokenizer.json"] = tokenizer.backend_tokenizer.to_str().encode()
            made.append(files)
    return made[0], made[1]


def opened_dpr(place: Path) -> Any:
    return getattr(transformers, place.name).from_pretrained(place).eval()


def by_dpr(place: Path, tokenizer: Any, texts: list[str], titles: list[str] | None, length: int) -> torch.Tensor:
    """As Pyserini and DPR do: the ids alone, so that all segments are 0."""
    first, second = (texts, None) if titles is None else (titles, texts)
    given = tokenizer(
        first, text_pair=second, max_length=length, truncation=True, padding="longest", return_tensors="pt"
    )
    with torch.no_grad():
        found: torch.Tensor = opened_dpr(place)(given["input_ids"]).pooler_output
    return found


def sentence(folder: Path, transformer: Path, pooling: str, *more: Any, length: int = 40) -> SentenceTransformer:
    """Saved into the folder by the library itself, and opened from there."""
    first = modules.Transformer(str(transformer), max_seq_length=length)
    chain = [first, modules.Pooling(first.get_embedding_dimension(), pooling_mode=pooling), *more]
    SentenceTransformer(modules=chain, device="cpu").save(str(folder))
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def dense(size: int, seed: int = 1) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return modules.Dense(SMALL["hidden_size"], size, activation_function=torch.nn.Identity())


class Ance(torch.nn.Module):
    """ANCE by hand: a linear layer and a layer norm on the first token of a RoBERTa."""

    def __init__(self, size: int, width: int, positions: int = 66) -> None:
        super().__init__()
        config = transformers.RobertaConfig(
            vocab_size=size, **SMALL, max_position_embeddings=positions, pad_token_id=1, type_vocab_size=1
        )
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(11)
            self.roberta = transformers.RobertaModel(config)  # with the pooler that its files hold too
            self.embeddingHead = torch.nn.Linear(SMALL["hidden_size"], width)
            self.norm = torch.nn.LayerNorm(width)
            for parameter in self.parameters():
                parameter.data += 0.2 * torch.randn_like(parameter)
        self.eval()

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        mask = (input_ids != 1).long()
        first = self.roberta(input_ids=input_ids, attention_mask=mask).last_hidden_state[:, 0]
        found: torch.Tensor = self.norm(self.embeddingHead(first))
        return found

    def files(self, tokenizer: Tokenizer) -> Files:
        """Weights under the names of the published file; vocabulary and merges instead of tokenizer.json. The mask is
        the last token there, so the model has a place more than the tokenizer here."""
        weights = {**self.state_dict(), "classifier.dense.weight": torch.zeros(2, 2)}
        model = json.loads(tokenizer.to_str())["model"]
        merges = "".join(f"{' '.join(pair) if isinstance(pair, list) else pair}\n" for pair in model["merges"])
        config = self.config.to_dict() | {"architectures": ["AnceEncoder"]}
        return {
            "config.json": json.dumps(config).encode(),
            "pytorch_model.bin": pickled(weights),
            "vocab.json": json.dumps({**model["vocab"], "<mask>": len(model["vocab"])}).encode(),
            "merges.txt": f"#version: 0.2\n{merges}".encode(),
            "tokenizer_config.json": json.dumps({"tokenizer_class": "RobertaTokenizer"}).encode(),
        }
