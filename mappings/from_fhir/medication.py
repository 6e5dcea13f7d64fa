"""MedicationRequest and MedicationStatement → medicines, with what is in them."""

from mappings.from_fhir.collect import Collector, Record
from mappings.from_fhir.read import codes, moment, span
from mappings.vocabulary.facts import MedicationFact
from mappings.vocabulary.medications import Medicine, medication

_NOBODY_ORDERED = frozenset({"proposal", "option"})
_UNCODED = ("", "", Medicine((), ()))


def map_medication_request(record: Record, out: Collector) -> None:
    if record.get("doNotPerform"):
        return out.aside("do-not-perform", record)
    if record.get("intent") in _NOBODY_ORDERED:
        return out.aside("not-an-order", record)
    validity = (record.get("dispenseRequest") or {}).get("validityPeriod") or {}
    start, precision = moment(record.get("authoredOn") or validity.get("start"))
    end, _ = moment(validity.get("end"))
    return _map(record, out, "request", start, precision, end)


def map_medication_statement(record: Record, out: Collector) -> None:
    (start, precision), (end, _) = span(record, "effective")
    return _map(record, out, "statement", start, precision, end)


def _map(
    record: Record, out: Collector, kind: str, start: int | None, precision: str, end: int | None
) -> None:
    status = record.get("status", "unknown")
    if status == "entered-in-error":
        return out.aside("status-withdrawn", record)
    given = _codes_of(record, out)
    system, code, medicine = _resolve(given)
    if not medicine.classes and not medicine.ingredients:
        out.not_mapped(record, given)
    out.medications.append(
        MedicationFact(
            classes=medicine.classes,
            ingredients=medicine.ingredients,
            system=system,
            code=code,
            status=status,
            source=record["id"],
            kind=kind,
            start=start,
            start_precision=precision,
            end=end,
        )
    )
    return None


def _codes_of(record: Record, out: Collector) -> list[tuple[str, str]]:
    """The codes of the medicine, inline or in the Medication resource it points to."""
    inline = codes(record.get("medicationCodeableConcept"))
    if inline:
        return inline
    reference = (record.get("medicationReference") or {}).get("reference", "")
    return codes(out.medicines.get(reference, {}).get("code"))


def _resolve(given: list[tuple[str, str]]) -> tuple[str, str, Medicine]:
    """The first code that says what is in it; otherwise the first code, if there is any.

    A medicine without a code is kept for its status: one that was stopped may be any medicine of
    the past, but it is none that is taken now.
    """
    resolved = [(system, code, medication(system, code)) for system, code in given] or [_UNCODED]
    return next((r for r in resolved if r[2].classes or r[2].ingredients), resolved[0])
