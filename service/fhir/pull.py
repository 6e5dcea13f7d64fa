"""Pulls one patient from a server, and says per resource type how complete the answer is.

A type whose query fails costs that type its verdict, never the run; only the patient's own resource
is indispensable. What a server sends that is not this patient's is dropped, counted and reported.
"""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from service.fhir import kinds, outcome
from service.fhir.capability import Capability, read_capability
from service.fhir.errors import (
    Cancelled,
    EndlessSearch,
    FhirError,
    Invalid,
    NotFhir,
    NotFound,
    NotSupported,
    TooMany,
    WrongPatient,
)
from service.fhir.http import FhirClient, Resource
from service.fhir.hydrate import read_medications
from service.fhir.kinds import ALL, KINDS, Kind
from service.fhir.paging import Page, Params, read_pages
from service.fhir.record import PatientRecord, Pulled, SafetyEvent, Slice
from service.fhir.references import rewriter
from service.fhir.subjects import FOREIGN, verdict_on_subject
from service.fhir.versions import Versions

LARGEST_PAGE = 1000
"""The most that any server here is known to give at once (vendor pages in the documentation)."""

BARE_ID = "patient:bare-id"
"""Learned: this server finds a patient's resources by `id`, not by `Patient/id`."""

Progress = Callable[[str, int, int], None]
"""(type, pages so far, matches so far)"""

__all__ = ["ALL", "PatientRecord", "Progress", "Pulled", "pull_patient"]


def pull_patient(
    client: FhirClient,
    patient_id: str,
    types: Iterable[str] = ALL,
    progress: Progress | None = None,
    *,
    capability: Capability | None = None,
    learned: set[str] | None = None,
) -> Pulled:
    """All of one patient.

    `capability` saves asking for it again; `learned`, handed in again for the same server, saves
    questions that it is known to refuse.
    """
    patient, safety = _read_patient(client, patient_id)
    able = read_capability(client) if capability is None else capability
    job = _Job(client, patient_id, able, set() if learned is None else learned, progress)
    wanted = [KINDS[name] for name in types]
    parts = job.run(wanted)
    if not any(part.slice.matches for part in parts):
        parts = job.run_with_bare_id(wanted, parts)
    medications = read_medications(client, parts)
    own = Slice("Patient", queries=1, pages=1, matches=1, finished=1)
    slices = [own, *(part.slice for part in parts), *([medications.slice] if medications else [])]
    resources = [patient, *(r for part in parts for r in part.kept)]
    resources += medications.resources if medications else []
    return Pulled(
        patient_id=patient_id,
        base=client.server.base_url,
        resources=resources,
        completeness={"basis": "server", "slices": [s.as_dict() for s in slices]},
        safety=safety + [event for part in parts for event in part.safety],
    )


def _read_patient(client: FhirClient, patient_id: str) -> tuple[Resource, list[SafetyEvent]]:
    answer = client.read("Patient", patient_id)
    patient = answer.resource
    what = "GET Patient/{id}"
    if patient is None or patient["resourceType"] != "Patient":
        raise NotFhir(what, status=answer.status)
    if patient.get("id") != patient_id:
        raise WrongPatient(what, status=answer.status)
    rewriter(client.server.bases)(patient)
    merged = sum(1 for link in _links(patient) if link.get("type") == "replaced-by")
    return patient, [SafetyEvent("patient-merged", "Patient", merged)] if merged else []


def _links(patient: Resource) -> list[Resource]:
    listed = patient.get("link")
    return [link for link in listed if isinstance(link, dict)] if isinstance(listed, list) else []


class _Job:
    """The searches of one pull, side by side within the server's limit."""

    def __init__(
        self,
        client: FhirClient,
        patient_id: str,
        capability: Capability,
        learned: set[str],
        progress: Progress | None,
    ) -> None:
        self.client, self.capability = client, capability
        self.patient = f"Patient/{patient_id}"
        self._bare_id = patient_id
        self.spelling = patient_id if BARE_ID in learned else self.patient
        self.learned = learned
        self._progress = progress
        self._lock = threading.Lock()
        self._left = client.server.limits.resources

    def run(self, wanted: list[Kind]) -> list["_TypePull"]:
        parts = [_TypePull(self, kind) for kind in wanted]
        with ThreadPoolExecutor(self.client.server.limits.concurrency) as pool:
            for done in [pool.submit(part.run) for part in parts]:
                done.result()
        return parts

    def run_with_bare_id(self, wanted: list[Kind], before: list["_TypePull"]) -> list["_TypePull"]:
        """`patient=Patient/id` and `patient=id` mean the same, but some servers find nothing under
        one of them. Before a whole record is called empty, it is asked for both ways."""
        if self.spelling == self._bare_id:
            return before
        self.spelling = self._bare_id
        parts = self.run(wanted)
        if not any(part.slice.matches for part in parts):
            return before
        self.learned.add(BARE_ID)
        return parts

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


class _TypePull:
    """All of one type: the searches, what they brought, and what is to be said about it."""

    def __init__(self, job: _Job, kind: Kind) -> None:
        self._job, self._kind = job, kind
        self._client = job.client
        self._plain = rewriter(job.client.server.bases)
        self._versions = Versions()
        self._ignored_patient = False
        self._walked = 0
        self._on_page = 0
        self._told = False
        self.slice = Slice(kind.name)
        self.kept: list[Resource] = []
        self.carried: list[Resource] = []
        self.safety: list[SafetyEvent] = []

    def run(self) -> None:
        if not self._job.capability.can(self._kind.name, "search-type"):
            self.slice.not_asked("not-supported")
            return
        self._ask_all()
        self._settle()

    def _ask_all(self) -> None:
        memory = f"{self._kind.name}:split"
        if memory not in self._job.learned:
            refusal = self._ask(())
            if not self._wants_split(refusal):
                return
            # A question put wrongly is no gap: the same is asked again below, in parts.
            self._job.learned.add(memory)
            self.slice = Slice(self._kind.name)
        assert self._kind.split is not None
        parameter, values = self._kind.split
        for value in values:
            self._ask(((parameter, value),))

    def _wants_split(self, refusal: FhirError | None) -> bool:
        return (
            isinstance(refusal, Invalid)
            and "required" in refusal.issues
            and self._kind.split is not None
            and self.slice.pages == 0
        )

    def _ask(self, narrower: Params) -> FhirError | None:
        """One search to its last page; the error that ended it early, already accounted for."""
        size = self._client.server.page_size
        refusal = self._search(narrower, size)
        if refusal is None and self._may_hide_more(size):
            # Exactly as many as asked for, and no link: either all, or a server without paging.
            refusal = self._search(narrower, LARGEST_PAGE)
            if refusal is None and self._may_hide_more(LARGEST_PAGE):
                self.slice.cut("more-pages")
        return refusal

    def _search(self, narrower: Params, count: int) -> FhirError | None:
        self.slice.queries += 1
        self._walked = 0
        params = (("patient", self._job.spelling), *narrower, ("_count", str(count)))
        try:
            read_pages(self._client, self._kind.name, params, self._take)
        except Cancelled:
            raise
        except FhirError as error:
            self._account_for(error)
            return error
        self.slice.finished += 1
        return None

    def _may_hide_more(self, asked: int) -> bool:
        """A single page filled to the brim, and no total that says it was all."""
        return self._walked == 1 and self._on_page in (asked, LARGEST_PAGE) and not self._told

    def _account_for(self, error: FhirError) -> None:
        if isinstance(error, EndlessSearch):
            self.slice.cut(error.code)
        elif isinstance(error, NotFound | NotSupported):
            self.slice.refused += 1
            self.slice.not_asked("not-supported")
        else:
            self.slice.failed(error)

    def _take(self, page: Page) -> bool:
        part = self.slice
        part.pages += 1
        self._walked += 1
        self._on_page = page.count_of(part.type)
        self._told = page.total is not None and page.total == self._on_page
        if page.total is not None and part.server_total is None:
            part.server_total = page.total
        self._note_ignored(page)
        new = 0
        for entry in page.entries():
            new += self._take_entry(entry)
        self._job.report(part)
        self._job.spend(new, f"GET {part.type}")
        return new > 0

    def _note_ignored(self, page: Page) -> None:
        """The patient parameter ignored: the whole ward may come. Everything is filtered here."""
        if "patient" in page.ignored() and not self._ignored_patient:
            self._ignored_patient = True
            self.safety.append(SafetyEvent("parameter-ignored", self._kind.name, 1))

    def _take_entry(self, entry: Resource) -> bool:
        resource = entry.get("resource")
        if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
            return self._unusable("no-resource")
        if outcome.is_outcome(resource):
            self.slice.outcomes += 1
            if outcome.loses_content(resource):
                self.slice.lose("server-outcome")
            return False
        if not isinstance(resource.get("id"), str):
            return self._unusable("no-id")
        if not self._versions.is_new(resource):
            self.slice.duplicates += 1
            return False
        return self._take_resource(resource)

    def _unusable(self, reason: str) -> bool:
        self.slice.dropped[reason] += 1
        self.slice.lose(reason)
        return False

    def _take_resource(self, resource: Resource) -> bool:
        self._plain(resource)
        name = resource["resourceType"]
        if name != self._kind.name:
            if name in kinds.CARRIED and name != "Patient":
                self.carried.append(resource)
            else:
                self.slice.dropped["other-type"] += 1
            return True
        self.slice.matches += 1
        reason = verdict_on_subject(resource, self._kind, self._job.patient)
        if reason is None:
            self._versions.keep(resource)
        else:
            self._drop_foreign(reason)
        return True

    def _drop_foreign(self, reason: str) -> None:
        self.slice.dropped[reason] += 1
        if reason != FOREIGN or not self._ignored_patient:
            # Who mixes patients up may have left some of this one's out.
            self.slice.lose(reason)

    def _settle(self) -> None:
        """Once all pages are in: the newest version decides what a resource says."""
        self.slice.duplicates += self._versions.superseded
        for resource in self._versions.newest():
            reason = kinds.withdrawn(resource)
            if reason is None:
                self.kept.append(resource)
            else:
                self.slice.dropped[reason] += 1
        foreign = self.slice.dropped[FOREIGN]
        if foreign:
            self.safety.append(SafetyEvent(FOREIGN, self._kind.name, foreign))
