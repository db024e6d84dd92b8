"""Training: from a recipe and its data to a folder with a trained model.

In: a recipe, prepared data, the processes of a launch. Out: a run folder with checkpoints, a log and `model/`.

The order of work stands in `launch`: hold the folder, prepare the data, build the model, train, write. `_block` shares
the loss of a step over processes and chunks with the gradient of the whole step; `_loss` adds up objectives;
`_trainer` is the subclass of transformers' `Trainer`. A run that was stopped continues bit for bit (one process, CPU).

Door: `launch.run`, `run_folder.RunFolder`, `starts` (what a training starts from).
"""
