"""The recipe: its keys, how a file becomes a `Recipe`, the rules it must obey, and what it will cost.

In: a YAML file, its lock and `--set` overrides. Out: a frozen `Recipe`, or one refusal that lists every error with its
line; a plan with steps, pins, memory, disk and hours; and the reference of all keys.

Read in this order: `keys`, `keys_draw`, `keys_towers` (what a recipe says), `strict_yaml` (YAML with line numbers),
`read` (the file becomes a `Recipe`), `lock` (what its maker pinned), `rules/` (contradictions, by section of a recipe),
`schedule` (steps and refreshes that follow from it), `plan` (what it will cost). `stages` has what belongs to a recipe
with several trainings in a row. A recipe without the key `paper` may be short: `_own_data` and `_defaults` write it out
before it is read; `starter` writes one.

What other rooms ask of a recipe is a property of `Recipe`: its tiers, its stages, which kind of model it trains, which
models its labels run. Reading one loads neither torch nor transformers. The keys of sources, labels and objectives are
those of their own catalogue files: adding one of these changes nothing here.

Door: `read.load`, `lock`, `keys.Recipe`, `plan`, `stages`, `schedule`, `model_names`, `faiss_settings`, `reference`
(the generated pages), `strict_yaml`, `shipped` (names of the recipes that come with mpr), `starter` (`mpr init`).
"""
