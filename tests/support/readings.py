"""One record read both ways: as it arrived, and in order once it was there."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from privacy import gate
from privacy.pseudonyms import Pseudonyms
from privacy.vault import SubjectRecord
from service.fhir.packed import Packed
from service.fhir.record import PatientRecord
from service.pipeline.origin import without_own
from service.pipeline.reading import Ahead, Read, Reading

Json = dict[str, Any]
TWIN = "AAAAAAAAAAAAAAAAAAAAAA"


def link_of(record: PatientRecord, ids: Mapping[str, str]) -> SubjectRecord:
    return SubjectRecord(
        project="test/safe-harbor",
        base=record.base,
        patient=f"Patient/{record.patient_id}",
        twin=TWIN,
        epoch=datetime(2020, 5, 17, 11, 12, tzinfo=UTC),
        ids=Pseudonyms(ids),
        identity={},
    )


def reading_of(record: PatientRecord, patient: Json, day: date, ids: Mapping[str, str]) -> Reading:
    return Reading.of(patient, (link_of(record, ids), 0), "safe-harbor", day, record.base)


def read_in_order(record: PatientRecord, day: date) -> Read:
    foreign = without_own(record)
    patient = next(r for r in foreign.resources if r["resourceType"] == "Patient")
    reading = reading_of(record, patient, day, {})
    mapped = reading.facts(foreign.resources)
    identifying = gate.Growing()
    identifying.add(gate.collect_identifiers(foreign.resources))
    return Read(foreign, reading, mapped, identifying)


def told(read: Read) -> dict[str, Any]:
    """All that the rest of a run makes use of."""
    session, link = read.reading.session, read.reading.link
    return {
        "mapped": read.mapped,
        "counts": session.counts,
        "refusals": session.refusals,
        "labels": session.labels,
        "now": session.now,
        "refused": read.reading.refused.counts,
        "ids": link.ids.as_dict(),
        "identifying": read.identifying,
        "resources": list(read.record.resources),
        "completeness": read.record.completeness,
    }


def ahead_of(record: PatientRecord, day: date, ids: Mapping[str, str]) -> Ahead:
    """For a record of which is known already what pseudonyms it was given."""
    return Ahead(record.base, lambda patient: reading_of(record, patient, day, ids))


def read_ahead(
    record: PatientRecord, parts: Iterable[Packed], day: date, ids: Mapping[str, str]
) -> Read | None:
    with ahead_of(record, day, ids) as ahead:
        for part in parts:
            ahead.arrived(part)
        return ahead.read_of(record)


def check_same(record: PatientRecord, parts: Iterable[Packed], day: date) -> None:
    """Read as these parts came, it is what it is when read in order."""
    in_order = read_in_order(record, day)
    ahead = read_ahead(record, parts, day, in_order.reading.link.ids.as_dict())
    assert ahead is not None
    assert told(ahead) == told(in_order)
