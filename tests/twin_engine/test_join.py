"""Two twins of one person become one document: every fact once, in one frame of time."""

from collections.abc import Mapping
from typing import Any

import pytest

from mappings.vocabulary.facts import CodedValue, ConditionFact, Mapped, Measurement, SubjectFact
from twin_engine.document import Header, Twin, build, dump, read
from twin_engine.document.join import JoinError, join

COMPLETE: Mapping[str, Any] = {
    "basis": "server",
    "slices": [{"type": "Observation", "verdict": "complete", "queries": 1, "pages": 1}],
}
DIGEST = "sha256:" + "0" * 64
EMPTY = Mapped(None, *[()] * 14)  # type: ignore[arg-type]


def name(letter: str) -> str:
    return letter * 21 + "A"


def twin(letter: str, now: int, facts: Mapped, unit: str = "d", age: int = 54) -> Twin:
    subject = SubjectFact("female", name(letter), age)
    header = Header(name(letter), "safe-harbor", 3, DIGEST, "0.1.0", now, unit)
    return read(dump(build(facts._replace(subject=subject), header, COMPLETE)))


def pressure(time: int, value: float, source: str) -> Measurement:
    return Measurement("systolic-bp", time, value, source)


A = twin(
    "B",
    100,
    EMPTY._replace(
        measurements=(pressure(90, 142, name("C")), pressure(95, 138, name("D"))),
        conditions=(
            ConditionFact(
                "hypertension", "snomed", "38341003", "active", "confirmed", name("E"), 7
            ),
        ),
    ),
)
LOCAL = EMPTY._replace(
    measurements=(pressure(-15, 138, name("F")), pressure(-2, 131, name("G"))),
    conditions=(
        ConditionFact("hypertension", "snomed", "38341003", "active", "confirmed", name("H"), -103),
    ),
    coded=(CodedValue("smoking-status", 0, "never", name("I")),),
)


def test_facts_of_both_stand_in_one_frame_of_time_and_each_once() -> None:
    """The local moment (0) is ten days after that of the other (100)."""
    joined = join(A, twin("J", 0, LOCAL), 10, "0.1.0")
    document = joined.document
    assert document["signals"]["systolic-bp"]["t"] == [90, 95, 108]
    assert document["signals"]["systolic-bp"]["v"] == [142, 138, 131]
    assert document["coded"]["smoking-status"]["t"] == [110]
    assert [entry["onset"] for entry in document["conditions"]] == [7]
    assert (joined.added, joined.duplicates) == (2, 2)
    held = {source for row in document["sources"] for source in row["ids"]}
    assert not {name("F"), name("H")} & held, "what was said already leaves no source behind"


def test_it_is_the_next_version_and_says_what_it_continues() -> None:
    head = join(A, twin("J", 0, LOCAL), 10, "0.2.0").document["twin"]
    assert (head["id"], head["version"], head["parent"]) == (A.id, 2, A.digest)
    assert (head["now"], head["software"], head["timeUnit"]) == (110, "0.2.0", "d")
    servers = [s["server"] for s in join(A, A, 0, "0.1.0").document["completeness"]["slices"]]
    assert servers == [0, 1]


def test_joining_what_is_known_adds_nothing() -> None:
    joined = join(A, A, 0, "0.1.0")
    assert (joined.added, joined.duplicates) == (0, 3)
    assert joined.document["signals"] == A.document["signals"]


def test_a_finer_unit_of_time_is_brought_to_the_coarser() -> None:
    minutes = EMPTY._replace(measurements=(pressure(-2000, 131, name("G")),))
    joined = join(A, twin("J", 0, minutes, "min"), 10, "0.1.0")
    assert joined.document["signals"]["systolic-bp"]["t"] == [90, 95, 108]


@pytest.mark.parametrize(
    ("local", "days", "sentence"),
    [
        (twin("J", 0, LOCAL), -1, "is the newer one"),
        (twin("J", 0, LOCAL, age=60), 10, "ages do not fit"),
    ],
)
def test_two_who_are_not_one_are_not_joined(local: Twin, days: int, sentence: str) -> None:
    with pytest.raises(JoinError, match=sentence):
        join(A, local, days, "0.1.0")
