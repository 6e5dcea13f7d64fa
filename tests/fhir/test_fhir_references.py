"""References are made plain; where none has to be, that is seen in the bytes."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.depth import examples

from service.fhir.references import Rewriter

BASE = "https://ehr.example/fhir"
PLAIN = ["Patient/1", "urn:uuid:1", "#contained", "", "https://other.example/fhir/Patient/1", "é"]
OTHER = [f"{BASE}/Patient/1", "Patient/1/_history/2", " Patient/1", f"{BASE}/Patient/1/_history/3"]


def changed(body: bytes) -> bool:
    """The plain way: by making them so."""
    resource = orjson.loads(body)
    Rewriter([BASE])(resource)
    return bool(resource != orjson.loads(body))


@pytest.mark.parametrize("text", PLAIN)
def test_what_stays_is_seen_in_the_bytes(text: str) -> None:
    for body in (orjson.dumps({"a": [{"reference": text}]}), b'{"reference" :\n "Patient/1"}'):
        assert Rewriter([BASE]).leaves(body)
        assert not changed(body)


@pytest.mark.parametrize("text", OTHER)
def test_what_changes_is_seen_too(text: str) -> None:
    body = orjson.dumps({"a": {"reference": "Patient/1"}, "b": [{"reference": text}]})
    assert changed(body)
    assert not Rewriter([BASE]).leaves(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"\\u0072eference":"https://ehr.example/fhir/Patient/1"}',
        b'{"reference":"https:\\/\\/ehr.example\\/fhir\\/Patient\\/1"}',
        b'{"a\\"reference":1,"b":{"reference":"https:\\/\\/ehr.example\\/fhir\\/Patient\\/1"}}',
        b'{"a":"reference","b":{"reference":"https:\\/\\/ehr.example\\/fhir\\/Patient\\/1"}}',
    ],
)
def test_what_is_spelled_otherwise_is_not_overlooked(body: bytes) -> None:
    assert changed(body)
    assert not Rewriter([BASE]).leaves(body)


TEXTS = st.sampled_from([*PLAIN, *OTHER, "reference", '"reference":"', "\\", "\n"])
NAMES = st.sampled_from(["reference", "subject", 'x"reference', "display"])
TREES = st.recursive(
    TEXTS | st.none() | st.integers(0, 9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=examples(200))
@given(TREES, st.booleans(), st.sampled_from([None, 1]))
def test_what_is_left_would_not_have_changed(tree: Any, ascii: bool, indent: int | None) -> None:
    body = json.dumps({"tree": tree}, ensure_ascii=ascii, indent=indent).encode()
    assert not (Rewriter([BASE]).leaves(body) and changed(body))
