"""One file per file format: exact, line-numbered readers and the writers that match them."""
