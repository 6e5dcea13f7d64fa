"""A twin as FHIR: valid for an independent reader, without a calendar, and nothing lost unsaid."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from fhir.resources.R4B.bundle import Bundle
from hypothesis import given, settings
from hypothesis import strategies as st
from support.twins import complete, everything, facts, pseudonym, twin

from mappings.from_fhir import map_records
from mappings.to_fhir.card import CardView
from mappings.to_fhir.relative import ANCHOR_PATH, DATA_ABSENT, RELATIVE
from mappings.to_fhir.twin_bundle import ips_bundle, twin_bundle
from mappings.vocabulary.facts import (
    AllergyFact,
    ConditionFact,
    FamilyFact,
    GenomicFact,
    Mapped,
    Measurement,
    MedicationFact,
    SubjectFact,
)
from twin_engine.document import with_assessments
from twin_engine.document.docs import example
from twin_engine.models.assess import assess, request
from twin_engine.models.cards import card
from twin_engine.models.registry import all_models, default_models
from twin_engine.models.shelf import expiry
from twin_engine.state import State

Json = dict[str, Any]
A = pseudonym("a")
CARDS = {name: card(model) for name, model in all_models().items()}
DATE = re.compile(rb"\b(18|19|20)\d\d-\d\d\b")
NOW = 812


def bundle(mapped: Mapped, **more: Any) -> Json:
    return twin_bundle(twin(mapped, **more), CARDS)


def of(made: Json, kind: str) -> list[Json]:
    found = [entry["resource"] for entry in made["entry"]]
    return [resource for resource in found if resource["resourceType"] == kind]


def strings(node: Any, key: str) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (value for name, value in node.items() if name == key and isinstance(value, str))
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from strings(item, key)


def offset(element: Json) -> tuple[str, int, str]:
    (found,) = [e for e in element["extension"] if e["url"] == RELATIVE]
    parts = {part["url"]: part for part in found["extension"]}
    assert parts["targetPath"]["valueString"] == ANCHOR_PATH
    amount = parts["offset"]["valueDuration"]
    return parts["relationship"]["valueCode"], amount["value"], amount["code"]


DOCUMENTS = [example(), twin(), twin(everything()), twin(everything(), now=100_000)]


@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.parametrize("form", [twin_bundle, ips_bundle])
def test_an_independent_reader_accepts_it(document: Json, form: Any) -> None:
    Bundle.model_validate(form(document, CARDS))


@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.parametrize("form", [twin_bundle, ips_bundle])
def test_every_reference_leads_to_an_entry_and_every_entry_is_one(
    document: Json, form: Any
) -> None:
    made = form(document, CARDS)
    urls = [entry["fullUrl"] for entry in made["entry"]]
    assert len(set(urls)) == len(urls)
    assert set(strings(made, "reference")) <= set(urls)
    assert urls == [f"urn:uuid:{entry['resource']['id']}" for entry in made["entry"]]


@pytest.mark.parametrize("form", [twin_bundle, ips_bundle])
def test_no_calendar_date_is_in_it(form: Any) -> None:
    for document in DOCUMENTS:
        assert not DATE.search(orjson.dumps(form(document, CARDS)))


@pytest.mark.parametrize("form", [twin_bundle, ips_bundle])
def test_the_same_document_gives_the_same_bytes(form: Any) -> None:
    assert orjson.dumps(form(example(), CARDS)) == orjson.dumps(form(example(), CARDS))


@pytest.mark.parametrize(
    ("t", "told"),
    [(NOW - 11, ("before", 11, "d")), (NOW, ("concurrent", 0, "d")), (NOW + 2, ("after", 2, "d"))],
)
def test_a_time_is_told_from_the_twins_now(t: int, told: tuple[str, int, str]) -> None:
    made = bundle(facts(measurements=[Measurement("heart-rate", t, 60.0, A)]))
    (observation,) = of(made, "Observation")
    assert "effectiveDateTime" not in observation
    element = observation["_effectiveDateTime"]
    assert element["extension"][0] == {"url": DATA_ABSENT, "valueCode": "masked"}
    assert offset(element) == told


def test_a_time_known_to_the_month_says_so() -> None:
    made = bundle(facts(measurements=[Measurement("heart-rate", 1, 60.0, A, precision="month")]))
    extensions = of(made, "Observation")[0]["_effectiveDateTime"]["extension"]
    assert {"url": "urn:twinport:fhir:precision", "valueCode": "month"} in extensions


def test_both_pressures_of_one_reading_are_one_observation() -> None:
    pair = [
        Measurement("systolic-bp", 801, 148.0, A),
        Measurement("diastolic-bp", 801, 92.0, A),
        Measurement("systolic-bp", 810, 140.0, pseudonym("b")),
    ]
    panel, alone = sorted(of(bundle(facts(measurements=pair)), "Observation"), key=len)[::-1]
    assert panel["code"]["coding"][0]["code"] == "85354-9"
    assert [c["valueQuantity"]["value"] for c in panel["component"]] == [92, 148]
    assert alone["valueQuantity"]["value"] == 140


def test_a_censored_value_stays_censored() -> None:
    made = bundle(facts(measurements=[Measurement("ldl-cholesterol", 1, 10.0, A, comparator="<")]))
    quantity = of(made, "Observation")[0]["valueQuantity"]
    assert (quantity["comparator"], quantity["value"], quantity["code"]) == ("<", 10, "mg/dL")


def test_a_diagnosis_in_two_groups_is_one_condition() -> None:
    two = [
        ConditionFact(group, "snomed", "44054006", "active", "confirmed", A, onset=1)
        for group in ("diabetes-any", "diabetes-type-2")
    ]
    (condition,) = of(bundle(facts(conditions=two)), "Condition")
    codes = [coding["code"] for coding in condition["code"]["coding"]]
    assert codes == ["44054006", "diabetes-any", "diabetes-type-2"]


@pytest.mark.parametrize(
    ("clinical", "abatement", "told"),
    [
        ("active", NOW - 5, "inactive"),
        ("", NOW - 5, "inactive"),
        ("resolved", NOW - 5, "resolved"),
        ("active", NOW + 5, "active"),
    ],
)
def test_what_has_abated_is_not_active(clinical: str, abatement: int, told: str) -> None:
    fact = ConditionFact("", "snomed", "44054006", clinical, "confirmed", A, 1, abatement=abatement)
    (condition,) = of(bundle(facts(conditions=[fact])), "Condition")
    assert condition["clinicalStatus"]["coding"][0]["code"] == told
    assert ("_abatementDateTime" in condition) == (abatement <= NOW)


def test_what_is_required_and_not_known_is_marked_and_never_made_up() -> None:
    made = bundle(
        facts(
            medications=[MedicationFact((), (), "", "", "stopped", A)],
            allergies=[AllergyFact("snomed", "300913006", "", "", pseudonym("b"))],
        )
    )
    unknown = {"extension": [{"url": DATA_ABSENT, "valueCode": "unknown"}]}
    assert of(made, "MedicationRequest")[0]["medicationCodeableConcept"] == unknown
    assert of(made, "AllergyIntolerance")[0]["clinicalStatus"] == unknown


@pytest.mark.parametrize("kind", ["request", "statement"])
@pytest.mark.parametrize(
    ("unit", "system", "code"),
    [
        ("mg", "http://unitsofmeasure.org", "mg"),
        ("[IU]", "http://unitsofmeasure.org", "[IU]"),
        ("tablet", "http://snomed.info/sct", "732936001"),
    ],
)
def test_a_dose_is_written_in_the_code_of_its_unit(
    kind: str, unit: str, system: str, code: str
) -> None:
    fact = MedicationFact(
        ("statin",), ("simvastatin",), "rxnorm", "36567", "active", A, kind,
        times_per_day=2.0, dose=0.5, dose_unit=unit,
    )  # fmt: skip
    made = bundle(facts(medications=[fact]))
    if kind == "request":
        [dosage] = of(made, "MedicationRequest")[0]["dosageInstruction"]
    else:
        [dosage] = of(made, "MedicationStatement")[0]["dosage"]
    assert dosage["timing"]["repeat"]["frequency"] == 2
    [rate] = dosage["doseAndRate"]
    assert rate["doseQuantity"] == {"value": 0.5, "unit": unit, "system": system, "code": code}


@pytest.mark.parametrize(
    ("kind", "status", "told"),
    [
        ("request", "not-taken", "unknown"),
        ("request", "stopped", "stopped"),
        ("statement", "draft", "unknown"),
        ("statement", "not-taken", "not-taken"),
    ],
)
def test_a_status_is_a_word_of_its_resource(kind: str, status: str, told: str) -> None:
    fact = MedicationFact(("statin",), ("simvastatin",), "rxnorm", "36567", status, A, kind)
    made = bundle(facts(medications=[fact]))
    name = "MedicationRequest" if kind == "request" else "MedicationStatement"
    assert of(made, name)[0]["status"] == told


def test_the_person_has_an_age_and_no_birthday() -> None:
    old = SubjectFact("female", pseudonym("p"), 90, age_top_coded=True)
    (patient,) = of(bundle(facts(old)), "Patient")
    assert patient["extension"][0]["valueQuantity"]["comparator"] == ">="
    assert set(patient["_birthDate"]) == {"extension"}
    assert patient["name"] == [
        {"_text": {"extension": [{"url": DATA_ABSENT, "valueCode": "masked"}]}}
    ]


def assessed() -> Json:
    mapped = everything()._replace(
        measurements=(
            Measurement("systolic-bp", 801, 148.0, pseudonym("bp-1")),
            Measurement("total-cholesterol", 800, 201.0, pseudonym("tc")),
            Measurement("hdl-cholesterol", 800, 45.0, pseudonym("hdl")),
            Measurement("creatinine", 800, 0.9, pseudonym("crea")),
            Measurement("body-mass-index", 801, 27.4, pseudonym("bmi")),
            Measurement("tumour-size", 640, 14.0, pseudonym("nodule")),
        ),
        set_aside=(),
    )
    document = twin(mapped)
    wanted = [request(model.id) for model in default_models()]
    return with_assessments(document, assess(State(document), wanted))


def test_answers_keep_their_inputs_and_name_their_horizon_by_age() -> None:
    document = assessed()
    made = twin_bundle(document, CARDS)
    risks = {r["method"]["coding"][0]["code"]: r for r in of(made, "RiskAssessment")}
    prevent = risks["prevent-base"]
    assert prevent["status"] == "preliminary"
    assert prevent["basis"]
    assert {p["whenRange"]["low"]["value"] for p in prevent["prediction"]} == {54}
    values = {
        result["value"]
        for item in document["assessments"]
        if item["model"]["id"] == "prevent"
        for result in item["results"]
    }
    for prediction in prevent["prediction"]:
        assert any(abs(prediction["probabilityDecimal"] - 100 * v) < 0.06 for v in values)
    egfr = [
        o for o in of(made, "Observation") if o["status"] == "preliminary" and "derivedFrom" in o
    ]
    assert any(o["valueQuantity"]["code"] == "mL/min/{1.73_m2}" for o in egfr)
    Bundle.model_validate(made)


def test_nothing_is_lost_on_the_way() -> None:
    document = assessed()
    kinds = Counter(e["resource"]["resourceType"] for e in twin_bundle(document, CARDS)["entry"])
    parts = {
        "conditions": "Condition",
        "procedures": "Procedure",
        "encounters": "Encounter",
        "allergies": "AllergyIntolerance",
        "imaging": "ImagingStudy",
    }
    for part, kind in parts.items():
        assert kinds[kind] == len({entry["src"] for entry in document[part]}), part


def test_a_study_keeps_its_acquisition_and_what_was_measured_on_it() -> None:
    document = twin(everything())
    made = twin_bundle(document, CARDS)
    (study,) = of(made, "ImagingStudy")
    (series,) = study["series"]
    told = {
        parts["parameter"]["code"]: [v for k, v in parts.items() if k != "parameter"]
        for parts in (
            {part["url"]: next(v for k, v in part.items() if k != "url") for part in e["extension"]}
            for e in series["extension"]
            if "extension" in e
        )
    }
    assert told["contrast"] == [False]
    assert told["patient-position"] == ["HFS"]
    assert [v["value"] for v in told["slice-thickness"]] == [1.25]
    assert [(v["value"], v["code"]) for v in told["tube-current"]] == [(120, "mA"), (310, "mA")]
    assert told.keys() == document["imaging"][0]["series"][0]["parameters"].keys()
    (measured,) = [o for o in of(made, "Observation") if "derivedFrom" in o]
    assert measured["derivedFrom"] == [{"reference": f"urn:uuid:{study['id']}"}]
    assert measured["valueQuantity"]["value"] == 14
    Bundle.model_validate(made)


def test_a_summary_refers_to_nothing_that_it_does_not_hold() -> None:
    made = ips_bundle(assessed(), CARDS)
    there = {entry["fullUrl"] for entry in made["entry"]}
    pointed = re.findall(r'"reference":"(urn:uuid:[^"]+)"', orjson.dumps(made).decode())
    assert pointed
    assert set(pointed) <= there


# -- the summary -----------------------------------------------------------------------------------

REQUIRED = {"11450-4", "48765-2", "10160-0"}


def sections(made: Json) -> dict[str, Json]:
    composition = made["entry"][0]["resource"]
    return {s["code"]["coding"][0]["code"]: s for s in composition["section"]}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_summary_walks_by_the_rules_of_ips(document: Json) -> None:
    made = ips_bundle(document, CARDS)
    assert made["type"] == "document"
    assert set(made["identifier"]) == {"system", "value"}
    kinds = [entry["resource"]["resourceType"] for entry in made["entry"]]
    assert kinds[0] == "Composition"
    assert Counter(kinds)["Composition"] == Counter(kinds)["Patient"] == 1
    found = sections(made)
    assert found.keys() >= REQUIRED
    by_url = {entry["fullUrl"]: entry["resource"] for entry in made["entry"]}
    for code, section in found.items():
        assert section["title"]
        assert section["text"]["div"].startswith('<div xmlns="http://www.w3.org/1999/xhtml">')
        assert ("entry" in section) != ("emptyReason" in section), code
        for reference in section.get("entry", ()):
            assert reference["reference"] in by_url


def test_an_empty_section_says_whether_everything_was_seen() -> None:
    complete_one = sections(ips_bundle(twin(), CARDS))["48765-2"]
    assert complete_one["emptyReason"]["coding"][0]["code"] == "unavailable"
    assert complete_one["emptyReason"]["text"] == "None in the record that was read."
    partial = twin(completeness=complete(AllergyIntolerance="partial"))
    partial_one = sections(ips_bundle(partial, CARDS))["48765-2"]
    assert partial_one["emptyReason"]["text"] == "Not everything could be read."


def test_a_date_stands_on_the_document_only_when_it_is_given() -> None:
    undated = ips_bundle(twin(), CARDS)
    assert "timestamp" not in undated
    written = datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)
    dated = ips_bundle(twin(), CARDS, written)
    assert dated["timestamp"] == dated["entry"][0]["resource"]["date"] == "2031-02-03T04:05:06Z"
    Bundle.model_validate(dated)


def test_answers_stand_in_a_section_of_their_own_with_what_they_rest_on() -> None:
    made = ips_bundle(assessed(), CARDS)
    assert "assessments" in sections(made)
    urls = {entry["fullUrl"] for entry in made["entry"]}
    assert set(strings(made, "reference")) <= urls


times = st.integers(-40_000, 40_000)


@settings(max_examples=30)
@given(
    st.lists(
        st.builds(
            ConditionFact,
            group=st.sampled_from(["", "hypertension", "asthma"]),
            system=st.just("snomed"),
            code=st.sampled_from(["38341003", "195967001"]),
            clinical=st.sampled_from(["", "active", "resolved", "remission"]),
            verification=st.sampled_from(["", "confirmed", "provisional"]),
            source=st.sampled_from([pseudonym(name) for name in "xyz"]),
            onset=st.none() | times,
            onset_precision=st.sampled_from(["day", "month", "year"]),
            onset_age=st.none() | st.integers(0, 90),
            abatement=st.none() | times,
            abatement_precision=st.sampled_from(["day", "month", "year"]),
            recorded=st.none() | times,
        ),
        max_size=6,
    ),
    st.lists(
        st.builds(
            FamilyFact,
            relationship=st.sampled_from(["MTH", "FTH"]),
            group=st.sampled_from(["", "diabetes-any"]),
            system=st.just("snomed"),
            code=st.just("44054006"),
            source=st.just(pseudonym("f")),
            onset_age=st.none() | st.integers(0, 90),
        ),
        max_size=3,
    ),
)
def test_any_facts_make_a_bundle_that_is_valid(
    conditions: list[ConditionFact], family: list[FamilyFact]
) -> None:
    made = bundle(facts(conditions=conditions, family=family))
    Bundle.model_validate(made)
    urls = [entry["fullUrl"] for entry in made["entry"]]
    assert len(set(urls)) == len(urls)


def test_a_gene_comes_back_from_its_own_export() -> None:
    """Written as Genomics Reporting has it, it is read as the same facts again."""
    given_ = facts(
        genomics=(
            GenomicFact("CYP2C19", pseudonym("a"), ("*1", "*17"), "rapid-metabolizer", 500),
            GenomicFact("DPYD", pseudonym("b"), ("reference", "c.1905+1G>A")),
        )
    )
    made = bundle(given_)
    Bundle.model_validate_json(orjson.dumps(made))
    read = map_records(of(made, "Observation")).genomics
    assert {(one.gene, one.alleles, one.phenotype) for one in read} == {
        ("CYP2C19", ("*1", "*17"), ""),
        ("CYP2C19", (), "rapid-metabolizer"),
        ("DPYD", ("reference", "c.1905+1G>A"), ""),
    }


def test_a_vaccine_keeps_its_code_what_it_is_against_and_its_place_in_the_series() -> None:
    given, missed = of(twin_bundle(twin(everything()), CARDS), "Immunization")
    assert given["vaccineCode"]["coding"][0] == {
        "system": "http://hl7.org/fhir/sid/cvx",
        "code": "115",
    }
    assert given["vaccineCode"]["text"] == "Vaccine against: Diphtheria, Pertussis, Tetanus"
    assert given["occurrenceString"] == "1012 days before the twin's now"
    (when, _) = given["_occurrenceString"]["extension"]
    assert when["extension"][3]["valueDuration"]["value"] == 1012
    assert (given["status"], missed["status"]) == ("completed", "not-done")
    assert missed["protocolApplied"] == [{"doseNumberPositiveInt": 1, "seriesDosesPositiveInt": 2}]
    summary = ips_bundle(twin(everything()), CARDS)
    (section,) = (
        s for s in summary["entry"][0]["resource"]["section"] if s["title"] == "Immunizations"
    )
    assert section["code"]["coding"][0]["code"] == "11369-6"
    assert len(section["entry"]) == 2


# -- how long an answer holds ----------------------------------------------------------------------


def lasting(bundle: Json) -> dict[str, Json]:
    found = [*of(bundle, "RiskAssessment"), *of(bundle, "Observation")]
    return {r["method"]["coding"][0]["code"]: r for r in found if "note" in r}


def test_every_answer_says_how_long_it_holds_as_its_model_declares() -> None:
    """The card says the same as the model."""
    document, models = assessed(), all_models()
    found = lasting(twin_bundle(document, CARDS))
    for one in document["assessments"]:
        end = expiry(one, models[one["model"]["id"]], 1, 0)
        view = CardView(CARDS[one["model"]["id"]], one)
        assert view.life_days(one, 1) == (end and end.days_left)
        if one["results"] and end is not None:
            text = found[view.code]["note"][0]["text"]
            assert text.startswith(f"Holds for {end.days_left} day")
            assert "tag" not in found[view.code]["meta"]
    assert "prevent-base" in found


def test_what_is_past_its_shelf_life_says_so_where_the_day_is_known() -> None:
    document = assessed()
    for made in (
        twin_bundle(document, CARDS, 400),
        ips_bundle(document, CARDS, days_since=400),
    ):
        prevent = lasting(made)["prevent-base"]
        assert prevent["meta"]["tag"][0]["code"] == "no-longer-current"
        assert prevent["note"][0]["text"].startswith("No longer current: the record was read 400")
        assert prevent["status"] == "preliminary"
    Bundle.model_validate(ips_bundle(document, CARDS, days_since=400))
