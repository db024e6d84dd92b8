"""A room imports rooms below it, through their doors, and nothing imports in a circle."""

from __future__ import annotations

import pytest

from tests.conftest import Examined
from tests.house import rooms
from tests.house.rooms import CATALOGUES, LIBRARY, ROOMS, Arrow, arrows, room
from tests.house.source import ROOT, Source, package

DOOR_LINES = (8, 30)  # of the docstring of a room
DOOR_OF_ALL = 17  # modules of a room that others may import: more is no door


def _unplaced(sources: tuple[Source, ...]) -> list[str]:
    return [source.path for source in sources if room(source.module) not in ROOMS]


def _upward(sources: tuple[Source, ...]) -> list[str]:
    def is_up(arrow: Arrow) -> bool:
        of, to = arrow.rooms
        return of in ROOMS and to in ROOMS and ROOMS.index(of) < ROOMS.index(to)

    found = [arrow for arrow in arrows(sources) if is_up(arrow)]
    return [f"{arrow.place}: {room(arrow.importer) or 'mpr'} imports {arrow.imported}, above it" for arrow in found]


def _past_the_door(sources: tuple[Source, ...]) -> list[str]:
    """Imports of what another room keeps to itself: a module that begins with an underscore, or a name that does."""

    def is_private(arrow: Arrow) -> bool:
        return arrow.crosses and any(part.startswith("_") for part in arrow.imported.split("."))

    return [f"{arrow.place}: imports {arrow.imported}" for arrow in arrows(sources) if is_private(arrow)]


def _private_names(sources: tuple[Source, ...]) -> list[str]:
    found = []
    for source in sources:
        for line, name in source.imports():
            last = name.rpartition(".")[2]
            of_mpr = name.startswith("mpr.") and name.split(".")[1] != room(source.module)
            if of_mpr and last.startswith("_") and not last.startswith("__"):
                found.append(f"{source.path}:{line}: {name}")
    return found


def _unused_doors(sources: tuple[Source, ...]) -> list[str]:
    """Modules that look public although no other room imports them; of catalogues every file is public."""
    used = {module for modules in rooms.door(sources).values() for module in modules}
    return [
        f"{source.path}: no other room imports it; its name should begin with an underscore"
        for source in sources
        if "." in source.module
        and room(source.module) not in (*CATALOGUES, LIBRARY)
        and not any(part.startswith("_") for part in source.module.split("."))
        and source.module not in used
        and not source.path.endswith("__init__.py")
        and not source.module.startswith("recipe.rules.")
    ]


def _circles(sources: tuple[Source, ...]) -> list[str]:
    """The modules that are left when those that import nothing of what is left are taken away again and again."""
    below = {source.module: set[str]() for source in sources}
    for arrow in arrows(sources):
        if arrow.importer != arrow.imported:
            below[arrow.importer].add(arrow.imported)
    while free := {module for module, targets in below.items() if not targets & below.keys()}:
        below = {module: targets for module, targets in below.items() if module not in free}
    return sorted(below)


def _relative(sources: tuple[Source, ...]) -> list[str]:
    return [f"{s.path}:{line}: {name}" for s in sources for line, name in s.imports() if name.startswith(".")]


def _silent_rooms(sources: tuple[Source, ...]) -> list[str]:
    """Rooms whose `__init__` does not say in 8 to 30 lines what they own and which names are their door."""
    import ast

    packages = [s for s in sources if s.path.endswith("__init__.py") and "." not in s.module and s.module]
    found = []
    for source in packages:
        lines = len((ast.get_docstring(source.tree) or "").splitlines())
        if not DOOR_LINES[0] <= lines <= DOOR_LINES[1]:
            found.append(f"{source.path}: its docstring has {lines} lines")
    return found


def test_every_module_is_in_a_room(examined: Examined) -> None:
    assert not _unplaced(package()), f"place these in ROOMS of tests/house/rooms.py: {_unplaced(package())}"
    gone = [name for name in ROOMS if name not in {room(source.module) for source in package()}]
    assert not gone, f"these rooms have no file: {', '.join(gone)}"
    assert len(set(ROOMS)) == len(ROOMS)
    examined(len(package()), "modules", at_least=200)


def test_imports_point_down(examined: Examined) -> None:
    assert not _upward(package()), "\n".join(_upward(package()))
    examined(len(arrows(package())), "imports of one module by another", at_least=1_000)


def test_other_rooms_use_the_door(examined: Examined) -> None:
    wrong = _past_the_door(package()) + _private_names(package())
    assert not wrong, "\n".join(wrong)
    crossing = [arrow for arrow in arrows(package()) if arrow.crosses]
    examined(len(crossing), "imports from another room", at_least=500)


def test_what_looks_public_is_used_from_outside(examined: Examined) -> None:
    assert not _unused_doors(package()), "\n".join(_unused_doors(package()))
    found = rooms.door(package())
    wide = {name: sorted(found[name]) for name in found if name not in CATALOGUES and len(found[name]) > DOOR_OF_ALL}
    assert not wide, wide
    examined(sum(map(len, found.values())), f"modules that are the doors of {len(found)} rooms", at_least=50)


def test_every_room_says_what_it_owns(examined: Examined) -> None:
    assert not _silent_rooms(package()), "\n".join(_silent_rooms(package()))
    examined(sum(s.path.endswith("__init__.py") for s in package()), "packages", at_least=20)


def test_no_circles(examined: Examined) -> None:
    assert not _circles(package())
    examined(len(package()), "modules", at_least=200)


def test_imports_are_absolute(examined: Examined) -> None:
    assert not _relative(package())
    examined(sum(len(list(source.imports())) for source in package()), "imports", at_least=300)


def test_the_drawing_is_up_to_date(examined: Examined) -> None:
    text = rooms.PAGE.read_text(encoding="utf-8")
    assert rooms.page(text) == text, "run `make table`"
    assert rooms.page(text.replace(" --> ", " ..> ", 1)) == text
    examined(text.count(" --> "), "arrows drawn", at_least=20)


# Tests of the tests: the smallest sources that break each rule.


def test_planted_violations_are_caught() -> None:
    root, errors = Source.of("", ""), Source.of("", "errors")
    cli, trec, stranger = Source.of("", "cli"), Source.of("", "formats.trec"), Source.of("", "stranger")
    upward = Source.of("from mpr import cli", "storage.manifest")
    assert _upward((root, upward, cli)) == ["mpr/storage/manifest.py:1: storage imports cli, above it"]
    nested = Source.of("def f():\n    from mpr.formats.trec import read", "records")
    assert len(_upward((root, nested, trec, Source.of("", "records")))) == 1
    typed = Source.of("if TYPE_CHECKING:\n    from mpr.rows import x", "storage")
    assert len(_upward((root, typed, Source.of("", "rows")))) == 1
    assert not _upward((root, Source.of("from mpr.errors import DataError", "records"), errors))
    assert _unplaced((errors, stranger, trec)) == ["mpr/stranger.py"]
    one = Source.of("from mpr.storage.unpack import x", "storage.lines")
    other = Source.of("import mpr.storage.lines", "storage.unpack")
    assert _circles((root, errors, one, other)) == ["storage.lines", "storage.unpack"]
    assert not _circles((root, one, Source.of("", "storage.unpack")))
    assert len(_relative((Source.of("from . import a\nfrom .b import c\nimport os"),))) == 2


def test_planted_ways_past_a_door_are_caught() -> None:
    root, inside = Source.of("", ""), Source.of("", "search._first_pass")
    outside = Source.of("from mpr.search._first_pass import open_", "rows.retrieval")
    assert _past_the_door((root, inside, outside)) == ["mpr/rows/retrieval.py:1: imports search._first_pass"]
    neighbour = Source.of("from mpr.search import _first_pass", "search.exact")
    assert not _past_the_door((root, Source.of("", "search"), inside, neighbour))
    exact = Source.of("", "search.exact")
    taken = Source.of("from mpr.search.exact import _Rescore", "rows.retrieval")
    assert len(_private_names((root, exact, taken))) == 1
    assert _unused_doors((root, exact)) == [
        "mpr/search/exact.py: no other room imports it; its name should begin with an underscore"
    ]
    assert not _unused_doors((root, exact, Source.of("from mpr.search import exact", "rows._retrieval")))
    assert not _unused_doors((root, Source.of("", "formats.trec"), inside))


def test_a_silent_room_is_caught() -> None:
    silent = Source("mpr/search/__init__.py", "search", '"""Room."""', Source.of('"""Room."""').tree)
    assert _silent_rooms((silent,)) == ["mpr/search/__init__.py: its docstring has 1 lines"]


@pytest.mark.parametrize("module, found", [("", ""), ("storage", "storage"), ("formats.trec", "formats")])
def test_rooms_of_modules(module: str, found: str) -> None:
    assert room(module) == found


def test_the_tree_is_really_read() -> None:
    assert {source.path for source in package()} == {
        str(path.relative_to(ROOT)) for path in (ROOT / "mpr").rglob("*") if path.suffix == ".py"
    }
