"""A file is one noun that can be read at a sitting; a function fits a screen; no name hides a library."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import defaultdict
from importlib.metadata import packages_distributions

from tests.conftest import Examined
from tests.house.source import ROOT, Source, everything, package

FILE_LINES = 500
FUNCTION_LINES = 100
NOT_A_NOUN = {"common", "helper", "helpers", "misc", "miscellaneous", "stuff", "tools", "util", "utilities", "utils"}


def _functions(source: Source) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(source.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _long_files(sources: tuple[Source, ...]) -> list[str]:
    lengths = ((source.path, len(source.text.splitlines())) for source in sources)
    return [f"{path} has {length} lines" for path, length in lengths if length > FILE_LINES]


def _long_functions(sources: tuple[Source, ...]) -> list[str]:
    lengths = ((s, f, (f.end_lineno or 0) - f.lineno + 1) for s in sources for f in _functions(s))
    return [f"{s.place(f)}: {f.name} has {length} lines" for s, f, length in lengths if length > FUNCTION_LINES]


def _undocumented(sources: tuple[Source, ...]) -> list[str]:
    return [source.path for source in sources if not (ast.get_docstring(source.tree) or "").strip()]


def _stem(source: Source) -> str:
    return source.module.rpartition(".")[2]


def _no_nouns(sources: tuple[Source, ...]) -> list[str]:
    return [source.path for source in sources if _stem(source).lstrip("_") in NOT_A_NOUN]


def _libraries() -> set[str]:
    """What the declared dependencies are imported as, and the standard library."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    optional = project["project"].get("optional-dependencies", {}).values()
    groups = [line for group in project["dependency-groups"].values() for line in group if isinstance(line, str)]
    lines = [*project["project"]["dependencies"], *(line for group in optional for line in group), *groups]
    declared = {_normal(re.match(r"[A-Za-z0-9._-]+", line)[0]) for line in lines}
    imported_as: dict[str, set[str]] = defaultdict(set)
    for name, distributions in packages_distributions().items():
        for distribution in distributions:
            imported_as[_normal(distribution)].add(name)
    return {name for distribution in declared for name in imported_as[distribution] | {distribution}}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def _shadows(sources: tuple[Source, ...], libraries: set[str]) -> list[str]:
    """Only direct children of mpr/ count: launched by path, that folder comes first in the search for modules."""
    return [source.path for source in sources if source.module in libraries | sys.stdlib_module_names]


def test_files_are_short(examined: Examined) -> None:
    assert not _long_files(everything()), "\n".join(_long_files(everything()))
    examined(len(everything()), "files", at_least=100)


def test_functions_fit_a_screen(examined: Examined) -> None:
    assert not _long_functions(package()), "\n".join(_long_functions(package()))
    examined(sum(len(_functions(source)) for source in package()), "functions", at_least=300)


def test_every_file_says_what_it_is(examined: Examined) -> None:
    assert not _undocumented(package())
    examined(len(package()), "files", at_least=50)


def test_every_file_is_a_noun(examined: Examined) -> None:
    assert not _no_nouns(everything())
    examined(len(everything()), "file names", at_least=100)


def test_no_module_shadows_a_library(examined: Examined) -> None:
    assert not _shadows(package(), _libraries())
    assert {"datasets", "evaluate", "faiss", "huggingface_hub", "torch", "ruamel"} <= _libraries()
    examined(len(_libraries() | sys.stdlib_module_names), "library names", at_least=200)


def test_planted_violations_are_caught() -> None:
    assert _long_files((Source.of("\n" * 501),)) == ["mpr/planted.py has 501 lines"]
    assert not _long_files((Source.of("\n" * 500),))
    long, short = ("class A:\n    async def f(self):\n" + "        x = 1\n" * lines for lines in (100, 99))
    assert _long_functions((Source.of(long), Source.of(short))) == ["mpr/planted.py:2: f has 101 lines"]
    assert len(_undocumented((Source.of(""), Source.of("# comment\nx = 1"), Source.of('"""Noun."""')))) == 2
    assert len(_no_nouns((Source.of("", "utils"), Source.of("", "formats._helpers"), Source.of("", "toolsmith")))) == 2
    shadows = [Source.of("", name) for name in ("datasets", "json", "ruamel", "formats.json", "dataset")]
    assert len(_shadows(tuple(shadows), _libraries())) == 3


ONE_CLASS = ("Row", "Block", "Plan", "Pairs", "Stage")  # words of the glossary that name one class in the whole package


def _classes(sources: tuple[Source, ...], name: str) -> list[str]:
    classes = ((source, node) for source in sources for node in ast.walk(source.tree) if isinstance(node, ast.ClassDef))
    return [source.place(node) for source, node in classes if node.name == name]


def test_a_word_names_one_class(examined: Examined) -> None:
    found = {name: _classes(package(), name) for name in ONE_CLASS}
    assert all(len(places) == 1 for places in found.values()), found
    twice = (Source.of("class Row: ..."), Source.of("def f():\n    class Row: ..."), Source.of("class Rows: ..."))
    assert _classes(twice, "Row") == ["mpr/planted.py:1", "mpr/planted.py:2"]
    examined(len(found), "words", at_least=5)
