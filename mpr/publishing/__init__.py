"""What leaves the machine: the leaderboard in the repository, and models on the Hub.

In: runs with results and receipts. Out: leaderboard entries, pages and figures; one commit on the Hub with model, card,
recipe, result and run file.

Only `hub` uploads. Everything that is to be uploaded is scanned for secrets and private paths first. The leaderboard is
built from its entries alone, and `--check` finds any edited number.

Door: `board` (the leaderboard), `publication` (what is uploaded), `hub` (push and pull).
"""
