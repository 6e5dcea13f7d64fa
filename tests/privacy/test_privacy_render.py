"""De-identified FHIR: valid R4, and no finer in time than its policy."""

import base64
import importlib
import json
import re
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from privacy_generator import MARKER, Generator
from privacy_support import CODES, GUARDS, LOINC, UCUM, observation, session
from support.depth import examples
from test_privacy_plans import Ordinary

from privacy.deidentify import Deidentifier, Refused, Session
from privacy.elements import BASES, IN_SCOPE, REQUIRED, elements_of
from privacy.policy import load_policy, policy_ids
from privacy.pseudonyms import Pseudonyms, new_pseudonym, new_pseudonyms
from privacy.render import (
    Calendar,
    Renderer,
    addresses,
    bundle,
    fhir_id,
    fhir_ids,
    shift_of,
    shifted,
    significant,
    spelled,
    urn,
)
from privacy.subject import draw_epoch
from privacy.times import parse
from service.pipeline.guards import GUARDS as GUARDS_OF_OURS

DEIDENTIFIERS = {name: Deidentifier(load_policy(name), GUARDS) for name in policy_ids()}
SCOPE = sorted(IN_SCOPE)
DATE = re.compile(r'"(\d{4}-\d{2}[^"]*)"')


def work(policy: str, patient: dict[str, Any] | None = None, **more: Any) -> Session:
    return session(patient, deidentifier=DEIDENTIFIERS[policy], **more)


def render(source: dict[str, Any], policy: str = "safe-harbor", **more: Any) -> dict[str, Any]:
    run = work(policy, **more)
    record = run.apply(source)
    assert not isinstance(record, Refused)
    return Renderer(run).resource(record)


CHOICES: dict[str, Any] = {"occurrenceDateTime": "2020", "doseNumberPositiveInt": 1}


def with_choices(node: Any) -> Any:
    """A masked primitive is valid R4, but the model wants the values of required choices."""
    if isinstance(node, list):
        return [with_choices(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: with_choices(value) for key, value in node.items() if key[1:] not in CHOICES}
    return made | {key: value for key, value in CHOICES.items() if "_" + key in node}


def validate(resource: dict[str, Any]) -> None:
    name = resource["resourceType"]
    model = getattr(importlib.import_module(f"fhir.resources.R4B.{name.lower()}"), name)
    model.model_validate_json(json.dumps(with_choices(resource)))


def test_an_observation_is_itself_again_without_identity() -> None:
    ids = Pseudonyms()
    made = render(observation(issued="2020-06-01T10:30:00Z"), pseudonyms=ids)
    validate(made)
    assert made["id"] == fhir_id(ids("Observation", "obs-1"))
    assert made["subject"] == {"reference": f"Patient/{fhir_id(ids('Patient', 'p1'))}"}
    assert made["effectiveDateTime"] == "2020"
    assert "issued" not in made  # an instant cannot be a year
    assert made["valueQuantity"]["value"] == 148
    assert made["meta"]["security"][-1]["code"] == "PSEUDED"


def test_ids_are_the_same_whether_made_alone_or_with_others() -> None:
    pseudonyms = [*new_pseudonyms(200), "A" * 22, "-_" * 10 + "-w", "_" * 21 + "Q"]
    made = fhir_ids(pseudonyms)
    assert made == [fhir_id(name) for name in pseudonyms]
    assert [bytes.fromhex(text) for text in made] == [
        base64.urlsafe_b64decode(name + "==") for name in pseudonyms
    ]
    assert fhir_ids([]) == []


@given(st.integers(0, 10**9), st.sampled_from(SCOPE), st.sampled_from(sorted(DEIDENTIFIERS)))
@settings(max_examples=examples(150))
def test_what_is_rendered_is_valid_r4_and_holds_no_marker(
    seed: int, kind: str, policy: str
) -> None:
    ordinary = Ordinary(Random(seed), policy).resource(kind)
    for source in (ordinary, Generator(seed).resource(kind)):
        run = work(policy)
        record = run.apply(source)
        if isinstance(record, Refused) or "id" not in record:
            continue
        made = Renderer(run).resource(record)
        text = json.dumps(made)
        assert MARKER not in text
        if run.policy.files.dates == "year":
            assert not DATE.search(text)
        if source is ordinary:  # the other one is no valid R4 to begin with
            validate(made)


@given(
    st.dates(date(1931, 6, 1), date(2021, 2, 28)),
    st.sampled_from([4, 7, 10]),
    st.integers(0, 10**6),
    st.sampled_from(["safe-harbor", "relative-minutes"]),
)
@settings(max_examples=examples(300))
def test_the_year_that_is_shown_is_the_year_that_was_written(
    day: date, length: int, seed: int, policy: str
) -> None:
    now = date(2021, 3, 1)
    epoch = draw_epoch(now, Random(seed))
    text = day.isoformat()[:length]
    run = work(policy, {"birthDate": "1990"}, epoch=epoch, now=now)
    leaf = run.offset(text)
    if type(leaf) is tuple:
        assert Calendar(run).text(*leaf, "dateTime") == text[:4]


@given(st.dates(date(1971, 1, 1), date(2021, 2, 28)), st.integers(0, 10**6))  # no placeholder
@settings(max_examples=examples(100))
def test_a_shift_keeps_every_interval_and_a_limited_data_set_every_date(
    day: date, seed: int
) -> None:
    epoch = draw_epoch(date(2021, 3, 1), Random(seed))
    texts = (day.isoformat(), f"{day}T22:41:00Z")
    true = [
        render(observation(effectiveDateTime=t), "limited-data-set", epoch=epoch) for t in texts
    ]
    assert [item["effectiveDateTime"] for item in true] == list(texts)
    moved = [render(observation(effectiveDateTime=t), "date-shift", epoch=epoch) for t in texts]
    expected = day + timedelta(days=shift_of(epoch))
    assert [item["effectiveDateTime"] for item in moved] == [str(expected), f"{expected}T22:41:00Z"]


def test_shifts_are_spread_over_a_year_to_either_side_and_never_zero() -> None:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    shifts = [shift_of(start + timedelta(days=day)) for day in range(730)]
    assert sorted(shifts) == [*range(-365, 0), *range(1, 366)]


@pytest.mark.parametrize(("text", "shown"), [("2017", "2018"), ("2017-11", "2018-08")])
def test_an_imprecise_date_stays_imprecise_when_it_is_shifted(text: str, shown: str) -> None:
    moment = parse(text)
    assert moment is not None
    assert spelled(shifted(moment, timedelta(days=270)), "dateTime") == shown


@pytest.mark.parametrize(
    ("policy", "birth", "shown", "age"),
    [
        ("safe-harbor", "1960-02-03", "1960", {"value": 61}),
        ("safe-harbor", "1925-02-03", None, {"value": 90, "comparator": ">="}),
        ("safe-harbor", "2020-09-03", "2020", {"value": 1, "comparator": "<"}),
        ("safe-harbor", "1800-09-03", None, None),
        ("date-shift", "1925-02-03", None, {"value": 90, "comparator": ">="}),
        ("limited-data-set", "1925-02-03", "1925-02-03", {"value": 96}),
    ],
)
def test_birth_and_age(
    policy: str, birth: str, shown: str | None, age: dict[str, Any] | None
) -> None:
    patient = {"resourceType": "Patient", "id": "p1", "birthDate": birth, "gender": "female"}
    run = work(policy, patient)
    record = run.apply(patient)
    assert isinstance(record, dict)
    made = Renderer(run).resource(record)
    validate(made)
    assert made.get("birthDate") == shown
    if age is None:
        assert "extension" not in made
    else:
        quantity = made["extension"][0]["valueQuantity"]
        assert {key: quantity.get(key) for key in ("value", "comparator")} == {
            "comparator": None, **age,
        }  # fmt: skip


def test_death_is_told_by_its_year() -> None:
    patient = {"resourceType": "Patient", "id": "p1", "birthDate": "1940-01-01",
               "deceasedDateTime": "2015-08-09T10:00:00Z"}  # fmt: skip
    run = work("safe-harbor", patient)
    record = run.apply(patient)
    assert isinstance(record, dict)
    assert Renderer(run).resource(record)["deceasedDateTime"] == "2015"


@pytest.mark.parametrize(
    ("policy", "address"),
    [
        ("safe-harbor", None),
        ("date-shift", [{"country": "US", "state": "MA", "postalCode": "021"}]),
        ("limited-data-set", [{"country": "US", "state": "MA", "postalCode": "02138"}]),
    ],
)
def test_an_address_is_told_as_its_policy_says(policy: str, address: Any) -> None:
    home = {"line": ["1 Way"], "city": "X", "state": "MA", "postalCode": "02138", "country": "US"}
    patient = {"resourceType": "Patient", "id": "p1", "birthDate": "1960", "address": [home]}
    assert render(patient, policy).get("address") == address


def test_what_r4_requires_and_the_policy_took_out_is_masked() -> None:
    made = render({**observation(status="odd"), "code": {"text": "a name"}})
    validate(made)
    assert made["_status"] == made["code"]
    assert made["code"]["extension"][0]["valueCode"] == "masked"
    assert "status" not in made


def test_references_inside_a_bundle_lead_to_its_entries() -> None:
    ids = Pseudonyms()
    run = work("safe-harbor", pseudonyms=ids)
    patient = run.apply({"resourceType": "Patient", "id": "p1", "gender": "male"})
    result = run.apply(observation(encounter={"reference": "Encounter/e"}))
    assert isinstance(patient, dict)
    assert isinstance(result, dict)
    named = [(one["resourceType"], one["id"]) for one in (patient, result)]
    renderer = Renderer(run, addresses(named))
    shown = [orjson.dumps(renderer.resource(record)) for record in (patient, result)]
    entries = [
        *renderer.entries("Patient", [patient["id"]], shown[:1]),
        *renderer.entries("Observation", [result["id"]], shown[1:]),
    ]
    made = bundle([orjson.loads(entry) for entry in entries])
    validate(made)
    first, second = made["entry"]
    assert second["resource"]["subject"]["reference"] == first["fullUrl"]
    assert second["resource"]["encounter"]["reference"].startswith("Encounter/")


@given(st.builds(new_pseudonym))
def test_an_id_is_the_pseudonym_in_another_spelling(pseudonym: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", fhir_id(pseudonym))
    assert urn(pseudonym).replace("-", "") == f"urn:uuid:{fhir_id(pseudonym)}"


def published(owner: str) -> Any:
    """A class of somebody else's, made from HL7's definitions."""
    name, *inner = owner.split(".")
    module = importlib.import_module(f"fhir.resources.R4B.{name.lower()}")
    return getattr(module, name + "".join(part[0].upper() + part[1:] for part in inner))


# What R4B made of an extension's value; of all other types in scope it changed no element.
OF_R4B, OF_R4 = {"valueCodeableReference", "valueRatioRange"}, {"valueMeta"}


def test_the_list_of_elements_is_that_of_the_published_models() -> None:
    for owner in BASES:
        names = {info.alias or key for key, info in published(owner).model_fields.items()}
        theirs = {name for name in names if name[0] != "_"} - {"resource_type", "fhir_comments"}
        if owner == "Extension":
            theirs = theirs - OF_R4B | OF_R4
        assert theirs == set(elements_of(owner)), owner


def test_the_list_of_required_elements_is_that_of_the_published_models() -> None:
    for owner in BASES:
        model = published(owner)
        found: dict[str, list[str]] = {}
        for key, info in model.model_fields.items():
            extra = info.json_schema_extra or {}
            label = info.alias or key
            if extra.get("element_required") or (info.is_required() and key != "resource_type"):
                found.setdefault(label, []).append(label)
            elif extra.get("one_of_many_required"):
                found.setdefault(extra["one_of_many"], []).append(label)
        assert sorted(map(tuple, found.values())) == sorted(REQUIRED[owner]), owner


def test_the_vocabulary_of_these_tests_is_known() -> None:
    assert (LOINC, "8480-6") in CODES


# Numbers ------------------------------------------------------------------------------------------


def value_of(code: str, value: float, unit: str, **more: Any) -> Any:
    """What is left of a number under a code and a unit, by our own vocabulary."""
    source = observation(
        code={"coding": [{"system": LOINC, "code": code}]},
        valueQuantity={"value": value, "unit": unit, "system": UCUM, "code": unit},
        **more,
    )
    run = session(deidentifier=Deidentifier(load_policy("safe-harbor"), GUARDS_OF_OURS))
    return Renderer(run).resource(run.apply(source))


@pytest.mark.parametrize(
    ("code", "value", "unit", "shown"),
    [
        ("8480-6", 148.28374652910384, "mm[Hg]", 148),  # a systolic pressure is whole
        ("2160-0", 1.0837465291038475, "mg/dL", 1.08),
        ("2160-0", 95.83746529103847, "umol/L", 95.8),  # the same creatinine, in the other unit
        ("2339-0", 97.4837465, "mg/dL", 97),
        ("2339-0", 5.4118374652, "mmol/L", 5.41),  # a step of 1 mg/dL is finer than 0.1 mmol/L
        ("8302-2", 171.28374652910384, "cm", 171.3),
        ("29463-7", 82.73946520183749, "kg", 82.7),
        ("29463-7", 182.73946520183749, "[lb_av]", 182.7),
        ("8480-6", 148.28374652910384, "mg", 148.3),  # not a unit of it: four digits
        ("30954-2", 12345.678901234, "mg", 12350),  # no concept of ours: four digits
        ("2160-0", 0.0004837465, "mg/dL", 0.0004837),  # zero would be another value
    ],
)  # fmt: skip
def test_a_value_has_no_more_digits_than_mean_anything(
    code: str, value: float, unit: str, shown: float
) -> None:
    assert value_of(code, value, unit)["valueQuantity"]["value"] == shown


def test_each_component_is_rounded_as_its_own_code_says() -> None:
    quantity = {"value": 81.23456789, "unit": "mm[Hg]", "system": UCUM, "code": "mm[Hg]"}
    part = {
        "code": {"coding": [{"system": LOINC, "code": "8462-4"}]},
        "valueQuantity": quantity,
        "referenceRange": [{"low": {**quantity, "value": 60.123456789}}],
    }
    made = value_of("2160-0", 1.0837465291038475, "mg/dL", component=[part])
    assert made["component"][0]["valueQuantity"]["value"] == 81
    assert made["component"][0]["referenceRange"][0]["low"]["value"] == 60
    assert made["valueQuantity"]["value"] == 1.08  # after the component, its own code again


def test_other_numbers_keep_four_digits() -> None:
    dose = {"value": 12.3456789, "unit": "mg", "system": UCUM, "code": "mg"}
    source = {
        "resourceType": "MedicationRequest", "id": "m", "status": "active", "intent": "order",
        "subject": {"reference": "Patient/p1"},
        "dosageInstruction": [
            {"doseAndRate": [{"doseQuantity": dose}], "sequence": 123456789,
             "timing": {"repeat": {"period": 1.23456789, "frequency": 2}}}
        ],
    }  # fmt: skip
    [made] = render(source)["dosageInstruction"]
    assert made["doseAndRate"][0]["doseQuantity"]["value"] == 12.35
    assert made["sequence"] == 123500000
    assert made["timing"]["repeat"] == {"period": 1.235, "frequency": 2}


@given(st.floats(-1e12, 1e12, allow_nan=False), st.integers(1, 6))
@settings(max_examples=examples(200))
def test_significant_digits_are_as_many_as_said_and_close(number: float, digits: int) -> None:
    shown = significant(number, digits)
    written = f"{abs(shown):.{digits - 1}e}"
    assert float(written) == pytest.approx(abs(shown), rel=1e-12)
    assert abs(shown - number) <= abs(number) * 10 ** (1 - digits) / 2 * (1 + 1e-9)
    assert type(significant(12345, digits)) is int
