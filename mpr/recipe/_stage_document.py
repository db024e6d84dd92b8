"""The stages of a plan as they are written: what is wrong with an entry as such, and each entry as a document."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from mpr.errors import nearest
from mpr.recipe import model_names
from mpr.recipe.stages import BASE, FIXED, NAME, PREVIOUS, RESERVED
from mpr.recipe.strict_yaml import Document, Path_, holds


def stages_in(plan: Any, add: Callable[[Path_, str, str], None]) -> dict[str, int]:
    """Name of each stage -> its number in the plan; `add` is told what is wrong with an entry as such."""
    found: dict[str, int] = {}
    if not isinstance(plan, list):
        add(("plan",), "must be a list of stages", "write `- name: ...` for each")
        return found
    for number, entry in enumerate(plan):
        path: Path_ = ("plan", number)
        if not isinstance(entry, dict):
            add(path, "must be a mapping: a name, and what differs", "write {name: ..., ...}")
            continue
        name, start = entry.get("name"), entry.get("start", PREVIOUS)
        if name is None:
            add((*path, "name"), "is missing", "every stage has a name")
        elif not isinstance(name, str) or not re.fullmatch(NAME, name):
            fix = "use letters, digits, _ and -, a letter first, 64 at most"
            add((*path, "name"), f"{str(name)[:40]!r} is no plain name", fix)
        elif name in RESERVED:
            add((*path, "name"), f"'{name}' means something else", "choose another name")
        elif name in found:
            add((*path, "name"), f"a second stage is called '{name}'", "give it another name")
        else:
            for fixed in FIXED:
                if holds(entry, fixed):
                    add((*path, *fixed), "cannot differ from stage to stage", "say it once, above the plan")
            known = (PREVIOUS, BASE, *found)
            if not isinstance(start, str):
                add((*path, "start"), "must be text", f"write {PREVIOUS}, {BASE} or the name of an earlier stage")
            elif start not in (PREVIOUS, BASE) and (wanted := model_names.stage(start) or start) not in found:
                fix = nearest(wanted, known) or f"known: {', '.join(known)}"
                add((*path, "start"), f"no earlier stage is called '{wanted}'", fix)
            found[name] = number
    return found


class StageDocument(Document):
    """A stage as if it were a file of its own; what is wrong with it is looked for where it was written."""

    def __init__(self, whole: Document, number: int, before: str) -> None:
        """`number` of the entry in the plan; `before`: the name of the stage before it, empty for the first."""
        self.whole, self.place = whole, ("plan", number)
        self.written: dict[str, Any] = whole.value["plan"][number]
        self.top = {key: value for key, value in whole.value.items() if key != "plan"}
        self.entry = {key: value for key, value in self.written.items() if key != "name"}
        super().__init__(_merged(self.top, self.entry), whole.file, problems=whole.problems)
        start = str(self.written.get("start", PREVIOUS))
        start = (before or BASE) if start == PREVIOUS else model_names.stage(start) or start
        if start == BASE:
            self.value["start"] = self.top.get("start")
        else:
            self.value["start"] = model_names.of_stage(start)
            self.entry["start"] = start  # whether it is written or not, it is this stage that says so
        inside = {path[2:] for path in whole.refused if path[:2] == self.place}
        self.refused = inside | {path for path in whole.refused if self.shown(path) == path}

    def where(self, path: Path_) -> str:
        return self.whole.where(self.shown(path))

    def shown(self, path: Path_) -> Path_:
        """The way in the file to what stands there in the merged recipe, or to where it is missing."""
        entry: Any = self.entry
        top: Any = self.top
        for part in path:
            in_entry, in_top = (isinstance(each, dict) and part in each for each in (entry, top))
            if not in_entry:
                return path if in_top else (*self.place, *path)
            if not in_top:
                break
            entry, top = entry[part], top[part]
            if not (isinstance(entry, dict) and isinstance(top, dict)):
                break
        return (*self.place, *path)

    def refused_above(self, places: set[Path_]) -> set[Path_]:
        """Of places of the whole file, those in this stage, and those above the plan whose value stays in it."""
        own = {path[2:] for path in places if path[:2] == self.place and len(path) > 2}
        return own | {path for path in places if not self._replaces(path)}

    def _replaces(self, path: Path_) -> bool:
        """Whether the stage says this key anew, and no part of what stands above stays in it."""
        value: Any = self.written
        for part in path:
            if not isinstance(value, dict) or part not in value:
                return False
            value = value[part]
        return not isinstance(value, dict)


def _merged(above: Any, own: Any) -> Any:
    """Mappings key by key; of anything else the second."""
    if not (isinstance(above, dict) and isinstance(own, dict)):
        return own
    return {**above, **{key: _merged(above.get(key), value) for key, value in own.items()}}
