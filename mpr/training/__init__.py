"""Training: from a recipe and its data to a folder with a trained model.

In: a recipe, prepared data, the processes of a launch. Out: a run folder with checkpoints, a log and `model/`.

The order of work: `launch` holds the folder and prepares the data; `_fit.fit` reads from top to bottom what a training
does; `learner` says what learns, which loss its steps have, and what it leaves. `_block` shares the loss of a step over
processes and chunks with the gradient of the whole step; `_loss` adds up objectives; `_trainer` is the subclass of
transformers' `Trainer`, which knows one loss and no kinds of model. What a step needs beside its draw (vectors of
passages that do not learn, a search, a teacher) comes by one hook, `Completed` in `_block`. A run that was stopped
continues bit for bit (one process, CPU).

Door: `launch.run`, `run_folder.RunFolder`, `learner.untrained`.
"""
