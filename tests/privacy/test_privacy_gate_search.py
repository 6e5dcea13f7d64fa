"""The quick search finds what the plain one finds, no less and no more, wherever it is planted."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from random import Random
from typing import Any
from urllib.parse import quote

import privacy_gate_plain as plain
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from privacy_generator import Generator
from support.depth import examples

from privacy.elements import IN_SCOPE
from privacy.gate import (
    Growing,
    IdentifyingValues,
    Searcher,
    check,
    collect,
    collect_identifiers,
)

Json = dict[str, Any]

HIDING: dict[str, Callable[[bytes], str]] = {
    "as it is": lambda raw: raw.decode("utf-8", "replace"),
    "base64": lambda raw: base64.b64encode(raw).decode(),
    "base64, open": lambda raw: base64.b64encode(raw).decode().rstrip("="),
    "base64 for URLs": lambda raw: base64.urlsafe_b64encode(raw).decode(),
    "base64, second": lambda raw: base64.b64encode(b"\xfb" + raw + b"\xff").decode(),
    "base64, third": lambda raw: base64.urlsafe_b64encode(b"\xfb\x01" + raw + b"\xfe").decode(),
    "hexadecimal": lambda raw: raw.hex(),
    "HEXADECIMAL": lambda raw: raw.hex().upper(),
    "percent": lambda raw: quote(raw, safe=""),
    "md5": lambda raw: hashlib.md5(raw, usedforsecurity=False).hexdigest(),
    "sha1": lambda raw: hashlib.sha1(raw, usedforsecurity=False).hexdigest(),
    "sha256": lambda raw: hashlib.sha256(raw).hexdigest(),
    "digest": lambda raw: "sha256:" + hashlib.sha256(raw).hexdigest(),
}
DIGITS = "[0-9a-f]{64}"
_OWN = re.compile("name|identifier")
CASES: list[Callable[[str], str]] = [str, str.lower, str.upper, str.capitalize]

_TEXT = st.text(st.sampled_from("abcXYZ019-_./: üßéŒıŽ²٣\u0301\ud800"), min_size=1, max_size=24)
_DIGITS = st.text(st.sampled_from("0123456789"), min_size=4, max_size=18)
_VALUE = st.one_of(
    _TEXT,
    _DIGITS,
    st.text(min_size=1, max_size=70),
    st.dates().map(str),
    st.sampled_from(["Müller-Lüdenscheidt", "Ann", "(617) 555-0142", "MRN-0048151623", "01887"]),
    # long enough for an encoding to look like a digest
    st.text(st.sampled_from("ijkmnou"), min_size=32, max_size=32),
    st.text(st.sampled_from("km\u05d9"), min_size=24, max_size=49),
)
_AROUND = st.sampled_from(
    ["", "", "x", "Zg", "abc", "0", "00", "-", " ", "%4", "%", "f", "ü", "=="]
)


def _place(value: str, where: int) -> Json:
    """A resource that holds the value where it identifies."""
    return [
        {"identifier": [{"value": value}]},
        {"name": [{"family": value, "given": [value]}]},
        {"address": [{"line": [value], "city": value}]},
        {"subject": {"reference": f"Patient/{value}", "display": value}},
        {"text": {"div": f"<div>{value} was seen today</div>"}, "id": value},
        {"birthDate": value, "performer": [{"display": value}]},
        {"contact": {"relationship": [{"text": value}]}},
        {"_name": {"extension": [{"valueString": value}]}, "uid": value},
    ][where]


def _sources(values: list[str], seed: int) -> list[Json]:
    rng = Random(seed)
    return [_place(value, rng.randrange(8)) for value in values]


@st.composite
def _planted(draw: st.DrawFn, values: list[str]) -> str:
    """A value or a part of one, hidden, between other characters."""
    value = draw(st.sampled_from(values))
    start = draw(st.sampled_from([0, 0, 0, 1]))
    end = draw(st.sampled_from([None, None, None, -1]))
    part = draw(st.sampled_from(CASES))(value[start:end][:: draw(st.sampled_from([1, 1, 1, -1]))])
    if draw(st.booleans()):
        part = plain.squash(part)
    hidden = HIDING[draw(st.sampled_from(sorted(HIDING)))](part.encode("utf-8", "surrogatepass"))
    whole = draw(_AROUND) + hidden + draw(_AROUND)
    return draw(st.sampled_from(["{}", "{}", "sha256:{}"])).format(whole)


@st.composite
def _numbers(draw: st.DrawFn, values: list[str]) -> str:
    """A number as JSON may write it, of the digits of a value where it has any."""
    digits = "".join(c for c in draw(st.sampled_from(values)) if c in "0123456789") or "20394857"
    digits = (digits[::-1] if draw(st.booleans()) else digits).lstrip("0") or "7"
    form = draw(st.sampled_from(["{}", "-{}", "{}.0", "{}.25", "{}e0", "{}E+1", "{}0e-1", "1{}"]))
    return form.format(digits)


@st.composite
def _documents(draw: st.DrawFn, values: list[str]) -> bytes:
    """Strings, names and numbers at several depths; each place has a name of its own."""
    strings = draw(st.lists(_planted(values), min_size=1, max_size=4))
    tree: Json = {f"s{i}": [{"deep": [text]}] if i % 2 else text for i, text in enumerate(strings)}
    tree["names"] = {draw(_planted(values)): {"under": True, "no": None}}
    tree["same"] = [draw(st.sampled_from(strings)), "final", "final"]
    text = json.dumps(tree)
    if draw(st.booleans()) and "\\ud800" not in text:
        # as we write it
        text = json.dumps(tree, ensure_ascii=False, separators=(",", ":"))
    numbers = draw(st.lists(_numbers(values), max_size=3))
    written = "".join(f',"n{i}":[{number},812]' for i, number in enumerate(numbers))
    return (text[:-1] + written + "}").encode()


def _places(document: bytes, values: IdentifyingValues, allowed: set[str]) -> set[str]:
    """Where the quick search hits; names that are not shown say as little in both."""
    return {_first(hit.path) for hit in check(document, values, allowed).hits}


def _first(path: str) -> str:
    return path.partition(".")[0]


@given(st.data(), st.lists(_VALUE, min_size=1, max_size=4), st.integers(0, 10**6))
@settings(max_examples=examples(500))
def test_both_searches_hit_in_the_same_places(
    data: st.DataObject, values: list[str], seed: int
) -> None:
    sources = _sources(values, seed)
    collected = collect_identifiers(sources)
    document = data.draw(_documents(values))
    strings = [text for text in json.loads(document).values() if isinstance(text, str)]
    allowed = set(data.draw(st.lists(st.sampled_from([*strings, "final"]), max_size=1)))
    expected = {_first(path) for path in plain.hits(document, collected, allowed)}
    assert _places(document, collected, allowed) == expected
    growing = Growing()
    for source in sources:
        growing.add(collect_identifiers([source]))
    assert growing.values == collected
    bit_by_bit = check(document, growing.values, allowed, growing.known)
    assert bit_by_bit == check(document, collected, allowed)


@given(st.data(), st.lists(_VALUE, min_size=1, max_size=4), st.integers(0, 10**6))
@settings(max_examples=examples(200))
def test_a_search_of_all_finds_what_a_check_of_each_finds(
    data: st.DataObject, values: list[str], seed: int
) -> None:
    """Dates apart, whichever of the documents it stands in, before it is remembered and after."""
    collected = collect_identifiers(_sources(values, seed))
    undated = IdentifyingValues(collected.words, collected.codes)
    search = Searcher(collected, {"final"})
    documents = data.draw(st.lists(_documents(values), min_size=1, max_size=4))
    for some in (documents, documents[:1], documents[::-1]):
        found = search.search(some)
        checked = [check(document, undated, {"final"}).hits for document in some]
        wanted = [any(_OWN.match(hit.rule) for hit in hits) for hits in checked]
        assert [found.stands_in(document) for document in some] == wanted
        assert bool(found) == any(wanted)


@given(st.lists(_VALUE, min_size=1, max_size=5), st.integers(0, 10**6))
@settings(max_examples=examples(200))
def test_both_collect_the_same_values(values: list[str], seed: int) -> None:
    sources = _sources(values, seed)
    assert collect_identifiers(sources) == plain.collect(sources)


@pytest.mark.parametrize("seed", range(64))
def test_both_collect_the_same_values_of_any_resource(seed: int) -> None:
    source = Generator(seed).resource(sorted(IN_SCOPE)[seed % len(IN_SCOPE)])
    assert collect_identifiers([source]) == plain.collect([source])


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | _VALUE,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "_name", "contact", "subject", "display", "value", "url", "reference",
                 "text", "div", "period", "location", "id", "code", "valueString", "__x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)  # fmt: skip


@given(_ANY)
@settings(max_examples=examples(300))
def test_nothing_is_overlooked_in_a_source_of_any_shape(source: Any) -> None:
    """Strings in lists of lists, which FHIR does not have, the plain way passes over."""
    quick, slow = collect_identifiers([source]), plain.collect([source])
    assert slow.words <= quick.words
    assert slow.codes <= quick.codes
    assert slow.dates <= quick.dates


@given(_ANY)
@settings(max_examples=examples(300))
def test_the_walk_says_how_far_it_went(source: Any) -> None:
    """What it leaves out would pass for lost; what it counts twice would hide a loss."""
    found = collect([source])
    assert found.keys == _keys(source)
    assert found.deepest >= _depth(source)


def _keys(node: Any) -> int:
    if isinstance(node, dict):
        return len(node) + sum(map(_keys, node.values()))
    return sum(map(_keys, node)) if isinstance(node, list) else 0


def _depth(node: Any) -> int:
    inside = node.values() if isinstance(node, dict) else node if isinstance(node, list) else None
    return 0 if inside is None else 1 + max(map(_depth, inside), default=0)


_SECRETS = ["Müller-Lüdenscheidt", "MRN-0048151623", "1.2.840.99.1559319163074.7", "(617) 555-0142"]


@pytest.mark.parametrize("secret", _SECRETS)
@pytest.mark.parametrize("way", HIDING)
def test_every_way_of_hiding_is_found_among_many_strings(secret: str, way: str) -> None:
    """Not vacuous: what the two searches agree on includes every one of these."""
    values = collect_identifiers([{"identifier": [{"value": secret}]}])
    hidden = HIDING[way](secret.encode())
    tree = {"codes": [f"c{i}" for i in range(200)], "x": {"y": [hidden]}, hidden: 1}
    found = check(json.dumps(tree).encode(), values)
    assert {hit.path for hit in found.hits} == {"x.y", ""}
    assert found.hits[0].rule.startswith("identifier")


def test_values_that_come_bit_by_bit_are_found_by_their_digests() -> None:
    growing = Growing()
    for name in ("Wilmington", "Doyle", "Wilmington"):
        growing.add(collect_identifiers([{"name": [{"family": name}]}]))
    for text in ("wilmington", "Doyle", "DOYLE"):
        document = json.dumps([f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"]).encode()
        found = check(document, growing.values, known=growing.known)
        assert [hit.rule for hit in found.hits] == ["name-sha256"]


@pytest.mark.parametrize("secret", ["k" * 32, "Ӎ4" * 16, "mz" + "Ӎ4" * 15 + "Ӎ"])
def test_a_value_that_looks_like_a_digest_when_encoded_is_found(secret: str) -> None:
    """In hexadecimal every value of 32 bytes does; in base64 some of 48 or 49."""
    values = IdentifyingValues(codes={secret})
    forms = [form for form, _ in plain.encodings(secret.encode()) if re.fullmatch(DIGITS, form)]
    assert len(forms) >= 2  # one of them is its SHA-256
    for form in forms:
        assert not check(json.dumps([f"sha256:{form}"]).encode(), values).passed


def test_a_searcher_remembers_values_and_no_document() -> None:
    values = collect_identifiers([{"name": [{"family": "Wilmington"}]}])
    search = Searcher(values, {"final"})
    leak = json.dumps({"a": "Wilmington", "b": b"WILMINGTON".hex()}).encode()
    for _ in range(2):
        assert search.search([leak]).strings == {"Wilmington", b"WILMINGTON".hex()}
        assert not search.search([b'{"a":"final","b":"2020-02-03"}'])
        assert not search.search([b'{"c":"xWILMINGTONx"}'], given={"xWILMINGTONx"})
        assert search.search([b'{"c":"xWILMINGTONx"}'])


@pytest.mark.parametrize(
    "document",
    [
        {"a": "Wilmington"},
        {"a": "final, Wilmington"},
        {"a": "final, Wilmington", "b": "x, y"},  # twice an odd quotation mark between commas
        {"a": "Wilmington, x", "b": ["y, z", "q,"]},
        {"a": ",Wilmington,"},
        {"a": 'so "called", Wilmington'},
        {"a": "\\", "b": "Wilmington"},
        {"a, b": "x", "Wilmington": "y"},
        {"Wilmington,": ["a", "a", "a,"]},
    ],
)
def test_commas_and_quotation_marks_hide_nothing(document: Json) -> None:
    """What stands between commas is looked at by itself only where that is sure to be right."""
    search = Searcher(collect_identifiers([{"name": [{"family": "Wilmington"}]}]), {"final"})
    data = json.dumps(document, separators=(",", ":")).encode()
    assert search.search([b'{"b":"x"}', data, b'{"b":"x,"}']).stands_in(data)
    assert not search.search([data.replace(b"Wilmington", b"final"), b'{"b":"x,"}'])
