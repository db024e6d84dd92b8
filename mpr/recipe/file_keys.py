"""Keys that stand beside `file` in sources and labels: what the file is, and where it can be downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

SHA256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
MD5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Address = Annotated[str, Field(pattern=r"^https?://[^\s@]+$")]  # without a user's name


def known(named: Any) -> dict[str, str]:
    """What a plan says of the file of `named`, which has the keys `file`, `sha256` and `md5`."""
    sums = (("sha256", named.sha256), ("md5", named.md5))
    return {Path(named.file).name: next((f"{kind} {value}" for kind, value in sums if value), "not pinned")}
