"""The source files that the house guards look at, parsed once, and what their names mean."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Source:
    """One Python file. `module` is its path below `mpr/` with dots; a package is named by its folder."""

    path: str
    module: str
    text: str = field(repr=False)
    tree: ast.Module = field(repr=False)

    @classmethod
    def of(cls, text: str, module: str = "planted") -> Source:
        """Source that is in no file: for showing that a guard catches what it should."""
        return cls(f"mpr/{module.replace('.', '/')}.py", module, text, ast.parse(text))

    @cached_property
    def aliases(self) -> dict[str, str]:
        """What each imported name of the file stands for: `np` -> `numpy`, `replace` -> `os.replace`."""
        found: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for name in node.names:
                    top = name.name.split(".")[0]
                    found[name.asname or top] = name.name if name.asname else top
            elif isinstance(node, ast.ImportFrom) and node.module:
                for name in node.names:
                    found[name.asname or name.name] = f"{node.module}.{name.name}"
        return found

    def imports(self) -> Iterator[tuple[int, str]]:
        """(line, dotted name) of everything imported, wherever the statement stands; `from a import b` is `a.b`."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, name.name) for name in node.names)
            elif isinstance(node, ast.ImportFrom):
                prefix = "." * node.level + (node.module or "")
                yield from ((node.lineno, f"{prefix}.{name.name}") for name in node.names)
            elif isinstance(node, ast.Call) and _dotted(node.func).endswith("import_module"):
                yield from ((node.lineno, str(name.value)) for name in node.args if isinstance(name, ast.Constant))

    def dotted(self, node: ast.AST) -> str:
        """The full name of an expression, as far as imports tell: `np.save` -> `numpy.save`; empty if it has none."""
        name = _dotted(node)
        first, _, rest = name.partition(".")
        first = self.aliases.get(first, first)
        return f"{first}.{rest}" if rest else first

    def place(self, node: ast.AST) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 0)}"


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


@cache
def package() -> tuple[Source, ...]:
    """Every file of `mpr/`."""
    return tuple(_read(path) for path in sorted((ROOT / "mpr").rglob("*.py")))


@cache
def everything() -> tuple[Source, ...]:
    """Every Python file of the repository that people read: the package, its tests, its benchmarks."""
    paths = (path for folder in ("tests", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py")))
    return package() + tuple(_read(path) for path in paths)


def _read(path: Path) -> Source:
    relative = path.relative_to(ROOT)
    parts = relative.with_suffix("").parts
    parts = parts[1:] if parts[0] == "mpr" else parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    text = path.read_text(encoding="utf-8")
    return Source(str(relative), module, text, ast.parse(text, str(relative)))
