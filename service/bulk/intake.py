"""One file's lines into the spool: whose each is, what is no use, what was promised and is missing.

A line nobody can read costs completeness, never the run. It is remembered by its place alone.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeGuard

from service.bulk.errors import NoResources, NotFhirAtAll
from service.bulk.manifest import DELETED, ERROR, OUTPUT
from service.bulk.spool import File, Kind, Load, Spool
from service.fhir import kinds, outcome
from service.fhir.errors import SourceError
from service.fhir.grouping import identity_of
from service.fhir.kinds import KINDS
from service.fhir.lined import Briefs
from service.fhir.references import plain_reference, reference_of
from service.fhir.source import parse

Resource = dict[str, Any]

NOT_A_RESOURCE = "not-a-resource"
MOST_NAMED = 10_000
"""References that are not read anew"""
MOST_PLACES = 1000
"""Of bad lines in one file. Further ones are counted all the same."""


@dataclass(slots=True)
class Tally:
    """What one file held. Counts, types and words: nothing that names a patient."""

    read: int = 0
    """Lines, empty ones aside"""
    parsed: int = 0
    """Of these, those that had to be to know what they are"""
    lines: Counter[str] = field(default_factory=Counter)
    """By type, those that were taken"""
    outside: Counter[str] = field(default_factory=Counter)
    """By type, those of types nobody here reads"""
    unproven: Counter[str] = field(default_factory=Counter)
    """By type, those that do not say whose they are"""
    no_id: Counter[str] = field(default_factory=Counter)
    bad: int = 0
    deleted: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    """By severity"""
    losses: Counter[str] = field(default_factory=Counter)
    """By type (empty: any), outcomes that say that content is missing"""

    def types(self) -> set[str]:
        """Of which types this file had any."""
        return {t for c in (self.lines, self.unproven, self.no_id, self.outside) for t in c}

    def as_dict(self) -> dict[str, Any]:
        named = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in named.items() if value}

    @classmethod
    def of(cls, stored: Any) -> "Tally":
        tally = cls()
        for name, value in stored.items():
            setattr(tally, name, Counter(value) if isinstance(value, dict) else value)
        return tally

    def __iadd__(self, other: "Tally") -> "Tally":
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self


class Intake:
    """Takes files into one spool. `bases` are what absolute references may begin with."""

    def __init__(
        self, spool: Spool, bases: Iterable[str] = (), *, people_only: bool = False
    ) -> None:
        """`people_only`: keep whose resources there are, and not the resources."""
        self._spool, self._bases = spool, tuple(bases)
        self._people_only = people_only
        self._briefs = Briefs()
        self._named = lru_cache(MOST_NAMED)(self._patient)

    def take(self, file: File, lines: Iterable[bytes | None]) -> Tally:
        """The whole file, or an error and nothing of it."""
        load, tally = self._spool.begin(file.n), Tally()
        kinds_of_bad: Counter[str] = Counter()
        for number, line in enumerate(lines, 1):
            tally.read += 1
            why = self._line(file, line, load, tally)
            if why:
                tally.bad += 1
                kinds_of_bad[why] += 1
                if tally.bad <= MOST_PLACES:
                    load.bad.append((number, why))
            self._spool.put(load)
        if tally.bad and tally.bad == tally.read and file.section != ERROR:
            others = set(kinds_of_bad) == {NOT_A_RESOURCE}
            raise (NotFhirAtAll if others else NoResources)("GET {export file}")
        self._spool.end(load, tally.as_dict(), _short(file, tally))
        return tally

    def _line(self, file: File, line: bytes | None, load: Load, tally: Tally) -> str:
        """Why a line is bad, as a word; empty for a good one."""
        if line is None:
            return "too-long"
        brief = self._briefs.of(line) if file.section == OUTPUT else None
        if brief is not None:
            self._resource(brief, line, load, tally)
            return ""
        tally.parsed += 1
        return self._parsed(file, line, load, tally)

    def _parsed(self, file: File, line: bytes, load: Load, tally: Tally) -> str:
        try:
            found = parse(line)
        except SourceError:
            return "not-json"
        if not _is_resource(found):
            return NOT_A_RESOURCE
        if file.section == DELETED:
            return self._deletions(found, load, tally)
        if outcome.is_outcome(found):
            _note(found, tally)
            return ""
        if file.section == ERROR:
            return "other-type"
        self._resource(found, line, load, tally)
        self._briefs.learn(line)
        return ""

    def _resource(self, found: Resource, line: bytes, load: Load, tally: Tally) -> None:
        name = found["resourceType"]
        if name not in KINDS and name not in kinds.CARRIED:
            tally.outside[name] += 1
        elif (identity := identity_of(found, "")) is None:
            tally.no_id[name] += 1
        elif name == "Medication":
            tally.lines[name] += 1
            self._keep(load, Kind.SHARED, identity, line)
        elif (owner := self._owner(found)) is None:
            tally.unproven[name] += 1
        else:
            tally.lines[name] += 1
            self._keep(load, Kind.PATIENT, owner, line)
            if name == "Patient" or self._people_only:
                load.people.add(owner)
            for survivor in self._replaced_by(found) if name == "Patient" else ():
                self._keep(load, Kind.EARLIER, survivor, identity.encode())

    def _keep(self, load: Load, kind: Kind, owner: str, line: bytes) -> None:
        if not self._people_only:
            load.add(kind, owner, line)

    def _owner(self, resource: Resource) -> str | None:
        if resource["resourceType"] == "Patient":
            return identity_of(resource, "")
        for element in KINDS[resource["resourceType"]].subject:
            found = self._named(reference_of(resource, element))
            if found is not None:
                return found
        return None

    def _patient(self, reference: str | None) -> str | None:
        """The id of the Patient that it names."""
        plain = plain_reference(reference, self._bases) if reference else None
        return plain.removeprefix("Patient/") if plain and plain.startswith("Patient/") else None

    def _replaced_by(self, patient: Resource) -> Iterator[str]:
        listed = patient.get("link")
        for link in listed if isinstance(listed, list) else ():
            if isinstance(link, dict) and link.get("type") == "replaced-by":
                found = self._named(reference_of(link, "other"))
                if found is not None:
                    yield found

    def _deletions(self, found: Resource, load: Load, tally: Tally) -> str:
        """https://hl7.org/fhir/uv/bulkdata/export.html: a transaction Bundle of DELETE entries."""
        entries = found.get("entry")
        if found["resourceType"] != "Bundle" or not isinstance(entries, list):
            return "other-type"
        for entry in entries:
            request = entry.get("request") if isinstance(entry, dict) else None
            method = request.get("method") if isinstance(request, dict) else None
            url = request.get("url") if isinstance(request, dict) else None
            name = plain_reference(url, self._bases) if isinstance(url, str) else None
            if method != "DELETE" or name is None:
                return "other-type"
            load.add(Kind.DELETED, name, name.encode())
            tally.deleted[name.partition("/")[0]] += 1
        return ""


def _is_resource(value: Any) -> TypeGuard[Resource]:
    return isinstance(value, dict) and isinstance(value.get("resourceType"), str)


def _note(found: Resource, tally: Tally) -> None:
    """What the server says about its export. Of its words only codes are read, and the type an
    issue points to; where it points nowhere, anything may be missing."""
    severities = [severity for severity, _ in outcome.issues(found)]
    tally.outcomes[severities[0] if severities else "information"] += 1
    if outcome.loses_content(found):
        for name in _pointed_at(found) or {""}:
            tally.losses[name] += 1


def _pointed_at(found: Resource) -> set[str]:
    texts = [
        text
        for issue in found.get("issue", ())
        if isinstance(issue, dict) and isinstance(issue.get("expression"), list)
        for text in issue["expression"]
        if isinstance(text, str)
    ]
    heads = {text.partition(".")[0].partition("[")[0] for text in texts}
    return heads & KINDS.keys() if heads <= KINDS.keys() | {"Patient"} else set()


def _short(file: File, tally: Tally) -> str:
    """Fewer than the manifest promises: something was cut off, or the promise was wrong. Nobody
    can tell, so nothing can be concluded from what is not there."""
    return "count-short" if file.count is not None and tally.read < file.count else ""
