"""A twin document → FHIR R4: a de-identified collection Bundle, and a document in IPS shape.

Nothing is added to what the twin holds: no name, no date, no place, no text of a source. What that
costs in conformance is said in `docs/exports.md`. The same document gives the same bytes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from mappings.to_fhir.codings import LOINC, UCUM
from mappings.to_fhir.common import resource_id, timestamp
from mappings.to_fhir.companions import url
from mappings.to_fhir.relative import OWN, Clock, masked
from mappings.to_fhir.twin_answers import answers
from mappings.to_fhir.twin_facts import (
    ENTRIES,
    Frame,
    Json,
    coded,
    observations,
)
from mappings.to_fhir.twin_imaging import measured_on
from mappings.to_fhir.wording import narrative

TWIN = "urn:twinport:twin"
DEVICE = "Twinport"
AGE = "http://hl7.org/fhir/us/dapl/StructureDefinition/dapl-age-extension"
OBSERVATION_VALUE = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
EMPTY_REASON = "http://terminology.hl7.org/CodeSystem/list-empty-reason"
PARTICIPANT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"

SUMMARY = "60591-5"  # LOINC: patient summary document
# Title, LOINC code, the types it holds, whether IPS requires it; `None`: chosen by category.
SECTIONS: tuple[tuple[str, str, frozenset[str], bool], ...] = (
    ("Problems", "11450-4", frozenset({"Condition"}), True),
    ("Allergies and intolerances", "48765-2", frozenset({"AllergyIntolerance"}), True),
    (
        "Medications",
        "10160-0",
        frozenset({"MedicationRequest", "MedicationStatement"}),
        True,
    ),
    ("Procedures", "47519-4", frozenset({"Procedure"}), False),
    ("Immunizations", "11369-6", frozenset({"Immunization"}), False),
)
# Observations go by their category; IPS results are those of laboratory and imaging.
OBSERVED = (
    ("Results", "30954-2", frozenset({"laboratory", "imaging"})),
    ("Vital signs", "8716-3", frozenset({"vital-signs"})),
    ("Social history", "29762-2", frozenset({"social-history"})),
)
NAMED = ("code", "medicationCodeableConcept", "vaccineCode")  # what a resource is about
ASSESSMENTS = "Assessments by models"  # IPS has no section for them
# Which slices an empty section would have been filled from.
SLICES: Mapping[str, tuple[str, ...]] = {
    "11450-4": ("Condition",),
    "48765-2": ("AllergyIntolerance",),
    "10160-0": ("MedicationRequest", "MedicationStatement"),
}

Cards = Mapping[str, Mapping[str, Any]]


def twin_bundle(document: Mapping[str, Any], cards: Cards, days_since: int | None = None) -> Json:
    """Everything the twin says, as a Bundle of type `collection`. `days_since` the record was last
    read, where that is known: an answer past its shelf life says so."""
    resources = _Resources(document, cards, days_since)
    return {
        "resourceType": "Bundle",
        "id": resource_id(document["twin"]["id"], "Bundle", str(document["twin"]["version"])),
        "meta": _labels(),
        "identifier": _identifier(document),
        "type": "collection",
        "entry": [_entry(resource) for resource in resources.everything()],
    }


def ips_bundle(
    document: Mapping[str, Any],
    cards: Cards,
    written: datetime | None = None,
    days_since: int | None = None,
) -> Json:
    """The twin as a patient summary. `written` puts a calendar date on the document, which lets
    its receiver work out the dates inside; without it the required dates are marked absent."""
    resources = _Resources(document, cards, days_since)
    dated = {"timestamp": timestamp(written)} if written else {"_timestamp": masked()}
    composition, kept = _composition(document, resources, written)
    return {
        "resourceType": "Bundle",
        "id": resource_id(document["twin"]["id"], "IPS", str(document["twin"]["version"])),
        "meta": _labels(),
        "language": "en",
        "identifier": _identifier(document),
        "type": "document",
        **dated,
        "entry": [_entry(resource) for resource in (composition, *_closed(kept))],
    }


def _closed(resources: Sequence[Json]) -> Iterator[Json]:
    """A document holds all it refers to; imaging studies have no section of it."""
    there = {url(resource) for resource in resources}
    for resource in resources:
        kept = [one for one in resource.get("derivedFrom", ()) if one["reference"] in there]
        bare = {key: value for key, value in resource.items() if key != "derivedFrom"}
        yield bare | {"derivedFrom": kept} if kept else bare


class _Resources:
    """The resources of one twin, made once."""

    def __init__(self, document: Mapping[str, Any], cards: Cards, days_since: int | None) -> None:
        twin = document["twin"]["id"]
        pseudonyms = [name for row in document["sources"] for name in row["ids"]]
        self.patient = _patient(document)
        self.device = _device(document)
        self.provenance = _provenance(document, self.patient, self.device)
        clock = Clock.of(document["twin"], url(self.provenance))
        measured = measured_on(document["imaging"])
        self._frame = Frame(twin, url(self.patient), clock, pseudonyms, measured)
        self.observations = list(observations(document, self._frame))
        self.entries = [
            resource
            for part, make in ENTRIES.items()
            for resource in make(document.get(part, ()), self._frame)
        ]
        made_of = self._made_of()
        self.answers = list(answers(document, self._frame, cards, made_of, days_since))

    def everything(self) -> Iterator[Json]:
        yield from (self.patient, self.device, self.provenance)
        yield from self.observations
        yield from self.entries
        yield from self.answers

    def of(self, kinds: frozenset[str]) -> list[Json]:
        return [resource for resource in self.entries if resource["resourceType"] in kinds]

    def observed(self, categories: frozenset[str]) -> list[Json]:
        return [resource for resource in self.observations if _category(resource) in categories]

    def _made_of(self) -> dict[int, list[Json]]:
        position = {name: i for i, name in enumerate(self._frame.pseudonyms)}
        found: dict[int, list[Json]] = {}
        for resource in (*self.observations, *self.entries):
            src = position[resource["identifier"][0]["value"]]
            found.setdefault(src, []).append(resource)
        return found


def _category(resource: Json) -> str:
    code: str = resource["category"][0]["coding"][0]["code"]
    return code


def _entry(resource: Json) -> Json:
    return {"fullUrl": url(resource), "resource": resource}


def _identifier(document: Mapping[str, Any]) -> Json:
    head = document["twin"]
    return {"system": TWIN, "value": f"{head['id']}.{head['version']}"}


def _labels() -> Json:
    coding = {"system": OBSERVATION_VALUE, "code": "PSEUDED", "display": "pseudonymized"}
    return {"security": [coding]}


# -- who and what made it --------------------------------------------------------------------------


def _patient(document: Mapping[str, Any]) -> Json:
    head, subject = document["twin"], document["subject"]
    made: Json = {
        "resourceType": "Patient",
        "id": resource_id(head["id"], "Patient"),
        "meta": _labels(),
        "identifier": [{"system": TWIN, "value": head["id"]}],
        "name": [{"_text": masked()}],
        "gender": subject["sex"],
        "_birthDate": masked(),
        "deceasedBoolean": subject["deceased"],
    }
    if "age" in subject:
        made["extension"] = [{"url": AGE, "valueQuantity": _age(subject)}]
    return made


def _age(subject: Mapping[str, Any]) -> Json:
    top = {"comparator": ">="} if subject.get("ageTopCoded") else {}
    return {"value": subject["age"], **top, "unit": "years", "system": UCUM, "code": "a"}


def _device(document: Mapping[str, Any]) -> Json:
    software = document["twin"]["software"]
    return {
        "resourceType": "Device",
        "id": resource_id(DEVICE, software),
        "deviceName": [{"name": DEVICE, "type": "manufacturer-name"}],
        "version": [{"value": software}],
    }


def _provenance(document: Mapping[str, Any], patient: Json, device: Json) -> Json:
    """What relative times count from: its `occurred` is the twin's now."""
    head = document["twin"]
    agent = {
        "type": coded("assembler", PARTICIPANT),
        "who": {"reference": url(device)},
    }
    return {
        "resourceType": "Provenance",
        "id": resource_id(head["id"], "Provenance", str(head["version"])),
        "target": [{"reference": url(patient)}],
        "_occurredDateTime": masked(),
        "_recorded": masked(),
        "policy": [f"urn:twinport:policy:{head['policy']['id']}:{head['policy']['version']}"],
        "agent": [agent],
    }


# -- the summary -----------------------------------------------------------------------------------


def _composition(
    document: Mapping[str, Any], resources: _Resources, written: datetime | None
) -> tuple[Json, list[Json]]:
    """The Composition, and everything it leads to."""
    sections, shown = _sections(document, resources)
    head = document["twin"]
    dated = {"date": timestamp(written)} if written else {"_date": masked()}
    made: Json = {
        "resourceType": "Composition",
        "id": resource_id(head["id"], "Composition", str(head["version"])),
        "status": "preliminary",
        "type": coded(SUMMARY, LOINC, "Patient summary Document"),
        "subject": {"reference": url(resources.patient)},
        **dated,
        "author": [{"reference": url(resources.device)}],
        "title": "Patient summary from a pseudonymous twin",
        "section": sections,
    }
    return made, [resources.patient, resources.device, resources.provenance, *shown]


def _sections(document: Mapping[str, Any], resources: _Resources) -> tuple[list[Json], list[Json]]:
    sections, shown = [], []
    for title, code, kinds, required in SECTIONS:
        found = resources.of(kinds)
        if found or required:
            sections.append(_section(title, coded(code, LOINC), found, document))
            shown += found
    for title, code, categories in OBSERVED:
        found = resources.observed(categories)
        if found:
            sections.append(_section(title, coded(code, LOINC), found, document))
            shown += found
    if resources.answers:
        own = coded("assessments", f"{OWN}:CodeSystem:section", ASSESSMENTS)
        sections.append(_section(ASSESSMENTS, own, resources.answers, document))
        shown += [*resources.answers, *_led_to(resources, shown)]
    return sections, shown


def _led_to(resources: _Resources, shown: Sequence[Json]) -> list[Json]:
    """What answers rest on and no section shows: a document holds all it refers to."""
    there = {url(resource) for resource in shown}
    wanted = {
        reference["reference"]
        for answer in resources.answers
        for reference in (*answer.get("basis", ()), *answer.get("derivedFrom", ()))
    }
    listed = (*resources.observations, *resources.entries)
    return [r for r in listed if url(r) in wanted and url(r) not in there]


def _section(title: str, code: Json, found: Sequence[Json], document: Mapping[str, Any]) -> Json:
    made: Json = {"title": title, "code": code}
    if found:
        made["text"] = narrative(_told(found))
        made["entry"] = [{"reference": url(resource)} for resource in found]
        return made
    seen = _seen_completely(document, SLICES[code["coding"][0]["code"]])
    sentence = "None in the record that was read." if seen else "Not everything could be read."
    made["text"] = narrative([sentence])
    reason = coded("unavailable", EMPTY_REASON, "Unavailable")
    made["emptyReason"] = reason | {"text": sentence}
    return made


def _seen_completely(document: Mapping[str, Any], kinds: Iterable[str]) -> bool:
    """`nilknown` is for what somebody stated; an empty record is no statement."""
    verdicts = [
        part["verdict"]
        for part in document["completeness"]["slices"]
        if part["type"] in kinds and part.get("reason") != "not-supported"
    ]
    return bool(verdicts) and set(verdicts) == {"complete"}


def _told(resources: Sequence[Json]) -> list[str]:
    """A line for each resource: what our tables call it, or its code."""
    return [_line(resource) for resource in resources]


def _line(resource: Json) -> str:
    if resource["resourceType"] == "RiskAssessment":
        told = (f"{p['outcome']['text']}: {p['rationale']}" for p in resource["prediction"])
        return f"{resource['method']['text']}. {' '.join(told)}"
    name = _name(next((resource[key] for key in NAMED if key in resource), {}))
    parts = [name, _value(resource)]
    for component in resource.get("component", ()):
        parts += [_name(component["code"]), _value(component)]
    status = resource.get("clinicalStatus", {}).get("coding", [{}])[0].get("code")
    return " ".join([*filter(None, parts), f"({status or resource.get('status', '')})"])


def _name(concept: Mapping[str, Any]) -> str:
    if "text" in concept:
        return str(concept["text"])
    codings = concept.get("coding", ())
    shown = next((c["display"] for c in codings if "display" in c), "")
    return shown or next((f"code {c['code']}" for c in codings), "not coded")


def _value(element: Mapping[str, Any]) -> str:
    quantity = element.get("valueQuantity")
    if quantity is not None:
        return f"{quantity.get('comparator', '')}{quantity['value']:g} {quantity['unit']}".rstrip()
    return _name(element["valueCodeableConcept"]) if "valueCodeableConcept" in element else ""
