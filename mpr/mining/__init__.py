"""Sources and labels at work: candidates for every training question, and what the labels make of them.

In: a dataset, its sources and labels. Out: candidate tables without known positives, the knowledge of which pairs are
positive, negative or ignored, and the evidence that weights of candidates go by. During training `refresh` mines again
with the model as it is then; `mpr/recipe/schedule.py` says at which updates.

`Mined` is all of this for one split. It computes each part once, and whoever has it hands it on: the stages of a row,
the launch of a training, the commands `mine` and `label`. The tables are made in chunks of questions, each a committed
table: the work can be stopped, continued and shared by processes, and any chunk size gives the same bytes.

Door: `mine.Mined`, `refresh.Refresh`, `clusters`.
"""
