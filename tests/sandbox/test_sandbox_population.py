"""The cast: always the same, never ageing, valid R4 but for the oddities that are named."""

import csv
import json
from collections import Counter
from datetime import date, datetime, timedelta
from importlib import resources

import orjson
import pytest
from fhir.resources.R4B import get_fhir_model_class
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from support.depth import examples

from service.sandbox import DEMO_PATIENTS, PatientBundle, generate
from service.sandbox.population import body, tables
from service.sandbox.population.awkward import ODDITIES, WRITTEN_ELSEWHERE
from service.sandbox.search import references
from service.sandbox.testing import TEST_ANCHOR, population

POPULATION = population()
PATIENTS = {patient.id: patient for patient in POPULATION}


def of_kind(patient: PatientBundle, kind: str) -> list[dict]:
    return [r for r in patient.resources if r["resourceType"] == kind]


def values(patient: PatientBundle, code: str) -> list[float]:
    """Values of one LOINC code in time order, components included."""
    found = []
    for r in of_kind(patient, "Observation"):
        found += [
            (r["effectiveDateTime"], part["valueQuantity"]["value"])
            for part in (r, *r.get("component", []))
            if part["code"]["coding"][0]["code"] == code and "valueQuantity" in part
        ]
    return [value for _, value in sorted(found)]


def codes(patient: PatientBundle, kind: str) -> set[str]:
    return {c["code"] for r in of_kind(patient, kind) for c in r.get("code", {}).get("coding", [])}


# -- determinism -----------------------------------------------------------------------------------


def test_same_anchor_and_seed_give_the_same_bytes() -> None:
    first, again = (orjson.dumps([p.bundle() for p in generate(TEST_ANCHOR, 7)]) for _ in range(2))
    assert first == again


@pytest.mark.slow
def test_another_seed_gives_other_values_but_the_same_cast() -> None:
    one, other = generate(TEST_ANCHOR, 1), generate(TEST_ANCHOR, 2)
    assert [p.id for p in one] == [p.id for p in other]
    assert orjson.dumps([p.bundle() for p in one]) != orjson.dumps([p.bundle() for p in other])


@pytest.mark.slow
@settings(max_examples=6)
@given(st.dates(date(2024, 1, 1), date(2044, 12, 31)))
def test_on_any_day_the_record_ends_just_before_that_day(anchor: date) -> None:
    for patient in generate(anchor):
        if patient.id == "demo-013":
            continue  # last seen seven years ago, on purpose
        times = [r["meta"]["lastUpdated"] for r in patient.resources]
        assert max(times)[:10] <= anchor.isoformat()
        newest = max(o["issued"] for o in of_kind(patient, "Observation"))
        assert newest[:10] < anchor.isoformat()
        died = of_kind(patient, "Patient")[0].get("deceasedDateTime")
        if died is None:
            assert newest[:10] > (anchor - timedelta(days=40)).isoformat()


# -- who is in it ----------------------------------------------------------------------------------


def ages() -> list[float]:
    return [float(spec["age"]) for spec in tables.patients()]


def test_the_cast_covers_all_ages() -> None:
    assert len(POPULATION) >= 25
    assert min(ages()) < 0.1
    assert max(ages()) > 97
    assert sum(age >= 90 for age in ages()) >= 3
    assert sum(1 <= age < 18 for age in ages()) >= 2


def test_two_have_died_and_one_is_pregnant() -> None:
    assert sum("deceasedDateTime" in of_kind(p, "Patient")[0] for p in POPULATION) == 2
    pregnant = [p.id for p in POPULATION if "82810-3" in codes(p, "Observation")]
    assert pregnant == ["demo-014"]


PREVENT_INPUTS = (
    {"2093-3", "14647-2"},
    {"2085-9", "14646-4"},
    {"2160-0", "14682-9"},
    {"39156-5"},
    {"72166-2"},
)
KNOWN_CVD = {"22298006", "53741008", "422504002", "84114007"}


def has_inputs(patient: PatientBundle) -> bool:
    return all(codes(patient, "Observation") & wanted for wanted in PREVENT_INPUTS)


def age_of(patient: PatientBundle) -> float:
    return next(float(s["age"]) for s in tables.patients() if s["id"] == patient.id)


def confirmed(patient: PatientBundle) -> set[str]:
    return {
        r["code"]["coding"][0]["code"]
        for r in of_kind(patient, "Condition")
        if r["verificationStatus"]["coding"][0]["code"] == "confirmed"
    }


def test_enough_patients_for_every_kind_of_answer() -> None:
    adults = [p for p in POPULATION if 30 <= age_of(p) < 80]
    free = [p for p in adults if not confirmed(p) & KNOWN_CVD]
    assert sum(has_inputs(p) for p in free) >= 6
    assert sum(not has_inputs(p) for p in free) >= 3
    assert sum(bool(confirmed(p) & KNOWN_CVD) for p in POPULATION) >= 3


def test_the_three_demo_patients_show_the_three_answers() -> None:
    full, partial, refused = (PATIENTS[identity] for identity in DEMO_PATIENTS)
    assert has_inputs(full)
    assert not confirmed(full) & KNOWN_CVD
    assert not codes(partial, "Observation") & {"2093-3", "2085-9"}
    assert confirmed(refused) & KNOWN_CVD


# -- validity --------------------------------------------------------------------------------------


@pytest.mark.parametrize("patient", POPULATION, ids=lambda p: p.id)
def test_every_resource_is_valid_r4_except_those_named_as_awkward(patient: PatientBundle) -> None:
    refused = set()
    for r in patient.resources:
        try:
            get_fhir_model_class(r["resourceType"]).model_validate(r)
        except ValidationError:
            refused.add(f"{r['resourceType']}/{r['id']}")
    assert refused == set(patient.awkward)


@pytest.mark.parametrize("patient", POPULATION, ids=lambda p: p.id)
def test_ids_are_unique_and_every_reference_is_in_the_bundle(patient: PatientBundle) -> None:
    ids = Counter(f"{r['resourceType']}/{r['id']}" for r in patient.resources)
    assert [key for key, n in ids.items() if n > 1] == []
    pointed = {ref for r in patient.resources for ref in references(r) if not ref.startswith("#")}
    assert pointed - set(ids) == set()


def test_every_oddity_is_used_and_none_is_unknown() -> None:
    used = {name for spec in tables.patients() for name in spec.get("awkward", [])}
    assert used == set(ODDITIES) | set(WRITTEN_ELSEWHERE)


def test_all_names_in_the_cast_are_in_the_tables() -> None:
    for spec in tables.patients():
        for drug in spec.get("drugs", []):
            assert drug[0] in tables.drugs()
        for key, *_ in (*spec.get("conditions", []), *spec.get("procedures", [])):
            tables.concept(key)


# -- codes -----------------------------------------------------------------------------------------


def loinc_check_digit(body_digits: str) -> int:
    """Luhn over the digits before the hyphen (LOINC User's Guide, appendix C)."""
    total = 0
    for position, digit in enumerate(reversed(body_digits)):
        n = int(digit) * (2 if position % 2 == 0 else 1)
        total += n - 9 if n > 9 else n
    return -total % 10


VERHOEFF_D = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 4, 0, 6, 7, 8, 9, 5], [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
    [3, 4, 0, 1, 2, 8, 9, 5, 6, 7], [4, 0, 1, 2, 3, 9, 5, 6, 7, 8], [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
    [6, 5, 9, 8, 7, 1, 0, 4, 3, 2], [7, 6, 5, 9, 8, 2, 1, 0, 4, 3], [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
    [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
]  # fmt: skip
VERHOEFF_F = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]


def verhoeff_ok(code: str) -> bool:
    row, check = list(range(10)), 0
    for position, digit in enumerate(reversed(code)):
        if position:
            row = [row[VERHOEFF_F[i]] for i in range(10)]
        check = VERHOEFF_D[check][row[int(digit)]]
    return check == 0


def packaged(name: str) -> list[dict[str, str]]:
    text = resources.files("service.sandbox.population").joinpath(name).read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


def test_loinc_and_snomed_codes_have_valid_check_digits_and_a_source() -> None:
    rows = packaged("codes.csv")
    loinc = [r["code"] for r in rows if r["system"] == "loinc"]
    for row in packaged("observations.csv"):
        loinc += [row["code"], *filter(None, [row["si_code"]])]
    for code in loinc:
        digits, check = code.split("-")
        assert loinc_check_digit(digits) == int(check), code
    assert [r["code"] for r in rows if r["system"] == "snomed" and not verhoeff_ok(r["code"])] == []
    assert all(r["source"] for r in (*rows, *packaged("observations.csv")))


# -- clinical sense --------------------------------------------------------------------------------


def mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


def test_treated_hypertension_falls() -> None:
    pressures = values(PATIENTS["demo-001"], "8480-6")
    assert mean(pressures[:5]) - mean(pressures[-5:]) > 6


def test_a_statin_lowers_ldl_by_a_third() -> None:
    ldl = values(PATIENTS["demo-001"], "13457-7")
    assert mean(ldl[-3:]) < 0.7 * mean(ldl[:3])


def test_kidney_disease_raises_creatinine() -> None:
    creatinine = values(PATIENTS["demo-018"], "2160-0")
    assert mean(creatinine[-3:]) > 1.6 * mean(creatinine[:3])


def test_total_cholesterol_is_the_sum_of_its_parts() -> None:
    parts = [
        values(PATIENTS["demo-001"], code) for code in ("2093-3", "2085-9", "13457-7", "2571-8")
    ]
    for total, hdl, ldl, triglycerides in zip(*parts, strict=True):
        assert total == pytest.approx(hdl + ldl + triglycerides / 5, abs=2)


def test_bmi_agrees_with_weight_and_height() -> None:
    bmi = values(PATIENTS["demo-008"], "39156-5")
    weight = values(PATIENTS["demo-008"], "29463-7")
    for index, kilograms in zip(bmi, weight, strict=True):
        assert index == pytest.approx(kilograms / 1.83**2, abs=0.1)


def test_children_grow() -> None:
    heights = values(PATIENTS["demo-016"], "8302-2")
    assert heights == sorted(heights)
    assert heights[-1] > heights[0] + 60


def test_the_heart_recovers_or_fails() -> None:
    assert values(PATIENTS["demo-011"], "10230-1") == sorted(
        values(PATIENTS["demo-011"], "10230-1")
    )
    first, last = values(PATIENTS["demo-021"], "10230-1")
    assert last < first


def test_nothing_but_the_named_oddity_is_recorded_after_a_death() -> None:
    for identity, late in (("demo-021", 2), ("demo-022", 0)):
        patient = PATIENTS[identity]
        died = datetime.fromisoformat(of_kind(patient, "Patient")[0]["deceasedDateTime"])
        moments = [r["effectiveDateTime"] for r in of_kind(patient, "Observation")]
        moments += [r["period"]["start"] for r in of_kind(patient, "Encounter")]
        assert sum(datetime.fromisoformat(m) > died for m in moments) == late


@settings(max_examples=examples(200))
@given(st.floats(8, 140), st.floats(18, 99), st.booleans())
def test_creatinine_is_the_inverse_of_ckd_epi_2021(egfr: float, age: float, female: bool) -> None:
    scr = body.creatinine_from_egfr(egfr, age, female)
    kappa, alpha, factor = (0.7, -0.241, 1.012) if female else (0.9, -0.302, 1.0)
    again = 142 * min(scr / kappa, 1) ** alpha * max(scr / kappa, 1) ** -1.2 * 0.9938**age * factor
    assert again == pytest.approx(egfr, rel=1e-9)


# -- identifiers, all of them synthetic ------------------------------------------------------------


def test_identifiers_are_in_every_place_where_real_records_have_them() -> None:
    patient = PATIENTS["demo-001"]
    text = json.dumps(patient.resources, ensure_ascii=False)
    person = of_kind(patient, "Patient")[0]
    mrn = person["identifier"][0]["value"]
    assert {i["type"]["coding"][0]["code"] for i in person["identifier"]} == {
        "MR",
        "SS",
        "DL",
        "PPN",
    }
    extensions = {e["url"].rsplit("/", 1)[1] for e in person["extension"]}
    assert {"patient-mothersMaidenName", "patient-birthPlace"} <= extensions
    assert person["address"][0]["extension"][0]["url"].endswith("geolocation")
    assert text.count("O'Leary-Nuñez") > 100
    assert text.count(mrn) > 10
    for word in ("serialNumber", "urn:dicom:uid", "patient-birthTime", "accession", "meta", "note"):
        assert word in text


def test_identifiers_are_recognisably_synthetic() -> None:
    for patient in POPULATION:
        person = of_kind(patient, "Patient")[0]
        kinds = {i["type"]["coding"][0]["code"]: i["value"] for i in person["identifier"]}
        assert kinds["SS"].startswith("999-")
        for contact in person["telecom"]:
            assert "555" in contact["value"] or contact["value"].endswith("example.org")
        if "birthTime" in str(person):
            assert person["_birthDate"]["extension"][0]["valueDateTime"][:10] == person["birthDate"]
