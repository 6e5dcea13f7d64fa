"""The schema is closed: no open object, and no string type that could hold text."""

import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.depth import examples
from support.twins import everything, twin
from support.twins_example import example

from mappings import vocabulary
from twin_engine.document import SchemaError, check, schema, with_assessments
from twin_engine.document.codes import FORMS, acceptable
from twin_engine.document.schema import PART, parts, published
from twin_engine.document.terms import words

# Where a schema holds further schemas, by keyword.
IN_MAPS = ("properties", "patternProperties", "$defs")
IN_LISTS = ("allOf", "anyOf")
SINGLE = ("items", "then")


def walk(node: Any, path: str = "#", overlay: bool = False) -> Iterator[tuple[str, Any, bool]]:
    """Every schema inside a schema. An overlay only narrows what stands beside or above it."""
    yield path, node, overlay
    narrowed = overlay or "$ref" in node
    for keyword in IN_MAPS:
        for name, inner in node.get(keyword, {}).items():
            yield from walk(inner, f"{path}/{keyword}/{name}", narrowed and keyword != "$defs")
    for keyword in IN_LISTS:
        for i, inner in enumerate(node.get(keyword, [])):
            yield from walk(inner, f"{path}/{keyword}/{i}", narrowed or keyword == "allOf")
    for keyword in SINGLE:
        if keyword in node:
            yield from walk(node[keyword], f"{path}/{keyword}", narrowed or keyword == "then")


def is_typed(node: dict[str, Any]) -> bool:
    return any(key in node for key in ("type", "$ref", "const", "enum", "anyOf"))


def may_be(node: dict[str, Any], kind: str) -> bool:
    kinds = node.get("type", [])
    return kind in (kinds if isinstance(kinds, list) else [kinds])


def test_every_object_is_closed() -> None:
    open_objects = [
        path
        for path, node, _ in walk(schema())
        if may_be(node, "object") and node.get("additionalProperties") is not False
    ]
    assert open_objects == []


def test_no_string_is_free() -> None:
    free = [
        path
        for path, node, _ in walk(schema())
        if may_be(node, "string") and not node.keys() & {"enum", "const", "pattern"}
    ]
    assert free == []


def test_every_place_for_a_value_says_its_type() -> None:
    untyped = [path for path, node, overlay in walk(schema()) if not (overlay or is_typed(node))]
    assert untyped == ["#/$defs/coding"]  # which is only ever laid over a typed entry


def test_every_list_says_what_it_holds() -> None:
    vague = [p for p, node, _ in walk(schema()) if may_be(node, "array") and "items" not in node]
    assert vague == []


def test_every_pattern_is_anchored_and_of_bounded_length() -> None:
    for path, node, _ in walk(schema()):
        for pattern in (node.get("pattern"), *node.get("patternProperties", {})):
            if pattern is not None:
                assert pattern.startswith("^"), path
                assert pattern.endswith("$"), path
                assert not re.search(
                    r"(?<!\\)[*+]|(?<!\\)\.(?![\]\w])|\{\d+,\}|\\[wsSDW]", pattern
                ), path


def test_the_walk_looks_into_everything() -> None:
    """A keyword the walk does not know could hide an open type."""
    known = {*IN_MAPS, *IN_LISTS, *SINGLE, "if", "type", "enum", "const", "pattern", "required"}
    known |= {"additionalProperties", "minimum", "maximum", "minItems", "maxItems", "uniqueItems"}
    known |= {"minProperties", "dependentRequired", "$ref", "$schema", "$id", "title"}
    assert {key for _, node, _ in walk(schema()) for key in node} <= known


def test_the_published_file_is_what_is_enforced() -> None:
    """Made by: python -m twin_engine.document schema > twin_engine/document/schema.json"""
    file = resources.files("twin_engine.document").joinpath("schema.json")
    assert file.read_bytes() == published()


def test_every_list_of_words_says_where_it_comes_from() -> None:
    assert all(entry.source and entry.words for entry in words().values())
    assert all(len(set(entry.words)) == len(entry.words) for entry in words().values())


def test_lists_that_the_vocabulary_also_keeps_agree() -> None:
    """Nothing the map can read is missing from what a document can say."""
    erroneous = {"entered-in-error"}
    for ours, theirs in (
        ("condition-clinical", "condition-clinical"),
        ("condition-verification", "condition-ver-status"),
        ("allergy-clinical", "allergy-clinical"),
        ("allergy-verification", "allergy-verification"),
        ("encounter-class", "encounter-class"),
    ):
        assert set(words()[ours].words) == vocabulary.hl7_codes(theirs) - erroneous


def test_a_document_with_one_fact_of_every_kind_is_valid() -> None:
    check(twin(everything()))


# -- what a document cannot be made to carry -------------------------------------------------------


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value and of every object inside a document."""
    yield path
    if isinstance(node, dict | list):
        for step, inner in node.items() if isinstance(node, dict) else enumerate(node):
            yield from places(inner, (*path, step))


def at(document: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        document = document[step]
    return document


def put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy: Any = dict(document) if isinstance(document, dict) else list(document)
    copy[path[0]] = put(document[path[0]], path[1:], value)
    return copy


WHOLE = twin(everything())
PLACES = list(places(WHOLE))
NAMES = st.text(st.characters(categories=("L", "Zs", "P")), min_size=1, max_size=40)


@pytest.mark.parametrize("path", PLACES, ids=lambda path: "/".join(map(str, path)) or "document")
def test_a_name_fits_nowhere(path: tuple[Any, ...]) -> None:
    for name in ("Jane Doe", "1961-04-02", "+1 555 0100", "jane.doe@example.org", "O'Neill"):
        with pytest.raises(SchemaError) as caught:
            check(put(WHOLE, path, name))
        assert name not in str(caught.value)


@settings(max_examples=examples(60))
@given(st.sampled_from(PLACES), st.text(max_size=12), NAMES)
def test_no_key_can_be_added_anywhere(path: tuple[Any, ...], key: str, value: str) -> None:
    node: Any = WHOLE
    for step in path:
        node = node[step]
    if not isinstance(node, dict) or key in node:
        return
    with pytest.raises(SchemaError) as caught:
        check(put(WHOLE, path, node | {key: value}))
    assert value not in str(caught.value) or len(value) < 4


def test_an_impossible_number_cannot_be_written() -> None:
    """A record number typed into a result is not a blood pressure."""
    for value in (8812345, -5, float("nan")):
        with pytest.raises(SchemaError, match="signals/systolic-bp/v/0"):
            check(put(WHOLE, ("signals", "systolic-bp", "v", 0), value))


ASSESSED = example()
NUMBERS = [path for path in places(ASSESSED) if type(at(ASSESSED, path)) in (int, float)]


@settings(max_examples=examples(60))
@given(st.sampled_from(NUMBERS), st.sampled_from([float("nan"), float("inf"), -float("inf")]))
def test_a_number_that_json_has_not_fits_nowhere(path: tuple[Any, ...], value: float) -> None:
    """`read_own` relies on it: all else comes back from JSON as it was."""
    with pytest.raises(SchemaError):
        check(put(ASSESSED, path, value))


@settings(max_examples=examples(60))
@given(st.sampled_from(list(places(ASSESSED["assessments"]))[1:]))
def test_assessments_alone_are_held_to_what_they_are_held_to_in_the_whole(
    path: tuple[Any, ...],
) -> None:
    assessments = put(ASSESSED["assessments"], path, "Jane Doe")
    with pytest.raises(SchemaError) as whole:
        check(ASSESSED | {"assessments": assessments})
    with pytest.raises(SchemaError, match=f"^{re.escape(str(whole.value))}$"):
        with_assessments(ASSESSED, assessments)


@pytest.mark.parametrize(
    ("system", "code", "fits"),
    [
        ("snomed", "38341003", True),
        ("snomed", "38341004", False),  # wrong check digit: a telephone number, perhaps
        ("snomed", "hypertension", False),
        ("loinc", "8480-6", True),
        ("loinc", "8480-7", False),
        ("icd10cm", "E11.65", True),
        ("icd10cm", "E1165", True),
        ("icd10cm", "DOE, J", False),
        ("icd10", "I21.9", True),
        ("icd9cm", "410.71", True),
        ("rxnorm", "36567", True),
        ("atc", "C10AA01", True),
        ("atc", "C10AA0", False),
        ("local", "1", False),
    ],
)
def test_a_code_is_written_only_in_the_form_of_its_system(
    system: str, code: str, fits: bool
) -> None:
    assert acceptable(system, code) is fits


def test_every_code_form_has_a_source() -> None:
    assert all(form.source and re.compile(form.pattern) for form in FORMS.values())


def test_a_code_must_have_the_form_of_its_own_system() -> None:
    swapped = WHOLE["conditions"][0] | {"system": "loinc"}
    with pytest.raises(SchemaError, match="conditions/0"):
        check(put(WHOLE, ("conditions", 0), swapped))


# -- a long document is checked in parts -----------------------------------------------------------


def long_twin(entries: int) -> dict[str, Any]:
    document = twin()
    ids = [f"{n:021}A" for n in range(entries)]
    document["sources"] = [{"type": "Observation", "ids": ids}]
    column = {"unit": "/min", "t": list(range(entries)), "v": [60] * entries}
    document["signals"] = {"heart-rate": column | {"src": list(range(entries))}}
    document["quality"]["setAside"] = [
        {"rule": "implausible", "concept": "heart-rate", "t": n, "src": n} for n in range(entries)
    ]
    return document


def test_parts_show_every_item_once() -> None:
    document = long_twin(2_500)
    shown = list(parts(document, 1_000))
    assert len(shown) == 3
    for path in (("signals", "heart-rate", "t"), ("quality", "setAside")):
        items = [item for part in shown for item in reached(part, path)]
        assert items == reached(document, path)
    assert [part["twin"] for part in shown] == [document["twin"]] * 3


def reached(node: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        node = node[step]
    return node


def test_what_is_wrong_far_down_a_long_document_is_found() -> None:
    document = long_twin(PART + 2)
    check(document)
    document["quality"]["setAside"][-1]["rule"] = "Jane Roe"
    with pytest.raises(SchemaError, match=f"quality/setAside/{PART + 1}/rule"):
        check(document)
