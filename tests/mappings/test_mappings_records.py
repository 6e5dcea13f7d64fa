"""What must hold for any records: nothing is lost, nothing is made up, order does not matter."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mappings_path import mapped

from mappings.from_fhir import MAPPERS, map_groups, map_records, map_unique
from mappings.from_fhir.collect import Collector
from mappings.from_fhir.observation import map_in_full, map_plain
from mappings.vocabulary import concept, rules
from mappings.vocabulary.units import TABLES

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
CODES = ["2160-0", "2093-3", "4548-4", "29463-7", "8480-6", "41995-2", "11524-6", "72166-2"]
UNITS = ["mg/dL", "umol/L", "%", "kg", "lbs", "mm[Hg]", "mmHg", "mmol/L", "K/uL", "", "bananas"]

moments = st.tuples(st.integers(-2000, 2000), st.sampled_from(["minute", "day", "month", "year"]))
quantities = st.fixed_dictionaries(
    {"value": st.floats(-10, 5000) | st.integers(-10, 5000)},
    optional={
        "unit": st.sampled_from(UNITS),
        "code": st.sampled_from(UNITS),
        "system": st.sampled_from([UCUM, LOINC]),
        "comparator": st.sampled_from(["<", "<=", ">=", ">", "~"]),
    },
)
concepts = st.lists(
    st.sampled_from(CODES).map(lambda code: {"system": LOINC, "code": code}), max_size=2
).map(lambda codings: {"coding": codings})
ids = st.integers(0, 30).map(lambda number: f"o{number}")
frame = {
    "status": st.sampled_from(["final", "preliminary", "corrected", "entered-in-error"]),
    "effectiveDateTime": moments.map(list),
}
single = st.fixed_dictionaries(
    {"resourceType": st.just("Observation"), "id": ids},
    optional=frame | {"code": concepts, "valueQuantity": quantities},
)
panel = st.fixed_dictionaries(
    {
        "resourceType": st.just("Observation"),
        "id": ids,
        "code": st.just({"coding": [{"system": LOINC, "code": "85354-9"}]}),
        "component": st.lists(
            st.fixed_dictionaries({"code": concepts}, optional={"valueQuantity": quantities}),
            max_size=3,
        ),
    },
    optional=frame,
)
observations = single | panel
bare = st.sampled_from(sorted(MAPPERS)).map(lambda kind: {"resourceType": kind, "id": f"x{kind}"})


@given(st.lists(observations, max_size=25), st.randoms(use_true_random=False))
def test_the_order_of_records_never_matters(records: list[dict[str, Any]], random: Any) -> None:
    shuffled = random.sample(records, len(records))
    assert map_records(shuffled) == map_records(records)


@given(st.lists(observations, max_size=25, unique_by=lambda record: record["id"]))
def test_every_value_is_kept_set_aside_or_counted(records: list[dict[str, Any]]) -> None:
    mapped = map_records(records)
    values = sum(_values(record) for record in records)
    unmapped = sum(row[3] for row in mapped.unmapped)
    assert len(mapped.measurements) + len(mapped.coded) + len(mapped.set_aside) + unmapped == values


def _values(record: dict[str, Any]) -> int:
    """How many values a record speaks of: one, or one for each component of a panel."""
    return len(record["component"]) if "component" in record else 1


@given(st.lists(observations, max_size=10))
def test_measurements_are_plausible_rounded_and_in_known_units(
    records: list[dict[str, Any]],
) -> None:
    for fact in map_records(records).measurements:
        low, high = concept(fact.concept).plausible
        assert low <= fact.value <= high
        assert fact.value == round(fact.value, concept(fact.concept).decimals)
        assert not fact.unit or fact.unit in TABLES[fact.concept]
        assert fact.comparator in ("", "<", "<=", ">=", ">")


@given(st.lists(observations, max_size=20))
def test_set_aside_names_a_rule_and_a_source(records: list[dict[str, Any]]) -> None:
    ids = {record["id"] for record in records}
    for fact in map_records(records).set_aside:
        assert rules()[fact.rule].kind == "set-aside"
        assert fact.source in ids


@settings(max_examples=20)
@given(st.lists(bare, max_size=10))
def test_a_record_stripped_to_its_type_maps_without_a_fact_made_up(
    records: list[dict[str, Any]],
) -> None:
    mapped = map_records(records)
    assert mapped.measurements == mapped.coded == mapped.conditions == ()
    assert {(m.classes, m.ingredients, m.code, m.status) for m in mapped.medications} <= {
        ((), (), "", "unknown")
    }


def test_two_records_under_one_id_are_settled_without_regard_to_order() -> None:
    first = {
        "resourceType": "Encounter",
        "id": "e",
        "status": "finished",
        "period": {"start": [1, "day"]},
    }
    second = first | {"status": "planned"}
    assert map_records([first, second]) == map_records([second, first])
    assert len(map_records([first, first, second]).encounters) == 1


def test_an_order_is_mapped_with_its_medicine_whichever_comes_first() -> None:
    order = {
        "resourceType": "MedicationRequest",
        "id": "o",
        "status": "active",
        "medicationReference": {"reference": "Medication/m"},
    }
    coding = {"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "617310"}
    medicine = {"resourceType": "Medication", "id": "m", "code": {"coding": [coding]}}
    (fact,) = map_unique([order, medicine]).medications
    assert fact.code
    assert map_unique(iter([medicine, order])) == map_unique([order, medicine])
    assert map_records([order, medicine]) == map_unique([order, medicine])


ORDINARY = {
    "resourceType": "Observation",
    "id": "o",
    "status": "final",
    "code": {"coding": [{"system": LOINC, "code": "29463-7"}]},
    "effectiveDateTime": [7, "day"],
    "valueQuantity": {"value": 165.35, "unit": "lbs", "system": UCUM, "code": "[lb_av]"},
}
unusual = st.sampled_from(
    [
        {},
        {"interpretation": [{"coding": [{"system": LOINC, "code": "H"}]}]},
        {"referenceRange": [{"low": {"value": 3, "unit": "kg"}}]},
        {"bodySite": {"coding": [{"system": "http://snomed.info/sct", "code": "368209003"}]}},
        {"hasMember": [{"reference": "Observation/p"}]},
        {"derivedFrom": [{"reference": "ImagingStudy/s"}]},
        {"effectiveDateTime": None, "effectivePeriod": {"end": [9, "day"]}},
        {"valueQuantity": {"value": None, "unit": "kg", "system": UCUM, "code": "kg"}},
        {"valueQuantity": {"value": 9999, "unit": "kg", "system": UCUM, "code": "kg"}},
        {"component": [{"code": {"coding": [{"system": LOINC, "code": "8480-6"}]}}]},
    ]
)


@given(single, unusual, st.booleans())
def test_the_short_way_of_plain_numbers_makes_what_the_long_one_makes(
    record: dict[str, Any], change: dict[str, Any], ordinary: bool
) -> None:
    record = (ORDINARY if ordinary else record) | change
    short, full = Collector(), Collector()
    taken = map_plain(record, short)
    map_in_full(record, full)
    assert vars(short) == vars(full if taken else Collector())
    assert taken or not ordinary or change


@given(
    single | panel | bare,
    unusual,
    st.booleans(),
    st.lists(st.tuples(st.floats(-10, 5000) | st.integers(-10, 5000), moments), min_size=1),
)
def test_what_comes_together_is_mapped_as_what_comes_one_by_one(
    record: dict[str, Any],
    change: dict[str, Any],
    ordinary: bool,
    differing: list[tuple[float, tuple[int, str]]],
) -> None:
    """Records that differ in ids, times and numbers alone."""
    alike = [
        other_values((ORDINARY if ordinary else record) | change, f"o{at}", number, list(time))
        for at, (number, time) in enumerate(differing)
    ]
    assert map_groups([alike], now=100) == map_unique(alike, now=100)


def other_values(
    record: dict[str, Any], name: str, number: float, time: list[Any]
) -> dict[str, Any]:
    made = record | {"id": name}
    if made.get("effectiveDateTime"):
        made["effectiveDateTime"] = time
    if made.get("valueQuantity", {}).get("value") is not None:
        made["valueQuantity"] = made["valueQuantity"] | {"value": number}
    return made


def pressure(code: str, value: float, **more: Any) -> dict[str, Any]:
    quantity = {"value": value, "unit": "mmHg", "system": UCUM, "code": "mm[Hg]"}
    return {"code": {"coding": [{"system": LOINC, "code": code}]}, "valueQuantity": quantity} | more


SYSTOLIC, DIASTOLIC = pressure("8480-6", 120), pressure("8462-4", 80)


@pytest.mark.parametrize(
    ("taken", "change"),
    [
        (True, {"component": [SYSTOLIC, DIASTOLIC]}),
        (True, {"component": [SYSTOLIC]}),
        (True, {"component": [SYSTOLIC, pressure("8462-4", 130)]}),
        (False, {"component": [SYSTOLIC, pressure("8462-4", 999)]}),
        (False, {"component": [SYSTOLIC, pressure("8462-4", 80, interpretation=[])]}),
        (False, {"component": [SYSTOLIC, {"code": {}}]}),
        (False, {"component": [SYSTOLIC], "bodySite": {"coding": []}}),
        (False, {"component": [SYSTOLIC], "status": "cancelled"}),
        (False, {"component": [SYSTOLIC], "code": {"coding": []}}),
        (
            False,
            {"component": [SYSTOLIC], "code": {"coding": [{"system": LOINC, "code": "29463-7"}]}},
        ),
    ],
)
def test_a_plain_blood_pressure_takes_the_short_way_too(
    taken: bool, change: dict[str, Any]
) -> None:
    panel = {"code": {"coding": [{"system": LOINC, "code": "85354-9"}]}}
    record = {k: v for k, v in ORDINARY.items() if k != "valueQuantity"} | panel | change
    short, full = Collector(), Collector()
    assert map_plain(record, short) is taken
    map_in_full(record, full)
    assert vars(short) == vars(full if taken else Collector())


def test_no_records() -> None:
    assert map_records([]).subject is None


def test_what_the_twin_needs_of_a_vaccine_passes_and_what_tells_the_batch_does_not() -> None:
    """All policies: the dose, never the lot, the maker or who gave it."""
    dose = {
        "resourceType": "Immunization",
        "id": "x1",
        "status": "completed",
        "vaccineCode": {"coding": [{"system": "http://hl7.org/fhir/sid/cvx", "code": "187"}]},
        "patient": {"reference": "Patient/p1"},
        "occurrenceDateTime": "2020-11-03",
        "lotNumber": "ZK4711",
        "expirationDate": "2021-06-30",
        "manufacturer": {"display": "Zorkmidt Vaccines"},
        "performer": [{"actor": {"display": "Dr. Zorkmidt"}}],
        "protocolApplied": [
            {"series": "Zorkmidt's", "doseNumberPositiveInt": 2, "seriesDosesPositiveInt": 2}
        ],
    }
    for policy in ("safe-harbor", "relative-minutes"):
        found = mapped(dose, policy=policy)
        (fact,) = found.immunizations
        assert (fact.against, fact.status, fact.dose, fact.doses) == (
            ("zoster",), "completed", 2, 2,
        )  # fmt: skip
        assert fact.time is not None
        assert "ZK4711" not in repr(found)
        assert "Zorkmidt" not in repr(found)


def test_a_waveform_or_a_text_is_no_value_and_is_not_passed_over() -> None:
    """Their content never passes; that there was a result of this concept is still told."""
    heart_rate = {"coding": [{"system": LOINC, "code": "8867-4"}]}
    result = {
        "resourceType": "Observation",
        "status": "final",
        "code": heart_rate,
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": "2020-11-03",
    }
    wave = {"origin": {"value": 0}, "period": 10, "dimensions": 1, "data": "71 72 4711 E"}
    unknown = {"coding": [{"system": LOINC, "code": "11524-6"}]}
    found = mapped(
        result | {"id": "a", "valueSampledData": wave},
        result | {"id": "b", "valueString": "about 4711"},
        result | {"id": "c", "code": unknown, "valueSampledData": wave},
        result
        | {
            "id": "d",
            "code": unknown,
            "component": [{"code": heart_rate, "valueSampledData": wave}],
        },
    )
    assert not found.measurements
    asides = [(fact.concept, fact.rule) for fact in found.set_aside]
    assert asides == [("heart-rate", "value-absent")] * 3
    assert found.unmapped == (("Observation", "loinc", "11524-6", 1),)
    assert "4711" not in repr(found)
