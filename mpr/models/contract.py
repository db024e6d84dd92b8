"""`mpr.json` in a model folder: how the model was trained, which is how it must be used.

Lengths, prompts, titles, pooling and the rest are part of a model as much as its weights: a corpus encoded in another
way is another corpus. So encoding reads this file, strictly, and refuses a recipe that says anything else.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import Field, ValidationError

from mpr import __version__
from mpr.catalogue import Parameters
from mpr.errors import DataError, Problem, RecipeError, excerpt, nearest
from mpr.models import templates
from mpr.recipe import rules
from mpr.recipe.keys import CROSS_ENCODER, DUAL_ENCODER, LATE_INTERACTION
from mpr.recipe.keys_towers import Towers
from mpr.recipe.strict_yaml import dotted
from mpr.storage.json_fields import decode, refusal_of

FILE = "mpr.json"
KIND = "model"  # of a model folder as an artefact, in its manifest
FORMAT = 1
MAX_BYTES = 1 << 20
ROLES = {"question": "query", "passage": "document"}  # our word for a side -> that of sentence-transformers
_REDO = "restore the file, or train the model again"
_TASKS = {
    DUAL_ENCODER: "dual encoder, which makes vectors",
    CROSS_ENCODER: "cross-encoder, which scores pairs",
    LATE_INTERACTION: "late-interaction model, which compares tokens",
}
_Parsed = TypeVar("_Parsed", bound=Parameters)


class Base(Parameters):
    """The pretrained encoder that a tower started from. Its name and never its path: paths are private."""

    name: str
    """Hub id, or the last part of a folder's name."""
    local: bool
    """Whether it was read from a folder."""
    revision: str | None
    """Commit of the Hub repository."""
    sha256: str
    """Of its weights."""


class _Written(Parameters):
    """A contract as a file."""

    def content(self) -> dict[str, Any]:
        """The keys in the order in which they are written."""
        return self.model_dump(mode="json")

    def to_bytes(self) -> bytes:
        return (json.dumps(self.content(), indent=1, ensure_ascii=False) + "\n").encode()


class Contract(_Written):
    """What training fixed of a dual encoder."""

    format: Literal[1] = 1
    """Version of this file."""
    mpr: str
    """Version of mpr that wrote it."""
    towers: Towers
    """The recipe's towers, with names instead of folders."""
    width: int = Field(ge=1)
    """Size of the vectors."""
    similarity: Literal["dot", "cosine"]
    """How two vectors are compared; the inner product computes both, because `cosine` vectors have length one."""
    tokenizer: str
    """Digest of the tokenizer's definition."""
    question_base: Base | None
    """Where the question tower's first weights came from; null: random."""
    passage_base: Base | None
    """The same for the passage tower."""
    weights: Literal["full", "adapter", "merged"]
    """What the folder holds: all weights, adapters to be put on the base, or all weights with adapters merged in."""

    @classmethod
    def of(
        cls,
        towers: Towers,
        bases: tuple[Base | None, Base | None],
        *,
        width: int,
        tokenizer: str,
        weights: Literal["full", "adapter", "merged"],
    ) -> Contract:
        """The contract of a model that was trained with these towers."""
        return cls(
            mpr=__version__,
            towers=public(towers, bases),
            width=width,
            similarity="cosine" if towers.normalize else "dot",
            tokenizer=tokenizer,
            question_base=bases[0],
            passage_base=bases[1],
            weights=weights,
        )

    @property
    def bases(self) -> tuple[Base | None, Base | None]:
        return self.question_base, self.passage_base


class ScorerContract(_Written):
    """What training fixed of a model that scores pairs and makes no vector of a text. Every kind has one of its own."""

    format: Literal[1] = 1
    """Version of this file."""
    task: str
    """What the model is for."""
    mpr: str
    """Version of mpr that wrote it."""
    towers: Towers
    """The recipe's towers, with names instead of folders: lengths, prompts, titles."""
    tokenizer: str
    """Digest of the tokenizer's definition."""
    base: Base | None
    """Where the first weights came from; null: random."""

    @classmethod
    def of(cls, towers: Towers, base: Base | None, tokenizer: Any, **more: Any) -> Self:
        """The contract of a model that was trained with these towers; `more` is what its kind says besides."""
        digest = templates.digest(tokenizer)
        return cls(mpr=__version__, towers=public(towers, (base, None)), tokenizer=digest, base=base, **more)

    def opened_tokenizer(self, folder: Path) -> Any:
        """The tokenizer of the model folder, which must be the one of this contract."""
        tokenizer = templates.opened(folder / "tokenizer.json")
        if templates.digest(tokenizer) != self.tokenizer:
            what = "is not that of tokenizer.json"
            raise DataError(what, where=str(folder / FILE), key="tokenizer", fix="restore the folder")
        return tokenizer


def base_name(base: str) -> str:
    """How a base is named in public: a Hub id, or the last part of a folder's path."""
    return os.path.basename(os.path.abspath(base)) if Path(base).is_dir() else base


def public(towers: Towers, bases: tuple[Base | None, Base | None]) -> Towers:
    """The towers with the last part of a path where a base was a folder."""
    names: dict[str, str] = {}
    for key, base in zip(("base", "passage_base"), bases, strict=True):
        given = getattr(towers, key)
        if given is not None:
            names[key] = os.path.basename(os.path.abspath(given)) if base is not None and base.local else given
    return towers.model_copy(update=names)


def read(folder: Path) -> Contract:
    """The contract in a model folder; everything that is wrong with it is named."""
    path = Path(folder) / FILE
    contract = parsed(Contract, folder)
    if contract.similarity != ("cosine" if contract.towers.normalize else "dot"):
        what = f"'{contract.similarity}' does not go with towers.normalize: {contract.towers.normalize}"
        raise DataError(what, where=str(path), key="similarity", fix=_REDO)
    return contract


def task(folder: Path) -> str:
    """What the model of a folder is for. The file of a dual encoder, which is the older one, does not say it."""
    value = _json(Path(folder) / FILE)
    return str(value.get("task", DUAL_ENCODER)) if isinstance(value, dict) else DUAL_ENCODER


def parsed(kind: type[_Parsed], folder: Path, task: str = DUAL_ENCODER) -> _Parsed:
    """The contract of a model for that task. That of a dual encoder has no key for it: its file is the older one."""
    path = Path(folder) / FILE
    value = _json(path)
    if not isinstance(value, dict):
        raise DataError("must be one JSON object", where=str(path), fix=_REDO)
    if value.get("format") != FORMAT:
        what = f"has format {excerpt(str(value.get('format')))}, this version of mpr reads format {FORMAT}"
        raise DataError(what, where=str(path), key="format", fix="use the version of mpr that wrote it")
    if (found := value.get("task", DUAL_ENCODER)) != task:
        named = _TASKS.get(str(found), excerpt(repr(found)))
        what = f"is of a {named}, and what is wanted is a {_TASKS[task]}"
        raise DataError(what, where=str(path), key="task", fix="give the folder of the other kind of model")
    try:
        return kind.model_validate_json(json.dumps(value))
    except ValidationError as error:
        raise DataError([_problem(detail, path, kind) for detail in error.errors(include_url=False)]) from None


def _json(path: Path) -> Any:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise DataError(f"is longer than {MAX_BYTES:,} bytes", where=str(path), fix=_REDO)
        text = data.decode("utf-8").strip()
        value, end = decode(text)
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise DataError(what, where=str(path), fix="give a model folder that mpr wrote") from error
    except json.JSONDecodeError as error:
        raise DataError(f"is not JSON: {error.msg}", where=f"{path}:{error.lineno}", fix=_REDO) from None
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 at byte {error.start}", where=str(path), fix=_REDO) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"is not JSON: {refusal_of(error)}", where=str(path), fix=_REDO) from None
    if end != len(text):
        raise DataError("is not JSON: something follows the object", where=str(path), fix=_REDO)
    return value


def _problem(detail: Any, path: Path, kind: type[Parameters]) -> Problem:
    key, problem = dotted(tuple(detail["loc"])), detail["type"]
    if problem == "missing":
        return Problem("is missing", str(path), key, _REDO)
    if problem == "extra_forbidden":
        hint = nearest(str(detail["loc"][-1]), (*kind.model_fields, *Towers.model_fields, *Base.model_fields))
        return Problem("unknown key", str(path), key, hint or _REDO)
    return Problem(f"{detail['msg']}, not {excerpt(repr(detail['input']))}", str(path), key, _REDO)


def agree(contract: Contract, towers: Towers, tokenizer: str, where: str = "", *, starting: bool = False) -> None:
    """Refuses to use the model in any way but the one it was trained for, naming every difference.

    `tokenizer` is the digest of the tokenizer that the texts were or will be tokenised with. `starting`: to train on
    from it, with what that may add (`unlike` of `mpr/recipe/rules/training.py`).
    """
    fix = "use the recipe that the model was trained with, or train another model"
    if starting:
        fix = "write what the model was trained with, or start from another model"
    problems = [
        Problem(f"the model was trained with {before}, the recipe says {now}", where, f"towers.{key}", fix)
        for key, before, now in rules.unlike(contract.towers, public(towers, contract.bases), starting=starting)
    ]
    if tokenizer != contract.tokenizer:
        what = f"the model was trained with tokenizer {contract.tokenizer[:16]}..., this is {tokenizer[:16]}..."
        problems.append(Problem(what, where, "tokenizer", "use the tokenizer.json of the model folder"))
    if problems:
        raise RecipeError(problems)
