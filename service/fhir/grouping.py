"""Sorts the resources of a file by patient.

Within a file, resources refer to one another by `fullUrl` (`urn:uuid:…`, or absolute) as well as by
`Type/id`; all of these become `Type/id` first. A conditional reference (`Patient?identifier=…`)
stays: only a server could say what it means.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import orjson

from service.fhir import kinds
from service.fhir.errors import SourceError
from service.fhir.kinds import KINDS
from service.fhir.record import PatientRecord, SafetyEvent, Slice
from service.fhir.references import plain_reference, reference_of, replace
from service.fhir.subjects import FOREIGN, UNPROVEN
from service.fhir.versions import Resource, Versions

SCOPE = frozenset((*KINDS, *kinds.CARRIED))


@dataclass(frozen=True, slots=True)
class Claim:
    """What a kind of source says about types: those it holds, and those it does not."""

    present: str
    """`complete`, or the reason why it is not"""
    absent: str
    """`complete`, or the reason why nothing is known"""
    types: Mapping[str, "Claim"] = field(default_factory=dict)
    """Where a type is another matter"""
    asked: str = ""
    """The form of the question it answers; none where nobody was asked, as of a file"""

    def of(self, name: str) -> "Claim":
        return self.types.get(name, self)


@dataclass(slots=True)
class Pile:
    """Everything read from one source, before it is sorted."""

    resources: list[Resource] = field(default_factory=list)
    urls: dict[str, str] = field(default_factory=dict)
    """fullUrl → `Type/id`"""
    heads: dict[str, str] = field(default_factory=dict)
    """`Type/id` → what stood before it in the fullUrl"""
    lost: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(type, or "" for any; reason): what could not be read"""
    referring: list[dict[str, Any]] = field(default_factory=list)
    """The objects, at any depth, that have a `reference`"""
    short: dict[str, str] = field(default_factory=dict)
    """type, or "" for any → why some of it never arrived"""
    names: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)

    def add(self, resource: Resource, full_url: str) -> None:
        """`resource` has an id by now."""
        name = f"{resource['resourceType']}/{resource['id']}"
        self.resources.append(resource)
        self.names.add(name)
        if full_url:
            head = full_url.removesuffix(name)
            if self.heads.setdefault(name, head) != head:
                raise SourceError(
                    "holds different resources of two servers under the same id",
                    "Split it, one file for each server.",
                )
            self.urls[full_url] = name

    def delete(self, url: str) -> None:
        """A history lists the newest first: what came before this is what came after it in time."""
        name = plain_reference(url, [url.rsplit("/", 2)[0]])
        if name is not None and name not in self.names:
            self.deleted.add(name)


def records(pile: Pile, basis: str, claim: Claim) -> list[PatientRecord]:
    """One record for each Patient, in the order of their ids."""
    _make_plain(pile)
    present = [r for r in pile.resources if f"{r['resourceType']}/{r['id']}" not in pile.deleted]
    newest, superseded = _newest(present)
    patients = [r for r in newest if r["resourceType"] == "Patient"]
    if not patients:
        raise SourceError(
            "holds no Patient", "Give a Bundle or folder that includes the Patient resource."
        )
    sorted_out = _sort(newest, {f"Patient/{p['id']}" for p in patients})
    medications = {r["id"]: r for r in newest if r["resourceType"] == "Medication"}
    return [
        _Record(pile, patient, sorted_out, medications, superseded, len(patients) == 1).build(
            basis, claim
        )
        for patient in patients
    ]


def _make_plain(pile: Pile) -> None:
    bases = {head.rstrip("/") for head in pile.heads.values() if head.startswith("http")}

    @cache
    def resolve(text: str) -> str | None:
        found = pile.urls.get(text) or pile.urls.get(text.split("/_history/")[0])
        return found or plain_reference(text, bases)

    replace(pile.referring, resolve)


def _newest(resources: Sequence[Resource]) -> tuple[list[Resource], Counter[str]]:
    """Without repetitions and older versions; how many these were, by type."""
    once = {(r["resourceType"], r["id"]): r for r in resources}
    if len(once) == len(resources):  # most files: there is nothing to compare
        return [once[name] for name in sorted(once)], Counter()
    versions = Versions()
    total = Counter(r["resourceType"] for r in resources)
    for resource in resources:
        if versions.is_new(resource):
            versions.keep(resource)
    newest = versions.newest()
    return newest, total - Counter(r["resourceType"] for r in newest)


@dataclass(slots=True)
class _Sorted:
    owned: dict[str, list[Resource]] = field(default_factory=lambda: defaultdict(list))
    """`Patient/id` → resources in scope"""
    astray: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(type, reason): belongs to nobody here"""
    out_of_scope: Counter[str] = field(default_factory=Counter)


def _sort(resources: Iterable[Resource], patients: set[str]) -> _Sorted:
    found = _Sorted()
    for resource in resources:
        name = resource["resourceType"]
        if name not in SCOPE:
            found.out_of_scope[name] += 1
        elif name in KINDS:
            owner, reason = _owner(resource, patients)
            if owner is None:
                found.astray[name, reason] += 1
            else:
                found.owned[owner].append(resource)
    return found


def _owner(resource: Resource, patients: set[str]) -> tuple[str | None, str]:
    for element in KINDS[resource["resourceType"]].subject:
        text = reference_of(resource, element)
        if text in patients:
            return text, ""
        if text is not None and plain_reference(text, ()) is not None:
            return None, FOREIGN
    return None, UNPROVEN


class _Record:
    """Builds one patient's record and says how complete it is."""

    def __init__(
        self,
        pile: Pile,
        patient: Resource,
        found: _Sorted,
        medications: dict[str, Resource],
        superseded: Counter[str],
        alone: bool,
    ) -> None:
        self._pile, self._patient, self._found = pile, patient, found
        self._medications = medications
        self._superseded = superseded
        self._alone = alone
        self._kept: list[Resource] = []
        self._withdrawn: dict[str, str] = {}

    def build(self, basis: str, claim: Claim) -> PatientRecord:
        identity = self._patient["id"]
        mine: dict[str, list[Resource]] = defaultdict(list)
        for resource in self._found.owned.get(f"Patient/{identity}", ()):
            mine[resource["resourceType"]].append(resource)
        slices = [Slice("Patient", queries=1, pages=1, matches=1, finished=1)]
        slices += [self._slice(name, mine[name], claim) for name in KINDS]
        slices += self._medication_slice(slices)
        for part in slices:
            part.asked.update(filter(None, (claim.of(part.type).asked,)))
        foreign = Counter({n: c for (n, r), c in self._found.astray.items() if r == FOREIGN})
        return PatientRecord(
            patient_id=identity,
            base=self._base(),
            resources=[self._patient, *self._kept],
            completeness={"basis": basis, "slices": [s.as_dict() for s in slices]},
            safety=[SafetyEvent(FOREIGN, n, c) for n, c in sorted(foreign.items())],
            out_of_scope=dict(sorted(self._found.out_of_scope.items())),
            not_read=dict(sorted(self._found.out_of_scope.items())) if self._alone else {},
            withdrawn=self._withdrawn,
        )

    def _slice(self, name: str, own: list[Resource], claim: Claim) -> Slice:
        part = Slice(name, matches=len(own), duplicates=self._superseded[name])
        for resource in own:
            reason = kinds.withdrawn(resource)
            if reason is None:
                self._kept.append(resource)
            else:
                part.dropped[reason] += 1
                self._withdrawn[f"{name}/{resource['id']}"] = kinds.gone_word(reason)
        self._judge(part, claim)
        return part

    def _judge(self, part: Slice, claim: Claim) -> None:
        for name, reason in self._pile.short.items():
            if name in ("", part.type):
                part.lose(reason)
        own = claim.of(part.type)
        word = own.present if part.matches else own.absent
        if part.matches or word == "complete":
            part.queries = part.pages = part.finished = 1
        if word != "complete":
            part.lose(word)
        for (name, reason), count in self._found.astray.items():
            if name == part.type:
                part.dropped[reason] += count
                if reason == UNPROVEN:
                    part.lose(reason)
        for (name, reason), count in self._pile.lost.items():
            if name in ("", part.type):
                part.dropped[reason] += count
                part.lose(reason)

    def _medication_slice(self, slices: list[Slice]) -> list[Slice]:
        """The medications this patient's orders refer to."""
        wanted: dict[str, set[str]] = defaultdict(set)
        for resource in self._kept:
            text = reference_of(resource, "medicationReference") or ""
            if text.startswith("Medication/"):
                wanted[resource["resourceType"]].add(text.removeprefix("Medication/"))
        ids = set().union(*wanted.values()) if wanted else set()
        if not ids:
            return []
        found = sorted(i for i in ids if i in self._medications)
        self._kept += [self._medications[i] for i in found]
        part = Slice("Medication", queries=1, pages=1, matches=len(found), finished=1)
        if len(found) < len(ids):
            part.dropped["not-found"] = len(ids) - len(found)
            part.lose("not-found")
        for other in slices:
            if wanted[other.type] - set(found):
                other.lose("medication-unread")
        return [part]

    def _base(self) -> str:
        """The server it came from, where the file says so.

        A bare `Patient/1` of two files may be two people. There, who it is becomes part of the
        base, so that they are never taken for one.
        """
        head = self._pile.heads.get(f"Patient/{self._patient['id']}", "")
        if head.startswith("http"):
            return head.rstrip("/")
        who = {k: self._patient.get(k) for k in ("identifier", "name", "birthDate", "gender")}
        if self._patient.get("identifier"):
            who = {"identifier": self._patient["identifier"]}
        return f"file:{hashlib.sha256(orjson.dumps(who, option=orjson.OPT_SORT_KEYS)).hexdigest()}"


def identity_of(resource: Any, full_url: str) -> str | None:
    """Its id; where it has none yet, the one its fullUrl gives it."""
    identity = resource.get("id")
    if isinstance(identity, str) and identity:
        return identity
    if full_url.startswith(("urn:uuid:", "urn:oid:")):
        return full_url.rsplit(":", 1)[1] or None
    found = plain_reference(full_url, [full_url.rsplit("/", 2)[0]]) if full_url else None
    return found.split("/")[1] if found else None
