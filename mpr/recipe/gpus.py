"""Graphics processors by name: what their data sheets say, and what of it a program is assumed to reach."""

from __future__ import annotations

import re
from typing import NamedTuple

UTILISATION = 0.35  # share of the peak that is assumed to be reached


class Gpu(NamedTuple):
    """Peaks of one GPU, from NVIDIA's data sheets (www.nvidia.com/en-us/data-center/<name>); the SXM version where
    there are several. Those of H100 and H200 name 1,979 teraflops with sparsity: half of it is of dense products."""

    single: float
    """Teraflops in 32 bits."""
    half: float
    """Teraflops of dense products in 16 bits."""
    bandwidth: float
    """Terabytes a second between the memory and the processor; of the smallest memory where there are several."""


GPUS = {
    "T4": Gpu(8.1, 65.0, 0.32),
    "V100": Gpu(15.7, 125.0, 0.9),
    "A100": Gpu(19.5, 312.0, 1.555),
    "H100": Gpu(67.0, 989.0, 3.35),
    "H200": Gpu(67.0, 989.0, 4.8),
}
WITHOUT_BF16 = ("T4", "V100")


def named(name: str) -> Gpu | None:
    """The GPU that calls itself so; None: it is not in the table."""
    return next((gpu for known, gpu in GPUS.items() if re.search(rf"\b{known}\b", name)), None)
