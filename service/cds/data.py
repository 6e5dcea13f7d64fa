"""From what an EHR sent along to one patient's record; what is missing is fetched, or is missing.

Absent and failed are not empty: an absent key or an OperationOutcome means that nobody looked, and
leads to the server itself, with the caller's own token, if the server is a configured one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from service.cds.prefetch import Key
from service.config.sections import Limits as ConfiguredLimits
from service.config.sections import Server, ServerAuth
from service.fhir import outcome
from service.fhir.errors import FhirError, NotFound, NotSupported, SourceError
from service.fhir.forms import read_form, search_form
from service.fhir.grouping import Claim, Pile, records
from service.fhir.http import FhirClient
from service.fhir.paging import Page, link_of, read_pages
from service.fhir.record import PatientRecord
from service.fhir.servers import ServerConfig, from_config

Json = dict[str, Any]

BUDGET_SECONDS = 10.0


class DataMissingError(Exception):
    """What is needed was neither sent nor could it be fetched. Names types, never a patient."""

    def __init__(self, types: Iterable[str]) -> None:
        self.types = tuple(sorted(set(types)))
        super().__init__(", ".join(self.types))


class State(StrEnum):
    WHOLE = "whole"
    PARTIAL = "partial"
    MISSING = "missing"
    UNSUPPORTED = "unsupported"


@dataclass(slots=True)
class Answer:
    """What there is under one key."""

    key: Key
    state: State
    resources: list[Json] = field(default_factory=list, repr=False)
    asked: str = ""
    """The form of the question put to the server; none where the caller sent it all"""


@dataclass(frozen=True)
class Access:
    """The caller's way to the data on its own server, where it gave us one."""

    config: ServerConfig

    @classmethod
    def of(
        cls, name: str, server: Server, limits: ConfiguredLimits, request: Mapping[str, Any]
    ) -> "Access | None":
        """Only towards the configured base of the caller's own server; with the token it sent,
        never with ours."""
        config = from_config(name, server, limits)
        given, token = request.get("fhirServer"), _token(request)
        if not isinstance(given, str) or given.rstrip("/") not in config.bases:
            return None
        if token is None and server.auth.kind != "none":
            return None
        auth = ServerAuth() if token is None else ServerAuth(kind="bearer", token=token)
        bounds = replace(config.limits, budget_seconds=BUDGET_SECONDS, tries=2)
        return cls(replace(config, auth=auth, limits=bounds))


def _token(request: Mapping[str, Any]) -> str | None:
    given = request.get("fhirAuthorization")
    token = given.get("access_token") if isinstance(given, dict) else None
    return token if isinstance(token, str) and token else None


def gather(
    wanted: Sequence[Key], request: Mapping[str, Any], patient: str, access: Access | None
) -> list[Answer]:
    """An answer for every key. `DataMissingError` where one that is needed has none."""
    sent = request.get("prefetch")
    answers = [_sent(key, sent if isinstance(sent, dict) else {}, patient) for key in wanted]
    gaps = [answer for answer in answers if answer.state in (State.MISSING, State.PARTIAL)]
    gaps += [answer for answer in answers if answer.state is State.UNSUPPORTED]
    if gaps and access is not None:
        _fetch(gaps, patient, access)
    short = [answer.key.type for answer in answers if _falls_short(answer)]
    if short or not answers[0].resources:
        raise DataMissingError(short or ["Patient"])
    return answers


def _falls_short(answer: Answer) -> bool:
    """What nobody looked for is missing; a type that a server does not have may be done without."""
    unsupported = answer.state is State.UNSUPPORTED and answer.key.needed
    return unsupported or answer.state is State.MISSING


# -- what was sent -----------------------------------------------------------------------------


def _sent(key: Key, prefetch: Mapping[str, Any], patient: str) -> Answer:
    if key.name not in prefetch:
        return Answer(key, State.MISSING)
    value = prefetch[key.name]
    if value is None:  # looked for, and not there
        return Answer(key, State.MISSING if key.type == "Patient" else State.WHOLE)
    if key.type == "Patient":
        return _sent_patient(key, value, patient)
    if outcome.is_outcome(value) and "not-supported" in outcome.issue_codes(value):
        return Answer(key, State.UNSUPPORTED)
    if not isinstance(value, dict) or value.get("resourceType") != "Bundle":
        return Answer(key, State.MISSING)
    return _sent_bundle(key, value)


def _sent_patient(key: Key, value: Any, patient: str) -> Answer:
    """Another patient than the one on the screen is nobody's data here."""
    right = isinstance(value, dict) and value.get("resourceType") == "Patient"
    if not right or value.get("id") != patient:
        return Answer(key, State.MISSING)
    return Answer(key, State.WHOLE, [value])


def _sent_bundle(key: Key, bundle: Json) -> Answer:
    listed = bundle.get("entry") or []
    entries = listed if isinstance(listed, list) else []
    found = [e.get("resource") for e in entries if isinstance(e, dict)]
    resources = [r for r in found if isinstance(r, dict)]
    if any(outcome.is_outcome(r) and outcome.loses_content(r) for r in resources):
        return Answer(key, State.MISSING)
    paged = link_of(bundle, "next") is not None
    kept = [r for r in resources if r.get("resourceType") in (key.type, "Medication")]
    return Answer(key, State.PARTIAL if paged else State.WHOLE, kept)


# -- what is fetched ---------------------------------------------------------------------------


def _fetch(gaps: Iterable[Answer], patient: str, access: Access) -> None:
    with FhirClient(access.config) as client:
        for answer in gaps:
            answer.asked = _form(answer.key)
            try:
                answer.resources = _asked(client, answer.key, patient)
                answer.state = State.WHOLE
            except (NotSupported, NotFound):
                answer.state = State.UNSUPPORTED
            except FhirError:
                continue  # stays missing, or partial


def _form(key: Key) -> str:
    if key.type == "Patient":
        return read_form("Patient")
    return search_form(key.type, (("patient", ""), *key.params))


def _asked(client: FhirClient, key: Key, patient: str) -> list[Json]:
    if key.type == "Patient":
        found = client.read("Patient", patient).resource
        return [found] if found is not None and found.get("id") == patient else []
    resources: list[Json] = []

    def take(page: Page) -> bool:
        for entry in page.entries():
            resource = entry.get("resource")
            if isinstance(resource, dict) and resource.get("resourceType") == key.type:
                resources.append(resource)
        return True

    read_pages(client, key.type, (("patient", patient), *key.params), take)
    return resources


# -- one record --------------------------------------------------------------------------------

_CLAIM = Claim(present="complete", absent="not-asked")


def record_of(answers: Sequence[Answer], patient: str, base: str) -> PatientRecord:
    """The record as a pull of these types would give it, with its completeness."""
    pile = Pile()
    for resource in (r for answer in answers for r in answer.resources):
        identity = resource.get("id")
        if isinstance(identity, str) and identity:
            pile.add(resource, f"{base}/{resource['resourceType']}/{identity}")
        else:
            pile.lost[str(resource["resourceType"]), "no-id"] += 1
    found = [one for one in records(pile, "server", _CLAIM) if one.patient_id == patient]
    if len(found) != 1:
        raise SourceError("holds no such patient", "Send the Patient that the context names.")
    states = {answer.key.type: answer.state for answer in answers}
    asked = {answer.key.type: [answer.asked] for answer in answers if answer.asked}
    slices = [
        _judged(part, states) | {"asked": asked.get(part["type"], [])}
        for part in found[0].completeness["slices"]
    ]
    return replace(found[0], base=base, completeness={"basis": "server", "slices": slices})


def _judged(part: Json, states: Mapping[str, State]) -> Json:
    state = states.get(part["type"])
    if state is State.WHOLE and part["verdict"] == "unknown" and not part["matches"]:
        whole = {k: v for k, v in part.items() if k != "reason"}
        return whole | {"verdict": "complete", "queries": 1, "pages": 1}
    if state is State.PARTIAL and part["verdict"] == "complete":
        return part | {"verdict": "partial", "truncated": True, "reason": "server-outcome"}
    if state is State.UNSUPPORTED:
        return part | {"verdict": "unknown", "reason": "not-supported"}
    return part
