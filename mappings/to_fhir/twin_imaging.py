"""Imaging studies of a twin → FHIR R4 ImagingStudy. UIDs lead back to images: there are none.

R4 has no place for how a series was acquired: it stands in our own extension `acquisition`, one for
each parameter. What was measured on a study refers to it by `derivedFrom`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mappings import vocabulary
from mappings.to_fhir.codings import UCUM
from mappings.to_fhir.common import resource_id
from mappings.to_fhir.companions import url
from mappings.to_fhir.relative import OWN, Clock, absent
from mappings.vocabulary.answers import LATERALITIES

if TYPE_CHECKING:
    from mappings.to_fhir.twin_facts import Frame

Json = dict[str, Any]
Part = Sequence[Mapping[str, Any]]
Measured = Mapping[tuple[str, int], Sequence[int]]

ACQUISITION = f"{OWN}:acquisition"
_SIDES = {word: code for code, word in LATERALITIES.items()}


def imaging(entries: Part, frame: "Frame") -> Iterator[Json]:
    for entry in entries:
        made = frame.resource("ImagingStudy", entry["src"])
        made |= {"status": entry["status"], "subject": frame.reference()}
        if "modalities" in entry:
            made["modality"] = [_dcm(code) for code in entry["modalities"]]
        made |= _started(entry, frame.clock)
        for name, key in (("numberOfSeries", "seriesTotal"), ("numberOfInstances", "instances")):
            if key in entry:
                made[name] = entry[key]
        if "series" in entry:
            made["series"] = [_series(series, frame.clock) for series in entry["series"]]
        yield made


def measured_on(entries: Part) -> dict[tuple[str, int], list[int]]:
    """(concept, source) of a fact → the sources of the studies it was measured on."""
    found: dict[tuple[str, int], list[int]] = {}
    for entry in entries:
        for one in entry.get("measurements", ()):
            found.setdefault((one["concept"], one["src"]), []).append(entry["src"])
    return found


def derived_from(studies: Sequence[int], twin: str, pseudonyms: Sequence[str]) -> list[Json]:
    ids = (resource_id(twin, "ImagingStudy", pseudonyms[src]) for src in studies)
    return [{"reference": url({"resourceType": "ImagingStudy", "id": one})} for one in ids]


def _dcm(code: str) -> Json:
    return {"system": vocabulary.uri("dcm"), "code": code}


def _snomed(code: str) -> Json:
    return {"system": vocabulary.uri("snomed"), "code": code}


def _started(entry: Mapping[str, Any], clock: Clock) -> Json:
    if "t" not in entry:
        return {}
    return {"_started": clock.at(entry["t"], entry.get("precision", "day"))}


def _series(series: Mapping[str, Any], clock: Clock) -> Json:
    made: Json = {}
    extensions = [_parameter(name, value) for name, value in series.get("parameters", {}).items()]
    if "read" in series:
        extensions.append({"url": f"{OWN}:instances-read", "valueUnsignedInt": series["read"]})
    if extensions:
        made["extension"] = extensions
    made["_uid"] = {"extension": [absent("masked")]}
    unknown: Json = {"extension": [absent("unknown")]}
    made["modality"] = _dcm(series["modality"]) if "modality" in series else unknown
    if "instances" in series:
        made["numberOfInstances"] = series["instances"]
    if "bodySite" in series:
        made["bodySite"] = _snomed(series["bodySite"])
    if "laterality" in series:
        made["laterality"] = _snomed(_SIDES[series["laterality"]])
    return made | _started(series, clock)


def _parameter(name: str, value: Mapping[str, Any]) -> Json:
    label = vocabulary.acquisition_parameters()[name].label
    kind = {"system": f"{OWN}:CodeSystem:acquisition", "code": name, "display": label}
    parts: list[Json] = [{"url": "parameter", "valueCoding": kind}]
    if "given" in value:
        parts.append({"url": "value", "valueBoolean": value["given"]})
    parts += [{"url": "value", "valueCode": word} for word in value.get("words", ())]
    for end, number in zip(("low", "high"), value.get("v", ()), strict=False):
        single = len(value["v"]) == 1
        quantity = _quantity(number, value["unit"])
        parts.append({"url": "value" if single else end, "valueQuantity": quantity})
    return {"url": ACQUISITION, "extension": parts}


def _quantity(value: float, unit: str) -> Json:
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}
