"""Observation → measurements and coded answers. The hot path: plain dictionaries, no objects."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from mappings.from_fhir.beside import beside
from mappings.from_fhir.collect import Collector, Context, Record
from mappings.from_fhir.genomics import map_genomics
from mappings.from_fhir.imaging import NOTED, note_links
from mappings.from_fhir.read import codes
from mappings.vocabulary.answers import SMOKING, smoking_status
from mappings.vocabulary.concept_table import CODES, CodeRule, concepts
from mappings.vocabulary.concept_table import concept as concept_of
from mappings.vocabulary.facts import CodedValue, Measurement
from mappings.vocabulary.units import Refused, conversion

_WITHDRAWN = {"entered-in-error": "status-withdrawn", "cancelled": "status-cancelled"}
_STATUSES = frozenset({"final", "amended", "corrected", "preliminary", "registered"})
_COMPARATORS = frozenset({"", "<", "<=", ">=", ">"})

# A code that cannot be used, by its use -> the rule that says so.
_UNUSABLE = {"refuse": "code-refused", "review": "code-too-broad", "conflict": "code-conflict"}

_PLAUSIBLE = {concept.id: concept.plausible for concept in concepts()}
# Counts and scores have no unit of their own, so a bare integer of theirs is complete.
_UNITLESS = frozenset(
    concept.id for concept in concepts() if concept.unit in ("{score}", "{count}")
)
_SYSTOLIC, _DIASTOLIC = "systolic-bp", "diastolic-bp"

_RULES = {(system, code): rule for system, rules in CODES.items() for code, rule in rules.items()}
_CONFLICT = CodeRule("", "conflict")

# Beside a number, these ask for more than its own value.
_BESIDE = frozenset({"interpretation", "referenceRange", "method", *NOTED})
_SPECIAL = _BESIDE | {"component"}

# A named tuple without the step of Python that calling its class takes.
_measurement: Callable[[tuple[Any, ...]], Measurement] = partial(tuple.__new__, Measurement)


def map_observation(record: Record, out: Collector) -> None:
    if not map_plain(record, out):
        map_in_full(record, out)


def map_alike(records: list[Record], out: Collector) -> None:
    """Records that differ in ids, references, times and numbers alone: the first one tells what
    their numbers stand for."""
    first = records[0]
    reading = _reading_of(first) if len(records) > 1 and _is_plain(first) else None
    if reading is None:
        for record in records:
            map_observation(record, out)
        return
    status = first["status"]
    for record in records:
        value, point = record["valueQuantity"]["value"], record["effectiveDateTime"]
        fact = _fact(reading, value, record["id"], point, status)
        if fact is None:
            map_in_full(record, out)
        else:
            out.measurements.append(fact)


# What a number is with nothing special about it ---------------------------------------------------


# What is the same for all numbers under one code in one unit: concept, origin, unit, factor,
# offset, decimals, ten to their power, lowest, highest. Python takes a plain tuple apart at once.
_Reading = tuple[str, str, str, float, float, int, float, float, float]


@lru_cache(maxsize=2**12)
def _reading(
    system: str, code: str, unit: str, unit_system: str, unit_code: str
) -> _Reading | None:
    """None where a number is not simply used."""
    rule = _RULES.get((system, code))
    if rule is None or rule.use != "map":
        return None
    found = conversion(rule.concept, unit_code, unit, unit_system)
    if isinstance(found, Refused):
        return None
    factor, offset, decimals, shown = found
    low, high = _PLAUSIBLE[rule.concept]
    return (
        rule.concept, rule.origin, shown, factor, offset, decimals, 10.0**decimals, low, high,
    )  # fmt: skip


def _reading_of(element: Record) -> _Reading | None:
    """What a number under one code, in a unit that is written out, stands for; `element` may be a
    component."""
    try:
        [coding], quantity = element["code"]["coding"], element["valueQuantity"]
        if len(quantity) > 4:
            return None
        return _reading(
            coding["system"], coding["code"], quantity["unit"], quantity["system"], quantity["code"]
        )
    except (KeyError, TypeError, ValueError):
        return None


def _fact(
    reading: _Reading, value: float, name: str, point: list[Any], status: str
) -> Measurement | None:
    concept, origin, unit, factor, offset, decimals, power, low, high = reading
    value = value * factor + offset
    whole = value * power
    # To round takes a while, and makes of a number that has no more digits what it is.
    if not whole.is_integer() or whole / power != value:
        value = round(value, decimals)
    if not low <= value <= high:
        return None
    time, precision = point
    fact = concept, time, value, name, precision, "", status, origin, unit, "", (), "", ""
    return _measurement(fact)


def _plain_fact(element: Record, name: str, point: list[Any], status: str) -> Measurement | None:
    reading = _reading_of(element)
    value = None if reading is None else element["valueQuantity"].get("value")
    if reading is None or value is None:
        return None
    return _fact(reading, value, name, point, status)


def _is_plain(record: Record) -> bool:
    status = record.get("status")
    return (
        bool(record.get("effectiveDateTime"))
        and status in _STATUSES
        and _SPECIAL.isdisjoint(record)
        and record.get("valueQuantity", {}).get("value") is not None
    )


def map_plain(record: Record, out: Collector) -> bool:
    """Nine observations of ten: one code, a day, a number in a unit, nothing beside it. Whatever
    is otherwise is left to `map_in_full`, which makes the same of these, and takes longer."""
    point, status = record.get("effectiveDateTime"), record.get("status")
    if not point or status not in _STATUSES:
        return False
    if not _SPECIAL.isdisjoint(record):
        return _map_plain_panel(record, point, status, out)
    fact = _plain_fact(record, record["id"], point, status)
    if fact is None:
        return False
    out.measurements.append(fact)
    return True


def _map_plain_panel(record: Record, point: list[Any], status: str, out: Collector) -> bool:
    """A blood pressure: a code that stands for its parts, which are plain numbers."""
    components = record.get("component")
    if not components or "valueQuantity" in record or not _BESIDE.isdisjoint(record):
        return False
    rule = _code_rule(record.get("code"))
    if rule is None or rule.use != "panel":
        return False
    made: list[Measurement] = []
    for part in components:
        fact = _plain_fact(part, record["id"], point, status) if len(part) == 2 else None
        if fact is None:
            return False
        made.append(fact)
    out.measurements += _believable_pressures(made, record, out)
    return True


# All there is -------------------------------------------------------------------------------------


def map_in_full(record: Record, out: Collector) -> None:
    made: list[Measurement] = []
    context = _context(record)
    rule, components = _code_rule(record.get("code")), record.get("component") or ()
    if rule is None and map_genomics(record, context, out):
        return
    if rule is not None:
        _map_value(record, rule, context, made, out)
    elif not components:
        out.not_mapped(record, codes(record.get("code")))
    for component in components:
        component_rule = _code_rule(component.get("code"))
        if component_rule is None:
            out.not_mapped(record, codes(component.get("code")))
        else:
            _map_value(component, component_rule, context, made, out)
    if len(made) > 1:
        made = _believable_pressures(made, record, out)
    out.measurements += made
    note_links(record, out)


def _context(record: Record) -> Context:
    status, point = record.get("status", ""), record.get("effectiveDateTime")
    time, precision = point or _effective(record)
    problem = "time-missing" if time is None else ""
    if status not in _STATUSES:
        problem, status = _WITHDRAWN.get(status, problem), "unknown"
    return record, time, precision, status, problem


def _effective(record: Record) -> tuple[int | None, str]:
    """When the value applies: a period counts at its end, when the measuring was complete."""
    point = record.get("effectiveInstant")
    if not point:
        period = record.get("effectivePeriod")
        point = (period.get("end") or period.get("start")) if period else None
    return (point[0], point[1]) if point else (None, "day")


def _code_rule(codeable: Any) -> CodeRule | None:
    """What the codes of one result stand for. One code is the rule; several must agree."""
    codings = codeable.get("coding") if codeable else None
    if not codings:
        return None
    if len(codings) == 1:
        [coding] = codings
        return _RULES.get((coding.get("system"), coding.get("code")))
    found = [_RULES.get((coding.get("system"), coding.get("code"))) for coding in codings]
    return _agreed([rule for rule in found if rule is not None])


def _agreed(rules: list[CodeRule]) -> CodeRule | None:
    for rule in rules:
        if rule.use in ("refuse", "review"):
            return rule
    named = {rule.concept for rule in rules if rule.use == "map"}
    mapping = [rule for rule in rules if rule.use == "map" and not rule.yields_to & named]
    if len({rule.concept for rule in mapping}) > 1:
        return _CONFLICT
    return mapping[0] if mapping else next(iter(rules), None)


def _map_value(
    element: Record,
    rule: CodeRule,
    context: Context,
    made: list[Measurement],
    out: Collector,
) -> None:
    """One value under one code: of the observation itself, or of one of its components."""
    use = rule.use
    if use == "map":
        problem = context[4] or _map_number(element, rule, context, made)
    elif use == "coded" and rule.concept == SMOKING:
        problem = context[4] or _map_answer(element, rule, context, out)
    elif use == "panel":
        return
    elif use in _UNUSABLE:
        problem = _UNUSABLE[use]
    else:  # known, but its answers are not among the facts we carry
        out.not_mapped(context[0], codes(element.get("code")))
        return
    if problem:
        out.aside(problem, context[0], rule.concept, context[1])


def _map_number(
    element: Record,
    rule: CodeRule,
    context: Context,
    made: list[Measurement],
) -> str:
    """Append the measurement, or return the rule that sets it aside."""
    concept, origin = rule.concept, rule.origin
    record, time, precision, status, _ = context
    quantity = element.get("valueQuantity")
    if quantity is None or quantity.get("value") is None:
        quantity = _count(element, concept)
        if quantity is None:
            return _no_number(element)
    comparator = quantity.get("comparator", "")
    if comparator not in _COMPARATORS:
        return "comparator-unknown"
    found = conversion(
        concept, quantity.get("code", ""), quantity.get("unit", ""), quantity.get("system", "")
    )
    if isinstance(found, Refused):
        return found.rule
    factor, offset, decimals, unit = found
    value = round(quantity["value"] * factor + offset, decimals)
    low, high = _PLAUSIBLE[concept]
    if not low <= value <= high:
        return "implausible"
    assert time is not None
    made.append(
        Measurement(
            concept,
            time,
            value,
            record["id"],
            precision,
            comparator,
            status,
            origin,
            unit,
            *beside(element, record, concept),
        )
    )
    return ""


def _count(element: Record, concept: str) -> Record | None:
    """A bare integer as a quantity, for the concepts whose unit says nothing."""
    value = element.get("valueInteger")
    if value is None or concept not in _UNITLESS:
        return None
    return {"value": value, "code": concept_of(concept).unit}


def _no_number(element: Record) -> str:
    if any(key.startswith("value") and key != "valueQuantity" for key in element):
        return "value-not-numeric"
    # A grouping observation may carry the code of a quantity and leave the value to components.
    return "" if element.get("component") else "value-absent"


def _map_answer(element: Record, rule: CodeRule, context: Context, out: Collector) -> str:
    record, time, precision, status, _ = context
    given = codes(element.get("valueCodeableConcept"))
    if not given and _no_number(element) != "value-not-numeric":
        return "value-absent"
    answers = {smoking_status(system, code) for system, code in given} - {None}
    if len(answers) != 1:
        return "answer-unclear"
    assert time is not None
    answer = str(answers.pop())
    out.coded.append(CodedValue(rule.concept, time, answer, record["id"], precision, status))
    return ""


def _believable_pressures(
    made: list[Measurement], record: Record, out: Collector
) -> list[Measurement]:
    """A diastolic pressure that is not below the systolic one of its reading: neither is used."""
    systolic = [m.value for m in made if m.concept == _SYSTOLIC]
    diastolic = [m.value for m in made if m.concept == _DIASTOLIC]
    if not systolic or not diastolic or max(diastolic) < min(systolic):
        return made
    for measurement in made:
        if measurement.concept in (_SYSTOLIC, _DIASTOLIC):
            out.aside("diastolic-not-below-systolic", record, measurement.concept, measurement.time)
    return [m for m in made if m.concept not in (_SYSTOLIC, _DIASTOLIC)]
