"""The recipe: its keys, how a file becomes a `Recipe`, the rules it must obey, and what it will cost.

In: a YAML file and `--set` overrides. Out: a frozen `Recipe`, or one refusal that lists every error with its line; a
plan with steps, pins, memory, disk and hours; and the reference of all keys.

Reading a recipe loads neither torch nor transformers. Rules stand in `rules/` by section of the recipe. The keys of
sources, labels and objectives are those of their own catalogue files: adding one of these changes nothing here.

Door: `read.load` (file to `Recipe`), `keys.Recipe`, `plan` (what it will cost), `stages` (several trainings in a row).
"""
