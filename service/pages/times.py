"""The twin's own clock, for people: how long before the twin's now something was."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.pages import words


@dataclass(frozen=True, slots=True)
class TwinClock:
    now: int
    unit: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "TwinClock":
        return cls(document["twin"]["now"], document["twin"]["timeUnit"])

    def days(self, offset: int) -> float:
        return words.days_before(offset, self.now, self.unit)

    def ago(self, offset: int | None, precision: str = "day") -> str:
        """Empty where the time is not known."""
        return "" if offset is None else words.ago(offset, self.now, self.unit, precision)
