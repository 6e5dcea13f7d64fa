"""Who the people of an input are: birth, death and names, read before anything is written."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from privacy.gate import IdentifyingValues, collect_identifiers
from service.fhir.errors import SourceError

Resource = dict[str, Any]
Identifying = Mapping[str, IdentifyingValues]  # of each person, by id; nobody's under ""

_PATIENT = re.compile(r"Patient/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")
MOST_KNOWN = 10_000  # references that are not read anew
# Of the Patient resource only what says how old somebody is is held on to.
_LIFE = ("resourceType", "id", "birthDate", "deceasedDateTime", "deceasedBoolean")


@dataclass(frozen=True, slots=True, repr=False)
class Person:
    """One patient. `base` makes the id unique, as the vault needs it."""

    patient: Resource
    base: str
    values: IdentifyingValues


@dataclass(slots=True, repr=False)
class People:
    """Everybody in one input, by id. Grows with the number of people, not of resources."""

    batch: str
    by_id: dict[str, Person] = field(default_factory=dict)
    strangers: str = ""  # the base of people without a Patient resource; empty: of this batch

    def read(self, resources: Iterable[Any]) -> None:
        for resource in resources:
            if type(resource) is dict and resource.get("resourceType") == "Patient":
                self._add(resource)

    def _add(self, patient: Resource) -> None:
        identity = patient.get("id")
        if type(identity) is not str or not identity:
            return  # refused when its turn comes
        life = {key: patient[key] for key in _LIFE if key in patient}
        person = Person(life, base_of(patient), collect_identifiers([patient]))
        known = self.by_id.setdefault(identity, person)
        if known.base != person.base:
            raise SourceError(
                "holds two people under one id", "Split it, one file or folder for each source."
            )

    def read_all(self, resources: Sequence[Any], known: Identifying | None = None) -> None:
        """The same, holding on to everything that identifies in any resource of a person, and not
        in the Patient alone. For inputs that are in memory anyhow. `known`: has been collected."""
        self.read(resources)
        if known is None:
            own = by_owner(resources).items()
            known = {identity: collect_identifiers(some) for identity, some in own}
        for identity, values in known.items():
            self.by_id[identity] = replace(self.get(identity), values=values)

    def get(self, identity: str) -> Person:
        """Somebody without a Patient resource is nobody we know: a stranger of this batch."""
        found = self.by_id.get(identity)
        if found is None:
            patient = {"resourceType": "Patient", "id": identity}
            base = self.strangers or f"batch:{self.batch}"
            found = Person(patient, base, IdentifyingValues())
        return found


def base_of(patient: Resource) -> str:
    """A bare `Patient/1` of two files may be two people: who it is becomes part of the base, as it
    does where twins are made of files, so that erasing a person finds both."""
    who = {key: patient.get(key) for key in ("identifier", "name", "birthDate", "gender")}
    if patient.get("identifier"):
        who = {"identifier": patient["identifier"]}
    return f"file:{hashlib.sha256(orjson.dumps(who, option=orjson.OPT_SORT_KEYS)).hexdigest()}"


def by_owner(resources: Iterable[Any]) -> dict[str, list[Resource]]:
    of_whom: dict[str, list[Resource]] = defaultdict(list)
    owners = Owners()
    for resource in resources:
        if type(resource) is dict:
            of_whom[owners.of(resource) or ""].append(resource)
    return of_whom


class Owners:
    """Whose resources are: what references say, each read once."""

    def __init__(self) -> None:
        self._known: dict[str, str | None] = {}

    def of(self, resource: Resource) -> str | None:
        """The id of the patient a resource is of; None where it names none.

        Asked of every resource: what is a subject that was met before is not looked at closely.
        """
        if resource.get("resourceType") != "Patient":
            try:
                found = self._known[resource["subject"]["reference"]]
            except (KeyError, TypeError):
                found = None
            if found is not None:
                return found
        return self._of(resource)

    def _of(self, resource: Resource) -> str | None:
        if resource.get("resourceType") == "Patient":
            identity = resource.get("id")
            return identity if type(identity) is str else None
        for element in ("subject", "patient"):
            holder = resource.get(element)
            text = holder.get("reference") if type(holder) is dict else None
            found = self.named(text)
            if found is not None:
                return found
        return None

    def named(self, text: Any) -> str | None:
        """The id of the patient whom a reference names."""
        if type(text) is not str:
            return None
        if text not in self._known:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            found = _PATIENT.fullmatch(text)
            self._known[text] = found[1] if found else None
        return self._known[text]
