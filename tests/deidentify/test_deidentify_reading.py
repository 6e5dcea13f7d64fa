"""A Bundle read with what identifies in it: the same as reading first and collecting then."""

import json
import re
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.depth import examples
from support.identifying import undated

from privacy import layouts
from privacy.forms import Apart
from privacy.gate import collect_identifiers
from service.deidentify.people import by_owner
from service.deidentify.reading import Reading, read_line, read_lines, resources_of
from service.fhir.errors import SourceError
from service.fhir.source import parsed

Json = dict[str, Any]

COMPILED = layouts._apart is not None
BASE = "https://ehr.example.org/fhir/"
PATIENT: Json = {"resourceType": "Patient", "id": "p1", "name": [{"family": "Wilmington"}]}


def _observation(**more: Any) -> Json:
    return {"resourceType": "Observation", "id": "o1", "subject": _to("Patient/p1"), **more}


def _to(text: Any, **more: Any) -> Json:
    return {"reference": text, **more}


def _bundle(*resources: Any, **more: Any) -> Json:
    entries = [{"fullUrl": f"{BASE}{i}", "resource": one} for i, one in enumerate(resources)]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries, **more}


def _same(data: bytes) -> Reading | None:
    """Read both ways. None where both refuse it, saying the same."""
    try:
        plain = parsed(data)
        resources = resources_of(plain.value, plain.referring)
    except SourceError as error:
        with pytest.raises(SourceError, match=re.escape(str(error))):
            Reading(data).resources()
        return None
    for _ in range(3):  # the like of it is read for the first time, is learned, is known
        reading = Reading(data)
        _agrees(reading, resources)
    return reading


def _agrees(reading: Reading, resources: list[Any]) -> None:
    found = [orjson.loads(r.line) if type(r) is Apart else r for r in reading.resources()]
    assert found == resources
    if reading.identifying is not None:
        own = by_owner(resources).items()
        collected = {who: undated(values) for who, values in reading.identifying.items()}
        assert collected == {who: undated(collect_identifiers(some)) for who, some in own}


@pytest.mark.parametrize(
    "bundle",
    [
        _bundle(PATIENT, _observation()),
        _bundle(PATIENT, {**PATIENT, "id": "p2"}, _observation(note=[{"text": "of Wilmington"}])),
        _bundle(PATIENT, _observation(performer=[_to("Practitioner/1", display="Dr. Nguyen")])),
        _bundle(PATIENT, _observation(x=[[["Wilmington"]], [[{"name": [["Ann"]]}]]])),
        _bundle(_observation(subject=_to(["Patient/p1"])), link=[{"url": BASE}]),
    ],
)
def test_what_identifies_is_collected_on_the_way(bundle: Json) -> None:
    reading = _same(orjson.dumps(bundle))
    assert reading is not None
    assert reading.identifying is not None


@pytest.mark.parametrize(
    "bundle",
    [
        PATIENT,
        {"resourceType": "Bundle", "type": "collection"},
        _bundle(),
        _bundle(PATIENT, "no resource"),
        _bundle(PATIENT, {"resourceType": "Observation", "subject": _to("Patient/p1")}),
        {**_bundle(PATIENT), "entry": [{"fullUrl": "urn:uuid:1", "resource": PATIENT}]},
        _bundle(PATIENT, _observation(subject=_to(f"{BASE}0"))),
        _bundle(PATIENT, _observation(derivedFrom=[_to(f"{BASE}1/_history/7")])),
        _bundle(PATIENT, _observation(name={"reference": f"{BASE}0"})),
    ],
)
def test_where_references_or_ids_have_yet_to_be_made_it_is_collected_later(bundle: Json) -> None:
    reading = _same(orjson.dumps(bundle))
    assert reading is not None
    assert reading.identifying is None


_GOOD = json.dumps(_bundle(PATIENT, _observation(component=[{"code": {"text": "x"}}])))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"family": "Wilmington"', '"family": "Wilmington", "family": "W"'),
        ('"text": "x"', '"text": "x", "text": "x"'),
        ('"id": "o1"', '"id": "o1", "id": "o1"'),
        ('"resource": {', '"resource": {}, "resource": {'),
        ('"type": "collection"', '"type": "collection", "type": "batch"'),
        # A key lost, and a key more: of a list in a list nothing is counted that is not there.
        ('"text": "x"', '"y": [[["z"]]], "text": "x", "text": "x"'),
        # The end of a key in a string, to make up for one that is lost.
        ('"text": "x"', r'"text": "a\": b", "text": "x"'),
        ('"text": "x"', r'"text": "a\":b", "text": "x"'),
        ('"text": "x"', '"text" : "x", "text": "x"'),
    ],
)
def test_a_key_that_parsing_loses_is_noticed_wherever_it_stands(before: str, after: str) -> None:
    text = _GOOD.replace(before, after, 1)
    assert text != _GOOD
    for data in (text, text.replace(": ", ":").replace(", ", ",")):
        with pytest.raises(SourceError, match="same key twice"):
            Reading(data.encode())
        assert _same(data.encode()) is None


_ENTRY_OF_MANY = (
    _observation(note=[{"text": "of Wilmington"}], effectiveDateTime="2020-01-02"),
    _observation(subject=_to("Patient/p2"), performer=[_to("Practitioner/1", display="Dr. Who")]),
    {"resourceType": "Practitioner", "id": "1", "name": [{"family": "Who"}], "active": True},
    {"resourceType": "Immunization", "id": "1", "patient": _to("Patient/p1"), "lotNumber": "L 1"},
    {"resourceType": "Encounter", "id": "1", "text": {"div": '<div x="y">Ann</div>'}},
)


def _many() -> list[Json]:
    """Of each form some, of one of them of two patients."""
    more = [{**one, "id": f"{one['id']}-{i}"} for i in range(3) for one in _ENTRY_OF_MANY]
    return [PATIENT, *more, _observation(subject=_to("Patient/p2"), note=[{"text": "Mr. Wil"}] * 2)]


def test_what_is_known_is_not_parsed() -> None:
    reading = _same(orjson.dumps(_bundle(*_many())))
    assert reading is not None
    assert reading.identifying is not None
    parsed_ones = [one for one in reading.resources() if type(one) is not Apart]
    assert not COMPILED or [one["resourceType"] for one in parsed_ones] == ["Patient"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"id":"o1-1"', '"id":"o1-1","id":"o1-1"'),
        ('"id":"o1-1"', '"id":"o1-1","note":null,"note":1'),
        ('"id":"o1-1"', '"id":"o1-\xff"'),
        ('"id":"o1-1"', r'"id":"o1-\ud800"'),
        ('"id":"o1-1"', '"id":"o1-1",'),
        ('"id":"o1-1"', '"id":"o1-1"]'),
        ('"id":"o1-1"', '"id":"o1\x00"'),
        ('"id":"o1-1"', '"id":"o1\t"'),
        ('"id":"o1-1"', r'"id":"o1\t"'),
        ('"id":"o1-1"', '"no":"o1-1"'),
        ('"id":"o1-1"', '"id":"o1-1","extension":' + "[" * 61 + "]" * 61),
        ("Practitioner/1", f"{BASE}3"),
        (f"{BASE}3", "urn:uuid:3"),
        (f'"fullUrl":"{BASE}3",', ""),
        (f'"fullUrl":"{BASE}3",', '"search":{"mode":"match"},'),
        (f'"fullUrl":"{BASE}3",', '"resource":null,'),
        (f'"fullUrl":"{BASE}3",', '"resource":{},'),
        (f'"fullUrl":"{BASE}3",', '"x":[{"resource":{}}],'),
        ('"type":"collection"', '"type":"collection","link":[{"resource":{}}]'),
        ('"type":"collection"', '"type":"collection","entry":[{"resource":{}}]'),
        ('"type":"collection"', '"type":"collection","x":1.50'),
        ('"type":"collection"', '"type": "collection"'),
        ('"resourceType":"Bundle"', '"resourceType":"List"'),
        ('{"resourceType":"Bundle"', '\ufeff{"resourceType":"Bundle"'),
    ],
)
def test_of_many_entries_one_may_be_otherwise(before: str, after: str) -> None:
    text = orjson.dumps(_bundle(*_many())).decode()
    _same(text.encode())
    assert before in text
    changed = text.replace(before, after, 1).encode(
        "latin-1" if after.endswith('\xff"') else "utf-8"
    )
    _same(changed)


def test_lines_in_memory_are_read_with_what_identifies_and_known_ones_not_parsed() -> None:
    lines = [orjson.dumps(one) for one in _many()]
    lines += [b"{", b"", b"null", b"[]", lines[1].replace(b'"id":', b'"id":"x","id":'), b'{"a":1}']
    lines += [orjson.dumps(_observation(id=None)), lines[1].replace(b"i", b"\\u0069"), b"7"]
    resources = list(map(read_line, lines))
    own = by_owner(resources).items()
    identifying = {who: undated(collect_identifiers(some)) for who, some in own}
    for _ in range(3):  # the like of it is read for the first time, is learned, is known
        found, collected = read_lines(lines)
        assert [read_line(one.line) if type(one) is Apart else one for one in found] == resources
        assert {who: undated(values) for who, values in collected.items()} == identifying
    assert sum(type(one) is Apart for one in found) == (len(_many()) if COMPILED else 0)


@pytest.mark.parametrize("deep", [59, 60, 61, 62, 120, 240])
@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"name": inner}])
def test_what_is_too_deep_is_refused_at_the_same_depth(deep: int, wrap: Any) -> None:
    inner: Any = "x"
    for _ in range(deep):
        inner = wrap(inner)
    reading = _same(orjson.dumps(_bundle(PATIENT, _observation(extension=inner))))
    assert (reading is None) == (deep > 60)


_LEAF = st.sampled_from(
    [None, True, 7, "Ann", "Patient/p1", f"{BASE}0", "urn:uuid:1", '":', "2020-01-02", "x: y"]
)
_NODE = st.recursive(
    _LEAF,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "name", "subject", "reference", "display", "resource"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
_KEYS = {"id": _NODE, "name": _NODE, "subject": _NODE | _LEAF.map(_to), "resourceType": _LEAF}
_RESOURCE = st.fixed_dictionaries({}, optional=_KEYS) | _NODE
_ENTRY = st.fixed_dictionaries(
    {"resource": _RESOURCE}, optional={"fullUrl": _LEAF, "search": _NODE}
)


@given(st.lists(_ENTRY | _NODE, max_size=4), _NODE, st.booleans())
@settings(max_examples=examples(150))
def test_both_ways_of_reading_agree_on_any_bundle(entries: Any, more: Any, packed: bool) -> None:
    bundle = {"resourceType": "Bundle", "entry": entries, "more": more}
    separators = (",", ":") if packed else None
    _same(json.dumps(bundle, separators=separators).encode())
