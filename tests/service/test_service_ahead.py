"""What arrives while the server still answers is read then, and nothing comes of it but time."""

import random
import threading
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from support.readings import ahead_of, check_same, read_ahead, reading_of

from service.fhir.packed import Packed, Packer
from service.fhir.record import PatientRecord
from service.pipeline.origin import IDENTIFIER_SYSTEM
from service.pipeline.reading import Ahead
from service.sandbox.testing import TEST_ANCHOR, population

Json = dict[str, Any]
BASE = "https://ehr.example/fhir"


def record_of(resources: Iterable[Json], packer: Packer, identity: str = "p") -> PatientRecord:
    packed = [packer.pack(resource) for resource in resources]
    slices = [{"type": "Observation", "verdict": "complete"}]
    completeness = {"basis": "server", "slices": slices}
    return PatientRecord(identity, BASE, Packed(packer, packed), completeness)


def all_of(record: PatientRecord) -> Packed:
    assert isinstance(record.resources, Packed)
    return record.resources


def parts_of(record: PatientRecord, seed: int) -> list[Packed]:
    """The Patient, then the rest in parts of any size and order; some do not come at all."""
    drawn, whole = random.Random(seed), all_of(record)
    places = list(range(1, len(whole)))
    drawn.shuffle(places)
    kept = places[: len(places) * 9 // 10]
    cuts = [0, *sorted(drawn.sample(range(len(kept) + 1), min(5, len(kept)))), len(kept)]
    items = whole.items
    shares = [{items[place] for place in kept[a:b]} for a, b in pairwise(cuts)]
    return [whole[:1], *(whole.without(set(items) - share) for share in shares)]


def check(record: PatientRecord, seed: int) -> None:
    check_same(record, parts_of(record, seed), TEST_ANCHOR)


@pytest.mark.slow
def test_in_whatever_order_it_arrives_the_same_is_read() -> None:
    for seed, patient in enumerate(population()[::4]):
        first = sorted(patient.resources, key=lambda r: r["resourceType"] != "Patient")
        check(record_of(first, Packer(), patient.id), seed)


# -- awkward records ----------------------------------------------------------------------------

PATIENT = {"resourceType": "Patient", "id": "p", "birthDate": "1960-02-03", "gender": "male"}
LOINC = "http://loinc.org"


def pulse(identity: str, **more: Any) -> Json:
    return {
        "resourceType": "Observation",
        "id": identity,
        "status": "final",
        "subject": {"reference": "Patient/p"},
        "code": {"coding": [{"system": LOINC, "code": "8867-4"}]},
        "effectiveDateTime": "2024-05-06",
        "valueQuantity": {
            "value": 70,
            "system": "http://unitsofmeasure.org",
            "code": "/min",
            "unit": "/min",
        },
        **more,
    }


AWKWARD: list[Json] = [
    PATIENT,
    pulse("one"),
    pulse("same-moment", valueQuantity={"value": 71, "code": "/min"}),
    pulse("corrected", status="corrected", effectiveDateTime="2024-05-06T10:11:00Z"),
    pulse("again", effectiveDateTime="2024-05-06T10:11:00Z"),
    pulse("of-somebody", subject={"reference": "Patient/q"}),
    pulse("unknown-rules", modifierExtension=[{"url": "urn:x", "valueBoolean": True}]),
    pulse("labelled", meta={"security": [{"system": "urn:x", "code": "R"}]}),
    pulse("refers", encounter={"reference": "Encounter/e"}, derivedFrom=[{"reference": "a/b/c"}]),
    pulse("our-own", identifier=[{"system": IDENTIFIER_SYSTEM, "value": "x"}]),
    {"resourceType": "Observation", "id": "broken", "code": 5, "subject": "Patient/p"},
    {
        "resourceType": "MedicationRequest",
        "id": "order",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/p"},
        "medicationReference": {"reference": "Medication/m"},
    },
    {
        "resourceType": "Medication",
        "id": "m",
        "code": {
            "coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "29046"}]
        },
    },
]


@pytest.mark.parametrize("seed", range(6))
def test_so_it_is_with_awkward_records(seed: int) -> None:
    check(record_of(AWKWARD, Packer()), seed)


def test_also_where_what_is_kept_is_deflated() -> None:
    check(record_of(AWKWARD, Packer(plain_bytes=600)), 1)


def test_what_arrived_twice_is_read_once() -> None:
    record = record_of(AWKWARD, Packer())
    parts = parts_of(record, 3)
    check_same(record, [*parts, *parts], TEST_ANCHOR)


# -- when it does not count -----------------------------------------------------------------------


def test_a_record_that_replaced_what_arrived_is_read_in_order() -> None:
    packer = Packer()
    arrived = record_of([PATIENT, pulse("one"), pulse("two")], packer)
    record = record_of([PATIENT, pulse("one", status="amended"), pulse("two")], packer)
    assert (
        read_ahead(record, [arrived.resources[:1], arrived.resources[1:]], TEST_ANCHOR, {}) is None
    )


def test_so_is_one_that_lacks_what_arrived() -> None:
    packer = Packer()
    arrived = record_of([PATIENT, pulse("one")], packer)
    assert read_ahead(record_of([PATIENT], packer), [all_of(arrived)], TEST_ANCHOR, {}) is None


def test_so_is_one_with_metadata_of_images() -> None:
    record = record_of(AWKWARD, Packer())
    record.series["1.2.3"] = [{}]
    assert read_ahead(record, parts_of(record, 1), TEST_ANCHOR, {}) is None


def test_so_is_one_of_another_server() -> None:
    record = record_of(AWKWARD, Packer())
    with Ahead("https://other.example/fhir", lambda _: None) as ahead:
        ahead.arrived(all_of(record)[:1])
        assert ahead.read_of(record) is None


def test_so_is_one_of_which_nothing_arrived() -> None:
    record = record_of(AWKWARD, Packer())
    with ahead_of(record, TEST_ANCHOR, {}) as ahead:
        assert ahead.read_of(record) is None


def test_so_is_one_that_cannot_be_read() -> None:
    record = record_of(AWKWARD, Packer())

    def fails(_: Json) -> None:
        raise ValueError

    with Ahead(BASE, fails) as ahead:
        ahead.arrived(all_of(record)[:1])
        assert ahead.read_of(record) is None


def test_so_is_the_second_time_the_record_is_asked_for() -> None:
    record = record_of(AWKWARD, Packer())
    begin = lambda patient: reading_of(record, patient, TEST_ANCHOR, {})  # noqa: E731
    with Ahead(BASE, begin) as ahead:
        ahead.arrived(all_of(record)[:1])
        assert ahead.read_of(record) is not None
        assert ahead.read_of(record) is None


def test_a_thread_does_not_outlive_the_block() -> None:
    record, before = record_of(AWKWARD, Packer()), threading.active_count()
    with ahead_of(record, TEST_ANCHOR, {}) as ahead:
        for part in parts_of(record, 1):
            ahead.arrived(part)
    assert threading.active_count() == before
