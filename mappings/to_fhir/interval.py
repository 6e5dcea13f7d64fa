"""An interval for machines: R4 has no element for it beside a point, so it is our own extension."""

from collections.abc import Callable, Mapping
from typing import Any

from mappings.to_fhir.codings import UCUM
from mappings.to_fhir.common import Json
from mappings.to_fhir.relative import OWN
from mappings.to_fhir.wording import percent
from mappings.vocabulary.units import unit_label

URL = f"{OWN}:interval"


def in_percent(result: Mapping[str, Any]) -> Json:
    """Of a probability: always in percent, whatever scale the server takes the point in."""
    return _extension(result, lambda bound: _quantity(percent(bound), "%", "%"))


def in_unit(result: Mapping[str, Any], rounded: Callable[[float], float]) -> Json:
    code = str(result["unit"])
    unit = unit_label(code) or code
    return _extension(result, lambda bound: _quantity(rounded(bound), unit, code))


def _extension(result: Mapping[str, Any], bound: Callable[[float], Json]) -> Json:
    """A member to merge in; empty where no interval was given."""
    interval = result.get("interval")
    if interval is None:
        return {}
    low, high = bound(interval["low"]), bound(interval["high"])
    parts = [
        {"url": "range", "valueRange": {"low": low, "high": high}},
        {"url": "level", "valueDecimal": interval["level"]},
        {"url": "kind", "valueCode": interval["kind"]},
    ]
    return {"extension": [{"url": URL, "extension": parts}]}


def _quantity(value: float, unit: str, code: str) -> Json:
    return {"value": value, "unit": unit, "system": UCUM, "code": code}
