"""The invented world: a small encyclopedia that the kit writes itself, with questions and the whole truth about them.

`build(dials)` is a pure function of its dials. How it goes, one file each: `names` and `titles` invent words,
`population` draws things and facts, `placing` decides where each fact is stated and how well, `articles` (with
`scene`, `slots`, `template` and the grammar in `kinds/`) writes passages, `copies` repeats some, `questions` asks, and
`supervision` labels as a pipeline would that knows only answer strings and a lexical search.
"""

from mpr.corpora._world.world import SPLITS, Dials, World, build

__all__ = ["SPLITS", "Dials", "World", "build"]
