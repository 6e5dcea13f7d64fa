"""Two implementations of one policy: the generated plans may never differ from the rules."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from privacy_generator import MARKER, Generator
from privacy_support import (
    CODES,
    GUARDS,
    ICD10CM,
    LOINC,
    MINUTES,
    SNOMED,
    UCUM,
    observation,
    session,
)
from support.depth import examples

from privacy import plans
from privacy.deidentify import Deidentifier, Session
from privacy.elements import IN_SCOPE, elements_of, owner_of
from privacy.policy import Leaf, load_policy, policy_ids, require_verdict
from privacy.pseudonyms import Pseudonyms

SCOPE = sorted(IN_SCOPE)
POLICIES = {name: load_policy(name) for name in policy_ids()}
QUICK = {name: Deidentifier(policy, GUARDS) for name, policy in POLICIES.items()}
CAREFUL = {name: Deidentifier(policy, GUARDS, plans=False) for name, policy in POLICIES.items()}


class Ordinary:
    """Resources as systems write them: every value one that the policy keeps, or drops unseen."""

    def __init__(self, random: Random, policy: str) -> None:
        self.random, self.policy = random, POLICIES[policy]

    def resource(self, kind: str) -> dict[str, Any]:
        made = {"resourceType": kind, **self.object(kind, kind, 3)}
        made["id"] = "p1" if kind == "Patient" else f"id-{self.random.randrange(50)}"
        return made

    def object(self, path: str, owner: str, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        chosen: set[str] = set()
        for key, element in elements_of(owner).items():
            leaf = Leaf(path, owner, key, element)
            action = require_verdict(self.policy, leaf).action
            choice = key.removesuffix(element.type[0].upper() + element.type[1:])
            if action == "refuse" or self.random.random() < 0.5 or choice in chosen:
                continue
            chosen |= {choice} if choice != key else set()
            value = self.value(leaf, action, depth)
            if value is not None:
                made[key] = [value] if element.is_list else value
        return made

    def value(self, leaf: Leaf, action: str, depth: int) -> Any:
        plain = PLAIN.get(action)
        if plain is not None:
            return plain(self.random, leaf)
        if action != "keep" or depth == 0:
            return None
        inner = leaf.inner_owner
        if inner == "Coding":
            return coding(self.random)
        if inner == "CodeableConcept":
            return {"coding": [coding(self.random)]} | maybe(self.random, text="as written")
        if inner == "Quantity":
            whole = {
                "value": self.random.randrange(999) / 10,
                "unit": "mmHg",
                "system": UCUM,
                "code": "mm[Hg]",
            }
            return whole if self.random.random() < 0.8 else {"value": 5, "unit": "mg/dL"}
        return self.object(leaf.path, inner, depth - 1)


def maybe(random: Random, **entry: Any) -> dict[str, Any]:
    return entry if random.random() < 0.5 else {}


def coding(random: Random) -> dict[str, Any]:
    system, code = random.choice(sorted(CODES))
    return {"system": system, "code": code} | maybe(random, display="as written")


def reference(random: Random, leaf: Leaf) -> Any:
    mine = leaf.key in {"subject", "patient", "focus"}
    target = "Patient/p1" if mine else f"Encounter/e{random.randrange(9)}"
    return {"reference": target} | maybe(random, display="as written")


DAYS = ("2019-03-04", "2020-06-01T10:30:00Z", "2020-06-01T10:30:00.123-09:30", "2018-07", "2017")
PLAIN: dict[str, Callable[[Random, Leaf], Any]] = {
    "boolean": lambda random, leaf: random.random() < 0.5,
    "number": lambda random, leaf: random.choice(
        [1, 2.5, 97] if leaf.element.type == "decimal" else [1, 97]
    ),
    "code": lambda random, leaf: random.choice(sorted(leaf.element.codes)),
    "offset": lambda random, leaf: random.choice(DAYS),
    "age": lambda random, leaf: {"value": 41, "unit": "years", "system": UCUM, "code": "a"},
    "labels": lambda random, leaf: {"system": "x", "code": "y"},
    "drop": lambda random, leaf: random.choice(["left out", {"a": 1}, [{"url": "http://x"}]]),
    "reference": reference,
    "subject": reference,
    "about": reference,
}  # fmt: skip
ODD: tuple[Any, ...] = (
    None, [], {}, "", True, 97, [[]], [None], {"a": {}}, MARKER, [{"coding": []}], [{}, {}],
    1e14, float("nan"), {"reference": "Patient/p2"}, {"reference": 7},
    {"coding": [{"system": LOINC, "code": "30525-0"}]}, {"value": 5, "comparator": "<"},
    {"value": 93, "unit": "a", "system": UCUM, "code": "a"},
    "9999-12-31", "1970-01-01T00:00:00Z", "2020-06-01T24:00:00Z", "0001-01-01T00:00:00+05:00",
)  # fmt: skip


def spoil(random: Random, made: Any) -> None:
    """One place, at any depth, is not as expected."""
    places: list[tuple[Any, Any]] = []
    stack = [made]
    while stack:
        node = stack.pop()
        keys = list(node) if type(node) is dict else range(len(node))
        places += [(node, key) for key in keys if key != "resourceType"]
        stack += [node[key] for key in keys if type(node[key]) in {dict, list}]
    node, key = random.choice(places)
    turn = random.random()
    if turn < 0.6:
        node[key] = random.choice(ODD)
    elif turn < 0.8 and type(node) is dict:
        node[random.choice(["_" + key, "x", "extension", "text", "display"])] = random.choice(ODD)
    elif type(node) is list:
        node.append(random.choice([node[key], *ODD]))
    else:
        del node[key]


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
    random = Random(seed)
    sources = [Ordinary(random, policy).resource(kind) for _ in range(4)]
    spoiled = json.loads(json.dumps(sources))
    for source in spoiled:
        spoil(random, source)
    compare([*sources, *spoiled, *sources], policy)


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
