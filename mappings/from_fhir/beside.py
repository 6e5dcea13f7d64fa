"""What stands beside a number: what the laboratory called it, its reference range, where on the
body and by which method it was measured.

None of it changes the number, and no model reads it; it is for whoever looks at the number. What
can't be read is left out: the number stands without it. For whom a range holds (sex, age, text) is
removed with identity, so of several ranges none is taken.
"""

from math import inf, isinf
from typing import Any, NamedTuple

from mappings.from_fhir.collect import Record
from mappings.from_fhir.read import code_in
from mappings.vocabulary.answers import body_site_labels, hl7_codes, method_labels
from mappings.vocabulary.units import Converted, convert

_FLAGS = hl7_codes("interpretation")
_SITES = frozenset(body_site_labels())
_METHODS = frozenset(method_labels())


class Beside(NamedTuple):
    flag: str = ""
    range: tuple[float, ...] = ()
    site: str = ""
    method: str = ""


_NOTHING = Beside()


def beside(element: Record, record: Record, concept: str) -> Beside:
    """`element` is the observation or one of its components; site and method are the record's."""
    told, ranges = element.get("interpretation"), element.get("referenceRange")
    site, method = record.get("bodySite"), record.get("method")
    if not (told or ranges or site or method):
        return _NOTHING
    return Beside(
        _flag(told), _range(ranges, concept), _one_of(_SITES, site), _one_of(_METHODS, method)
    )


def _flag(told: Any) -> str:
    """One, or none: two that differ say nothing."""
    found = {code_in(one, "interpretation") for one in told or ()} & _FLAGS
    return found.pop() if len(found) == 1 else ""


def _one_of(known: frozenset[str], codeable: Any) -> str:
    code = code_in(codeable, "snomed")
    return code if code in known else ""


def _range(ranges: Any, concept: str) -> tuple[float, ...]:
    if not ranges or len(ranges) != 1:
        return ()
    try:
        low = _end(ranges[0].get("low"), concept, -inf)
        high = _end(ranges[0].get("high"), concept, inf)
    except _UnreadableError:
        return ()
    told = not (isinf(low) and isinf(high))
    return (low, high) if told and low < high else ()


class _UnreadableError(Exception):
    """An end of a range that can't be read: half a range would say something else."""


def _end(quantity: Any, concept: str, where_open: float) -> float:
    if not quantity:
        return where_open
    if quantity.get("value") is None or quantity.get("comparator"):
        raise _UnreadableError
    converted = convert(
        concept,
        quantity["value"],
        quantity.get("code", ""),
        quantity.get("unit", ""),
        quantity.get("system", ""),
    )
    if not isinstance(converted, Converted):
        raise _UnreadableError
    return converted.value
