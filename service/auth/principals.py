"""Roles, the scopes they hold, and the principal that a request is made by."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from service.auth.errors import AuthError, AuthErrorCode


class Role(StrEnum):
    EHR = "ehr"
    PATIENT = "patient"
    PRIVACY_OFFICER = "privacy-officer"
    ADMIN = "admin"


class Scope(StrEnum):
    """What a caller may do. A patient's scopes reach their own twin only: see ``may_see``."""

    RUNS_WRITE = "runs:write"
    RUNS_READ = "runs:read"
    TWINS_READ = "twins:read"
    TWINS_EXPORT = "twins:export"
    TWINS_RECEIVE = "twins:receive"
    FHIR_READ = "fhir:read"
    FHIR_ASSESS = "fhir:assess"
    FHIR_DEIDENTIFY = "fhir:deidentify"
    LEDGER_READ = "ledger:read"
    AUDIT_READ = "audit:read"
    POLICIES_READ = "policies:read"
    KEYS_WRITE = "keys:write"
    OPERATIONS_READ = "operations:read"


# An administrator runs the installation and sees no twin; a privacy officer sees what was done to
# every twin (runs, ledger, audit), and no value in one.
ROLE_SCOPES: Mapping[Role, frozenset[Scope]] = {
    Role.EHR: frozenset(
        {
            Scope.RUNS_WRITE,
            Scope.RUNS_READ,
            Scope.TWINS_READ,
            Scope.TWINS_RECEIVE,
            Scope.FHIR_READ,
            Scope.FHIR_ASSESS,
            Scope.FHIR_DEIDENTIFY,
            Scope.LEDGER_READ,
        }
    ),
    Role.PATIENT: frozenset(
        {Scope.TWINS_READ, Scope.TWINS_EXPORT, Scope.LEDGER_READ, Scope.AUDIT_READ}
    ),
    Role.PRIVACY_OFFICER: frozenset(
        {Scope.RUNS_READ, Scope.LEDGER_READ, Scope.AUDIT_READ, Scope.POLICIES_READ}
    ),
    Role.ADMIN: frozenset({Scope.KEYS_WRITE, Scope.OPERATIONS_READ, Scope.RUNS_READ}),
}

# A clinician who was launched from one patient's chart reaches that patient's twin and no other.
BOUND_CLINICIAN = frozenset({Scope.TWINS_READ})

PERSON = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
PSEUDONYM = re.compile(r"[A-Za-z0-9_-]{22}")


class Kind(StrEnum):
    """By what means a principal was recognised. Only a session needs CSRF protection."""

    API_KEY = "api-key"
    SESSION = "session"
    TOKEN = "token"  # noqa: S105 - a kind of credential, not one


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking. ``subject`` is pseudonymous and fit for logs and audit events."""

    role: Role
    scopes: frozenset[Scope]
    subject: str
    kind: Kind
    twin: str | None = None

    def __post_init__(self) -> None:
        if self.role is Role.PATIENT and self.twin is None:
            raise ValueError("a patient is bound to exactly one twin")
        if self.role is not Role.PATIENT and self.twin is not None:
            self._check_bound_clinician()
        if not self.scopes <= ROLE_SCOPES[self.role]:
            raise ValueError("a principal holds no scope beyond its role")

    def _check_bound_clinician(self) -> None:
        if self.role is not Role.EHR or not self.scopes <= BOUND_CLINICIAN:
            raise ValueError("beside a patient, only a launched clinician is bound to a twin")

    @property
    def is_known(self) -> bool:
        """Whether the same subject is the same person, and another one somebody else."""
        return self.kind is not Kind.SESSION or self.twin is not None or ":" in self.subject

    def require(self, scope: Scope) -> None:
        if scope not in self.scopes:
            raise AuthError(AuthErrorCode.FORBIDDEN)

    def may_see(self, twin: str) -> bool:
        """Whether a twin is within reach at all: a patient's own, or any for the others."""
        return self.twin is None or self.twin == twin

    def require_twin(self, twin: str, scope: Scope) -> None:
        """Both checks. Beyond reach looks like the missing scope: existence is not told."""
        self.require(scope)
        if not self.may_see(twin):
            raise AuthError(AuthErrorCode.FORBIDDEN)


def check_binding(role: Role, twin: str | None) -> None:
    """Refuse a patient without a twin, a twin for anybody else, and what is no pseudonym."""
    if role is not Role.PATIENT:
        if twin is not None:
            raise ValueError("only the role patient is bound to a twin")
    elif twin is None or not PSEUDONYM.fullmatch(twin):
        raise ValueError("the role patient needs the pseudonym of its twin")


def check_person(role: Role, person: str | None) -> None:
    """Refuse what is no code for a person; a patient is known by their twin."""
    if person is None:
        return
    if role is Role.PATIENT:
        raise ValueError("a patient is known by the twin; leave the person out")
    if not PERSON.fullmatch(person):
        raise ValueError("person must be 1-32 of a-z, 0-9 and '-': a code, not a name")


def named_subject(role: Role, person: str) -> str:
    """A colon stands in no other subject of a session."""
    return f"{role.value}:{person}"
