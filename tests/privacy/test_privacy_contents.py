"""What the gate sees of a document is all that stands in it, however it is looked through."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from privacy_generator import Generator
from privacy_ordinary import any_json
from support.depth import examples

from privacy import gate
from privacy.elements import IN_SCOPE

ROOT = Path(__file__).parents[2]
# Without a compiler the way by members is what there is: all that is said here holds of it.
COMPILED = gate._native is not None

JSON = any_json(st.text())


def spelled(value: Any, *, ascii_only: bool) -> bytes:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=ascii_only)
    return text.encode("utf-8", "surrogatepass")


def plainly(documents: list[bytes]) -> tuple[set[str], set[str]]:
    """A parser, and a walk."""
    return gate._contents(b"[" + b",".join(documents) + b"]")


def require_same(documents: list[bytes]) -> None:
    """But for the empty string, which identifies nobody."""
    strings, numbers = plainly(documents)
    for way in (gate._contents_of_all, gate._contents_of_members):
        seen, written = way(documents)
        assert seen - {""} == strings - {""}
        assert written == numbers


@given(st.lists(JSON, min_size=1, max_size=4), st.booleans())
@settings(max_examples=examples(150))
def test_all_ways_see_the_same_of_any_json(values: list[Any], ascii_only: bool) -> None:
    require_same([spelled(value, ascii_only=ascii_only) for value in values])


@given(st.integers(0, 10**9), st.sampled_from(sorted(IN_SCOPE)))
@settings(max_examples=examples(50))
def test_all_ways_see_the_same_of_resources(seed: int, kind: str) -> None:
    made = [spelled(Generator(seed + n).resource(kind), ascii_only=False) for n in range(3)]
    require_same([one for one in made if b"NaN" not in one and b"Infinity" not in one])


def test_many_distinct_strings_and_numbers_are_all_seen() -> None:
    values = [{f"key {n}": f"text {n}", "n": [n, n / 8, -n]} for n in range(20_000)]
    require_same([spelled(values[:10_000], ascii_only=False), spelled(values, ascii_only=False)])


@pytest.mark.parametrize(
    "document",
    [
        b'{"a":"b}', b'{"a":b}', b'{"a":01}', b'{"a":1.}', b'{"a":--1}', b'{"a":1e}', b'{"a":nul}',
        b'{"a":"\xff"}', b"\x00", b'{"a":1x}', b"'", b'{"a":NaN}', b'{"a":1\x00}',
    ],
)  # fmt: skip
def test_what_is_no_json_is_for_the_parser(document: bytes) -> None:
    if COMPILED:
        assert gate._native.contents([document], 1) is None


@given(st.lists(st.binary(max_size=60), max_size=3), st.integers(0, 2**64 - 1))
@settings(max_examples=examples(150))
def test_whatever_it_is_given_it_comes_back(documents: list[bytes], seed: int) -> None:
    found = gate._native.contents(documents, seed) if COMPILED else None
    if found is not None:
        strings, numbers = found
        everything = b" ".join(documents)
        assert all(text.encode() in everything for text in strings | numbers)


def walked(resources: list[Any], *, compiled: bool) -> gate._Walk:
    with pytest.MonkeyPatch.context() as patched:
        if not compiled:
            patched.setattr(gate, "_native", None)
        return gate._Walk(resources, gate.no_texts())


def require_same_walk(resources: list[Any]) -> None:
    """In C every step down is counted once, in Python once for each context."""
    found, plain = (walked(resources, compiled=compiled) for compiled in (True, False))
    for texts, same in zip(found.texts, plain.texts, strict=True):
        assert {k: v for k, v in texts.items() if v} == {k: v for k, v in same.items() if v}
    assert found.keys == plain.keys
    assert depth_of(resources) <= 2 * found.levels <= 2 * plain.levels


def depth_of(value: Any) -> int:
    deepest, inner = 0, [value]
    while inner := [
        one
        for node in inner
        if isinstance(node, dict | list)
        for one in (node.values() if isinstance(node, dict) else node)
    ]:
        deepest += 1
    return deepest


NAMES = st.sampled_from(["name", "_name", "subject", "reference", "display", "a", ""])
PARTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=25,
)


@given(st.lists(PARTS, max_size=4))
@settings(max_examples=examples(150))
def test_both_walks_meet_the_same(resources: list[Any]) -> None:
    require_same_walk(resources)


@given(st.integers(0, 10**9), st.sampled_from(sorted(IN_SCOPE)))
@settings(max_examples=examples(50))
def test_both_walks_meet_the_same_in_resources(seed: int, kind: str) -> None:
    require_same_walk([Generator(seed).resource(kind)])


@pytest.mark.parametrize("down", [60, 64, 65, 200])
@pytest.mark.parametrize(
    "around",
    [lambda x: {"name": x}, lambda x: [x], lambda x: {"a": [x, "b"]}, lambda x: [[x], "c"]],
)
def test_both_walks_go_all_the_way_down(down: int, around: Callable[[Any], Any]) -> None:
    found: Any = {"family": "Doe"}
    for _ in range(down):
        found = around(found)
    require_same_walk([found, {"contact": found}])


def test_what_is_compiled_is_what_is_written() -> None:
    written = hashlib.sha256((ROOT / "privacy" / "_contents.c").read_bytes()).hexdigest()
    assert not COMPILED or written == gate._native.SOURCE, "make test compiles it again"
