"""Encoders: where they come from, how they compute, and the folders they are saved in.

In: the `towers` section of a recipe, a tokenizer, a seed, or a folder of a model. Out: modules that turn token ids
into vectors or scores, and folders with a contract (`mpr.json`) that sentence-transformers can open too.

There are three kinds: dual encoders (`towers`), cross-encoders, and late interaction. Nothing here knows a training
step or a loss. A name or path of a model becomes a local, verified folder in one place (`locate`).

Door: `towers.build`, `towers_folder.load`, `contract.read`, `locate`.
"""
