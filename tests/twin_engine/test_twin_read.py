"""Bytes in: a twin, or one clear sentence why not."""

import json
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.depth import examples
from support.twins import everything, twin
from support.twins_example import example

from twin_engine.document import (
    DocumentError,
    Twin,
    affected,
    clinical_digest,
    diff,
    digest,
    dump,
    read,
    read_own,
)

DOCUMENT = twin(everything())
PAYLOAD = dump(DOCUMENT)


def changed(*path: Any, to: Any) -> bytes:
    document = orjson.loads(PAYLOAD)
    node = document
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = to
    return dump(document)


def test_a_twin_knows_its_bytes_and_its_heading() -> None:
    found = read(PAYLOAD)
    assert found.document == DOCUMENT
    assert found.payload == PAYLOAD
    assert found.digest == digest(PAYLOAD)
    assert (found.version, found.parent, found.now) == (1, None, 812)
    assert found.state.sex == "female"


@pytest.mark.parametrize("document", [DOCUMENT, example()], ids=["everything", "example"])
def test_what_was_just_written_is_read_as_by_anybody_else(document: dict[str, Any]) -> None:
    ours, theirs = read_own(dump(document)), read(dump(document))
    assert (ours.document, ours.payload) == (theirs.document, theirs.payload)
    assert ours.digest == theirs.digest


def test_positions_are_looked_at_also_in_what_was_just_written() -> None:
    with pytest.raises(DocumentError, match="names a source that is not listed"):
        read_own(changed("subject", "src", to=10_000))


def test_the_digest_is_of_the_bytes_as_they_came() -> None:
    """Another writer may space its JSON otherwise: its bytes are what was signed."""
    spaced = json.dumps(DOCUMENT, indent=1).encode()
    assert read(spaced).document == DOCUMENT
    assert read(spaced).digest == digest(spaced) != digest(PAYLOAD)


@pytest.mark.parametrize("often", [0.5, 1.5, 2.0, 3])
def test_what_is_taken_every_other_day_is_read_back(often: float) -> None:
    mapped = everything()
    taken = mapped.medications[0]._replace(times_per_day=often)
    document = twin(mapped._replace(medications=(taken,)))
    assert read(dump(document)).document["medications"][0]["timesPerDay"] == often
    with pytest.raises(DocumentError, match="medications writes a whole number with a fraction"):
        read(changed("medications", 0, "timesPerDay", to=float(round(often) or 1)))


def test_a_later_version_of_the_format_is_refused_with_a_next_step() -> None:
    with pytest.raises(DocumentError, match=r"version 2 document .* up to version 1; update"):
        read(changed("twin", "schema", to=2))


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        (b"", "not JSON at byte 0"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "the outermost value is not an object"),
        (b"{}", "twin/schema is missing"),
        (b'{"twin": 1}', "twin/schema is missing"),
        (b'{"twin": {"schema": true}}', "twin/schema is missing"),
        (b'{"twin": {"schema": 0}}', "breaks the schema"),
        (b'{"twin": {"schema": 1, "now": NaN}}', "not JSON"),
        (b'{"twin": {"schema": 1, "now": 1e999}}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (PAYLOAD + b"x", "not JSON"),
    ],
)
def test_what_is_not_a_twin_is_refused(payload: bytes, sentence: str) -> None:
    with pytest.raises(DocumentError, match=sentence):
        read(payload)


def test_a_repeated_key_is_refused() -> None:
    twice = PAYLOAD.replace(b'"sex":"female"', b'"sex":"male","sex":"female"')
    with pytest.raises(DocumentError, match="repeats a key"):
        read(twice)


def test_a_document_larger_than_allowed_is_not_even_parsed() -> None:
    with pytest.raises(DocumentError, match="at most 10 are read"):
        read(b"x" * 11, largest=10)


@pytest.mark.parametrize(
    ("path", "to", "sentence"),
    [
        (("signals", "systolic-bp", "t"), [801], "columns of different lengths"),
        (("signals", "systolic-bp", "t"), [810, 801], "not in the order of time"),
        (("signals", "systolic-bp", "src"), [0, 99], "names a source that is not listed"),
        (("signals", "systolic-bp", "status"), {"2": "final"}, "a position it does not have"),
        (("coded", "smoking-status", "src"), [99], "names a source that is not listed"),
        (("conditions", 0, "src"), 99, "names a source that is not listed"),
        (("quality", "setAside", 0, "src"), 99, "names a source that is not listed"),
        (("twin", "now"), 812.0, "writes a whole number with a fraction"),
        (("subject", "age"), 54.0, "writes a whole number with a fraction"),
        (("conditions", 0, "onset"), -400.0, "writes a whole number with a fraction"),
        (("signals", "systolic-bp", "t"), [801, 810.0], "writes a whole number with a fraction"),
        (("signals", "systolic-bp", "src"), [7, 9.0], "writes a whole number with a fraction"),
        (("subject", "src"), 99, "names a source that is not listed"),
        (("imaging", 0, "measurements", 0, "src"), 99, "names a source that is not listed"),
        (("imaging", 0, "series", 0, "read"), 3.0, "writes a whole number with a fraction"),
        (("sources", 0, "ids"), DOCUMENT["sources"][1]["ids"], "names a pseudonym twice"),
    ],
)
def test_positions_that_lead_nowhere_are_refused(path: Any, to: Any, sentence: str) -> None:
    with pytest.raises(DocumentError, match=sentence):
        read(changed(*path, to=to))


# -- whatever is read can be used ------------------------------------------------------------------

EXAMPLE = dump(example())


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(node, dict | list):
        for step, inner in node.items() if isinstance(node, dict) else enumerate(node):
            yield from places(inner, (*path, step))


PLACES = [path for path in places(orjson.loads(EXAMPLE)) if path]
SMALL = st.integers(-3, 40) | st.floats(-3, 40) | st.sampled_from(["<", "final", "1", "d"])
VALUES = SMALL | st.none() | st.booleans() | st.lists(SMALL, max_size=3)


def use(twin: Twin) -> None:
    """Everything that is done with a document that somebody hands in."""
    for concept in twin.document["signals"]:
        twin.state.latest(concept, 100)
        twin.state.usual(concept, 100)
    twin.state.coded("smoking-status", 100)
    twin.state.condition("hypertension")
    twin.state.medication("insulin")
    twin.state.procedure("dialysis")
    clinical_digest(twin.document)
    diff(twin.document, example())
    affected(twin.document, example())


@settings(max_examples=examples(300))
@given(st.sampled_from(PLACES), VALUES, st.booleans())
def test_a_document_with_a_part_changed_or_removed_is_refused_or_can_be_used(
    path: tuple[Any, ...], value: Any, remove: bool
) -> None:
    document = orjson.loads(EXAMPLE)
    node = document
    for step in path[:-1]:
        node = node[step]
    if remove:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    try:
        found = read(dump(document))
    except DocumentError:
        return
    use(found)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_twin_or_refused(payload: bytes) -> None:
    with pytest.raises(DocumentError):
        read(payload)


@given(st.integers(0, len(PAYLOAD) - 1), st.integers(0, 255))
def test_one_changed_byte_is_read_as_changed_or_refused(position: int, value: int) -> None:
    broken = PAYLOAD[:position] + bytes([value]) + PAYLOAD[position + 1 :]
    try:
        found = read(broken)
    except DocumentError:
        return
    assert (found.digest == digest(PAYLOAD)) == (broken == PAYLOAD)


def test_a_document_older_than_a_part_that_may_be_absent_is_read() -> None:
    """Vaccines came to version 1 later: a twin without any is what it was before."""
    made = twin(everything()._replace(immunizations=()))
    assert "immunizations" not in made
    found = read(dump(made))
    assert found.state.immunization("influenza").value is False
    assert diff(found.document, twin(everything())).added
