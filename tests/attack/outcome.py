"""How a case may end, and the counts of an attack."""

from __future__ import annotations

import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mpr.errors import MprError

LONGEST = 5_000  # characters of a message: a screen or two
_SHOWN = 20
_EVERY = 20.0  # seconds between two lines that say how far it is


@dataclass
class Attack:
    """Counts of what happened, and the cases in which something happened that must not."""

    ended: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def turns(self, cases: int, seed: int, start: int) -> Iterator[tuple[int, random.Random]]:
        """Number of each case with randomness of its own; says now and then on stderr how far it is."""
        told = began = time.monotonic()
        for number in range(start, start + cases):
            yield number, random.Random(f"{seed}-{number}")
            if (now := time.monotonic()) - told >= _EVERY:
                told = now
                done = f"case {number:,}, {number + 1 - start:,} of {cases:,} in {now - began:,.0f} s"
                print(f"{done}, {len(self.failures):,} failures", file=sys.stderr, flush=True)

    def case(self, name: str, act: Callable[[], Any]) -> Any:
        """Does it; a result or one of mpr's own refusals in plain characters is a good end, anything else a failure."""
        try:
            found = act()
        except MprError as error:
            self.ended["refused"] += 1
            said = str(error)
            if len(said) > LONGEST * max(1, len(error.problems)):
                self.failed(name, f"a message of {len(said):,} characters")
            elif strange := {sign for sign in said if not sign.isprintable() and sign != "\n"}:
                self.failed(name, f"a message with {sorted(map(ascii, strange))}")
            return error
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 (libraries of Rust end with exceptions of their own kind)
            self.ended["failed"] += 1
            self.failed(name, traceback.format_exc(limit=-4))
            return None
        self.ended["accepted"] += 1
        return found

    def failed(self, name: str, why: str) -> None:
        self.failures.append(f"{name}: {why}")
        print(f"FAILED {self.failures[-1]}", file=sys.stderr, flush=True)

    @property
    def cases(self) -> int:
        return self.ended.total()

    def report(self) -> str:
        counts = ", ".join(f"{count:,} {word}" for word, count in sorted(self.ended.items()))
        shown = "".join(f"\n{failure}" for failure in self.failures[:_SHOWN])
        return f"{self.cases:,} cases: {counts}; {len(self.failures):,} failures{shown}"
