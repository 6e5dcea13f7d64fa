"""Policies in words: what is decided at one place, what two policies decide differently."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from privacy.dicom.tables import ATTRIBUTES, PROFILE
from privacy.elements import IN_SCOPE, elements_of
from privacy.errors import PolicyError
from privacy.policy import Leaf, Policy, Verdict, judged_by, require_verdict, walk

# The eighteen identifiers of 45 CFR 164.514(b)(2)(i), by the letters of that paragraph.
HIPAA: Mapping[str, str] = {
    "A": "Names",
    "B": "Geographic subdivisions smaller than a state",
    "C": "Elements of dates except the year; ages over 89",
    "D": "Telephone numbers",
    "E": "Fax numbers",
    "F": "E-mail addresses",
    "G": "Social security numbers",
    "H": "Medical record numbers",
    "I": "Health plan beneficiary numbers",
    "J": "Account numbers",
    "K": "Certificate and licence numbers",
    "L": "Vehicle identifiers and serial numbers",
    "M": "Device identifiers and serial numbers",
    "N": "Web addresses (URLs)",
    "O": "IP addresses",
    "P": "Biometric identifiers",
    "Q": "Full-face photographs and comparable images",
    "R": "Any other unique identifying number, characteristic or code",
}
MEANING: Mapping[str, str] = {
    "keep": "opened: its own elements are judged one by one",
    "boolean": "kept as true or false",
    "number": "kept as a number",
    "code": "kept if it is a code of HL7's required list",
    "known-code": "kept, with its system, if the vocabulary knows it; no finer than matters, of "
    "a rare diagnosis the parent",
    "code-system": "kept, with its code, if the vocabulary knows it",
    "unit": "kept if it is a known spelling of a unit",
    "unit-system": "kept with the unit's code",
    "unit-code": "kept if it is a known unit",
    "pseudonym": "replaced by a random pseudonym out of the vault",
    "reference": "replaced by the pseudonym of what it points at",
    "subject": "must be the patient of the run; replaced by the pseudonym",
    "about": "replaced by a pseudonym; about another person, the resource is refused",
    "medication": "replaced by a pseudonym, or by the code of the contained Medication",
    "contained": "read where a medication needs it, never handed on",
    "offset": "counted from the sealed zero of the patient's time",
    "age": "told in completed years, the oldest as one group",
    "birth": "told as an age",
    "death": "told as a flag and a relative time",
    "labels": "kept if it is on HL7's lists, as an obligation",
    "area": "country, state and three digits of a US ZIP code, where enough people live",
    "area-5": "country, state and five digits of a US ZIP code",
    "drop": "left out and counted",
    "refuse": "refuses the whole resource",
}
# What stands in the place afterwards, by type. Never a value.
BECOMES: Mapping[str, str] = {
    "keep": "the same, without what is judged otherwise below it",
    "boolean": "boolean",
    "number": "number",
    "code": "code, one of HL7's closed list",
    "known-code": "code, one of our vocabulary",
    "code-system": "uri, one of our vocabulary's systems",
    "unit": "string, one of our spellings of units",
    "unit-system": "uri, UCUM's",
    "unit-code": "code, one of our units",
    "pseudonym": "pseudonym, 128 random bits",
    "reference": "Type/pseudonym",
    "subject": "Type/pseudonym",
    "about": "Type/pseudonym",
    "medication": "Type/pseudonym, or a code of our vocabulary",
    "contained": "nothing",
    "offset": "whole number and its precision",
    "age": "whole number of years, at most 90",
    "birth": "whole number of years, at most 90",
    "death": "boolean, and a whole number with its precision",
    "labels": "code, one of HL7's security labels",
    "area": "codes of country and state, three digits or none",
    "area-5": "codes of country and state, five digits",
    "drop": "nothing",
    "refuse": "nothing: the resource is refused",
}


class Amount(StrEnum):
    """What an action amounts to, in the end."""

    KEPT = "kept"
    CHANGED = "changed"
    REMOVED = "removed"


_CHANGED = frozenset(
    {"pseudonym", "reference", "subject", "about", "medication", "offset", "age", "birth", "death"}
    | {"area", "area-5", "generalised"}
)
_TAGS = re.compile(r"\[([A-R](?:,[A-R])*)\] ?")


@dataclass(frozen=True, slots=True)
class Explanation:
    """One place of a record and what a policy decides there. `rule` names the line of the file."""

    path: str
    type: str
    action: str
    meaning: str
    reason: str
    categories: tuple[str, ...]
    rule: str


def amounts_to(action: str) -> Amount:
    """Of an action as it is counted: `drop:unknown-code` is a `drop`."""
    name = action.partition(":")[0]
    if name in {"drop", "refuse", "contained"}:
        return Amount.REMOVED
    return Amount.CHANGED if name in _CHANGED else Amount.KEPT


def categories(verdict: Verdict) -> tuple[str, ...]:
    """The letters of the identifiers for which something is left out."""
    found = _TAGS.match(verdict.detail)
    return tuple(found[1].split(",")) if found else ()


DICOM = "DICOM."
DICOM_MEANING: Mapping[str, str] = {
    "number": "kept as numbers; the map keeps the lowest and the highest of a series",
    "code": "kept if it is a word of DICOM's own list",
    "present": "told as true or false: whether anything is there",
    "compare": "held against the patient and the series asked for, then left out",
    "fhir": "copied into the FHIR resource where that has none, and judged there",
    "drop": "left out and counted",
}


def explain(policy: Policy, path: str) -> Explanation:
    if path.startswith(DICOM):
        return explain_dicom(policy, path.removeprefix(DICOM))
    leaf = find(policy, path)
    verdict = require_verdict(policy, leaf)
    section, key = judged_by(policy, leaf)
    return Explanation(
        path=leaf.path,
        type=leaf.element.type,
        action=verdict.action,
        meaning=MEANING[verdict.action],
        reason=_TAGS.sub("", verdict.detail, count=1),
        categories=categories(verdict),
        rule=f"[elements.{section}] {key}",
    )


def explain_dicom(policy: Policy, path: str) -> Explanation:
    """One attribute of DICOM metadata, by its keyword; an attribute nobody asks for is dropped."""
    verdict = policy.dicom.get(path, Verdict("drop", "not asked for"))
    keyword = path.rpartition(".")[2]
    profile = next((row.action for row in PROFILE.values() if row.keyword == keyword), "")
    if path not in policy.dicom and not profile and keyword not in ATTRIBUTES:
        raise PolicyError(
            "give a keyword as DICOM.SliceThickness; those asked for: " + _asked(policy)
        )
    told = f"PS3.15 Table E.1-1: {profile}" if profile else "not in PS3.15 Table E.1-1"
    return Explanation(
        path=DICOM + path,
        type=ATTRIBUTES[keyword].vr if keyword in ATTRIBUTES else "",
        action=verdict.action,
        meaning=DICOM_MEANING[verdict.action],
        reason=f"{verdict.detail}; {told}" if verdict.detail else told,
        categories=(),
        rule=f"[dicom] {path}" if path in policy.dicom else "[dicom]",
    )


def _asked(policy: Policy) -> str:
    return ", ".join(sorted(policy.dicom))


def find(policy: Policy, path: str) -> Leaf:
    """The place a path names, if the policy opens everything above it."""
    name, *keys = path.split(".")
    if name not in IN_SCOPE or not keys:
        known = ", ".join(sorted(IN_SCOPE))
        raise PolicyError(f"give a path as Observation.valueQuantity; types in scope: {known}")
    parent, owner = name, name
    for position, key in enumerate(keys):
        leaf = _step(parent, owner, key)
        if position == len(keys) - 1:
            return leaf
        if require_verdict(policy, leaf).action != "keep":
            return leaf  # judged as a whole: nothing below is looked at
        parent, owner = leaf.path, leaf.inner_owner
    raise AssertionError("a path has at least one key")


def _step(parent: str, owner: str, key: str) -> Leaf:
    elements = elements_of(owner)
    if key in elements:
        return Leaf(parent, owner, key, elements[key])
    near = [name for name in elements if name.lower().startswith(key[:4].lower())]
    hint = f"; did you mean {', '.join(sorted(near))}" if near else ""
    raise PolicyError(f"R4 has no such element below {parent}{hint}")


def leaves(policy: Policy) -> Iterator[tuple[Leaf, Verdict]]:
    """Every place of every type in scope, with its verdict."""
    for name in sorted(IN_SCOPE):
        for leaf in walk(policy, name, name):
            yield leaf, require_verdict(policy, leaf)


# Identifiers that no single R4 element of the types in scope is made for, and where they hide.
ELSEWHERE: Mapping[str, str] = {
    "E": "As D: R4 holds telephone, fax and e-mail in one element.",
    "F": "As D: R4 holds telephone, fax and e-mail in one element.",
    "J": "And every identifier, see H.",
    "L": "No element of the types in scope is made for them. Text, extensions and identifiers, "
    "where they could stand, are left out.",
    "O": "And every other address on the web, see N.",
    "P": "No element of the types in scope is made for them. Attachments, sampled data and media "
    "are left out.",
}
# Verdicts that change an identifier of a category instead of leaving it out.
CHANGED_CATEGORY: Mapping[str, str] = {
    "offset": "C",
    "birth": "C",
    "death": "C",
    "age": "C",
    "pseudonym": "R",
    "reference": "R",
    "subject": "R",
    "about": "R",
    "medication": "R",
}


@dataclass(frozen=True, slots=True)
class Identifier:
    """One of the eighteen: the places it can stand in, and the rules that judge them."""

    letter: str
    name: str
    places: tuple[str, ...]
    rules: tuple[tuple[str, str], ...]  # `section.key`, and the action where it only changes
    elsewhere: str


def identifiers(policy: Policy) -> list[Identifier]:
    """The eighteen identifiers, and what this policy does about each."""
    rules: dict[str, set[tuple[str, str]]] = {letter: set() for letter in HIPAA}
    places: dict[str, list[str]] = {letter: [] for letter in HIPAA}
    for leaf, verdict in leaves(policy):
        section, key = judged_by(policy, leaf)
        changed = CHANGED_CATEGORY.get(verdict.action)
        for letter in (changed,) if changed else categories(verdict):
            rules[letter].add((f"{section}.{key}", verdict.action if changed else ""))
            places[letter].append(leaf.path)
    return [
        Identifier(
            letter, name, tuple(places[letter]), tuple(sorted(rules[letter])),
            ELSEWHERE.get(letter, ""),
        )
        for letter, name in HIPAA.items()
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Difference:
    what: str
    before: str
    after: str


def differences(one: Policy, other: Policy) -> list[Difference]:
    """What the second decides otherwise than the first, in words."""
    found = [Difference(what, str(a), str(b)) for what, a, b in _settings(one, other) if a != b]
    before, after = _all(one), _all(other)
    for path in sorted(before.keys() | after.keys()):
        a, b = before.get(path), after.get(path)
        if a != b:
            found.append(Difference(path, _word(a), _word(b)))
    return found


def _all(policy: Policy) -> dict[str, Verdict]:
    found = {leaf.path: verdict for leaf, verdict in leaves(policy)}
    return found | {DICOM + path: verdict for path, verdict in policy.dicom.items()}


def _settings(one: Policy, other: Policy) -> Iterator[tuple[str, object, object]]:
    yield "unit of time", one.time.unit, other.time.unit
    yield "time in the ledger", one.time.ledger, other.time.ledger
    yield "years told back", one.time.past_years, other.time.past_years
    yield "oldest age told", one.age.top, other.age.top
    yield "rare codes", _rare(one), _rare(other)
    yield "digits of other numbers in files", one.files.digits, other.files.digits
    yield "dates in files", one.files.dates, other.files.dates
    yield "makes twins", _yes(one.files.twins), _yes(other.files.twins)


def _rare(policy: Policy) -> str:
    return "generalised" if policy.codes.generalise else "kept"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _word(verdict: Verdict | None) -> str:
    if verdict is None:
        return "not opened"
    return f"{verdict.action}: {verdict.detail}" if verdict.detail else verdict.action
