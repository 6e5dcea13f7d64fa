"""The dispatch table, and the one function that maps a patient's records."""

from collections.abc import Callable, Iterable

from mappings.from_fhir.allergy import map_allergy
from mappings.from_fhir.collect import Collector, Record
from mappings.from_fhir.condition import map_condition
from mappings.from_fhir.encounter import map_encounter
from mappings.from_fhir.family import map_family_history
from mappings.from_fhir.imaging import map_imaging_study, map_report
from mappings.from_fhir.immunization import map_immunization
from mappings.from_fhir.medication import map_medication_request, map_medication_statement
from mappings.from_fhir.observation import map_alike, map_observation
from mappings.from_fhir.patient import map_patient
from mappings.from_fhir.procedure import map_procedure
from mappings.from_fhir.settle import settle
from mappings.vocabulary.facts import Mapped

# A new resource type is one module and one row. Medication is read ahead: others point to it.
MAPPERS: dict[str, Callable[[Record, Collector], None]] = {
    "AllergyIntolerance": map_allergy,
    "Condition": map_condition,
    "DiagnosticReport": map_report,
    "Encounter": map_encounter,
    "FamilyMemberHistory": map_family_history,
    "ImagingStudy": map_imaging_study,
    "Immunization": map_immunization,
    "MedicationRequest": map_medication_request,
    "MedicationStatement": map_medication_statement,
    "Observation": map_observation,
    "Patient": map_patient,
    "Procedure": map_procedure,
}


# A completed year more, and up to another where only the year of birth was known.
_BORN_WITHIN = 2
_LONGEST_YEAR = 366


# They point to medicines, which may come after them.
_WAITING = frozenset({"MedicationRequest", "MedicationStatement"})
_AT_ONCE = {kind: mapper for kind, mapper in MAPPERS.items() if kind not in _WAITING}


def map_records(records: Iterable[Record], now: int | None = None, per_day: int = 1) -> Mapped:
    """Facts of one patient's de-identified records, whatever order they come in.

    With `now` (an offset; `per_day` offsets make a day) what is dated before the person can have
    been born is set aside: the records tell an age, and never a birthday.
    """
    return map_unique(_once(records), now, per_day)


def map_unique(records: Iterable[Record], now: int | None = None, per_day: int = 1) -> Mapped:
    """The same where no two records share an id: none is held longer than mapping it takes."""
    out, waiting = Collector(), list[Record]()
    for record in records:
        _map(record, out, waiting)
    return _settled(out, waiting, now, per_day)


def map_groups(groups: Iterable[list[Record]], now: int | None = None, per_day: int = 1) -> Mapped:
    """The same of records that come in lists; those of one list differ in ids, references, times
    and numbers alone."""
    out, waiting = Collector(), list[Record]()
    for group in groups:
        if group[0]["resourceType"] == "Observation":
            map_alike(group, out)
        else:
            for record in group:
                _map(record, out, waiting)
    return _settled(out, waiting, now, per_day)


def _map(record: Record, out: Collector, waiting: list[Record]) -> None:
    kind = record["resourceType"]
    mapper = _AT_ONCE.get(kind)
    if mapper is not None:
        mapper(record, out)
    elif kind == "Medication":
        out.medicines[f"Medication/{record['id']}"] = record
    elif kind in _WAITING:
        waiting.append(record)


def _settled(out: Collector, waiting: list[Record], now: int | None, per_day: int) -> Mapped:
    for record in waiting:
        MAPPERS[record["resourceType"]](record, out)
    out.birth = _earliest_birth(out, now, per_day)
    return settle(out)


def _earliest_birth(out: Collector, now: int | None, per_day: int) -> int | None:
    """The age counts at `now`, or at a death known to the day; 90 may be any age above."""
    ages = [s.age for s in out.subjects if s.age is not None and not s.age_top_coded]
    if now is None or not ages:
        return None
    reference = now if out.death is None else min(now, out.death)
    return reference - (max(ages) + _BORN_WITHIN) * _LONGEST_YEAR * per_day


def _once(records: Iterable[Record]) -> list[Record]:
    """Each record once. Of two that share an id and differ, the choice ignores their order."""
    unique: dict[str, Record] = {}
    for record in records:
        known = unique.setdefault(record["id"], record)
        if known is not record and known != record:
            unique[record["id"]] = min(known, record, key=_spelled)
    return list(unique.values())


def _spelled(record: Record) -> str:
    return repr(sorted(record.items()))
