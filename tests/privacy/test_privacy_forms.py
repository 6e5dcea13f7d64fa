"""Lines that were taken apart may never differ from lines that were parsed."""

import hashlib
import json
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from privacy_generator import MARKER, Generator
from privacy_ordinary import (
    CAREFUL,
    POLICIES,
    QUICK,
    SCOPE,
    any_json,
    line_of,
    ordinary_and_spoiled,
    spoil,
)
from privacy_support import CODES, LOINC, SAFE_HARBOR, UCUM, observation, session
from support.depth import examples

from privacy import forms
from privacy.deidentify import Deidentifier, Refused, Session
from privacy.pseudonyms import Pseudonyms

ROOT = Path(__file__).parents[2]
# Without a compiler every line is parsed: all that is said here of lines holds, but for this.
COMPILED = forms._apart is not None


def unlearned() -> Deidentifier:
    """To compile a policy takes longer than any of these tests."""
    SAFE_HARBOR.forms = forms.Forms(SAFE_HARBOR.planner)
    return SAFE_HARBOR


def compare(lines: list[bytes], policy: str, *, rounds: int = 3) -> Session:
    """A form is noticed, learned, and then used."""
    ids = Pseudonyms()
    quick = session(deidentifier=QUICK[policy], pseudonyms=ids)
    careful = session(deidentifier=CAREFUL[policy], pseudonyms=ids)
    for line in lines * rounds:
        made, wanted = quick.of_line(line, orjson.loads), careful.apply(orjson.loads(line))
        assert made == wanted
        assert spelled(made) == spelled(wanted)  # 1 is not 1.0
    require_alike(quick, careful)
    made = [record for group in quick.alike(lines, orjson.loads) for record in group]
    wanted = [careful.apply(orjson.loads(line)) for line in lines]
    assert sorted(map(spelled, made)) == sorted(map(spelled, wanted))
    require_alike(quick, careful)
    return quick


def require_alike(quick: Session, careful: Session) -> None:
    assert quick.counts == careful.counts
    assert (quick.refusals, quick.labels) == (careful.refusals, careful.labels)


def spelled(made: Any) -> bytes:
    return orjson.dumps(made, option=orjson.OPT_SORT_KEYS, default=repr)


@given(st.integers(0, 10**9), st.sampled_from(SCOPE), st.sampled_from(sorted(POLICIES)))
@settings(max_examples=examples(120))
def test_forms_and_rules_agree_on_ordinary_lines_and_on_spoiled_ones(
    seed: int, kind: str, policy: str
) -> None:
    sources = ordinary_and_spoiled(seed, kind, policy)
    compare([line_of(source) for source in sources if _is_json(source)], policy)


def _is_json(source: Any) -> bool:
    return "nan" not in repr(source)


@given(st.integers(0, 10**9))
@settings(max_examples=examples(120))
def test_a_form_judges_every_value_of_the_next_line(seed: int) -> None:
    """One value is otherwise, in a line that is as known as can be."""
    random = Random(seed)
    known = observation(issued="2020-06-01T10:30:00Z", encounter={"reference": "Encounter/e1"})
    changed = json.loads(json.dumps(known))
    spoil(random, changed)
    lines = [line_of(known), line_of(known | {"id": "2"}), line_of(known | {"id": "3"})]
    compare([*lines, *([line_of(changed)] if _is_json(changed) else []), *lines], "safe-harbor")


@given(st.integers(0, 10**9), st.sampled_from(SCOPE))
@settings(max_examples=examples(50))
def test_forms_hold_nothing_of_what_they_were_learned_from(seed: int, kind: str) -> None:
    deidentifier = unlearned()
    own = session(deidentifier=deidentifier)
    for line in [line_of(Generator(seed).resource(kind))] * 3:
        own.of_line(line, orjson.loads)
    assert MARKER not in repr(deidentifier.forms.__dict__)


KNOWN = observation(
    issued="2020-06-01T10:30:00.5Z",
    encounter={"reference": "Encounter/e1", "display": "a stay"},
    meta={"versionId": "7", "tag": [{"system": "urn:x", "code": "y"}]},
    identifier=[{"system": "urn:house", "value": "A 1"}],
    note=[{"text": "as told"}],
)


def learned(resource: Any) -> Session:
    own = session(deidentifier=unlearned())
    for _ in range(2):
        own.of_line(line_of(resource), orjson.loads)
    return own


def test_the_third_line_of_a_form_is_not_parsed() -> None:
    own = learned(KNOWN)

    def parse(line: bytes) -> Any:
        assert not COMPILED
        return orjson.loads(line)

    other = KNOWN | {"id": "other", "effectiveDateTime": "2020-06-03", "note": [{"text": "new"}]}
    record = own.of_line(line_of(other), parse)
    assert isinstance(record, dict)
    assert record["effectiveDateTime"][1] == "day"
    assert own.counts[("Observation", "note", "drop")] == 3


@pytest.mark.parametrize(
    "line",
    [
        b'{"resourceType":"Observation","id":"1","id":"2"}',
        line_of(KNOWN)[:-1] + b',"id":"x"}',
        line_of(KNOWN).replace(b'"id":', b'"id" :'),
        line_of(KNOWN).replace(b"as told", b"as \\u0074old"),
        line_of(KNOWN).replace(b"as told", b"as\ttold"),
        line_of(KNOWN).replace(b"as told", b"as\x01told"),
        line_of(KNOWN).replace(b"as told", b"as \xff told"),
        line_of(KNOWN).replace(b":148", b":148,"),
        line_of(KNOWN).replace(b":148", b":0148"),
        line_of(KNOWN).replace(b":148", b":148.0.0"),
        line_of(KNOWN).replace(b":148", b":-"),
        line_of(KNOWN).replace(b":148", b":148 "),
        line_of(KNOWN)[:-1],
        line_of(KNOWN) + b"}",
        b"",
        b'"',
        b'{"a":"\\',
    ],
)
def test_what_is_not_spelled_alike_is_parsed(line: bytes) -> None:
    """Strictly or not is a matter of the parser that is given."""
    own, asked = learned(KNOWN), []

    def parse(given: bytes) -> Any:
        asked.append(given)
        return observation(id="parsed")

    own.of_line(line, parse)
    assert asked == [line]


def test_of_a_line_that_says_a_thing_twice_nothing_is_learned() -> None:
    twice = line_of(KNOWN).replace(b'"status":"final"', b'"status":"final","status":"amended"')
    own = session(deidentifier=unlearned())
    for _ in range(3):
        own.of_line(twice, orjson.loads)
    assert own._forms.find(twice) is None


@pytest.mark.parametrize(
    ("number", "value"),
    [
        (b"148.50", 148.5),
        (b"-0.0", -0.0),
        (b"-12", -12),
        (b"0", 0),
        (b"1234567890123", 1234567890123),
        (b"0.30000000000000004", 0.1 + 0.2),
        (b"2.5e1", 25.0),
        (b"-0", None),
        (b"12345678901234", None),
        (b"-12345678901234.5", None),
        (b"12345678901234567890", None),
        (b"170.30215896364692", 170.30215896364692),  # as Synthea measures
        (b"-0.00012345678901234567", -0.00012345678901234567),
    ],
)
def test_numbers_are_those_of_the_parser(number: bytes, value: float | None) -> None:
    own, line = learned(KNOWN), line_of(KNOWN).replace(b":148", b":" + number)
    record = own.of_line(line, orjson.loads)
    assert spelled(record) == spelled(own.apply(orjson.loads(line)))
    if value is not None:
        assert isinstance(record, dict)
        assert repr(record["valueQuantity"]["value"]) == repr(value)


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,24})?", fullmatch=True))
@settings(max_examples=examples(200))
def test_a_number_that_is_cut_out_is_the_parsers(number: str) -> None:
    parts = None if forms._apart is None else forms._apart.apart(f'{{"value":{number}}}'.encode())
    assert parts is None or list(map(repr, parts[1])) == [repr(orjson.loads(number))]


@pytest.mark.parametrize("number", [b"27.849999999999998", b"170.30215896364692", b"17"])
def test_numbers_as_systems_write_them_are_cut_out(number: bytes) -> None:
    if forms._apart is not None:  # else all is parsed
        assert forms._apart.apart(b'{"value":%b}' % number) == (b'{"value":\x02}', (float(number),))


def test_a_line_about_somebody_else_is_refused() -> None:
    own = learned(KNOWN)
    stranger = KNOWN | {"subject": {"reference": "Patient/p2"}}
    assert own.of_line(line_of(stranger), orjson.loads) == own.apply(stranger)
    assert own.refusals[("Observation", "another-patient")] == 2


@pytest.mark.parametrize(
    "change",
    [
        {"code": {"coding": [{"system": LOINC, "code": "no-such"}]}},
        {"code": {"coding": [{"system": "urn:of-a-person", "code": "1"}]}},
        {"method": {"coding": [{"system": "urn:of-a-person", "code": "1"}]}},
        {"valueQuantity": {"value": 1, "unit": "of a person", "system": UCUM, "code": "mm[Hg]"}},
        {"device": {"reference": "Device/1", "identifier": {"system": "s", "value": "v"}}},
        {"note": [{"text": "t", "Jane": "x"}]},
        {"contained": [{"resourceType": "Patient", "id": "1", "name": [{"text": "A B"}]}]},
    ],
)
def test_of_codes_and_names_that_nobody_knows_no_form_is_remembered(change: dict[str, Any]) -> None:
    own = learned(KNOWN | change)
    assert own._forms.find(line_of(KNOWN | change)) is None
    compare([line_of(KNOWN | change)] * 3, "safe-harbor")


def test_what_is_alike_comes_together_and_what_is_refused_alone() -> None:
    own = learned(KNOWN)
    other = KNOWN | {"code": {"coding": [{"system": LOINC, "code": "2160-0"}]}}
    foreign = KNOWN | {"subject": {"reference": "Patient/p2"}}
    for _ in range(2):
        own.of_line(line_of(other), orjson.loads)
    some = [KNOWN, other, KNOWN | {"id": "2"}, other | {"id": "3"}, KNOWN | {"id": "4"}]
    sizes = [len(group) for group in own.alike(map(line_of, some), orjson.loads)]
    assert sorted(sizes) == ([2, 3] if COMPILED else [1] * 5)
    groups = list(own.alike(map(line_of, [KNOWN, foreign, KNOWN]), orjson.loads))
    assert [len(group) for group in groups] == [1, 1, 1]
    assert sum(isinstance(group[0], Refused) for group in groups) == 1


def test_forms_know_whose_a_line_is() -> None:
    own = learned(KNOWN)
    found = own._forms.find(line_of(KNOWN | {"subject": {"reference": "Patient/p9"}}))
    assert (found is not None) is COMPILED
    assert found is None or found[1][found[0].owner] == "Patient/p9"


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "FORMS", 3)
    monkeypatch.setattr(forms, "MET", 5)
    systems = sorted(CODES)
    lines = [
        line_of(observation(code={"coding": [{"system": system, "code": code}]}))
        for system, code in systems
    ]
    deidentifier = unlearned()
    own = session(deidentifier=deidentifier)
    for line in [one for one in lines for _ in range(3)]:
        own.of_line(line, orjson.loads)
    assert len(deidentifier.forms._known) <= 3
    assert len(deidentifier.forms._met) <= 5
    assert own.counts[("Observation", "id", "pseudonym")] >= 3


def test_without_a_compiler_every_line_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "_apart", None)
    own = learned(KNOWN)
    assert own._forms.find(line_of(KNOWN)) is None
    assert own.of_line(line_of(KNOWN), orjson.loads) == own.apply(KNOWN)


# Taking apart -------------------------------------------------------------------------------------

JSON = any_json(st.text() | st.sampled_from(["code", "meta", "system"]))


def spelled_again(residue: bytes, values: tuple[Any, ...]) -> bytes:
    made, rest = b"", list(values)
    for byte in residue:
        made += orjson.dumps(rest.pop(0)) if byte in {1, 2} else bytes([byte])
    assert not rest
    return made


@given(JSON)
@settings(max_examples=examples(250))
def test_a_residue_and_its_values_are_the_line(value: Any) -> None:
    line = line_of(value)
    parts = forms._apart.apart(line) if COMPILED else None
    if parts is not None:
        assert orjson.loads(spelled_again(*parts)) == orjson.loads(line)


@given(st.binary() | st.text(alphabet='{}[]",:\\0123456789.-eE ab\x01').map(str.encode))
@settings(max_examples=examples(250))
def test_whatever_it_is_given_it_comes_back(line: bytes) -> None:
    """No crash, no error: an answer, or none; an answer holds all of the line."""
    parts = forms._apart.apart(line) if COMPILED else None
    if parts is not None:
        residue, values = parts
        texts = [value for value in values if type(value) is str]
        assert len(values) == sum(byte in {1, 2} for byte in residue)
        assert b"\\" in line or all(text.encode() in line for text in texts)


@pytest.mark.parametrize(
    ("spelled", "text"),
    [
        (rb"<div xmlns=\"http://www.w3.org\">", '<div xmlns="http://www.w3.org">'),
        (rb"\"\\\/\b\f\n\r\t", '"\\/\b\f\n\r\t'),
        (rb"\\\\n\\", "\\\\n\\"),
        (r"\"Nuñez\"".encode(), '"Nuñez"'),
        (rb"\u0041", None),
        (rb"\a", None),
        (b"\\\\\\", None),
    ],
)
def test_texts_may_hold_the_short_escapes(spelled: bytes, text: str | None) -> None:
    parts = forms._apart.apart(b'{"a":"%b","b":"c"}' % spelled) if COMPILED else None
    assert parts == (None if text is None or not COMPILED else (b'{"a":\1,"b":\1}', (text, "c")))
    for line in (b'{"%b":1}', b'{"code":"%b"}'):  # but not what repeats
        assert not COMPILED or forms._apart.apart(line % spelled) is None


# Finding what was taken apart before --------------------------------------------------------------

LIKE = st.binary(max_size=3) | st.sampled_from(
    [b'"', b"\\", b'\\"', b"\xff", b"\xc3\xa9", b"1", b"e", b":"]
)


@st.composite
def similar(draw: st.DrawFn) -> tuple[list[bytes], list[bytes]]:
    """Lines, and lines that differ from them in a value, or by a few bytes anywhere."""
    known = [line_of(value) for value in draw(st.lists(JSON, min_size=1, max_size=4))]
    others = [draw(JSON.map(line_of)) for _ in range(2)]
    for line in known:
        at = draw(st.integers(0, len(line)))
        others.append(line[:at] + draw(LIKE) + line[at + draw(st.integers(0, 2)) :])
        others.append(line.replace(b'"a"', draw(st.text().map(line_of))))
        others.append(line.replace(b"1", draw(st.integers() | st.floats()).__repr__().encode()))
    return known, [*known, *others]


def form_of(number: int, values: int) -> tuple[bytes, int, int]:
    """Each second value is wanted, and the first of these is the owner's name."""
    wanted = bytes(range(number % 2, values, 2))
    return wanted, 0 if wanted else -1, number


@given(similar())
@settings(max_examples=examples(250))
def test_a_line_is_found_by_the_residue_it_would_leave(
    given: tuple[list[bytes], list[bytes]],
) -> None:
    if not COMPILED:
        return
    known, lines = given
    tree, forms_by_residue = forms._apart.tree(), {}
    for residue, values in filter(None, map(forms._apart.apart, known)):
        form = form_of(len(forms_by_residue), len(values))
        forms_by_residue[residue] = form
        forms._apart.plant(tree, residue, form)
    wanted = [_expected(forms_by_residue, line) for line in lines]
    found = [forms._apart.find(tree, line) for line in lines]
    assert repr(found) == repr(wanted)
    require_grouped(forms._apart.groups(tree, tuple(lines)), found)


def _expected(known: dict[bytes, tuple[bytes, int, int]], line: bytes) -> Any:
    residue, values = forms._apart.apart(line) or (b"", ())
    form = known.get(residue)
    return None if form is None else (form, tuple(values[at] for at in form[0]))


def require_grouped(shared: tuple[list[Any], list[int]], found: list[Any]) -> None:
    """Each line in a group of its form, in their order, with those of its owner alone."""
    groups, others = shared
    assert others == [at for at, one in enumerate(found) if one is None]
    for form, values, places in groups:
        assert places == sorted(places)
        assert repr([(form, one) for one in values]) == repr([found[at] for at in places])
        assert form[1] < 0 or len({one[form[1]] for one in values}) == 1
    everywhere = [at for _, _, places in groups for at in places]
    assert sorted([*everywhere, *others]) == list(range(len(found)))


def test_a_tree_takes_what_can_be_a_residue() -> None:
    if COMPILED:
        tree = forms._apart.tree()
        for residue, form in ((b"", (b"", -1)), (b"x" * 8193, (b"", -1)), (b"x", [])):
            with pytest.raises((TypeError, ValueError)):
                forms._apart.plant(tree, residue, form)
        for given in ((), (b"",), (b"\0", "owner"), ("", -1)):
            forms._apart.plant(tree, b'{"a":\1}', given)
            with pytest.raises((TypeError, IndexError)):
                forms._apart.groups(tree, (b'{"a":"b"}',))
        with pytest.raises(TypeError):
            forms._apart.groups(tree, ("no bytes",))
        with pytest.raises(ValueError):
            forms._apart.find(object(), b"")


def test_lines_of_several_owners_come_apart() -> None:
    own = learned(KNOWN)
    lines = [
        line_of(KNOWN | {"id": str(at), "subject": {"reference": f"Patient/{who}"}})
        for at, who in enumerate(["p1", "p1", "p2", "p2", "p1"])
    ]
    groups, others = own._forms.groups(lines)
    assert [places for _, _, places in groups] == ([[0, 1], [2, 3], [4]] if COMPILED else [])
    assert others == ([] if COMPILED else [0, 1, 2, 3, 4])


def test_what_was_tried_in_vain_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shape that has a plan, which never takes these values."""
    line = line_of(observation(code={"text": "no coding"}))
    own, tried = session(deidentifier=unlearned()), []
    learn = forms.Forms._learned

    def counted(*given: Any) -> Any:
        tried.append(1)
        return learn(*given)

    monkeypatch.setattr(forms.Forms, "_learned", counted)
    for _ in range(3 * forms.TRIES):
        assert own.of_line(line, orjson.loads) == own.apply(orjson.loads(line))
    assert len(tried) < forms.TRIES


def test_very_long_lines_and_very_many_values_are_for_the_parser() -> None:
    if COMPILED:
        assert forms._apart.apart(line_of({"a": "x" * 8200})) is None
        assert forms._apart.apart(line_of({"a": ["x"] * 65})) is None
        assert forms._apart.apart(line_of({"a": ["x"] * 64})) is not None


def test_what_is_compiled_is_what_is_written() -> None:
    written = hashlib.sha256((ROOT / "privacy" / "_apart.c").read_bytes()).hexdigest()
    assert not COMPILED or written == forms._apart.SOURCE, "make test compiles it again"
