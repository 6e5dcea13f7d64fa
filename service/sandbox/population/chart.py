"""One patient's record while it is being written: ids, times, references, metadata."""

from datetime import UTC, date, datetime, timedelta, timezone
from random import Random
from typing import Any

from service.sandbox.population.body import Body

DAYS_PER_YEAR = 365.2425
EHR = "https://ehr.example.org"
Resource = dict[str, Any]

_SHORT = {
    "Encounter": "enc", "Observation": "obs", "Condition": "con", "MedicationRequest": "med",
    "Procedure": "pro", "ImagingStudy": "img", "AllergyIntolerance": "alg", "Immunization": "imm",
    "FamilyMemberHistory": "fam", "DiagnosticReport": "rep", "DocumentReference": "doc",
    "Device": "dev",
}  # fmt: skip


class Chart:
    def __init__(self, spec: dict[str, Any], anchor: date, seed: int) -> None:
        self.spec = spec
        self.id = str(spec["id"])
        self.anchor = anchor
        self.rng = Random(f"{seed}/{self.id}")  # noqa: S311 - made-up data, not a secret
        self.body = Body(spec, self.rng)
        self.zone = timezone(timedelta(hours=self.rng.choice((-8, -6, -5, -5, 1, 2))))
        self.mrn = f"{self.rng.randrange(1_000_000, 9_999_999)}"
        self.given, self.family = spec["name"]
        self.resources: list[Resource] = []
        self.awkward_ids: dict[str, str] = {}
        self._counters: dict[str, int] = {}

    def number(self, kind: str, prefix: str, digits: int) -> dict[str, str]:
        """A business identifier with a random number, as every department of a hospital gives."""
        value = self.rng.randrange(10 ** (digits - 1), 10**digits)
        return {"system": f"{EHR}/{kind}", "value": f"{prefix}{value}"}

    # -- people and names ------------------------------------------------------------------------

    @property
    def full_name(self) -> str:
        return f"{self.given} {self.family}"

    @property
    def subject(self) -> dict[str, str]:
        return {"reference": f"Patient/{self.id}", "display": self.full_name}

    def wants(self, name: str) -> bool:
        return name in self.spec.get("awkward", [])

    def omits(self, name: str) -> bool:
        return name in self.spec.get("omit", [])

    # -- time --------------------------------------------------------------------------------------

    def day(self, t: float) -> date:
        """The calendar day that lies t years from the anchor (negative: before)."""
        return self.anchor + timedelta(days=round(t * DAYS_PER_YEAR))

    def years(self, day: date) -> float:
        return (day - self.anchor).days / DAYS_PER_YEAR

    def moment(self, t: float, minutes: int | None = None) -> datetime:
        """A time of day in office hours on that day, in the patient's own zone."""
        chosen = self.rng.randrange(7 * 60, 17 * 60) if minutes is None else minutes
        start = datetime.combine(self.day(t), datetime.min.time(), self.zone)
        return start + timedelta(minutes=chosen)

    @property
    def birth(self) -> date:
        return self.anchor - timedelta(days=round(float(self.spec["age"]) * DAYS_PER_YEAR))

    # -- writing -----------------------------------------------------------------------------------

    def add(self, kind: str, at: datetime, body: Resource) -> Resource:
        number = self._counters.get(kind, 0) + 1
        self._counters[kind] = number
        identity = f"{self.id}-{_SHORT[kind]}{number:03d}"
        filed = min(at + timedelta(minutes=self.rng.randrange(3, 90)), self._last_moment())
        meta = {"versionId": "1", "lastUpdated": _instant(filed)}
        if number % 7 == 1:
            # Real feeds leave the record number in the source URL.
            meta["source"] = f"{EHR}/feeds/{self.mrn}#{kind.lower()}"
        resource = {"resourceType": kind, "id": identity, "meta": meta, **body}
        self.resources.append(resource)
        return resource

    def nearest(self, kind: str, element: str, at: datetime) -> Resource | None:
        """The resource of a kind closest in time, if it was within two months."""
        found = [r for r in self.resources if r["resourceType"] == kind]
        gaps = [(abs(datetime.fromisoformat(r[element]) - at), r["id"], r) for r in found]
        gap, _, resource = min(gaps, default=(timedelta.max, "", None), key=lambda row: row[:2])
        return resource if gap.days < 60 else None

    def encounter_near(self, at: datetime) -> Resource:
        """`{"encounter": …}` with the visit closest in time if it was within a week, else empty."""
        visits = [r for r in self.resources if r["resourceType"] == "Encounter"]
        gaps = [(abs(datetime.fromisoformat(v["period"]["start"]) - at), v["id"]) for v in visits]
        gap, identity = min(gaps, default=(timedelta.max, ""))
        return {"encounter": reference_to("Encounter", identity)} if gap.days < 7 else {}

    def _last_moment(self) -> datetime:
        return datetime.combine(self.anchor, datetime.min.time(), UTC)

    def mark_awkward(self, resource: Resource, reason: str) -> None:
        """Note a resource that strict R4 parsers refuse, with the reason."""
        self.awkward_ids[f"{resource['resourceType']}/{resource['id']}"] = reason


def stamp(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def reference_to(kind: str, identity: str) -> dict[str, str]:
    return {"reference": f"{kind}/{identity}"}


def reference(resource: Resource) -> dict[str, str]:
    return reference_to(resource["resourceType"], resource["id"])


def narrative(text: str) -> dict[str, str]:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    return {
        "status": "generated",
        "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{escaped}</div>',
    }
