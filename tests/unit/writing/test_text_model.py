"""Writers on this machine: tiny models of both kinds. What they write is nonsense; the path is real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from mpr import writing
from mpr.errors import DataError, RecipeError
from mpr.writing import _text_model
from tests.conftest import Examined

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

WORDS = ["<pad>", "</s>", "<unk>", *(f"w{number}" for number in range(40)), "yes", "no", "user"]
FRAMED = "{% for m in messages %}user {{ m.content }} {% endfor %}{% if add_generation_prompt %}w0{% endif %}"


def small(folder: Path, kind: str, template: str | None = None) -> Path:
    """A T5 or a GPT-2 of a few kilobytes, with a tokenizer of words."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({word: row for row, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    if template is not None:
        fast.chat_template = template
    fast.save_pretrained(folder)
    torch.manual_seed(5)
    special = {"vocab_size": len(WORDS), "pad_token_id": 0, "eos_token_id": 1}
    if kind == "t5":
        sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
        shape = transformers.T5Config(**sizes, **special, decoder_start_token_id=0)
        model: Any = transformers.T5ForConditionalGeneration(shape)
    else:
        shape = transformers.GPT2Config(n_embd=16, n_layer=1, n_head=2, n_positions=64, bos_token_id=1, **special)
        model = transformers.GPT2LMHeadModel(shape)
    for weights in model.parameters():  # from the default range every text is the same
        if weights.dim() > 1:
            torch.nn.init.normal_(weights, std=0.6)
    model.save_pretrained(folder)
    return folder


def made(folder: Path, **more: Any) -> _text_model.Writer:
    settings = {"kind": "model", "model": str(folder), "length": 40, "tokens": 6, "batch": 3, "chat": False}
    return _text_model.Writer(_text_model.Settings(**{**settings, **more}))


def written(one: _text_model.Writer, prompts: list[str]) -> list[str]:
    return [reply.text for arrived in one(prompts) for _, reply in arrived]


PROMPTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9 w10", "w1 w2 w3", "yes no w11"]


@pytest.mark.parametrize("kind", ["t5", "gpt2"])
def test_greedy_is_transformers_own_for_one_text_at_a_time(tmp_path: Path, kind: str, examined: Examined) -> None:
    """Against a plain loop that takes the most probable token of a single text, without padding or cache."""
    folder = small(tmp_path / kind, kind)
    found = written(made(folder), PROMPTS)
    auto = transformers.AutoModelForSeq2SeqLM if kind == "t5" else transformers.AutoModelForCausalLM
    model, tokenizer = auto.from_pretrained(folder).eval(), transformers.AutoTokenizer.from_pretrained(folder)
    for prompt, text in zip(PROMPTS, found, strict=True):
        ids, said = tokenizer(prompt, return_tensors="pt").input_ids, []
        for _ in range(6):
            with torch.no_grad():
                if kind == "t5":
                    logits = model(input_ids=ids, decoder_input_ids=torch.tensor([[0, *said]])).logits
                else:
                    logits = model(input_ids=torch.cat([ids, torch.tensor([said], dtype=torch.long)], 1)).logits
            said.append(int(logits[0, -1].argmax()))
            if said[-1] == 1:
                break
        assert text == tokenizer.decode(said, skip_special_tokens=True).strip()
    assert found[0] == found[3]
    examined(len(set(found)), "different texts", at_least=3)


@pytest.mark.parametrize("kind", ["t5", "gpt2"])
def test_batches_change_nothing_and_sampling_is_a_function_of_seed_and_prompt(tmp_path: Path, kind: str) -> None:
    folder = small(tmp_path / kind, kind)
    assert written(made(folder, batch=1), PROMPTS) == written(made(folder, batch=5), PROMPTS)
    drawn = {"temperature": 1.5, "top_p": 1.0, "seed": 3}
    first = written(made(folder, sample=_text_model.Sampling(**drawn)), PROMPTS)
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    again = written(made(folder, sample=_text_model.Sampling(**drawn), batch=1), PROMPTS[::-1])[::-1]
    assert first == again
    assert torch.equal(before, torch.random.get_rng_state())  # other dice are left alone
    other = written(made(folder, sample=_text_model.Sampling(**(drawn | {"seed": 4}))), PROMPTS)
    assert other != first != written(made(folder), PROMPTS)


def test_origin_names_the_weights_and_not_the_place(tmp_path: Path) -> None:
    one, two = small(tmp_path / "a" / "same", "gpt2"), small(tmp_path / "b" / "same", "gpt2")
    assert made(one).origin == made(two, batch=1, length=50).origin
    assert str(tmp_path) not in str(made(one).origin)
    assert made(one, tokens=7).origin != made(one).origin
    other = small(tmp_path / "c" / "same", "t5")
    assert made(other).origin != made(one).origin


def test_cut_off_and_ended(tmp_path: Path) -> None:
    one = made(small(tmp_path / "m", "gpt2"))
    ended = one._reply([5, 6, 1, 0, 0])
    assert (ended.text, ended.cut) == ("w2 w3", False)
    assert one._reply([5, 6, 7]).cut
    pair = made(small(tmp_path / "p", "t5"))
    assert pair._reply([0, 5, 1]).text == "w2"


def test_conversation(tmp_path: Path) -> None:
    talking = made(small(tmp_path / "talks", "gpt2", FRAMED), chat=True)
    assert [WORDS[token] for token in talking._ids("w7 w8")] == ["user", "w7", "w8", "w0"]
    with pytest.raises(RecipeError, match="no form of conversation"):
        written(made(small(tmp_path / "plain", "gpt2"), chat=True), ["w1"])


def test_refusals(tmp_path: Path) -> None:
    folder = small(tmp_path / "m", "gpt2")
    with pytest.raises(DataError, match="a prompt has 41 tokens, not 1 to 40: 'w1 w1"):
        written(made(folder), ["w1 " * 41])
    with pytest.raises(RecipeError, match="is no folder here, and as a repository it is not pinned"):
        made(tmp_path / "nowhere")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(DataError, match="has its weights in a pickle"):
        made(folder).origin  # noqa: B018
    encoder = tmp_path / "encoder"
    small(encoder, "gpt2")
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    transformers.BertModel(config).save_pretrained(encoder)
    with pytest.raises(DataError, match=r"lacks .* weights of a language model"):
        written(made(encoder), ["w1"])


def test_settings_are_read_as_strictly_as_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "writer.yaml"
    path.write_text("kind: chat\nendpoint: https://host.example/v1\nmodel: small\ntokens: 8\n")
    assert writing.of(path).origin == {"kind": "chat", "model": "small", "tokens": 8, "temperature": 0.0}
    path.write_text("kind: chat\nendpoint: https://host.example/v1\nmodel: small\ntokens: 0\nkeys: X\n")
    with pytest.raises(RecipeError) as caught:
        writing.of(path)
    assert {(one.where, one.key) for one in caught.value.problems} == {(f"{path}:4", "tokens"), (f"{path}:5", "keys")}
    path.write_text("kind: telegraph\n")
    with pytest.raises(RecipeError, match="telegraph"):
        writing.of(path)
    folder = small(tmp_path / "m", "gpt2")
    path.write_text(f"kind: model\nmodel: {folder}\nlength: 9\ntokens: 2\nbatch: 1\nchat: false\n")
    assert written(writing.of(path), ["w1"])  # type: ignore[arg-type]
