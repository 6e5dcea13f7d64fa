"""What real records do that a mapper falls into, each with the record that does it.

The records are identified and go through the de-identifier first, as in a run. The traps are those
a survey of 615 synthetic patients and 63 published examples found.

| trap | what happens | test |
|---|---|---|
| 1 | blood pressure stands in the components of an old panel code | `test_trap_01` |
| 2 | components with a value and a system, but no unit | `test_trap_02` |
| 3 | different values under one code at one instant | `test_trap_03` |
| 4 | one eGFR code in two units | `test_trap_04` |
| 5 | creatinine and glucose under their whole-blood codes | `test_trap_05` |
| 6 | implausible values, and units of another scale | `test_trap_06` |
| 7 | twenty decimals, 1.00, 1E-22, a trillion | `test_trap_07` |
| 8 | invisible characters in displays; one code under two displays | `test_trap_08` |
| 9 | one measurement twice, under two categories, with two values | `test_trap_09` |
| 10 | displays that contain the name of a disease | `test_trap_10` |
| 11 | records after death and before birth | `test_trap_11` |
| 12 | race under a code of ethnicity | `test_trap_12` |
| 13 | anachronistic studies; a class UID in two spellings | `test_trap_13` |
| 14 | conditions without an end; modality in the series alone | `test_trap_14` |
| 15 | organizations and practitioners that come again with every record | `test_trap_15` |
| 16 | two people who share sex, birthday and place | `test_cli_trap_16` in `tests/cli` |
"""

import itertools
from typing import Any

import pytest
from mappings_path import Resource, mapped, patient

from mappings.vocabulary.facts import Mapped

LOINC, SNOMED = "http://loinc.org", "http://snomed.info/sct"
UCUM = "http://unitsofmeasure.org"
COUNT = itertools.count()


def coded(system: str, code: str, display: str = "") -> Resource:
    return {"coding": [{"system": system, "code": code, "display": display or "x"}]}


def observation(code: str, **more: Any) -> Resource:
    return {
        "resourceType": "Observation",
        "id": f"o{next(COUNT)}",
        "status": "final",
        "code": coded(LOINC, code),
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": "2020-05-01T08:00:00+00:00",
    } | more


def reading(code: str, value: float, unit: str, **more: Any) -> Resource:
    quantity = {"value": value, "unit": unit, "system": UCUM, "code": unit}
    return observation(code, valueQuantity=quantity, **more)


def values(found: Mapped) -> list[tuple[str, float]]:
    return [(m.concept, m.value) for m in found.measurements]


def rules(found: Mapped) -> list[str]:
    return [fact.rule for fact in found.set_aside]


def pressure(code: str, value: float, unit: str = "mm[Hg]") -> Resource:
    quantity: Resource = {"value": value, "system": UCUM}
    units = {"unit": unit, "code": unit} if unit else {}
    return {"code": coded(LOINC, code), "valueQuantity": quantity | units}


def test_trap_01_blood_pressure_comes_from_components_of_the_old_panel() -> None:
    parts = [pressure("8480-6", 132), pressure("8462-4", 84)]
    found = mapped(observation("55284-4", component=parts))
    assert values(found) == [("diastolic-bp", 84), ("systolic-bp", 132)]


def test_trap_02_components_without_a_unit_are_set_aside_and_not_guessed() -> None:
    parts = [pressure("8480-6", 132, ""), pressure("8462-4", 84, "")]
    found = mapped(observation("55284-4", component=parts))
    assert (values(found), rules(found)) == ([], ["unit-missing", "unit-missing"])


@pytest.mark.parametrize("order", [0, 1])
def test_trap_03_values_that_contradict_at_one_instant_are_settled_without_luck(
    order: int,
) -> None:
    pair = [reading("38483-4", v, "mg/dL", id=f"c{i}") for i, v in enumerate((0.9, 2.4))]
    if order:
        pair.reverse()
    by_day = mapped(*pair)
    assert sorted(values(by_day)) == [("creatinine", 0.9), ("creatinine", 2.4)]
    assert [(c, n) for c, _, n in by_day.conflicts] == [("creatinine", 2)]
    by_minute = mapped(*pair, policy="relative-minutes")
    assert (values(by_minute), rules(by_minute)) == ([], ["conflict", "conflict"])


def test_trap_04_an_egfr_in_plain_millilitres_is_not_the_indexed_one() -> None:
    found = mapped(reading("33914-3", 71.0, "mL/min/{1.73_m2}"), reading("33914-3", 71.0, "mL/min"))
    assert values(found) == [("egfr-mdrd", 71)]
    assert rules(found) == ["unit-refused"]


def test_trap_05_whole_blood_codes_are_read() -> None:
    found = mapped(reading("38483-4", 0.9, "mg/dL"), reading("2339-0", 95.0, "mg/dL"))
    assert [concept for concept, _ in values(found)] == [
        "creatinine",
        "glucose-whole-blood",
    ]


@pytest.mark.parametrize(
    ("code", "value", "unit"),
    [
        ("4548-4", 1.39, "%"),  # an HbA1c nobody has
        ("2885-2", 72.0, "g/dL"),  # total protein: g/L under the label g/dL
    ],
)
def test_trap_06_an_implausible_value_is_neither_used_nor_rescaled(
    code: str, value: float, unit: str
) -> None:
    found = mapped(reading(code, value, unit))
    assert (values(found), rules(found)) == ([], ["implausible"])


def test_trap_06_a_value_that_is_rare_but_possible_stays() -> None:
    assert values(mapped(reading("4548-4", 2.39, "%"))) == [("hba1c", 2.4)]


def test_trap_06_the_smoking_status_of_a_child_stays_what_the_record_says() -> None:
    child = patient(birthDate="2017-01-01")
    never = observation("72166-2", valueCodeableConcept=coded(SNOMED, "266919005"))
    assert [fact.code for fact in mapped(never, person=child).coded] == ["never"]


@pytest.mark.parametrize(
    ("value", "kept", "rule"),
    [
        (1.00, [1.0], []),
        (0.91234567890123456789, [0.91], []),
        (1e-22, [], ["implausible"]),
        (1e18, [], ["value-absent"]),  # a number of that size does not pass the de-identifier
    ],
)
def test_trap_07_digits_that_nobody_measured_do_not_pass(
    value: float, kept: list[float], rule: list[str]
) -> None:
    found = mapped(reading("2160-0", value, "mg/dL"))
    assert ([v for _, v in values(found)], rules(found)) == (kept, rule)


def test_trap_08_only_the_code_counts_and_no_display_passes() -> None:
    code = coded(LOINC, "2160-0", "Creatinine\u200b [Mass/volume]") | {"text": "Crea\u200btinine"}
    found = mapped(reading("2160-0", 0.9, "mg/dL") | {"code": code})
    assert values(found) == [("creatinine", 0.9)]
    assert "\u200b" not in repr(found)
    shared = [coded(LOINC, "5767-9", name) for name in ("Appearance of Urine", "Odor of Urine")]
    answer = coded(SNOMED, "167236000")
    two = mapped(
        *(observation("5767-9", valueCodeableConcept=answer) | {"code": code} for code in shared)
    )
    assert two.unmapped == (("Observation", "loinc", "5767-9", 2),)


def test_trap_09_a_category_decides_nothing() -> None:
    def category(code: str) -> list[Resource]:
        system = "http://terminology.hl7.org/CodeSystem/observation-category"
        return [coded(system, code)]

    found = mapped(
        reading("10230-1", 55.0, "%", category=category("imaging")),
        reading("10230-1", 61.0, "%", category=category("vital-sign")),
    )
    assert sorted(values(found)) == [("lvef", 55), ("lvef", 61)]
    assert [n for _, _, n in found.conflicts] == [2]


def condition(code: str, display: str, **more: Any) -> Resource:
    verified = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
    return {
        "resourceType": "Condition",
        "id": f"c{next(COUNT)}",
        "subject": {"reference": "Patient/p1"},
        "code": coded(SNOMED, code, display),
        "verificationStatus": coded(verified, "confirmed"),
        "onsetDateTime": "2012-03-04",
    } | more


@pytest.mark.parametrize(
    ("code", "display", "never"),
    [
        ("15777000", "Prediabetes", "diabetes-any"),
        ("162573006", "Suspected lung cancer (situation)", "cancer-lung"),
        ("161505003", "History of heart failure (situation)", "heart-failure"),
    ],
)
def test_trap_10_a_display_that_names_a_disease_is_not_the_disease(
    code: str, display: str, never: str
) -> None:
    found = mapped(condition(code, display))
    assert never not in {fact.group for fact in found.conditions}
    assert display not in repr(found)


def test_trap_11_nothing_counts_after_death_or_before_birth() -> None:
    dead = patient(deceasedDateTime="2020-06-01T12:00:00Z")
    late = mapped(reading("2160-0", 0.9, "mg/dL", effectiveDateTime="2020-12-10"), person=dead)
    assert (values(late), rules(late)) == ([], ["after-death"])
    born = patient(birthDate="2016-06-12")
    early = mapped(reading("2160-0", 0.4, "mg/dL", effectiveDateTime="2002-07-19"), person=born)
    assert (values(early), rules(early)) == ([], ["before-birth"])


def test_trap_12_neither_race_nor_marital_status_is_read() -> None:
    race = {
        "url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race",
        "extension": [
            {
                "url": "ombCategory",
                "valueCoding": {"system": "urn:oid:2.16.840.1.113883.6.238", "code": "2135-2"},
            }
        ],
    }
    married = coded("http://terminology.hl7.org/CodeSystem/v3-MaritalStatus", "M", "M")
    found = mapped(person=patient(extension=[race], maritalStatus=married))
    assert found.subject is not None
    assert "2135-2" not in repr(found)
    assert found.subject._replace(source="")._asdict() == {
        "sex": "female",
        "source": "",
        "age": 70,
        "age_top_coded": False,
        "deceased": False,
        "deceased_at": None,
        "deceased_precision": "day",
    }


@pytest.mark.parametrize("prefix", ["", "urn:oid:"])
def test_trap_13_a_study_is_what_it_says_however_odd(prefix: str) -> None:
    instance = {
        "uid": "1.2.3",
        "sopClass": {"system": "urn:ietf:rfc:3986", "code": prefix + "1.2.840.10008.5.1.4.1.1.1.1"},
        "title": "Title of this image",
    }
    series = {
        "uid": "1.2.4",
        "modality": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "DX"},
        "bodySite": {"system": SNOMED, "code": "51185008"},
        "instance": [instance],
    }
    study = {
        "resourceType": "ImagingStudy",
        "id": "s1",
        "status": "available",
        "subject": {"reference": "Patient/p1"},
        "started": "1963-05-01T00:00:00Z",
        "series": [series],
    }
    (found,) = mapped(study).imaging
    assert found.modalities == ("DX",)
    assert found.series[0].body_site == "51185008"
    assert "Title" not in repr(found)
    assert "1.2." not in repr(found)


def test_trap_14_no_end_is_not_made_up_and_a_series_speaks_for_its_study() -> None:
    (fact,) = mapped(condition("444814009", "Viral sinusitis")).conditions
    assert (fact.clinical, fact.abatement) == ("", None)
    series = {
        "uid": "1.2.4",
        "modality": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "US"},
    }
    study = {
        "resourceType": "ImagingStudy",
        "id": "s2",
        "status": "available",
        "subject": {"reference": "Patient/p1"},
        "series": [series],
    }
    assert mapped(study).imaging[0].modalities == ("US",)


def test_trap_15_who_treated_the_person_is_no_part_of_the_facts() -> None:
    again = [
        {"resourceType": "Organization", "id": "org", "name": "General"},
        {"resourceType": "Practitioner", "id": "doc", "name": [{"family": "Okafor"}]},
    ]
    one = reading("2160-0", 0.9, "mg/dL", id="same")
    found = mapped(*again, one, *again, one)
    assert values(found) == [("creatinine", 0.9)]
    assert found.set_aside == ()
    assert "Okafor" not in repr(found)
