"""Procedure → one fact for each group its codes belong to."""

from mappings.from_fhir.collect import Collector, Record
from mappings.from_fhir.read import codes, span
from mappings.vocabulary.facts import ProcedureFact
from mappings.vocabulary.groups import PROCEDURES


def map_procedure(record: Record, out: Collector) -> None:
    status = record.get("status", "unknown")
    if status == "entered-in-error":
        return out.aside("status-withdrawn", record)
    given = codes(record.get("code"))
    grouped = _grouped(given)
    if not grouped:
        out.not_mapped(record, given)
        grouped = [("", *given[0])] if given else []
    (start, precision), (end, _) = span(record, "performed")
    for group, system, code in grouped:
        out.procedures.append(
            ProcedureFact(group, system, code, status, record["id"], start, precision, end)
        )
    return None


def _grouped(given: list[tuple[str, str]]) -> list[tuple[str, str, str]]:
    groups: dict[str, tuple[str, str]] = {}
    excluded: set[str] = set()
    for system, code in given:
        membership = PROCEDURES.membership(system, code)
        excluded |= membership.excluded
        for group in membership.groups:
            groups.setdefault(group, (system, code))
    return [(group, *groups[group]) for group in sorted(groups.keys() - excluded)]
