"""Resources as systems write them, ways to spoil them, and any JSON: for ways that must agree."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

from hypothesis import strategies as st
from privacy_generator import MARKER
from privacy_support import CODES, GUARDS, LOINC, UCUM

from privacy.deidentify import Deidentifier
from privacy.elements import IN_SCOPE, elements_of
from privacy.policy import Leaf, load_policy, policy_ids, require_verdict

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


def ordinary_and_spoiled(seed: int, kind: str, policy: str) -> list[dict[str, Any]]:
    """Some of a kind, the same with one place of each spoiled, and the first again."""
    random = Random(seed)
    sources = [Ordinary(random, policy).resource(kind) for _ in range(4)]
    spoiled = json.loads(json.dumps(sources))
    for source in spoiled:
        spoil(random, source)
    return [*sources, *spoiled, *sources]


def line_of(resource: Any) -> bytes:
    return json.dumps(resource, separators=(",", ":"), ensure_ascii=False).encode()


def any_json(names: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    return st.recursive(
        st.none() | st.booleans() | numbers | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(names, inner),
        max_leaves=20,
    )
