"""How to use a published model without mpr, as code for its card: with sentence-transformers, and with transformers.

The code is made from the model's contract, so that lengths, prompts, pooling and titles in it are those of training.
Tests run it as it stands in the card and compare the vectors with mpr's own.
"""

from __future__ import annotations

import json

from mpr.models.contract import ROLES, Contract
from mpr.runtime import markdown

_QUESTION = "who wrote the salt road"
_TITLE, _TEXT = "The Salt Road", "A novel that Ana Brel wrote in the north."


def sentence_transformers(repo: str, made: Contract) -> str:
    """With sentence-transformers: towers, pooling, lengths and prompts are read from the files."""
    passage, what = {
        "pair": (f"({_quoted(_TITLE)}, {_quoted(_TEXT)})", "(title, text), or text alone where there is no title"),
        "join": (_quoted(f"{_TITLE} {_TEXT}"), "title, a space, text"),
        "none": (_quoted(_TEXT), "text without a title"),
    }[made.towers.title]
    lines = ["from sentence_transformers import SentenceTransformer"]
    if made.weights == "adapter" and not made.towers.share:
        # Two towers with adapters: opened together, the base would be looked for in a sub-folder of its repository.
        lines = ["from huggingface_hub import snapshot_download", *lines, "", f'folder = snapshot_download("{repo}")']
        lines += [f'{name} = SentenceTransformer(f"{{folder}}/{name}_0_Transformer")' for name in ROLES.values()]
        model, encode_query, encode_document = "query", "query.encode", "document.encode"
    else:
        lines += ["", f'model = SentenceTransformer("{repo}")']
        model, encode_query, encode_document = "model", "model.encode_query", "model.encode_document"
    lines += [
        f"questions = {encode_query}([{_quoted(_QUESTION)}])",
        f"# a passage is {what}",
        f"passages = {encode_document}([{passage}])",
        f"print({model}.similarity(questions, passages))",
    ]
    return _code(lines)


def transformers(repo: str, made: Contract) -> str:
    """With transformers alone: everything that happens to a text is spelled out."""
    towers, prompt = made.towers, made.towers.passage_prompt
    texts = {
        "question": f"[{_asked(made)}]",
        "passage": {
            "pair": f"[{_quoted(prompt + _TITLE)}], [{_quoted(_TEXT)}]",
            "join": f"[{_quoted(f'{prompt}{_TITLE} {_TEXT}')}]",
            "none": f"[{_quoted(prompt + _TEXT)}]",
        }[towers.title],
    }
    dense = ", dense" if towers.projection else ""
    lines = ["import torch"]
    lines += ["from huggingface_hub import hf_hub_download"] if dense else []
    lines += ["from peft import PeftModel"] if any(is_adapted(made, role) for role in ROLES) else []
    lines += ["from safetensors.torch import load_file"] if dense else []
    lines += [
        "from transformers import AutoModel, AutoTokenizer",
        "",
        f'name = "{repo}"',
        "",
        *_encode(made, dense),
        "",
    ]
    for role, call in texts.items():
        if role == "question" or not towers.share:
            lines += _opened(made, role)
        lines.append(f"{role}s = encode(tokenizer, model{dense}, {getattr(towers, f'{role}_length')}, {call})")
    return _code([*lines, "print(questions @ passages.T)"])


def _asked(made: Contract) -> str:
    """The question as the model is given it, prompt included."""
    towers = made.towers
    if towers.question_apostrophe == "keep":
        return _quoted(towers.question_prompt + _QUESTION)
    straight = f'{_quoted(_QUESTION)}.replace("\u2019", "\'")'
    return f"{_quoted(towers.question_prompt)} + {straight}" if towers.question_prompt else straight


def unlike_sentence_transformers(made: Contract) -> str:
    """What sentence-transformers leaves out, in a sentence; empty where its vectors are those of training."""
    missing = []
    if made.towers.last_slot == "sep":
        missing.append("puts no special token into the last place of a padded text")
    if made.towers.question_apostrophe == "straight":
        missing.append("leaves the apostrophe \u2019 of a question as it is")
    if not missing:
        return ""
    return f"It {' and '.join(missing)}, so its vectors are near those of training and not equal."


def is_adapted(made: Contract, role: str) -> bool:
    """Whether a tower's weights are adapters that go on a base."""
    return made.weights == "adapter" and made.towers.lora is not None and made.towers.lora.towers in ("both", role)


def _encode(made: Contract, dense: str) -> list[str]:
    """The function from texts to vectors."""
    pooled = {
        "cls": ["    vectors = hidden[:, 0]"],
        "mean": [
            '    mask = batch["attention_mask"].unsqueeze(-1)',
            "    vectors = (hidden * mask).sum(1) / mask.sum(1)",
        ],
        "last": ['    vectors = hidden[torch.arange(len(hidden)), batch["attention_mask"].sum(1) - 1]'],
    }[made.towers.pooling]
    if dense:
        pooled.append('    vectors = vectors @ dense["linear.weight"].T + dense["linear.bias"]')
    by_end = made.towers.title == "pair" and made.towers.pair_cut == "end"
    cut = '"only_second" if len(texts) > 1 else True' if by_end else "True"
    padding, last = "True", []
    if made.towers.last_slot == "sep":
        padding = '"max_length"'
        last = ['    batch["input_ids"][:, -1], batch["attention_mask"][:, -1] = tokenizer.sep_token_id, 1']
    return [
        f"def encode(tokenizer, model{dense}, length, *texts):",
        f"    cut = {cut}",
        f'    batch = tokenizer(*texts, padding={padding}, truncation=cut, max_length=length, return_tensors="pt")',
        *last,
        "    with torch.no_grad():",
        "        hidden = model(**batch).last_hidden_state",
        *pooled,
        "    return torch.nn.functional.normalize(vectors)" if made.towers.normalize else "    return vectors",
        "",
    ]


def _opened(made: Contract, role: str) -> list[str]:
    """The lines that open a tower."""
    folder = "" if made.towers.share else f"{ROLES[role]}_0_Transformer"
    at = f', subfolder="{folder}"' if folder else ""
    lines = [f"tokenizer = AutoTokenizer.from_pretrained(name{at})"]
    base = made.question_base if role == "question" else made.passage_base
    if base is not None and is_adapted(made, role):
        at_base = f"{_quoted(base.name)}, revision={_quoted(base.revision or 'main')}"
        lines.append(f"base = AutoModel.from_pretrained({at_base})")
        lines.append(f"model = PeftModel.from_pretrained(base, name{at}).eval()")
    else:
        lines.append(f"model = AutoModel.from_pretrained(name{at}).eval()")
    if made.towers.projection:
        file = f"{folder}/2_Dense/model.safetensors" if folder else "2_Dense/model.safetensors"
        lines.append(f'dense = load_file(hf_hub_download(name, "{file}"))')
    return lines


def _quoted(text: str) -> str:
    """As Python and JSON both write it."""
    return json.dumps(text, ensure_ascii=False)


def _code(lines: list[str]) -> str:
    return markdown.block("python", lines)
