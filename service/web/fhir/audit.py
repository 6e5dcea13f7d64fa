"""The audit as FHIR AuditEvents, in the patterns of IHE's basic audit profiles. Read-only.

For the privacy officer and the administrator. Whoever reads it is in it. An event names a twin by
its pseudonym and a caller by theirs; there is nothing else in the store to name.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any, NamedTuple

from flask import Blueprint, Response, request

from service.auth import Role
from service.stores.audit import DENIED, AuditEvent, AuditFilter, AuditStore
from service.web.audiences import closed
from service.web.discovery import public_base
from service.web.errors import Fault, WebError
from service.web.fhir.blueprint import GENERAL, agree_on_format, fhir_response
from service.web.gate import principal
from service.web.ports import Failure

Json = dict[str, Any]

READERS = (Role.PRIVACY_OFFICER, Role.ADMIN)
MOST, USUAL = 500, 50
_SYSTEMS = {
    "dcm": "http://dicom.nema.org/resources/ontology/DCM",
    "rest": "http://terminology.hl7.org/CodeSystem/audit-event-type",
    "interaction": "http://hl7.org/fhir/restful-interaction",
    "lifecycle": "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle",
}
_ENTITY = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_SOURCE = "http://terminology.hl7.org/CodeSystem/security-source-type"
_REQUEST = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
_DEID = "https://profiles.ihe.net/ITI/DeId/CodeSystem/DeIdentificationEntityType"
_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_OBSERVER = {"display": "Twinport"}
_OBJECT = "urn:twinport:object"
_FILED = re.compile(r"[0-9a-f]{32}")
_TWIN = re.compile(r"[A-Za-z0-9_-]{22}")


class Pattern(NamedTuple):
    """How one kind of event is told."""

    type: Json
    subtype: Json | None
    action: str


def _read_patterns() -> Mapping[str, Pattern]:
    text = files(__package__).joinpath("audit_patterns.csv").read_text(encoding="utf-8")
    return {row["event"]: _pattern(row) for row in csv.DictReader(text.splitlines(), strict=True)}


def _pattern(row: Mapping[str, str]) -> Pattern:
    kind = {
        "system": _SYSTEMS[row["type_system"]],
        "code": row["type_code"],
        "display": row["type_display"],
    }
    code = row["subtype_code"]
    subtype = {"system": _SYSTEMS[row["subtype_system"]], "code": code} if code else None
    return Pattern(kind, subtype, row["action"])


PATTERNS = _read_patterns()


def audit_blueprint(store: AuditStore) -> Blueprint:
    """`/fhir/AuditEvent` over one store."""
    audit = Blueprint("audit", __name__, url_prefix="/fhir")
    audit.before_request(agree_on_format)

    @audit.get("/AuditEvent/<event_id>")
    @closed(roles=READERS)
    def read(event_id: str) -> Response:
        found = store.get(int(event_id)) if re.fullmatch(r"[0-9]{1,18}", event_id) else None
        if found is None:
            raise WebError(Failure.NOT_FOUND)
        _note(store)
        return fhir_response(audit_event(found, public_base()))

    @audit.get("/AuditEvent")
    @closed(roles=READERS)
    def search() -> Response:
        """Latest first. `patient` takes a twin's pseudonym."""
        twin, limit, before = _asked(request.args)
        found = store.search(AuditFilter(object=twin), limit=limit + 1, before=before)
        _note(store)
        return fhir_response(_searchset(found, limit, twin))

    return audit


def _note(store: AuditStore) -> None:
    caller = principal()
    store.record(role=str(caller.role), subject=caller.subject, action="audit-read", outcome="done")


# -- searching ---------------------------------------------------------------------------------


def _asked(given: Mapping[str, str]) -> tuple[str | None, int, int | None]:
    unknown = set(given) - GENERAL - {"patient", "_count", "_page"}
    if unknown:
        raise WebError("not-supported", faults=[Fault("", "AuditEvent is searched by patient.")])
    twin = given["patient"].removeprefix("Patient/") if "patient" in given else None
    if twin is not None and not _TWIN.fullmatch(twin):
        raise WebError("bad-value", faults=[Fault("", "patient takes a twin's pseudonym.")])
    return twin, _number(given, "_count", USUAL) or 1, _number(given, "_page", 0) or None


def _number(given: Mapping[str, str], name: str, usual: int) -> int:
    text = given.get(name, str(usual))
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise WebError("bad-value", faults=[Fault("", f"{name} must be a whole number.")])
    return min(int(text), MOST) if name == "_count" else int(text)


def _searchset(found: list[AuditEvent], limit: int, twin: str | None) -> Json:
    base, page = public_base(), found[:limit]
    asked = f"{base}/fhir/AuditEvent?_count={limit}" + (f"&patient={twin}" if twin else "")
    links = [{"relation": "self", "url": asked}]
    if len(found) > limit:
        links.append({"relation": "next", "url": f"{asked}&_page={page[-1].seq}"})
    bundle: Json = {"resourceType": "Bundle", "type": "searchset", "link": links}
    entries = [_entry(event, base) for event in page]
    return {**bundle, "entry": entries} if entries else bundle


def _entry(event: AuditEvent, base: str) -> Json:
    return {
        "fullUrl": f"{base}/fhir/AuditEvent/{event.seq}",
        "resource": audit_event(event, base),
        "search": {"mode": "match"},
    }


# -- one event ---------------------------------------------------------------------------------


def audit_event(event: AuditEvent, base: str) -> Json:
    """What happened as FHIR. Our own word for it is kept beside the standard's codes."""
    pattern = PATTERNS.get(event.action, PATTERNS["*"])
    time = event.time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    own = {"system": "urn:twinport:audit-action", "code": event.action}
    return {
        "resourceType": "AuditEvent",
        "id": str(event.seq),
        "meta": {"versionId": "1", "lastUpdated": time},
        "type": pattern.type,
        "subtype": [*([pattern.subtype] if pattern.subtype else []), own],
        "action": pattern.action,
        "recorded": time,
        "outcome": "8" if event.outcome in DENIED else "0",
        "outcomeDesc": event.outcome,
        **_purpose(event),
        "agent": [_server(base), _caller(event)],
        "source": {"observer": _OBSERVER, "type": [{"system": _SOURCE, "code": "4"}]},
        **({"entity": entities} if (entities := list(_entities(event))) else {}),
    }


def _server(base: str) -> Json:
    role = {"system": _SYSTEMS["dcm"], "code": "110153", "display": "Source Role ID"}
    return {
        "type": {"coding": [role]},
        "who": _OBSERVER,
        "requestor": False,
        "network": {"address": base, "type": "5"},
    }


def _purpose(event: AuditEvent) -> Json:
    if event.purpose is None:
        return {}
    return {"purposeOfEvent": [{"coding": [{"system": _REASON, "code": event.purpose}]}]}


def _caller(event: AuditEvent) -> Json:
    return {
        "type": {"coding": [{"system": _PARTICIPATION, "code": "IRCP"}]},
        "role": [{"coding": [{"system": "urn:twinport:role", "code": event.role}]}],
        "who": {"identifier": {"system": "urn:twinport:subject", "value": event.subject}},
        "requestor": True,
    }


def _system_of(name: str) -> str:
    """A twin, a patient as de-identified files have it, or anything else."""
    if _TWIN.fullmatch(name):
        return "urn:twinport:twin"
    return "urn:twinport:patient-in-files" if _FILED.fullmatch(name) else _OBJECT


def _entities(event: AuditEvent) -> Iterator[Json]:
    if event.object is not None:
        system = _system_of(event.object)
        is_person = system != _OBJECT
        what: Json = {"identifier": {"system": system, "value": event.object}}
        yield {
            "what": {"type": "Patient", **what} if is_person else what,
            "type": {"system": _ENTITY, "code": "1" if is_person else "2"},
            "role": {"system": _ROLE, "code": "1" if is_person else "20"},
        }
    if event.policy is not None:
        name, _, version = event.policy.partition("/")
        yield {
            "what": {
                "identifier": {"system": "urn:twinport:policy", "value": event.policy},
                "display": f"Twinport policy {name}, version {version}",
            },
            "type": {"system": _DEID, "code": "DeId-algorithm"},
        }
    if event.request_id is not None:
        yield {
            "what": {"identifier": {"value": event.request_id}},
            "type": {"system": _REQUEST, "code": "XrequestId"},
        }
