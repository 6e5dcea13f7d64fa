"""Export jobs in memory: what was asked, what is in it, its files and their addresses."""

import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from service.sandbox.answers import as_bytes
from service.sandbox.dates import parse_interval
from service.sandbox.errors import FhirError, outcome
from service.sandbox.export.manners import Manners
from service.sandbox.search import known_types, references
from service.sandbox.store import Gone, Resource, Store, instant

# Not about one patient, and brought along where an exported resource refers to them.
ASSOCIATED = frozenset({"Endpoint", "Location", "Medication", "Organization", "Practitioner"})


@dataclass(frozen=True)
class Asked:
    """A kick-off request that was understood."""

    level: str
    request: str
    client: str = field(repr=False)
    group: str = ""
    types: tuple[str, ...] = ()
    since: str = ""
    patients: frozenset[str] | None = None
    """None: everybody on this server."""
    ignored: tuple[str, ...] = ()
    paged: bool = False


@dataclass(frozen=True)
class ExportFile:
    section: str
    """`output`, `deleted` or `error`"""
    type: str
    lines: tuple[bytes, ...] = field(repr=False)

    @property
    def data(self) -> bytes:
        return b"".join(line + b"\n" for line in self.lines)


@dataclass
class Job:
    id: str
    asked: Asked
    time: str
    files: dict[str, ExportFile]
    polls_left: int
    polls: int
    expires: float
    signed: dict[str, str] = field(default_factory=dict)
    """File → the secret part of its pre-signed link"""

    @property
    def running(self) -> bool:
        return self.polls_left > 0


class Exports:
    """All jobs of one sandbox."""

    def __init__(self, manners: Manners) -> None:
        self.manners = manners
        self.lock = threading.Lock()
        self.jobs: dict[str, Job] = {}

    def start(self, store: Store, asked: Asked) -> Job:
        manners = self.manners
        with self.lock:
            self._forget_old()
            self._check_room(asked)
            job = Job(
                id=secrets.token_urlsafe(18),
                asked=asked,
                time=instant(store.now()),
                files={secrets.token_urlsafe(18): file for file in _files(store, asked, manners)},
                polls_left=manners.polls,
                polls=max(1, manners.polls),
                expires=time.monotonic() + manners.lifetime_seconds,
            )
            self.jobs[job.id] = job
        return job

    def job(self, identity: str, client: str) -> Job:
        """Bound to the client that asked: for anybody else there is no such job."""
        with self.lock:
            self._forget_old()
            job = self.jobs.get(identity)
        if job is None or job.asked.client != client:
            raise FhirError(404, "not-found", "no such export job")
        return job

    def polled(self, job: Job) -> bool:
        """Whether it is still at work; each look brings it on."""
        with self.lock:
            running = job.running
            job.polls_left -= running
        return running

    def delete(self, job: Job) -> None:
        with self.lock:
            self.jobs.pop(job.id, None)

    def file(self, identity: str, client: str) -> tuple[Job, ExportFile]:
        with self.lock:
            self._forget_old()
            for job in self.jobs.values():
                if identity in job.files and job.asked.client == client:
                    return job, job.files[identity]
        raise FhirError(404, "not-found", "no such file")

    def sign(self, job: Job, identity: str) -> str:
        with self.lock:
            return job.signed.setdefault(identity, secrets.token_urlsafe(24))

    def signed(self, secret: str) -> ExportFile:
        with self.lock:
            for job in self.jobs.values():
                for identity, given in job.signed.items():
                    if given == secret:
                        return job.files[identity]
        raise FhirError(403, "expired", "this link is not valid any more")

    def expire_links(self) -> None:
        """Pre-signed links live shortly; the manifest, asked for again, holds new ones."""
        with self.lock:
            for job in self.jobs.values():
                job.signed.clear()

    def _check_room(self, asked: Asked) -> None:
        held = self.manners.held_until_deleted
        busy = [
            job
            for job in self.jobs.values()
            if job.asked.client == asked.client
            and (job.running or held)
            and (not held or job.asked.group == asked.group)
        ]
        if len(busy) >= self.manners.jobs_per_client:
            text = "this client has an export under way"
            raise FhirError(429, "throttled", text, headers={"Retry-After": "1"})

    def _forget_old(self) -> None:
        now = time.monotonic()
        self.jobs = {name: job for name, job in self.jobs.items() if job.expires > now}


# -- what is in a job ------------------------------------------------------------------------------


def _files(store: Store, asked: Asked, manners: Manners) -> list[ExportFile]:
    with store.lock:
        found = _wanted(store, asked)
        gone = list(_gone(store, asked))
    files: list[ExportFile] = []
    for kind in known_types():
        lines = [as_bytes(r) for r in found if r["resourceType"] == kind]
        files += _cut("output", kind, lines, manners.lines_per_file)
    deleted = [as_bytes(_deletion(each)) for each in gone]
    files += _cut("deleted", "Bundle", deleted, manners.lines_per_file)
    notes = [as_bytes(_ignored(name)) for name in asked.ignored]
    return [*files, *_cut("error", "OperationOutcome", notes, manners.lines_per_file)]


def _cut(section: str, kind: str, lines: list[bytes], size: int) -> Iterator[ExportFile]:
    for start in range(0, len(lines), size):
        yield ExportFile(section, kind, tuple(lines[start : start + size]))


def _wanted(store: Store, asked: Asked) -> list[Resource]:
    if asked.level == "system" and asked.patients is None:
        found = [r for kind in known_types() for r in store.all(kind)]
    else:
        found = _of_patients(store, asked.patients)
    since = parse_interval(asked.since).lo if asked.since else None
    return [
        r
        for r in found
        if (not asked.types or r["resourceType"] in asked.types)
        and (since is None or parse_interval(r["meta"]["lastUpdated"]).lo > since)
    ]


def _of_patients(store: Store, patients: frozenset[str] | None) -> list[Resource]:
    chosen = {r["id"] for r in store.all("Patient")}
    chosen &= chosen if patients is None else patients
    own = [r for kind in known_types() for p in sorted(chosen) for r in store.of_patient(kind, p)]
    named = {f"{r['resourceType']}/{r['id']}" for r in own}
    extra = _referred(store, own)
    about = [
        r
        for r in store.all("Provenance")
        if any(target.get("reference") in named for target in r.get("target", ()))
    ]
    return own + extra + about


def _referred(store: Store, own: list[Resource]) -> list[Resource]:
    texts = dict.fromkeys(text for resource in own for text in references(resource))
    parts = (text.partition("/") for text in texts)
    found = [store.read(kind, identity) for kind, _, identity in parts if kind in ASSOCIATED]
    return [resource for resource in found if resource is not None]


def _gone(store: Store, asked: Asked) -> Iterator[Gone]:
    """Only where changes since a moment were asked for."""
    if not asked.since:
        return
    since = parse_interval(asked.since).lo
    for each in store.gone():
        mine = asked.patients is None or each.patient in asked.patients
        if mine and each.time > since and (not asked.types or each.kind in asked.types):
            yield each


def _deletion(gone: Gone) -> dict[str, Any]:
    request = {"method": "DELETE", "url": f"{gone.kind}/{gone.id}"}
    return {"resourceType": "Bundle", "type": "transaction", "entry": [{"request": request}]}


def _ignored(name: str) -> dict[str, Any]:
    return outcome("not-supported", f"the parameter {name} was ignored", "warning")
