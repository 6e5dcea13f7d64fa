"""Resources of an R5 server in the shape of R4, for the types and elements that are used here.

What R5 renamed or wrapped, by comparison of the two versions' StructureDefinitions
(https://hl7.org/fhir/R5/diff.html). What R4 has no place for stays under its R5 name, and is
dropped behind as any unknown element is. A resource in R4's shape is left as it is.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

Resource = dict[str, Any]

# http://hl7.org/fhir/R5/valueset-encounter-status.html: what R4 does not have. `discontinued`
# (begun and not completed) has no counterpart.
_ENCOUNTER = {
    "on-hold": "onleave",
    "discharged": "finished",
    "completed": "finished",
    "discontinued": "unknown",
}
# http://hl7.org/fhir/R5/codesystem-medication-statement-adherence.html: each code and, below it,
# those that begin with it
_ADHERENCE = {
    "taking": "active",
    "not-taking": "not-taken",
    "on-hold": "on-hold",
    "stopped": "stopped",
}


def is_r5(fhir_version: str) -> bool:
    return fhir_version.startswith("5.")


def as_r4(resource: Resource) -> Resource:
    """The same resource as R4 would write it. Changes the resource handed in."""
    change = _BY_TYPE.get(resource["resourceType"])
    if change is not None:
        change(resource)
    return resource


def _encounter(resource: Resource) -> None:
    _rename(resource, "actualPeriod", "period")
    _rename(resource, "admission", "hospitalization")
    classes = resource.get("class")
    if isinstance(classes, list):
        _set(resource, "class", _first_coding(classes[0] if classes else None))
    status = resource.get("status")
    if isinstance(status, str):
        resource["status"] = _ENCOUNTER.get(status, status)
    _reasons(resource)


def _imaging(resource: Resource) -> None:
    resource["modality"] = _codings(resource.get("modality"))
    for series in _dicts(resource.get("series")):
        _set(series, "modality", _first_coding(series.get("modality")))
        _set(series, "laterality", _first_coding(series.get("laterality")))
        _set(series, "bodySite", _first_coding(_concept(series.get("bodySite"))))
    _reasons(resource)


def _medicine(resource: Resource) -> None:
    _split(resource, "medication", "medicationCodeableConcept", "medicationReference")
    _reasons(resource)


def _statement(resource: Resource) -> None:
    _medicine(resource)
    category = resource.get("category")
    if isinstance(category, list):
        _set(resource, "category", category[0] if category else None)
    if resource.get("status") in ("recorded", "draft"):
        adherence = resource.pop("adherence", None)
        recorded = resource["status"] == "recorded"
        resource["status"] = _adherence(adherence) if recorded else "unknown"


def _adherence(adherence: Any) -> str:
    """R4 says in the status what R5 says beside it; without it nobody said what is taken."""
    coding = _first_coding(adherence.get("code")) if _is(adherence) else None
    code = str((coding or {}).get("code", ""))
    for start, status in _ADHERENCE.items():
        if code == start or code.startswith(f"{start}-"):
            return status
    return "unknown"


def _procedure(resource: Resource) -> None:
    for kind in ("DateTime", "Period", "String", "Age", "Range"):
        _rename(resource, f"occurrence{kind}", f"performed{kind}")
    _reasons(resource)


def _allergy(resource: Resource) -> None:
    coding = _first_coding(resource.get("type")) if _is(resource.get("type")) else None
    if coding:
        _set(resource, "type", coding.get("code"))
    for reaction in _dicts(resource.get("reaction")):
        listed = _dicts(reaction.get("manifestation"))
        reaction["manifestation"] = [c for m in listed if _is(c := _concept(m))]


def _medication(resource: Resource) -> None:
    _rename(resource, "doseForm", "form")
    for ingredient in _dicts(resource.get("ingredient")):
        _split(ingredient, "item", "itemCodeableConcept", "itemReference")
        _rename(ingredient, "strengthRatio", "strength")


def _with_reasons(resource: Resource) -> None:
    _reasons(resource)


_BY_TYPE: Mapping[str, Callable[[Resource], None]] = {
    "AllergyIntolerance": _allergy,
    "Encounter": _encounter,
    "FamilyMemberHistory": _with_reasons,
    "ImagingStudy": _imaging,
    "Immunization": _with_reasons,
    "Medication": _medication,
    "MedicationRequest": _medicine,
    "MedicationStatement": _statement,
    "Procedure": _procedure,
}


def _reasons(resource: Resource) -> None:
    """`reason` (a CodeableReference; in Encounter below `value`) as the two elements of R4."""
    if "reason" not in resource:
        return
    listed = _dicts(resource.pop("reason"))
    wrapped = [v for r in listed for v in (_dicts(r["value"]) if "value" in r else [r])]
    _set(resource, "reasonCode", [r["concept"] for r in wrapped if _is(r.get("concept"))])
    _set(resource, "reasonReference", [r["reference"] for r in wrapped if _is(r.get("reference"))])


def _concept(value: Any) -> Any:
    """The concept of a CodeableReference; what is none, as R4 has it, is left."""
    return value.get("concept") if _is(value) and {"concept", "reference"} & value.keys() else value


def _split(holder: Resource, element: str, concept: str, reference: str) -> None:
    """A CodeableReference as the two elements that R4 has."""
    value = holder.pop(element, None)
    if _is(value):
        _set(holder, concept, value.get("concept"))
        _set(holder, reference, value.get("reference"))


def _rename(holder: Resource, old: str, new: str) -> None:
    if old in holder:
        holder[new] = holder.pop(old)


def _set(holder: Resource, element: str, value: Any) -> None:
    """Present where there is something to say, absent otherwise."""
    if value in (None, [], {}):
        holder.pop(element, None)
    else:
        holder[element] = value


def _codings(concepts: Any) -> list[Resource]:
    """Every coding of a list of CodeableConcepts; a Coding, as R4 has it, is one already."""
    found: list[Resource] = []
    for concept in _dicts(concepts):
        found += _dicts(concept["coding"]) if "coding" in concept else [concept]
    return found


def _first_coding(concept: Any) -> Resource | None:
    return next(iter(_codings([concept])), None)


def _dicts(value: Any) -> list[Resource]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _is(value: Any) -> TypeGuard[Resource]:
    return isinstance(value, dict)
