"""Models that score texts: where they come from, how they compute, and the folders that they are saved in.

In: the `towers` section of a recipe, a tokenizer, a seed, or the name of a trained model. Out: modules that turn token
ids into vectors or scores, and folders with a contract (`mpr.json`) that sentence-transformers can open too.

There are three kinds: dual encoders (`towers`; `towers_folder` saves and loads them, LoRA adapters included),
cross-encoders and late interaction; `kinds` is the table of them. Nothing here knows a training step or a loss. The
name or path of a model becomes a verified folder in one place (`locate`), and only `pretrained` opens weights that
others made.

Door: `kinds.KINDS` (build, write, load), `contract.read`, `locate.model_folder`, `pretrained.load`, `templates`,
`weight_files`; and `local_inputs`, `lengths` and `out_of_memory`, which training needs besides.
"""
