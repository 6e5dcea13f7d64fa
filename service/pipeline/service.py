"""The service behind the web: runs through the durable queue, twins, ledger, our own FHIR.

Implements `service.web.ports.RunService`. Who may see what has been decided before a call arrives.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, NamedTuple, TypeVar

import orjson
import structlog
from prometheus_client import CollectorRegistry
from sqlalchemy.exc import SQLAlchemyError

from privacy import ledger
from privacy.policy import twin_policy_ids
from privacy.signing import envelope
from service import whatif
from service.auth import Role
from service.fhir.capability import Capability, read_capability
from service.fhir.errors import (
    Cancelled,
    FhirError,
    Forbidden,
    NotFound,
    Throttled,
    TimedOut,
    TransportError,
)
from service.fhir.http import FhirClient
from service.fhir.look import FirstLook
from service.fhir.pull import Arrived, Progress
from service.fhir.record import PatientRecord
from service.fhir.servers import ServerConfig, from_url
from service.fhir.since import Kept
from service.fhir.wire import Connections
from service.fhir.writeback import resume
from service.jobs import JobRunner, Outcome, RunAgainError, RunContext, RunFailedError
from service.patient.consent import CARE, PURPOSES, REFUSED, NotConsentedError
from service.patient.disputes import Disputes
from service.pipeline.awaited import Awaited
from service.pipeline.deliver import Delivered, Parcel, as_bundle, note_duplicates
from service.pipeline.errors import NotConfigured, RunError, WriteBackFailed
from service.pipeline.make import Made, Wish
from service.pipeline.meanwhile import meanwhile
from service.pipeline.meters import RunMeters, Stages
from service.pipeline.pulling import Asked, ask, pull, pull_again, types_for
from service.pipeline.runtime import Runtime, code_base
from service.pipeline.sweeper import Sweeper
from service.refresh.chart import Chart, Charted, look_for_device, look_for_results
from service.refresh.correct import Done
from service.refresh.facade import past
from service.review.chart import ChartWriter
from service.review.desk import ReviewDesk
from service.stores import current_revision, head_revision
from service.stores.audit import AuditEvent, AuditFilter, AuditStore
from service.stores.database import Disk
from service.stores.errors import QueueFullError
from service.stores.ledger import SqlLedgerStore
from service.stores.ledger_index import LedgerIndex, entry_of
from service.stores.links import LinkStore
from service.stores.own import Own, OwnFilter, OwnStore, ResultStore
from service.stores.reviews import ReviewStore
from service.stores.runs import RunStore, new_run_id
from service.stores.twins import TwinStore
from service.watch.watching import AT_ONCE, Watching
from service.web.ports import (
    Assessed,
    Failure,
    FhirPage,
    FhirQuery,
    LedgerCheck,
    LedgerState,
    OwnResource,
    Principal,
    Run,
    RunRequest,
    RunState,
    ServiceError,
    Token,
    TwinVersion,
    Verified,
)
from service.whatif import Question, WhatIfError
from twin_engine.document import read
from twin_engine.explain import Explanation, UnknownConceptError, explain, kinds
from twin_engine.models.assess import Request
from twin_engine.models.cards import card
from twin_engine.models.contract import Model
from twin_engine.models.effects import treatments
from twin_engine.models.registry import UnknownModelError, all_models, get
from twin_engine.models.shelf import Expiry, expiry
from twin_engine.state import UNITS_PER_DAY

_log = structlog.get_logger(__name__)
Json = dict[str, Any]
Found = TypeVar("Found")
KIND = "run"
PULL, WRITE_BACK = "pull", "write-back"
RESULTS = frozenset({"RiskAssessment", "Observation"})
WATCH = "watch"
LOOK_AROUND_SECONDS = 5
SPARE_THREADS = 3
LATER_SECONDS = 5
VERIFIED = "ledger-verify"
_BESIDE = "the {what} shown in lists differ from the ledger. Next: twinport ledger reindex"

# What a failed run records, by what went wrong. Finer codes stay in the logs.
_UPSTREAM: tuple[tuple[type[FhirError], Failure], ...] = (
    (Throttled, Failure.UPSTREAM_THROTTLED),
    (TimedOut, Failure.UPSTREAM_TIMEOUT),
    (TransportError, Failure.UPSTREAM_UNREACHABLE),
    (Forbidden, Failure.UPSTREAM_REFUSED),
    (NotFound, Failure.PATIENT_NOT_FOUND),
    (FhirError, Failure.UPSTREAM_BAD_ANSWER),
)
_REFUSALS = {
    "gate-blocked": Failure.GATE_BLOCKED,
    "no-patient": Failure.PATIENT_NOT_FOUND,
    REFUSED: Failure.NOT_CONSENTED,
    "busy": Failure.BUSY,
    "unknown-model": Failure.UNKNOWN_MODEL,
    "unknown-policy": Failure.UNKNOWN_POLICY,
    "unknown-server": Failure.UNKNOWN_SERVER,
}
_PASSING = frozenset({Failure.UPSTREAM_THROTTLED, Failure.UPSTREAM_TIMEOUT, Failure.BUSY})


class Looked(NamedTuple):
    """How many watched patients could be looked at, and how many not."""

    done: int
    failed: int


class Service:
    """Runs and what they made. One per process; start it after forking."""

    def __init__(self, runtime: Runtime, meters: RunMeters | None = None) -> None:
        self.runtime = runtime
        self._meters = meters or RunMeters(CollectorRegistry())
        # A call that waits for its run holds a thread; some stay free for those that only ask.
        self._seats = threading.BoundedSemaphore(max(1, runtime.config.web.threads - SPARE_THREADS))
        self._awaiting: dict[str, Awaited] = {}
        """By run whose caller waits in this process"""
        database = runtime.database
        self._runs = RunStore(database)
        self._twins = TwinStore(database)
        self._own = OwnStore(database)
        self._results = ResultStore(database)
        self._ledger = SqlLedgerStore(database)
        self._index = LedgerIndex(database)
        self._audit = AuditStore(database)
        self._links = LinkStore(database)
        self.disputed = Disputes(database, self.document)
        self._reviews = ReviewStore(database)
        self.reviews = ReviewDesk(
            ReviewStore(database),
            self._audit,
            runtime.config.reviews,
            ChartWriter(runtime.outbox, self._quick_client, runtime.sealer.open),
            self._own,
            runtime.sealer,
            code_base(runtime.config),
        )
        self._jobs = JobRunner(
            self._runs,
            {KIND: self._carry_out},
            runtime.config.jobs,
            runtime.sealer,
            begins_with=PULL,
        )
        self._kept = Connections()
        self._sweeper = Sweeper(self.sweep, runtime.config.jobs.lease_seconds / 2)
        self.watching = Watching(runtime)
        self._watcher = Sweeper(self.look_around, LOOK_AROUND_SECONDS, "watch")

    # -- life ----------------------------------------------------------------------------------

    def start_workers(self, *, sweeping: bool = True) -> None:
        """Take over what earlier processes left: runs in the queue, writes in the outbox; and look
        at watched patients when they are due."""
        self._jobs.start()
        if self.runtime.config.jobs.workers and sweeping:
            self._sweeper.start()
            self._watcher.start()

    def rehearse(self) -> None:
        """So that the first run is no slower than the others."""
        try:
            wish = Wish(self.runtime.policy(), self.runtime.models(), "run")
            self.runtime.maker.rehearse(wish)
        except Exception as error:  # noqa: BLE001 - told by its type; whoever asks for a run is told
            _log.error("rehearsal.failed", error=type(error).__name__)

    def stop_workers(self) -> None:
        self._watcher.stop()
        self._sweeper.stop()
        self._jobs.stop()
        self._kept.close()

    def look_around(self) -> int:
        """Watched patients that are due, subscriptions, notices."""
        return self.watching.tick(self._enqueue_look)

    def look_once(self, seconds: float) -> Looked:
        """All that are due now, to their end; runs need workers."""
        self.watching.subscriber.tend(AT_ONCE)
        looked = Looked(0, 0)
        while started := self.watching.take_due(self._enqueue_look):
            ended = [self._jobs.wait(run_id, seconds) for run_id in started]
            done = sum(1 for run in ended if run is not None and run.state is RunState.DONE)
            looked = Looked(looked.done + done, looked.failed + len(started) - done)
        self.watching.tell()
        return looked

    def _enqueue_look(self, request: Mapping[str, Any], server: str) -> str:
        return self._jobs.enqueue(request, kind=KIND, server=server, requested_by=WATCH)

    def sweep(self) -> int:
        """What time and dead processes left behind: unfinished writes, links that have run out."""
        return self.finish_writes() + self._links.sweep()

    def finish_writes(self, limit: int = 10) -> int:
        """Finish what an earlier process left in the outbox, and decisions that wait for their
        chart; how many found their place."""
        sealer = self.runtime.sealer
        with self.runtime.deliverer.held(self.runtime.outbox) as held:
            results = resume(held, self._client, sealer.seal, sealer.open, limit=limit)
        for result in results:
            note_duplicates(self._audit, result)
        return sum(1 for result in results if result.verified) + self.reviews.finish(limit)

    def _client(self, name: str) -> FhirClient:
        """The command line may have written to a server that it named by its URL."""
        if "://" in name:
            return FhirClient(from_url(name, self.runtime.config.limits))
        if name not in self.runtime.config.servers:
            raise LookupError("no longer configured")
        return FhirClient(self.runtime.server(name))

    def _quick_client(self, name: str) -> FhirClient:
        """For somebody who waits before a page: one more try, and no long wait for an answer. What
        could not be written now is written later."""
        server = self._client(name).server
        limits = replace(server.limits, tries=2, read_seconds=10, budget_seconds=20)
        return FhirClient(replace(server, limits=limits))

    # -- runs ----------------------------------------------------------------------------------

    def start(self, request: RunRequest, principal: Principal) -> Run:
        """Through the same queue as any run, so that a crash loses neither."""
        return self._awaited(request, principal)[0]

    def _awaited(self, request: RunRequest, principal: Principal) -> tuple[Run, Json | None]:
        """The run when it has ended, and its Bundle if it was carried out by this process."""
        if not self._seats.acquire(blocking=False):
            raise self._full("threads")
        run_id = new_run_id()
        awaited = self._awaiting[run_id] = Awaited()
        try:
            server = self._server_of(request)
            if self._jobs.has_time:
                awaited.begin(server, self._kept)
            self._check(request, server)
            self._write_down(request, principal, run_id)
            run = _found(self._jobs.wait(run_id, self.runtime.config.limits.run_seconds))
            return run, awaited.answers.get(run.attempt)
        finally:
            del self._awaiting[run_id]
            awaited.end()
            self._seats.release()

    def enqueue(self, request: RunRequest, principal: Principal) -> str:
        self._check(request, self._server_of(request))
        return self._write_down(request, principal)

    def _write_down(
        self, request: RunRequest, principal: Principal, run_id: str | None = None
    ) -> str:
        wanted = {
            "server": request.server,
            "patient": request.patient,
            "models": request.models,
            "policy": request.policy,
            "writeBack": request.write_back,
            "onlyNeeded": request.only_needed,
            "purpose": request.purpose,
            "encounter": request.encounter,
        }
        asked = {"server": request.server, "requested_by": principal.subject, "run_id": run_id}
        accepted = lambda run_id: self._note(principal, "run", "accepted", request=run_id)  # noqa: E731
        try:
            return self._jobs.enqueue(wanted, kind=KIND, **asked, beside=accepted)
        except QueueFullError as error:
            raise self._full(str(error)) from None

    def _full(self, what: str) -> ServiceError:
        """Nothing was written down: whoever asks again later has lost nothing."""
        self._meters.shed(what)
        return ServiceError(Failure.OVERLOADED, retry_after=LATER_SECONDS)

    def _server_of(self, request: RunRequest) -> ServerConfig:
        if request.server not in self.runtime.config.servers:
            raise ServiceError(Failure.UNKNOWN_SERVER)
        server = self.runtime.server(request.server)
        if request.write_back and not server.write_back:
            raise ServiceError(Failure.WRITE_BACK_OFF)
        return server

    def _check(self, request: RunRequest, server: ServerConfig) -> None:
        """What is wrong with a request is said now, not after a wait in the queue."""
        # Never the error's own text: it quotes the name that was asked for, and a caller may have
        # put anything there.
        try:
            self.runtime.models(request.models)
        except NotConfigured:
            step = f"Name some of: {', '.join(item['id'] for item in self.models())}."
            raise ServiceError(Failure.UNKNOWN_MODEL, next_step=step) from None
        try:
            self.runtime.policy(request.policy)
        except NotConfigured:
            step = f"Name one of: {', '.join(twin_policy_ids())}."
            raise ServiceError(Failure.UNKNOWN_POLICY, next_step=step) from None
        try:
            patient = f"Patient/{request.patient}"
            self.runtime.consents.require(server.base_url, patient, request.purpose)
        except NotConsentedError:
            raise ServiceError(Failure.NOT_CONSENTED) from None

    def cancel(self, run_id: str) -> Run:
        if self.run(run_id).ended:
            raise ServiceError(Failure.RUN_ENDED)
        self._runs.cancel(run_id)
        self._jobs.interrupt(run_id)
        return self.run(run_id)

    def run(self, run_id: str) -> Run:
        return _found(self._runs.get(run_id))

    def runs(self, limit: int = 50, *, requested_by: str | None = None) -> Sequence[Run]:
        return self._runs.recent(limit, requested_by=requested_by)

    # -- one run, by a worker --------------------------------------------------------------------

    def _carry_out(self, context: RunContext) -> Outcome:
        """One try, counted by what came of it."""
        if context.attempt == 1:
            self._meters.queued(context.created)
        ending = "stopped"
        try:
            with self._meters.run() as stages:
                outcome = self._tried(context, stages)
        except (RunFailedError, RunAgainError) as error:
            ending = error.code
            self._looked_in_vain(context, error)
            raise
        else:
            ending = "done"
            return outcome
        finally:
            self._meters.ended(ending)

    def _looked_in_vain(self, context: RunContext, error: RunFailedError | RunAgainError) -> None:
        """A look at a watched patient that was the last try: the next one waits longer."""
        last = context.attempt >= self.runtime.config.jobs.attempts
        if "watch" in context.request and (last or isinstance(error, RunFailedError)):
            self.watching.failed(context.request["watch"], error.code)

    def _tried(self, context: RunContext, stages: Stages) -> Outcome:
        try:
            return self._through(context, stages)
        except WriteBackFailed:
            raise RunAgainError(Failure.WRITE_BACK_FAILED) from None
        except RunError as error:
            failure = _REFUSALS.get(error.code, Failure.FAILED)
            raise (RunAgainError if failure in _PASSING else RunFailedError)(failure) from None
        except Cancelled:
            context.check()  # ours: raises. Anything else was not a cancellation.
            raise RunAgainError(Failure.FAILED) from None
        except FhirError as error:
            failure = next(code for kind, code in _UPSTREAM if isinstance(error, kind))
            kind = RunAgainError if failure in _PASSING else RunFailedError
            raise kind(failure) from None

    def _through(self, context: RunContext, stages: Stages) -> Outcome:
        wanted = context.request

        def stage(name: str, counts: Mapping[str, int] | None = None) -> None:
            stages.begin(name)
            context.progress(name, counts)

        server = self.runtime.server(wanted["server"])
        with self._timed(self._client_of(context, server)) as client:
            stage(PULL)
            asked = ask(client, wanted["patient"], self.runtime.database)
            models = self.runtime.models(tuple(wanted["models"]))
            wish = Wish(
                policy=self.runtime.policy(wanted["policy"]),
                models=models,
                as_of="run",
                request=context.run_id,
                purpose=wanted.get("purpose", CARE),
                encounter=f"Encounter/{found}" if (found := wanted.get("encounter")) else "",
                disk=Disk.WITH_NEXT,  # see `_deliver`: before anything of it leaves this process
            )
            wished = server.write_back if wanted["writeBack"] is None else wanted["writeBack"]
            ready = _Ready(self.runtime, client, wished)
            with self.runtime.maker.ahead(server.base_url, wish) as ahead:
                record, kept = self._pulled(context, client, asked, models, ahead.arrived)
                made = self.runtime.maker.make(record, wish, stage, ahead, ready)
            self._note_safety(context.run_id, made)
            counts = tally(made, len(record.resources))
            del record  # now, while the server is asked, and not between its last answer and ours
            stages.begin(WRITE_BACK)
            context.check()
            client.clock.let_finish()
            charted = self._deliver(context, made, ready.of(made), counts)
        if not charted.confirmed:
            raise WriteBackFailed("not every result is confirmed on the server")
        in_chart = written(charted.delivered) | charted.counts()
        self._meters.written(in_chart)
        counts |= in_chart
        if kept is not None:
            self.watching.done(wanted["watch"], kept, made.twin.id)
        held = (made, ready, charted)
        return Outcome(made.twin.id, made.twin.version, counts, charted.note, held)

    def _pulled(
        self,
        context: RunContext,
        client: FhirClient,
        asked: Asked,
        models: Sequence[Request],
        arrived: Arrived,
    ) -> tuple[PatientRecord, Kept | None]:
        """All of the record; for a watched patient only what has changed, over what was kept."""
        wanted, database = context.request, self.runtime.database
        progress: Progress = lambda *_: context.check()  # noqa: E731
        if "watch" in wanted:
            look = self.watching.begin(wanted["watch"], wanted["whole"])
            kept, terms, patient = look.kept, look.terms, wanted["patient"]
            return pull_again(client, patient, database, kept, terms, progress, asked)
        types = types_for(models, only_needed=wanted.get("onlyNeeded", False))
        return pull(client, wanted["patient"], database, types, progress, arrived, asked), None

    def _client_of(self, context: RunContext, server: ServerConfig) -> FhirClient:
        """What its caller has begun for it, where that is waiting here, or a new one."""
        awaited = self._awaiting.get(context.run_id)
        begun = None if awaited is None else awaited.client(context.over)
        return begun or FhirClient(server, cancel=context.over, kept=self._kept)

    @contextmanager
    def _timed(self, client: FhirClient) -> Iterator[FhirClient]:
        """A client whose waiting for the server is told when it is done."""
        with client:
            try:
                yield client
            finally:
                self._meters.waited(client.server_seconds)

    def _note_safety(self, run_id: str, made: Made) -> None:
        """What could have mixed up two persons is for the officer to see, run by run."""
        for kind, type_, _ in made.safety:
            self._audit.record(
                role="system",
                subject="twinport",
                action="safety-event",
                outcome=f"{kind}:{type_}",
                object=run_id,
            )

    def _deliver(
        self,
        context: RunContext,
        made: Made,
        ready: "_Parcels",
        counts: Mapping[str, int],
    ) -> Charted:
        """Into the chart, where that is wished. Meanwhile what the run answers is kept: neither
        needs the other, both can be repeated, and one of them waits for the server.

        The twin is committed, and perhaps not yet on the disk. Before the server is sent anything,
        the taking of the items or the stage of the run brings it there; before the caller is
        answered, what is kept of the answer."""
        keep = partial(self._keep_answer, context, made, ready, counts)
        with meanwhile(keep) as begin:
            if ready.chart is None:
                return Charted()
            settle = partial(context.progress, WRITE_BACK, counts)
            return ready.chart.update(begin, note_later=True, settle=settle)

    def _keep_answer(
        self,
        context: RunContext,
        made: Made,
        ready: "_Parcels",
        counts: Mapping[str, int],
    ) -> None:
        """What the run answers, what our façade shows of it, and how far the run is, in one."""
        run_id, bundle = context.run_id, as_bundle(ready.parcels)
        if (awaited := self._awaiting.get(run_id)) is not None:
            awaited.answers[context.attempt] = bundle
        answer = self.runtime.sealer.seal(orjson.dumps(bundle), _context(run_id))

        def beside() -> None:
            self._results.keep(run_id, answer)
            context.progress(WRITE_BACK, counts)

        self.runtime.show(made, refusals=ready.refusals, beside=beside)

    # -- twins ---------------------------------------------------------------------------------

    def twin(self, pseudonym: str, version: int | None = None) -> bytes:
        stored = _found(self._twins.get(pseudonym, version))
        return envelope(stored.payload, {"jws": stored.proof.decode()})

    def versions(self, pseudonym: str) -> Sequence[TwinVersion]:
        found = self._twins.versions(pseudonym)
        if not found:
            raise ServiceError(Failure.NOT_FOUND)
        return found[::-1]

    def newest(self, limit: int = 100) -> Sequence[TwinVersion]:
        """The newest version of each twin, latest first."""
        return self._twins.newest(limit)

    def document(self, pseudonym: str, version: int | None = None) -> Mapping[str, Any]:
        """The twin's document, read and checked."""
        return read(_found(self._twins.get(pseudonym, version)).payload).document

    def assessments(self, pseudonym: str) -> Sequence[Json]:
        """Without what models said in silence."""
        found = self.document(pseudonym)["assessments"]
        return [dict(item) for item in found if not item.get("silent")]

    def expiries(self, about: TwinVersion, document: Mapping[str, Any]) -> Mapping[str, Expiry]:
        models, days = all_models(), self.days_since(about)
        per_day = UNITS_PER_DAY[document["twin"]["timeUnit"]]
        found = {
            item["model"]["id"]: expiry(item, models[item["model"]["id"]], per_day, days)
            for item in document["assessments"]
            if item["results"] and item["model"]["id"] in models
        }
        return {model: end for model, end in found.items() if end is not None}

    def days_since(self, about: TwinVersion) -> int:
        return self._runs.days_since(about.pseudonym, about.version, about.created)

    def ledger(self, pseudonym: str) -> Sequence[Json]:
        self.versions(pseudonym)  # a twin nobody knows is not found, rather than without entries
        return [entry_of(line) for line in self._ledger.entries(self._index.about(pseudonym))]

    def ledger_entries(self, limit: int = 50) -> Sequence[Json]:
        """The newest entries of the whole ledger, latest first."""
        return [entry_of(line) for line in self._ledger.newest(limit)]

    def uses(self, pseudonym: str, limit: int = 100) -> Sequence[AuditEvent]:
        """What was done with one twin, latest first."""
        return self._audit.about(pseudonym, limit)

    def note_use(
        self, principal: Principal, action: str, pseudonym: str, purpose: str | None = None
    ) -> None:
        """Write down that somebody used a twin. Without the note there is no use."""
        code = PURPOSES[purpose].code if purpose else None
        self._note(principal, action, "done", pseudonym, purpose=code)

    def use(self, principal: Principal, action: str, pseudonym: str, purpose: str = CARE) -> None:
        theirs = principal.role is Role.PATIENT  # what is their own needs no leave
        if not theirs:
            self.require_consent(pseudonym, purpose, principal)
        self.note_use(principal, action, pseudonym, None if theirs else purpose)

    def require_consent(self, pseudonym: str, purpose: str, principal: Principal) -> None:
        who = (str(principal.role), principal.subject)
        try:
            self.runtime.consents.require_twin(pseudonym, purpose, *who)
        except NotConsentedError:
            raise ServiceError(Failure.NOT_CONSENTED) from None

    def disputes(self, pseudonym: str) -> Sequence[Json]:
        self.versions(pseudonym)  # a twin nobody knows is not found, rather than without disputes
        return [one.as_dict() for one in self.disputed.of(pseudonym)]

    def verify_ledger(self, principal: Principal) -> LedgerCheck:
        """Every signature and every link; and that the tables beside the ledger say the same."""
        runtime, beside = self.runtime, list[str]()
        lines = self._index.checked(ledger.export(self._ledger, runtime.signer), beside)
        report = ledger.verify_ledger(lines, runtime.verification_keys())
        problems = [f"line {problem.line}: {problem.what}" for problem in report.problems]
        problems += [_BESIDE.format(what=what) for what in beside]
        outcome = "broken" if problems else "whole"
        self._note(principal, VERIFIED, f"{outcome}:{report.entries}")
        head = report.last.digest if report.entries else None
        return LedgerCheck(not problems, report.entries, head, tuple(problems))

    def ledger_state(self) -> LedgerState:
        head = self._ledger.head()
        last = next(iter(self._audit.search(AuditFilter(action=VERIFIED), limit=1)), None)
        return LedgerState(head.seq, head.digest if head.seq else None, _verified(last))

    def explain(self, document: Mapping[str, Any], name: str) -> Sequence[Explanation]:
        models = tuple(all_models().values())
        try:
            return [explain(document, name, kind, models) for kind in kinds(name)]
        except UnknownConceptError:
            raise ServiceError(Failure.NOT_FOUND) from None

    # -- what if -------------------------------------------------------------------------------

    def offer(self, pseudonym: str, model: str) -> Json:
        self._require_model(model)
        versions = self.runtime.versions.active()
        return self._asked(
            lambda: whatif.offer(self.document(pseudonym), model, self._settings(), versions)
        )

    def what_if(self, pseudonym: str, question: Question) -> Json:
        model = self._require_model(question.model)
        known = {name for one in model.inputs.values() for name in (one.id, one.column)}
        # Said here in our own words: the engine's would repeat what the caller sent.
        if not known.issuperset(question.changes):
            raise _not_askable(f"It has the inputs {', '.join(sorted(model.inputs))}.")
        if question.treatment and question.treatment not in treatments(model.id):
            offered = ", ".join(treatments(model.id)) or "none"
            raise _not_askable(f"Trials of these treatments meet its outcomes: {offered}.")
        return self._asked(
            lambda: whatif.answer(
                self.document(pseudonym),
                question,
                self._settings(),
                self.runtime.versions.active(),
            )
        )

    def _require_model(self, asked: str) -> Model:
        """`ID` or `ID:VARIANT` of a model that may run here."""
        try:
            (found,) = self.runtime.models((asked,))
        except NotConfigured:
            raise ServiceError(Failure.UNKNOWN_MODEL) from None
        return found.model

    def _settings(self) -> Mapping[str, str]:
        return self.runtime.settings()

    def _asked(self, ask: Callable[[], Json]) -> Json:
        try:
            return ask()
        except WhatIfError as error:
            raise _not_askable(f"{str(error)[:1].upper()}{str(error)[1:]}.") from None

    # -- models --------------------------------------------------------------------------------

    def models(self) -> Sequence[Json]:
        off = set(self.runtime.config.models.disabled)
        return [
            {"id": model.id, "version": model.version, "title": model.title}
            for model in all_models().values()
            if model.id not in off
        ]

    def model(self, model_id: str, version: str = "") -> Json:
        try:
            if version:
                return self.runtime.versions.card({"id": model_id, "version": version})
            return card(self.runtime.versions.active().get(model_id) or get(model_id))
        except UnknownModelError:
            raise ServiceError(Failure.NOT_FOUND) from None

    # -- FHIR ----------------------------------------------------------------------------------

    def assess(self, request: RunRequest, principal: Principal) -> Assessed:
        run, bundle = self._awaited(request, principal)
        if not run.ended:
            raise ServiceError(Failure.STILL_RUNNING, run_id=run.id, retry_after=5)
        if run.state is not RunState.DONE:
            raise ServiceError(_failure_of(run), run_id=run.id)
        return Assessed(run, self.bundle(run.id) if bundle is None else bundle)

    def bundle(self, run_id: str) -> Json:
        sealed = _found(self._results.get(run_id))
        found: Json = orjson.loads(self.runtime.sealer.open(sealed, _context(run_id)))
        return found

    def fhir_resource(self, resource_type: str, resource_id: str) -> OwnResource:
        return self._aged([_found(self._own.get(resource_type, resource_id))])[0]

    def fhir_search(self, query: FhirQuery) -> FhirPage:
        where = OwnFilter(
            type=query.type,
            twins=query.twins,
            ids=query.ids,
            identifiers=_pairs(query.identifiers),
            targets=query.targets,
            updated=[(bound.start, bound.end) for bound in query.updated],
            without=self.runtime.consents.refusing(CARE) if query.consented else (),
        )
        found, total = self._own.search(where, limit=query.limit, after=query.after)
        page = self._aged(found[: query.limit])
        return FhirPage(page, total, len(found) > query.limit)

    def _aged(self, found: Sequence[Own]) -> list[OwnResource]:
        """As they are shown today: what is no longer current says so."""
        twins = {own.twin for own in found if own.type in RESULTS and own.twin}
        ends = {twin: self._ends(twin) for twin in twins}
        return [self._aged_one(own, ends.get(own.twin or "", {})) for own in found]

    def _ends(self, twin: str) -> Mapping[str, Expiry]:
        """By model, what ends the newest assessments of a twin."""
        stored = self._twins.get(twin)
        if stored is None:
            return {}
        return self.expiries(stored.about, read(stored.payload).document)

    def _aged_one(self, own: Own, ends: Mapping[str, Expiry]) -> OwnResource:
        shown = _shown(own)
        about = self._reviews.about(own.value) if own.type in RESULTS and own.value else None
        end = ends.get(about.model) if about else None
        if end is None or not end.past:
            return shown
        return replace(shown, resource=past(dict(shown.resource), end), past=True)

    # -- health --------------------------------------------------------------------------------

    def readiness(self) -> Mapping[str, bool]:
        """Each thing needed to work. The keys were loaded to get here; the rest is asked now."""
        try:
            revision = current_revision(self.runtime.database.engine)
        except SQLAlchemyError:
            return {"database": False, "migrations": False, "keys": True}
        return {"database": True, "migrations": revision == head_revision(), "keys": True}

    def levels(self) -> Mapping[str, float]:
        backlog = self._runs.backlog()
        return {
            "twinport_runs_waiting": backlog.waiting,
            "twinport_runs_in_hand": backlog.running,
            "twinport_run_oldest_wait_seconds": backlog.oldest_seconds,
            "twinport_writes_unfinished": self.runtime.outbox.waiting(),
            "twinport_results_to_review": self._closed_as(Done.REVIEW),
            "twinport_results_flagged_beside": self._closed_as(Done.FLAGGED),
            "twinport_results_unmarked": self._closed_as(Done.UNMARKED, Done.OPEN),
            **self.watching.levels(),
        }

    def _closed_as(self, *done: Done) -> int:
        return len(self.runtime.outbox.closed_as(*(one.value for one in done)))

    def _note(
        self,
        principal: Principal,
        action: str,
        outcome: str,
        about: str | None = None,
        request: str | None = None,
        purpose: str | None = None,
    ) -> None:
        self._audit.record(
            role=str(principal.role),
            subject=principal.subject,
            action=action,
            outcome=outcome,
            object=about,
            request_id=request,
            purpose=purpose,
        )


class _Parcels(NamedTuple):
    """What a run answers with and, where that is wished, brings into the chart."""

    parcels: list[Parcel]
    refusals: bool
    chart: Chart | None


class _Ready:
    """Asks the server for the Devices of the models that answer: it does so while they put their
    answers together. Once a twin has passed the gate, asks whether the server has its results, and
    puts them into words: it answers meanwhile, and while the twin is signed and kept."""

    def __init__(self, runtime: Runtime, client: FhirClient, wished: bool) -> None:
        self._runtime, self._client, self._wished = runtime, client, wished
        self._found: tuple[TwinVersion, _Parcels] | None = None
        self._asked: FirstLook | None = None

    @cached_property
    def _capability(self) -> Capability:
        return read_capability(self._client)

    def answering(self, model: Model) -> None:
        if self._wished:
            client, able = self._client, self._capability
            self._asked = look_for_device(self._runtime, client, able, model, self._asked)

    def passed(self, made: Made) -> None:
        first = self._wished and made.stored.about.parent is None
        if first:  # else the outbox may know the answer
            client, able = self._client, self._capability
            self._asked = look_for_results(self._runtime, client, able, made, self._asked)
        ready = self._made_of(made)
        if ready.chart is not None and first:
            ready.chart.look(self._asked)
        self._found = made.stored.about, ready

    def of(self, made: Made) -> _Parcels:
        """Of what was kept in the end, which may be an unchanged twin."""
        if self._found is not None and self._found[0] == made.stored.about:
            return self._found[1]
        return self._made_of(made)

    def _made_of(self, made: Made) -> _Parcels:
        server = self._client.server
        scale, refusals = server.probability_scale, server.write_refusals
        parcels = self._runtime.deliverer.parcels(made, scale, refusals=refusals)
        if not self._wished:
            return _Parcels(parcels, refusals, None)
        chart = Chart(self._runtime, made, self._client, self._capability, parcels)
        return _Parcels(parcels, refusals, chart)


# -- pieces without state ----------------------------------------------------------------------


def _verified(event: AuditEvent | None) -> Verified | None:
    if event is None:
        return None
    outcome, _, entries = event.outcome.partition(":")
    return Verified(event.time, outcome == "whole", int(entries))


def tally(made: Made, pulled: int) -> dict[str, int]:
    """What a run did, in numbers that name nobody."""
    kept = dropped = 0
    for (_, _, action), count in made.counts.items():
        if action.startswith("drop"):
            dropped += count
        else:
            kept += count
    document = made.twin.document
    return {
        "pulled": pulled,
        "kept": kept,
        "dropped": dropped,
        "refused": sum(made.refusals.values()),
        "readings": sum(len(signal["t"]) for signal in document["signals"].values()),
        "set-aside": len(document["quality"]["setAside"]),
        "answers": sum(len(item["results"]) for item in document["assessments"]),
        "models-asked": len(document["assessments"]) - made.carried,
        "models-unaffected": made.carried,
        "safety-events": sum(count for _, _, count in made.safety),
        "new-version": int(made.new),
    }


def written(delivered: Sequence[Delivered]) -> dict[str, int]:
    return {
        "written": sum(len(item.result.written) for item in delivered),
        "existing": sum(len(item.result.existing) for item in delivered),
    }


def _not_askable(step: str) -> ServiceError:
    return ServiceError(Failure.NOT_ASKABLE, next_step=step)


def _failure_of(run: Run) -> Failure:
    if run.state is RunState.CANCELLED:
        return Failure.CANCELLED
    return next((failure for failure in Failure if failure == run.error), Failure.FAILED)


def _pairs(tokens: Sequence[Token] | None) -> list[tuple[str | None, str]] | None:
    return None if tokens is None else [(token.system, token.value) for token in tokens]


def _found(value: Found | None) -> Found:
    if value is None:
        raise ServiceError(Failure.NOT_FOUND)
    return value


def _shown(own: Own) -> OwnResource:
    assert own.updated is not None
    return OwnResource(
        type=own.type,
        id=own.id,
        version=own.version,
        updated=own.updated,
        twin=own.twin,
        resource=orjson.loads(own.content),
    )


def _context(run_id: str) -> bytes:
    """A sealed result cannot be moved to another run."""
    return b"result:" + run_id.encode("ascii")
