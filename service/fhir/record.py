"""One patient's resources as a source gave them, and how complete they are."""

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.fhir.errors import FhirError

Resource = dict[str, Any]
NOT_ASKED = "not-asked"
IN_PARTS = "by-category"


@dataclass(frozen=True, slots=True)
class SafetyEvent:
    """Something that could have put another person's data into this record. Holds no identity."""

    kind: str
    """`foreign-subject`, `parameter-ignored`, `patient-merged`, `patient-mismatch`,
    `change-untold`"""
    type: str
    count: int


@dataclass(slots=True)
class PatientRecord:
    patient_id: str = field(repr=False)
    base: str = field(repr=False)
    """What makes the ids unique: the server's base URL, or a name for a file without one. Made of
    identity in the latter case: for the vault's keyed index, never to be stored or logged."""
    resources: Sequence[Resource] = field(repr=False)
    """Each (type, id) once. Read only: what came from a server is parsed at each look."""
    completeness: dict[str, Any]
    safety: list[SafetyEvent] = field(default_factory=list)
    out_of_scope: dict[str, int] = field(default_factory=dict)
    """Resources of types nobody here reads, by type, in all that was read."""
    not_read: dict[str, int] = field(default_factory=dict)
    """Those of them that came with this patient; none where several share a file, in which nobody
    looks into them to tell whose they are."""
    series: dict[str, list[Resource]] = field(default_factory=dict, repr=False)
    """DICOM metadata of images, by the `uid` of the series of an ImagingStudy."""
    deleted: Container[str] = field(default=frozenset(), repr=False)
    """`Type/id` of what the source says it deleted."""
    withdrawn: Mapping[str, str] = field(default_factory=dict, repr=False)
    """`Type/id` of what came and is no fact any more, or never was → the twin's word for it."""


Pulled = PatientRecord


@dataclass(slots=True)
class Slice:
    """What was asked and answered for one resource type."""

    type: str
    queries: int = 0
    refused: int = 0
    pages: int = 0
    matches: int = 0
    duplicates: int = 0
    outcomes: int = 0
    truncated: bool = False
    server_total: int | None = None
    dropped: Counter[str] = field(default_factory=Counter)
    lost: bool = False
    """Something that belonged here did not arrive."""
    finished: int = 0
    """Queries answered to the last page."""
    reason: str | None = None
    rests: str | None = None
    """What it rests on where not on one full pull (`since.COUNTED`, `since.UNCOUNTED`)"""
    full_days_ago: int | None = None
    in_parts: bool = False
    """Asked for category by category: what has none is never found."""
    declined: int = 0
    """Of these, categories that the server does not know; each among `refused`."""
    asked: set[str] = field(default_factory=set)
    """The forms of all questions sent (`forms`), those refused or put again in another form too"""

    def failed(self, error: FhirError) -> None:
        self.refused += 1
        self.reason = self.reason or error.code

    def not_asked(self, reason: str) -> None:
        self.reason = self.reason or reason

    def cut(self, reason: str) -> None:
        self.truncated = True
        self.reason = self.reason or reason

    def lose(self, reason: str) -> None:
        self.lost = True
        self.reason = self.reason or reason

    @property
    def verdict(self) -> str:
        """complete: all that was asked was answered to the last page; unknown: nothing was."""
        if self.finished == 0 and self.matches == 0:
            return "unknown"
        whole = self.whole and not self.in_parts
        return "complete" if whole else "partial"

    @property
    def whole(self) -> bool:
        """Whatever could be asked was answered to the last page."""
        answered = self.finished + self.declined == self.queries and self.finished > 0
        return answered and not (self.truncated or self.lost)

    @classmethod
    def unasked(cls, kind: str) -> "Slice":
        """Nobody wanted to know: neither found nor absent."""
        return cls(kind, reason=NOT_ASKED)

    def as_dict(self) -> dict[str, Any]:
        verdict = self.verdict
        row: dict[str, Any] = {
            "type": self.type,
            "verdict": verdict,
            "queries": self.queries,
            "asked": sorted(self.asked),
            "refused": self.refused,
            "pages": self.pages,
            "matches": self.matches,
            "duplicates": self.duplicates,
            "dropped": dict(sorted(self.dropped.items())),
            "outcomes": self.outcomes,
            "truncated": self.truncated,
        }
        if self.server_total is not None:
            row["serverTotal"] = self.server_total
        if self.rests is not None:
            row |= {"rests": self.rests, "fullDaysAgo": self.full_days_ago or 0}
        if verdict != "complete":
            row["reason"] = self.reason or (IN_PARTS if self.in_parts else NOT_ASKED)
        return row
