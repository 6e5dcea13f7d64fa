"""What was pulled, as bytes: it says the same, in little memory, and the newest version counts."""

from typing import Any

import pytest
from fhir_servers import ScriptedServer, bundle, client_for, fhir, observations
from hypothesis import given, settings
from hypothesis import strategies as st
from support.depth import examples

from service.fhir.packed import Packed, Packer, Shelf, only
from service.fhir.pull import pull_patient

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def observation(identity: str, version: str = "1", **elements: Any) -> dict[str, Any]:
    return next(observations("p1", identity, meta={"versionId": version}, **elements))


@settings(max_examples=examples(50))
@given(st.lists(st.dictionaries(TEXT, JSON, max_size=5), min_size=1, max_size=6), st.booleans())
def test_what_is_packed_comes_back(contents: list[dict[str, Any]], plain: bool) -> None:
    packer = Packer(1 << 20 if plain else 0)
    resources = [content | {"resourceType": "Observation"} for content in contents]
    packed = Packed(packer, [packer.pack(resource) for resource in resources])
    assert list(packed) == resources
    assert [packed[i] for i in range(len(packed))] == resources
    assert list(packed[1:]) == resources[1:]


def test_what_is_at_hand_parsed_is_given_once() -> None:
    packer, first, second = Packer(), observation("a"), observation("b")
    items = [packer.pack(first), packer.pack(second)]
    packed = Packed(packer, items, {items[0]: first})
    given = [*packed[:1], *packed.without(items[:1])]
    assert given[0] is first
    first["id"] = "changed"
    assert [r["id"] for r in packed] == ["a", "b"] == [packed[i]["id"] for i in range(2)]


def test_each_type_is_packed_with_a_sample_of_its_own() -> None:
    packer = Packer(0)
    long = {"resourceType": "Observation", "note": [{"text": "the same again and again"}] * 3}
    packer.pack(long)
    packer.pack({"resourceType": "Condition"})
    again = packer.pack(long)
    assert len(again) < 30
    assert packer.unpack(again) == long


def test_of_several_versions_the_newest_is_kept_in_whatever_order_they_come() -> None:
    for order in ("1", "2", "3"), ("3", "1", "2"), ("2", "3", "1"):
        shelf = Shelf(packer := Packer(0))
        for version in order:
            assert shelf.is_new(observation("a", version))
            shelf.keep(observation("a", version))
        assert not any(shelf.is_new(observation("a", version)) for version in order)
        assert shelf.is_new(observation("a", "4"))
        (kept,) = Packed(packer, shelf.packed())
        assert (kept["meta"]["versionId"], shelf.superseded) == ("3", 2)


def test_what_came_and_is_not_kept_is_remembered() -> None:
    shelf = Shelf(Packer())
    shelf.note(observation("a"))
    assert (shelf.met("a"), "a" in shelf, shelf.packed()) == (True, False, [])
    assert not shelf.is_new(observation("a"))
    assert shelf.is_new(observation("a", "2"))


def test_only_some_stay_packed() -> None:
    packer = Packer(0)
    packed = Packed(packer, [packer.pack(observation(i)) for i in "abc"])
    fewer = only(packed, lambda resource: resource["id"] != "b")
    assert isinstance(fewer, Packed)
    assert [r["id"] for r in fewer] == ["a", "c"]


def nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(depth):
        inner = {"extension": [inner]}
    return inner


def test_a_resource_nested_beyond_reason_is_counted_and_the_slice_not_complete(
    scripted: ScriptedServer,
) -> None:
    scripted.patient("p1")
    deep = observation("deep") | nested(200)
    scripted.on("Observation", fhir(bundle(observation("a"), deep)))
    with client_for(scripted.base) as client:
        pulled = pull_patient(client, "p1", ["Observation"])
    row = next(s for s in pulled.completeness["slices"] if s["type"] == "Observation")
    assert (row["verdict"], row["dropped"], row["matches"]) == ("partial", {"unreadable": 1}, 2)
    assert [r["id"] for r in pulled.resources] == ["p1", "a"]


def test_a_patient_nested_beyond_reason_is_no_fhir(scripted: ScriptedServer) -> None:
    scripted.patient("p1", **nested(200))
    with client_for(scripted.base) as client, pytest.raises(Exception, match="not the FHIR JSON"):
        pull_patient(client, "p1", ["Observation"])
