"""CATALOGUE: the commands of `mpr`. A file is named after one of its commands, or after what they do.

```
init.py        init, recipes
reproduce.py   reproduce, status, verify       search.py       encode, search, evaluate
check.py       check, plan, reference          compare.py      compare, fuse
data.py        data, audit                     generate.py     judge, generate, augment
pin.py         pin
training.py    mine, label, train, merge       publishing.py   push, pull
leaderboard.py leaderboard build, add, fail, expect
```

In: arguments of the command line. Out: calls of the rooms below, and what is printed.

A command only parses, calls and prints. Each imports what it needs when it runs, so that `mpr --help` is instant. The
docstring of a command is its help: what it reads, what it writes, and an example. `arguments` has shared options.

Door: the functions that `mpr/cli.py` registers.
"""
