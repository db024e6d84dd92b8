"""Sources and labels at work: candidates for every training question, and what the labels make of them.

In: a dataset, its sources and labels. Out: candidate tables without known positives, and the knowledge of which pairs
are positive, negative or ignored. While training, the same is done again with the model as it is (`refresh`).

The work is done in chunks of questions, each a committed table: it can be stopped, continued and shared by processes,
and any chunk size gives the same bytes.

Door: `mine.mine` and `mine.knowledge`, `refresh.Refresh`, `clusters`.
"""
