"""Where a FHIR path leads: the rule, its reason and legal basis, the type before and after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from privacy.elements import IN_SCOPE
from privacy.explain import (
    BECOMES,
    CHANGED_CATEGORY,
    HIPAA,
    Explanation,
    amounts_to,
    explain,
    leaves,
)
from privacy.policy import load_policy, policy_ids
from service.stores.ledger_index import Place, is_at

DEFAULT = "safe-harbor"
CFR = "45 CFR 164.514(b)(2)(i)({})"


@dataclass(frozen=True, slots=True)
class Judged:
    """One element under the policies that judge it alike. `found.path` is shorter where it is
    judged as a whole."""

    policies: tuple[str, ...]
    found: Explanation

    @property
    def becomes(self) -> str:
        return BECOMES[self.found.action]

    @property
    def amount(self) -> str:
        return amounts_to(self.found.action).value

    @property
    def basis(self) -> list[tuple[str, str]]:
        """The identifiers for which it is taken out or changed, and where the law names them."""
        changed = CHANGED_CATEGORY.get(self.found.action)
        letters = self.found.categories or ((changed,) if changed else ())
        return [(CFR.format(letter), HIPAA[letter]) for letter in letters]


@cache
def catalogue() -> Mapping[str, str]:
    """Every path that some policy judges, and the FHIR type that stands there."""
    found: dict[str, str] = {}
    for name in policy_ids():
        for leaf, _ in leaves(load_policy(name)):
            found.setdefault(leaf.path, leaf.element.type)
    return dict(sorted(found.items()))


def search(words: str, kind: str | None = None) -> list[str]:
    """Paths that hold every word, in any case; nearest to what was asked for first."""
    wanted = words.replace("/", ".").lower().split()
    found = [
        path
        for path in catalogue()
        if (kind is None or path.startswith(f"{kind}."))
        and all(word in path.lower() for word in wanted)
    ]
    return sorted(found, key=lambda path: _distance(path, wanted))


def _distance(path: str, wanted: Sequence[str]) -> tuple[int, int, str]:
    """Exact first, then whole names, then beginnings, then the rest; short before long."""
    low = path.lower()
    names = low.split(".")
    if wanted and low == wanted[0]:
        return 0, 0, path
    if all(word in names or low.endswith(f".{word}") for word in wanted):
        return 1, len(names), path
    if all(any(name.startswith(word) for name in names) for word in wanted):
        return 2, len(names), path
    return 3, len(names), path


def types() -> list[str]:
    return sorted(IN_SCOPE)


def judged(path: str) -> list[Judged]:
    """What the policies decide there, those that agree together. `PolicyError`, with the nearest
    names, where R4 has no such element."""
    found: dict[Explanation, list[str]] = {}
    for name in _default_first():
        found.setdefault(explain(load_policy(name), path), []).append(name)
    return [Judged(tuple(names), explanation) for explanation, names in found.items()]


def _default_first() -> list[str]:
    return sorted(policy_ids(), key=lambda name: (name != DEFAULT, name))


def counted(places: Sequence[Place], path: str) -> list[Place]:
    """What was counted at a path and below it. A Coding is counted once, with what is in it."""
    inner = path.partition(".")[2]
    here = [place for place in places if is_at(place.path, inner)]
    parent, _, key = inner.rpartition(".")
    if not here and key in {"system", "code"} and parent.endswith("oding"):
        here = [place for place in places if place.path == parent]
    return here
