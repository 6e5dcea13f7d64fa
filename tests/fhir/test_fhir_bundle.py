"""Files as sources: who is in them, how complete they are, and what is refused."""

import contextlib
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from fhir_servers import outcome
from hypothesis import given
from hypothesis import strategies as st

from service.fhir.bundle import read_bundle
from service.fhir.errors import SourceError
from service.fhir.record import PatientRecord, SafetyEvent

Resource = dict[str, Any]
UUID_A, UUID_B = "0b8f6a3e-0000-4000-8000-00000000000a", "0b8f6a3e-0000-4000-8000-00000000000b"


def patient(identity: str | None = "p1", **more: Any) -> Resource:
    return {"resourceType": "Patient", **({"id": identity} if identity else {}), **more}


def observation(identity: str | None, subject: str, **more: Any) -> Resource:
    found = {"resourceType": "Observation", "status": "final", "subject": {"reference": subject}}
    return found | ({"id": identity} if identity else {}) | more


def entry(resource: Resource, url: str = "", **more: Any) -> Resource:
    return {"resource": resource, **({"fullUrl": url} if url else {}), **more}


def bundle(kind: str, *entries: Resource, **more: Any) -> bytes:
    return json.dumps(
        {"resourceType": "Bundle", "type": kind, "entry": list(entries), **more}
    ).encode()


def verdicts(record: PatientRecord) -> dict[str, str]:
    return {s["type"]: s["verdict"] for s in record.completeness["slices"]}


def slice_of(record: PatientRecord, kind: str) -> Resource:
    return next(s for s in record.completeness["slices"] if s["type"] == kind)


def subjects(record: PatientRecord) -> list[tuple[str, str]]:
    return [(r["id"], r["subject"]["reference"]) for r in record.resources[1:]]


def test_transaction_entries_take_the_id_of_their_full_url() -> None:
    data = bundle(
        "transaction",
        entry(patient(None), f"urn:uuid:{UUID_A}", request={"method": "POST", "url": "Patient"}),
        entry(observation(None, f"urn:uuid:{UUID_A}"), f"urn:uuid:{UUID_B}"),
    )
    (record,) = read_bundle(data)
    assert record.patient_id == UUID_A
    assert subjects(record) == [(UUID_B, f"Patient/{UUID_A}")]
    assert set(verdicts(record).values()) == {"complete"}
    assert record.completeness["basis"] == "bundle"


@pytest.mark.parametrize(
    "reference",
    [
        "Patient/p1",
        "https://ehr.example/fhir/Patient/p1",
        "https://ehr.example/fhir/Patient/p1/_history/3",
        "Patient/p1/_history/3",
    ],
)
def test_absolute_and_versioned_references_find_the_patient(reference: str) -> None:
    base = "https://ehr.example/fhir"
    data = bundle(
        "collection",
        entry(patient(), f"{base}/Patient/p1"),
        entry(observation("a", reference), f"{base}/Observation/a"),
    )
    (record,) = read_bundle(data)
    assert subjects(record) == [("a", "Patient/p1")]
    assert record.base == base


def test_one_record_per_patient_and_nothing_in_the_wrong_one() -> None:
    data = bundle(
        "collection",
        entry(patient("p1")),
        entry(patient("p2")),
        entry(observation("a", "Patient/p1")),
        entry(observation("b", "Patient/p2")),
        entry(observation("c", "Patient/p3")),
        entry({"resourceType": "Claim", "id": "c1"}),
        entry({"resourceType": "Device", "id": "d", "patient": {"reference": "Patient/p2"}}),
    )
    first, second = read_bundle(data)
    assert subjects(first) == [("a", "Patient/p1")]
    assert subjects(second) == [("b", "Patient/p2")]
    assert first.safety == [SafetyEvent("foreign-subject", "Observation", 1)]
    assert first.out_of_scope == {"Claim": 1, "Device": 1}
    assert (first.not_read, second.not_read) == ({}, {})


def test_the_newest_version_counts_and_withdrawn_ones_do_not() -> None:
    versions = [
        entry(observation("a", "Patient/p1", meta={"versionId": v}, status=s))
        for v, s in (("2", "entered-in-error"), ("1", "final"))
    ]
    (record,) = read_bundle(bundle("collection", entry(patient()), *versions))
    assert subjects(record) == []
    row = slice_of(record, "Observation")
    assert (row["duplicates"], row["dropped"]) == (1, {"entered-in-error": 1})


def test_what_a_history_deleted_is_gone() -> None:
    deleted = {"request": {"method": "DELETE", "url": "Observation/a"}}
    data = bundle("history", entry(patient()), deleted, entry(observation("a", "Patient/p1")))
    assert subjects(read_bundle(data)[0]) == []
    data = bundle("history", entry(patient()), entry(observation("a", "Patient/p1")), deleted)
    assert len(subjects(read_bundle(data)[0])) == 1  # made again after it was deleted


CLAIMS = [
    ("collection", {}, "complete", "complete"),
    ("transaction", {}, "complete", "complete"),
    ("batch", {}, "complete", "complete"),
    ("searchset", {}, "complete", "unknown"),
    ("history", {}, "complete", "unknown"),
    ("document", {}, "partial", "unknown"),
    ("searchset", {"link": [{"relation": "next", "url": "x"}]}, "partial", "unknown"),
    (
        "searchset",
        {"link": [{"relation": "self", "url": "https://x/Patient/p1/$everything"}]},
        "complete",
        "complete",
    ),
]


@pytest.mark.parametrize(("kind", "more", "present", "absent"), CLAIMS)
def test_each_kind_of_bundle_proves_what_it_can(
    kind: str, more: Resource, present: str, absent: str
) -> None:
    data = bundle(kind, entry(patient()), entry(observation("a", "Patient/p1")), **more)
    (record,) = read_bundle(data)
    assert verdicts(record)["Observation"] == present
    assert verdicts(record)["MedicationRequest"] == absent


def test_a_single_patient_says_nothing_about_the_rest() -> None:
    (record,) = read_bundle(json.dumps(patient()).encode())
    assert verdicts(record)["Patient"] == "complete"
    assert verdicts(record)["Condition"] == "unknown"
    assert slice_of(record, "Condition")["reason"] == "not-in-file"


def test_what_got_lost_on_the_way_makes_slices_partial() -> None:
    data = bundle(
        "collection",
        entry(patient()),
        entry(observation(None, "Patient/p1")),
        entry(observation("b", "#p1")),
        entry(outcome("exception")),
        {"fullUrl": "urn:uuid:x"},
    )
    (record,) = read_bundle(data)
    row = slice_of(record, "Observation")
    assert row["verdict"] == "partial"
    assert row["dropped"] == {
        "no-id": 1,
        "no-resource": 1,
        "server-outcome": 1,
        "subject-unproven": 1,
    }


def test_medications_come_with_the_orders_that_name_them() -> None:
    def order(identity: str, medication: str) -> Resource:
        return {
            "resourceType": "MedicationRequest",
            "id": identity,
            "status": "active",
            "subject": {"reference": "Patient/p1"},
            "medicationReference": {"reference": medication},
        }

    data = bundle(
        "collection",
        entry(patient()),
        entry(order("r1", f"urn:uuid:{UUID_A}")),
        entry({"resourceType": "Medication"}, f"urn:uuid:{UUID_A}"),
        entry({"resourceType": "Medication", "id": "not-ordered"}),
    )
    (record,) = read_bundle(data)
    assert [r["id"] for r in record.resources] == ["p1", "r1", UUID_A]
    (record,) = read_bundle(
        bundle("collection", entry(patient()), entry(order("r1", "Medication/x")))
    )
    assert verdicts(record)["MedicationRequest"] == "partial"


def test_a_conditional_reference_is_left_and_proves_no_subject() -> None:
    data = bundle(
        "transaction", entry(patient()), entry(observation("a", "Patient?identifier=urn:x|1"))
    )
    (record,) = read_bundle(data)
    assert subjects(record) == []
    assert slice_of(record, "Observation")["dropped"] == {"subject-unproven": 1}


def test_a_bare_id_of_two_files_is_not_taken_for_one_person() -> None:
    def base(**who: Any) -> str:
        return read_bundle(bundle("collection", entry(patient("1", **who))))[0].base

    one = [{"system": "urn:mrn", "value": "1"}]
    assert base(birthDate="1970-01-01") != base(birthDate="1980-01-01")
    assert base(identifier=one, birthDate="1970") == base(identifier=one, birthDate="1970-01-01")
    assert base(identifier=one) != base(identifier=[{"system": "urn:mrn", "value": "2"}])


def with_claim(inside: bytes) -> bytes:
    """A record beside a resource of a type that we only count, with this in it."""
    claim = b'{"resource":{"resourceType":"Claim","id":"c1",' + inside + b"}}"
    return bundle("collection", entry(patient())).replace(
        b'"entry": [', b'"entry": [' + claim + b","
    )


REFUSALS = {
    "nothing": (b"", "is empty"),
    "html": (b"<html>", "is not JSON"),
    "cut off": (bundle("collection", entry(patient()))[:-3], "is not JSON"),
    "a list": (b"[]", "not a FHIR resource"),
    "no type": (b'{"id": "Jane Roe"}', "not a FHIR resource"),
    "odd type": (b'{"resourceType": "jane roe 1970"}', "not a FHIR resource"),
    "twice the same key": (b'{"resourceType":"Patient","id":"1","id":"2"}', "same key twice"),
    "a key twice in what is only counted": (with_claim(b'"a":{"b":1,"b":2}'), "same key twice"),
    "a key twice, and its end in a string": (
        with_claim(rb'"a":{"b":1,"b":2},"c":"\u0022:"'),
        "same key twice",
    ),
    "a key twice, and another in a string": (
        with_claim(rb'"a":{"b":1,"b":2},"c":"\":"'),
        "same key twice",
    ),
    "deep in what is only counted": (with_claim(b'"a":' + b"[" * 400 + b"]" * 400), "deeper"),
    "byte order mark": (b"\xef\xbb\xbf{}", "byte order mark"),
    "utf-16": ('{"a":1}'.encode("utf-16"), "byte order mark"),
    "utf-16 without mark": ('{"a":1}'.encode("utf-16-le"), "NUL"),
    "latin-1": ('{"resourceType":"Patient","id":"1","x":"é"}'.encode("latin-1"), "is not JSON"),
    "not a number": (b'{"resourceType":"Patient","id":"1","x":NaN}', "is not JSON"),
    "deep": (b'{"a":' * 100 + b"1" + b"}" * 100, "nested deeper"),
    "very deep": (b"[" * 100_000, "is not JSON"),
    "no patient": (json.dumps(observation("a", "Patient/p1")).encode(), "holds no Patient"),
    "patient without id": (bundle("collection", entry(patient(None))), "Patient without an id"),
    "an answer": (bundle("transaction-response"), "type that holds no record"),
    "bad entries": (b'{"resourceType":"Bundle","type":"collection","entry":[1]}', "malformed"),
    "broken gzip": (gzip.compress(b"{}" * 1000)[:-12], "damaged gzip"),
    "gzip bomb": (gzip.compress(b" " * 50_000_000), "larger than"),
    "two servers": (
        bundle(
            "collection",
            entry(patient("1"), "https://a.example/Patient/1"),
            entry(patient("1"), "https://b.example/Patient/1"),
        ),
        "two servers",
    ),
}


def test_what_is_only_counted_does_not_change_the_record() -> None:
    [beside] = read_bundle(with_claim(rb'"a":{"b":"\":"},"meta":{"tag":[{"code":"\u0022:"}]}'))
    [alone] = read_bundle(bundle("collection", entry(patient())))
    assert beside.resources == alone.resources
    assert beside.out_of_scope == beside.not_read == {"Claim": 1}


@pytest.mark.parametrize(("data", "match"), REFUSALS.values(), ids=REFUSALS.keys())
def test_what_cannot_be_read_is_refused_with_the_next_step(data: bytes, match: str) -> None:
    with pytest.raises(SourceError, match=match) as caught:
        read_bundle(data, cap=10_000_000)
    assert caught.value.next_step
    assert "Roe" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_is_read_packed_or_not_and_missing_ones_are_refused(tmp_path: Path) -> None:
    data = bundle("collection", entry(patient()), entry(observation("a", "Patient/p1")))
    (tmp_path / "plain").write_bytes(data)
    (tmp_path / "packed").write_bytes(gzip.compress(data[:100]) + gzip.compress(data[100:]))
    assert read_bundle(tmp_path / "plain") == read_bundle(tmp_path / "packed")
    with pytest.raises(SourceError, match="cannot be read") as caught:
        read_bundle(tmp_path / "Jane_Roe.json")
    assert "Roe" not in str(caught.value)


@given(st.binary(max_size=200))
def test_no_bytes_whatever_cause_anything_but_a_source_error(data: bytes) -> None:
    with contextlib.suppress(SourceError):
        read_bundle(data)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["resourceType", "id", "subject", "reference", "entry", "resource", "status",
                 "meta", "versionId", "fullUrl", "link", "request", "type", "coding", "code",
                 "issue", "medicationReference", "verificationStatus", "patient", "url"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)  # fmt: skip


@given(st.lists(_JSON, max_size=4), st.sampled_from(["Observation", "Condition", "Patient"]))
def test_no_shape_of_json_causes_anything_but_a_source_error(odd: list[Any], kind: str) -> None:
    shaped = [{"resourceType": kind, "id": "x", **o} if isinstance(o, dict) else o for o in odd]
    entries = [{"resource": patient()}, *({"resource": o} for o in shaped), *odd]
    data = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    with contextlib.suppress(SourceError):
        read_bundle(json.dumps(data).encode())
