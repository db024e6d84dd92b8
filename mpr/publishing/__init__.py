"""What leaves the machine: the leaderboard in the repository, and models on the Hub.

In: runs with results and receipts. Out: leaderboard entries, pages and figures; one commit on the Hub with model, card,
recipe, result and run file.

The leaderboard is a chain: `board_entries` takes a run in or refuses it, `_board` reads what was taken in and verifies
it, `_board_table`, `_board_verdicts` and `_board_figures` say what is shown, `_board_page` and `_board_drawing` write
it, and `board_lock` builds all of it, or checks that nobody edited a number, recipe or receipt since.

A push is a chain too: `publication` lists the files of a run (`_published_data` those of its candidates and vectors),
`_card` and `_card_snippets` write its card, `_secret_scan` reads everything for secrets and private paths, and `hub`,
the only uploader, sends it as one commit.

Door: `board_lock` (build, check), `board_entries` (add, expect, published models), `publication` (what is uploaded),
`hub` (push, pull).
"""
