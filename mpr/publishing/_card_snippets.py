"""How to use a published model without mpr, as code for its card: with sentence-transformers, and with transformers.

The code is made from the model's contract, so that lengths, prompts, pooling and titles in it are those of training.
Tests run it as it stands in the card and compare the vectors with mpr's own.
"""

from __future__ import annotations

import json

from mpr.models.contract import ROLES, Base, Contract

_QUESTION = "who wrote the salt road"
_TITLE, _TEXT = "The Salt Road", "A novel that Ana Brel wrote in the north."


def sentence_transformers(repo: str, made: Contract) -> str:
    """With sentence-transformers: towers, pooling, lengths and prompts are read from the files."""
    example, what = _example(made)
    lines = ["from sentence_transformers import SentenceTransformer"]
    calls = ("model.encode_query", "model.encode_document")
    if _apart(made):
        lines = ["from huggingface_hub import snapshot_download", *lines, "", f'folder = snapshot_download("{repo}")']
        lines += [f'{name} = SentenceTransformer(f"{{folder}}/{name}_0_Transformer")' for name in ROLES.values()]
        calls = ("query.encode", "document.encode")
    else:
        lines += ["", f'model = SentenceTransformer("{repo}")']
    model = calls[0].partition(".")[0]
    return _code(
        *lines,
        f"questions = {calls[0]}([{_quoted(_QUESTION)}])",
        f"# a passage is {what}",
        f"passages = {calls[1]}([{example}])",
        f"print({model}.similarity(questions, passages))",
    )


def transformers(repo: str, made: Contract) -> str:
    """With transformers alone: everything that happens to a text is spelled out."""
    lines = [
        "import torch",
        *(["from huggingface_hub import hf_hub_download"] if made.towers.projection else []),
        *(["from peft import PeftModel"] if any(_adapter(made, role) for role in ROLES) else []),
        *(["from safetensors.torch import load_file"] if made.towers.projection else []),
        "from transformers import AutoModel, AutoTokenizer",
        "",
        f'name = "{repo}"',
        "",
        *_encode(made),
        "",
    ]
    for role, call in (("question", _question_texts(made)), ("passage", _passage_texts(made))):
        if role == "question" or not made.towers.share:
            lines += _opened(made, role)
        length = getattr(made.towers, f"{role}_length")
        lines.append(f"{role}s = encode(tokenizer, model{_dense(made)}, {length}, {call})")
    return _code(*lines, "print(questions @ passages.T)")


def _apart(made: Contract) -> bool:
    """Two towers with adapters: opened together, the base would be looked for in a sub-folder of its repository."""
    return made.weights == "adapter" and not made.towers.share


def _example(made: Contract) -> tuple[str, str]:
    """A passage as sentence-transformers takes it, and in words."""
    return {
        "pair": (f"({_quoted(_TITLE)}, {_quoted(_TEXT)})", "(title, text), or text alone where there is no title"),
        "join": (_quoted(f"{_TITLE} {_TEXT}"), "title, a space, text"),
        "none": (_quoted(_TEXT), "text without a title"),
    }[made.towers.title]


def _question_texts(made: Contract) -> str:
    return f"[{_quoted(made.towers.question_prompt + _QUESTION)}]"


def _passage_texts(made: Contract) -> str:
    prompt = made.towers.passage_prompt
    return {
        "pair": f"[{_quoted(prompt + _TITLE)}], [{_quoted(_TEXT)}]",
        "join": f"[{_quoted(f'{prompt}{_TITLE} {_TEXT}')}]",
        "none": f"[{_quoted(prompt + _TEXT)}]",
    }[made.towers.title]


def _encode(made: Contract) -> list[str]:
    """The function from texts to vectors."""
    pooled = {
        "cls": ["    vectors = hidden[:, 0]"],
        "mean": [
            '    mask = batch["attention_mask"].unsqueeze(-1)',
            "    vectors = (hidden * mask).sum(1) / mask.sum(1)",
        ],
        "last": ['    vectors = hidden[torch.arange(len(hidden)), batch["attention_mask"].sum(1) - 1]'],
    }[made.towers.pooling]
    projected = ['    vectors = vectors @ dense["linear.weight"].T + dense["linear.bias"]']
    cut = '"only_second" if len(texts) > 1 else True' if made.towers.title == "pair" else "True"
    return [
        f"def encode(tokenizer, model{', dense' if made.towers.projection else ''}, length, *texts):",
        f"    cut = {cut}",
        '    batch = tokenizer(*texts, padding=True, truncation=cut, max_length=length, return_tensors="pt")',
        "    with torch.no_grad():",
        "        hidden = model(**batch).last_hidden_state",
        *pooled,
        *(projected if made.towers.projection else []),
        "    return torch.nn.functional.normalize(vectors)" if made.towers.normalize else "    return vectors",
        "",
    ]


def _dense(made: Contract) -> str:
    return ", dense" if made.towers.projection else ""


def _adapter(made: Contract, role: str) -> Base | None:
    """The base that a tower's adapters go on; None for a tower that is whole."""
    if made.weights != "adapter" or made.towers.lora is None or made.towers.lora.towers not in ("both", role):
        return None
    return made.question_base if role == "question" else made.passage_base


def _opened(made: Contract, role: str) -> list[str]:
    folder = "" if made.towers.share else f"{ROLES[role]}_0_Transformer"
    at = f', subfolder="{folder}"' if folder else ""
    lines = [f"tokenizer = AutoTokenizer.from_pretrained(name{at})"]
    base = _adapter(made, role)
    if base is None:
        lines.append(f"model = AutoModel.from_pretrained(name{at}).eval()")
    else:
        at_base = f"{_quoted(base.name)}, revision={_quoted(base.revision or 'main')}"
        lines.append(f"base = AutoModel.from_pretrained({at_base})")
        lines.append(f"model = PeftModel.from_pretrained(base, name{at}).eval()")
    if made.towers.projection:
        file = f"{folder}/2_Dense/model.safetensors" if folder else "2_Dense/model.safetensors"
        lines.append(f'dense = load_file(hf_hub_download(name, "{file}"))')
    return lines


def _quoted(text: str) -> str:
    """As Python and JSON both write it."""
    return json.dumps(text, ensure_ascii=False)


def _code(*lines: str) -> str:
    return "\n".join(("```python", *lines, "```"))
