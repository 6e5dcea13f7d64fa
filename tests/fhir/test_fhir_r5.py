"""R5 resources as R4 writes them: one case for each type that differs, and a whole pull.

What comes out is checked against the R4B models, what goes in against those of R5.
"""

import copy
from typing import Any

import pytest
from fhir.resources import get_fhir_model_class as r5_model
from fhir.resources.R4B import get_fhir_model_class as r4_model
from fhir_servers import ScriptedServer, bundle, client_for, fhir

from service.fhir.pull import pull_patient
from service.fhir.r5 import as_r4, is_r5

SUBJECT = {"reference": "Patient/p1"}
SNOMED = "http://snomed.info/sct"
DCM = "http://dicom.nema.org/resources/ontology/DCM"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ADHERENCE = "http://hl7.org/fhir/CodeSystem/medication-statement-adherence"


def concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def coding(system: str, code: str) -> dict[str, Any]:
    return {"system": system, "code": code}


STATIN = concept(RXNORM, "83367")
AMB = "http://terminology.hl7.org/CodeSystem/v3-ActCode"

# R5, and R4 as far as it differs.
CASES: list[tuple[dict[str, Any], dict[str, Any], set[str]]] = [
    (
        {
            "resourceType": "Encounter",
            "status": "completed",
            "class": [concept(AMB, "AMB")],
            "subject": SUBJECT,
            "actualPeriod": {"start": "2026-01-02", "end": "2026-01-02"},
            "reason": [{"value": [{"concept": concept(SNOMED, "38341003")}]}],
        },
        {
            "status": "finished",
            "class": coding(AMB, "AMB"),
            "period": {"start": "2026-01-02", "end": "2026-01-02"},
            "reasonCode": [concept(SNOMED, "38341003")],
        },
        {"actualPeriod", "reason"},
    ),
    (
        {
            "resourceType": "ImagingStudy",
            "status": "available",
            "subject": SUBJECT,
            "modality": [concept(DCM, "CT")],
            "series": [
                {
                    "uid": "1.2.3",
                    "modality": concept(DCM, "CT"),
                    "bodySite": {"concept": concept(SNOMED, "51185008")},
                    "laterality": concept(SNOMED, "7771000"),
                }
            ],
        },
        {
            "modality": [coding(DCM, "CT")],
            "series": [
                {
                    "uid": "1.2.3",
                    "modality": coding(DCM, "CT"),
                    "bodySite": coding(SNOMED, "51185008"),
                    "laterality": coding(SNOMED, "7771000"),
                }
            ],
        },
        set(),
    ),
    (
        {
            "resourceType": "MedicationRequest",
            "status": "active",
            "intent": "order",
            "subject": SUBJECT,
            "medication": {"concept": STATIN},
        },
        {"medicationCodeableConcept": STATIN},
        {"medication"},
    ),
    (
        {
            "resourceType": "MedicationStatement",
            "status": "recorded",
            "subject": SUBJECT,
            "medication": {"reference": {"reference": "Medication/m1"}},
            "adherence": {"code": concept(ADHERENCE, "stopped-as-directed")},
            "category": [concept(SNOMED, "255327002")],
        },
        {
            "status": "stopped",
            "medicationReference": {"reference": "Medication/m1"},
            "category": concept(SNOMED, "255327002"),
        },
        {"medication", "adherence"},
    ),
    (
        {
            "resourceType": "Procedure",
            "status": "completed",
            "subject": SUBJECT,
            "code": concept(SNOMED, "232717009"),
            "occurrenceDateTime": "2020-03-04",
            "reason": [{"reference": {"reference": "Condition/c1"}}],
        },
        {
            "performedDateTime": "2020-03-04",
            "reasonReference": [{"reference": "Condition/c1"}],
        },
        {"occurrenceDateTime", "reason"},
    ),
    (
        {
            "resourceType": "AllergyIntolerance",
            "patient": SUBJECT,
            "type": concept("http://hl7.org/fhir/allergy-intolerance-type", "allergy"),
            "reaction": [{"manifestation": [{"concept": concept(SNOMED, "247472004")}]}],
        },
        {
            "type": "allergy",
            "reaction": [{"manifestation": [concept(SNOMED, "247472004")]}],
        },
        set(),
    ),
    (
        {
            "resourceType": "FamilyMemberHistory",
            "status": "completed",
            "patient": SUBJECT,
            "relationship": concept("http://terminology.hl7.org/CodeSystem/v3-RoleCode", "FTH"),
            "reason": [{"concept": concept(SNOMED, "22298006")}],
        },
        {"reasonCode": [concept(SNOMED, "22298006")]},
        {"reason"},
    ),
    (
        {
            "resourceType": "Immunization",
            "status": "completed",
            "patient": SUBJECT,
            "vaccineCode": concept("http://hl7.org/fhir/sid/cvx", "140"),
            "occurrenceDateTime": "2025-10-01",
            "reason": [{"concept": concept(SNOMED, "429060002")}],
        },
        {"reasonCode": [concept(SNOMED, "429060002")]},
        {"reason"},
    ),
    (
        {
            "resourceType": "Medication",
            "doseForm": concept(SNOMED, "385055001"),
            "ingredient": [{"item": {"concept": STATIN}}],
        },
        {"form": concept(SNOMED, "385055001"), "ingredient": [{"itemCodeableConcept": STATIN}]},
        {"doseForm"},
    ),
]


@pytest.mark.parametrize(
    ("given", "differs", "gone"), CASES, ids=[case[0]["resourceType"] for case in CASES]
)
def test_an_r5_resource_reads_as_its_r4_self(
    given: dict[str, Any], differs: dict[str, Any], gone: set[str]
) -> None:
    r5_model(given["resourceType"]).model_validate(given)
    shaped = as_r4(copy.deepcopy(given))
    assert shaped == {k: v for k, v in given.items() if k not in gone} | differs
    r4_model(given["resourceType"]).model_validate(shaped)


@pytest.mark.parametrize("given", [case[0] for case in CASES], ids=lambda c: c["resourceType"])
def test_shaping_twice_changes_nothing_more(given: dict[str, Any]) -> None:
    once = as_r4(copy.deepcopy(given))
    assert as_r4(copy.deepcopy(once)) == once


@pytest.mark.parametrize(
    ("adherence", "status"),
    [
        ("taking", "active"),
        ("taking-not-as-directed", "active"),
        ("not-taking", "not-taken"),
        ("on-hold", "on-hold"),
        ("unknown", "unknown"),
        (None, "unknown"),
    ],
)
def test_what_is_taken_is_said_by_adherence(adherence: str | None, status: str) -> None:
    statement: dict[str, Any] = {"resourceType": "MedicationStatement", "status": "recorded"}
    if adherence:
        statement["adherence"] = {"code": concept(ADHERENCE, adherence)}
    assert as_r4(statement)["status"] == status


@pytest.mark.parametrize("odd", [None, "text", 7, [], [None], {"coding": "x"}, {"concept": []}])
@pytest.mark.parametrize("given", [case[0] for case in CASES], ids=lambda c: c["resourceType"])
def test_odd_content_is_no_reason_to_fail(given: dict[str, Any], odd: Any) -> None:
    for element in given.keys() - {"resourceType"}:
        as_r4(copy.deepcopy(given) | {element: odd})


def test_the_version_is_the_servers_word() -> None:
    assert [is_r5(v) for v in ("5.0.0", "4.0.1", "4.3.0", "")] == [True, False, False, False]


def test_a_record_is_pulled_from_an_r5_server(scripted: ScriptedServer) -> None:
    by_type: dict[str, list[dict[str, Any]]] = {}
    for given, _, _ in CASES:
        by_type.setdefault(given["resourceType"], []).append(given | {"id": "x1"})
    medication = by_type.pop("Medication")[0] | {"id": "m1"}
    scripted.patient("p1")
    scripted.on("metadata", fhir({"resourceType": "CapabilityStatement", "fhirVersion": "5.0.0",
                                  "rest": [{"resource": []}]}))  # fmt: skip
    scripted.on("Medication/m1", fhir(medication))
    for kind, resources in by_type.items():
        scripted.on(kind, fhir(bundle(*resources)))
    with client_for(scripted.base) as client:
        pulled = pull_patient(client, "p1")
    for resource in pulled.resources:
        r4_model(resource["resourceType"]).model_validate(resource)
    assert {"MedicationRequest", "Procedure", "Medication"} <= {
        r["resourceType"] for r in pulled.resources
    }
