"""The guards handed to the de-identifier: what may pass as a code or a unit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mappings.vocabulary import is_known_code, is_known_unit, short_name, uri
from mappings.vocabulary.check_digits import SHAPES, is_loinc, is_snomed
from mappings.vocabulary.systems import NAMES

LOINC, SNOMED = "http://loinc.org", "http://snomed.info/sct"
UCUM = "http://unitsofmeasure.org"


@pytest.mark.parametrize(
    ("system", "code"),
    [
        (LOINC, "2160-0"),
        (LOINC, "99055-6"),
        (LOINC, "LA15920-4"),
        ("urn:oid:2.16.840.1.113883.6.1", "718-7"),
        (SNOMED, "44054006"),
        (SNOMED, "428041000124106"),
        ("http://www.nlm.nih.gov/research/umls/rxnorm", "29046"),
        ("http://hl7.org/fhir/sid/icd-10-cm", "E11.9"),
        ("http://hl7.org/fhir/sid/icd-10-cm", "E119"),
        ("http://hl7.org/fhir/sid/icd-9-cm", "250.00"),
        ("http://www.whocc.no/atc", "C10AA05"),
        (UCUM, "mm[Hg]"),
        ("http://terminology.hl7.org/CodeSystem/condition-clinical", "active"),
        ("http://terminology.hl7.org/CodeSystem/v3-ActCode", "AMB"),
        ("http://dicom.nema.org/resources/ontology/DCM", "CT"),
        ("urn:iso:std:iso:11073:10101", "150456"),
    ],
)
def test_codes_that_pass(system: str, code: str) -> None:
    assert is_known_code(system, code)


@pytest.mark.parametrize(
    ("system", "code"),
    [
        (LOINC, "2160-1"),
        (LOINC, "Smith"),
        (LOINC, "LA999999999-1"),
        (SNOMED, "44054007"),
        (SNOMED, "680946000117"),  # a description, not a concept
        (SNOMED, "0044054006"),
        (SNOMED, "٤٤٠٥٤٠٠٦"),
        ("http://hospital.example/codes", "2160-0"),
        ("", "2160-0"),
        (UCUM, "mg{John Smith}/dL"),
        (UCUM, "{1957-03-12}"),
        ("http://terminology.hl7.org/CodeSystem/condition-clinical", "Smith"),
        ("http://terminology.hl7.org/CodeSystem/v3-RoleCode", "SMITH"),
        ("http://dicom.nema.org/resources/ontology/DCM", "SMITHJ"),
        ("http://hl7.org/fhir/sid/icd-10-cm", "SMITH"),
        ("http://www.nlm.nih.gov/research/umls/rxnorm", "999-12-3456"),
        (LOINC, "2160-0\n"),
    ],
)
def test_codes_that_do_not_pass(system: str, code: str) -> None:
    assert not is_known_code(system, code)


@given(st.sampled_from(sorted(NAMES)), st.text(min_size=1, max_size=30))
def test_free_text_with_a_blank_or_a_letter_outside_ascii_never_passes(
    system: str, text: str
) -> None:
    if " " in text or not text.isascii():
        passes = is_known_code(uri(system), text)
        assert not passes or is_known_unit(text)


@given(st.text(max_size=40))
def test_units_are_a_closed_list(text: str) -> None:
    assert not is_known_unit(text + " of John")


@pytest.mark.parametrize(
    "text", ["mmHg", "mm[Hg]", "mg/dL", "K/uL", "lbs", "°F", "µmol/L", "μmol/L"]
)
def test_units_that_pass(text: str) -> None:
    assert is_known_unit(text)


@given(st.integers(1, 99999))
def test_exactly_one_loinc_check_digit_is_right(number: int) -> None:
    assert sum(is_loinc(f"{number}-{digit}") for digit in range(10)) == 1


@given(st.integers(1, 10**9))
def test_at_most_one_snomed_check_digit_is_right_and_swaps_are_seen(number: int) -> None:
    base = f"{number}00"
    right = [base + str(d) for d in range(10) if is_snomed(base + str(d))]
    assert len(right) == (1 if len(base) >= 5 else len(right))
    for code in right:
        swapped = code[1] + code[0] + code[2:]
        assert swapped == code or not is_snomed(swapped)


def test_every_system_has_one_uri_and_its_short_name() -> None:
    for name in NAMES:
        assert short_name(uri(name)) == name
    assert short_name("http://hospital.example/codes") == ""
    assert SHAPES.keys() <= NAMES
