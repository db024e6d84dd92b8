"""mpr: train and reproduce dense retrievers with several positive passages per question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpr.library.fit import fit as fit

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Names of the library, each imported when somebody asks for it: `import mpr` stays light."""
    if name == "fit":
        from mpr.library.fit import fit

        return fit
    raise AttributeError(f"module 'mpr' has no attribute '{name}'")
