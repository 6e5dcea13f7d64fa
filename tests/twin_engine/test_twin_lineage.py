"""Versions of one twin: what was added, corrected, withdrawn, or only not seen."""

from collections.abc import Mapping
from typing import Any

import pytest
from support.twins import complete, facts, header, pseudonym, twin

from mappings.vocabulary.facts import (
    ConditionFact,
    ImagingFact,
    ImagingMeasure,
    Mapped,
    Measurement,
    SubjectFact,
)
from twin_engine.document import (
    Twin,
    affected,
    diff,
    digest,
    dump,
    next_version,
    read,
    source_ids,
    with_assessments,
)

BP = Measurement("systolic-bp", 801, 148.0, pseudonym("bp"))
WEIGHT = Measurement("body-weight", 801, 81.0, pseudonym("weight"))
ILL = ConditionFact("hypertension", "snomed", "38341003", "active", "", pseudonym("ill"))
FIRST = facts(measurements=[BP, WEIGHT], conditions=[ILL])


def first(mapped: Mapped = FIRST) -> Twin:
    return read(dump(twin(mapped)))


def second(mapped: Mapped, why: Mapping[str, str] | None = None, **verdicts: str) -> dict[str, Any]:
    return next_version(first(), mapped, header(now=830), complete(**verdicts), why)


def named(document: Mapping[str, Any]) -> dict[str, Any]:
    """`changes` with pseudonyms in the place of positions."""
    ids = source_ids(document)
    found = dict(document["changes"])
    return found | {key: [ids[src] for src in found[key]] for key in ("added", "corrected")}


NONE: dict[str, Any] = {"added": [], "corrected": [], "withdrawn": [], "notSeen": []}


def test_the_first_version_has_no_parent_and_no_changes() -> None:
    made = twin(FIRST)
    assert (made["twin"]["version"], made["twin"]["parent"]) == (1, None)
    assert "changes" not in made


def test_the_next_version_names_its_parent_by_the_bytes_that_were_signed() -> None:
    spaced = read(dump(twin(FIRST)).replace(b",", b", "))
    made = next_version(spaced, FIRST, header(now=830), complete())
    assert (made["twin"]["version"], made["twin"]["parent"]) == (2, spaced.digest)
    assert spaced.digest != digest(dump(spaced.document))


def test_without_bytes_the_parent_is_named_by_the_bytes_dump_makes() -> None:
    parent = twin(FIRST)
    assert twin(FIRST, parent=parent)["twin"]["parent"] == digest(dump(parent))


def test_nothing_new_changes_nothing() -> None:
    assert named(second(FIRST)) == NONE


def test_growing_older_is_no_correction() -> None:
    def with_age(age: int) -> Mapped:
        return FIRST._replace(subject=SubjectFact("male", pseudonym("p"), age))

    made = next_version(first(with_age(54)), with_age(55), header(now=1200), complete())
    assert named(made) == NONE


def test_a_new_source_is_added() -> None:
    new = Measurement("systolic-bp", 825, 139.0, pseudonym("new"))
    made = second(FIRST._replace(measurements=(BP, WEIGHT, new)))
    assert named(made) == NONE | {"added": [pseudonym("new")]}


@pytest.mark.parametrize("change", [{"value": 118.0}, {"status": "amended"}, {"time": 800}])
def test_a_source_that_says_something_else_is_corrected(change: dict[str, Any]) -> None:
    made = second(FIRST._replace(measurements=(BP._replace(**change), WEIGHT)))
    assert named(made) == NONE | {"corrected": [pseudonym("bp")]}


def test_a_source_that_a_complete_answer_no_longer_holds_is_withdrawn() -> None:
    made = second(FIRST._replace(measurements=(WEIGHT,)))
    gone = {"source": pseudonym("bp"), "why": "no-longer-returned"}
    assert named(made) == NONE | {"withdrawn": [gone]}


def test_a_source_known_to_be_an_error_is_withdrawn_for_that_reason() -> None:
    why = {pseudonym("bp"): "entered-in-error"}
    made = second(FIRST._replace(measurements=(WEIGHT,)), why, Observation="partial")
    gone = {"source": pseudonym("bp"), "why": "entered-in-error"}
    assert named(made) == NONE | {"withdrawn": [gone]}


@pytest.mark.parametrize("verdict", ["partial", "unknown"])
def test_what_an_incomplete_answer_lacks_was_only_not_seen(verdict: str) -> None:
    made = second(FIRST._replace(measurements=(WEIGHT,)), Observation=verdict)
    assert named(made) == NONE | {"notSeen": [pseudonym("bp")]}


def test_a_difference_shows_the_facts_before_and_after() -> None:
    corrected = FIRST._replace(measurements=(BP._replace(value=118.0), WEIGHT), conditions=())
    found = diff(twin(FIRST), twin(corrected))
    assert found.added == ()
    (bp,) = found.corrected
    assert (bp.source, bp.type) == (pseudonym("bp"), "Observation")
    assert (b'"v":148' in bp.before[0], b'"v":118' in bp.after[0]) == (True, True)
    (ill,) = found.withdrawn
    assert (ill.source, ill.type, ill.after) == (pseudonym("ill"), "Condition", ())


def assessed(mapped: Mapped, *sources: str) -> dict[str, Any]:
    made = twin(mapped)
    ids = source_ids(made)
    assessments = [
        {
            "model": {"id": "made-up", "version": "1.0.0", "card": "sha256:" + "1" * 64},
            "at": 812,
            "answer": "given",
            "inputs": [
                {"input": "systolic-bp", "value": 148, "how": "measured", "src": [ids.index(s)]}
            ],
            "snapshot": "sha256:" + "2" * 64,
            "results": [],
            "refusals": [],
            "missing": [],
        }
        for s in sources
    ]
    return with_assessments(made, assessments)


def test_an_assessment_that_used_a_corrected_or_withdrawn_fact_is_affected() -> None:
    parent = assessed(FIRST, pseudonym("bp"), pseudonym("weight"), pseudonym("ill"))
    child = twin(
        FIRST._replace(measurements=(BP._replace(value=118.0), WEIGHT), conditions=()),
        parent=parent,
    )
    assert affected(parent, child) == (0, 2)


def test_an_assessment_stands_when_its_fact_was_only_not_seen() -> None:
    parent = assessed(FIRST, pseudonym("bp"))
    child = twin(
        FIRST._replace(measurements=(WEIGHT,)), complete(Observation="partial"), parent=parent
    )
    assert affected(parent, child) == ()


def test_a_next_version_keeps_the_pseudonym_and_the_unit_of_time() -> None:
    with pytest.raises(ValueError, match="keeps its pseudonym"):
        next_version(first(), FIRST, header(twin=pseudonym("other")), complete())
    with pytest.raises(ValueError, match="begin a new twin"):
        next_version(first(), FIRST, header(time_unit="min"), complete())


def test_a_new_source_does_not_correct_a_study_that_points_at_an_old_one() -> None:
    """Positions move when a source is added; what is measured on the study does not."""
    size = Measurement("tumour-size", 640, 14.0, pseudonym("zzz"))
    links = (ImagingMeasure("tumour-size", pseudonym("zzz")),)
    study = ImagingFact(("CT",), (), "available", pseudonym("ct"), 640, measurements=links)
    before = read(dump(twin(facts(measurements=[size], imaging=[study]))))
    more = [Measurement("body-weight", 700, 80.0, pseudonym(f"w{i}")) for i in range(40)]
    after = next_version(
        before, facts(measurements=[size, *more], imaging=[study]), header(now=830), complete()
    )
    moved = [d["imaging"][0]["measurements"][0]["src"] for d in (before.document, after)]
    assert moved[0] != moved[1]
    assert after["changes"]["corrected"] == []
    gone = study._replace(measurements=())
    third = next_version(
        before, facts(measurements=[size], imaging=[gone]), header(now=830), complete()
    )
    assert len(third["changes"]["corrected"]) == 1
