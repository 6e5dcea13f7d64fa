"""What a written resource must satisfy. Refusals name the element and the rule, never the value."""

import tomllib
from functools import lru_cache
from importlib import resources
from typing import Any

from fhir.resources.R4B import get_fhir_model_class
from pydantic import ValidationError

from service.sandbox.errors import FhirError
from service.sandbox.search import known_types, references
from service.sandbox.store import Resource, Store

UCUM = "http://unitsofmeasure.org"


@lru_cache(maxsize=1)
def _rules() -> dict[str, dict[str, Any]]:
    text = resources.files("service.sandbox").joinpath("rules.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def check_resource(kind: str, body: Any) -> Resource:
    """The body as a resource of this type, or a FhirError that says what is wrong with it."""
    if not isinstance(body, dict) or not isinstance(body.get("resourceType"), str):
        raise FhirError(400, "structure", "the body is not a FHIR resource", "resourceType")
    if body["resourceType"] != kind:
        raise FhirError(400, "invalid", f"the body is not a {kind}", "resourceType")
    _check_no_nulls(body, kind)
    _check_required(kind, body)
    _check_structure(kind, body)
    if kind == "RiskAssessment":
        _check_risk_assessment(body)
    return body


def _check_no_nulls(value: Any, path: str) -> None:
    """FHIR JSON has null only inside arrays, as a place holder for an extension."""
    if isinstance(value, list):
        for position, item in enumerate(value):
            _check_no_nulls(item, f"{path}[{position}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            if item is None:
                raise FhirError(400, "structure", "a property may not be null", path)
            _check_no_nulls(item, f"{path}.{key}")


def _check_required(kind: str, body: Resource) -> None:
    rules = _rules().get(kind, {})
    for element in rules.get("required", []):
        if not body.get(element):
            raise FhirError(422, "required", f"{element} is required", f"{kind}.{element}")
    for element, allowed in rules.get("codes", {}).items():
        if element in body and body[element] not in allowed:
            raise FhirError(
                422, "code-invalid", f"{element} is not in its value set", f"{kind}.{element}"
            )


def _check_structure(kind: str, body: Resource) -> None:
    try:
        get_fhir_model_class(kind).model_validate(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        path = ".".join(str(part) for part in (kind, *first["loc"]))
        raise FhirError(422, "structure", f"R4 structure: {first['type']}", path) from None


def _check_risk_assessment(body: Resource) -> None:
    """The invariants ras-1 and ras-2; the structure has been checked before."""
    for position, prediction in enumerate(body.get("prediction") or []):
        path = f"RiskAssessment.prediction[{position}]"
        if (prediction.get("probabilityDecimal") or 0) > 100:
            where = f"{path}.probabilityDecimal"
            raise FhirError(422, "invariant", "ras-2: must be 100 or less", where)
        _check_probability_range(prediction.get("probabilityRange") or {}, path)


def _check_probability_range(bounds: dict[str, Any], path: str) -> None:
    for side in ("low", "high"):
        quantity = bounds.get(side)
        if quantity and (quantity.get("code"), quantity.get("system")) != ("%", UCUM):
            raise FhirError(
                422,
                "invariant",
                "ras-1: low and high must be percentages",
                f"{path}.probabilityRange.{side}",
            )


def check_references(store: Store, resource: Resource) -> None:
    """Every relative reference to a type we hold must exist (as most servers insist)."""
    for reference in references(resource):
        kind, _, identity = reference.split("/_history/")[0].partition("/")
        if kind in known_types() and store.read(kind, identity) is None:
            raise FhirError(
                422,
                "not-found",
                f"a referenced {kind} does not exist here",
                resource["resourceType"],
            )
