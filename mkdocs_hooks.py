"""Puts pages of the repository that lie outside docs/ on the site, and makes the pages that the code can write; the
notebook becomes a page as it is stored, with its outputs.

README.md is the first page. Every page, recipe or picture of the repository that a page links to comes along, at its
own place, and links lead there. A link to anything else, such as a source file, becomes its text: the site does not
know where the repository is published.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter

from mpr import cli

ROOT = Path(__file__).parent
DOCS = "docs/"
SHOWN = (".md", ".ipynb", ".svg", ".yaml")
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\((?!\w+:)([^()\s#]+)(#[^()\s]*)?\)")
_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds what lies outside docs/, and the page that the code writes."""
    waiting = ["README.md", *(DOCS + file.src_uri for file in files.documentation_pages())]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        if not path.startswith(DOCS):
            files.append(File.generated(config, site_place(path), abs_src_path=str(ROOT / path)))
        if path.endswith(".md"):
            found = {target for target in targets(path) if target not in seen and not target.startswith(DOCS)}
            seen |= found
            waiting += sorted(found)
    files.append(File.generated(config, "api.md", content=api(config["extra"]["api"])))
    files.append(File.generated(config, "notebook.md", content=notebook(ROOT / DOCS / "notebook.ipynb")))
    return files


def notebook(path: Path) -> str:
    """By Jupyter's own exporter, with a link to the file."""
    page, _ = MarkdownExporter().from_filename(str(path))
    title, _, rest = page.strip().partition("\n")
    return f"{title}\n\n[Download this notebook]({path.name})\n{rest}\n"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links as they are on the site, and what the program says of its commands."""
    path = in_repository(page.file.src_uri)
    if path is None:
        return markdown
    more = commands() if path == f"{DOCS}commands.md" else ()
    return "\n".join(("".join(_parts(markdown, path)), *more))


def _parts(markdown: str, path: str) -> Iterator[str]:
    """Outside fences, which hold code."""
    for number, part in enumerate(_FENCE.split(markdown)):
        yield part if number % 2 else _LINK.sub(lambda link: _link(link, path), part)


def _link(link: re.Match[str], path: str) -> str:
    mark, text, _, anchor = link.groups()
    target = resolved(path, link[3])
    if target is None:
        return link[0]  # strict mkdocs names it
    if not target.endswith(SHOWN):
        return text
    place = posixpath.relpath(site_place(target), posixpath.dirname(site_place(path)) or ".")
    return f"{mark}[{text}]({place}{anchor or ''})"


def targets(path: str) -> Iterator[str]:
    """The pages, recipes and pictures that a page of the repository links to."""
    for link in _LINK.finditer(_FENCE.sub("", (ROOT / path).read_text("utf-8"))):
        target = resolved(path, link[3])
        if target is not None and target.endswith(SHOWN):
            yield target


def resolved(path: str, link: str) -> str | None:
    """The file of the repository that a link of a page leads to, a folder's README.md for the folder."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
    if (ROOT / target / "README.md").is_file():
        return f"{target}/README.md"
    return target if not target.startswith("..") and (ROOT / target).exists() else None


def site_place(path: str) -> str:
    """Where a file of the repository is on the site; of the notebook, its page."""
    return "index.md" if path == "README.md" else path.removeprefix(DOCS).replace(".ipynb", ".md")


def in_repository(place: str) -> str | None:
    """The other way; nothing for pages that the code writes."""
    paths = {"index.md": "README.md"}.get(place, DOCS + place), place
    return next((path for path in paths if (ROOT / path).is_file()), None)


def commands() -> Iterator[str]:
    """A section for each command: what it is for, its arguments, its options."""
    program = typer.main.get_command(cli.app)
    yield program.epilog or ""
    yield from _sections("mpr", program)


def _sections(name: str, group: Any) -> Iterator[str]:
    for word, command in group.commands.items():
        if getattr(command, "commands", None):
            yield from _sections(f"{name} {word}", command)
            continue
        yield f"\n## {name} {word}\n"
        yield re.sub(r"\s+Example:\s+(.+)", r"\n\n```bash\n\1\n```", (command.help or "").strip()) + "\n"
        rows = [(_named(each), (each.help or "").replace("|", "\\|")) for each in command.params if each.name != "help"]
        if rows:
            yield "| argument | meaning |\n|---|---|"
            yield from (f"| {what} | {meaning} |" for what, meaning in rows)


def _named(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    return ", ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts))


def api(modules: list[str]) -> str:
    """A section for each module, written by mkdocstrings from the docstrings."""
    parts = (f"## {name}\n\n::: {name}\n    options:\n      show_root_heading: false\n" for name in modules)
    return "# Python\n\n[From Python](library.md) has examples. This page is made from the source.\n\n" + "\n".join(
        parts
    )
