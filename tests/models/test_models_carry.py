"""A model that is not asked again would have said the same: carried over against computed anew,
for made-up patients whose records change at random, on any later day."""

import copy
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.depth import examples
from support.twins import ALL_TYPES, complete, header

from mappings.from_fhir import map_records
from privacy.deidentify import Refused
from privacy.pseudonyms import Pseudonyms
from privacy.subject import SubjectContext
from service.pipeline.guards import deidentifier_of
from service.sandbox.testing import TEST_ANCHOR, population
from twin_engine.document import build, dump, with_assessments
from twin_engine.models.assess import Request, assess, assess_since
from twin_engine.models.carry import Before
from twin_engine.models.registry import all_models, get
from twin_engine.state import State

Json = dict[str, Any]
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
PEOPLE = {person.id: person for person in population()}
STATED = {"region": "moderate"}
WORDS = {"region": ["low", "moderate"]}
EVERY = tuple(Request(model, settings=STATED) for model in all_models().values())


class Person:
    """One record through time: a resource keeps its pseudonym."""

    def __init__(self, resources: Sequence[Json], names: Pseudonyms) -> None:
        self.resources, self._names = [dict(one) for one in resources], names

    def document(
        self, on: date = TEST_ANCHOR, parent: Json | None = None, verdicts: Json | None = None
    ) -> Json:
        patient = next(r for r in self.resources if r["resourceType"] == "Patient")
        subject = SubjectContext.of(patient, epoch=EPOCH, now=on, pseudonym=self._names)
        session = deidentifier_of("safe-harbor").session(subject)
        kept = [session.apply(resource) for resource in self.resources]
        mapped = map_records([record for record in kept if not isinstance(record, Refused)])
        return build(mapped, header(now=session.now), complete(**(verdicts or {})), parent)


@cache
def _first(name: str) -> tuple[Pseudonyms, Json]:
    names = Pseudonyms()
    document = Person(PEOPLE[name].resources, names).document()
    return names, with_assessments(document, assess(State(document), EVERY))


def known(name: str) -> tuple[Person, Json]:
    """A person, and the first version of their twin, answered."""
    names, document = _first(name)
    return Person(PEOPLE[name].resources, names), document


def both(
    before: Json, after: Json, asked: Sequence[Request] = EVERY
) -> tuple[list[Json], list[Json], int]:
    """As computed, as carried, and how many of them were."""
    found = assess_since(State(after), asked, Before(before))
    return assess(State(after), asked), found.assessments, found.carried


def dumped(document: Json, answers: list[Json]) -> bytes:
    return dump(with_assessments(document, answers))


# -- changes of a record -----------------------------------------------------------------------


def _gone(_: Json) -> Json | None:
    return None


def _wrong(resource: Json) -> Json:
    if resource["resourceType"] in ("Condition", "AllergyIntolerance"):
        system = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
        coding = {"system": system, "code": "entered-in-error"}
        return {**resource, "verificationStatus": {"coding": [coding]}}
    return {**resource, "status": "entered-in-error"}


def _scaled(resource: Json) -> Json:
    changed = copy.deepcopy(resource)
    for place in (changed, *changed.get("component", ())):
        if "value" in place.get("valueQuantity", {}):
            place["valueQuantity"]["value"] = round(place["valueQuantity"]["value"] * 1.1, 1)
    return changed


def _earlier(resource: Json) -> Json:
    changed = dict(resource)
    for name in ("effectiveDateTime", "onsetDateTime", "authoredOn", "performedDateTime"):
        if name in changed:
            day = date.fromisoformat(str(changed[name])[:10]) - timedelta(days=40)
            changed[name] = day.isoformat()
    return changed


def _annotated(resource: Json) -> Json:
    """Nothing that anybody reads."""
    return {**resource, "language": "en"}


CHANGES = {f.__name__: f for f in (_gone, _wrong, _scaled, _earlier, _annotated)}


def apply(person: Person, index: int, change: str) -> None:
    others = [i for i, r in enumerate(person.resources) if r["resourceType"] != "Patient"]
    place = others[index % len(others)]
    changed = CHANGES[change](person.resources[place])
    person.resources[place : place + 1] = [] if changed is None else [changed]


def add(person: Person, index: int, on: date) -> None:
    """One more of what is there: the same again, today."""
    measured = [r for r in person.resources if "effectiveDateTime" in r]
    if measured:
        one = copy.deepcopy(measured[index % len(measured)])
        fresh = {"id": f"added-{index}", "effectiveDateTime": on.isoformat()}
        person.resources.append(_scaled({**one, **fresh}))


@given(
    st.sampled_from(sorted(PEOPLE)),
    st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from([*CHANGES, "add"])), max_size=3),
    st.sampled_from([0, 0, 0, 1, 40, 400]),
    st.dictionaries(st.sampled_from(ALL_TYPES), st.just("partial"), max_size=1),
    st.sampled_from([None, "low", "moderate"]),
)
@settings(max_examples=examples(25))
def test_what_is_carried_over_is_what_would_be_computed(
    name: str,
    edits: list[tuple[int, str]],
    days: int,
    verdicts: Json,
    region: str | None,
) -> None:
    (person, before), on = known(name), TEST_ANCHOR + timedelta(days=days)
    for index, change in edits:
        if change == "add":
            add(person, index, on)
        else:
            apply(person, index, change)
    after = person.document(on, before, verdicts)
    stated = {"region": region} if region else {}
    asked = [one._replace(settings=stated) for one in EVERY]
    computed, carried, _ = both(before, after, asked)
    assert carried == computed
    assert dumped(after, carried) == dumped(after, computed)


# -- what is affected --------------------------------------------------------------------------


def affected(before: Json, after: Json) -> set[str]:
    """The models that are asked again."""
    state, earlier = State(after), Before(before)
    told = [(r, earlier.answer(state, r.model, None, r.wanted(), r.settings)) for r in EVERY]
    return {request.model.id for request, answer in told if answer is None}


@pytest.fixture
def person() -> Person:
    return known("demo-008")[0]


@pytest.fixture
def before() -> Json:
    return copy.deepcopy(known("demo-008")[1])


def observations(person: Person, code: str) -> list[Json]:
    found = [r for r in person.resources if code in str(r.get("code"))]
    return sorted(found, key=lambda r: str(r.get("effectiveDateTime")))


def test_where_nothing_changed_nobody_is_asked(person: Person, before: Json) -> None:
    assert affected(before, person.document(parent=before)) == set()


def test_one_new_reading_concerns_those_that_read_it(person: Person, before: Json) -> None:
    newest = observations(person, "8867-4")[-1]  # heart rate
    person.resources.append({**newest, "id": "new", "effectiveDateTime": TEST_ANCHOR.isoformat()})
    assert affected(before, person.document(parent=before)) <= {"news2"}


def test_an_input_is_concerned_by_what_it_is_derived_from(person: Person, before: Json) -> None:
    newest = observations(person, "14682-9")[-1]  # creatinine; PREVENT reads the eGFR of it
    newest["valueQuantity"] = {**newest["valueQuantity"], "value": 200}
    again = affected(before, person.document(parent=before))
    assert {"ckd-epi-2021", "prevent", "kfre"} <= again
    assert "score2" not in again


def test_a_day_ages_readings_and_leaves_those_alone_that_read_none(
    person: Person, before: Json
) -> None:
    again = affected(before, person.document(TEST_ANCHOR + timedelta(days=1), before))
    assert "prevent" in again
    assert "pgx" not in again


def test_what_was_not_answered_concerns_those_that_rest_on_absence(
    person: Person, before: Json
) -> None:
    again = affected(before, person.document(parent=before, verdicts={"Condition": "partial"}))
    assert "prevent" in again
    assert "news2" not in again


@pytest.mark.parametrize("name", ["software", "policy"])
def test_other_software_or_another_policy_asks_everybody(
    person: Person, before: Json, name: str
) -> None:
    after = person.document(parent=before)
    after["twin"][name] = "2" if name == "software" else {**after["twin"]["policy"], "version": 9}
    assert len(affected(before, after)) == len(EVERY)


def test_another_question_is_asked(person: Person, before: Json) -> None:
    after = person.document(parent=before)
    told = next(a for a in before["assessments"] if a["model"]["id"] == "prevent")
    other = next(v for v in get("prevent").variants if v != told["model"]["variant"])
    for asked in (
        Request(get("prevent"), other),
        Request(get("prevent"), targets=get("prevent").reported()[:1]),
    ):
        computed, carried, count = both(before, after, [asked])
        assert (carried, count) == (computed, 0)


def test_another_version_of_a_model_is_asked(person: Person, before: Json) -> None:
    for one in before["assessments"]:
        one["model"] = {**one["model"], "version": "0.9.0"}
    assert len(affected(before, person.document(parent=before))) == len(EVERY)


def test_silence_is_a_matter_of_today(person: Person, before: Json) -> None:
    after = person.document(parent=before)
    (told,) = assess_since(
        State(after), [Request(get("prevent"), silent=True)], Before(before)
    ).assessments
    assert told["silent"] is True
    spoken = assess_since(
        State(after), [Request(get("prevent"))], Before(before | {"assessments": [told]})
    )
    assert (spoken.carried, "silent" in spoken.assessments[0]) == (1, False)
