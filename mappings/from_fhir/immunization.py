"""Immunization: counted by its code and not kept, because nothing here reads a vaccination."""

from mappings.from_fhir.collect import Collector, Record
from mappings.from_fhir.read import codes


def map_immunization(record: Record, out: Collector) -> None:
    if record.get("status") == "entered-in-error":
        return out.aside("status-withdrawn", record)
    return out.not_mapped(record, codes(record.get("vaccineCode")))
