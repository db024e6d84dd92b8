"""What the wheel carries besides code: the recipes with their schema, and the pages, below `mpr/shipped/`.

An editable installation has them at the top of the checkout, so nothing is copied for it.
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Shipped(BuildHookInterface):
    """Called by hatchling when it builds a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            build_data["force_include"] |= {name: f"mpr/shipped/{name}" for name in ("recipes", "docs")}
