"""Which mpr this is: its distribution, version and place, and whether another package of that name is beside it.

On PyPI `mpr` is somebody else's project, a tool for MicroPython, with a command and a package that are also called
`mpr`. This one is `mpr-retrieval`. Where both are installed into one environment, the one installed last has written
its files over the other's.
"""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path

DISTRIBUTION = "mpr-retrieval"
_PACKAGE = Path(__file__).parents[1]
_OURS = "mpr.cli:main"


def shown(version: str) -> str:
    """One line: what `mpr --version` says."""
    return f"{DISTRIBUTION} {version} in {_PACKAGE}"


def stranger(version: str) -> str:
    """What to say at the start beside another distribution called `mpr`; empty where there is none."""
    try:
        other = metadata.distribution("mpr")
    except metadata.PackageNotFoundError:
        return ""
    commands = [each.value for each in other.entry_points if each.group == "console_scripts" and each.name == "mpr"]
    if _OURS in commands:
        return ""  # an older installation of this project
    place = Path(str(other.locate_file("mpr")))
    both = place.resolve() == _PACKAGE.resolve()
    which = shutil.which("mpr") or "not on the PATH"
    lies = "whose files lie in the same folder: what was installed last replaced the other" if both else f"in {place}"
    return (
        f"another package called `mpr` is installed: {other.metadata['Name']} {other.version} "
        f"({other.metadata['Summary']}), {lies}. This is {shown(version)}. The command `mpr` is {which}; "
        f"`{DISTRIBUTION}` always starts this one. To keep this one alone: "
        f"pip uninstall mpr, then pip install --force-reinstall --no-deps {DISTRIBUTION}"
    )
