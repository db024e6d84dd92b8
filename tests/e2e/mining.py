"""`python -m tests.e2e.mining NOTES ARGUMENT...` is `mpr ARGUMENT...`, and notes which process wrote what.

In NOTES, a folder, each process leaves a file of its number with the names of the folders that it committed. A file
`fail-<rank>` in it makes that process fail in its second chunk.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mpr import cli, storage
from mpr.errors import DataError

if __name__ == "__main__":
    notes, rank = Path(sys.argv[1]), os.environ.get("RANK", "0")
    written: list[str] = []

    def hook(operation: str, path: Path) -> None:
        if operation == "rename":
            written.append(path.name if "-parts-" not in path.parent.name else "part " + path.name)
            (notes / rank).write_text("".join(f"{name}\n" for name in written), "utf-8")
            if len([name for name in written if name.startswith("part")]) == 2 and (notes / f"fail-{rank}").exists():
                raise DataError("spoilt chunk")

    storage.hook = hook
    cli.main(sys.argv[2:])
