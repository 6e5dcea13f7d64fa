"""The leak cases of real de-identification tools, each with a marker that must not come out."""

import json
from typing import Any

import pytest
from privacy_support import LOINC, NOW, RXNORM, SNOMED, UCUM, observation, session

from privacy.deidentify import Refused
from privacy.subject import draw_epoch

M = "Zq7marker"  # stands in each case where a leak was seen; must never come out
PATIENT = {"resourceType": "Patient", "id": "p1", "gender": "female", "birthDate": "1960-02-03"}


def condition(**changes: Any) -> dict[str, Any]:
    base = {
        "resourceType": "Condition",
        "id": "c1",
        "subject": {"reference": "Patient/p1"},
        "code": {"coding": [{"system": SNOMED, "code": "38341003"}]},
    }
    return {**base, **changes}


def medication(**changes: Any) -> dict[str, Any]:
    base = {
        "resourceType": "MedicationRequest",
        "id": "m1",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/p1"},
        "medicationCodeableConcept": {"coding": [{"system": RXNORM, "code": "314076"}]},
    }
    return {**base, **changes}


def study(**changes: Any) -> dict[str, Any]:
    base = {
        "resourceType": "ImagingStudy",
        "id": "i1",
        "status": "available",
        "subject": {"reference": "Patient/p1"},
        "numberOfSeries": 1,
    }
    return {**base, **changes}


# Case by case: what is planted, and what must still be there afterwards.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "01 dosage text": (
        medication(
            dosageInstruction=[
                {
                    "text": f"for {M}, 555-0199",
                    "doseAndRate": [{"doseQuantity": {"value": 1, "unit": "mg"}}],
                }
            ]
        ),
        {"dosageInstruction": [{"doseAndRate": [{"doseQuantity": {"value": 1, "unit": "mg"}}]}]},
    ),
    "02 patient instruction": (medication(dosageInstruction=[{"patientInstruction": M}]), {}),
    "03 series uid": (
        study(series=[{"uid": f"1.2.{M}", "number": 1}]),
        {"series": [{"number": 1}]},
    ),
    "04 instance uid": (study(series=[{"number": 1, "instance": [{"uid": M}]}]), {}),
    "05 study identifier": (study(identifier=[{"system": "urn:dicom:uid", "value": M}]), {}),
    "06 component range text": (
        observation(component=[{"valueInteger": 3, "referenceRange": [{"text": M}]}]),
        {"component": [{"valueInteger": 3}]},
    ),
    "07 meta source": (observation(meta={"source": f"https://{M}.org/pat/123"}), {}),
    "08 meta version": (observation(meta={"versionId": M, "lastUpdated": "2020-01-01"}), {}),
    "09 reference with history": (
        observation(encounter={"reference": f"https://{M}/Encounter/1/_history/7"}),
        {},
    ),
    "14 control character": (observation(encounter={"reference": f"\x13#{M}"}), {}),
    "14 fragment": (observation(encounter={"reference": f"Encounter/{M}#x"}), {}),
    "14 search": (observation(encounter={"reference": f"Encounter?identifier={M}|{M}"}), {}),
    "14 logical": (observation(encounter={"identifier": {"value": M}}), {}),
    "15 displays": (
        observation(subject={"reference": "Patient/p1", "display": M}, performer=[{"display": M}]),
        {},
    ),
    "15 who gave an identifier": (
        {**PATIENT, "identifier": [{"value": M, "assigner": {"display": M}}]},
        {"gender": "female"},
    ),
    "16 coding display": (
        observation(code={"coding": [{"system": LOINC, "code": "8480-6", "display": M}]}),
        {"code": {"coding": [{"system": LOINC, "code": "8480-6"}]}},
    ),
    "17 text without code": (condition(code={"text": M}), {}),
    "18 local code that is a name": (
        condition(code={"coding": [{"system": "urn:oid:1.2.840.114350.1", "code": M}]}),
        {},
    ),
    "18 unknown code of a known system": (
        condition(code={"coding": [{"system": SNOMED, "code": M}]}),
        {},
    ),
    "19 value string": (observation(valueString=M, note=[{"text": M, "authorString": M}]), {}),
    "20 narrative": (observation(text={"status": "empty", "div": f"<div><!-- {M} --></div>"}), {}),
    "20 narrative with links and entities": (
        observation(
            text={
                "status": "generated",
                "div": f'<div><a href="mailto:{M}" title="{M}">&ntilde;</a><img alt="{M}"/></div>',
            }
        ),
        {"status": "final"},
    ),
    "21 extension three levels down": (
        observation(
            extension=[{"url": "a", "extension": [{"url": "b", "extension": [
                {"url": "c", "valueString": M, "valueAddress": {"city": M}}]}]}]
        ),
        {"status": "final"},
    ),
    "21 extension of an extension's address": (
        observation(extension=[{"url": "a", "_url": {"extension": [{"url": M}]}}]),
        {"status": "final"},
    ),
    "21 nested extension": (
        observation(extension=[{"url": "a", "extension": [{"url": M, "valueString": M}]}]),
        {},
    ),
    "21 extension of a primitive": (
        {**PATIENT, "_birthDate": {"extension": [{"url": "x", "valueDateTime": M}]}},
        {"gender": "female"},
    ),
    "23 contained person": (
        observation(
            contained=[{"resourceType": "Patient", "id": "x", "name": [{"family": M}]}],
            subject={"reference": "#x"},
        ),
        {},
    ),
    "23 contained unknown type": (observation(contained=[{"resourceType": M, "id": M}]), {}),
    "23 contained in contained": (
        observation(
            contained=[
                {"resourceType": "Practitioner", "id": M, "name": [{"text": M}],
                 "contained": [{"resourceType": "Device", "id": M, "serialNumber": M}]}
            ],
            performer=[{"reference": f"#{M}"}],
            device={"reference": f"#{M}", "display": M},
        ),
        {"status": "final"},
    ),
    "24 unknown element": (observation(x_mrn=M, **{M: 1}), {}),
    "24 wrong case": (observation(Status=M, CODE=M), {"status": "final"}),
    "24 homoglyph": (observation(ѕtatus=M), {"status": "final"}),
    "24 odd characters in a key": (
        observation(**{"status\x00": M, "\ufeffcode": M, "note ": M}),
        {"status": "final"},
    ),
    "25 primitive array with nulls": (
        {**PATIENT, "name": [{"given": [None, M], "_given": [{"id": M}, None]}]},
        {},
    ),
    "26 photo": ({**PATIENT, "photo": [{"url": M, "title": M, "hash": M}]}, {}),
    "27 device": (
        {
            "resourceType": "Device",
            "id": "d1",
            "status": "active",
            "serialNumber": M,
            "udiCarrier": [{"carrierHRF": M}],
            "lotNumber": M,
        },
        {"status": "active"},
    ),
    "27 device that was worked on": (
        {
            "resourceType": "Procedure",
            "id": "x1",
            "status": "completed",
            "subject": {"reference": "Patient/p1"},
            "focalDevice": [{"manipulated": {"display": M, "identifier": {"value": M}}}],
        },
        {"status": "completed"},
    ),
    "28 old birth date elsewhere": (condition(onsetDateTime="1929-05-05", onsetString=M), {}),
    "30 age in words": (condition(onsetString=f"93yo {M}"), {}),
    "31 zone": (observation(effectiveDateTime=f"2020-01-01T10:00:00{M}"), {}),
    "34 postal code": ({**PATIENT, "address": [{"postalCode": M, "line": [M]}]}, {}),
    "35 a small territory": (
        {
            **PATIENT,
            "address": [{"text": M, "district": M, "city": M, "state": "AS", "country": "US"}],
        },
        {"gender": "female"},
    ),
    "36 what an identifier is for": (
        {
            **PATIENT,
            "identifier": [{"type": {"text": M}, "period": {"start": "1987-06-05"}, "use": "old"}],
        },
        {"gender": "female"},
    ),
    "36 identifier": ({**PATIENT, "identifier": [{"system": f"http://{M}", "value": M}]}, {}),
    "37 id is the MRN": (observation(id=M), {}),
    "41 status is free text": (observation(status=M), {}),
    "42 bad number": (observation(valueQuantity={"value": M}), {}),
    "46 encounter": (
        {
            "resourceType": "Encounter",
            "id": "e1",
            "status": "finished",
            "participant": [{"individual": {"display": M}}],
            "location": [{"location": {"display": M}}],
            "hospitalization": {"specialCourtesy": [{"text": M}]},
        },
        {"status": "finished"},
    ),
    "47 singletons": ({**PATIENT, "multipleBirthInteger": 3, "maritalStatus": {"text": M}}, {}),
    "local unit": (
        observation(valueQuantity={"value": 1, "unit": M, "system": M, "code": M}),
        {"valueQuantity": {"value": 1}},
    ),
    "unit is an object": (observation(valueQuantity={"value": 1, "unit": {M: M}}), {}),
    "sampled data": (observation(valueSampledData={"data": M}), {}),
    "attachment": (
        {
            "resourceType": "DiagnosticReport",
            "id": "r1",
            "status": "final",
            "presentedForm": [{"data": M, "title": M}],
            "conclusion": M,
        },
        {"status": "final"},
    ),
    "family name": (
        {
            "resourceType": "FamilyMemberHistory",
            "id": "f1",
            "status": "completed",
            "name": M,
            "bornDate": "1931-01-01",
            "deceasedString": M,
            "note": [{"text": M}],
        },
        {"status": "completed"},
    ),
    "endpoint": (
        {
            "resourceType": "Endpoint",
            "id": "n1",
            "status": "active",
            "address": f"https://{M}",
            "header": [M],
            "name": M,
        },
        {"status": "active"},
    ),
    "specimen": (
        {
            "resourceType": "Specimen",
            "id": "s1",
            "accessionIdentifier": {"value": M},
            "container": [{"description": M}],
        },
        {},
    ),
    "immunization lot": (
        {"resourceType": "Immunization", "id": "v1", "status": "completed", "lotNumber": M},
        {"status": "completed"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_marker_stays_inside_and_the_clinical_content_comes_out(name: str) -> None:
    source, expected = CASES[name]
    run = session()
    record = run.apply(source)
    assert isinstance(record, dict), record
    everything = [record, [list(key) for key in run.counts], [list(key) for key in run.refusals]]
    assert M not in json.dumps(everything)
    for key, value in expected.items():
        assert record[key] == value


REFUSED: dict[str, tuple[Any, str]] = {
    "08 implicit rules": (observation(implicitRules=f"http://{M}"), "refused-element"),
    "22 modifier extension": (
        observation(modifierExtension=[{"url": M, "valueBoolean": True}]),
        "refused-element",
    ),
    "22 modifier extension inside": (
        observation(component=[{"modifierExtension": [{"url": M}], "valueInteger": 1}]),
        "refused-element",
    ),
    "22 modifier extension of a wrong shape": (observation(modifierExtension=M), "refused-element"),
    "43 type out of the policy": ({"resourceType": "Coverage", "id": M}, "type-out-of-scope"),
    "43 no type": ({"id": M}, "no-type"),
    "43 invented type": ({"resourceType": M}, "type-out-of-scope"),
    "43 type is a list": ({"resourceType": ["Patient", M]}, "type-out-of-scope"),
    "50 a questionnaire": ({"resourceType": "QuestionnaireResponse", "id": M}, "type-out-of-scope"),
    "50 a document": ({"resourceType": "DocumentReference", "id": M}, "type-out-of-scope"),
    "not an object": ([M], "no-type"),
    "nothing": (None, "no-type"),
    "56 another patient": (observation(subject={"reference": f"Patient/{M}"}), "another-patient"),
    "56 another patient's own resource": ({**PATIENT, "id": M}, "another-patient"),
    "56 patient of another server": (
        observation(subject={"reference": f"https://{M}/Patient/p1"}),
        "unknown-subject",
    ),
    "56 unknown urn": (observation(subject={"reference": f"urn:uuid:{M}"}), "unknown-subject"),
    "group": (observation(subject={"reference": "Group/g1"}), "unknown-subject"),
    "the value is a relative's": (
        observation(focus=[{"reference": f"RelatedPerson/{M}"}]),
        "about-somebody-else",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_may_not_be_used_is_refused_and_counted(name: str) -> None:
    source, reason = REFUSED[name]
    run = session()
    answer = run.apply(source)
    assert isinstance(answer, Refused)
    assert answer.reason == reason
    assert sum(run.refusals.values()) == 1
    assert M not in repr(answer) + repr(run.refusals) + repr(run.counts)


SHAPES = [None, [], {}, "text", 5, 1.5, True, [None], [[]], [{}], {"a": None}, ["x", None, {}]]


@pytest.mark.parametrize("shape", SHAPES, ids=repr)
@pytest.mark.parametrize(
    "source",
    [observation(), medication(), condition(), study(), PATIENT],
    ids=lambda s: s["resourceType"],
)
def test_shapes_that_do_not_belong_never_raise(source: dict[str, Any], shape: Any) -> None:
    """DSTU2 shapes, nulls, lists for objects and objects for lists are dropped and counted."""
    for key in [*source, "component", "contained", "meta", "extension", "dosageInstruction"]:
        if key != "resourceType":
            session().apply({**source, key: shape})


def test_a_resource_keeps_its_pseudonym_over_every_form_of_reference() -> None:
    """Absolute, versioned, urn and relative references agree."""
    run = session(links={"urn:uuid:aa": "Encounter/e1"})
    forms = [
        "Encounter/e1",
        "Encounter/e1/_history/3",
        "https://fhir.example.org/r4/Encounter/e1",
        "https://fhir.example.org/r4/Encounter/e1/_history/3",
        "urn:uuid:aa",
    ]
    found = {
        run.apply(observation(encounter={"reference": f}))["encounter"]["reference"] for f in forms
    }
    assert len(found) == 1
    encounter = run.apply({"resourceType": "Encounter", "id": "e1", "status": "finished"})
    assert found == {f"Encounter/{encounter['id']}"}


def test_a_host_with_a_hyphen_is_a_host() -> None:
    bases = ("https://fhir-01.st-mary.example.org/r4",)
    run = session(bases=bases)
    for text in ("Patient/p1", f"{bases[0]}/Patient/p1", f"{bases[0]}/Patient/p1/_history/2"):
        record = run.apply(observation(subject={"reference": text}))
        assert record["subject"] == {"reference": f"Patient/{run.pseudonym('Patient', 'p1')}"}


def test_all_types_of_one_patient_share_one_zero() -> None:
    """Intervals are those of the source, to the day."""
    run = session()
    days = {"2019-03-04": run.apply(observation(effectiveDateTime="2019-03-04")),
            "2019-05-06": run.apply(condition(onsetDateTime="2019-05-06")),
            "2020-02-29": run.apply(medication(authoredOn="2020-02-29"))}  # fmt: skip
    told = [
        days["2019-03-04"]["effectiveDateTime"][0],
        days["2019-05-06"]["onsetDateTime"][0],
        days["2020-02-29"]["authoredOn"][0],
    ]
    assert [later - told[0] for later in told] == [0, 63, 362]


def test_nothing_about_a_patient_says_where_the_zero_lies() -> None:
    """The same id and the same dates, and a zero of its own for each record: who knows the true
    dates of one knows nothing of another."""
    zeros = {draw_epoch(NOW).date() for _ in range(40)}
    assert len(zeros) > 30


def test_equal_ids_of_different_types_get_different_pseudonyms() -> None:
    run = session()
    patient = run.apply(PATIENT)
    encounter = run.apply({"resourceType": "Encounter", "id": "p1", "status": "finished"})
    assert patient["id"] != encounter["id"]


def test_a_contained_medication_is_replaced_by_its_code() -> None:
    contained = {"resourceType": "Medication", "id": "med", "code": {
        "coding": [{"system": RXNORM, "code": "314076", "display": M}], "text": M}}  # fmt: skip
    source = medication(contained=[contained], medicationReference={"reference": "#med"})
    del source["medicationCodeableConcept"]
    record = session().apply(source)
    assert record["medicationCodeableConcept"] == {"coding": [{"system": RXNORM, "code": "314076"}]}
    assert "medicationReference" not in record
    assert M not in json.dumps(record)


def test_a_contained_medication_that_means_something_else_is_not_read() -> None:
    contained = {"resourceType": "Medication", "id": "med", "modifierExtension": [{"url": "x"}],
                 "code": {"coding": [{"system": RXNORM, "code": "314076"}]}}  # fmt: skip
    source = medication(contained=[contained], medicationReference={"reference": "#med"})
    del source["medicationCodeableConcept"]
    assert "medicationCodeableConcept" not in session().apply(source)


# Ages ---------------------------------------------------------------------------------------------


def age(value: Any, code: str = "a", system: str = UCUM, **more: Any) -> dict[str, Any]:
    return {"value": value, "system": system, "code": code, **more}


@pytest.mark.parametrize(
    ("source", "years"),
    [
        (age(94), 90), (age(1128, "mo"), 90), (age(34310, "d"), 90), (age(89.99), 89),
        (age(45.5), 45), (age(600, "mo"), 50), (age(52, "wk"), 0), (age(53, "wk"), 1),
        ({"value": 51, "unit": "years"}, 51), (age(-3), None), (age("45"), None),
        (age(45, "cm"), None), (age(80, comparator=">"), None),
        (45, None), ({}, None),
    ],
)  # fmt: skip
def test_ages_are_completed_years_and_top_coded(source: Any, years: int | None) -> None:
    assert session().apply(condition(onsetAge=source)).get("onsetAge") == years


def test_a_range_of_ages_is_not_told() -> None:
    years = {"low": age(91), "high": age(95)}
    assert "onsetRange" not in session().apply(condition(onsetRange=years))


@pytest.mark.parametrize("code", ["30525-0", "21612-7"])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"valueQuantity": age(93)}, {"value": 90, "system": UCUM, "code": "a"}),
        ({"valueQuantity": age(1128, "mo")}, {"value": 90, "system": UCUM, "code": "a"}),
        ({"valueQuantity": {"value": 93}}, {"value": 90, "system": UCUM, "code": "a"}),
        ({"valueQuantity": age(61)}, {"value": 61, "system": UCUM, "code": "a"}),
        ({"valueInteger": 93}, 90),
    ],
)
def test_observed_ages_are_top_coded(code: str, value: dict[str, Any], expected: Any) -> None:
    source = observation(code={"coding": [{"system": LOINC, "code": code}]}, **value)
    if "valueInteger" in value:
        del source["valueQuantity"]
    [key] = value
    assert session().apply(source)[key] == expected
    panel = observation(component=[{k: source[k] for k in ("code", key)}])
    assert session().apply(panel)["component"][0][key] == expected


def test_no_quantity_of_time_anywhere_is_longer_than_the_oldest_age_that_may_be_told() -> None:
    source = observation(valueQuantity=age(97, unit="years"))
    assert session().apply(source)["valueQuantity"]["value"] == 90


def test_the_birth_date_as_an_observation_has_no_value() -> None:
    source = observation(code={"coding": [{"system": LOINC, "code": "21112-8"}]})
    del source["valueQuantity"]
    record = session().apply({**source, "valueDateTime": "1960-02-03"})
    assert "valueDateTime" not in record


def test_of_a_very_old_person_nothing_tells_more_than_ninety() -> None:
    """Case 28: early events are dropped; ages that stand beside a date are dropped."""
    patient = {**PATIENT, "birthDate": "1926-06-01"}
    run = session(patient)
    record = run.apply(patient)
    assert (record["age"], record["ageTopCoded"]) == (90, True)
    born = run.apply(condition(onsetDateTime="1927-01-01", recordedDate="1960-01-01"))
    assert "onsetDateTime" not in born
    assert "recordedDate" in born
    assert "onsetAge" not in run.apply(condition(onsetAge=age(30)))
    observed = observation(code={"coding": [{"system": LOINC, "code": "30525-0"}]},
                           valueQuantity=age(60))  # fmt: skip
    assert "valueQuantity" not in run.apply(observed)
    family = {"resourceType": "FamilyMemberHistory", "id": "f", "status": "completed"}
    assert run.apply({**family, "ageAge": age(70)})["ageAge"] == 70  # a relative's, without dates


def test_death_gives_the_age_at_death_and_a_relative_day() -> None:
    """Case 29: died at 65, born 1930: usable, not suppressed by today's clock."""
    patient = {**PATIENT, "birthDate": "1930-05-01", "deceasedDateTime": "1995-06-01T03:00:00Z"}
    record = session(patient).apply(patient)
    assert (record["age"], record["ageTopCoded"], record["deceased"]) == (65, False, True)
    assert record["deceasedAt"][1] == "day"


def test_a_patient_record_holds_what_the_contract_names_and_nothing_else() -> None:
    patient = {**PATIENT, "name": [{"family": M}], "deceasedBoolean": False}
    record = session(patient).apply(patient)
    assert set(record) == {"resourceType", "id", "gender", "age", "ageTopCoded", "deceased"}
    assert record["age"] == NOW.year - 1960


# Labels and counts --------------------------------------------------------------------------------


def test_security_labels_are_handed_on_and_others_dropped() -> None:
    """Case 45: a sensitivity label is an obligation, not something to wipe."""
    act = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
    labels = [{"system": act, "code": "ETH", "display": M}, {"system": "http://x", "code": M}]
    run = session()
    record = run.apply(observation(meta={"security": labels}))
    assert record["meta"] == {"security": [{"system": act, "code": "ETH"}]}
    assert run.labels == {(act, "ETH"): 1}


def test_everything_that_happens_is_counted_by_path_and_action() -> None:
    run = session()
    run.apply(
        observation(
            note=[{"text": M}],
            extension=[
                {"url": "http://hl7.org/fhir/StructureDefinition/bodySite"},
                {"url": f"http://{M}"},
            ],
            _status={"id": M},
            **{M: 1},
        )
    )
    assert dict(run.counts) == {
        ("Observation", "id", "pseudonym"): 1,
        ("Observation", "status", "code"): 1,
        ("Observation", "_status", "drop:primitive-extension"): 1,
        ("Observation", "code.coding", "known-code"): 1,
        ("Observation", "subject", "subject"): 1,
        ("Observation", "effectiveDateTime", "offset"): 1,
        ("Observation", "valueQuantity.value", "number"): 1,
        ("Observation", "valueQuantity.unit", "unit"): 1,
        ("Observation", "valueQuantity.code", "unit-code"): 1,
        ("Observation", "note", "drop"): 1,
        ("Observation", "extension", "drop:bodySite"): 1,
        ("Observation", "extension", "drop:extension"): 1,
        ("Observation", "*", "drop:unknown-element"): 1,
    }


def test_a_quantity_whose_comparator_is_not_understood_has_no_value() -> None:
    """Without its "<" a censored value would be another value."""
    run = session()
    record = run.apply(observation(valueQuantity={"value": 5, "comparator": "~"}))
    assert "valueQuantity" not in record
    kept = run.apply(observation(valueQuantity={"value": 5, "comparator": "<"}))
    assert kept["valueQuantity"] == {"value": 5, "comparator": "<"}


@pytest.mark.parametrize("value", [1e300, -1e14, 10**15, float("nan"), float("inf"), True, "5"])
def test_numbers_that_cannot_be_clinical_are_dropped(value: Any) -> None:
    assert "valueQuantity" not in session().apply(observation(valueQuantity={"value": value}))
