"""Two implementations of one policy: the generated plans may never differ from the rules."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from privacy_generator import Generator
from privacy_ordinary import (
    CAREFUL,
    POLICIES,
    QUICK,
    SCOPE,
    Ordinary,
    ordinary_and_spoiled,
    spoil,
)
from privacy_support import (
    GUARDS,
    ICD10CM,
    LOINC,
    MINUTES,
    SNOMED,
    observation,
    session,
)
from support.depth import examples

from privacy import plans
from privacy.deidentify import Deidentifier, Session
from privacy.elements import IN_SCOPE, elements_of, owner_of
from privacy.pseudonyms import Pseudonyms


def compare(sources: list[dict[str, Any]], policy: str) -> Session:
    ids = Pseudonyms()
    quick = session(deidentifier=QUICK[policy], pseudonyms=ids)
    careful = session(deidentifier=CAREFUL[policy], pseudonyms=ids)
    for source in [*sources, *sources]:  # the second time every plan has been learned
        before = repr(source)
        assert quick.apply(source) == careful.apply(source)
        assert repr(source) == before
    assert quick.counts == careful.counts
    assert (quick.refusals, quick.labels) == (careful.refusals, careful.labels)
    return quick


@given(st.integers(0, 10**9), st.sampled_from(SCOPE), st.sampled_from(sorted(POLICIES)))
@settings(max_examples=examples(250))
def test_plans_and_rules_agree_on_ordinary_resources_and_on_spoiled_ones(
    seed: int, kind: str, policy: str
) -> None:
    compare(ordinary_and_spoiled(seed, kind, policy), policy)


@given(st.integers(0, 10**9), st.sampled_from(SCOPE))
@settings(max_examples=examples(60))
def test_plans_and_rules_agree_on_resources_full_of_markers(seed: int, kind: str) -> None:
    compare([Generator(seed).resource(kind)], "safe-harbor")


@pytest.mark.slow
def test_plans_and_rules_agree_on_twenty_thousand() -> None:
    for seed in range(20_000):
        random, kind = Random(seed), SCOPE[seed % len(SCOPE)]
        source = Ordinary(random, "safe-harbor").resource(kind)
        spoiled = json.loads(json.dumps(source))
        spoil(random, spoiled)
        compare([source, spoiled], "safe-harbor")


LOINC_CODE = {"system": LOINC, "code": "8480-6"}


@pytest.mark.parametrize(
    "change",
    [
        {"code": {"coding": [LOINC_CODE], "x": 1}},
        {"code": {"coding": [LOINC_CODE], "text": "t", "x": 1}},
        {"code": {"coding": [LOINC_CODE | {"x": 1}]}},
        {"code": {"coding": [LOINC_CODE | {"version": "1", "display": "d"}]}},
        {"code": {"coding": [LOINC_CODE, LOINC_CODE]}},
        {"code": {"coding": [{"system": LOINC, "code": "30525-0"}]}},
        {"valueQuantity": {"value": 5, "unit": "mmHg", "x": 1}},
        {"valueQuantity": {"value": 5, "unit": "mmHg", "comparator": "<"}},
        {"valueQuantity": {"value": 95, "unit": "years"}},
        {"valueQuantity": {"value": True, "unit": "mmHg"}},
        {"status": "on-tuesdays"},
        {"subject": {"reference": "Patient/p1", "x": 1}},
        {"subject": {"reference": "Patient/p2"}},
    ],
)
def test_what_is_almost_ordinary_goes_through_the_rules(change: dict[str, Any]) -> None:
    """After the ordinary one, whose parts are remembered by then."""
    work = compare([observation(), observation(**change)], "safe-harbor")
    assert any(work.hits) or work.refusals


@pytest.mark.parametrize(("system", "code"), [(SNOMED, "58756001"), (ICD10CM, "K21.9")])
def test_a_code_that_is_generalised_takes_the_plan_too(system: str, code: str) -> None:
    source = observation(code={"coding": [{"system": system, "code": code}], "text": "x"})
    work = compare([source, source], "safe-harbor")
    assert work.counts[("Observation", "code.coding", "generalised")] == 4
    work.apply(source)
    assert work.done


def test_an_ordinary_resource_takes_its_plan() -> None:
    work = session(deidentifier=Deidentifier(POLICIES["safe-harbor"], GUARDS))
    for _ in range(3):
        work.apply(observation())
    assert work.done
    assert not any(work.hits)
    assert work.counts[("Observation", "valueQuantity.value", "number")] == 3


def test_notes_of_what_was_counted_are_added_up_on_the_way() -> None:
    work = session(deidentifier=QUICK["safe-harbor"])
    for _ in range(plans.MANY):
        work.apply(observation())
    assert len(work.done) < 2 * plans.MANY
    assert work.counts[("Observation", "valueQuantity.value", "number")] == plans.MANY


def test_every_type_in_scope_has_plans() -> None:
    deidentifier = Deidentifier(POLICIES["safe-harbor"], GUARDS)
    for seed in range(600):
        kind = SCOPE[seed % len(SCOPE)]
        session(deidentifier=deidentifier).apply(
            Ordinary(Random(seed), "safe-harbor").resource(kind)
        )
    planned = {name.partition(" ")[0] for name in deidentifier.planner.sources}
    assert planned >= IN_SCOPE


def test_what_is_remembered_is_bounded() -> None:
    deidentifier = Deidentifier(POLICIES["safe-harbor"], GUARDS)
    work = session(deidentifier=deidentifier)
    random = Random(3)
    for _ in range(3000):
        source = list(
            observation(issued="2020", note=[], bodySite=None, method={}, device=None).items()
        )
        random.shuffle(source)
        work.apply(dict(source))
    assert len(deidentifier.planner.sources) <= plans.SHAPES * 20
    assert len(deidentifier.planner.bundles) <= plans.BUNDLES
    assert work.counts[("Observation", "status", "code")] == 3000


def test_generated_text_can_be_read() -> None:
    deidentifier = Deidentifier(POLICIES["safe-harbor"], GUARDS)
    session(deidentifier=deidentifier).apply(observation())
    text = "\n".join(deidentifier.planner.sources.values())
    assert "def plan(source, session, done):  # Observation: resourceType, id, status" in text
    assert "raise Odd" in text
    assert MINUTES.planner is not deidentifier.planner  # a plan belongs to one policy


def test_owners_are_walked_as_the_rules_walk_them() -> None:
    element = elements_of("Observation")["component"]
    assert owner_of("Observation", "component", element) == "Observation.component"
