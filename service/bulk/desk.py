"""Exports of one installation: begin one, find it again, go on with it, give it up."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from service.bulk import place
from service.bulk.job import Export, Watch, open_plan, seal_plan
from service.bulk.order import Order
from service.bulk.plan import Plan, types_to_ask
from service.bulk.polling import cancel
from service.bulk.report import Report
from service.fhir.capability import read_capability
from service.fhir.errors import FhirError
from service.fhir.http import FhirClient
from service.fhir.servers import ServerConfig, from_url
from service.patient.consent import CARE
from service.pipeline.errors import NotConfigured
from service.pipeline.runtime import Runtime
from service.stores.bulk import BulkJob, BulkState, BulkStore

LAST = "last"


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants exported."""

    server: ServerConfig
    level: str
    group: str = ""
    since: str = ""
    """Empty: everything; `last`: since the last complete export; else an instant"""
    types: tuple[str, ...] = ()
    policy: str | None = None
    models: tuple[str, ...] = ()
    write_back: bool = False
    purpose: str = CARE


@dataclass
class Desk:
    runtime: Runtime
    store: BulkStore = field(init=False)

    def __post_init__(self) -> None:
        self.store = BulkStore(self.runtime.database)

    # -- begin -------------------------------------------------------------------------------------

    def begin(self, asked: Asked) -> BulkJob:
        """Written down first, then asked for: what the server began is never forgotten here."""
        runtime, server = self.runtime, asked.server
        policy = runtime.policy(asked.policy)
        runtime.models(asked.models)  # an unknown one is refused now, and not after the export
        lane = self.lane(asked)
        since = self._since(asked, lane)
        with FhirClient(server) as client:
            able = read_capability(client)
            types, left_out = types_to_ask(client, able, asked.types or server.bulk.types)
        partial = server.bulk.partial_manifests
        plan = Plan.new(
            order=Order(asked.level, asked.group, types, since, partial),
            server=server.name,
            policy=policy,
            models=asked.models,
            write_back=asked.write_back,
            purpose=asked.purpose,
            fhir_version=able.fhir_version,
            left_out=left_out,
        )
        job = self.store.create(
            lane=lane,
            server=server.name,
            level=asked.level,
            changes=bool(since),
            seal=lambda identity: seal_plan(runtime, identity, plan),
        )
        with place.held(runtime.config.spool_dir, job.id):
            Export(runtime, server, job, plan).kick_off()
        return self.get(job.id)

    def lane(self, asked: Asked) -> str:
        """One population of one server, as one client sees it; says nothing by itself."""
        who = f"{asked.server.auth.client_id}|{asked.level}|{asked.group}"
        return self.runtime.vault.index("bulk", asked.server.base_url, who)

    def _since(self, asked: Asked, lane: str) -> str:
        if asked.since != LAST:
            return _instant(asked.since) if asked.since else ""
        last = self.store.last_time(lane)
        if last is None:
            step = "run one without --since first"
            raise NotConfigured(f"no complete export of this population is known; {step}")
        return last.astimezone(UTC).isoformat().replace("+00:00", "Z")

    # -- go on -------------------------------------------------------------------------------------

    def carry_on(self, job: BulkJob, watch: Watch) -> Report:
        plan = open_plan(self.runtime, job)
        return Export(self.runtime, self.server(plan.server), job, plan, watch).carry_on()

    def server(self, name: str) -> ServerConfig:
        """The operator at the command line may give any URL."""
        if "://" in name:
            return from_url(name, self.runtime.config.limits)
        return self.runtime.server(name)

    # -- find --------------------------------------------------------------------------------------

    def get(self, identity: str) -> BulkJob:
        job = self.store.get(identity)
        assert job is not None
        return job

    def unfinished(self, text: str) -> list[BulkJob]:
        """Those of a server, or the one of this id."""
        return [j for j in self.store.unfinished() if text in (j.id, j.server)]

    def under_way(self, asked: Asked) -> BulkJob | None:
        return next(iter(self.store.unfinished(lane=self.lane(asked))), None)

    def is_held(self, job: BulkJob) -> bool:
        return place.is_held(self.runtime.config.spool_dir, job.id)

    # -- give up -----------------------------------------------------------------------------------

    def cancel(self, job: BulkJob) -> bool:
        """Ended here at once, and on the server if it answers. True: it did."""
        plan = open_plan(self.runtime, job)
        self.store.end(job.id, BulkState.CANCELLED)
        if not self.is_held(job):  # else its process sees the end, and destroys what it holds
            place.destroy(self.runtime.config.spool_dir, job.id)
        if not plan.status_url or plan.released:
            return True
        try:
            with FhirClient(self.server(plan.server)) as client:
                return cancel(client, plan.status_url)
        except (FhirError, NotConfigured):
            return False

    def tidy(self) -> None:
        """Destroy what nobody went on with for too long, and what belongs to no job any more."""
        oldest = datetime.now(UTC) - timedelta(days=self.runtime.config.bulk.keep_days)
        for job in self.store.unfinished():
            if job.updated < oldest and not self.is_held(job):
                self.store.end(job.id, BulkState.FAILED, error="abandoned")
        place.sweep(self.runtime.config.spool_dir, _ids(self.store.unfinished()))


def _ids(jobs: Iterable[BulkJob]) -> set[str]:
    return {job.id for job in jobs}


def _instant(text: str) -> str:
    """An instant with a zone, as the guide wants it."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise NotConfigured("--since takes `last` or an instant such as 2026-01-31T00:00:00Z")
    return moment.isoformat().replace("+00:00", "Z")
