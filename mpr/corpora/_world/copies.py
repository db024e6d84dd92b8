"""Copies: trivial edits that make a passage nearly, but not exactly, the same as another."""

from __future__ import annotations

from mpr.corpora._world.dice import Dice

# Words that never belong to a name, a date or a quantity, so that no answer is damaged.
_SWAPS = (
    (" nobody ", " no one "), (" anyone ", " anybody "), (" because of ", " owing to "), (" until ", " till "),
    (" is said to ", " is thought to "), (" around ", " round "), (" often ", " frequently "),
    (" fond of ", " partial to "),
    (" mostly ", " chiefly "), (" everywhere", " all over"), (" seldom ", " rarely "), (" although ", " though "),
    (" at once", " immediately"), ("; ", ", and "), (" beside ", " next to "), (" still ", " to this day "),
)  # fmt: skip
_TAILS = (
    " Sources differ on the details.", " More is not recorded.", " So far the older accounts.",
    " The rest is silence.", " Later editions leave this out.",
)  # fmt: skip


def edited(text: str, dice: Dice) -> str:
    """The text with one word exchanged where that is possible, or with an empty phrase at its end."""
    possible = [(old, new) for old, new in _SWAPS if old in text]
    if possible and dice.chance(0.7):
        old, new = dice.pick(possible)
        return text.replace(old, new, 1)
    return text + dice.pick(_TAILS)
