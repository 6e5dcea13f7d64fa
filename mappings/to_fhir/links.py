"""What only the service knows: whom the assessment is about, and where its inputs came from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

SCALES = ("percent", "fraction")


class LinksError(ValueError):
    """The links cannot be used. Names the field, never its value."""


@dataclass(frozen=True, slots=True)
class Links:
    """Plain data; the only place where an assessment and an identity meet."""

    subject: str
    """`Patient/<id>` on the target server."""
    sources: Mapping[int, str]
    """Source index of the twin → reference on the target server."""
    occurrence: datetime
    """When the assessment holds; with a time zone."""
    identifier: tuple[str, str]
    """System and value under which the result is written exactly once."""
    code_base: str
    """Base URI of our code systems."""
    software: str
    probability_scale: str = "percent"
    """R4 says percent; some servers hold fractions."""
    partial: tuple[str, ...] = ()
    """Resource types of which not everything was seen."""
    revises: tuple[str, ...] = ()
    """Earlier results on the target server that this one takes the place of."""
    encounter: str = ""
    """`Encounter/<id>` on the target server, where it is known."""
    until: date | None = None
    """The last day on which it may be shown as current; None: nothing ends it."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Reason of a refusal → its sentence for people."""

    def __post_init__(self) -> None:
        problems = {
            "subject": "Patient/" not in self.subject,
            "occurrence": self.occurrence.tzinfo is None,
            "identifier": not all(self.identifier),
            "code_base": not self.code_base or self.code_base.endswith("/"),
            "probability_scale": self.probability_scale not in SCALES,
        }
        for name, wrong in problems.items():
            if wrong:
                raise LinksError(f"Links.{name} cannot be used as given")
