# ruff: noqa: N818 - the names say what happened, as requests' and httpx's do
"""What can go wrong between us and a FHIR server or file.

    FhirError
    ├── TransportError       no usable answer; a write may or may not have happened
    │   ├── Unreachable      never connected: nothing was sent
    │   ├── TimedOut
    │   ├── ConnectionLost   cut off in the middle
    │   ├── BudgetSpent      the time for the whole job is up
    │   └── Cancelled        we were told to stop
    ├── Guarded              we refused to send
    │   ├── ForeignOrigin    a link, redirect or reference leads elsewhere
    │   └── UnsafeAddress    scheme or address we do not talk to
    ├── BadAnswer            an answer that is not what was asked for
    │   ├── TooLarge
    │   ├── NotFhir          HTML, truncated JSON, a resource of another kind
    │   ├── NotDicom         the same, of an imaging archive
    │   ├── OutcomeInstead   200 with an OperationOutcome of severity error
    │   ├── WrongPatient     another patient than the one asked for
    │   └── EndlessSearch    a search that does not come to its last page
    │       ├── LinkLoop         `next` goes round in a circle
    │       ├── TooMany          more pages or resources than allowed
    │       └── SearchExpired    forgotten by the server on the way, twice
    ├── Refused              the server said no
    │   ├── SignInRefused    401, or the token endpoint refused us
    │   ├── Forbidden        403
    │   ├── NotFound         404
    │   ├── Gone             410
    │   ├── NotSupported     405, 406, 415, 501, or `not-supported` in the outcome
    │   ├── Invalid          400
    │   ├── Conflict         409
    │   ├── Precondition     412
    │   │   ├── MultipleMatches   a conditional write matched more than one
    │   │   └── VersionMismatch   If-Match was stale, or If-None-Match found something
    │   ├── Unprocessable    422: a business or profile rule
    │   ├── Throttled        429
    │   └── ServerFailed     5xx
    ├── SetupError           the server's entry in the configuration cannot work
    └── SourceError          a file that cannot be read as a patient record

An error carries what was tried as a template (`GET Observation?patient`), a status, and issue codes
from the standard's closed list. Never an id, a value, a URL that holds one, or the server's words.
"""

from collections.abc import Iterable


class FhirError(Exception):
    """Base. `code` is stable and safe to log; `next_step` is a sentence for a person."""

    code = "fhir-error"
    sentence = "The FHIR request failed"
    next_step = ""

    def __init__(
        self,
        what: str = "",
        *,
        status: int | None = None,
        issues: Iterable[str] = (),
        next_step: str = "",
    ) -> None:
        self.what = what
        self.status = status
        self.issues = tuple(issues)
        self.next_step = next_step or self.next_step
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        facts = [f"HTTP {self.status}"] if self.status else []
        facts += [f"issue {', '.join(self.issues)}"] if self.issues else []
        head = f"{self.what}: {self.sentence}" if self.what else self.sentence
        tail = f" ({'; '.join(facts)})" if facts else ""
        return f"{head}{tail}." + (f" {self.next_step}" if self.next_step else "")


class TransportError(FhirError):
    code = "transport"
    sentence = "no usable answer"


class Unreachable(TransportError):
    code = "unreachable"
    sentence = "the server could not be reached"
    next_step = "Check the base URL, the network, and the certificate (`ca_file`)."


class TimedOut(TransportError):
    code = "timed-out"
    sentence = "the server did not answer in time"


class ConnectionLost(TransportError):
    code = "connection-lost"
    sentence = "the connection broke off in the middle"


class BudgetSpent(TransportError):
    code = "budget-spent"
    sentence = "the time allowed for the whole job is used up"


class Cancelled(TransportError):
    code = "cancelled"
    sentence = "cancelled"


class Guarded(FhirError):
    code = "guarded"
    sentence = "not sent"


class ForeignOrigin(Guarded):
    code = "foreign-origin"
    sentence = "it leads to an origin that is not the configured one; not followed"
    next_step = "If that origin is part of this server, list it in `trusted_origins`."


class UnsafeAddress(Guarded):
    code = "unsafe-address"
    sentence = "its scheme or address is not one we talk to"


class BadAnswer(FhirError):
    code = "bad-answer"
    sentence = "the answer is not usable"


class TooLarge(BadAnswer):
    code = "too-large"
    sentence = "the answer is larger than allowed"
    next_step = "Lower `page_size`, or raise `limits.response_bytes`."


class NotFhir(BadAnswer):
    code = "not-fhir"
    sentence = "the answer is not the FHIR JSON that was asked for"


class NotDicom(BadAnswer):
    code = "not-dicom"
    sentence = "the answer is not the DICOM JSON that was asked for"


class OutcomeInstead(BadAnswer):
    code = "outcome-instead"
    sentence = "the server answered with an error outcome in place of the content"


class WrongPatient(BadAnswer):
    code = "wrong-patient"
    sentence = "the answer is about another patient than the one asked for"
    next_step = "If the record was merged, use the id of the surviving one."


class EndlessSearch(BadAnswer):
    code = "endless-search"
    sentence = "the search does not come to its end"


class LinkLoop(EndlessSearch):
    code = "link-loop"
    sentence = "the `next` links go round in a circle"


class TooMany(EndlessSearch):
    code = "too-many"
    sentence = "there are more pages or resources than allowed"


class SearchExpired(EndlessSearch):
    code = "search-expired"
    sentence = "the server forgot the search before its last page, twice"


class Refused(FhirError):
    code = "refused"
    sentence = "the server refused"


class SignInRefused(Refused):
    code = "sign-in-refused"
    sentence = "the server did not accept our sign-in"
    next_step = "Check the credentials in this server's `auth` section."


class Forbidden(Refused):
    code = "forbidden"
    sentence = "the server does not permit this"
    next_step = "Ask its administrator for the scope."


class NotFound(Refused):
    code = "not-found"
    sentence = "the server does not have it"


class Gone(Refused):
    code = "gone"
    sentence = "the server no longer has it"


class NotSupported(Refused):
    code = "not-supported"
    sentence = "the server does not support this"


class Invalid(Refused):
    code = "invalid"
    sentence = "the server calls the request invalid"


class Conflict(Refused):
    code = "conflict"
    sentence = "the server reports a conflict"


class Precondition(Refused):
    code = "precondition"
    sentence = "a precondition failed"


class MultipleMatches(Precondition):
    code = "multiple-matches"
    sentence = "more than one resource matches the condition"


class VersionMismatch(Precondition):
    code = "version-mismatch"
    sentence = "the resource changed in the meantime, or exists already"


class Unprocessable(Refused):
    code = "unprocessable"
    sentence = "a rule of the server forbids this content"


class Throttled(Refused):
    code = "throttled"
    sentence = "the server asks us to slow down"


class ServerFailed(Refused):
    code = "server-failed"
    sentence = "the server failed"


class SetupError(FhirError):
    code = "setup"
    sentence = "this server's configuration cannot work"


class SourceError(FhirError):
    """A file we cannot read as a patient record. `reason` completes the sentence."""

    code = "source"

    def __init__(self, reason: str, next_step: str, *, kind: str = "file") -> None:
        self.sentence = reason
        super().__init__(kind, next_step=next_step)
