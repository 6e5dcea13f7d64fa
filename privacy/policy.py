"""Policies: loaded from `policies/*.toml`, checked against every published element, then frozen."""

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from privacy.dicom.judge import NUMBERS
from privacy.dicom.tables import ATTRIBUTES, GROUPS, listed
from privacy.elements import BASES, IN_SCOPE, Element, elements_of, lineage, owner_of
from privacy.errors import PolicyError

Table = dict[str, Any]

# Which FHIR types a verdict may judge. "*" is any complex type; drop and refuse fit everything.
FITS: Mapping[str, frozenset[str]] = {
    "boolean": frozenset({"boolean"}),
    "number": frozenset({"decimal", "integer", "positiveInt", "unsignedInt"}),
    "code": frozenset({"code"}),
    "known-code": frozenset({"code"}),
    "code-system": frozenset({"uri"}),
    "unit": frozenset({"string"}),
    "unit-system": frozenset({"uri"}),
    "unit-code": frozenset({"code"}),
    "pseudonym": frozenset({"id"}),
    "reference": frozenset({"Reference"}),
    "subject": frozenset({"Reference"}),
    "about": frozenset({"Reference"}),
    "medication": frozenset({"Reference"}),
    "contained": frozenset({"Resource"}),
    "offset": frozenset({"date", "dateTime", "instant"}),
    "age": frozenset({"Age"}),
    "birth": frozenset({"date"}),
    "death": frozenset({"boolean", "dateTime"}),
    "labels": frozenset({"Coding"}),
    "area": frozenset({"Address"}),
    "area-5": frozenset({"Address"}),
}
# Verdicts that mean something in one place only.
ONLY_IN: Mapping[str, frozenset[str]] = {
    "known-code": frozenset({"Coding.code"}),
    "code-system": frozenset({"Coding.system"}),
    "unit": frozenset({"Quantity.unit"}),
    "unit-system": frozenset({"Quantity.system"}),
    "unit-code": frozenset({"Quantity.code"}),
    "pseudonym": frozenset({"Resource.id"}),
    "contained": frozenset({"DomainResource.contained"}),
    "birth": frozenset({"Patient.birthDate"}),
    "death": frozenset({"Patient.deceasedBoolean", "Patient.deceasedDateTime"}),
    "labels": frozenset({"Meta.security"}),
    "area": frozenset({"Patient.address"}),
    "area-5": frozenset({"Patient.address"}),
}
# What may be decided about a DICOM attribute.
DICOM_VERDICTS = frozenset({"number", "code", "present", "compare", "fhir", "drop"})
# Types whose keys make sense together only: of the others nothing can be kept.
TOGETHER: Mapping[str, frozenset[str]] = {
    "Coding": frozenset({"system", "code"}),
    "CodeableConcept": frozenset({"coding"}),
    "Quantity": frozenset({"value", "comparator", "unit", "system", "code"}),
}
NEVER_KEPT = frozenset(
    {"Reference", "Resource", "Extension", "Identifier", "Narrative", "Annotation", "Attachment"}
)


@dataclass(frozen=True, slots=True)
class Verdict:
    action: str
    detail: str = ""  # the reason of a drop or refusal; the type a `contained` lets be read

    @staticmethod
    def parse(text: str) -> "Verdict":
        action, _, detail = text.partition(":")
        return Verdict(action.strip(), detail.strip())


@dataclass(frozen=True, slots=True)
class TimeRules:
    unit: str
    ledger: str
    past_years: int
    future_days: int
    placeholders: frozenset[date]


@dataclass(frozen=True, slots=True)
class AgeRules:
    top: int
    codes: frozenset[tuple[str, str]]
    birth_codes: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class CodeRules:
    """Whether codes tell only as much as is needed, and rare ones only their parent."""

    generalise: bool


@dataclass(frozen=True, slots=True)
class FileRules:
    """How dates stand in de-identified FHIR, how many digits a number keeps that is of no concept
    we know, and whether the policy may make twins at all."""

    digits: int
    dates: str = "year"
    twins: bool = True


@dataclass(frozen=True, slots=True)
class Policy:
    id: str
    version: int
    title: str
    supports: str
    does_not_support: str
    residual: str
    time: TimeRules
    age: AgeRules
    codes: CodeRules
    files: FileRules
    verdicts: Mapping[str, Mapping[str, Verdict]]
    dicom: Mapping[str, Verdict]  # path of keywords → verdict
    digest: str

    def verdict(self, path: str, owner: str, key: str) -> Verdict | None:
        """The verdict on one key: of the path, else of the owner, else of what that inherits."""
        for section in (path, *lineage(owner)):
            found = self.verdicts.get(section, {}).get(key)
            if found is not None:
                return found
        return None

    @property
    def short(self) -> str:
        return f"{self.id}/{self.version}"

    def as_reference(self) -> dict[str, str | int]:
        """How documents and ledger entries name this policy."""
        return {"id": self.id, "version": self.version, "digest": self.digest}

    def require_twins(self) -> None:
        """A twin has no calendar; a policy that exists to keep one is for files alone."""
        if not self.files.twins:
            raise PolicyError(
                f"{self.id} keeps dates, and a twin has no calendar: use it with `twinport "
                f"deidentify`; twins are made under {', '.join(twin_policy_ids())}"
            )


@cache
def policy_ids() -> tuple[str, ...]:
    names = (item.name for item in (files("privacy") / "policies").iterdir())
    return tuple(sorted(name[:-5] for name in names if name.endswith(".toml")))


def twin_policy_ids() -> tuple[str, ...]:
    """The policies a twin can be made under."""
    return tuple(name for name in policy_ids() if load_policy(name).files.twins)


@cache
def load_policy(policy_id: str) -> Policy:
    """Load, complete by inheritance, check and freeze one shipped policy."""
    return make_policy(read_policy(policy_id))


def read_policy(policy_id: str) -> Table:
    """The policy's table with everything it inherits filled in; nothing is checked yet."""
    if policy_id not in policy_ids():
        raise PolicyError(f"no policy {policy_id!r}; there are: {', '.join(policy_ids())}")
    text = (files("privacy") / "policies" / f"{policy_id}.toml").read_text(encoding="utf-8")
    own = tomllib.loads(text)
    parent = own.pop("inherits", None)
    return own if parent is None else merged(read_policy(parent), own)


def merged(parent: Table, own: Table) -> Table:
    """The parent with the named differences laid over it."""
    result = dict(parent)
    for key, value in own.items():
        inner = parent.get(key)
        both = isinstance(value, dict) and isinstance(inner, dict)
        result[key] = merged(inner, value) if both else value  # type: ignore[arg-type]
    return result


def make_policy(table: Table) -> Policy:
    """A checked policy from its complete table."""
    try:
        policy = Policy(
            id=str(table["id"]),
            version=int(table["version"]),
            title=str(table["title"]),
            supports=str(table["statement"]["supports"]),
            does_not_support=str(table["statement"]["does-not-support"]),
            residual=str(table["statement"]["residual"]),
            time=time_rules(table["time"]),
            age=age_rules(table["age"]),
            codes=code_rules(table["codes"]),
            files=file_rules(table["files"]),
            verdicts=verdict_table(table["elements"]),
            dicom=MappingProxyType({k: Verdict.parse(v) for k, v in table["dicom"].items()}),
            digest=digest_of(table),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise PolicyError(f"a policy lacks or misspells {error}") from error
    check_policy(policy)
    return policy


def digest_of(table: Table) -> str:
    """SHA-256 over the resolved content: comments, order and inheritance do not change it."""
    canonical = json.dumps(table, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def time_rules(table: Table) -> TimeRules:
    rules = dict(table)
    unit, ledger = rules.pop("unit"), rules.pop("ledger")
    if unit not in {"d", "min"} or ledger not in {"year", "second"}:
        raise PolicyError("[time] unit is d or min, ledger is year or second")
    made = TimeRules(
        unit,
        ledger,
        past_years=int(rules.pop("past-years")),
        future_days=int(rules.pop("future-days")),
        placeholders=frozenset(date.fromisoformat(day) for day in rules.pop("placeholders")),
    )
    refuse_leftovers("[time]", rules)
    return made


def age_rules(table: Table) -> AgeRules:
    rules = dict(table)
    made = AgeRules(
        top=int(rules.pop("top")),
        codes=code_pairs(rules.pop("codes")),
        birth_codes=code_pairs(rules.pop("birth-codes")),
    )
    refuse_leftovers("[age]", rules)
    return made


def code_rules(table: Table) -> CodeRules:
    rules = dict(table)
    rare = rules.pop("rare")
    if rare not in {"generalise", "keep"}:
        raise PolicyError("[codes] rare is generalise or keep")
    refuse_leftovers("[codes]", rules)
    return CodeRules(rare == "generalise")


def file_rules(table: Table) -> FileRules:
    rules = dict(table)
    made = FileRules(
        digits=int(rules.pop("digits")),
        dates=str(rules.pop("dates", "year")),
        twins=bool(rules.pop("twins", True)),
    )
    if not 1 <= made.digits <= 6:
        raise PolicyError("[files] digits is 1 to 6: more of them single a value out")
    if made.dates not in {"year", "shifted", "true"}:
        raise PolicyError("[files] dates is year, shifted or true")
    if made.twins and made.dates != "year":
        raise PolicyError("[files] twins have no calendar: with dates, say twins = false")
    refuse_leftovers("[files]", rules)
    return made


def code_pairs(texts: list[str]) -> frozenset[tuple[str, str]]:
    pairs = [text.split("|") for text in texts]
    return frozenset((system, code) for system, code in pairs)


def refuse_leftovers(section: str, rules: Table) -> None:
    if rules:
        raise PolicyError(f"{section} has keys that mean nothing: {', '.join(sorted(rules))}")


def verdict_table(elements: Table) -> Mapping[str, Mapping[str, Verdict]]:
    return MappingProxyType(
        {
            section: MappingProxyType({key: Verdict.parse(text) for key, text in keys.items()})
            for section, keys in elements.items()
        }
    )


# Checking -----------------------------------------------------------------------------------------


def check_policy(policy: Policy) -> None:
    """Every reachable key is judged fittingly, and every rule of the policy judges something."""
    check_dicom(policy)
    used: set[tuple[str, str]] = set()
    for resource_type in sorted(IN_SCOPE):
        for leaf in walk(policy, resource_type, resource_type):
            used.add(judged_by(policy, leaf))
    rules = {(section, key) for section, keys in policy.verdicts.items() for key in keys}
    if rules - used:
        section, key = min(rules - used)
        raise PolicyError(f"{policy.id}: [elements.{section}] {key} matches nothing")


def check_dicom(policy: Policy) -> None:
    """Every attribute is a published one, judged as its kind allows; none is left unjudged."""
    used: set[str] = set()
    for path, verdict in policy.dicom.items():
        keywords = path.split(".")
        problem = dicom_misfit(verdict, keywords)
        if problem:
            raise PolicyError(f"{policy.id}: [dicom] {path} = {verdict.action!r}: {problem}")
        used.update(keywords)
    looked_through = {a.keyword for a in ATTRIBUTES.values() if a.tag in GROUPS}
    unjudged = ATTRIBUTES.keys() - used - looked_through
    if unjudged:
        raise PolicyError(f"{policy.id}: [dicom] {min(unjudged)} has no verdict")


def dicom_misfit(verdict: Verdict, keywords: list[str]) -> str:
    """Why a verdict cannot judge this attribute; empty when it can."""
    unknown = [keyword for keyword in keywords if keyword not in ATTRIBUTES]
    if unknown:
        return f"attributes.csv has no {unknown[0]}"
    *above, last = (ATTRIBUTES[keyword] for keyword in keywords)
    if any(attribute.vr != "SQ" for attribute in above):
        return "only a sequence holds attributes"
    action = verdict.action
    if action not in DICOM_VERDICTS:
        return "no such verdict"
    if (action in ("drop", "fhir")) != bool(verdict.detail):
        return "check what follows the colon"
    if action in ("number", "code") and listed(last.tag) is not None:
        return "PS3.15 Table E.1-1 lists it as identifying"
    if action == "number" and last.vr not in NUMBERS:
        return f"does not judge {last.vr}"
    if action == "code" and not (last.vr == "CS" and last.words):
        return "DICOM has no closed list of words here"
    return ""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One place a key may stand: the path it has in a resource and the type that declares it."""

    parent: str
    owner: str
    key: str
    element: Element

    @property
    def path(self) -> str:
        return f"{self.parent}.{self.key}"

    @property
    def inner_owner(self) -> str:
        return owner_of(self.owner, self.key, self.element)


def walk(policy: Policy, path: str, owner: str, above: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Every key the policy reaches below a path: into whatever it keeps."""
    if owner in above:
        raise PolicyError(f"{policy.id}: {path} is kept inside itself without end")
    for key, element in elements_of(owner).items():
        leaf = Leaf(path, owner, key, element)
        yield leaf
        if require_verdict(policy, leaf).action == "keep":
            yield from walk(policy, leaf.path, leaf.inner_owner, (*above, owner))


def judged_by(policy: Policy, leaf: Leaf) -> tuple[str, str]:
    for section in (leaf.parent, *lineage(leaf.owner)):
        if leaf.key in policy.verdicts.get(section, {}):
            return section, leaf.key
    raise PolicyError(f"{policy.id}: {leaf.path} has no verdict")


def require_verdict(policy: Policy, leaf: Leaf) -> Verdict:
    section, key = judged_by(policy, leaf)
    verdict = policy.verdicts[section][key]
    problem = misfit(verdict, leaf)
    if problem:
        raise PolicyError(f"{policy.id}: {leaf.path} = {verdict.action!r}: {problem}")
    return verdict


def misfit(verdict: Verdict, leaf: Leaf) -> str:
    """Why a verdict cannot judge this key; empty when it can."""
    action, kind = verdict.action, leaf.element.type
    if action in {"drop", "refuse"}:
        return "" if verdict.detail else "give the reason after a colon"
    if leaf.owner in TOGETHER and leaf.key not in TOGETHER[leaf.owner]:
        return f"of a {leaf.owner} only {', '.join(sorted(TOGETHER[leaf.owner]))} can be kept"
    if action == "keep":
        kept = leaf.inner_owner
        return "" if kept in BASES and kind not in NEVER_KEPT else f"{kind} cannot be kept"
    if kind not in FITS.get(action, frozenset()):
        return f"does not judge {kind}" if action in FITS else "no such verdict"
    if action in ONLY_IN and not declared_in(leaf, ONLY_IN[action]):
        return "has no meaning here"
    if action == "code" and not leaf.element.codes:
        return "HL7 requires no closed value set here"
    return "" if (action == "contained") == bool(verdict.detail) else "check what follows the colon"


def declared_in(leaf: Leaf, places: frozenset[str]) -> bool:
    return any(f"{name}.{leaf.key}" in places for name in lineage(leaf.owner))
