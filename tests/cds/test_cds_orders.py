"""order-select: a card only where a selected medicine bears on an answer."""

from typing import Any

import pytest
from cds_client import PATIENT, Ehr, nothing_empty

from mappings.vocabulary.medications import medication
from service.cds.orders import about, touched
from twin_engine.models.registry import all_models

Json = dict[str, Any]
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ATORVASTATIN, CLOPIDOGREL, PARACETAMOL = "83367", "32968", "161"
FIRST = "MedicationRequest/draft-1"


def order(code: str, number: int = 1, **changed: Any) -> Json:
    concept = {"coding": [{"system": RXNORM, "code": code, "display": "Jane Roe"}]}
    whole = {
        "resourceType": "MedicationRequest",
        "id": f"draft-{number}",
        "status": "draft",
        "intent": "order",
        "subject": {"reference": f"Patient/{PATIENT}"},
        "medicationCodeableConcept": concept,
        **changed,
    }
    return {name: value for name, value in whole.items() if value is not None}


def context(*orders: Json, selections: Any = ..., **changed: Any) -> Json:
    chosen = [f"{one['resourceType']}/{one['id']}" for one in orders]
    return {
        "userId": "Practitioner/dr-17",
        "patientId": PATIENT,
        "selections": chosen if selections is ... else selections,
        "draftOrders": {"resourceType": "Bundle", "entry": [{"resource": one} for one in orders]},
        **changed,
    }


@pytest.fixture(scope="module")
def service(ehr: Ehr) -> Json:
    return ehr.discovered("order-select")


def called(ehr: Ehr, service: Json, given: Json, **changed: Any) -> Any:
    prefetch = {"prefetch": ehr.prefetch(service, {"patientId": PATIENT})}
    return ehr.post(
        f"/cds-services/{service['id']}",
        {
            "hook": "order-select",
            "hookInstance": ehr.hook_instance,
            "context": given,
            **prefetch,
            **changed,
        },
    )


def models(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.get_json()
    assert nothing_empty(answer.get_json())
    return [card["source"]["topic"]["code"] for card in answer.get_json()["cards"]]


def test_a_statin_bears_on_the_risk_that_reads_statins(ehr: Ehr, service: Json) -> None:
    answer = called(ehr, service, context(order(ATORVASTATIN)))
    assert models(answer) == ["prevent"]
    (card,) = answer.get_json()["cards"]
    assert "before it is taken" in card["detail"]
    assert "statin" in card["detail"].lower()
    assert "Jane" not in str(card)
    assert len(card["summary"]) < 140


def test_a_medicine_in_a_contained_resource(ehr: Ehr, service: Json) -> None:
    inside = {
        "resourceType": "Medication",
        "id": "m",
        "code": {"coding": [{"system": RXNORM, "code": ATORVASTATIN}]},
    }
    given = order("", medicationCodeableConcept=None, contained=[inside],
                  medicationReference={"reference": "#m"})  # fmt: skip
    assert models(called(ehr, service, context(given))) == ["prevent"]


@pytest.mark.parametrize(
    "given",
    [
        context(order(PARACETAMOL)),
        context(order(ATORVASTATIN), selections=[]),
        context(order(PARACETAMOL, 1), order(ATORVASTATIN, 2), selections=[FIRST]),
        context({"resourceType": "ServiceRequest", "id": "s", "status": "draft"}),
        context(order("no-such-code")),
    ],
    ids=["another medicine", "none picked", "picked another", "a test", "unknown code"],
)
def test_no_card_and_no_data_needed_where_nothing_is_to_be_said(
    ehr: Ehr, service: Json, given: Json
) -> None:
    assert models(called(ehr, service, given, prefetch={})) == []


def test_data_that_is_needed_and_missing_is_412(ehr: Ehr, service: Json) -> None:
    assert called(ehr, service, context(order(ATORVASTATIN)), prefetch={}).status_code == 412


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"selections": None}, "/context/selections"),
        ({"selections": [7]}, "/context/selections"),
        ({"draftOrders": None}, "/context/draftOrders"),
        ({"draftOrders": {"resourceType": "List"}}, "/context/draftOrders"),
    ],
)
def test_what_the_hook_requires(ehr: Ehr, service: Json, changed: Json, pointer: str) -> None:
    answer = called(ehr, service, context(order(ATORVASTATIN), **changed))
    assert answer.status_code == 400
    assert pointer in [fault["pointer"] for fault in answer.get_json()["errors"]]


def test_a_call_of_the_other_hook_is_refused(ehr: Ehr, service: Json) -> None:
    given = context(order(ATORVASTATIN))
    answer = called(ehr, service, given, hook="patient-view")
    assert (answer.status_code, answer.get_json()["errors"][0]["pointer"]) == (400, "/hook")


def test_of_what_genes_say_only_what_is_about_the_medicine_picked() -> None:
    model = all_models()["pgx"]
    clopidogrel = [medication("rxnorm", CLOPIDOGREL)]
    said = {
        "results": [
            {"outcome": outcome}
            for outcome in ("simvastatin", "clopidogrel-acs-pci", "clopidogrel-cardiovascular")
        ]
    }
    kept = about(said, clopidogrel, model)["results"]
    assert [one["outcome"] for one in kept] == ["clopidogrel-acs-pci", "clopidogrel-cardiovascular"]
    assert touched([model], clopidogrel) == {"pgx": ("clopidogrel",)}
    assert touched([model], [medication("rxnorm", PARACETAMOL)]) == {}
    whole = {"results": [{"outcome": "total-cvd"}]}
    assert about(whole, clopidogrel, all_models()["prevent"]) == whole
