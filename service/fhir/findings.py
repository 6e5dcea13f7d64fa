"""What `twinport server check` says: one line each, about types and settings, never a patient."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    WORKS = "works"
    MISSING = "missing"  # it will not be in any twin from here
    REFUSED = "refused"
    ASK = "ask"  # what the operator of that server can do about it
    BROKEN = "broken"  # nothing can be pulled


@dataclass(frozen=True, slots=True)
class Finding:
    level: Level
    about: str
    text: str

    def as_dict(self) -> dict[str, str]:
        return {"level": str(self.level), "about": self.about, "text": self.text}
