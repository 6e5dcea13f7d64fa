"""What the web needs from the service behind it: one protocol, plain values, one error.

`service/pipeline.py` implements it; the web is handed the object and knows nothing behind it.
A method that finds nothing raises `ServiceError(Failure.NOT_FOUND)`. Who may see what is the
web's business: it asks by pseudonym only after it has checked the caller's binding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from service.auth import Principal
from service.patient.consent import CARE
from service.review.desk import ReviewDesk
from service.stores.audit import AuditEvent
from service.stores.runs import ENDED, Run, RunState
from service.stores.twins import TwinVersion
from service.whatif import Question
from twin_engine.explain import Explanation
from twin_engine.models.shelf import Expiry

__all__ = [
    "ENDED",
    "Assessed",
    "AuditEvent",
    "Expiry",
    "Explanation",
    "Failure",
    "FhirPage",
    "FhirQuery",
    "LedgerCheck",
    "LedgerState",
    "OwnResource",
    "Principal",
    "Question",
    "Run",
    "RunRequest",
    "RunService",
    "RunState",
    "ServiceError",
    "Token",
    "TwinVersion",
    "UpdatedBound",
    "Verified",
]

Json = dict[str, Any]


class Failure(StrEnum):
    """Why the service could not do what was asked; also what a failed run records."""

    NOT_FOUND = "not-found"
    UNKNOWN_SERVER = "unknown-server"
    UNKNOWN_MODEL = "unknown-model"
    UNKNOWN_POLICY = "unknown-policy"
    WRITE_BACK_OFF = "write-back-off"
    PATIENT_NOT_FOUND = "patient-not-found"
    GATE_BLOCKED = "gate-blocked"
    RUN_ENDED = "run-ended"
    STILL_RUNNING = "still-running"
    NOT_CONSENTED = "not-consented"
    CANCELLED = "cancelled"
    TOO_LARGE = "too-large"
    UPSTREAM_UNREACHABLE = "upstream-unreachable"
    UPSTREAM_REFUSED = "upstream-refused"
    UPSTREAM_BAD_ANSWER = "upstream-bad-answer"
    UPSTREAM_TIMEOUT = "upstream-timeout"
    UPSTREAM_THROTTLED = "upstream-throttled"
    WRITE_BACK_FAILED = "write-back-failed"
    NOT_ASKABLE = "not-askable"
    BUSY = "busy"
    OVERLOADED = "overloaded"
    FAILED = "failed"


class ServiceError(Exception):
    """Something expected went wrong. Carries a code and a next step, never a value."""

    def __init__(
        self,
        failure: Failure,
        *,
        next_step: str = "",
        run_id: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        self.failure = failure
        self.next_step = next_step
        self.run_id = run_id
        self.retry_after = retry_after
        super().__init__(failure.value)


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One patient of one configured server. `patient` is identified: it is never shown."""

    server: str
    patient: str = field(repr=False)
    models: tuple[str, ...] = ()  # empty: the configured default
    policy: str | None = None  # None: the configured default
    write_back: bool | None = None  # None: as the server's entry says
    only_needed: bool = False  # ask for the types that the models read, and for no others
    purpose: str = CARE  # what for; the patient must have allowed it
    encounter: str = field(default="", repr=False)
    """Its id on that server: the results name it where it is the patient's own."""


@dataclass(frozen=True, slots=True)
class Assessed:
    """A finished run and what it made, as it is or would be written back."""

    run: Run
    bundle: Json = field(repr=False)


@dataclass(frozen=True, slots=True)
class LedgerCheck:
    """What verifying the whole ledger found. `problems` are sentences without values."""

    ok: bool
    entries: int
    head: str | None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verified:
    """That the ledger was verified, when, up to which entry, and with which result."""

    at: datetime
    ok: bool
    entries: int


@dataclass(frozen=True, slots=True)
class LedgerState:
    """How long the ledger is, its last entry, and when somebody last verified it."""

    entries: int
    head: str | None
    verified: Verified | None = None


@dataclass(frozen=True, slots=True)
class OwnResource:
    """A resource we made, as the façade shows it: it names a twin, never a patient."""

    type: str
    id: str
    version: int
    updated: datetime
    twin: str | None  # None: about no patient (a Device)
    resource: Json = field(repr=False)
    past: bool = False  # it says itself that it is no longer current


@dataclass(frozen=True, slots=True)
class Token:
    """A token search value. `system` None: any system; empty: none."""

    system: str | None
    value: str


@dataclass(frozen=True, slots=True)
class UpdatedBound:
    """`_lastUpdated` as a half-open range; None is open."""

    start: datetime | None
    end: datetime | None


@dataclass(frozen=True, slots=True)
class FhirQuery:
    """A search over our own resources. All filters must hold; within one, any value may."""

    type: str
    twins: tuple[str, ...] | None = None
    ids: tuple[str, ...] | None = None
    identifiers: tuple[Token, ...] | None = None
    targets: tuple[str, ...] | None = None  # `Type/id` a Provenance points at
    updated: tuple[UpdatedBound, ...] = ()
    limit: int = 50
    after: str | None = None  # id of the last one on the page before
    consented: bool = False  # without the twins whose patients have refused care


@dataclass(frozen=True, slots=True)
class FhirPage:
    """One page in the order of ids, the number of all matches, and whether more follow."""

    resources: Sequence[OwnResource]
    total: int
    more: bool


class RunService(Protocol):
    """Everything the web asks for."""

    # -- runs ----------------------------------------------------------------------------------

    def start(self, request: RunRequest, principal: Principal) -> Run:
        """Run now and return the ended run; a failed one is returned too, not raised.

        One that takes longer than a call may wait is returned as it is then: it goes on.
        """
        ...

    def enqueue(self, request: RunRequest, principal: Principal) -> str:
        """Write the run down durably and return its id."""
        ...

    def cancel(self, run_id: str) -> Run:
        """Ask for an end. `RUN_ENDED` when it has ended already."""
        ...

    def run(self, run_id: str) -> Run: ...

    def runs(self, limit: int = 50, *, requested_by: str | None = None) -> Sequence[Run]:
        """Latest first."""
        ...

    # -- twins ---------------------------------------------------------------------------------

    def twin(self, pseudonym: str, version: int | None = None) -> bytes:
        """The exact signed file (payload and proof); the newest version when none is named."""
        ...

    def versions(self, pseudonym: str) -> Sequence[TwinVersion]:
        """Newest first."""
        ...

    def assessments(self, pseudonym: str) -> Sequence[Json]:
        """The assessments of the newest version, as the twin document holds them."""
        ...

    def days_since(self, about: TwinVersion) -> int:
        """How many days ago the record of a version was last looked at."""
        ...

    def expiries(self, about: TwinVersion, document: Mapping[str, Any]) -> Mapping[str, Expiry]:
        """By model: until when an assessment of this version may be shown as current."""
        ...

    def ledger(self, pseudonym: str) -> Sequence[Json]:
        """The ledger's entries about one twin, oldest first."""
        ...

    def verify_ledger(self, principal: Principal) -> LedgerCheck:
        """Read and check every entry now, and note who had it done and what came of it."""
        ...

    def ledger_state(self) -> LedgerState: ...

    # -- what pages need besides ---------------------------------------------------------------

    def newest(self, limit: int = 100) -> Sequence[TwinVersion]:
        """The newest version of each twin, latest first."""
        ...

    def document(self, pseudonym: str, version: int | None = None) -> Mapping[str, Any]:
        """A twin's document, read and checked; the newest version when none is named."""
        ...

    def ledger_entries(self, limit: int = 50) -> Sequence[Json]:
        """The newest entries of the whole ledger, latest first."""
        ...

    def uses(self, pseudonym: str, limit: int = 100) -> Sequence[AuditEvent]:
        """What was done with one twin, latest first."""
        ...

    def note_use(
        self, principal: Principal, action: str, pseudonym: str, purpose: str | None = None
    ) -> None:
        """Write down that somebody used a twin, and what for where that is said."""
        ...

    def use(self, principal: Principal, action: str, pseudonym: str, purpose: str = CARE) -> None:
        """Before what a twin says is read by anybody but its patient: allowed, and written down."""
        ...

    def require_consent(self, pseudonym: str, purpose: str, principal: Principal) -> None:
        """Before a twin is handed out. `NOT_CONSENTED`; the refusal is written down."""
        ...

    def disputes(self, pseudonym: str) -> Sequence[Json]:
        """What the patient says is wrong in it, and how that stands."""
        ...

    def explain(self, document: Mapping[str, Any], name: str) -> Sequence[Explanation]:
        """Where every value of one concept comes from; two where the name is two things."""
        ...

    # -- reviews -------------------------------------------------------------------------------

    @property
    def reviews(self) -> ReviewDesk:
        """Where results are estimated, looked at and decided on."""
        ...

    # -- what if -------------------------------------------------------------------------------

    def offer(self, pseudonym: str, model: str) -> Json:
        """What may be asked of one model about this twin; see `service.whatif.offer`."""
        ...

    def what_if(self, pseudonym: str, question: Question) -> Json:
        """The graded answer. `NOT_ASKABLE` with the way it can be asked."""
        ...

    # -- models --------------------------------------------------------------------------------

    def models(self) -> Sequence[Json]:
        """`{"id", "version", "title"}` of every model that may run here."""
        ...

    def model(self, model_id: str, version: str = "") -> Json:
        """One model's card: of the version named, else of the one that runs here."""
        ...

    # -- FHIR ----------------------------------------------------------------------------------

    def assess(self, request: RunRequest, principal: Principal) -> Assessed:
        """Like `start`, with the resources. A run that failed raises its failure with `run_id`;
        one that takes longer than a call may wait raises `STILL_RUNNING` with `run_id`."""
        ...

    def bundle(self, run_id: str) -> Json:
        """The Bundle of a run that is done."""
        ...

    def fhir_resource(self, resource_type: str, resource_id: str) -> OwnResource: ...

    def fhir_search(self, query: FhirQuery) -> FhirPage: ...

    # -- health --------------------------------------------------------------------------------

    def readiness(self) -> Mapping[str, bool]:
        """Each thing needed to work (`database`, `migrations`, `keys`) and whether it is there."""
        ...

    def levels(self) -> Mapping[str, float]:
        """How things stand, for `/metrics`: a number for each of `service.web.meters.LEVELS`."""
        ...
