"""Language models that write and judge: questions, rewritten positives, verdicts about candidates.

In: a file of settings for a writer, a dataset. Out: versioned files with a receipt, which a recipe then reads. A writer
is a model behind an endpoint (`chat`) or a model on this machine (`model`):

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

Door: `writing.of` (a writer from its file), `judge`, `generation`, `augmentation`, `prompts`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from mpr.errors import Problem, RecipeError
from mpr.recipe import strict_yaml
from mpr.writing import _chat, _text_model
from mpr.writing._transcript import Writer

Settings = _chat.Settings | _text_model.Settings
_ADAPTER: TypeAdapter[Settings] = TypeAdapter(Annotated[Settings, Field(discriminator="kind")])


def of(path: Path) -> Writer:
    """The writer of that file, or everything that is wrong with its settings. Nothing is asked or loaded yet."""
    document = strict_yaml.read(path)
    document.problems.stop_if_any()
    try:
        settings = _ADAPTER.validate_python(document.value)
    except ValidationError as error:
        problems = []
        for one in error.errors(include_input=False, include_url=False):
            place: strict_yaml.Path_ = tuple(
                part for part in one["loc"] if part not in ("chat", "model") or len(one["loc"]) == 1
            )
            problems.append(Problem(one["msg"], document.where(place), strict_yaml.dotted(place)))
        raise RecipeError(problems) from error
    return _chat.Writer(settings) if isinstance(settings, _chat.Settings) else _text_model.Writer(settings)
