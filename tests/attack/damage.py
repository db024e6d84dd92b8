"""Ways to damage bytes, whatever they say. Each takes a source of randomness and gives other bytes back."""

from __future__ import annotations

import random
from collections.abc import Callable

Damage = Callable[[random.Random, bytes], bytes]

_WORDS = [
    b"NaN", b"Infinity", b"-1", b"1e999", b"1" * 400, b"9" * 5_000, b"0x10", b"null", b"true", b'""', b"{}", b"[]",
    b"\\ud800", b"\\u0000", b"\xff\xfe", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x00", b"\x1b[2J", b"\x85",
    b"\xe2\x80\xa8", b"../../etc/passwd", b"a" * 70_000, b"(?R)", b"(a+)+$", b"'; --", b"%s%n", b"\r", b"\t\t", b"\n\n",
    b'"', b"\\",
]  # fmt: skip


def _place(dice: random.Random, data: bytes) -> int:
    return dice.randrange(len(data) + 1)


def flipped(dice: random.Random, data: bytes) -> bytes:
    if not data:
        return b"\x80"
    damaged = bytearray(data)
    for _ in range(dice.choice([1, 1, 1, 8])):
        damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
    return bytes(damaged)


def cut(dice: random.Random, data: bytes) -> bytes:
    return data[: _place(dice, data)]


def without_a_part(dice: random.Random, data: bytes) -> bytes:
    start = _place(dice, data)
    return data[:start] + data[start + dice.choice([1, 2, 10, 100]) :]


def with_a_word(dice: random.Random, data: bytes) -> bytes:
    start = _place(dice, data)
    return data[:start] + dice.choice(_WORDS) + data[start + dice.choice([0, 0, 1, 5]) :]


def with_a_value(dice: random.Random, data: bytes) -> bytes:
    """Something else in the place of a value between two signs of JSON, YAML or a table."""
    places = [place for place, byte in enumerate(data) if byte in b':,[\t\n "']
    if len(places) < 2:
        return with_a_word(dice, data)
    number = dice.randrange(len(places) - 1)
    return data[: places[number] + 1] + dice.choice(_WORDS) + data[places[number + 1] :]


def doubled(dice: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    lines.insert(dice.randrange(len(lines) + 1), dice.choice(lines))
    return b"\n".join(lines)


def exchanged(dice: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    one, other = dice.randrange(len(lines)), dice.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"\n".join(lines)


def deep(dice: random.Random, data: bytes) -> bytes:
    start, sign = _place(dice, data), dice.choice([b"[", b"{", b'{"a":', b"(", b"- "])
    return data[:start] + sign * dice.choice([50, 5_000]) + data[start:]


def other_ends(dice: random.Random, data: bytes) -> bytes:
    return data.replace(b"\n", dice.choice([b"\r\n", b"\r", b"\n\n", b""]))


DAMAGES: tuple[Damage, ...] = (
    flipped, cut, without_a_part, with_a_word, with_a_value, with_a_value, doubled, exchanged, deep, other_ends,
)  # fmt: skip


def damaged(dice: random.Random, data: bytes) -> bytes:
    """By one kind of damage, now and then by several."""
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        data = dice.choice(DAMAGES)(dice, data)
    return data
