"""Tables of `docs/data.md` that the code itself knows: the files of the public collections, their counts, the drafts.

`python -m tests.house.published_files --write` writes them anew (`make table`); `--check` says whether they are up to
date.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from mpr import catalogue
from mpr.corpora import Collection, Pin, beir
from tests import shipped
from tests.house import kept_page
from tests.house.source import ROOT

PAGE = ROOT / "docs" / "data.md"
SETS = {"nq": "NQ", "trivia": "TriviaQA", "webq": "WebQuestions", "trec": "CuratedTREC", "squad": "SQuAD"}
_DRAFT = re.compile(r"^draft: true +# (.+)$", re.MULTILINE)


def _collection(name: str, **keys: Any) -> Collection:
    module: Any = catalogue.find("corpora", name)
    made: Collection = module.Collection(module.Params.model_validate(keys))
    return made


def _number(value: int | None, about: int | None = None) -> str:
    return f"{value:,}" if value is not None else f"about {about:,}" if about is not None else "unknown"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _known(pin: Pin) -> str:
    """What is checked, shortened."""
    sums = (("SHA-256", pin.sha256), ("MD5", pin.md5), ("commit", pin.revision))
    found = [f"{kind} `{value[:8]}`" for kind, value in sums if value]
    if pin.archive is not None:
        found.append(f"`{pin.archive.file}`")
    return ", ".join(found) or "nothing"


def _files(pins: Iterator[Pin]) -> Iterator[str]:
    for pin in dict.fromkeys(pins):
        where = f"Hub: {pin.repo}" if pin.repo else pin.url.split("/")[2] if pin.url else "the archive"
        yield _row(f"`{pin.file}`", _number(pin.size), _known(pin), where)


def _pins() -> Iterator[Pin]:
    for questions in SETS:
        for variant in ("dpr", "tevatron"):
            yield from _collection("dpr_wikipedia", questions=questions, variant=variant).pins
    for pin in _collection("msmarco_passage").pins:
        if pin.archive is not None:
            yield pin.archive
        yield pin
    for top in sorted(beir._ZIPS):
        name = "cqadupstack/android" if top == "cqadupstack" else top
        archive = _collection("beir", dataset=name, origin="zip").pins[0].archive
        assert archive is not None
        yield archive


def files() -> Iterator[str]:
    yield from ("| file | bytes | checked by | from |", "|---|--:|---|---|")
    yield from _files(_pins())


def counts() -> Iterator[str]:
    """Records of each split, in both variants."""
    yield from ("| set | split | DPR's file | Tevatron's copy |", "|---|---|--:|--:|")
    for questions, name in SETS.items():
        ours, copies = (
            _collection("dpr_wikipedia", questions=questions, variant=variant).splits for variant in ("dpr", "tevatron")
        )
        for kind in ("train", "dev", "test"):
            of_dpr, copy = ours[f"{questions}_{kind}"], copies[f"{questions}_{kind}"]
            shown = _number(of_dpr.questions)
            if of_dpr.usable is not None:
                shown += f", {of_dpr.usable:,} with a positive"
            yield _row(name, kind, shown, _number(copy.questions, copy.about))


def suite() -> Iterator[str]:
    yield from ("| set | passages | judged questions |", "|---|--:|---|")
    for dataset in sorted(beir._KNOWN):
        found = _collection("beir", dataset=dataset, origin="zip")
        judged = (f"{name} {_number(one.questions)}" for name, one in found.splits.items() if one.judged)
        yield _row(f"`{dataset}`", _number(found.size), ", ".join(judged))


def drafts() -> Iterator[str]:
    """Reason -> recipes."""
    reasons = defaultdict(list)
    for name, recipe in shipped.recipes().items():
        if recipe.draft:
            (reason,) = _DRAFT.findall(shipped.text(name))
            reasons[reason].append(name)
    yield f"{sum(map(len, reasons.values()))} of {len(shipped.NAMES)} recipes are drafts:"
    yield ""
    yield from ("| recipes | what is missing |", "|---|---|")
    for reason, names in reasons.items():
        yield _row(", ".join(f"`{name}`" for name in names), reason)


TABLES = {"files": files, "counts": counts, "suite": suite, "drafts": drafts}


def page(text: str) -> str:
    """The page with the tables as they are now."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, found, rest = text.partition(begin)
        assert found, f"{PAGE} has no {begin}"
        text = f"{before}{begin}\n" + "\n".join(table()) + f"\n{end}{rest.partition(end)[2]}"
    return text


def main() -> int:
    return kept_page.main(
        PAGE, page, "does not say what the code says", f"has {len(TABLES)} tables as the code has them"
    )


if __name__ == "__main__":
    sys.exit(main())
