"""Repeated keys are refused, however they are spelled and whatever the strings around them hold."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.fhir.errors import SourceError
from service.fhir.references import rewrite
from service.fhir.source import MAX_DEPTH, SMALL, parse, parsed


class _RepeatedError(Exception):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise _RepeatedError
    return dict(pairs)


def has_repeated_keys(text: str) -> bool:
    """The plain way: build every object from its pairs."""
    try:
        json.loads(text, object_pairs_hook=_unique)
    except _RepeatedError:
        return True
    return False


def refuses(text: str) -> bool:
    """By writing again what was read, and by walking through it: they agree."""
    written, walked = (_refuses(read, text) for read in (parse, parsed))
    assert written == walked
    return written


def _refuses(read: Callable[[bytes], Any], text: str) -> bool:
    try:
        read(text.encode())
    except SourceError as error:
        return "same key twice" in str(error)
    return False


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}',
        '{"a" :1,"a":2}',
        '{"a" :1,"a" :2}',
        '{"a"\n:1,"a"\t:2,"b"\r\n:3}',
        '{"a":1,"\\u0061":2}',
        '{"a\\\\":1,"a\\\\":2}',
        '{"\\"":1,"\\"":2}',
        '{"a":1,"b":{"c":[{"d":1,"d":1}]}}',
        # a key counted too few for its space, and one too many inside a string
        '{"a" :"x\\":y","a":2}',
        '{"a" :"x\\":","b":[{"c":"\\":","c" :2}]}',
        '[{"a":1},{"":1,"":2}]',
        # what is written again has a key more than the source seems to have
        '{"a":"x\\u0022:","a":2}',
        '{"a":"x\\"\\u003a","b":"y\\"\\u003A","b":"y"}',
        '{"a":1,"b":"\\u0022:\\u0022:","a":"\\":"}',
        # and more opening marks than may be nested, in a string or out of it
        '{"a":"' + "{" * 70 + '","b":{"c":1,"c":1}}',
        '{"a":[' + "[]," * 70 + '1],"a":[]}',
    ],
)
def test_a_repeated_key_is_refused(text: str) -> None:
    assert has_repeated_keys(text)
    assert refuses(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"b":2}',
        '{"a" : 1, "b"\n:2}',
        '{"a":"x\\":y","b":"\\\\\\":"}',
        '{"a":"a : b :","b":": :"}',
        '[{"a":1},{"a":2}]',
        "[]",
        '"a:b"',
        "7",
        '{"":{"":{"":":"}}}',
    ],
)
def test_honest_keys_are_not_refused(text: str) -> None:
    assert not has_repeated_keys(text)
    assert parse(text.encode()) == json.loads(text)


_WORDS = st.sampled_from(
    ["a", "b", "", '"', '":', "\\", '\\":', " :", ":", "\n:", "é", "reference"]
)
_SPACE = st.sampled_from(["", "", "", "", " ", "\n", "\t", "\r\n "])


@st.composite
def _spelled(draw: st.DrawFn, word: str) -> str:
    """One of the ways to write a string in JSON."""
    if word and draw(st.integers(0, 5)) == 0:
        return '"' + "".join(f"\\u{ord(char):04x}" for char in word) + '"'
    return json.dumps(word, ensure_ascii=draw(st.booleans()))


@st.composite
def _texts(draw: st.DrawFn, depth: int = 3) -> str:
    kind = draw(st.integers(0, 3 if depth else 1))
    if kind < 2:
        return draw(_spelled(draw(_WORDS))) if kind else "1"
    inner = [draw(_texts(depth - 1)) for _ in range(draw(st.integers(0, 3)))]
    if kind == 2:
        return "[" + ",".join(inner) + "]"
    pairs = [
        f"{draw(_spelled(draw(_WORDS)))}{draw(_SPACE)}:{draw(_SPACE)}{value}" for value in inner
    ]
    return "{" + ",".join(pairs) + "}"


@given(_texts())
def test_exactly_what_has_repeated_keys_is_refused(text: str) -> None:
    assert refuses(text) == has_repeated_keys(text)
    assert refuses(text + " " * SMALL) == has_repeated_keys(text)  # long ones are counted otherwise


def _rewritten(node: Any) -> Any:
    """The plain way: every text `reference` of an object in capitals."""
    if isinstance(node, list):
        return [_rewritten(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: value.upper() if key == "reference" and isinstance(value, str) else _rewritten(value)
        for key, value in node.items()
    }


@given(_texts().filter(lambda text: not has_repeated_keys(text)))
def test_the_walk_that_checks_finds_what_refers(text: str) -> None:
    read = parsed(text.encode())
    expected = _rewritten(read.value)
    rewrite(read.value, str.upper)
    assert read.value == expected
    known = {id(holder) for holder in read.referring}
    assert len(known) == len(read.referring) == len(_holders(read.value))
    assert known == {id(holder) for holder in _holders(read.value)}


def _holders(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, dict):
        own = [node] if "reference" in node else []
        return own + [found for value in node.values() for found in _holders(value)]
    return [found for item in node for found in _holders(item)] if isinstance(node, list) else []


@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ("[", "]"), ('[{"a":', "}]")])
def test_the_deepest_nesting_allowed(opening: str, closing: str) -> None:
    times = MAX_DEPTH // (opening.count("[") + opening.count("{"))
    parse((opening * times + "1" + closing * times).encode())
    with pytest.raises(SourceError, match="nested deeper"):
        parse((opening * times + "[]" + closing * times).encode())
