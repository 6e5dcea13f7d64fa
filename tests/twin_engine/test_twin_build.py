"""Facts in, a document out."""

import random
from importlib import resources
from math import inf
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.depth import examples
from support.twins import NOTHING, complete, facts, header, pseudonym, twin
from support.twins_example import example

from mappings.vocabulary.facts import (
    CodedValue,
    ConditionFact,
    ImagingFact,
    ImagingMeasure,
    ImagingParameter,
    ImagingSeries,
    Mapped,
    Measurement,
    MedicationFact,
    SetAside,
    SubjectFact,
)
from twin_engine.document import Header, SchemaError, build, clinical_digest, dump, read
from twin_engine.document.lineage import source_ids

A, B, C = pseudonym("a"), pseudonym("b"), pseudonym("c")


def test_the_example_of_the_documentation_is_what_the_builder_makes() -> None:
    """Renew with: PYTHONPATH=tests python -m support.twins_example > (that file)"""
    golden = resources.files("twin_engine.document").joinpath("example.json").read_bytes()
    assert orjson.loads(golden) == example()


def test_readings_of_one_concept_become_columns_in_the_order_of_time() -> None:
    made = twin(
        facts(
            measurements=[
                Measurement("systolic-bp", 810, 142.0, B),
                Measurement("systolic-bp", 801, 148.5, A),
            ]
        )
    )
    ids = source_ids(made)
    assert made["signals"] == {
        "systolic-bp": {
            "unit": "mm[Hg]",
            "t": [801, 810],
            "v": [148.5, 142],
            "src": [ids.index(A), ids.index(B)],
        }
    }


@pytest.mark.parametrize(
    ("field", "value", "column"),
    [
        ("precision", "month", {"precision": {"0": "month"}}),
        ("comparator", "<", {"comparator": {"0": "<"}}),
        ("status", "preliminary", {"status": {"0": "preliminary"}}),
        ("origin", "derived", {"origin": {"0": "derived"}}),
        ("unit", "mmHg", {"from": {"0": "mmHg"}}),
        ("unit", "hands of mercury", {"from": {"0": "other"}}),  # never the words of a server
    ],
)
def test_an_exception_to_a_default_is_a_sparse_column(
    field: str, value: str, column: dict[str, Any]
) -> None:
    plain = Measurement("systolic-bp", 801, 148.0, A)
    expected = {"unit": "mm[Hg]", "t": [801], "v": [148], "src": [0]}
    assert twin(facts(measurements=[plain]))["signals"]["systolic-bp"] == expected
    changed = plain._replace(**{field: value})
    assert twin(facts(measurements=[changed]))["signals"]["systolic-bp"] == expected | column


def test_numbers_are_written_in_their_shortest_form() -> None:
    values = [0.0, -0.0, 5.0, 5.25, 0.1 + 0.2]
    made = twin(
        facts(measurements=[Measurement("base-excess", i, v, A) for i, v in enumerate(values)])
    )
    written = dump(made["signals"]["base-excess"]["v"])
    assert written == b"[0,0,5,5.25,0.30000000000000004]"


def test_a_source_is_what_its_surest_fact_says() -> None:
    mapped = facts(
        SubjectFact("male", pseudonym("p")),
        measurements=[Measurement("heart-rate", 1, 60.0, A)],
        coded=[CodedValue("smoking-status", 1, "never", B)],
        conditions=[ConditionFact("", "snomed", "38341003", "active", "", B)],
        medications=[MedicationFact((), (), "rxnorm", "36567", "active", C, kind="statement")],
        set_aside=[
            SetAside("heart-rate", "implausible", pseudonym("aside"), 1),
            SetAside("", "not-an-order", pseudonym("other")),
        ],
    )
    types = {row["type"]: set(row["ids"]) for row in twin(mapped)["sources"]}
    assert types == {
        "Patient": {pseudonym("p")},
        "Observation": {A, pseudonym("aside")},
        "Condition": {B},
        "MedicationStatement": {C},
        "Resource": {pseudonym("other")},
    }


def test_optional_keys_are_absent_and_never_null() -> None:
    condition = ConditionFact("", "snomed", "38341003", "", "", A)
    made = twin(facts(conditions=[condition]))
    assert made["conditions"] == [{"system": "snomed", "code": "38341003", "src": 0}]
    assert made["subject"] == {"sex": "unknown", "deceased": False}
    assert "changes" not in made
    assert b"null" not in dump(made | {"twin": {}})


def test_a_code_in_a_wrong_form_is_held_back_and_counted() -> None:
    made = twin(
        facts(
            conditions=[ConditionFact("hypertension", "snomed", "5551234567", "active", "", A)],
            unmapped=[
                ("Observation", "loinc", "MRN 4711", 2),
                ("Observation", "local", "x", 3),
                ("Observation", "loinc", "72514-3", 1),
            ],
        )
    )
    assert made["conditions"] == [{"group": "hypertension", "clinical": "active", "src": 0}]
    assert made["quality"]["codesRefused"] == 3
    assert {"type": "Observation", "n": 5} in made["quality"]["unmapped"]


def test_a_fact_outside_our_lists_builds_no_twin() -> None:
    for wrong in (
        facts(measurements=[Measurement("shoe-size", 1, 42.0, A)]),
        facts(coded=[CodedValue("smoking-status", 1, "a pack, Mr Smith says", A)]),
        facts(measurements=[Measurement("heart-rate", 1, 60.0, "Patient/123")]),
        facts(measurements=[Measurement("heart-rate", 1, float("nan"), A)]),
    ):
        with pytest.raises((SchemaError, ValueError)) as caught:
            twin(wrong)
        assert "Smith" not in str(caught.value)
        assert "123" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"twin": "Patient/123"},
        {"policy": "our-own"},
        {"policy_digest": "sha256:abc"},
        {"software": "the newest"},
        {"time_unit": "h"},
        {"as_of": "yesterday"},
        {"identity": "anonymous"},
    ],
)
def test_a_heading_outside_our_lists_builds_no_twin(wrong: dict[str, Any]) -> None:
    with pytest.raises(SchemaError):
        twin(**wrong)


def test_reasons_of_an_incomplete_slice_are_written_in_our_words_only() -> None:
    part = {
        "type": "Observation",
        "verdict": "partial",
        "reason": "the server said: Jane is not here",
        "dropped": {"foreign-subject": 2, "eaten by the dog": 1, "lost at sea": 4},
    }
    made = twin(completeness={"basis": "server", "slices": [part]})
    written = made["completeness"]["slices"][0]
    assert written["reason"] == "other"
    assert written["dropped"] == {"foreign-subject": 2, "other": 5}


def test_what_did_not_go_wrong_takes_no_room() -> None:
    nothing = {"refused": 0, "duplicates": 0, "dropped": {}, "outcomes": 0, "truncated": False}
    counts = {"queries": 1, "pages": 0, "matches": 0}
    part = {"type": "Observation", "verdict": "complete", **counts}
    made = twin(completeness={"basis": "server", "slices": [part | nothing]})
    assert made["completeness"]["slices"] == [part]


# -- properties ------------------------------------------------------------------------------------

NAMES = st.sampled_from([pseudonym(str(i)) for i in range(6)])
TIMES = st.integers(-40_000, 40_000)
MEASUREMENTS = st.builds(
    Measurement,
    concept=st.sampled_from(["systolic-bp", "body-weight", "heart-rate"]),
    time=TIMES,
    value=st.floats(50, 200, allow_nan=False),
    source=NAMES,
    precision=st.sampled_from(["minute", "day", "month", "year"]),
    comparator=st.sampled_from(["", "<", ">"]),
    status=st.sampled_from(["final", "preliminary", "amended"]),
    origin=st.sampled_from(["measured", "derived", "reported"]),
    unit=st.sampled_from(["", "mmHg", "kg"]),
    flag=st.sampled_from(["", "H", "L"]),
    range=st.sampled_from([(), (60.0, 90.0), (-inf, 90.5), (60.0, inf)]),
    site=st.sampled_from(["", "76752008"]),
    method=st.sampled_from(["", "31813000"]),
)
CONDITIONS = st.builds(
    ConditionFact,
    group=st.sampled_from(["", "hypertension", "mi"]),
    system=st.just("snomed"),
    code=st.sampled_from(["38341003", "22298006"]),
    clinical=st.sampled_from(["active", "resolved", ""]),
    verification=st.sampled_from(["confirmed", ""]),
    source=NAMES,
    onset=st.none() | TIMES,
    onset_precision=st.sampled_from(["day", "year"]),
    onset_age=st.none() | st.integers(0, 90),
    abatement=st.none() | TIMES,
    abatement_precision=st.just("day"),
    recorded=st.none() | TIMES,
)
RECORDS = st.builds(
    lambda measurements, conditions: facts(measurements=measurements, conditions=conditions),
    st.lists(MEASUREMENTS, max_size=12),
    st.lists(CONDITIONS, max_size=5),
)


def shuffled(mapped: Mapped, seed: int) -> Mapped:
    order = random.Random(seed)
    return mapped._replace(
        measurements=tuple(order.sample(mapped.measurements, len(mapped.measurements))),
        conditions=tuple(order.sample(mapped.conditions, len(mapped.conditions))),
    )


@settings(max_examples=examples(80))
@given(RECORDS, st.integers())
def test_the_order_of_arrival_leaves_no_trace(mapped: Mapped, seed: int) -> None:
    assert dump(twin(mapped)) == dump(twin(shuffled(mapped, seed)))


@settings(max_examples=examples(80))
@given(RECORDS)
def test_what_was_built_can_be_read_and_written_again(mapped: Mapped) -> None:
    made = twin(mapped)
    payload = dump(made)
    back = read(payload)
    assert back.document == made
    assert dump(back.document) == payload


@settings(max_examples=examples(80))
@given(RECORDS)
def test_every_number_is_in_the_document_once(mapped: Mapped) -> None:
    made = twin(mapped)
    ids = source_ids(made)
    written = sorted(
        (concept, t, v, ids[src])
        for concept, signal in made["signals"].items()
        for t, v, src in zip(signal["t"], signal["v"], signal["src"], strict=True)
    )
    assert written == sorted((m.concept, m.time, m.value, m.source) for m in mapped.measurements)


# -- the clinical digest ---------------------------------------------------------------------------


def renamed(mapped: Mapped, moved: int = 0) -> Mapped:
    """The same record under other pseudonyms and another epoch."""

    def change(fact: Any) -> Any:
        new: dict[str, Any] = {"source": pseudonym("again " + fact.source)}
        if isinstance(fact, Measurement):
            new["time"] = fact.time + moved
        for name in ("onset", "abatement", "recorded"):
            if getattr(fact, name, None) is not None:
                new[name] = getattr(fact, name) + moved
        return fact._replace(**new)

    return mapped._replace(
        measurements=tuple(map(change, mapped.measurements)),
        conditions=tuple(map(change, mapped.conditions)),
    )


@settings(max_examples=examples(80))
@given(RECORDS, st.integers(-9000, 9000), st.integers(0, 5000))
def test_the_clinical_digest_knows_neither_epoch_nor_pseudonym_nor_run(
    mapped: Mapped, moved: int, later: int
) -> None:
    one = twin(mapped)
    other = build(
        renamed(mapped, moved),
        header(twin=pseudonym("other"), now=812 + moved + later, software="9.9.9"),
        complete(Observation="partial"),
    )
    assert clinical_digest(one) == clinical_digest(other)


@pytest.mark.parametrize(
    "change",
    [
        {"value": 149.0},
        {"time": 800},
        {"comparator": "<"},
        {"status": "preliminary"},
        {"precision": "month"},
        {"concept": "diastolic-bp"},
    ],
)
def test_the_clinical_digest_sees_every_clinical_change(change: dict[str, Any]) -> None:
    anchor = Measurement("heart-rate", 805, 60.0, B)
    before = Measurement("systolic-bp", 801, 148.0, A)
    after = before._replace(**change)
    assert clinical_digest(twin(facts(measurements=[anchor, before]))) != clinical_digest(
        twin(facts(measurements=[anchor, after]))
    )


def test_the_clinical_digest_counts_a_repeated_fact() -> None:
    once = facts(measurements=[Measurement("heart-rate", 805, 60.0, A)])
    twice = facts(measurements=[Measurement("heart-rate", 805, 60.0, s) for s in (A, B)])
    assert clinical_digest(twin(once)) != clinical_digest(twin(twice))


def test_the_clinical_digest_ignores_age_and_the_unit_a_value_came_in() -> None:
    value = Measurement("systolic-bp", 801, 148.0, A)
    one = facts(SubjectFact("female", B, 54), measurements=[value])
    other = facts(SubjectFact("female", B, 55), measurements=[value._replace(unit="mmHg")])
    assert clinical_digest(twin(one)) == clinical_digest(twin(other))


def test_the_clinical_digest_looks_into_a_study_but_not_at_how_it_was_acquired() -> None:
    size = Measurement("tumour-size", 640, 14.0, A)
    series = ImagingSeries("CT", "51185008", 120, time=640)
    study = ImagingFact(
        ("CT",), (series,), "available", B, 640, measurements=(ImagingMeasure("tumour-size", A),)
    )

    def of(study: ImagingFact, *more: Measurement, moved: int = 0) -> str:
        sizes = [one._replace(time=one.time + moved) for one in (size, *more)]
        return clinical_digest(twin(facts(measurements=sizes, imaging=[study])))

    same = of(study)
    told = (ImagingParameter("slice-thickness", (1.25,)),)
    assert of(study._replace(series=(series._replace(read=3, parameters=told),))) == same
    later = study._replace(time=650, series=(series._replace(time=650),))
    assert of(later, moved=10) == same
    assert of(study._replace(measurements=())) != same
    assert of(study._replace(series=(series._replace(time=641),))) != same
    assert of(study._replace(series=(series._replace(laterality="left"),))) != same


def test_an_empty_record_has_a_clinical_digest_too() -> None:
    assert clinical_digest(twin(NOTHING)).startswith("sha256:")


def test_a_header_is_all_plain_data() -> None:
    assert header() == Header(*header())
