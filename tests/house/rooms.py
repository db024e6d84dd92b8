"""The rooms of `mpr/`, who imports whom, and the drawing of it in `docs/architecture.md`.

`python -m tests.house.rooms --write` draws it anew (`make table`); `--check` says whether the page is up to date.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass

from tests.house import kept_page
from tests.house.source import ROOT, Source, package

# From the bottom to the top: a room imports rooms to its left and never one to its right. `` is `mpr/__init__.py`.
# One look upward is allowed: `catalogue` turns a name of a recipe into a file of corpora, sources, labels or
# objectives, so that adding one of them is adding one file.
ROOMS = (
    "", "errors", "records", "catalogue", "storage", "runtime", "engines", "formats", "metrics", "objectives",
    "corpora", "recipe", "models", "data", "batches", "evaluation", "search", "sources", "labels", "mining", "training",
    "writing", "rows", "publishing", "library", "verbs", "cli", "train",
)  # fmt: skip
WORDS = ROOMS[:4]  # what every room may use without being drawn
CATALOGUES = ("engines", "formats", "metrics", "objectives", "corpora", "sources", "labels", "verbs")
LIBRARY = "library"  # what programs of users import, so every file is public
PAGE = ROOT / "docs" / "architecture.md"
_BEGIN, _END = "<!-- rooms: begin -->", "<!-- rooms: end -->"


@dataclass(frozen=True)
class Arrow:
    """One import of a module of mpr by another; `name` is what stands in the statement."""

    place: str
    importer: str
    imported: str

    @property
    def rooms(self) -> tuple[str, str]:
        return room(self.importer), room(self.imported)

    @property
    def crosses(self) -> bool:
        return room(self.importer) != room(self.imported)


def room(module: str) -> str:
    """The top-level package or module that a module is in."""
    return module.split(".")[0]


def arrows(sources: tuple[Source, ...]) -> list[Arrow]:
    """Every import of one module of mpr by another: at the top of a file, in a function, or for types only.

    `mpr/__init__.py` offers names of the library, which it imports when somebody asks for them: it stands above all.
    """
    modules = {source.module for source in sources}
    found = []
    for source in sources:
        for line, name in source.imports() if source.module else ():
            if name == "mpr" or name.startswith("mpr."):
                target = name.removeprefix("mpr").removeprefix(".")
                while target not in modules:  # a function or class of a module, or a name of the package itself
                    target = target.rpartition(".")[0]
                found.append(Arrow(f"{source.path}:{line}", source.module, target))
    return found


def edges(sources: tuple[Source, ...]) -> Counter[tuple[str, str]]:
    """(importing room, imported room) -> number of imported names."""
    return Counter(arrow.rooms for arrow in arrows(sources) if arrow.crosses)


def door(sources: tuple[Source, ...]) -> dict[str, set[str]]:
    """Room -> its modules that other rooms import."""
    found: dict[str, set[str]] = {}
    for arrow in arrows(sources):
        if arrow.crosses:
            found.setdefault(arrow.rooms[1], set()).add(arrow.imported)
    return found


def drawing(sources: tuple[Source, ...]) -> str:
    """A mermaid graph without the arrows that follow from others, and a table of all of them."""
    counts = {pair: count for pair, count in edges(sources).items() if not set(pair) & set(WORDS)}
    below = {name: {to for of, to in counts if of == name} for name in ROOMS}

    def reaches(start: str, goal: str) -> bool:
        return goal in below[start] or any(reaches(each, goal) for each in below[start])

    shown = [
        (of, to) for of, to in counts if not any(reaches(other, to) for other in below[of] if other not in (of, to))
    ]
    shown.sort(key=lambda pair: (ROOMS.index(pair[0]), ROOMS.index(pair[1])))
    lines = ["```mermaid", "graph BT"]
    lines += [f"  {name}[[{name}]]" for name in CATALOGUES]
    lines += [f"  {of} --> {to}" for of, to in shown]
    lines += ["```", "", f"{len(counts)} arrows in all; those that follow from others are left out of the drawing.", ""]
    lines += ["| room | files | imports (names) |", "|---|--:|---|"]
    for name in ROOMS[len(WORDS) :]:
        files = [source for source in sources if room(source.module) == name]
        to = sorted((ROOMS.index(other), other, count) for (of, other), count in counts.items() if of == name)
        lines.append(f"| {name} | {len(files)} | {', '.join(f'{o} {c}' for _, o, c in to) or '-'} |")
    return "\n".join(lines)


def page(text: str) -> str:
    """The page with the drawing as it is now."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{drawing(package())}\n{_END}{after}"


def main() -> int:
    good = f"shows {len(edges(package()))} arrows between rooms as they are"
    return kept_page.main(PAGE, page, "does not show the rooms as they are", good)


if __name__ == "__main__":
    sys.exit(main())
