"""How a case may end, and the counts of an attack."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mpr.errors import MprError

LONGEST = 5_000  # characters of a message: a screen or two
_SHOWN = 20


@dataclass
class Attack:
    """Counts of what happened, and the cases in which something happened that must not."""

    ended: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

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

    @property
    def cases(self) -> int:
        return self.ended.total()

    def report(self) -> str:
        counts = ", ".join(f"{count:,} {word}" for word, count in sorted(self.ended.items()))
        shown = "".join(f"\n{failure}" for failure in self.failures[:_SHOWN])
        return f"{self.cases:,} cases: {counts}; {len(self.failures):,} failures{shown}"
