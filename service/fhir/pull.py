"""Pulls one patient from a server, and says per resource type how complete the answer is.

A type whose query fails costs that type its verdict, never the run; only the patient's own resource
is indispensable. What a server sends that is not this patient's is dropped, counted and reported.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cached_property, partial

from service.fhir import kinds, outcome, r5
from service.fhir.capability import Capability, read_capability
from service.fhir.errors import Cancelled, FhirError, NotFhir, TooMany
from service.fhir.forms import EVERYTHING, read_form
from service.fhir.http import FhirClient, Resource
from service.fhir.hydrate import read_medications, read_members
from service.fhir.kinds import ALL, KINDS, Kind
from service.fhir.manners import Manners
from service.fhir.merged import Person, find_person
from service.fhir.of_type import NO_CREATED, NO_SINCE, TypePull
from service.fhir.packed import Packed, Packer, Shelf
from service.fhir.paging import Page, read_pages
from service.fhir.record import PatientRecord, Pulled, SafetyEvent, Slice
from service.fhir.since import Kept, KeptType, Terms
from service.fhir.subjects import FOREIGN
from service.fhir.together import side_by_side

BARE_ID = "patient:bare-id"
"""Learned: this server finds a patient's resources by `id`, not by `Patient/id`."""
NO_EVERYTHING = "no-everything"
"""Learned: what this server gives for `$everything` is not to be relied on."""

PARSED = 1_000
"""So many resources of a pull may wait as they were parsed, ten times as large as packed, for
whoever is handed parts of it."""

Progress = Callable[[str, int, int], None]
"""(type, pages so far, matches so far)"""
Arrived = Callable[[Packed], None]
"""Is handed parts of the record while the rest is on its way, by several threads: the Patient first
and alone, then what each page held that is a fact so far. What comes later may replace it, and not
all is handed over: the record alone is what was pulled."""

__all__ = ["ALL", "Arrived", "PatientRecord", "Progress", "Pulled", "pull_changes", "pull_patient"]


def pull_patient(
    client: FhirClient,
    patient_id: str,
    types: Iterable[str] = ALL,
    progress: Progress | None = None,
    *,
    person: Person | None = None,
    capability: Capability | None = None,
    learned: set[str] | None = None,
    arrived: Arrived | None = None,
) -> Pulled:
    """All of one patient, or of the types named; the others are then said not to have been asked.

    `person` and `capability` save asking for them again; `learned`, handed in again for the same
    server, saves questions that it is known to refuse.
    """
    job = _job(client, person or find_person(client, patient_id), capability, learned, progress)
    job.tell(arrived)
    return _record(job, job.pull([KINDS[name] for name in types]))


def pull_changes(
    client: FhirClient,
    patient_id: str,
    kept: Kept | None,
    terms: Terms,
    progress: Progress | None = None,
    *,
    types: Iterable[str] = ALL,
    person: Person | None = None,
    capability: Capability | None = None,
    learned: set[str] | None = None,
) -> tuple[Pulled, Kept]:
    """The same record as `pull_patient` gives, with only what has changed asked for where that can
    be relied on; and what the next such pull may begin with."""
    job = _job(client, person or find_person(client, patient_id), capability, learned, progress)
    whose = " ".join(job.person.references)
    job.begin_with(kept.types if kept is not None and kept.patient == whose else {}, terms)
    parts = job.pull([KINDS[name] for name in types])
    found = {part.slice.type: job.kept_of(part) for part in parts}
    whole = {name: one for name, one in found.items() if one is not None}
    return _record(job, parts), Kept(whose, whole)


def _job(
    client: FhirClient,
    person: Person,
    capability: Capability | None,
    learned: set[str] | None,
    progress: Progress | None,
) -> "Job":
    able = read_capability(client) if capability is None else capability
    return Job(client, person, able, set() if learned is None else learned, progress)


def _record(job: "Job", parts: list[TypePull]) -> Pulled:
    client, person = job.client, job.person
    medications = read_medications(client, parts, job.carried, job.shape)
    asked = {read_form("Patient")}
    own = Slice("Patient", queries=1, pages=1, matches=1, finished=1, asked=asked)
    slices = [own, *(part.slice for part in parts), *([medications.slice] if medications else [])]
    wanted = {part.slice.type for part in parts}
    slices += [Slice.unasked(name) for name in ALL if name not in wanted]
    packed = [job.patient]
    packed += medications.packed if medications else []
    packed += [item for part in parts for item in part.packed()]
    return Pulled(
        patient_id=person.id,
        base=client.server.base_url,
        resources=Packed(job.packer, packed),
        completeness={"basis": "server", "slices": [s.as_dict() for s in slices]},
        safety=person.safety + [event for part in parts for event in part.safety],
        out_of_scope=dict(sorted(job.out_of_scope.items())),
        not_read=dict(sorted(job.out_of_scope.items())),
        withdrawn={name: why for part in parts for name, why in part.withdrawn().items()},
    )


class Job:
    """The searches of one pull, side by side within the server's limit."""

    def __init__(
        self,
        client: FhirClient,
        person: Person,
        capability: Capability,
        learned: set[str],
        progress: Progress | None,
    ) -> None:
        self.client, self.capability, self.person = client, capability, person
        self.spellings = person.ids if BARE_ID in learned else person.references
        self.learned = learned
        self._known_before = frozenset(learned)
        self.manners = Manners(learned, client.server.post_search)
        self.shape = r5.as_r4 if r5.is_r5(capability.fhir_version) else _as_it_is
        self.out_of_scope: Counter[str] = Counter()
        self.packer = Packer()
        self.carried = Shelf(self.packer)
        self._progress = progress
        self._lock = threading.Lock()
        self._left = client.server.limits.resources
        self._before: Mapping[str, KeptType] = {}
        self._terms: Terms | None = None
        self._walked = False
        self._arrived: Arrived | None = None
        self._untold: list[bytes] = []
        self._parsed_left = PARSED

    def tell(self, arrived: Arrived | None) -> None:
        """From now on, what arrives. A Patient that cannot be packed fails the pull when all else
        is done: then nothing is told."""
        with suppress(NotFhir):
            self._untold = [self.patient] if arrived is not None else []
            self._arrived = arrived

    def hand_over(self, packed: Callable[[], dict[bytes, Resource]]) -> None:
        """The Patient with the first page: whoever takes it begins to work, and until then that
        would only keep the searches from being sent. The first ones as they were parsed, too."""
        if self._arrived is None:
            return
        with self._lock:
            first, self._untold = self._untold, []
            if first:
                self._arrived(Packed(self.packer, first))
        found = packed()
        with self._lock:
            self._parsed_left -= len(found)
            few = self._parsed_left >= 0
        self._arrived(Packed(self.packer, list(found), found if few else None))

    def begin_with(self, before: Mapping[str, KeptType], terms: Terms) -> None:
        """What was pulled earlier, and when changes to it are enough."""
        self._before, self._terms = before, terms

    def pull(self, wanted: list[Kind]) -> list[TypePull]:
        """By `$everything` where that is wished and sound, else type by type."""
        whole = None if self._before else self._everything(wanted)
        parts = whole or self._searches(wanted)
        for part in parts if self._walked else ():
            part.slice.asked.add(EVERYTHING)
        read_members(self.client, parts)
        for part in parts:
            part.settle()
        return parts

    def _searches(self, wanted: list[Kind]) -> list[TypePull]:
        parts = self._run(wanted)
        if any(part.slice.matches for part in parts):
            return parts
        return self._spelled_otherwise(wanted, parts)

    def _run(self, wanted: list[Kind]) -> list[TypePull]:
        works = [partial(self._one, kind) for kind in wanted]
        return side_by_side(works, self.client.server.limits.concurrency)

    def _one(self, kind: Kind) -> TypePull:
        """What has changed, where that is enough; else all."""
        before = self._before.get(kind.name)
        asked: set[str] = set()
        if before is not None:
            for way in (self._since, self._new):
                part = TypePull(self, kind)
                if way(part, before):
                    return part
                asked |= part.slice.asked
        part = TypePull(self, kind)
        part.slice.asked |= asked
        part.run()
        return part

    def _since(self, part: TypePull, before: KeptType) -> bool:
        """By `_lastUpdated`."""
        assert self._terms is not None
        able = not self._knows(part, NO_SINCE)
        return able and before.serves(self._terms) and part.run_since(before, self._terms)

    def _new(self, part: TypePull, before: KeptType) -> bool:
        """By the date of recording, where it was known already that there is no `_lastUpdated`:
        somebody may have announced a correction, in the belief that it is found so."""
        assert self._terms is not None
        able = f"{part.slice.type}:{NO_SINCE}" in self._known_before and part.tells_new()
        able = able and not self._knows(part, NO_CREATED)
        return able and before.serves_for_new(self._terms) and part.run_created(before, self._terms)

    def _knows(self, part: TypePull, word: str) -> bool:
        return f"{part.slice.type}:{word}" in self.learned

    def kept_of(self, part: TypePull) -> KeptType | None:
        """Once trust is lost it is lost: from then on all of the type is pulled each time."""
        assert self._terms is not None
        before = self._before.get(part.slice.type)
        trusted = before is None or before.trusted
        full = part.slice.rests is None and part.slice.whole
        if before is not None and full and not self._knows(part, NO_SINCE):
            missed = part.untold(before, self._terms)
            if missed and trusted:
                part.safety.append(SafetyEvent("change-untold", part.slice.type, missed))
            trusted = trusted and not missed
        return part.kept(self._terms.now, trusted)

    def _spelled_otherwise(self, wanted: list[Kind], before: list[TypePull]) -> list[TypePull]:
        """`patient=Patient/id` and `patient=id` mean the same, but some servers find nothing under
        one of them. Before a whole record is called empty, it is asked for both ways, whatever was
        learned of the server once."""
        bare = self.spellings != self.person.ids
        self.spellings = self.person.ids if bare else self.person.references
        parts = self._run(wanted)
        for one, other in zip(before, parts, strict=True):
            one.slice.asked |= other.slice.asked
            other.slice.asked |= one.slice.asked
        if not any(part.slice.matches for part in parts):
            return before
        (self.learned.add if bare else self.learned.discard)(BARE_ID)
        return parts

    # $everything

    def _everything(self, wanted: list[Kind]) -> list[TypePull] | None:
        """One walk in place of all searches; None where it is not to be had or not sound.

        Sound is an answer that comes to its end, holds anything, and nobody else's data. A record
        of a merged patient is left to the searches, which know the earlier ids.
        """
        server = self.client.server
        offered = server.everything and self.capability.everything
        if not offered or NO_EVERYTHING in self.learned or len(self.person.ids) > 1:
            return None
        walk = _Everything(self, wanted)
        self._walked = True
        before = self._left
        if walk.is_sound():
            return walk.parts
        self.learned.add(NO_EVERYTHING)
        self.out_of_scope.clear()
        self._left = before
        return None

    def carry(self, resource: Resource) -> None:
        """What came along for others; those of them that are needed are found by their id."""
        with suppress(ValueError), self._lock:
            self.carried.keep(self.shape(resource))

    @cached_property
    def patient(self) -> bytes:
        """Packed."""
        try:
            return self.packer.pack(self.shape(self.person.resource))
        except ValueError:
            raise NotFhir("GET Patient/{id}") from None

    def report(self, part: Slice) -> None:
        if self._progress is not None:
            with self._lock:
                self._progress(part.type, part.pages, part.matches)

    def spend(self, count: int, what: str) -> None:
        """Count resources against the limit of the whole job."""
        with self._lock:
            self._left -= count
            if self._left < 0:
                raise TooMany(what)


def _as_it_is(resource: Resource) -> Resource:
    return resource


class _Everything:
    """The pages of `$everything`, dealt out to the types."""

    def __init__(self, job: Job, wanted: list[Kind]) -> None:
        self._job = job
        self.parts = [TypePull(job, kind) for kind in wanted]
        self._of = {part.slice.type: part for part in self.parts}
        self._elsewhere: set[tuple[str, str]] = set()

    def is_sound(self) -> bool:
        client, identity = self._job.client, self._job.person.id
        start = lambda: client.everything(identity, client.server.page_size)  # noqa: E731
        try:
            read_pages(client, "Patient", (), self._take, start)
        except Cancelled:
            raise
        except FhirError:
            return False
        for part in self.parts:
            part.slice.queries = part.slice.finished = 1
        foreign = any(part.slice.dropped[FOREIGN] for part in self.parts)
        return not foreign and any(part.slice.matches for part in self.parts)

    def _take(self, page: Page) -> bool:
        new = sum(self._deal(entry) for entry in page.entries())
        for part in self.parts:
            part.slice.pages += 1
            self._job.report(part.slice)
        self._job.spend(new, "GET Patient/{id}/$everything")
        return new > 0

    def _deal(self, entry: Resource) -> bool:
        resource = entry.get("resource")
        name = resource.get("resourceType") if isinstance(resource, dict) else None
        if name in self._of:
            return self._of[str(name)].take_entry(entry)
        if outcome.is_outcome(resource):
            self._note(resource)
            return False
        return isinstance(resource, dict) and self._other(resource)

    def _note(self, note: Resource | None) -> None:
        """An outcome here speaks of the whole answer."""
        for part in self.parts if outcome.loses_content(note) else ():
            part.slice.outcomes += 1
            part.slice.lose("server-outcome")

    def _other(self, resource: Resource) -> bool:
        key = str(resource.get("resourceType")), str(resource.get("id"))
        if key in self._elsewhere:
            return False
        self._elsewhere.add(key)
        if key[0] in kinds.CARRIED:
            if key[0] != "Patient":
                self._job.carry(resource)
        else:
            self._job.out_of_scope[key[0]] += 1
        return True
