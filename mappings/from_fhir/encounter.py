"""Encounter → when the person was where: ambulatory, emergency, inpatient ..."""

from mappings.from_fhir.collect import Collector, Record
from mappings.from_fhir.read import moment
from mappings.vocabulary.answers import hl7_codes
from mappings.vocabulary.facts import EncounterFact

_CLASSES = hl7_codes("encounter-class")


def map_encounter(record: Record, out: Collector) -> None:
    status = record.get("status", "unknown")
    if status == "entered-in-error":
        return out.aside("status-withdrawn", record)
    kind = (record.get("class") or {}).get("code", "")
    period = record.get("period") or {}
    start, precision = moment(period.get("start"))
    end, _ = moment(period.get("end"))
    out.encounters.append(
        EncounterFact(
            kind=kind if kind in _CLASSES else "",
            status=status,
            source=record["id"],
            start=start,
            start_precision=precision,
            end=end,
        )
    )
    return None
