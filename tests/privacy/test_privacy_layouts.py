"""What identifies may never depend on whether a line was parsed."""

from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from privacy_generator import MARKER, Generator
from privacy_ordinary import POLICIES, SCOPE, Ordinary, line_of
from support.depth import examples
from support.identifying import undated

from privacy import layouts
from privacy.gate import collect, no_texts
from privacy.layouts import Layout, Layouts, apart, layout_of, split

COMPILED = layouts._apart is not None
KNOWN: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "o1",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6", "display": "systolic"}]},
    "subject": {"reference": "Patient/p1", "display": "Ann Wilmington"},
    "performer": [{"reference": "Practitioner/7", "display": "Dr. Nguyen"}],
    "effectiveDateTime": "2020-01-02T10:00:00Z",
    "note": [{"text": "seen with her sister Ruth"}],
    "valueQuantity": {"value": 148, "unit": "mmHg"},
}


def same(line: bytes) -> Layout | None:
    """What is collected from a line by its layout, if it has one, and by walking through it."""
    parts = apart(line)
    layout = None if parts is None else layout_of(parts[0])
    if parts is not None and layout is not None:
        source, texts = orjson.loads(line), no_texts()
        layout.add([parts[1]], texts)
        walked, laid = collect([source]), collect((), texts)
        assert laid.values == walked.values
        assert laid.references == walked.references
        layout.add([parts[1]], named := no_texts(), days=False)
        assert undated(collect((), named).values) == undated(walked.values)
        assert layout.said([parts[1]]) == {tuple(said_by(source))}
    return layout


def said_by(source: dict[str, Any]) -> list[str]:
    holders = [source.get("subject"), source.get("patient")]
    texts = [holder.get("reference") for holder in holders if type(holder) is dict]
    return [text for text in texts if type(text) is str]


TEXTS = (
    "Ann Wilmington", "DOE^JANE", "1961-07-19", "1961-07-19T10:00:00Z", "Patient/p9", "https://a/b",
    "MRN:77120", "born 1961-07-19 in <b>Lakeside</b>", "", "x", "Fröhlich", "\"a\"\n", "-", "1",
)  # fmt: skip


def refilled(random: Random, line: bytes) -> bytes:
    """Another line with the residue of this one."""
    parts = apart(line)
    if parts is None:
        return line
    texts = iter([random.choice(TEXTS) if type(v) is str else v for v in parts[1]])
    made = [orjson.dumps(next(texts)) if byte in {1, 2} else bytes([byte]) for byte in parts[0]]
    return b"".join(made)


@given(st.integers(0, 10**9), st.sampled_from(SCOPE), st.sampled_from(sorted(POLICIES)))
@settings(max_examples=examples(100))
def test_layouts_and_the_walk_agree_on_resources(seed: int, kind: str, policy: str) -> None:
    random = Random(seed)
    for source in (Ordinary(random, policy).resource(kind), Generator(seed).resource(kind)):
        line = line_of(source)
        for one in (line, refilled(random, line), refilled(random, line)):
            assert same(one) is None or kind != "Patient"


NAMES = st.sampled_from([
    "name", "contact", "address", "subject", "patient", "performer", "display", "text", "code",
    "system", "status", "url", "_url", "reference", "_reference", "id", "__id", "use", "family",
    "valueString", "meta", "extension", "contained", "of a person",
])  # fmt: skip
NODE = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.floats(0, 9) | st.sampled_from(TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(NAMES, NODE), st.randoms(use_true_random=False))
@settings(max_examples=examples(100))
def test_layouts_and_the_walk_agree_on_anything(source: dict[str, Any], random: Random) -> None:
    line = line_of({"resourceType": "Basic", "id": "1", **source})
    for one in (line, refilled(random, line)):
        same(one)


def test_a_line_of_usual_form_has_a_layout() -> None:
    """Without a compiler no line is taken apart."""
    extended = {**KNOWN, "id": "o2", "extension": [{"valueString": "Ruth"}]}
    for source in (KNOWN, extended):
        assert (same(line_of(source)) is not None) is COMPILED


@pytest.mark.parametrize(
    "line",
    [
        line_of({**KNOWN, "resourceType": "Patient"}),
        line_of({**KNOWN, "resourceType": ["Patient"]}),
        line_of({**KNOWN, "resourceType": None}),
        line_of({key: value for key, value in KNOWN.items() if key != "id"}),
        line_of([KNOWN]),
        line_of({**KNOWN, "contact": {"code": "Ruth"}}),  # left in, and identifies
        line_of({**KNOWN, "system": "1961-07-19"}),
        line_of({**KNOWN, "code": {"x": [[[[]]]] * 20}}),
        line_of(KNOWN)[:-1] + b',"id":"o2"}',
        line_of(KNOWN)[:-1] + b',"code":null,"code":true}',
        line_of(KNOWN)[:-1] + b',"code":{"text" :"x","text":"x"}}',
        line_of(KNOWN)[:-1] + b',"code":{"code":":x","text" :1}}',
        line_of(KNOWN)[:-1] + b',"x":null,"a" :1}',
        line_of(KNOWN)[:-1] + b',"a":1.2.3}',
        line_of(KNOWN)[:-1] + b',"a":12 3}',
        line_of(KNOWN)[:-1] + b',"a":NaN}',
        line_of(KNOWN)[:-1] + b',"a":tru1}',
        line_of(KNOWN)[:-1],
        line_of(KNOWN) + b"}",
    ],
)
def test_whatever_is_unusual_has_none(line: bytes) -> None:
    parts = apart(line)
    assert parts is None or layout_of(parts[0]) is None


@given(st.integers(0, 10**9), st.sampled_from(SCOPE))
@settings(max_examples=examples(50))
def test_what_is_remembered_holds_nothing_of_what_it_was_learned_from(seed: int, kind: str) -> None:
    memory = Layouts()
    source = Generator(seed).resource(kind) | {f"{MARKER} as a name": f"{MARKER} below it"}
    parts = apart(line_of(source))
    if parts is not None:
        found = memory.of(parts[0], repeats=True)
        assert MARKER not in repr((found, memory.__dict__))


def test_memory_is_bounded_and_learns_what_is_met_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "LAYOUTS", 3)
    memory = Layouts()
    for code in map(str, range(9)):
        residue = b'{"resourceType":"Basic","id":\x01,"code":{"code":"%b"}}' % code.encode()
        assert memory.of(residue, repeats=False) is None
        known = memory.of(residue, repeats=False)
        assert known is not None
        assert memory.of(residue, repeats=False) is known
    assert len(memory._known) <= 3
    assert len(memory._met) <= 3


# Bundles in pieces --------------------------------------------------------------------------------


@given(st.binary() | st.text(alphabet='{}[]",:\\ entrysouc').map(str.encode))
@settings(max_examples=examples(250))
def test_pieces_are_the_whole_whatever_is_given(body: bytes) -> None:
    pieces = split(body)
    assert pieces is None or b"".join(pieces) == body
    assert pieces is None or all(one[:1] == b"{" for one in pieces[1::2])


@given(st.integers(0, 10**9))
@settings(max_examples=examples(250))
def test_pieces_of_something_that_was_tampered_with(seed: int) -> None:
    random = Random(seed)
    entries = [{"fullUrl": "x", "resource": KNOWN}, {"resource": {"a": '\\"}{'}}]
    body = bytearray(line_of({"resourceType": "Bundle", "entry": entries}))
    assert not COMPILED or len(split(bytes(body)) or ()) == 5
    for _ in range(random.randrange(1, 4)):
        body[random.randrange(len(body))] = random.choice(b'{}[]",:\\ a\x00\xff')
    whole = bytes(body[: random.randrange(len(body) + 1)] if random.random() < 0.3 else body)
    pieces = split(whole)
    assert pieces is None or b"".join(pieces) == whole


def test_only_what_stands_where_resources_of_entries_stand_is_cut_out() -> None:
    bodies = {
        b'{"entry":[{"resource":{"id":"1"}}]}': 1,
        b'{"entry":[{"resource":{"resource":{"a":"}"}}},{"resource":{"b":"\\\\\\"}"}}]}': 2,
        b'{"entry":[{"x":{"resource":{}}}],"resource":{}}': 0,
        b'{"entry":[{"resource":[{}]},{"resource":"{}"}]}': 0,
    }
    for body, resources in bodies.items():
        assert not COMPILED or len((split(body) or [])[1::2]) == resources


@pytest.mark.parametrize(
    "body",
    [
        b'{"entry": [{"resource":{}}]}',
        b'{"entry":[{"res\\u006furce":{}}]}',
        b'{"entry":[{"resource":{}}]}\n',
        b'{"entry":[{"resource":{',
        b'{"entry":[{"resource":{"a":"}}]}',
        b'{"entry":[{"resource":{"a":' + b"[" * 65 + b"]" * 65 + b"}}]}",
        b"[" * 70,
        b"]",
        b'"',
        b'"\\',
    ],
)
def test_a_bundle_that_is_unusual_outside_of_resources_is_for_the_parser(body: bytes) -> None:
    assert split(body) is None
