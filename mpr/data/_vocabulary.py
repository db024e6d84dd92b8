"""The tokenizer of a recipe: the encoder's own `tokenizer.json`, or a WordPiece vocabulary learned from the corpus.

Some checkpoints were published with the files of an older kind of tokenizer only, a vocabulary and perhaps merges.
transformers makes of them what `tokenizer.json` would say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from mpr import storage
from mpr.data.passages import PassageStore
from mpr.errors import DataError, excerpt
from mpr.models import locate, templates
from mpr.recipe.keys_towers import NewEncoder, Towers
from mpr.runtime.progress import Bar

KIND = "vocabulary"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_FILE = "tokenizer.json"
_VOCABULARIES = (("vocab.txt",), ("vocab.json", "merges.txt"))  # of BERT's tokenizer and of RoBERTa's
_BESIDE = ("config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def load(towers: Towers, folder: Path, corpus: Callable[[], PassageStore], bar: Bar) -> Any:
    """A `tokenizers.Tokenizer`. A learned one is kept beside the data it was learned from."""
    if towers.new is None:
        own = _own(towers)
        return templates.opened(own) if own.name == _FILE else _converted(own)
    target = folder / f"vocabulary-{towers.new.vocabulary}"
    with storage.missing(target) as is_missing:
        if is_missing:
            store = corpus()
            with bar("vocabulary", 2 * len(store)) as progress:

                def texts() -> Iterator[str]:
                    for passage in store:
                        progress(1)
                        yield f"{passage.title}\n{passage.text}"

                build(target, texts, towers.new, {"corpus": store.manifest.digest})
    storage.verify(target, KIND)
    return templates.opened(target / _FILE)


def _own(towers: Towers) -> Path:
    """tokenizer.json of a folder or of a Hub model at its pinned revision; the folder, if it has a vocabulary only."""
    base = str(towers.base)
    if Path(base).is_dir():
        path = Path(base) / _FILE
        if path.is_file():
            return path
        if _has_vocabulary(Path(base)):
            return Path(base)
        fix = "save the model with its fast tokenizer"
        raise DataError(f"has no {_FILE}", where=base, key="towers.base", fix=fix)
    locate.refuse_missing_folder(base, "towers.base", towers.revision)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    try:
        with locate.bars(quiet=True):
            return Path(hf_hub_download(base, _FILE, revision=towers.revision, **locate.without_retries()))
    except HFValidationError as error:
        what = f"'{base}' is neither a folder nor the name of a Hub repository"
        raise DataError(what, key="towers.base", fix="check the path") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        revision = towers.revision or "its newest revision"
        what = f"'{base}' at {revision} is not on this machine and the Hub is out of reach"
        raise DataError(what, key="towers.base", fix="go online once, or give a folder") from error
    except EntryNotFoundError as error:
        folders = set()
        for name in (*_BESIDE, *(name for names in _VOCABULARIES for name in names)):
            with suppress(EntryNotFoundError):
                how = {"revision": towers.revision, **locate.without_retries()}
                folders.add(Path(hf_hub_download(base, name, **how)).parent)
        for folder in filter(_has_vocabulary, folders):  # one snapshot, if any
            return folder
        fix = "use a model with a fast tokenizer"
        raise DataError(f"'{base}' has no {_FILE}", key="towers.base", fix=fix) from error
    except HfHubHTTPError as error:
        what = f"'{base}' cannot be read from the Hub: {error}"
        raise DataError(what, key="towers.base", fix="check name and token") from error


def _has_vocabulary(folder: Path) -> bool:
    return any(all((folder / name).is_file() for name in names) for names in _VOCABULARIES)


def _converted(folder: Path) -> Any:
    """The tokenizer that the files of an older kind describe; no code that may lie beside them is run."""
    from transformers import AutoTokenizer

    try:
        found = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        return found.backend_tokenizer
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        what = f"has no {_FILE}, and transformers makes none of its vocabulary: {excerpt(str(error), 200)}"
        raise DataError(what, where=str(folder), key="towers.base", fix="use a model with a fast tokenizer") from error


def build(target: Path, texts: Callable[[], Iterator[str]], new: NewEncoder, receipt: dict[str, Any]) -> None:
    """Learns a vocabulary and keeps it."""
    tokenizer = learn(texts, new)
    with storage.stage(target, KIND, receipt) as stage:
        stage.write(_FILE, tokenizer.to_str(pretty=True).encode())


def learn(texts: Callable[[], Iterator[str]], new: NewEncoder) -> Any:
    """BERT's WordPiece, uncased, of the asked size; the same texts give the same vocabulary. Reads the texts twice.

    The trainer numbers characters inside words (`##a`) in the order of a hash map, which differs from run to run, and
    among equally frequent pairs it prefers the smaller numbers. So a first pass without merges only finds out which
    characters there are, and the second is given them in a fixed order.
    """
    from tokenizers import decoders, processors

    letters = _trained(texts(), 0, list(SPECIAL)).get_vocab().keys() - set(SPECIAL)
    if len(SPECIAL) + len(letters) >= new.vocabulary:
        what = f"the corpus has {len(letters):,} different characters, which leaves no room for word pieces"
        raise DataError(what, key="towers.new.vocabulary", fix=f"ask for more than {new.vocabulary:,}")
    ordered = sorted(letters, key=lambda letter: (len(letter), letter))
    pieces = _trained(texts(), new.vocabulary, [*SPECIAL, *ordered]).get_vocab()
    tokenizer = _blank(pieces)
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", pieces["[SEP]"]), ("[CLS]", pieces["[CLS]"]))
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _trained(texts: Iterator[str], size: int, first: list[str]) -> Any:
    """A tokenizer whose vocabulary has `first` under its first numbers, in that order."""
    from tokenizers import trainers

    tokenizer = _blank({})
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=first, show_progress=False, min_frequency=2)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _blank(pieces: dict[str, int]) -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.WordPiece(vocab=pieces, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer
