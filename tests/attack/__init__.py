"""The attack: seeded damage to everything that mpr reads, as many cases as one asks for.

`python -m tests.attack KIND --cases N --seed S` prints what was tried, and ends with 1 if a case ended in anything but
a result or one of mpr's own refusals. `make attack` runs all kinds at the sizes that docs/reliability.md names; the
default test suite runs a small share of each.

Every case has randomness of its own, drawn from the seed and its number: `--from 1234 --cases 1` repeats case 1234
alone, and a run that was stopped goes on from the number that it printed last.

A kind is one file: what it damages, and what must hold after each case.
"""
