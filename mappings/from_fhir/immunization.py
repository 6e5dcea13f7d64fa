"""Immunization → one fact: against what, given or not, when, which dose of the series."""

from mappings.from_fhir.collect import Collector, Record
from mappings.from_fhir.read import codes, moment
from mappings.vocabulary.facts import ImmunizationFact
from mappings.vocabulary.groups import vaccine_targets

_MOST_DOSES = 99
_SAID = frozenset({"completed", "not-done"})


def map_immunization(record: Record, out: Collector) -> None:
    """The lot, the maker and who gave it were removed before; what is left says what was given."""
    status = record.get("status", "")
    if status == "entered-in-error":
        return out.aside("status-withdrawn", record)
    if status not in _SAID:
        return out.aside("status-missing", record)
    if record.get("isSubpotent"):
        return out.aside("dose-subpotent", record)
    given = codes(record.get("vaccineCode"))
    system, code, against = _against(given)
    if not against:
        out.not_mapped(record, given)
    time, precision = moment(record.get("occurrenceDateTime"))
    dose, doses = _dose(record)
    out.immunizations.append(
        ImmunizationFact(against, system, code, status, record["id"], time, precision, dose, doses)
    )
    return None


def _against(given: list[tuple[str, str]]) -> tuple[str, str, tuple[str, ...]]:
    """By the code that says most; otherwise the first code, if there is any."""
    if not given:
        return "", "", ()
    system, code = max(given, key=lambda one: len(vaccine_targets(*one)))
    return system, code, vaccine_targets(system, code)


def _dose(record: Record) -> tuple[int | None, int | None]:
    """As one protocol states it; of several, which may count differently, none is taken."""
    protocols = record.get("protocolApplied") or []
    if len(protocols) != 1:
        return None, None
    return _number(protocols[0], "doseNumber"), _number(protocols[0], "seriesDoses")


def _number(protocol: Record, name: str) -> int | None:
    told = protocol.get(f"{name}PositiveInt")
    return int(told) if told is not None and 0 < told <= _MOST_DOSES else None
