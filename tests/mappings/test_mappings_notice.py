"""That a result no longer holds, as a new resource: valid, plain, without a number."""

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from fhir.resources import R4B
from test_mappings_to_fhir import PREVENT

from mappings.to_fhir import Links, Notice, form_of, notice_of
from mappings.to_fhir.notice import FORMS, STALE, VOID
from twin_engine.models.cards import card
from twin_engine.models.registry import get

Json = dict[str, Any]
LINKS = Links(
    subject="Patient/p",
    sources={1: "Observation/o"},
    occurrence=datetime(2026, 6, 1, 8, tzinfo=UTC),
    identifier=("urn:twinport:assessment", "k"),
    code_base="urn:twinport",
    software="1.0.0",
    encounter="Encounter/e",
)
RUNGS = ("risk-assessment", "observation", "document")


def notice(rung: str = "risk-assessment", **more: Any) -> Notice:
    device, *written, _ = form_of(rung, PREVENT, card(get("prevent")), LINKS)
    given: Json = {
        "kind": STALE,
        "cause": "input-withdrawn",
        "results": [(f"{one['resourceType']}/r{i}", one) for i, one in enumerate(written)],
        "device": device,
        "identifier": ("urn:twinport:assessment", "k.stale-1"),
        "at": datetime(2026, 6, 9, 8, tzinfo=UTC),
    }
    return Notice(**{**given, **more})


@pytest.mark.parametrize("kind", [STALE, VOID])
@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_valid_and_names_the_result(form: str, rung: str, kind: str) -> None:
    device, made, provenance = notice_of(form, notice(rung, kind=kind))
    for resource in (device, made, provenance):
        R4B.get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    (reference,) = notice(rung).references
    assert {"reference": reference} in [e["what"] for e in provenance["entity"]]
    assert reference in str(made)
    assert "14.2" not in str({**made, "code": {}})
    assert not {"prediction", "component", "valueQuantity"} & made.keys()
    assert made["meta"]["tag"][0]["code"] == kind
    assert made["identifier"][0]["value"] == "k.stale-1"
    same = made["resourceType"] == notice(rung).first["resourceType"]
    role = "revision" if same and kind == STALE else "source"
    assert [e["role"] for e in provenance["entity"]] == [role]


def test_what_a_person_reads() -> None:
    said = notice(cause="input-corrected", accepted=True, replaced=True).sentences
    assert said == [
        "This result no longer holds: AHA PREVENT equations, base, version 1.0.0, 2026-06-01. "
        "Reason: an input was corrected.",
        "This system did not let the result be changed, so it still reads as it was written. "
        "Do not rely on it.",
        "A clinician had accepted it: what was decided on it needs a review.",
        "A newer result of the same model takes its place.",
    ]
    (*_, document, _) = notice_of("document", notice())
    text = base64.b64decode(document["content"][0]["attachment"]["data"]).decode()
    assert text.splitlines() == notice().sentences
    assert document["context"]["encounter"] == [{"reference": "Encounter/e"}]


def test_beside_a_newer_result_it_is_not_the_one_in_force() -> None:
    (_, alone, _) = notice_of("result", notice())
    (_, beside, _) = notice_of("result", notice(replaced=True))
    assert (alone["status"], beside["status"]) == ("preliminary", "cancelled")


def test_what_a_result_is_called_is_escaped() -> None:
    wicked = {**notice().first, "method": {"text": "<script>x</script>"}}
    (_, made, _) = notice_of("flag", notice(results=[("RiskAssessment/r", wicked)]))
    assert "<script>" not in made["text"]["div"]
