"""How far a faiss index looks for a question: the settings that a recipe gives in `search.settings`.

They are written as faiss writes them, `nprobe=32` or `nprobe=32,k_factor_rf=4`, and belong to single searches: an index
is not changed by them (`mpr/search/faiss_index.py` hands them over). Here is what they are called and which part of an
index has them, so that a recipe can be refused before faiss is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mpr.errors import RecipeError, nearest

FACTORY = re.compile(  # what a factory string may begin with; whether it is one, faiss says
    r"(Flat|IDMap|IVF|IMI|HNSW|NSG|PQ|OPQ|PCA|SQ|LSH|RR|L2norm|ITQ|AQ|RQ|LSQ|Pad|PLSQ|PRQ)[0-9A-Za-z_,()-]*"
)
# name -> the part of a factory string that has it
SETTINGS = {
    "nprobe": re.compile(r"(IVF|IMI)\d"),  # clusters that are looked at
    "max_codes": re.compile(r"(IVF|IMI)\d"),  # vectors that are looked at, 0: all of those clusters
    "quantizer_efSearch": re.compile(r"IVF\d+_HNSW"),  # efSearch of the graph that finds the clusters
    "efSearch": re.compile(r"HNSW"),  # nodes of the graph that are kept in mind
    "k_factor_rf": re.compile(r"RFlat|Refine"),  # candidates that are scored anew, as a multiple of those asked for
}
EXAMPLE = "for example nprobe=32 or efSearch=128"
_PAIR = re.compile(r"(\w+)=(\d+)")
_CLUSTERS = re.compile(r"IVF(\d+)(?![\dk])")


def parsed(text: str) -> dict[str, int]:
    """Name -> whole number, in the order of the names: equal settings are equal however they were written."""
    found: dict[str, int] = {}
    for part in text.split(",") if text.strip() else ():
        pair = _PAIR.fullmatch(part.strip())
        if pair is None:
            raise RecipeError(f"'{part.strip()}' is not name=number", key="search.settings", fix=EXAMPLE)
        if pair[1] not in SETTINGS:
            fix = nearest(pair[1], SETTINGS) or f"known: {', '.join(SETTINGS)}"
            raise RecipeError(f"the index does not know the settings '{pair[1]}'", key="search.settings", fix=fix)
        if pair[1] in found:
            raise RecipeError(f"'{pair[1]}' is set twice", key="search.settings", fix="keep one")
        found[pair[1]] = int(pair[2])
    return dict(sorted(found.items()))


def written(settings: dict[str, int]) -> str:
    """As a recipe says it."""
    return ",".join(f"{name}={value}" for name, value in settings.items())


def problems(factory: str, text: str) -> Iterator[tuple[str, str]]:
    """(what, fix) of settings that contradict the index they are for."""
    try:
        settings = parsed(text)
    except RecipeError as error:
        yield error.problems[0].what, error.problems[0].fix
        return
    if not settings:
        yield "sets nothing", f"null, or {EXAMPLE}"
    parts = factory.split(",")
    for name, value in settings.items():
        if not any(SETTINGS[name].match(part) for part in parts):
            has = ", ".join(known for known, part in SETTINGS.items() if any(part.match(one) for one in parts))
            yield f"'{factory}' has no {name}", f"it has {has}" if has else "null: this index has no settings"
        elif value < 1 and name != "max_codes":
            yield f"{name} must be at least 1, not {value}", EXAMPLE
        elif name == "nprobe" and (clusters := _CLUSTERS.match(_part(parts, name))) and value > int(clusters[1]):
            yield f"looks at {value:,} clusters of {int(clusters[1]):,}", f"set nprobe to {clusters[1]} at most"


def _part(parts: list[str], name: str) -> str:
    return next(part for part in parts if SETTINGS[name].match(part))
