"""One file per source of candidate passages."""
