"""Language models that write and judge: questions, rewritten positives, verdicts about candidates.

In: a file of settings for a writer, a dataset. Out: versioned files with a receipt, which a recipe then reads.

```yaml
kind: chat                              kind: model
endpoint: https://api.example.org/v1    model: some-org/some-model
model: some-model-2026-01-01            revision: "0123456789abcdef0123456789abcdef01234567"
key: EXAMPLE_API_KEY                    length: 512
tokens: 8                               tokens: 64
                                        batch: 16
                                        chat: false
```

The file is read as strictly as a recipe. What identifies a writer (`origin`) is in the receipt of all that it wrote;
its address and its key are in none.

Door: `writing.load` (a writer from its file), `judge`, `generation`, `augmentation`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from mpr.errors import Problem, RecipeError
from mpr.recipe import strict_yaml
from mpr.writing import _chat, _text_model
from mpr.writing._transcript import Writer

Settings = Annotated[_chat.Settings | _text_model.Settings, Field(discriminator="kind")]


def load(path: Path) -> _chat.Settings | _text_model.Settings:
    """The settings in a file, or everything that is wrong with them."""
    document = strict_yaml.read(path)
    document.problems.stop_if_any()
    adapter: TypeAdapter[_chat.Settings | _text_model.Settings] = TypeAdapter(Settings)
    try:
        return adapter.validate_python(document.value)
    except ValidationError as error:
        problems = []
        for one in error.errors(include_input=False, include_url=False):
            place: strict_yaml.Path_ = tuple(
                part for part in one["loc"] if part not in ("chat", "model") or len(one["loc"]) == 1
            )
            problems.append(Problem(one["msg"], document.where(place), strict_yaml.dotted(place)))
        raise RecipeError(problems) from error


def of(path: Path) -> Writer:
    """The writer of that file. Nothing is asked or loaded yet."""
    settings = load(path)
    return _chat.Writer(settings) if isinstance(settings, _chat.Settings) else _text_model.Writer(settings)
