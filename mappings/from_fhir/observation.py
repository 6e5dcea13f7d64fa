"""Observation → measurements and coded answers. The hot path: plain dictionaries, no objects."""

from typing import Any

from mappings.from_fhir.beside import beside
from mappings.from_fhir.collect import Collector, Record
from mappings.from_fhir.genomics import map_genomics
from mappings.from_fhir.imaging import note_links
from mappings.from_fhir.read import codes
from mappings.vocabulary.answers import SMOKING, smoking_status
from mappings.vocabulary.concept_table import CODES, CodeRule, concepts
from mappings.vocabulary.concept_table import concept as concept_of
from mappings.vocabulary.facts import CodedValue, Measurement
from mappings.vocabulary.units import Converted, convert

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

_NO_CODES: dict[str, CodeRule] = {}
_CONFLICT = CodeRule("", "conflict")


def map_observation(record: Record, out: Collector) -> None:
    status = record.get("status", "")
    time, precision = _effective(record)
    context = (record, time, precision, status if status in _STATUSES else "unknown")
    made: list[Measurement] = []
    rule = _code_rule(record.get("code"))
    components = record.get("component") or ()
    if rule is None and map_genomics(record, context, out):
        return
    if rule is None and not components:
        out.not_mapped(record, codes(record.get("code")))
    elif rule is not None:
        _map_value(record, rule, context, made, out)
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


def _effective(record: Record) -> tuple[int | None, str]:
    """When the value applies: a period counts at its end, when the measuring was complete."""
    point = record.get("effectiveDateTime") or record.get("effectiveInstant")
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
        coding = codings[0]
        return CODES.get(coding.get("system", ""), _NO_CODES).get(coding.get("code", ""))
    found = [CODES.get(c.get("system", ""), _NO_CODES).get(c.get("code", "")) for c in codings]
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
    context: tuple[Record, int | None, str, str],
    made: list[Measurement],
    out: Collector,
) -> None:
    """One value under one code: of the observation itself, or of one of its components."""
    if rule.use == "map":
        problem = _map_number(element, rule, context, made)
    elif rule.use == "coded" and rule.concept == SMOKING:
        problem = _map_answer(element, rule, context, out)
    elif rule.use == "panel":
        return
    elif rule.use in _UNUSABLE:
        problem = _UNUSABLE[rule.use]
    else:  # known, but its answers are not among the facts we carry
        out.not_mapped(context[0], codes(element.get("code")))
        return
    if problem:
        out.aside(problem, context[0], rule.concept, context[1])


def _problem_of(context: tuple[Record, int | None, str, str]) -> str:
    """Why nothing of a record can be used; empty when it can."""
    record, time, _, _ = context
    withdrawn = _WITHDRAWN.get(record.get("status", ""))
    if withdrawn:
        return withdrawn
    return "time-missing" if time is None else ""


def _map_number(
    element: Record,
    rule: CodeRule,
    context: tuple[Record, int | None, str, str],
    made: list[Measurement],
) -> str:
    """Append the measurement, or return the rule that sets it aside."""
    problem = _problem_of(context)
    if problem:
        return problem
    record, time, precision, status = context
    quantity = element.get("valueQuantity")
    if quantity is None or quantity.get("value") is None:
        quantity = _count(element, rule.concept)
        if quantity is None:
            return _no_number(element)
    comparator = quantity.get("comparator", "")
    if comparator not in _COMPARATORS:
        return "comparator-unknown"
    converted = convert(
        rule.concept,
        quantity["value"],
        quantity.get("code", ""),
        quantity.get("unit", ""),
        quantity.get("system", ""),
    )
    if not isinstance(converted, Converted):
        return converted.rule
    low, high = _PLAUSIBLE[rule.concept]
    if not low <= converted.value <= high:
        return "implausible"
    assert time is not None
    made.append(
        Measurement(
            rule.concept,
            time,
            converted.value,
            record["id"],
            precision,
            comparator,
            status,
            rule.origin,
            converted.unit,
            *beside(element, record, rule.concept),
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


def _map_answer(
    element: Record, rule: CodeRule, context: tuple[Record, int | None, str, str], out: Collector
) -> str:
    problem = _problem_of(context)
    if problem:
        return problem
    record, time, precision, status = context
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
