"""A writer on this machine: any encoder-decoder or causal language model that transformers knows.

The weights are safetensors, code of a repository is never run, and generation settings of a repository are not read:
lengths and sampling are those of the settings here. Greedy decoding takes prompts in batches, made of the list of
prompts alone. A sampled answer is a function of seed and prompt, one prompt at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from mpr.catalogue import Parameters
from mpr.errors import DataError, RecipeError, excerpt
from mpr.records import stable_hash
from mpr.runtime.progress import ours_alone
from mpr.writing._transcript import Answered, Reply

_MORE = ("tokenizer_config.json", "chat_template.jinja")  # besides what an encoder is read from


class Sampling(Parameters):
    """Drawn answers instead of the most probable one."""

    temperature: Annotated[float, Field(gt=0.0)]
    """Divides the scores."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0)]
    """The most probable tokens that together have this share; 1: all."""
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    """Another seed is another answer."""


class Settings(Parameters):
    """Which model, and how it writes."""

    kind: Literal["model"]
    """A model on this machine."""
    model: Annotated[str, Field(min_length=1)]
    """A folder, or a repository of the Hub."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    """Commit of the repository."""
    length: Annotated[int, Field(ge=4)]
    """Tokens of a prompt; a longer one is refused, or its passages would be cut unseen."""
    tokens: Annotated[int, Field(ge=1)]
    """Longest answer."""
    batch: Annotated[int, Field(ge=1)]
    """Prompts at once, where nothing is sampled."""
    chat: bool
    """The prompt becomes the first message of a conversation, in the model's own form."""
    sample: Sampling | None = None
    """null: the most probable answer, token by token."""


class Writer:
    """Answers prompts with the model, which is loaded with the first of them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        if settings.revision is None and not Path(settings.model).is_dir():
            what = f"'{settings.model}' is no folder here, and as a repository it is not pinned to a commit"
            raise RecipeError(what, key="revision", fix="give the 40 hex digits of a commit")

    @cached_property
    def _folder(self) -> Path:
        from mpr.models import pretrained, weight_files

        folder = pretrained.located(self.settings.model, self.settings.revision, "model", _MORE)
        weight_files.safetensors(folder)
        return folder

    @property
    def origin(self) -> dict[str, Any]:
        """What the answers depend on: the weights, not where they lie, and the settings but for the batch."""
        from mpr.models import weight_files

        wanted = self.settings.model_dump(mode="json", include={"kind", "tokens", "chat", "sample"}, exclude_none=True)
        name = Path(self.settings.model).name if Path(self.settings.model).is_dir() else self.settings.model
        return {**wanted, "model": name, "weights": weight_files.digest(self._folder)}

    def __call__(self, prompts: Sequence[str]) -> Iterator[list[Answered]]:
        size = 1 if self.settings.sample is not None else self.settings.batch
        for start in range(0, len(prompts), size):
            yield list(enumerate(self._batch(prompts[start : start + size]), start))

    def _batch(self, prompts: Sequence[str]) -> list[Reply]:
        import torch

        model, tokenizer = self._model, self._tokenizer
        rows = [self._ids(prompt) for prompt in prompts]
        width = max(map(len, rows))
        padding = tokenizer.pad_token_id
        ids_BL = torch.full((len(rows), width), padding, dtype=torch.long)
        seen_BL = torch.zeros_like(ids_BL)
        for place, row in enumerate(rows):
            there = slice(0, len(row)) if self._is_pair else slice(width - len(row), width)  # what is written follows
            ids_BL[place, there], seen_BL[place, there] = torch.tensor(row), 1
        with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []), torch.no_grad():
            if self.settings.sample is not None:
                torch.manual_seed(stable_hash(f"{self.settings.sample.seed} {prompts[0]}") >> 1)
            made_BL = model.generate(
                ids_BL.to(model.device), attention_mask=seen_BL.to(model.device), generation_config=self._how
            )
        return [self._reply(row) for row in made_BL[:, 0 if self._is_pair else width :].tolist()]

    def _reply(self, row: list[int]) -> Reply:
        """Up to the first token that ends it."""
        ends = [place for place, token in enumerate(row) if token in self._ends]
        if self._is_pair and ends[:1] == [0]:  # some decoders start with the token that also ends
            ends = ends[1:]
        text: str = self._tokenizer.decode(row[: ends[0]] if ends else row, skip_special_tokens=True)
        return Reply(text.strip(), "", not ends)

    def _ids(self, prompt: str) -> list[int]:
        if self.settings.chat:
            message = [{"role": "user", "content": prompt}]
            text = self._tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
            row = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        else:
            row = self._tokenizer(prompt)["input_ids"]
            if not self._is_pair and row and row[-1] in self._ends:
                row = row[:-1]  # a framing made for training would end the text before it begins
        if not 0 < len(row) <= self.settings.length:
            what = f"a prompt has {len(row):,} tokens, not 1 to {self.settings.length:,}: {excerpt(prompt)}"
            raise DataError(what, key="length", fix="raise `length` of the writer if the model reads more")
        return list(row)

    @cached_property
    def _is_pair(self) -> bool:
        """An encoder-decoder."""
        return bool(self._model.config.is_encoder_decoder)

    @cached_property
    def _ends(self) -> set[int]:
        found = getattr(self._model.config, "eos_token_id", None)
        found = self._tokenizer.eos_token_id if found is None else found
        return set(found) if isinstance(found, list) else {found} - {None}

    @cached_property
    def _how(self) -> Any:
        from transformers import GenerationConfig

        sample, config = self.settings.sample, self._model.config
        drawn = {} if sample is None else {"temperature": sample.temperature, "top_p": sample.top_p, "top_k": 0}
        return GenerationConfig(
            max_new_tokens=self.settings.tokens,
            do_sample=sample is not None,
            num_beams=1,
            eos_token_id=sorted(self._ends) or None,
            pad_token_id=self._tokenizer.pad_token_id,
            bos_token_id=getattr(config, "bos_token_id", None),
            decoder_start_token_id=getattr(config, "decoder_start_token_id", None),
            **drawn,
        )

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        try:
            found = AutoTokenizer.from_pretrained(self._folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:
            what = f"its tokenizer cannot be loaded: {excerpt(str(error), 200)}"
            raise DataError(what, where=str(self._folder), fix="it needs a tokenizer.json") from error
        if self.settings.chat and not found.chat_template:
            raise RecipeError("the model has no form of conversation", key="chat", fix="set it to false")
        if found.pad_token_id is None:
            if found.eos_token is None:
                raise DataError("its tokenizer names no token that ends a text", where=str(self._folder))
            found.pad_token = found.eos_token
        return found

    @cached_property
    def _model(self) -> Any:
        from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, GenerationConfig

        from mpr.runtime.processes import Place
        from mpr.search import encode

        folder = self._folder
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
            with ours_alone():
                model, found = kind.from_pretrained(
                    folder,
                    config=config,
                    use_safetensors=True,
                    local_files_only=True,
                    trust_remote_code=False,
                    output_loading_info=True,
                    dtype="auto",
                )
        except Exception as error:
            what = f"cannot be loaded as a language model: {excerpt(str(error), 300)}"
            raise DataError(what, where=str(folder), fix="name an encoder-decoder or a causal model") from error
        if found["missing_keys"]:
            what = (
                f"lacks {len(found['missing_keys'])} weights of a language model, such as {min(found['missing_keys'])}"
            )
            raise DataError(what, where=str(folder), fix="an encoder alone cannot write: name another model")
        model.generation_config = GenerationConfig()
        return model.eval().to(encode.device(Place.here()))
