"""One file per labeller: what decides whether a passage of the block is positive, negative or ignored."""
