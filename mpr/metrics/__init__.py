"""Metrics in the form that Hugging Face's `evaluate` loads; each wraps a function that needs nothing but Python."""
