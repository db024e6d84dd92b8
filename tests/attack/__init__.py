"""The attack: seeded damage to everything that mpr reads, as many cases as one asks for.

`python -m tests.attack KIND --cases N --seed S` prints what was tried, and ends with 1 if a case ended in anything but
a result or one of mpr's own refusals. `make attack` runs all kinds at the sizes that docs/reliability.md names; the
default test suite runs a small share of each.

A kind is one file: what it damages, and what must hold after each case.
"""
