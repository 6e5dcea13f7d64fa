"""A small real service behind the web's port: real run store, made-up content, no network.

What a run does is chosen by the patient's id: `fail-<code>` fails with that code, `slow` is still
queued when the call has waited long enough, `break` meets a bug; anything else is done at once.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from web_selection import select

from service.auth import Principal, Role
from service.stores import Database
from service.stores.audit import AuditEvent
from service.stores.runs import RunState, RunStore
from service.web.meters import LEVELS
from service.web.ports import (
    Assessed,
    Failure,
    FhirPage,
    FhirQuery,
    LedgerCheck,
    LedgerState,
    OwnResource,
    Question,
    Run,
    RunRequest,
    ServiceError,
    TwinVersion,
    Verified,
)

TWIN = "AAAAAAAAAAAAAAAAAAAAAA"
OTHER_TWIN = "BBBBBBBBBBBBBBBBBBBBBB"
MADE = datetime(2031, 3, 9, 12, 0, 0, tzinfo=UTC)
FILES = {
    (TWIN, 1): b'{"payload":"e30","protected":"a","signature":"b"}',
    (TWIN, 2): b'{"payload":"e30","protected":"c","signature":"d", "spacing":  "kept"}',
    (OTHER_TWIN, 1): b'{"payload":"e30"}',
}


def resource(kind: str, number: int, twin: str | None, **members: Any) -> OwnResource:
    resource_id = f"{kind.lower()}-{number}"
    body = {
        "resourceType": kind,
        "id": resource_id,
        "meta": {"versionId": "1", "lastUpdated": "2031-03-09T12:00:00.000+00:00"},
        "identifier": [{"system": "urn:test", "value": f"{kind}-{number}"}],
        **members,
    }
    return OwnResource(kind, resource_id, 1, MADE, twin, body)


RESOURCES = [
    *(resource("RiskAssessment", n, TWIN, status="preliminary") for n in range(1, 4)),
    resource("RiskAssessment", 9, OTHER_TWIN, status="preliminary"),
    resource("Observation", 1, TWIN, status="preliminary"),
    resource("Device", 1, None),
    resource("Provenance", 1, TWIN, target=[{"reference": "RiskAssessment/riskassessment-1"}]),
]


class Reviews:
    """Nobody has reviewed anything."""

    def reliance(self) -> list[dict[str, Any]]:
        return [{"model": "prevent", "enough": False, "needs": "11 reviews by 3 people"}]


class InProcess:
    """The port, with content that tests can predict."""

    def __init__(self, database: Database) -> None:
        self.store = RunStore(database)
        self.reviews = Reviews()
        self.ready: dict[str, bool] = {"database": True, "migrations": True, "keys": True}
        self.requests: list[RunRequest] = []
        self.noted: list[tuple[str, str, str]] = []

    # -- runs ----------------------------------------------------------------------------------

    def start(self, request: RunRequest, principal: Principal) -> Run:
        run_id = self.enqueue(request, principal)
        if request.patient != "slow":
            self.work(run_id, request)
        return self.run(run_id)

    def enqueue(self, request: RunRequest, principal: Principal) -> str:
        if not set(request.models) <= {"prevent"}:
            raise ServiceError(Failure.UNKNOWN_MODEL)
        if request.policy not in (None, "safe-harbor"):
            raise ServiceError(Failure.UNKNOWN_POLICY)
        if request.patient == "break":
            raise RuntimeError(f"something about {request.patient} in {request.server}")
        if request.patient == "busy":
            raise ServiceError(Failure.BUSY, retry_after=7)
        if request.patient == "one-too-many":
            raise ServiceError(Failure.OVERLOADED, retry_after=7)
        self.requests.append(request)
        return self.store.enqueue(
            b"sealed", kind="run", server=request.server, requested_by=principal.subject
        )

    def work(self, run_id: str, request: RunRequest) -> None:
        """End a queued run as its patient's id says. Those queued before it are begun and left."""
        claimed = self.store.claim(lease_seconds=60)
        while claimed is not None and claimed.run.id != run_id:
            claimed = self.store.claim(lease_seconds=60)
        assert claimed is not None
        if request.patient.startswith("fail-"):
            self.store.fail(run_id, claimed.owner, request.patient.removeprefix("fail-"))
        elif request.patient == "cancelled":
            self.store.cancel(run_id)
            self.store.end_cancelled(run_id, claimed.owner)
        else:
            self.store.complete(
                run_id, claimed.owner, twin=TWIN, twin_version=2, counts={"pulled": 12}
            )

    def cancel(self, run_id: str) -> Run:
        if self.run(run_id).ended:
            raise ServiceError(Failure.RUN_ENDED)
        self.store.cancel(run_id)
        return self.run(run_id)

    def run(self, run_id: str) -> Run:
        return found(self.store.get(run_id))

    def runs(self, limit: int = 50, *, requested_by: str | None = None) -> Sequence[Run]:
        return self.store.recent(limit, requested_by=requested_by)

    # -- twins ---------------------------------------------------------------------------------

    def twin(self, pseudonym: str, version: int | None = None) -> bytes:
        newest = max((v for p, v in FILES if p == pseudonym), default=0)
        return found(FILES.get((pseudonym, newest if version is None else version)))

    def versions(self, pseudonym: str) -> Sequence[TwinVersion]:
        numbers = sorted((v for p, v in FILES if p == pseudonym), reverse=True)
        found(numbers or None)
        return [
            TwinVersion(
                pseudonym, n, f"sha256:{n - 1}" if n > 1 else None, f"sha256:{n}", "p", MADE
            )
            for n in numbers
        ]

    def assessments(self, pseudonym: str) -> Sequence[dict[str, Any]]:
        self.twin(pseudonym)
        return [{"model": {"id": "prevent"}, "answer": "given", "results": [{"value": 0.1423}]}]

    def ledger(self, pseudonym: str) -> Sequence[dict[str, Any]]:
        self.twin(pseudonym)
        return [{"seq": 1, "twin": pseudonym}]

    def verify_ledger(self, principal: Principal) -> LedgerCheck:
        return LedgerCheck(True, 1, "sha256:1")

    def ledger_state(self) -> LedgerState:
        return LedgerState(1, "sha256:1", Verified(MADE, True, 1))

    # -- what pages need besides ---------------------------------------------------------------

    def newest(self, limit: int = 100) -> Sequence[TwinVersion]:
        return []

    def document(self, pseudonym: str, version: int | None = None) -> Mapping[str, Any]:
        return found(None)

    def ledger_entries(self, limit: int = 50) -> Sequence[dict[str, Any]]:
        return []

    def uses(self, pseudonym: str, limit: int = 100) -> Sequence[AuditEvent]:
        return []

    def note_use(
        self, principal: Principal, action: str, pseudonym: str, purpose: str | None = None
    ) -> None:
        self.noted.append((principal.role, action, pseudonym))

    def use(self, principal: Principal, action: str, pseudonym: str, purpose: str = "care") -> None:
        if principal.role is not Role.PATIENT:
            self.require_consent(pseudonym, purpose, principal)
        self.note_use(principal, action, pseudonym, purpose)

    def require_consent(self, pseudonym: str, purpose: str, principal: Principal) -> None:
        if purpose != "care":
            raise ServiceError(Failure.NOT_CONSENTED)

    def disputes(self, pseudonym: str) -> list[dict[str, Any]]:
        self.twin(pseudonym)
        return []

    # -- models --------------------------------------------------------------------------------

    def what_if(self, pseudonym: str, question: Question) -> dict[str, Any]:
        self.twin(pseudonym)
        if question.model != "prevent":
            raise ServiceError(Failure.UNKNOWN_MODEL)
        if bool(question.changes) == bool(question.treatment):
            raise ServiceError(Failure.NOT_ASKABLE)
        return {"model": {"id": question.model}, "changes": dict(question.changes)}

    def models(self) -> Sequence[dict[str, Any]]:
        return [{"id": "prevent", "version": "1.0.0", "title": "PREVENT"}]

    def model(self, model_id: str) -> dict[str, Any]:
        return found({"prevent": {"id": "prevent", "intendedUse": "…"}}.get(model_id))

    # -- FHIR ----------------------------------------------------------------------------------

    def assess(self, request: RunRequest, principal: Principal) -> Assessed:
        run = self.start(request, principal)
        if not run.ended:
            raise ServiceError(Failure.STILL_RUNNING, run_id=run.id)
        if run.state is not RunState.DONE:
            codes = [failure.value for failure in Failure]
            failure = Failure(run.error) if run.error in codes else Failure.FAILED
            raise ServiceError(failure, run_id=run.id)
        return Assessed(run, self.bundle(run.id))

    def bundle(self, run_id: str) -> dict[str, Any]:
        self.run(run_id)
        how = {"method": "POST", "url": "RiskAssessment", "ifNoneExist": "identifier=x"}
        entry = [{"fullUrl": "urn:uuid:1", "resource": RESOURCES[0].resource, "request": how}]
        return {"resourceType": "Bundle", "type": "transaction", "entry": entry}

    def fhir_resource(self, resource_type: str, resource_id: str) -> OwnResource:
        mine = (r for r in RESOURCES if (r.type, r.id) == (resource_type, resource_id))
        return found(next(mine, None))

    def fhir_search(self, query: FhirQuery) -> FhirPage:
        return select(RESOURCES, query)

    # -- health --------------------------------------------------------------------------------

    def readiness(self) -> Mapping[str, bool]:
        return self.ready

    def levels(self) -> Mapping[str, float]:
        return dict.fromkeys(LEVELS, 0.0)


def found(thing: Any) -> Any:
    if thing is None:
        raise ServiceError(Failure.NOT_FOUND)
    return thing
