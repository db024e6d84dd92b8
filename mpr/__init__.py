"""mpr: train and reproduce dense retrievers with several positive passages per question."""

__version__ = "0.1.0"
