"""CATALOGUE: the commands of `mpr`, one file per group of commands.

In: arguments of the command line. Out: calls of the rooms below, and what is printed.

A command only parses, calls and prints. Each imports what it needs when it runs, so that `mpr --help` is instant. The
docstring of a command is its help: what it reads, what it writes, and an example.

Door: the functions that `mpr/cli.py` registers.
"""
