"""The gate finds what the de-identifier would have let through, and passes honest twins."""

import base64
import hashlib
import json
from random import Random
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.gate import check, collect_identifiers, encodings

SOURCE: list[dict[str, Any]] = [
    {
        "resourceType": "Patient",
        "id": "a8f0c1d2-1111-4222-8333-444455556666",
        "identifier": [{"system": "http://hospital.example.org/mrn", "value": "MRN-0048151623"}],
        "name": [{"family": "Müller-Lüdenscheidt", "given": ["Žofie", "Ann"], "prefix": ["Dr."]}],
        "telecom": [
            {"system": "phone", "value": "(617) 555-0142"},
            {"system": "email", "value": "zofie@example.org"},
        ],
        "birthDate": "1954-11-03",
        "address": [
            {
                "line": ["931 Doyle Corner"],
                "city": "Wilmington",
                "state": "Massachusetts",
                "postalCode": "01887",
                "country": "US",
            }
        ],
        "maritalStatus": {"text": "Married"},
    },
    {
        "resourceType": "Observation",
        "id": "20394857",
        "subject": {"reference": "Patient/a8f0c1d2-1111-4222-8333-444455556666",
                    "display": "Zofie Müller"},
        "effectiveDateTime": "2019-08-07T10:11:12Z",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}], "text": "Systolic"},
        "valueString": "seen by Dr Quackenbush",
    },
    {"resourceType": "ImagingStudy", "id": "i", "series": [{"uid": "1.2.840.99.1559319163074.7"}]},
]  # fmt: skip
VALUES = collect_identifiers(SOURCE)
_RANDOM = Random(20394857)


def drawn() -> str:
    """Like a pseudonym, but alike in each run: of four hundred one spells a name now and then."""
    return base64.urlsafe_b64encode(_RANDOM.randbytes(16)).decode()[:22]


TWIN = drawn()
SOURCES = [drawn() for _ in range(400)]
VOCABULARY = {"systolic-bp", "mm[Hg]", "female", "final", "38341003", "Observation", TWIN, *SOURCES}


def document(**changes: Any) -> bytes:
    twin = {
        "twin": {
            "id": TWIN,
            "now": 812,
            "software": "0.1.0",
            "timeUnit": "d",
            "policy": {"id": "safe-harbor", "digest": "sha256:" + "5a" * 32},
        },
        "subject": {"sex": "female", "age": 66},
        "sources": [{"type": "Observation", "ids": SOURCES}],
        "signals": {
            "systolic-bp": {
                "unit": "mm[Hg]",
                "t": list(range(-9000, 800, 25)),
                "v": [float(v) for v in range(90, 190)] + [20394.857, 1954, 250000000.5],
                "src": list(range(392)),
            }
        },
        "conditions": [{"system": "snomed", "code": "38341003", "onset": -400}],
        **changes,
    }
    return json.dumps(twin).encode()


def rules(planted: Any) -> set[str]:
    return {hit.rule for hit in check(document(planted=planted), VALUES, VOCABULARY).hits}


def test_an_honest_twin_passes() -> None:
    result = check(document(), VALUES, VOCABULARY)
    assert result.passed, result.hits
    assert result.searched > 10


def test_an_honest_twin_passes_even_without_a_vocabulary_given() -> None:
    """Pseudonyms are random: no word of six letters is expected in a few hundred of them."""
    assert check(document(), VALUES).passed


IDENTIFYING = [
    "Müller-Lüdenscheidt", "MULLER", "muller", "Lüdenscheidt", "Žofie", "zofie", "Ann",
    "MRN-0048151623", "mrn0048151623", "(617) 555-0142", "6175550142", "617.555.0142",
    "zofie@example.org", "1954-11-03", "19541103", "11/03/1954", "03.11.1954", "2019-08-07",
    "931 Doyle Corner", "Doyle", "Wilmington", "01887", "20394857",
    "a8f0c1d2-1111-4222-8333-444455556666", "a8f0c1d2111142228333444455556666",
    "1.2.840.99.1559319163074.7", "seen by Dr Quackenbush",
]  # fmt: skip


@pytest.mark.parametrize("text", IDENTIFYING)
def test_every_identifying_value_is_found(text: str) -> None:
    assert rules(text)
    assert rules({text: 1})  # as a name
    assert rules([[{"deep": [text]}]])


@pytest.mark.parametrize("text", [t for t in IDENTIFYING if len(t) >= 5])
def test_encoded_forms_are_found(text: str) -> None:
    raw = text.encode()
    assert rules(text[::-1])
    if text in {"mrn0048151623", "muller", "(617) 555-0142", "MRN-0048151623", "Wilmington"}:
        assert rules(base64.b64encode(raw).decode())
        assert rules(raw.hex())
        assert rules("x" + quote(raw) + "y")


@pytest.mark.parametrize("name", ["md5", "sha1", "sha256"])
def test_unkeyed_hashes_of_identifiers_are_found(name: str) -> None:
    digest = hashlib.new(name, b"MRN-0048151623").hexdigest()
    assert rules(digest) == {f"identifier-{name}"}
    if name == "sha256":
        assert rules("sha256:" + digest) == {"identifier-sha256"}


@given(before=st.binary(max_size=9), after=st.binary(max_size=9))
def test_base64_is_found_wherever_the_value_stands_in_it(before: bytes, after: bytes) -> None:
    raw = b"MRN-0048151623"
    text = base64.b64encode(before + raw + after).decode()
    assert any(form in text for form, kind in encodings(raw) if kind == "base64")
    assert rules(text)


@pytest.mark.parametrize("number", [20394857, 6175550142, 48151623, 19541103, 20190807])
def test_identifying_numbers_are_found_among_numbers(number: int) -> None:
    assert rules(number)
    assert rules(float(number))
    assert rules([1, 2, [number]])


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("2020-02-03", "pattern-date"), ("20200203", "pattern-compact-date"),
        ("3/14/1961", "pattern-date-other"), ("someone@clinic.org", "pattern-e-mail"),
        ("https://x.org/1", "pattern-url"), ("urn:oid:1.2", "pattern-uid"),
        ("1.2.840.113619.2.55.3", "pattern-uid"), ("+1 202-555-0171", "pattern-phone"),
        ("(202) 555-0171", "pattern-phone"), ("078-05-1120", "pattern-ssn"),
        ("10.20.30.40", "pattern-ip"), ("0e0c5a10-9f0c-4c1c-8d51-7f0f9d8f7a11", "pattern-uuid"),
        (1559319163999, "pattern-milliseconds"), (20200203, "pattern-compact-date"),
    ],
)  # fmt: skip
def test_identifiers_of_anybody_are_found_by_their_pattern(text: Any, rule: str) -> None:
    assert rule in rules(text)


@pytest.mark.parametrize(
    "harmless",
    ["female", "0.1.0", "safe-harbor", "2160-0", "314076", "8480-6", "mm[Hg]", "mL/min/{1.73_m2}",
     "E11.9", 1954, 617, 555, 142, 1887, 148.5, 250000, 0.0048, -1887, 20394.5, "Massachusetts",
     "prevent-2024", "I10", "total-cvd", "10*9/L", "annual", "sha256:" + "0142" * 16],
)  # fmt: skip
def test_numbers_codes_and_common_words_are_no_hits(harmless: Any) -> None:
    assert rules(harmless) == set()


@pytest.mark.parametrize("value", ["0000012", "1200000", "000-00-0012", "0000000", "10000000"])
def test_identifiers_that_are_mostly_zeros_do_not_forbid_short_numbers(value: str) -> None:
    values = collect_identifiers([{"identifier": [{"value": value}]}])
    assert check(document(planted=[12, 21, 0, 1, 120]), values, VOCABULARY).passed


def test_a_number_told_in_the_narrative_is_not_forbidden_as_a_value() -> None:
    source = {"text": {"div": "<div>Platelets were 250000000 per litre today</div>"}}
    assert check(document(planted=250000000), collect_identifiers([source]), VOCABULARY).passed


def test_a_word_of_the_vocabulary_is_no_hit_whatever_the_patient_is_called() -> None:
    values = collect_identifiers(
        [{"resourceType": "Patient", "name": [{"family": "Female", "given": ["Final"]}]}]
    )
    assert check(document(), values, VOCABULARY).passed
    assert not check(document(), values).passed  # nobody said that it is a word of the vocabulary


def test_the_result_names_path_and_rule_and_never_the_value() -> None:
    result = check(document(planted=[{"deep": "Wilmington"}]), VALUES, VOCABULARY)
    assert [(hit.path, hit.rule) for hit in result.hits] == [("planted.deep", "name")]
    assert "ilmington" not in repr(result) + repr(VALUES) + json.dumps(result.as_entry())
    assert result.as_entry()["hits"] == [{"path": "planted.deep", "rule": "name"}]


def test_a_name_that_is_itself_the_leak_is_not_part_of_the_path() -> None:
    result = check(document(Wilmington={"x": "01887"}), VALUES, VOCABULARY)
    assert not result.passed
    assert "Wilmington" not in repr(result)


@given(st.recursive(st.none() | st.booleans() | st.text() | st.integers(), lambda inner: (
    st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["name", "id", "div"]), inner)
)))  # fmt: skip
def test_any_source_can_be_collected(source: Any) -> None:
    assert len(collect_identifiers([source])) >= 0
