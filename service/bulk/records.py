"""One patient after the other out of the spool, as any other source gives them."""

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, replace
from typing import Any

import orjson

from service.bulk.coverage import Coverage
from service.bulk.spool import Kind, Spool
from service.fhir.grouping import Pile, records
from service.fhir.lined import Lined, Outline, Outlines
from service.fhir.merged import LONGEST_CHAIN
from service.fhir.record import PatientRecord, SafetyEvent
from service.fhir.references import Rewriter, plain_reference, reference_of, rewrite
from service.fhir.versions import Versions

MOST_MERGED = 100

Resource = dict[str, Any]
Shape = Callable[[Resource], Resource]
AT_ONCE = 1000
"""Lines that are cut together"""

MERGED = "merged"
"""The record is part of another person's now, who is here too."""
MERGED_ELSEWHERE = "merged-elsewhere"
MERGE_CIRCLE = "merge-circle"
TOO_MANY = "failed:too-many"
"""More resources than one patient may have: a defect, or an attack on our memory."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Somebody of whom no twin is made, and why, as a word."""

    why: str


class Records:
    def __init__(
        self,
        spool: Spool,
        coverage: Coverage,
        basis: str,
        *,
        base: str = "",
        bases: tuple[str, ...] = (),
        most: int = 10**7,
        shape: Shape | None = None,
    ) -> None:
        """`base`: what makes ids unique; empty for files, where it is found in the Patient.
        `most`: resources that one patient may have."""
        self._spool, self._coverage, self._basis = spool, coverage, basis
        self._base, self._shape, self._most = base, shape, most
        self._plain = Rewriter(bases)
        self._outlines = Outlines(self._plain.stays)
        self.parsed = 0
        """Lines that were, for whatever reason, and whenever"""
        self._deleted: Container[str] = Deleted(spool) if spool.any(Kind.DELETED) else frozenset()

    def everybody(self) -> Iterator[tuple[str, PatientRecord | Skipped]]:
        """Those still to be made."""
        for who in self._spool.people():
            yield who, self.of(who)

    def of(self, who: str) -> PatientRecord | Skipped:
        if self._spool.number_of_lines(Kind.PATIENT, who) > self._most:
            return Skipped(TOO_MANY)
        own = self._resources(who)
        why = self._moved(who, own)
        if why:
            return Skipped(why)
        earlier = list(self._earlier(who, LONGEST_CHAIN))
        pile = self._pile([*own, *(r for _, found in earlier for r in found)])
        (record,) = records(pile, self._basis, self._coverage.claim)
        safety = [SafetyEvent("patient-merged", "Patient", len(earlier))] if earlier else []
        return replace(
            record,
            resources=Lined(record.resources, self._read),
            base=self._base or record.base,
            safety=record.safety + safety,
            deleted=self._deleted,
        )

    def _resources(self, who: str) -> list[Resource]:
        """Outlines of those that need not be parsed."""
        return self._looked(self._spool.lines(Kind.PATIENT, who))

    def _looked(self, lines: list[bytes]) -> list[Resource]:
        if self._shape is not None:
            return list(map(self._read, lines))
        found: list[Resource] = []
        for start in range(0, len(lines), AT_ONCE):
            some = lines[start : start + AT_ONCE]
            outlined = zip(some, self._outlines.of(some), strict=True)
            found += [self._read(line) if one is None else one for line, one in outlined]
        return found

    def _read(self, line: bytes) -> Resource:
        self.parsed += 1
        resource: Resource = orjson.loads(line)
        self._plain(resource)
        return resource if self._shape is None else self._shape(resource)

    # -- records that were merged ------------------------------------------------------------------

    def _moved(self, who: str, own: list[Resource]) -> str:
        """Whether this person's record has gone into another one."""
        survivor, seen = replaced_by(own), {who}
        if survivor is None:
            return ""
        while survivor is not None:
            if survivor in seen:
                return MERGE_CIRCLE
            if not self._spool.knows(survivor):
                return MERGED_ELSEWHERE
            seen.add(survivor)
            survivor = replaced_by(self._resources(survivor))
        return MERGED

    def _earlier(self, who: str, depth: int) -> Iterator[tuple[str, list[Resource]]]:
        """Ids that say they were replaced by this one, and what was filed under them. An older
        version may have said so; the newest counts."""
        ids = {line.decode() for line in self._spool.lines(Kind.EARLIER, who)} - {who}
        for identity in sorted(ids)[:MOST_MERGED] if depth else ():
            found = [self._whole(one) for one in self._resources(identity)]
            if replaced_by(found) == who:
                for filed, resources in [
                    (identity, [r for r in found if r["resourceType"] != "Patient"]),
                    *self._earlier(identity, depth - 1),
                ]:
                    _hand_over(resources, f"Patient/{identity}", f"Patient/{who}")
                    yield filed, resources

    def _whole(self, one: Resource) -> Resource:
        """For those who change it."""
        return self._read(one.line) if isinstance(one, Outline) else one

    # -- the record --------------------------------------------------------------------------------

    def _pile(self, resources: list[Resource]) -> Pile:
        pile = Pile(lost=self._coverage.lost, short=self._coverage.short)
        for resource in [*resources, *self._medications(resources)]:
            pile.add(resource, "")
            name = f"{resource['resourceType']}/{resource['id']}"
            if name in self._deleted:
                pile.deleted.add(name)
        return pile

    def _medications(self, resources: list[Resource]) -> Iterator[Resource]:
        texts = {reference_of(r, "medicationReference") or "" for r in resources}
        for text in sorted(texts):
            if text.startswith("Medication/"):
                lines = self._spool.lines(Kind.SHARED, text.removeprefix("Medication/"))
                yield from self._looked(lines)


def _hand_over(resources: list[Resource], earlier: str, survivor: str) -> None:
    for resource in resources:
        rewrite(resource, lambda text: survivor if text == earlier else None)


class Deleted:
    """The names of what was deleted: asked one by one, never held as a whole."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._spool.has(Kind.DELETED, name)


def replaced_by(own: list[Resource]) -> str | None:
    """The id that the newest version of a Patient says it was replaced by."""
    versions = Versions()
    for resource in own:
        if resource["resourceType"] == "Patient":
            versions.keep(resource)
    for patient in versions.newest():
        listed = patient.get("link")
        for link in listed if isinstance(listed, list) else ():
            if isinstance(link, dict) and link.get("type") == "replaced-by":
                plain = plain_reference(reference_of(link, "other") or "", ())
                if plain and plain.startswith("Patient/"):
                    return plain.removeprefix("Patient/")
    return None
