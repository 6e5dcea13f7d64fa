"""Two versions side by side."""

from typing import Any

import pytest
from support.twins import complete, facts, header, pseudonym, twin

from mappings.vocabulary.facts import Measurement
from twin_engine.document import Twin, dump, next_version, read
from twin_engine.document.compare import BETWEEN, OtherTwinError, compare
from twin_engine.document.docs import example

A, B, C = pseudonym("a"), pseudonym("b"), pseudonym("c")
ONE = Measurement("heart-rate", 700, 60.0, A)
TWO = Measurement("heart-rate", 710, 70.0, B)
THREE = Measurement("heart-rate", 720, 80.0, C)


def first(*measurements: Measurement) -> Twin:
    return read(dump(twin(facts(measurements=measurements))))


def after(parent: Twin, *measurements: Measurement, **more: Any) -> Twin:
    answered = more.pop("completeness", complete())
    made = next_version(parent, facts(measurements=measurements), header(), answered, **more)
    return read(dump(made))


def test_what_one_side_alone_says_is_shown_and_what_both_say_is_not() -> None:
    before = first(ONE, TWO._replace(source=A))
    found = compare(before, after(before, ONE, TWO._replace(source=A, value=72.0), THREE))
    (corrected,) = found.corrected
    assert [fact["v"] for fact in corrected.before] == [70]
    assert [fact["v"] for fact in corrected.after] == [72]
    assert [change.source for change in found.added] == [C]


def test_the_reason_of_a_withdrawal_is_the_newer_versions_own() -> None:
    before = first(ONE, TWO, THREE)
    newer = after(before, THREE, withdrawn={A: "entered-in-error"})
    found = compare(before, newer)
    whys = {change.source: change.why for change in found.withdrawn}
    assert whys == {A: "entered-in-error", B: "no-longer-returned"}


def test_what_an_incomplete_answer_did_not_bring_is_not_withdrawn() -> None:
    before = first(ONE, TWO)
    found = compare(before, after(before, TWO, completeness=complete(Observation="partial")))
    assert [change.source for change in found.not_seen] == [A]
    assert found.withdrawn == ()
    assert [tuple(verdict) for verdict in found.verdicts] == [
        ("Observation", "complete", "partial")
    ]


def test_of_versions_further_apart_the_reason_in_between_is_not_known() -> None:
    before = first(ONE, TWO)
    middle = after(before, TWO, withdrawn={A: "deleted"})
    found = compare(before, after(middle, TWO, THREE))
    assert not found.direct
    assert [(change.source, change.why) for change in found.withdrawn] == [(A, BETWEEN)]


def test_a_version_beside_itself() -> None:
    one = read(dump(example()))
    assert compare(one, one).same


def test_answers_are_compared_outcome_by_outcome() -> None:
    one = example()
    other = example() | {"twin": one["twin"] | {"version": 3}}
    assessment = dict(one["assessments"][0])
    result = assessment["results"][0] | {"value": 0.2}
    other["assessments"] = [assessment | {"results": [result], "refusals": []}]
    found = compare(read(dump(one)), read(dump(other)))
    before = [(r.outcome, r.before, r.after) for r in found.results]
    assert before == [
        ("heart-failure", (None, "missing-input"), None),
        ("total-cvd", (0.0812, ""), (0.2, "")),
    ]


def test_two_twins_do_not_compare() -> None:
    other = read(dump(twin(twin=pseudonym("other"))))
    with pytest.raises(OtherTwinError):
        compare(first(ONE), other)
