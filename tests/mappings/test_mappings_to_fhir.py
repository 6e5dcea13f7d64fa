"""Assessments as FHIR R4: valid, honest, exactly the inputs used, the same twice."""

import copy
import json
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from xml.etree import ElementTree

import pytest
from fhir.resources import R4B
from hypothesis import given
from hypothesis import strategies as st

from mappings.to_fhir import (
    Links,
    LinksError,
    assessment_resources,
    device_of,
    outline,
    transaction_bundle,
)
from mappings.to_fhir.common import years_later
from mappings.to_fhir.wording import percent

BASE = "https://twinport.example.org/fhir"
NEW_YORK = timezone(timedelta(hours=-5))

PREVENT: dict[str, Any] = {
    "model": {"id": "prevent", "version": "1.0.0", "variant": "base", "card": "sha256:00"},
    "at": 812,
    "answer": "partial",
    "inputs": [
        {"input": "age", "value": 54, "unit": "a", "how": "subject"},
        {"input": "sex", "value": "female", "how": "subject"},
        {
            "input": "systolic-bp",
            "value": 148,
            "unit": "mm[Hg]",
            "t": 810,
            "src": [1],
            "how": "measured",
        },
        {
            "input": "total-cholesterol",
            "value": 213.4,
            "unit": "mg/dL",
            "t": 700,
            "src": [2, 3],
            "how": "measured",
        },
        {
            "input": "egfr-ckdepi-2021",
            "value": 88.217,
            "unit": "mL/min/{1.73_m2}",
            "src": [3],
            "how": "derived",
        },
        {"input": "diabetes", "value": False, "how": "declared-absent"},
        {"input": "statin", "value": True, "src": [4], "how": "coded"},
    ],
    "snapshot": "sha256:11",
    "results": [
        {
            "outcome": "total-cvd",
            "horizonYears": 10,
            "value": 0.14200000000000001,
            "unit": "1",
            "interval": {"low": 0.118, "high": 0.171, "level": 0.95, "kind": "if-measured-again"},
            "category": {"scheme": "aha-acc-2025", "code": "at-or-above-threshold"},
        },
        {
            "outcome": "total-cvd",
            "horizonYears": 30,
            "value": 0.4,
            "unit": "1",
            "intervalRefused": "no-variation-known",
        },
        {"outcome": "ascvd", "horizonYears": 10, "value": 0.00432, "unit": "1"},
    ],
    "refusals": [
        {
            "outcome": "heart-failure",
            "horizonYears": 10,
            "reason": "missing-input",
            "input": "body-mass-index",
        }
    ],
    "missing": ["body-mass-index"],
}
CARD: dict[str, Any] = {
    "id": "prevent",
    "version": "1.0.0",
    "title": "AHA PREVENT equations",
    "kind": "probability",
    "ai_kinds": ["Rule-Based-Systems", "Deterministic-AI"],
    "codings": [
        {
            "system": "http://snomed.info/sct",
            "code": "441829007",
            "display": "Assessment for risk of cardiovascular disease",
        }
    ],
    "outcomes": [
        {"outcome": "total-cvd", "unit": "1", "horizons": [10, 30], "label": "Total CVD"},
        {"outcome": "ascvd", "unit": "1", "horizons": [10, 30]},
    ],
    "anything-else": {"is": "ignored"},
}
CKD: dict[str, Any] = {
    "model": {
        "id": "ckd-epi-2021",
        "version": "1.0.0",
        "variant": "creatinine",
        "card": "sha256:00",
    },
    "at": 812,
    "answer": "given",
    "inputs": [
        {
            "input": "creatinine",
            "value": 0.91,
            "unit": "mg/dL",
            "t": 810,
            "src": [2],
            "how": "measured",
        },
        {"input": "age", "value": 54, "unit": "a", "src": [0], "how": "subject"},
    ],
    "snapshot": "sha256:22",
    "results": [
        {
            "outcome": "egfr",
            "value": 74.7361,
            "unit": "mL/min/{1.73_m2}",
            "category": {"scheme": "kdigo-g", "code": "g2"},
            "interval": {"low": 66.2, "high": 83.1, "level": 0.95, "kind": "if-measured-again"},
        }
    ],
    "refusals": [],
    "missing": [],
}
CKD_CARD: dict[str, Any] = {
    "id": "ckd-epi-2021",
    "version": "1.0.0",
    "title": "CKD-EPI 2021",
    "kind": "quantity",
    "outcomes": {
        "egfr": {
            "label": "eGFR",
            "codes": {
                "creatinine": {"system": "loinc", "code": "98979-8"},
                "both": {"system": "loinc", "code": "98980-6"},
            },
        }
    },
}


def links(**changes: Any) -> Links:
    return Links(
        **{
            "subject": "Patient/p-1001",
            "sources": {
                0: "Patient/p-1001",
                1: "Observation/bp",
                2: "Observation/chol",
                3: "Observation/crea/_history/2",
                4: "MedicationRequest/m",
            },
            "occurrence": datetime(2026, 6, 2, 23, 30, tzinfo=NEW_YORK),
            "identifier": ("urn:twinport:assessment", "7d1f"),
            "code_base": BASE,
            "software": "0.1.0",
            **changes,
        }
    )


def made(
    assessment: dict[str, Any] = PREVENT, card: dict[str, Any] = CARD, **changes: Any
) -> dict[str, dict[str, Any]]:
    resources = assessment_resources(assessment, card, links(**changes))
    return {resource["resourceType"]: resource for resource in resources}


def validated(resource: dict[str, Any]) -> None:
    """By an independent reader of R4B; what it reads back is what was written."""
    model = R4B.get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    again = json.loads(model.model_dump_json())
    assert again.keys() == resource.keys()


def everything() -> list[dict[str, Any]]:
    return [*made().values(), *made(CKD, CKD_CARD).values()]


# -- validity --------------------------------------------------------------------------------------


@pytest.mark.parametrize("resource", everything(), ids=lambda r: r["resourceType"])
def test_every_resource_is_valid_r4(resource: dict[str, Any]) -> None:
    validated(resource)
    # Of the population in general, as R4 means it, no model here gives a ratio.
    assert "relativeRisk" not in str(resource)
    # A profile is claimed by none: not one was published for such a result.
    assert "profile" not in resource.get("meta", {})


def test_the_transaction_is_valid_r4() -> None:
    validated(transaction_bundle(everything()))


@pytest.mark.parametrize("resource", everything(), ids=lambda r: r["resourceType"])
def test_the_narrative_is_well_formed(resource: dict[str, Any]) -> None:
    if "text" in resource:
        root = ElementTree.fromstring(resource["text"]["div"])
        assert root.tag == "{http://www.w3.org/1999/xhtml}div"


def test_texts_are_escaped() -> None:
    card = CARD | {"title": 'A <script>alert("1")</script> & B\x00'}
    div = made(card=card)["RiskAssessment"]["text"]["div"]
    assert "<script>" not in div
    assert "&lt;script&gt;" in div
    assert "&amp; B" in div
    ElementTree.fromstring(div)


@given(st.floats(0, 1))
def test_probabilities_obey_ras_2(probability: float) -> None:
    assert 0 <= percent(probability) <= 100


@pytest.mark.parametrize("value", [-0.001, 1.001, 14.2])
def test_what_is_no_probability_is_not_written(value: float) -> None:
    wrong = copy.deepcopy(PREVENT)
    wrong["results"][0]["value"] = value
    with pytest.raises(ValueError, match="between 0 and 1"):
        made(wrong)


# -- RiskAssessment --------------------------------------------------------------------------------


def test_a_machine_writes_preliminary_and_labels_it() -> None:
    for resource in everything():
        if resource["resourceType"] in ("RiskAssessment", "Observation"):
            assert resource["status"] == "preliminary"
            assert resource["meta"]["security"][0]["code"] == "AIAST"


@pytest.mark.parametrize(
    ("probability", "expected"),
    [
        (0.14200000000000001, 14.2),
        (0.1, 10.0),
        (0.07449, 7.4),
        (0.00432, 0.43),
        (0.000168, 0.017),
        (1.0, 100.0),
        (0.0, 0.0),
    ],
)
def test_percent_has_the_digits_that_mean_something(probability: float, expected: float) -> None:
    assert percent(probability) == expected


def test_probabilities_are_percent_as_r4_defines_them() -> None:
    predictions = made()["RiskAssessment"]["prediction"]
    assert [p["probabilityDecimal"] for p in predictions] == [14.2, 40.0, 0.43]
    assert all("%" in p["rationale"] for p in predictions)


def test_a_server_that_holds_fractions_gets_fractions_and_the_percent_sign_in_words() -> None:
    predictions = made(probability_scale="fraction")["RiskAssessment"]["prediction"]
    assert [p["probabilityDecimal"] for p in predictions] == [0.142, 0.4, 0.0043]
    assert predictions[0]["rationale"].startswith("14.2 %.")


def test_the_rationale_names_the_interval_for_what_it_is() -> None:
    first, second, _ = made()["RiskAssessment"]["prediction"]
    assert "Range if measured again: 11.8 % to 17.1 % (95 %)." in first["rationale"]
    assert "No interval: no variation known." in second["rationale"]
    assert "Systolic blood pressure 148 mmHg" in first["rationale"]
    assert "eGFR, CKD-EPI 2021 creatinine 88 mL/min per 1.73 m²" in first["rationale"]
    assert "Statin: yes" in first["rationale"]


def test_the_horizon_is_a_period_from_the_day_of_the_assessment() -> None:
    first, second, _ = made()["RiskAssessment"]["prediction"]
    assert first["whenPeriod"] == {"start": "2026-06-02", "end": "2036-06-02"}
    assert second["whenPeriod"] == {"start": "2026-06-02", "end": "2056-06-02"}


def test_a_probability_of_today_is_for_the_day_and_never_for_the_lifespan() -> None:
    today = {**PREVENT, "results": [{"outcome": "ascvd", "value": 0.2, "unit": "1"}]}
    (prediction,) = made(today)["RiskAssessment"]["prediction"]
    assert prediction["whenPeriod"] == {"start": "2026-06-02", "end": "2026-06-02"}


@pytest.mark.parametrize("scale", ["percent", "fraction"])
def test_a_program_finds_the_interval_in_percent_and_named(scale: str) -> None:
    first, second, _ = made(probability_scale=scale)["RiskAssessment"]["prediction"]
    ((whole,), absent) = first["extension"], second.get("extension")
    assert (whole["url"], absent) == ("urn:twinport:fhir:interval", None)
    range_, level, kind = whole["extension"]
    bounds = [range_["valueRange"][end] for end in ("low", "high")]
    assert [(one["value"], one["code"]) for one in bounds] == [(11.8, "%"), (17.1, "%")]
    assert (level["valueDecimal"], kind["valueCode"]) == (0.95, "if-measured-again")


def test_a_quantity_has_its_interval_in_its_unit() -> None:
    interval = {"low": 70.123, "high": 95.987, "level": 0.95, "kind": "if-measured-again"}
    (result,) = CKD["results"]
    observed = made({**CKD, "results": [{**result, "interval": interval}]}, CKD_CARD)["Observation"]
    validated(observed)
    bounds = observed["extension"][0]["extension"][0]["valueRange"]
    assert [bounds[end]["value"] for end in ("low", "high")] == [70.0, 96.0]
    assert bounds["low"]["code"] == observed["valueQuantity"]["code"]


@pytest.mark.parametrize(("assessment", "card"), [(PREVENT, CARD), (CKD, CKD_CARD)])
def test_it_says_until_when_it_holds_where_anybody_reads_it(
    assessment: dict[str, Any], card: dict[str, Any]
) -> None:
    said = "Holds until 2027-06-02."
    told = list(made(assessment, card, until=date(2027, 6, 2)).values())[1]
    assert said in told["text"]["div"]
    assert said in [note["text"] for note in told["note"]]
    assert "Holds until" not in json.dumps(list(made(assessment, card).values()))


@given(st.dates(date(1900, 1, 1), date(2400, 1, 1)), st.integers(0, 100))
def test_years_later_is_the_same_day_or_the_28th(start: date, years: int) -> None:
    end = years_later(start, years)
    assert end.year == start.year + years
    assert (end.month, end.day) in {(start.month, start.day), (2, 28)}


def test_29_february() -> None:
    leap = datetime(2028, 2, 29, tzinfo=UTC)
    assert made(occurrence=leap)["RiskAssessment"]["prediction"][0]["whenPeriod"] == {
        "start": "2028-02-29",
        "end": "2038-02-28",
    }


def test_basis_is_exactly_the_inputs_used_each_once() -> None:
    basis = [reference["reference"] for reference in made()["RiskAssessment"]["basis"]]
    assert basis == [
        "Observation/bp",
        "Observation/chol",
        "Observation/crea/_history/2",
        "MedicationRequest/m",
    ]


def test_an_input_that_cannot_be_linked_is_said() -> None:
    sources = {1: "Observation/bp"}
    resource = made(sources=sources)["RiskAssessment"]
    assert [reference["reference"] for reference in resource["basis"]] == ["Observation/bp"]
    assert any("3 of the inputs could not be linked" in note["text"] for note in resource["note"])


def test_without_linked_inputs_there_is_no_basis() -> None:
    assert "basis" not in made(sources={})["RiskAssessment"]


def test_notes_say_what_was_missing_assumed_refused_and_unseen() -> None:
    resource = made(partial=("Condition",), reasons={"missing-input": "A value is not there."})
    texts = [note["text"] for note in resource["RiskAssessment"]["note"]]
    assert texts == [
        "Computed by AHA PREVENT equations, base, version 1.0.0, and not reviewed by a clinician.",
        "Not known: Body mass index.",
        "Taken as absent, as the record was complete and holds none: Diabetes.",
        "Not everything could be read from the server: Condition.",
        "No answer for Heart failure, 10 years: A value is not there (Body mass index).",
    ]


def test_what_may_have_been_missed_is_named_with_its_slice() -> None:
    """It is not said to be absent from a complete record in the same breath."""
    unseen = [
        {"input": "diabetes", "slices": ["Observation"]},
        {"input": "hba1c", "slices": ["Observation"]},
        {"input": "statin", "slices": ["MedicationRequest", "MedicationStatement"]},
    ]
    risk = made(PREVENT | {"unseen": unseen})["RiskAssessment"]
    texts = [note["text"] for note in risk["note"]]
    assert "Taken as absent, though not everything was answered: Diabetes." in texts
    assert not [text for text in texts if "the record was complete" in text]
    assert (
        "May have been missed, as not everything was answered: Diabetes, "
        "Haemoglobin A1c (Observation); Statin (MedicationRequest, MedicationStatement)."
    ) in texts


def test_the_category_is_the_guidelines_own_word() -> None:
    first = made()["RiskAssessment"]["prediction"][0]["qualitativeRisk"]
    assert first == {
        "coding": [
            {
                "system": f"{BASE}/CodeSystem/risk-category-aha-acc-2025",
                "code": "at-or-above-threshold",
                "display": "At or above threshold",
            }
        ],
        "text": "At or above threshold (aha-acc-2025)",
    }


def test_method_code_and_outcome_are_coded_and_spelled() -> None:
    resource = made()["RiskAssessment"]
    assert resource["method"]["coding"][0] == {
        "system": f"{BASE}/CodeSystem/model",
        "version": "1.0.0",
        "code": "prevent-base",
        "display": "AHA PREVENT equations",
    }
    assert resource["code"]["coding"][0]["code"] == "441829007"
    outcome = resource["prediction"][0]["outcome"]
    assert outcome["text"] == "Total CVD"
    assert outcome["coding"][0]["system"] == f"{BASE}/CodeSystem/outcome"


def test_our_code_systems_are_well_formed_under_a_urn_too() -> None:
    resources = made(code_base="urn:twinport")
    assert resources["Device"]["identifier"][0]["system"] == "urn:twinport:CodeSystem:device"
    method = resources["RiskAssessment"]["method"]["coding"][0]
    assert method["system"] == "urn:twinport:CodeSystem:model"


# -- Observation -----------------------------------------------------------------------------------


def test_a_quantity_becomes_an_observation() -> None:
    resource = made(CKD, CKD_CARD)["Observation"]
    assert resource["category"][0]["coding"][0]["code"] == "laboratory"
    assert resource["code"]["coding"][0] == {"system": "http://loinc.org", "code": "98979-8"}
    assert resource["valueQuantity"] == {
        "value": 75.0,
        "unit": "mL/min per 1.73 m²",
        "system": "http://unitsofmeasure.org",
        "code": "mL/min/{1.73_m2}",
    }
    assert resource["derivedFrom"] == [{"reference": "Observation/chol"}]
    assert "performer" not in resource  # R4 has no Device there
    notes = " ".join(note["text"] for note in resource["note"])
    assert "66 mL/min per 1.73 m² to 83 mL/min per 1.73 m²" in notes
    assert "Category: g2 (kdigo-g)." in notes


def test_the_code_is_that_of_the_variant() -> None:
    both = copy.deepcopy(CKD)
    both["model"]["variant"] = "both"
    assert made(both, CKD_CARD)["Observation"]["code"]["coding"][0]["code"] == "98980-6"
    both["model"]["variant"] = "cystatin-c"
    assert made(both, CKD_CARD)["Observation"]["code"]["coding"][0]["system"].startswith(BASE)


def test_only_observations_are_derived_from() -> None:
    sources = {0: "Patient/p-1001", 2: "https://other.example/fhir/Observation/7/_history/1"}
    resource = made(CKD, CKD_CARD, sources=sources)
    assert resource["Observation"]["derivedFrom"] == [{"reference": sources[2]}]
    assert len(resource["Provenance"]["entity"]) == 2


def test_a_score_is_a_survey_result() -> None:
    score = copy.deepcopy(CKD)
    score["results"] = [{"outcome": "points", "value": 7, "unit": "{score}"}]
    resource = made(score, {"kind": "score"})["Observation"]
    assert resource["category"][0]["coding"][0]["code"] == "survey"
    assert resource["valueQuantity"]["value"] == 7


def test_several_quantities_have_identifiers_of_their_own() -> None:
    two = copy.deepcopy(CKD)
    two["results"].append({"outcome": "other", "value": 1.23456, "unit": "mg/dL"})
    resources = assessment_resources(two, CKD_CARD, links())
    observations = [r for r in resources if r["resourceType"] == "Observation"]
    assert [o["identifier"][0]["value"] for o in observations] == ["7d1f.egfr", "7d1f.other"]
    assert observations[1]["valueQuantity"]["value"] == 1.23
    assert len({o["id"] for o in observations}) == 2


def test_probabilities_and_quantities_of_one_model_go_their_own_ways() -> None:
    mixed = copy.deepcopy(PREVENT)
    mixed["results"].append({"outcome": "points", "value": 7, "unit": "{score}"})
    card = CARD | {"outcomes": {"points": {"kind": "score"}}}
    kinds = [r["resourceType"] for r in assessment_resources(mixed, card, links())]
    assert kinds == ["Device", "RiskAssessment", "Observation", "Provenance"]


def test_a_silent_card_is_read_from_the_results() -> None:
    kinds = [r["resourceType"] for r in assessment_resources(PREVENT, {}, links())]
    assert kinds == ["Device", "RiskAssessment", "Provenance"]
    kinds = [r["resourceType"] for r in assessment_resources(CKD, {}, links())]
    assert kinds == ["Device", "Observation", "Provenance"]


# -- companions ------------------------------------------------------------------------------------


def test_the_device_is_the_model_in_its_version() -> None:
    device = made()["Device"]
    assert device["type"] == {
        "coding": [
            {
                "system": "http://hl7.org/fhir/uv/aitransparency/CodeSystem/AIdeviceTypeCS",
                "code": "Artificial-Intelligence",
            }
        ]
    }
    assert [version["value"] for version in device["version"]] == ["1.0.0", "0.1.0"]
    assert len(device["extension"]) == 2
    assert made()["RiskAssessment"]["performer"]["reference"] == f"urn:uuid:{device['id']}"


def test_provenance_names_agent_inputs_and_reason() -> None:
    resources = made()
    provenance = resources["Provenance"]
    assert provenance["target"] == [{"reference": f"urn:uuid:{resources['RiskAssessment']['id']}"}]
    assert provenance["reason"][0]["coding"][0]["code"] == "AIAST"
    assert provenance["agent"][0]["who"]["reference"] == f"urn:uuid:{resources['Device']['id']}"
    used = [entity["what"] for entity in provenance["entity"]]
    assert used == resources["RiskAssessment"]["basis"]


# -- exactly once ----------------------------------------------------------------------------------


def test_a_refused_assessment_gives_nothing() -> None:
    assert assessment_resources(PREVENT | {"answer": "refused", "results": []}, CARD, links()) == []


def test_the_same_assessment_gives_the_same_bytes() -> None:
    again = [*made().values(), *made(CKD, CKD_CARD).values()]
    assert json.dumps(again) == json.dumps(everything())


def test_another_key_gives_other_ids_but_the_same_device() -> None:
    other = made(identifier=("urn:twinport:assessment", "8e2a"))
    assert other["RiskAssessment"]["id"] != made()["RiskAssessment"]["id"]
    assert other["Device"]["id"] == made()["Device"]["id"]


def test_the_transaction_creates_nothing_twice() -> None:
    bundle = transaction_bundle([*everything(), *everything()])
    assert len(bundle["entry"]) == len(everything())
    for entry in bundle["entry"]:
        assert "id" not in entry["resource"]
        assert entry["fullUrl"].startswith("urn:uuid:")
        if entry["resource"]["resourceType"] != "Provenance":
            assert entry["request"]["ifNoneExist"].startswith("identifier=")


def test_every_internal_reference_is_resolved_in_the_transaction() -> None:
    bundle = transaction_bundle(everything())
    urls = {entry["fullUrl"] for entry in bundle["entry"]}
    text = json.dumps(bundle)
    referred = {part.split('"')[0] for part in text.split('"reference": "')[1:]}
    assert {reference for reference in referred if reference.startswith("urn:")} <= urls


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("subject", "p-1001"),
        ("occurrence", datetime(2026, 6, 2)),
        ("identifier", ("", "x")),
        ("code_base", BASE + "/"),
        ("probability_scale", "permille"),
    ],
)
def test_links_that_cannot_be_used_name_the_field_and_not_the_value(field: str, value: Any) -> None:
    with pytest.raises(LinksError, match=field) as caught:
        links(**{field: value})
    assert "1001" not in str(caught.value)


# -- by name alone ---------------------------------------------------------------------------------

TWO: dict[str, Any] = CKD | {
    "results": [*CKD["results"], {"outcome": "stage", "value": 2.0, "unit": "1"}]
}
MIXED = PREVENT | {"results": [*PREVENT["results"], *TWO["results"]]}
MIXED_CARD = CARD | {
    "outcomes": [
        *CARD["outcomes"],
        {"outcome": "egfr", "kind": "quantity"},
        {"outcome": "stage", "kind": "score"},
    ]
}


@pytest.mark.parametrize(
    ("assessment", "card"),
    [(PREVENT, CARD), (CKD, CKD_CARD), (TWO, CKD_CARD), (MIXED, MIXED_CARD)],
)
def test_what_is_looked_for_is_named_as_what_is_made(
    assessment: dict[str, Any], card: dict[str, Any]
) -> None:
    given = links()
    named = [one for one in assessment_resources(assessment, card, given) if "identifier" in one]
    told = ("resourceType", "id", "identifier")
    looked_for = outline(assessment, card, given.identifier)
    assert looked_for == [{key: one[key] for key in told} for one in named[1:]]
    assert device_of(assessment["model"], card, given) == named[0]
