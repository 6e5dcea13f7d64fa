"""MedicationRequest and MedicationStatement → medicines, with what is in them."""

from mappings.from_fhir.collect import Collector, Record
from mappings.from_fhir.read import codes, moment, span
from mappings.vocabulary.doses import Dose, dose
from mappings.vocabulary.facts import MedicationFact
from mappings.vocabulary.medications import Medicine, medication

_NOBODY_ORDERED = frozenset({"proposal", "option"})
_IN_DAYS = {"h": 1 / 24, "d": 1.0, "wk": 7.0}  # a month is no number of days
_LONGEST_SUPPLY, _MOST_REPEATS, _MOST_TIMES = 3650, 99, 96
_DOSES = {"doseQuantity", "doseRange"}
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
    amount = _dose(record, out)
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
            supply_days=_supply_days(record),
            repeats=_repeats(record),
            times_per_day=_times_per_day(record),
            dose=None if amount is None else amount.value,
            dose_unit="" if amount is None else amount.unit,
        )
    )
    return None


def _supply_days(record: Record) -> int | None:
    """Whole days, from a duration in days or weeks."""
    told = (record.get("dispenseRequest") or {}).get("expectedSupplyDuration") or {}
    unit, value = _IN_DAYS.get(told.get("code", "")), told.get("value")
    if unit is None or value is None or told.get("comparator"):
        return None
    days = round(value * unit, 6)
    return int(days) if days == int(days) and 0 < days <= _LONGEST_SUPPLY else None


def _repeats(record: Record) -> int | None:
    told = (record.get("dispenseRequest") or {}).get("numberOfRepeatsAllowed")
    return int(told) if told is not None and 0 <= told <= _MOST_REPEATS else None


def _times_per_day(record: Record) -> float | None:
    """Of one instruction with one regular rule; a range, several rules, or "as needed" is none."""
    given = _dosages(record)
    if len(given) != 1 or given[0].get("asNeededBoolean") or "asNeededCodeableConcept" in given[0]:
        return None
    rule = (given[0].get("timing") or {}).get("repeat") or {}
    unit, period = _IN_DAYS.get(rule.get("periodUnit", "")), rule.get("period")
    if unit is None or not period or {"frequencyMax", "periodMax"} & rule.keys():
        return None
    times = round(rule.get("frequency", 1) / (period * unit), 3)
    return times if 0 < times <= _MOST_TIMES else None


def _dose(record: Record, out: Collector) -> Dose | None:
    """What all instructions agree on. A range, two amounts or an unclear unit is set aside."""
    rates = [rate for given in _dosages(record) for rate in given.get("doseAndRate", ())]
    told = {dose(rate.get("doseQuantity", {})) for rate in rates if _DOSES & rate.keys()}
    if not told:
        return None
    found = told.pop()
    if found is None or told:
        out.aside("dose-unclear", record)
        return None
    return found


def _dosages(record: Record) -> list[Record]:
    return record.get("dosageInstruction") or record.get("dosage") or []


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
