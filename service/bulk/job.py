"""One export from wherever it stands to its end. Read `Export.carry_on` downward.

Every step is written down before the next begins, so that a process killed anywhere is gone on with
by the next one: the export on the server, files from the last whole one, patients from the last one
made. At the end, whatever the end, the spool and its key are destroyed.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from privacy.vault import SubjectRecord
from service.bulk import coverage, place
from service.bulk.download import Downloads
from service.bulk.errors import ExportFailed, ExportGone, SpoolLost
from service.bulk.intake import Intake
from service.bulk.loading import Loading
from service.bulk.making import Everybody, Making
from service.bulk.manifest import Manifest
from service.bulk.order import start
from service.bulk.plan import Plan
from service.bulk.polling import Poller, cancel
from service.bulk.records import Deleted, Records, Skipped
from service.bulk.report import Report, tally_files
from service.bulk.spool import FILE, Kind, Spool
from service.dicomweb import read_patient, without_acquisition
from service.fhir import r5
from service.fhir.bundle import WHOLE
from service.fhir.capability import Capability, read_capability
from service.fhir.errors import (
    BadAnswer,
    Cancelled,
    FhirError,
    Gone,
    Guarded,
    NotFound,
    TooMany,
    TransportError,
)
from service.fhir.http import FhirClient
from service.fhir.record import PatientRecord
from service.fhir.retry import Clock
from service.fhir.servers import ServerConfig
from service.pipeline.make import Made, Wish
from service.pipeline.pulling import learning
from service.pipeline.runtime import Runtime
from service.refresh.chart import Charted
from service.stores.audit import AuditStore
from service.stores.bulk import BulkJob, BulkState, BulkStore
from service.stores.vault import SqlVaultStore

RENEWING_SECONDS = 600
LOADING_SECONDS = 30 * 86_400
"""Of all files together; each has a limit of its own."""

# After these there is nothing to go on with: not the network's fault, and no later try is better.
_ENDS = (ExportFailed, ExportGone, BadAnswer, Guarded)


class Watch:
    """Whoever looks on; the base is nobody."""

    def stage(self, name: str) -> None: ...

    def preparing(self, percent: int | None) -> None: ...

    def files(self, done: int, total: int) -> None: ...

    def patients(self, done: int, total: int) -> None: ...

    def made(self, made: Made, record: PatientRecord, charted: Charted | None) -> None: ...

    def failed(self, error: Exception) -> None: ...


@dataclass
class Export:
    runtime: Runtime
    server: ServerConfig
    job: BulkJob
    plan: Plan
    watch: Watch = field(default_factory=Watch)

    def __post_init__(self) -> None:
        self._store = BulkStore(self.runtime.database)
        self._folder: Path = self.runtime.config.spool_dir
        self._client = FhirClient(self.server)
        self._able: Capability | None = None
        self.patience = self.server.bulk.wait_hours * 3600.0
        """Seconds to wait for the server to be ready"""
        limits, bulk = self.runtime.config, self.server.bulk
        self._downloads = Downloads(
            self._client,
            bulk.file_origins,
            largest=limits.limits.file_bytes,
            seconds=bulk.file_seconds,
            most=limits.bulk.total_bytes,
        )

    # -- the whole ---------------------------------------------------------------------------------

    def carry_on(self) -> Report:
        with place.held(self._folder, self.job.id) as folder, self._client:
            if self.plan.released and not (folder / FILE).exists():
                raise SpoolLost
            try:
                with Spool(folder / FILE, self.plan.key) as spool:
                    self._fetch(spool)
                    report = self._make(spool)
            except Cancelled:
                place.destroy(self._folder, self.job.id)
                raise
            except _ENDS as error:
                self._give_up(error)
                raise
            self._finish(report)
        return report

    def kick_off(self) -> None:
        """Ask for the export, where that has not been done."""
        if self.plan.status_url:
            return
        bulk, able = self.server.bulk, self._capability()
        try:
            with learning(self._client, self.runtime.database, able) as lessons:
                learned = lessons["learned"]
                started = start(self._client, self.plan.order, bulk.dialect, able, learned)
        except FhirError as error:
            if not isinstance(error, TransportError):
                self._give_up(error)
            raise
        left_out = self.plan.left_out if started.order.types else {}
        self._keep(order=started.order, status_url=started.status_url, left_out=left_out)
        self._audit(f"asked:{self.job.level}")

    def _fetch(self, spool: Spool) -> None:
        if self.plan.released:
            return
        self.kick_off()
        intake = Intake(spool, self.server.bases, people_only=self.job.changes)
        for _ in self._manifests(spool):
            self._load(spool, intake)
        self._load(spool, intake)
        spool.index()
        with suppress(TransportError):  # it frees a place there; what we need is here
            cancel(self._client, self.plan.status_url)
        self._keep(released=True, state=BulkState.MAKING)

    # -- the server's part -------------------------------------------------------------------------

    def _manifests(self, spool: Spool) -> Iterator[Manifest]:
        """Each as it comes, its files written down; nothing where that was done before."""
        if self.plan.listed and spool.number_of_files():
            return
        self.watch.stage("waiting")
        self._client.clock = waiting = Clock(self.patience)
        for manifest in self._poller().manifests(self.plan.status_url):
            self._check()
            spool.expect(manifest.files)
            if spool.number_of_files() > self.runtime.config.bulk.files:
                raise TooMany("GET {export status}", next_step="Raise `bulk.files`.")
            unreadable = self.plan.unreadable + manifest.unreadable
            time = {"transaction_time": manifest.time} if manifest.time else {}
            self._keep(token=manifest.token, unreadable=unreadable, **time)
            yield manifest
            self._client.clock = waiting
        self._keep(listed=True)

    def _poller(self) -> Poller:
        return Poller(self._client, self.server.bulk.longest_pause_seconds, self.watch.preparing)

    def _renew(self, spool: Spool) -> None:
        """The manifest again: addresses of files may live for minutes only."""
        loading, self._client.clock = self._client.clock, Clock(RENEWING_SECONDS)
        with suppress(ExportGone):  # then the files that are missing stay so, and say why
            manifests = self._poller().manifests(self.plan.status_url)
            spool.relocate([file for manifest in manifests for file in manifest.files])
        self._client.clock = loading

    def _load(self, spool: Spool, intake: Intake) -> None:
        if not spool.number_of_files("waiting"):
            return
        self.watch.stage("loading")
        self._keep(state=BulkState.LOADING)
        bulk = self.server.bulk
        self._client.clock = Clock(LOADING_SECONDS)
        Loading(
            spool,
            intake,
            self._downloads,
            self.plan.token,
            min(bulk.parallel, self.server.limits.concurrency),
            lambda: self._renew(spool),
            self.watch.files,
            self._check,
        ).load()

    # -- ours --------------------------------------------------------------------------------------

    def _make(self, spool: Spool) -> Report:
        self.watch.stage("making")
        covered = coverage.of_export(
            spool.files(),
            asked=self.plan.order.types,
            form=self.plan.order.form,
            left_out=self.plan.left_out,
            unreadable=self.plan.unreadable,
            empty_means_none=self.server.bulk.empty_means_none,
        )
        if self.job.changes:
            covered.claim = WHOLE  # the records come from elsewhere, and say themselves
        deleted = self._deleted(spool)
        everybody = self._changed(spool) if self.job.changes else self._whole(spool, covered)
        Making(
            runtime=self.runtime,
            spool=spool,
            wish=self._wish(),
            place=self.server.name,
            on_made=self.watch.made,
            on_failed=self.watch.failed,
            check=self._check,
            scale=self.server.probability_scale,
            client=self._client if self.plan.write_back else None,
            able=self._capability() if self.plan.write_back else None,
        ).make(self._counted(spool, everybody))
        states, reasons = tally_files(spool.files())
        return Report(
            files=states,
            failures=reasons,
            coverage=covered,
            patients=spool.outcomes(),
            strangers=0 if self.job.changes else spool.strangers(),
            deleted=deleted,
            bad_lines=tuple(spool.bad_lines()),
            foreign=tuple(sorted(self._downloads.foreign)),
            left_out=self.plan.left_out,
        )

    def _wish(self) -> Wish:
        models = self.runtime.models(self.plan.models)
        return Wish(self.plan.policy, models, "run", purpose=self.plan.purpose)

    def _counted(self, spool: Spool, everybody: Everybody) -> Everybody:
        total, done = spool.number_of_people(), sum(spool.outcomes().values())
        for one in everybody:
            yield one
            done += 1
            self.watch.patients(done, total)

    def _whole(self, spool: Spool, covered: coverage.Coverage) -> Everybody:
        """From the export alone: the server need not be there any more."""
        everybody = Records(
            spool,
            covered,
            "bulk",
            base=self.server.base_url,
            bases=self.server.bases,
            most=self.server.limits.resources,
            shape=r5.as_r4 if r5.is_r5(self.plan.fhir_version) else None,
        ).everybody()
        for who, found in everybody:
            if isinstance(found, Skipped):
                yield who, found
            else:
                yield who, without_acquisition(found, self.server)

    def _changed(self, spool: Spool) -> Everybody:
        """An export of changes says whose record changed; what it is now is asked of the server."""
        able, database = self._capability(), self.runtime.database
        for who in spool.people():
            self._client.clock = Clock(self.server.limits.budget_seconds)
            try:
                with learning(self._client, database, able) as lessons:
                    record = read_patient(self._client, who, **lessons)
            except (NotFound, Gone):
                yield who, Skipped("gone")
            except FhirError as error:
                yield who, error
            else:
                yield who, replace(record, deleted=Deleted(spool))

    # -- what was deleted --------------------------------------------------------------------------

    def _deleted(self, spool: Spool) -> dict[str, int]:
        """How many facts of held twins, how many persons with a twin, and how much of no twin."""
        if not spool.any(Kind.DELETED):
            return {}
        gone, known = Deleted(spool), Counter[str]()
        for record in self._held():
            facts = [name for name in record.ids.as_dict() if name in gone]
            known["facts"] += len(facts)
            person = record.patient in gone
            known["persons"] += person
            if person:
                self._audit("source-deleted", record.twin)
            elif facts and self.job.changes:
                spool.touch(record.patient.removeprefix("Patient/"))
        total = sum(1 for _ in spool.deleted())
        known["of-no-twin"] = max(0, total - known["facts"] - known["persons"])
        return dict(known)

    def _held(self) -> Iterator[SubjectRecord]:
        """Every patient of this server of whom there is a twin under this policy."""
        project = f"{self.runtime.config.project.name}/{self.plan.policy}"
        for index in SqlVaultStore(self.runtime.database).indexes():
            found = self.runtime.vault.load_at(index)
            if found and (found[0].project, found[0].base) == (project, self.server.base_url):
                yield found[0]

    # -- keeping -----------------------------------------------------------------------------------

    def _capability(self) -> Capability:
        if self._able is None:
            self._able = read_capability(self._client)
        return self._able

    def _keep(self, **values: Any) -> None:
        """Write down where the job stands."""
        columns = {n: values.pop(n) for n in ("state", "transaction_time") if n in values}
        self.plan = self.plan.changed(**values)
        sealed = seal_plan(self.runtime, self.job.id, self.plan)
        if not self._store.update(self.job.id, sealed_job=sealed, **columns):
            raise Cancelled("export")

    def _check(self) -> None:
        found = self._store.get(self.job.id)
        if found is None or found.ended:
            raise Cancelled("export")

    def _finish(self, report: Report) -> None:
        self._store.end(
            self.job.id, BulkState.DONE, counts=report.counts(), complete=report.complete
        )
        place.destroy(self._folder, self.job.id)
        self._audit("done" if report.complete else "partial")

    def _give_up(self, error: FhirError) -> None:
        """There is nothing to go on with; unless somebody else has ended it already."""
        if self._store.end(self.job.id, BulkState.FAILED, error=error.code):
            self._audit(f"failed:{error.code}")
            if self.plan.status_url and not isinstance(error, ExportGone):
                with suppress(FhirError):
                    cancel(self._client, self.plan.status_url)
        elif isinstance(error, ExportGone):
            place.destroy(self._folder, self.job.id)
            raise Cancelled("export")
        place.destroy(self._folder, self.job.id)

    def _audit(self, outcome: str, about: str | None = None) -> None:
        AuditStore(self.runtime.database).record(
            role="system",
            subject="twinport",
            action="bulk-export",
            outcome=outcome,
            object=about or self.job.id,
        )


def seal_plan(runtime: Runtime, job: str, plan: Plan) -> bytes:
    return runtime.sealer.seal(plan.to_bytes(), _context(job))


def open_plan(runtime: Runtime, job: BulkJob) -> Plan:
    assert job.sealed is not None
    return Plan.from_bytes(runtime.sealer.open(job.sealed, _context(job.id)))


def _context(job: str) -> bytes:
    """A sealed plan cannot be moved to another job."""
    return b"bulk:" + job.encode("ascii")
