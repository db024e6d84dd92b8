"""What a program runs in: its processes, its machine, its random numbers.

In: the environment variables of a launcher, seeds. Out: which process of how many this is (`Place`), processes that
work together (`Group`), the facts that a receipt states about machine and software, and random bits that depend on
nothing but a seed and the coordinates of what is drawn.

Nothing here knows recipes, data or models. `environment` looks at torch only if somebody else loaded it.

Door: `command.running` (the life of a command: its screen, signals and end), `processes.Place`, `processes.Group`,
`progress.bar`, `environment.snapshot`, `randomness.bits`, `installation` (which distribution this is).
"""
