"""Whom a run is about: birth and death as the Patient resource tells them, and the sealed epoch."""

import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from privacy.times import Moment, completed_years, parse

EPOCH_DAYS = 3653  # ten years
OLDEST = 125  # an older "age" is a placeholder, not a person

_SECURE = random.SystemRandom()


def draw_epoch(reference: date, rng: random.Random = _SECURE) -> datetime:
    """The zero of a new twin: any minute of the ten years around the reference day, each as likely.

    Drawn once per patient and project and kept in the vault alone. Policies that count days use its
    day; those that count minutes use its minute too, so that offsets do not tell the time of day.
    """
    day = reference + timedelta(days=rng.randrange(EPOCH_DAYS) - EPOCH_DAYS // 2)
    minute = rng.randrange(1440)
    return datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=UTC)


@dataclass(frozen=True, slots=True, repr=False)
class Life:
    """Birth and death as far as the Patient resource tells them."""

    born: Moment | None = None
    died: Moment | None = None
    dead: bool = False

    @staticmethod
    def of(patient: Mapping[str, Any] | None) -> "Life":
        source = patient if type(patient) is dict else {}
        died = parse(source.get("deceasedDateTime"))
        dead = "deceasedDateTime" in source or source.get("deceasedBoolean") is True
        return Life(parse(source.get("birthDate")), died, dead)

    def until(self, now: date) -> "Life":
        """The same life as it was known at `now`: who dies later is alive."""
        if self.died is not None and self.died.first > now:
            return Life(self.born)
        return self

    def reference(self, now: date) -> date:
        """The day up to which an age counts: death, else now."""
        return min(now, self.died.last) if self.died is not None else now

    def age(self, now: date) -> int | None:
        """Completed years, of an imprecise birth as if in the middle of its month or year."""
        if self.born is None or (self.dead and self.died is None):
            return None
        at = min(now, self.died.middle) if self.died is not None else now
        years = completed_years(self.born.middle, at)
        if years < 0 and self.born.first <= at:
            return 0
        return years if 0 <= years <= OLDEST else None

    def may_be_over(self, top: int, now: date) -> bool:
        """Whether the age may have reached the top, at the earliest birth that is meant."""
        if self.born is None:
            return False
        at = min(now, self.died.last) if self.died is not None else now
        return completed_years(self.born.first, at) >= top


def no_links() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True, repr=False)
class SubjectContext:
    """What the de-identifier must know of one patient; has no printable form on purpose."""

    patient_id: str
    epoch: datetime
    now: date
    pseudonym: Callable[[str, str], str]
    life: Life = field(default_factory=Life)
    links: Mapping[str, str] = field(default_factory=no_links)  # fullUrl -> Type/id
    bases: Collection[str] = ()  # base URLs under which the server's own resources are known

    @staticmethod
    def of(
        patient: Mapping[str, Any],
        *,
        epoch: datetime,
        now: date,
        pseudonym: Callable[[str, str], str],
        links: Mapping[str, str] | None = None,
        bases: Collection[str] = (),
    ) -> "SubjectContext":
        """From the patient's own resource: birth and death are read here and stay here."""
        patient_id = patient.get("id")
        return SubjectContext(
            patient_id=patient_id if type(patient_id) is str else "",
            epoch=epoch,
            now=now,
            pseudonym=pseudonym,
            life=Life.of(patient),
            links=links or {},
            bases=tuple(base.rstrip("/") + "/" for base in bases),
        )
