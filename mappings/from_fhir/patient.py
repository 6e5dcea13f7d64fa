"""Patient → what the policy lets through of the person."""

from mappings.from_fhir.collect import Collector, Record
from mappings.from_fhir.read import moment
from mappings.vocabulary.facts import SubjectFact

_SEXES = frozenset({"female", "male", "other", "unknown"})
_EXACT = frozenset({"day", "minute"})


def map_patient(record: Record, out: Collector) -> None:
    sex = record.get("gender", "unknown")
    deceased_at, precision = moment(record.get("deceasedAt"))
    if deceased_at is not None and precision in _EXACT:
        out.death = deceased_at if out.death is None else min(out.death, deceased_at)
    out.subjects.append(
        SubjectFact(
            sex=sex if sex in _SEXES else "unknown",
            source=record["id"],
            age=record.get("age"),
            age_top_coded=bool(record.get("ageTopCoded")),
            deceased=bool(record.get("deceased")) or deceased_at is not None,
            deceased_at=deceased_at,
            deceased_precision=precision,
        )
    )
